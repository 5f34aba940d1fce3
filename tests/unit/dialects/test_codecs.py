"""Wire to canon and back: what a dialect can carry comes through unchanged, whole or cut at every byte."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.base.errors import ROWS, fault
from steelyard.canon.answer import ARGUED, CALLED, ENDED, SAID, THOUGHT, ChatAnswer, Choice, Piece
from steelyard.canon.conversation import Conversation, Message, Part, Tool, ToolCall
from steelyard.canon.request import ModelRequest
from steelyard.canon.usage import Usage
from steelyard.dialects import anthropic_messages, dashscope_generation, openai_chat, openai_responses
from steelyard.dialects.dialect import Dialect, Showing
from steelyard.dialects.table import DIALECTS

BOTH = {
    "openai": openai_chat.DIALECT,
    "dashscope": dashscope_generation.TEXT,
    "dashscope multimodal": dashscope_generation.MULTIMODAL,
    "anthropic": anthropic_messages.DIALECT,
}
CLIENTS = {**BOTH, "responses": openai_responses.DIALECT}
texts = st.text(alphabet='ab "\\\n汉字🙂:{}', min_size=1, max_size=30)
schema = {"type": "object", "properties": {"city": {"type": "string"}}}


def showing(dialect: Dialect) -> Showing:
    settings = {"incremental_output": True, "result_format": "message"}
    request = ModelRequest(
        operation="chat", model="m", raw=b"{}", decoded={"input": "x"}, own_settings=settings, wants_usage=True
    )
    return Showing(request, "11111111-2222-3333-4444-555555555555", 1)


# requests


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    """What all three APIs can say: system first, turns, tool calls and their results, samplings."""
    messages = [Message(role="system", parts=(Part(text=draw(texts)),))] if draw(st.booleans()) else []
    for turn in range(draw(st.integers(1, 3))):
        messages.append(Message(role="user", parts=(Part(text=draw(texts)),)))
        if draw(st.booleans()):
            call = ToolCall(f"c{turn}", "f", '{"city":"x"}')
            text = (Part(text=draw(texts)),) if draw(st.booleans()) else ()
            messages.append(Message(role="assistant", parts=text, tool_calls=(call,)))
            messages.append(Message(role="tool", call_id=call.id, parts=(Part(text=draw(texts)),)))
        else:
            messages.append(Message(role="assistant", parts=(Part(text=draw(texts)),)))
    messages.append(Message(role="user", parts=(Part(text=draw(texts)),)))
    choice = draw(st.sampled_from([("auto", ""), ("none", ""), ("required", "f")]))
    return Conversation(
        messages=tuple(messages),
        tools=(Tool("f", "d", schema),),
        tool_choice=choice[0],
        forced_tool=choice[1],
        stop=draw(st.sampled_from([(), ("END",), ("a", "b")])),
        settings={"temperature": 0.5, "top_p": 0.9, "top_k": 3},
    )


def merged(ask: Conversation) -> list[tuple[str, str, tuple[ToolCall, ...], str]]:
    """What is said, however its texts are cut into parts."""
    return [(one.role, one.text, one.tool_calls, one.call_id) for one in ask.messages]


@pytest.mark.parametrize("name", BOTH)
@given(ask=conversations())
@settings(max_examples=40, deadline=None)
def test_requests(name: str, ask: Conversation) -> None:
    """canon -> wire -> canon is the identity."""
    dialect = BOTH[name]
    codec = dialect.codec
    assert codec is not None
    wire = codec.write_request(ask, "m", 77, False)
    request = dialect.decode(wire, {})
    again = codec.read_request(request)
    assert merged(again) == merged(ask)
    for field in ("tools", "tool_choice", "forced_tool", "stop", "settings"):
        assert getattr(again, field) == getattr(ask, field), field
    assert request.output_cap_tokens == 77


# whole answers


@st.composite
def answers(draw: st.DrawFn) -> ChatAnswer:
    calls = tuple(ToolCall(f"c{n}", "f", '{"city":"x"}') for n in range(draw(st.integers(0, 2))))
    choice = Choice(
        text=draw(texts),
        reasoning=draw(st.one_of(st.just(""), texts)),
        tool_calls=calls,
        reason="tool_calls" if calls else draw(st.sampled_from(["stop", "length"])),
    )
    return ChatAnswer(choices=(choice,), usage=Usage(prompt_tokens=9, completion_tokens=4, cached_tokens=2))


@pytest.mark.parametrize("name", BOTH)
@given(answer=answers())
@settings(max_examples=40, deadline=None)
def test_answers(name: str, answer: ChatAnswer) -> None:
    """canon -> wire -> canon is the identity, and the wire is what the dialect's own reader takes."""
    dialect = BOTH[name]
    assert dialect.codec is not None
    wire = dialect.codec.write_answer(answer, showing(dialect))
    assert dialect.codec.read_answer(wire) == answer
    assert dialect.read_reply(wire).usage == answer.usage


# streams


