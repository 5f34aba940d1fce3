"""Code of a call: what a language's own quoting must not change."""

import json
import re

import pytest

from steelyard.web.console.code import VARIABLE, Call, code_of, first_call
from steelyard.web.console.modes import CHAT, RERANK, VIDEOS

AWKWARD = 'a "quote", """three""", `ticks`, \'one\', a \\ and\na line 杆秤'
BODY = {"model": "m", "messages": [{"role": "user", "content": AWKWARD}], "enable_thinking": True}


def _codes(body: dict[str, object], key: str = "") -> dict[str, str]:
    return dict(code_of(Call(CHAT, body, "http://h", key)))


def test_java_text_block() -> None:
    text = re.search(r'String body = """\n(.*?)\n\s+""";', _codes(BODY)["Java"], re.DOTALL)
    assert text is not None
    # a text block loses its common indent, and reads the escapes
    lines = [line.removeprefix(" " * 16) for line in text[1].splitlines()]
    read = "\n".join(lines).replace('\\"""', '"""').replace("\\\\", "\\")
    assert json.loads(read) == BODY


def test_go_raw_string() -> None:
    text = re.search(r"body := `(.*)`\n", _codes(BODY)["Go"], re.DOTALL)
    assert text is not None
    assert json.loads(text[1].replace('` + "`" + `', "`")) == BODY


def test_csharp_raw_string() -> None:
    code = _codes(BODY)["C#"]
    fence = re.search(r'var body = ("{3,})\n', code)
    assert fence is not None
    body = code.split(fence[1])[1]
    assert json.loads(body) == BODY


def test_python_keeps_every_field() -> None:
    code = _codes(BODY)["Python · openai"]
    assert "extra_body={'enable_thinking': True}" in code
    compile(code, "call.py", "exec")
    compile(_codes(BODY)["Python · dashscope"], "call.py", "exec")


def test_pictures_are_native_parts() -> None:
    parts = [{"type": "image_url", "image_url": {"url": "https://h/cat.png"}}, {"type": "text", "text": "what?"}]
    code = _codes({"model": "m", "messages": [{"role": "user", "content": parts}]})["Python · dashscope"]
    assert "MultiModalConversation" in code
    assert "[{'image': 'https://h/cat.png'}, {'text': 'what?'}]" in code


@pytest.mark.parametrize("mode", [CHAT, RERANK, VIDEOS])
def test_a_key_is_shown_or_read(mode: object) -> None:
    for language, code in code_of(Call(mode, {"model": "m", "prompt": "x"}, "http://h")):  # type: ignore[arg-type]
        assert VARIABLE in code, language
    for language, code in code_of(first_call("http://h", "sk-sy-1", "m")):
        assert "sk-sy-1" in code, language
        assert VARIABLE not in code, language
