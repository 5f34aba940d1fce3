"""Each operation's wire as it was looked over once, in both roles. `STEELYARD_GOLDEN=write` writes anew what has changed on purpose.

A file holds what a dialect sends to an upstream (request), what it makes of canon for a caller (answer, stream, error), and what
its own decoder reads back of the request.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from steelyard.base.errors import fault
from steelyard.canon.answer import (
    ARGUED,
    ASKED_MODEL,
    CALLED,
    CALLED_TOOL,
    ENDED,
    RAN,
    SAID,
    SEARCHED,
    THOUGHT,
    ChatAnswer,
    Choice,
    Piece,
    Step,
)
from steelyard.canon.conversation import Conversation, Message, Part, Tool, ToolCall
from steelyard.canon.embedding import EmbeddingAnswer, EmbeddingAsk, RankAnswer, RankAsk, Ranked
from steelyard.canon.knowledge import FoundPassages, Passage
from steelyard.canon.request import ModelRequest
from steelyard.canon.tokens import TokenAnswer
from steelyard.canon.usage import Usage
from steelyard.dialects.codec import Codec
from steelyard.dialects.dialect import Dialect, Showing
from steelyard.dialects.table import DIALECTS

HERE = Path(__file__).parent
ID = "11111111-2222-3333-4444-555555555555"
USAGE = Usage(prompt_tokens=9, completion_tokens=4, cached_tokens=2, reasoning_tokens=1)
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CALL = ToolCall("call_0", "get_weather", '{"city":"杭州"}')

CHAT = Conversation(
    messages=(
        Message(role="system", parts=(Part(text="简短回答"),)),
        Message(role="user", parts=(Part(text="看图"), Part(kind="image", urls=("https://example.test/a.png",)))),
        Message(role="assistant", parts=(Part(text="先查天气"),), reasoning="要工具", tool_calls=(CALL,)),
        Message(role="tool", call_id="call_0", parts=(Part(text="晴"),)),
        Message(role="user", parts=(Part(text="然后呢?"),)),
    ),
    tools=(Tool("get_weather", "The weather", CITY),),
    tool_choice="required",
    stop=("END",),
    settings={"temperature": 0.5, "top_p": 0.9, "enable_thinking": True, "thinking_budget": 1024},
)
SEARCH = Step(
    kind=SEARCHED,
    id="s",
    found=FoundPassages(
        question="天气?",
        passages=(
            Passage(
                base_id="kb",
                chunk_id="c",
                document_id="d",
                document_name="天气.md",
                number=1,
                text="杭州晴",
                place="page 3",
                score=0.9,
            ),
        ),
    ),
)
ASKED = Step(kind=ASKED_MODEL, name="qwen-plus", usage=USAGE)
TOLD = Step(kind=CALLED_TOOL, id="t", name="get", plugin="weather", arguments='{"city":"杭州"}', output="晴")
ASKS: dict[str, Any] = {
    "chat": CHAT,
    "apps": CHAT,
    "tokenize": Conversation(messages=CHAT.messages[:1] + CHAT.messages[4:]),
    "embeddings": EmbeddingAsk(texts=("天平", "scales"), text_type="query", dimensions=64),
    "rerank": RankAsk(query="天平", documents=("砝码", "scales"), top_n=1),
}
ANSWERS: dict[str, Any] = {
    "chat": ChatAnswer(
        choices=(Choice(text="晴天", reasoning="想一想", tool_calls=(CALL,), reason="tool_calls"),), usage=USAGE
    ),
    "apps": ChatAnswer(choices=(Choice(text="晴天[1]", reasoning="想一想"),), usage=USAGE, steps=(SEARCH, ASKED, TOLD)),
    "tokenize": TokenAnswer(count=2, ids=(5, 7), texts=("天", "平")),
    "embeddings": EmbeddingAnswer(vectors=([0.5, -0.25], [0.0, 1.0]), usage=Usage(prompt_tokens=3)),
    "rerank": RankAnswer(results=(Ranked(1, 0.75), Ranked(0, 0.25)), usage=Usage(prompt_tokens=6)),
}
PIECES = [
    Piece(THOUGHT, "想"),
    Piece(SAID, "晴"),
    Piece(SAID, "天"),
    Piece(CALLED, "get_weather", 0, 0, "call_0"),
    Piece(ARGUED, '{"city":', 0, 0),
    Piece(ARGUED, '"杭州"}', 0, 0),
    Piece(ENDED, "tool_calls"),
]


def name_of(dialect: Dialect) -> str:
    return f"{dialect.api}-{dialect.operation}-{(dialect.paths or (dialect.upstream_path,))[0].strip('/').replace('/', '.')}"


def pieces_for(codec: Codec) -> list[Piece]:
    return [*(Piece(RAN, step=one) for one in (SEARCH, ASKED, TOLD)), *PIECES] if codec.tells_steps else PIECES


def showing() -> Showing:
    body = {"input": {"documents": ["砝码", "scales"]}, "documents": ["砝码", "scales"], "encoding_format": "base64"}
    settings = {"result_format": "message", "return_documents": True, "incremental_output": True, "has_thoughts": True}
    request = ModelRequest(
        operation="chat", model="m", raw=b"{}", decoded=body, own_settings=settings, wants_usage=True, is_stream=True
    )
    return Showing(request, ID, 1_770_000_000)


def render(dialect: Dialect) -> dict[str, Any]:
    """Everything that a dialect writes, and what it reads of its own request."""
    codec = dialect.codec
    assert codec is not None
    shown: dict[str, Any] = {"paths": list(dialect.paths), "upstream_path": dialect.upstream_path}
    if dialect.upstream_path:
        wire = codec.write_request(ASKS[dialect.operation], "m", 77, False)
        request = (
            dialect.decode(wire, {})
            if dialect.operation != "embeddings" or "multimodal" not in name_of(dialect)
            else None
        )
        shown["request"] = json.loads(wire)
        if request is not None:
            shown["read"] = {
                "needs": sorted(request.needs),
                "output_cap_tokens": request.output_cap_tokens,
                "media_count": request.media_count,
            }
    shown["answer"] = json.loads(codec.write_answer(ANSWERS[dialect.operation], showing()))
    if codec.open_writer is not None:
        writer = codec.open_writer(showing())
        stream = b"".join(writer.write([piece]) for piece in pieces_for(codec)) + writer.end(USAGE)
        shown["stream"] = stream.decode().split("\n")
        shown["broken"] = codec.open_writer(showing()).fail(fault("stream_broken")).decode().split("\n")
    headers, body = dialect.render_error(fault("model_not_found", model="m", param="model"), ID)
    shown["error"] = {"headers": {key.decode(): value.decode() for key, value in headers}, "body": json.loads(body)}
    return shown


@pytest.mark.parametrize("dialect", [one for one in DIALECTS if one.codec is not None], ids=name_of)
def test_golden(dialect: Dialect) -> None:
    """Nothing on the wire changes without being looked at."""
    path = HERE / f"{name_of(dialect)}.json"
    text = json.dumps(render(dialect), ensure_ascii=False, indent=1) + "\n"
    if os.environ.get("STEELYARD_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert path.is_file(), f"{path.name} is missing: STEELYARD_GOLDEN=write pytest {Path(__file__).name}"
    assert json.loads(path.read_text(encoding="utf-8")) == json.loads(text)


def test_no_golden_is_left_over() -> None:
    """A file without a dialect says nothing."""
    wanted = {f"{name_of(one)}.json" for one in DIALECTS if one.codec is not None}
    assert {path.name for path in HERE.glob("*.json")} == wanted
