"""Links in calls: which are put in, where, and that nothing odd in a body stops the looking."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.dialects.links import OwnLinks, inline_bytes, rewrite_links

ORIGIN = "https://media.example.com"
OWN = OwnLinks(ORIGIN, relays=False)
RELAYING = OwnLinks(ORIGIN, relays=True)
LINK = f"{ORIGIN}/o/obj-1/a.png?Expires=1&Signature=x"


def put(link: str, form: str) -> str:
    return f"data:image/png;base64,{form}" if form == "data" else f"<{link}>"


def rewritten(body: dict[str, Any], links: OwnLinks = OWN) -> dict[str, Any]:
    assert links.concerns(json.dumps(body).encode())
    return rewrite_links(body, links, put)


def user(*parts: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "image_url", "image_url": {"url": LINK}}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,data"}}),
        ({"type": "image_url", "image_url": LINK}, {"type": "image_url", "image_url": "data:image/png;base64,data"}),
        ({"type": "video", "video": [LINK, "https://x/y"]}, {"type": "video", "video": ["data:image/png;base64,data", "https://x/y"]}),
        ({"image": "oss://a/b"}, {"image": "data:image/png;base64,data"}),
        ({"type": "input_audio", "input_audio": {"data": "fileid://f", "format": "wav"}}, {"type": "input_audio", "input_audio": {"data": "data:image/png;base64,data", "format": "wav"}}),
        ({"type": "text", "text": "fileid://f"}, {"type": "text", "text": "<fileid://f>"}),
        ({"type": "text", "text": "see fileid://f"}, {"type": "text", "text": "see fileid://f"}),
        ({"type": "text", "text": f"see {LINK}"}, {"type": "text", "text": f"see {LINK}"}),
        ({"type": "file", "file": {"file_id": "f"}}, {"type": "text", "text": "<fileid://f>"}),
        ({"type": "file", "file": {"file_data": LINK}}, {"type": "file", "file": {"file_data": LINK}}),
        ({"type": "input_file", "file_url": LINK}, {"type": "input_text", "text": f"<{LINK}>"}),
        ({"type": "input_image", "file_id": "f"}, {"type": "input_image", "image_url": "data:image/png;base64,data"}),
        ({"type": "image", "source": {"type": "url", "url": LINK}}, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "data"}}),
        ({"type": "tool_use", "id": "1", "name": "n", "input": {"url": LINK}}, {"type": "tool_use", "id": "1", "name": "n", "input": {"url": LINK}}),
    ],
)  # fmt: skip
def test_parts(part: dict[str, Any], expected: dict[str, Any]) -> None:
    """Each form of part has its own way."""
    assert rewritten(user(part)) == user(expected)


def test_what_is_left_alone() -> None:
    """Tools, metadata and a model's own calls hold no links of the caller's."""
    call = {"id": "1", "type": "function", "function": {"name": "n", "arguments": json.dumps({"url": LINK})}}
    body = {
        "model": "m",
        "metadata": {"url": LINK},
        "tools": [{"image": LINK}],
        "messages": [{"role": "assistant", "tool_calls": [call]}],
    }
    assert rewritten(body) == body


def test_other_hosts() -> None:
    """Only with relaying they are looked at; a host that begins like ours is another."""
    body = user({"image": "https://example.com/a.png"}, {"image": f"{ORIGIN}.evil.example/o/x"})
    assert not OWN.concerns(json.dumps(user({"image": "https://example.com/a.png"})).encode())
    assert rewrite_links(body, OWN, put) == body
    assert rewritten(body, RELAYING) == user(*[{"image": "data:image/png;base64,data"}] * 2)


def test_bytes_within_the_call() -> None:
    """Pictures and sound are counted, wherever an API puts them; texts and documents never."""
    uri = "data:image/png;base64," + "A" * 1000
    for part, count in (
        ({"type": "image_url", "image_url": {"url": uri}}, len(uri)),
        ({"type": "image_url", "image_url": uri}, len(uri)),
        ({"image": uri}, len(uri)),
        ({"type": "input_audio", "input_audio": {"data": "A" * 500}}, 500),
        ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 700}}, 700),
        ({"type": "text", "text": uri}, 0),
        ({"type": "file", "file": {"file_data": uri}}, 0),
        ({"type": "document", "source": {"type": "base64", "data": uri}}, 0),
        ({"type": "video_url", "video_url": {"url": uri}}, 0),
        ({"type": "tool_use", "input": {"image": uri}}, 0),
        ({"type": "image_url", "image_url": {"url": "https://x/" + uri}}, 0),
    ):
        assert inline_bytes(user(part)) == count, part
        assert inline_bytes(user(part)["messages"]) == count, part


keys = st.sampled_from(
    ["type", "content", "messages", "input", "image", "url", "source", "file", "file_id", "text", "video", "data"]
)
values = st.recursive(
    st.none()
    | st.integers()
    | st.sampled_from(["text", "image", "file", "input_file", "document", LINK, "fileid://x", "oss://y", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(keys, values, max_size=4))
def test_anything(body: dict[str, Any]) -> None:
    """Whatever a body is, it is gone through."""
    rewrite_links(body, OWN, put)
    rewrite_links(body, RELAYING, put)
    assert inline_bytes(body) >= 0