PIECES = [
    Piece(THOUGHT, "hm "),
    Piece(THOUGHT, '"yes"'),
    Piece(SAID, "你好 "),
    Piece(SAID, "a\nb\\"),
    Piece(CALLED, "f", 0, 0, "c0"),
    Piece(ARGUED, '{"city"', 0, 0),
    Piece(ARGUED, ':"x"}', 0, 0),
    Piece(CALLED, "g", 0, 1, "c1"),
    Piece(ARGUED, "{}", 0, 1),
    Piece(ENDED, "tool_calls"),
]
USAGE = Usage(prompt_tokens=9, completion_tokens=4, cached_tokens=2)


def told(pieces: list[Piece]) -> dict[str, Any]:
    """What pieces say, however they are cut."""
    out: dict[str, Any] = {"said": "", "thought": "", "calls": {}, "reason": ""}
    for one in pieces:
        if one.kind in (SAID, THOUGHT):
            out[one.kind] += one.text
        elif one.kind == CALLED:
            out["calls"][one.call] = [one.call_id, one.text, ""]
        elif one.kind == ARGUED:
            out["calls"][one.call][2] += one.text
        else:
            out["reason"] = one.text
    return out


@pytest.mark.parametrize("size", [1, 3, 64, 100_000])
@pytest.mark.parametrize("name", BOTH)
def test_streams(name: str, size: int) -> None:
    """What a writer writes its own reader reads, whole or a byte at a time, and so does the tap that lets it pass."""
    dialect = BOTH[name]
    codec = dialect.codec
    assert codec is not None
    assert codec.open_reader is not None
    assert codec.open_writer is not None
    writer = codec.open_writer(showing(dialect))
    wire = b"".join(writer.write([piece]) for piece in PIECES) + writer.end(USAGE)
    reader, read = codec.open_reader(), []
    tap, passed = dialect.open_tap(showing(dialect)), b""
    for at in range(0, len(wire), size):
        read += reader.feed(wire[at : at + size])
        passed += tap.feed(wire[at : at + size])
    read += reader.flush()
    passed += tap.flush()
    assert told(read) == told(PIECES)
    assert (reader.is_done, reader.usage, reader.error) == (True, USAGE, None)
    assert (tap.is_done, tap.usage, tap.error) == (True, USAGE, None)
    assert passed == wire


@given(st.lists(st.sampled_from([0, 1, 2, 4, 7]), max_size=8), st.sampled_from(sorted(BOTH)), st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_streams_that_break_off_are_never_whole(starts: list[int], name: str, cut: int) -> None:
    """Cut anywhere before its end, a stream is not done."""
    dialect = BOTH[name]
    assert dialect.codec is not None
    assert dialect.codec.open_reader is not None
    assert dialect.codec.open_writer is not None
    writer = dialect.codec.open_writer(showing(dialect))
    wire = b"".join(writer.write([PIECES[start]]) for start in sorted(set(starts))) or writer.write([PIECES[2]])
    reader = dialect.codec.open_reader()
    tap = dialect.open_tap(showing(dialect))
    part = wire[: max(len(wire) - cut, 0)].rpartition(b"\n")[0] + b"\n"
    reader.feed(part)
    reader.flush()
    tap.feed(part)
    tap.flush()
    assert not reader.is_done
    assert not tap.is_done


# errors


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("row", [row.slug for row in ROWS])
def test_every_error_in_every_dialect(name: str, row: str) -> None:
    """Before the first byte a body with status, code and type; after it an event with the same."""
    dialect = CLIENTS[name]
    failure = fault(row, detail=" d", limit=1, model="m")
    headers, body = dialect.render_error(failure, "id")
    shown = json.loads(body)
    assert dict(headers)[b"content-type"] == b"application/json"
    assert dialect.codec is not None
    assert dialect.codec.open_writer is not None
    event = dialect.codec.open_writer(showing(dialect)).fail(failure)
    data = [json.loads(line[5:]) for line in event.split(b"\n") if line.startswith(b"data:")][-1]
    if name.startswith("dashscope"):
        assert shown["code"] == data["code"] == failure.native_code
        assert shown["message"] == data["message"] != ""
        assert f":HTTP_STATUS/{failure.status}".encode() in event
        assert b"\nevent:error\n" in event
    elif name == "anthropic":
        assert shown["error"] == data["error"]
        assert shown["error"]["type"] == failure.anthropic_type
        assert event.startswith(b"event: error\n")
    elif name == "responses":
        assert (data["type"], data["message"]) == ("error", failure.message)
    else:
        assert shown["error"] == data["error"]
        assert (shown["error"]["type"], shown["error"]["code"]) == (failure.openai_type, failure.openai_code)


def test_the_table_has_every_dialect_once() -> None:
    """No two answer at one path, and each API has one way to speak to upstreams for an operation and a kind of call."""
    paths = [path for one in DIALECTS for path in one.paths]
    assert len(paths) == len(set(paths))
    plain = ModelRequest(operation="chat", model="m", raw=b"", decoded={})
    for api in ("openai", "dashscope", "anthropic"):
        for media in (0, 1):
            request = msgspec.structs.replace(plain, media_count=media)
            suiting = [one for one in DIALECTS if (one.api, one.operation) == (api, "chat") and one.suits(request, "m")]
            assert len(suiting) == 1
