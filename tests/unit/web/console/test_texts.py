"""Every word of the console is in both languages, and every page takes its words from there."""

import re
from importlib.resources import files

import pytest

from steelyard.base.catalogue import BY_SLUG
from steelyard.canon.members import ROLES
from steelyard.control.hub.figures import ORDERS
from steelyard.web.console.assets import Assets
from steelyard.web.console.modes import MODES
from steelyard.web.console.nav import NAV, SETTINGS_NAV
from steelyard.web.console.pages import Pages
from steelyard.web.console.texts import pick_language, read_texts, texts_in
from steelyard.web.console.visit import FormTokens

FOLDER = files("steelyard.web.console")
TEMPLATES = {one.name: one.read_text(encoding="utf-8") for one in (FOLDER / "templates").iterdir()}
ROOMS = {one.name: one.read_text(encoding="utf-8") for one in FOLDER.iterdir() if one.name.endswith(".py")}
#: Names that a template puts together: what it begins with, and what may follow.
BUILT = {
    "roles.": ROLES,
    "members.may_": ROLES,
    "overview.step_": ("activate", "key", "call", "provider"),
    "overview.go_": ("activate", "key", "call", "provider"),
    "models.origin_": ("file", "set", "provider", "embedded"),
    "providers.from_": ("file", "stored"),
    "hub.modality_": ("text", "vision", "embedding", "rerank", "image", "video", "transcription", "speech"),
    "keys.per_": ("day", "month", "total"),
    "models.strategy_": ("weighted", "fastest"),
    "quotas.state_": ("open", "granted", "declined"),
    "knowledge.mode_": ("hybrid", "text", "vectors"),
    "plugins.of_": ("workspace", "builtin", "operator"),
    "hub.f_": ORDERS,
    "playground.mode_": tuple(MODES),
    "promql.example_": ("calls", "tokens", "slow", "failed"),
    "requests.outcome_": ("broken", "abandoned", "failed"),
}
#: Product and parameter names, and signs, are the same in every language.
SAME = {"steelyard", "temperature", "max_tokens", "OpenAI", "DashScope", "Anthropic", "OK", "CSV", "PromQL", "JSON", "Schema", "Apifox", "Postman", "OpenAPI"} | {
    "dimensions", "size", "tools", "top_n",
}  # fmt: skip


def test_both_languages() -> None:
    """Each entry is a pair, neither empty, the Chinese one in Chinese, both with the same places."""
    for room, pairs in read_texts().items():
        for name, (english, chinese) in pairs.items():
            where = f"{room}.{name}"
            assert english.strip(), where
            assert chinese.strip(), where
            assert not re.search(r"[\u4e00-\u9fff]", english) or where == "frame.other_language", where
            assert set(re.findall(r"\{\w+\}", english)) == set(re.findall(r"\{\w+\}", chinese)), where


def test_names_that_pages_use_are_there_and_the_others_are_not() -> None:
    known = texts_in("en")
    used = {one.text for one in (*NAV, *SETTINGS_NAV)}
    for name, text in (*TEMPLATES.items(), *ROOMS.items()):
        for found in re.findall(r"\bt\(\s*[\"']([a-z_]+\.[a-z_]+)[\"']\s*[,)]", text):
            assert found in known, f"{name}: {found}"
            used.add(found)
        used |= {f"done.{found}" for found in re.findall(r"done=([a-z_]+)", text)}
        used |= {
            f"done.{found}"
            for found in re.findall(r"done = \"([a-z_]+)\" if .* else \"([a-z_]+)\"", text)
            for found in found
        }
    for start, ends in BUILT.items():
        assert any(start in text for text in TEMPLATES.values()), start
        used |= {start + end for end in ends}
    assert sorted(name for name in used if name not in known) == []
    assert sorted({f"{room}.{name}" for room, pairs in read_texts().items() for name in pairs} - used) == []


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_no_words_outside_the_catalogue(name: str) -> None:
    """What is left of a template without its tags and places is no word of any language."""
    text = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", " ", TEMPLATES[name], flags=re.DOTALL)
    text = re.sub(r"<(script|style|code)\b.*?</\1>", " ", text, flags=re.DOTALL)
    shown = re.findall(r"\b(?:placeholder|title|alt|aria-label)=\"([^\"]*)\"", text)
    shown += re.sub(r"<[^>]*>", "\n", text).split("\n")
    words = {word for line in shown for word in re.findall(r"[A-Za-z]{2,}[A-Za-z_.]*", line)}
    assert not re.search(r"[\u4e00-\u9fff]", TEMPLATES[name])
    assert words - SAME - {"https", "api.example.com", "keys.", "curl"} == set()


def test_no_script_and_no_style_in_templates() -> None:
    """The policy forbids them, so a page with one would be broken."""
    for name, text in TEMPLATES.items():
        scripts = re.findall(r"<script\b[^>]*>", text)
        assert all("src=" in one or "application/json" in one for one in scripts), name
        assert not re.search(r"\sstyle=|\son[a-z]+=|javascript:|\|\s*safe\b|https?://(?!api\.example)", text), name


@pytest.mark.parametrize(
    ("wished", "accept", "language"),
    [
        ("", "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("", "en-US,en;q=0.5", "en"),
        ("", "fr-FR, zh;q=0.3", "zh"),
        ("", "fr", "en"),
        ("", "", "en"),
        ("zh", "en", "zh"),
        ("xx", "zh", "zh"),
    ],
)
def test_language(wished: str, accept: str, language: str) -> None:
    assert pick_language(wished, accept) == language


def test_faults_of_the_console_say_what_to_do_in_both() -> None:
    for slug in ("sign_in_failed", "sign_in_throttled", "ticket_invalid", "form_foreign", "role_too_low", "last_owner"):
        row = BY_SLUG[slug]
        assert all(row.cause)
        assert all(row.cure)


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_templates_compile(name: str) -> None:
    """No filter or tag is written wrong."""
    Pages(Assets(), FormTokens(b"k" * 32)).check(name)
