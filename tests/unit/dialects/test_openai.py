"""The OpenAI dialect, both roles, pure: requests, whole answers, and streams cut at every byte."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.base.errors import Fault
from steelyard.canon.request import ModelRequest
from steelyard.dialects import openai_chat, openai_completions, openai_errors, openai_wire
from steelyard.dialects.dialect import Showing
from steelyard.dialects.openai_stream import OpenAITap

HI = [{"role": "user", "content": "hi"}]


def chat(**fields: object) -> bytes:
    return json.dumps({"model": "m", "messages": HI, **fields}).encode()


def slug_of(raw: bytes) -> str:
    with pytest.raises(Fault) as caught:
        openai_chat.decode(raw, {})
    return caught.value.slug


REFUSALS = [
    ({"messages": None}, "prompt_and_messages_missing"),
    ({"messages": "x"}, "parameter_type"),
    ({"messages": [1]}, "message_invalid"),
    ({"messages": [{"role": "wizard", "content": "x"}]}, "role_invalid"),
    ({"messages": [{"role": "system", "content": "x"}]}, "user_message_missing"),
    ({"messages": [*HI, {"role": "assistant", "content": "x"}]}, "last_message_not_user"),
    ({"messages": [{"role": "user", "content": 5}]}, "content_not_text"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "message_invalid"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "ftp://x"}}]}]}, "media_url_invalid"),
    ({"messages": [{"role": "user", "content": [{"type": "smell"}]}]}, "message_invalid"),
    ({"messages": [*HI, {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": ""}}]}, *HI]}, "tool_arguments_invalid"),
    ({"top_p": 1.5}, "top_p_range"),
    ({"top_k": -1}, "top_k_range"),
    ({"top_k": 1.5}, "parameter_type"),
    ({"temperature": True}, "parameter_type"),
    ({"presence_penalty": 3}, "presence_penalty_range"),
    ({"repetition_penalty": 0}, "repetition_penalty_range"),
    ({"n": 0}, "n_range"),
    ({"seed": 2**31}, "seed_range"),
    ({"seed": "x"}, "seed_type"),
    ({"stop": ["a", 1]}, "stop_type"),
    ({"stop": 5}, "stop_type"),
    ({"max_tokens": 0}, "max_tokens_range"),
    ({"stream": "yes"}, "parameter_type"),
    ({"stream_options": 1}, "parameter_type"),
    ({"top_logprobs": 3}, "top_logprobs_range"),
    ({"logprobs": True, "top_logprobs": 9}, "top_logprobs_range"),
    ({"response_format": {"type": "xml"}}, "response_format_invalid"),
    ({"response_format": {"type": "json_schema"}}, "response_format_invalid"),
    ({"response_format": {"type": "json_object"}, "enable_thinking": True}, "json_mode_thinking"),
    ({"tools": [{"type": "function"}]}, "tools_invalid"),
    ({"tools": [{"type": "function", "function": {"name": "search"}}]}, "tool_name_reserved"),
    ({"modalities": ["text", "audio"]}, "audio_needs_stream"),
    ({"modalities": "audio"}, "parameter_type"),
    ({"tool_choice": "sometimes"}, "tool_choice_invalid"),
    ({"tool_choice": "required"}, "tool_choice_invalid"),
    ({"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": {"type": "function", "function": {"name": "g"}}}, "tool_choice_invalid"),
    ({"tools": [{"type": "function", "function": {"name": "f"}}], "n": 2}, "n_with_tools"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "slug"), REFUSALS)
def test_refusals(fields: dict, slug: str) -> None:
    """Each wrong value has its row."""
    assert slug_of(chat(**fields)) == slug


def test_what_policy_needs_is_read() -> None:
    """Caps, count, needs, stream; unknown fields stay in the body."""
    raw = chat(
        max_tokens=5, max_completion_tokens=7.0, n=2, stream=True, stream_options={"include_usage": True}, foo=[1]
    )
    request = openai_chat.decode(raw, {})
    assert (request.output_cap_tokens, request.n, request.is_stream, request.wants_usage) == (7, 2, True, True)
    assert request.body["foo"] == [1]
    image = {"type": "image_url", "image_url": {"url": "https://x/a.png"}}
    needs = openai_chat.decode(
        chat(messages=[{"role": "user", "content": [image]}], enable_search=True, logprobs=True), {}
    ).needs
    assert needs == {"image", "search", "logprobs"}


def test_prompt_bound_is_never_below_the_bytes() -> None:
    """No tokenizer makes more tokens than bytes."""
    request = openai_chat.decode(chat(messages=[{"role": "user", "content": "汉" * 100}]), {})
    assert request.prompt_bound_tokens() >= 300


def test_upstream_body_is_the_callers_own_where_nothing_changes() -> None:
    """Same bytes; usage is spliced in for streams; a renamed model or a cap is encoded anew, unknown fields kept."""
    raw = chat(foo=1)
    assert openai_wire.encode_request(openai_chat.decode(raw, {}), "m", None) == raw
    streamed = json.loads(openai_wire.encode_request(openai_chat.decode(chat(stream=True, foo=1), {}), "m", None))
    assert streamed == {**json.loads(chat(stream=True, foo=1)), "stream_options": {"include_usage": True}}
    off = chat(stream=True, stream_options={"include_usage": False, "x": 1})
    assert json.loads(openai_wire.encode_request(openai_chat.decode(off, {}), "m", None))["stream_options"] == {
        "include_usage": True,
        "x": 1,
    }
    renamed = json.loads(openai_wire.encode_request(openai_chat.decode(raw, {}), "other", 9))
    assert (renamed["model"], renamed["max_tokens"], renamed["foo"]) == ("other", 9, 1)


def test_whole_answers() -> None:
    """Usage is read; what is no answer is a bad gateway; an error inside a 200 is one."""
    reply = openai_wire.read_reply(
        b'{"choices":[{}],"usage":{"prompt_tokens":3,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":1},"completion_tokens_details":null}}'
    )
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.cached_tokens) == (3, 2, 1)
    assert openai_wire.read_reply(b'{"choices":[{}]}').usage is None
    assert (
        openai_wire.read_reply(
            b'{"choices":[{}],"usage":{"prompt_tokens":"3","completion_tokens":4.5}}'
        ).usage.prompt_tokens
        == 0
    )
    assert openai_wire.read_reply(b'{"error":{"message":"m","code":"c"}}').error.message == "m"
    for bad in (b"", b"<html>", b"[]", b"{}", b'{"choices":null}'):
        with pytest.raises(Fault):
            openai_wire.read_reply(bad)
    assert json.loads(openai_wire.show_reply(b'{"model":"a","choices":[]}', showing(model="b")))["model"] == "b"


USAGE = b'data: {"id":"1","model":"v","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3}}\n\n'
STREAM = (
    b'data: {"id":"1","model":"v","choices":[{"index":0,"delta":{"content":"a \\"usage\\":{ b"}}],"usage":null}\n\n'
    b": keep-alive\n\n"
    b'data: {"id":"1","model":"v","choices":[{"index":0,"delta":{"content":"\xe6\xb1\x89"}}],"usage":null}\r\n\r\n'
    + USAGE
    + b"data: [DONE]\n\n"
)


def showing(*, hide: bool = False, model: str | None = None) -> Showing:
    asked = ModelRequest(operation="chat", model="asked", raw=b"{}", decoded={}, wants_usage=not hide)
    return Showing(asked, "id", 1, model)


def relay(chunks: list[bytes], *, hide: bool, model: str | None = None) -> tuple[bytes, OpenAITap]:
    tap = OpenAITap(showing(hide=hide, model=model))
    out = b"".join(tap.feed(chunk) for chunk in chunks)
    return out + tap.flush(), tap


@pytest.mark.parametrize("hide", [True, False])
@pytest.mark.parametrize("size", [1, 2, 7, 64, 10_000])
def test_streams_cut_at_every_byte(hide: bool, size: int) -> None:
    """Whole or one byte at a time: the same events, the usage read, hidden where it was not asked for."""
    out, tap = relay([STREAM[i : i + size] for i in range(0, len(STREAM), size)], hide=hide)
    assert tap.is_done
    assert (tap.usage.prompt_tokens, tap.usage.completion_tokens) == (9, 3)
    assert (b'"usage":{"prompt' in out) is not hide
    assert out.count(b'"delta"') == 2
    assert out.endswith(b"data: [DONE]\n\n")
    assert tap.error is None


@given(st.lists(st.integers(1, 40), max_size=60))
@settings(max_examples=60)
def test_streams_cut_anywhere(sizes: list[int]) -> None:
    """However the network cuts it, nothing is lost and nothing is added."""
    chunks, at = [], 0
    for size in sizes:
        chunks.append(STREAM[at : at + size])
        at += size
    out, tap = relay([*chunks, STREAM[at:]], hide=False)
    assert out.replace(b"\r\n", b"\n") == STREAM.replace(b"\r\n", b"\n")
    assert tap.is_done


def test_model_is_renamed_in_streams() -> None:
    """In every event, and only there."""
    out, _ = relay([STREAM], hide=False, model='x"y')
    assert out.count(b'"model":"x\\"y"') == 3
    assert b'"model":"v"' not in out


def test_errors_in_streams_are_seen() -> None:
    """The OpenAI frame and the native flat one."""
    for event in (
        b'{"error":{"message":"no","code":"data_inspection_failed"}}',
        b'{"code":"data_inspection_failed","message":"no"}',
    ):
        _, tap = relay([b"data: " + event + b"\n\n"], hide=True)
        assert tap.error.slug == "data_inspection_failed"
        assert tap.error.status == 400


def test_completions_requests() -> None:
    """A list of one is that one; lists and token ids are refused."""
    assert openai_completions.decode(b'{"model":"m","prompt":["x"]}', {}).body["prompt"] == "x"
    for prompt in (b"[1,2]", b'["a","b"]', b"5", b"[]"):
        with pytest.raises(Fault) as caught:
            openai_completions.decode(b'{"model":"m","prompt":' + prompt + b"}", {})
        assert caught.value.slug == "prompt_type"


@pytest.mark.parametrize(
    ("status", "body", "slug", "passed_status"),
    [
        (401, {"error": {"message": "x"}}, "provider_refused_key", 502),
        (403, {"error": {"message": "x"}}, "provider_refused_key", 502),
        (400, {"error": {"message": "x", "code": "data_inspection_failed"}}, "data_inspection_failed", 400),
        (404, {"error": {"message": "x"}}, "model_not_found", 404),
        (408, None, "upstream_timeout", 504),
        (500, {"error": "text"}, "inference_error", 500),
        (502, {"error": "text"}, "bad_gateway", 502),
        (504, None, "upstream_timeout", 504),
        (429, {"error": {"message": "x"}}, "limit_requests", 429),
        (503, None, "model_unavailable", 503),
        (418, {"message": "teapot", "code": "T"}, "parameter_invalid", 418),
    ],
)
def test_upstream_refusals(status: int, body: dict | None, slug: str, passed_status: int) -> None:
    """The map from an upstream's status to ours is total."""
    failure = openai_errors.read_refusal(status, {}, body, "p")
    assert (failure.slug, failure.status) == (slug, passed_status)
