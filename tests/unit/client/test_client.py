"""The client package's pure parts: endpoints, key hygiene, curl lines, annotations."""

import pytest

from steelyard.base.errors import SetupFault
from steelyard.client.annotate import annotate
from steelyard.client.curl import parse_curl
from steelyard.client.endpoint import key_problems, normalise_base_url


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://127.0.0.1:8090", "http://127.0.0.1:8090/compatible-mode/v1"),
        ("http://127.0.0.1:8090/", "http://127.0.0.1:8090/compatible-mode/v1"),
        ("https://api.deepseek.com/v1", "https://api.deepseek.com/v1"),
        ("https://x/compatible-mode/v1/chat/completions", "https://x/compatible-mode/v1"),
        ("https://x/v1/v1", "https://x/v1"),
    ],
)
def test_base_urls(given: str, expected: str) -> None:
    """As the SDKs want them."""
    assert normalise_base_url(given) == expected


def test_no_address() -> None:
    """What is no address is refused."""
    with pytest.raises(SetupFault):
        normalise_base_url("localhost:8090")


def test_key_problems() -> None:
    """A good key has none."""
    assert key_problems("sk-abc123", "x") == []
    assert len(key_problems('" sk-a"', "x")) == 2


def test_the_articles_curl_is_understood() -> None:
    """Line continuations, long options, raw data."""
    call = parse_curl(
        "curl --location --request POST 'https://dashscope.aliyuncs.com/compatible-mode/v1/chat/completions' \\\n"
        "--header 'Authorization: Bearer sk-abc' \\\n--header 'Content-Type: application/json' \\\n"
        '--data-raw \'{"model":"qwen-plus","messages":[]}\''
    )
    assert (call.method, call.key, call.problems) == ("POST", "sk-abc", [])


@pytest.mark.parametrize(
    "text", ["", "curl", "curl '", "curl http://x -d", "curl -H", "not a command", "curl http://x/v1 -d '{'"]
)
def test_any_text_is_survived(text: str) -> None:
    """Whatever is pasted, problems come out, never an exception."""
    assert parse_curl(text).problems


def test_annotations() -> None:
    """Nested fields in order, with meanings in both languages."""
    rows = annotate({"id": "x", "usage": {"prompt_tokens": 1}, "choices": [{"index": 0}]})
    assert [row[0] for row in rows] == ["id", "usage", "usage.prompt_tokens", "choices", "choices.index"]
    assert all(meaning[1] for _, _, meaning in rows)
