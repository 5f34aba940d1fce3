"""The commands that work against any endpoint: check, chat, profile, explain; and usage of curl lines."""

import json
from typing import Any

import pytest

from installation import Served, Vendor


def with_key(served: Served) -> dict[str, str]:
    return {"STEELYARD_API_KEY": served.key}


def test_check_against_a_vendor_with_no_server(make_installation: Any, vendor: Vendor) -> None:
    """`check` and `chat` with a profile need no server; the key is never echoed."""
    cli = make_installation().cli
    cli("profile", "add", "v", "--base-url", vendor.base_url, input_text="vendor-key-1234567890\n")
    listed = cli("profile", "list", "--json").stdout
    assert "vendor-key-1234567890" not in listed
    answer = cli("chat", "fake", "hi", "--profile", "v").stdout
    assert answer == "Hello from the fake vendor\n"
    cli("profile", "use", "v")
    assert cli("chat", "fake", "-", input_text="hi").stdout == "Hello from the fake vendor\n"
    cli("profile", "remove", "v")
    assert cli("chat", "fake", "hi", "--profile", "v", check=False).returncode == 1


def test_check_reports_each_probe(served: Served) -> None:
    """One row per probe; a vendor's model answered by the vendor is OK."""
    flags = ("--base-url", served.origin, "--model", "fake")
    report = json.loads(served.installation.cli("check", *flags, "--json", check=False, **with_key(served)).stdout)
    results = {row["probe"]: row["result"] for row in report["probes"]}
    assert {name: results[name] for name in ("auth", "models", "chat", "stream")} == dict.fromkeys(
        ("auth", "models", "chat", "stream"), "ok"
    )
    assert list(results) == ["auth", "models", "chat", "stream", "tools", "embeddings", "images", "tasks", "files"]
    assert report["key_source"] == "STEELYARD_API_KEY"
    assert served.key not in json.dumps(report)


def test_check_says_stand_in_and_explains_fields(embedded: Served) -> None:
    """A local model that answers for a vendor's name is never a green OK; --explain annotates a real answer."""
    done = embedded.installation.cli(
        "check", "--base-url", embedded.origin, "--explain", "--lang", "zh", check=False, **with_key(embedded)
    )
    assert "stand-in" in done.stdout
    assert "替身" in done.stdout
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert "OK" not in rows["chat"]
    assert "输入 token 数" in done.stdout


@pytest.mark.parametrize(
    ("key", "fragment"),
    [
        ("", "No key"),
        (" sk-a ", "white space"),
        ('"sk-a"', "quotes"),
        ("ｓｋ－a", "full-width"),
        ("你的密钥", "placeholder"),
    ],
)
def test_check_reports_bad_keys(served: Served, key: str, fragment: str) -> None:
    """Empty, quoted, white-space, full-width and placeholder values are named, with where they came from."""
    done = served.installation.cli("check", "--base-url", served.origin, check=False, DASHSCOPE_API_KEY=key)
    assert done.returncode == 1
    assert fragment in done.stdout
    assert "DASHSCOPE_API_KEY" in done.stdout


def test_pasted_curl_is_run_and_diagnosed(served: Served) -> None:
    """Typographic quotes, a doubled /v1, a placeholder key and bad JSON are found; a good line is run."""
    cli = served.installation.cli
    good = (
        f"curl {served.origin}/v1/chat/completions -H 'Authorization: Bearer {served.key}' -H 'Content-Type: application/json' "
        """-d '{"model":"fake","messages":[{"role":"user","content":"hi"}]}'"""
    )
    assert "200" in cli("check", "--curl", "-", input_text=good).stdout
    bad = good.replace("'", "’").replace("/v1/", "/v1/v1/").replace(served.key, "你的密钥").replace("]}", "]")
    done = cli("check", "--curl", "-", input_text=bad, check=False)
    assert done.returncode == 1
    for fragment in ("quotes", "/v1 twice", "placeholder", "not valid JSON"):
        assert fragment in done.stdout


def test_models_and_chat_commands(served: Served) -> None:
    """Lists and answers as JSON on demand."""
    cli = served.installation.cli
    names = {
        row["id"]
        for row in json.loads(cli("models", "list", "--base-url", served.origin, "--json", **with_key(served)).stdout)
    }
    assert "fake" in names
    own = {row["name"]: row for row in json.loads(cli("models", "list", "--json").stdout)}
    assert own["priced"]["target"] == "fake/vendor-model"
    whole = json.loads(cli("chat", "fake", "hi", "--base-url", served.origin, "--json", **with_key(served)).stdout)
    assert whole["object"] == "chat.completion"
    refused = cli("chat", "none", "hi", "--base-url", served.origin, check=False, **with_key(served))
    assert refused.returncode == 1
    assert "does not exist" in refused.stderr
    assert json.loads(cli("models", "show", "--json").stdout)["licence"] == "Apache-2.0"


def test_the_hub(make_installation: Any) -> None:
    """Found, shown and compared with no server running; what is not there is said in a sentence."""
    cli = make_installation().cli
    found = json.loads(cli("hub", "search", "阿里云百炼 开放平台 API", "--json").stdout)
    assert found[0]["name"] == "dashscope"
    assert found[0]["base_urls"]["beijing"].startswith("https://dashscope.")
    assert "qwen-image" in cli("hub", "search", "text to image").stdout
    shown = json.loads(cli("hub", "show", "qwen-plus", "--json").stdout)
    assert shown["offers"][0]["price"]["input_micros"] == 800_000
    assert shown["alternatives"]
    assert "百炼" in cli("hub", "show", "dashscope").stdout
    table = cli("hub", "compare", "qwen-plus", "qwen-turbo").stdout
    assert "1,000,000" in table
    assert "CNY" in table
    for words in (("hub", "show", "nothing"), ("hub", "compare", "qwen-plus"), ("hub", "search", "zzzz")):
        done = cli(*words, check=False)
        assert done.returncode == 1
        assert "hub" in done.stderr
