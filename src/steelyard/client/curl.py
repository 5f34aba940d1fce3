"""A pasted curl line: what it would send, and what is wrong with it."""

import shlex
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import msgspec

from steelyard.client.endpoint import key_problems

_WITH_VALUE = {
    "-X": "method", "--request": "method", "-H": "header", "--header": "header", "-d": "data", "--data": "data",
    "--data-raw": "data", "--data-binary": "data", "--data-ascii": "data", "--json": "json", "--url": "url",
    "-u": "ignored", "--user": "ignored", "-A": "ignored", "--user-agent": "ignored", "-o": "ignored", "--output": "ignored",
    "-m": "ignored", "--max-time": "ignored", "--connect-timeout": "ignored", "-x": "ignored", "--proxy": "ignored",
}  # fmt: skip
_QUOTES = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "＂": '"', "＇": "'"})
Problem = tuple[str, str]


@dataclass(slots=True)
class PastedCall:
    """A curl line taken apart."""

    method: str = "GET"
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    problems: list[Problem] = field(default_factory=list)

    @property
    def key(self) -> str:
        """The bearer key."""
        value = self.headers.get("authorization", "")
        return value[7:] if value[:7].lower() == "bearer " else value


def parse_curl(text: str) -> PastedCall:
    """Takes a curl line apart and lists what is wrong with it; never raises."""
    call = PastedCall()
    if any(quote in text for quote in "“”‘’＂＇"):
        call.problems.append(("The line has typographic (full-width) quotes.", "命令中含有中文（全角）引号。"))
    text = text.translate(_QUOTES).replace("\\\r\n", " ").replace("\\\n", " ").replace("^\n", " ")
    try:
        words = shlex.split(text)
    except ValueError as exc:
        call.problems.append((f"The line cannot be split: {exc}.", "引号不成对，命令无法解析。"))
        words = text.split()
    _read_words(call, words[1:] if words and words[0].endswith("curl") else words)
    if call.body and call.method == "GET":
        call.method = "POST"
    _diagnose(call)
    return call


def _read_words(call: PastedCall, words: list[str]) -> None:
    queue = list(words)
    explicit = ""
    while queue:
        word = queue.pop(0)
        name, has_equals, inline = word.partition("=") if word.startswith("--") else (word, "", "")
        kind = _WITH_VALUE.get(name)
        if kind is None:
            if not word.startswith("-"):
                call.url = call.url or word
            continue
        value = inline if has_equals else (queue.pop(0) if queue else "")
        if kind == "method":
            explicit = value.upper()
        elif kind == "url":
            call.url = value
        elif kind == "header":
            header, _, content = value.partition(":")
            call.headers[header.strip().lower()] = content.strip()
        elif kind in ("data", "json"):
            call.body += value
    call.method = explicit or call.method


def _diagnose(call: PastedCall) -> None:
    parts = urlsplit(call.url)
    if parts.scheme not in ("http", "https"):
        call.problems.append(("The line has no http(s) address.", "命令中没有 http(s) 地址。"))
    if "/v1/v1" in parts.path:
        call.problems.append(("The path holds /v1 twice.", "路径中 /v1 重复。"))
    elif "/v1" not in parts.path:
        call.problems.append(
            ("The path lacks /v1 (or /compatible-mode/v1).", "路径缺少 /v1（或 /compatible-mode/v1）。")
        )
    call.problems += key_problems(call.key, "the Authorization header")
    if "authorization" in call.headers and not call.headers["authorization"].lower().startswith("bearer "):
        call.problems.append(("The Authorization header lacks `Bearer `.", "Authorization 请求头缺少 Bearer 前缀。"))
    if "dashscope-intl" in (parts.hostname or ""):
        text = ("dashscope-intl takes keys of the Singapore region only.", "dashscope-intl 只接受新加坡地域的密钥。")
        call.problems.append(text)
    if call.body:
        _diagnose_body(call)


def _diagnose_body(call: PastedCall) -> None:
    try:
        body = msgspec.json.decode(call.body)
    except msgspec.DecodeError as exc:
        call.problems.append((f"The body is not valid JSON: {exc}.", f"请求体不是合法 JSON：{exc}。"))
        return
    if isinstance(body, dict) and not body.get("model"):
        call.problems.append(("The body has no model.", "请求体缺少 model。"))
