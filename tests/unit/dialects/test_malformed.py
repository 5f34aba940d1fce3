"""Whatever is sent, a dialect says no in so many words: no other exception leaves a decoder, and what it lets through can be carried."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.base.errors import Fault
from steelyard.canon.request import ModelRequest
from steelyard.dialects.dialect import Dialect
from steelyard.dialects.table import DIALECTS

CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
FUNCTION = {"type": "function", "function": {"name": "f", "description": "d", "parameters": CITY}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
IMAGE = {"type": "image_url", "image_url": {"url": "https://x.test/a.png", "detail": "low"}}
OPENAI_MESSAGES: list[Any] = [
    {"role": "system", "content": "s"},
    {"role": "user", "content": [{"type": "text", "text": "t"}, IMAGE]},
    {"role": "assistant", "content": None, "tool_calls": [CALL], "reasoning_content": "r"},
    {"role": "tool", "tool_call_id": "c", "content": "x"},
    {"role": "user", "content": "u"},
]
NATIVE_MESSAGES: list[Any] = [
    {
        "role": "user",
        "content": [{"text": "t"}, {"image": "https://x.test/a.png"}, {"video": ["https://x.test/1.png"]}],
    },
    *OPENAI_MESSAGES[2:],
]
SOURCE = {"type": "base64", "media_type": "image/png", "data": "QUJD"}
ANTHROPIC_MESSAGES: list[Any] = [
    {"role": "user", "content": [{"type": "text", "text": "t"}, {"type": "image", "source": SOURCE}]},
    {
        "role": "assistant",
        "content": [{"type": "thinking", "thinking": "h"}, {"type": "tool_use", "id": "c", "name": "f", "input": {}}],
    },
    {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "x"}]}],
    },
]
PARAMETERS = {
    "tools": [FUNCTION],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "stop": ["a"],
    "seed": 1,
}
SAMPLES: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("apps-native", "apps"): [
        {
            "input": {
                "prompt": "hi",
                "session_id": "s",
                "biz_params": {"user_prompt_params": {"city": "杭州"}},
                "image_list": ["https://example.test/a.png"],
                "doc_reference_type": "indexed",
                "doc_tag_codes": ["t"],
            },
            "parameters": {"has_thoughts": True, "temperature": 0.5, "rag_options": {"pipeline_ids": ["kb"]}},
        },
        {"input": {"messages": [{"role": "user", "content": "hi"}]}, "parameters": {"incremental_output": True}},
    ],
    ("openai", "chat"): [
        {
            "model": "m",
            "messages": OPENAI_MESSAGES,
            **PARAMETERS,
            "stream_options": {"include_usage": True},
            "stream": True,
        },
        {
            "model": "m",
            "messages": OPENAI_MESSAGES[4:],
            "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": CITY}},
        },
    ],
    ("openai", "completions"): [{"model": "m", "prompt": "p", "max_tokens": 5, "stop": "x"}],
    ("openai", "embeddings"): [{"model": "m", "input": ["a", "b"], "dimensions": 8, "encoding_format": "base64"}],
    ("openai", "rerank"): [
        {"model": "m", "query": "q", "documents": ["a", {"text": "b"}], "top_n": 1, "return_documents": True}
    ],
    ("openai", "tokenize"): [{"model": "m", "messages": OPENAI_MESSAGES[4:]}],
    ("responses", "chat"): [
        {
            "model": "m",
            "instructions": "i",
            "input": [
                {
                    "type": "message",
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "t"},
                        {"type": "input_image", "image_url": "https://x.test/a.png"},
                    ],
                },
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "r"}]},
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": "x"},
            ],
            "tools": [{"type": "function", "name": "f", "parameters": CITY}],
            "tool_choice": {"type": "function", "name": "f"},
            "text": {"format": {"type": "json_schema", "name": "n", "schema": CITY}},
            "reasoning": {"effort": "low"},
        },
        {
            "model": "m",
            "input": "hi",
            "tools": [
                {
                    "type": "mcp",
                    "server_label": "s",
                    "server_url": "https://x.test/mcp",
                    "headers": {"a": "b"},
                    "allowed_tools": {"tool_names": ["t"]},
                    "require_approval": "never",
                }
            ],
        },
    ],
    ("dashscope", "chat"): [
        {
            "model": "m",
            "input": {"messages": NATIVE_MESSAGES},
            "parameters": {**PARAMETERS, "result_format": "message"},
        },
        {"model": "m", "input": {"prompt": "p", "history": [{"user": "a", "bot": "b"}]}, "parameters": {}},
    ],
    ("dashscope", "embeddings"): [
        {
            "model": "m",
            "input": {"texts": ["a"], "contents": [{"text": "a"}]},
            "parameters": {"dimension": 8, "text_type": "query"},
        }
    ],
    ("dashscope", "rerank"): [
        {"model": "m", "input": {"query": "q", "documents": ["a", "b"]}, "parameters": {"top_n": 1}}
    ],
    ("dashscope", "tokenize"): [{"model": "m", "input": {"messages": NATIVE_MESSAGES[1:]}}],
    ("anthropic", "chat"): [
        {
            "model": "m",
            "max_tokens": 9,
            "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
            "messages": ANTHROPIC_MESSAGES,
            "tools": [{"name": "f", "input_schema": CITY}],
            "tool_choice": {"type": "tool", "name": "f"},
            "thinking": {"type": "enabled", "budget_tokens": 1024},
            "output_config": {"format": {"type": "json_schema", "schema": CITY}, "effort": "low"},
            "stop_sequences": ["a"],
        }
    ],
    ("anthropic", "tokenize"): [{"model": "m", "messages": ANTHROPIC_MESSAGES}],
}
junk = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-5, 10**20),
        st.floats(allow_nan=False, allow_infinity=False),
        st.sampled_from(["", "x", "text", "user", "auto", "message"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["type", "text", "role", "name", "content", "x"]), inner, max_size=3),
    ),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place within a body."""
    found = [path] if path else []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        found += places(one, (*path, key))
    return found


def spoil(body: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    spoilt = copy.deepcopy(body)
    holder: Any = spoilt
    for key in path[:-1]:
        holder = holder[key]
    if value is ...:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return spoilt


def decode(dialect: Dialect, raw: bytes) -> ModelRequest | Fault:
    try:
        return dialect.decode(raw, {})
    except Fault as failure:
        return failure


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda one: f"{one.api}-{one.operation}-{one.upstream_path}")
@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_spoilt_bodies(dialect: Dialect, data: st.DataObject) -> None:
    """One place of a good body is taken out or holds something else."""
    body = data.draw(st.sampled_from(SAMPLES[dialect.api, dialect.operation]))
    path = data.draw(st.sampled_from(places(body)))
    raw = json.dumps(spoil(body, path, data.draw(st.one_of(st.just(...), junk)))).encode()
    request = decode(dialect, raw)
    if isinstance(request, Fault):
        assert request.status in (400, 413)
        assert request.message.strip()
        return
    assert request.prompt_bound_tokens() > 0
    assert dialect.rewrite_request(request, lambda text: text) is request
    if (
        dialect.codec is not None
        and "server_tool" not in request.needs
        and not (dialect.operation == "embeddings" and request.media_count)
    ):
        ask = dialect.codec.read_request(request)
        for other in DIALECTS:
            if other.operation == dialect.operation and other.upstream_path and other.codec is not None:
                carried = ask.within(other.codec.carries, other.codec.lacks)
                assert json.loads(other.codec.write_request(carried, "m", 7, False))


@pytest.mark.parametrize(
    "item",
    [
        {"type": "function_call_output", "call_id": "c", "output": [{"text": True}]},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "output_text", "text": ["x"]}]},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image"}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": 7}]},
        {"role": "assistant", "content": [{"type": "refusal", "text": {"a": 1}}]},
    ],
)
def test_parts_that_are_no_texts(item: dict[str, Any]) -> None:
    """Found by the test above: a text that is none was let through, and failed where it was to be written."""
    responses = next(one for one in DIALECTS if one.api == "responses")
    called = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    told = decode(responses, json.dumps({"model": "m", "input": [called, item]}).encode())
    assert isinstance(told, Fault)
    assert told.status == 400
    assert "input[1]" in f"{told.param} {told.message}"


@given(
    body=st.dictionaries(
        st.sampled_from(["model", "input", "messages", "prompt", "max_tokens", "parameters", "query", "documents"]),
        junk,
    )
)
@settings(max_examples=200, deadline=None)
def test_any_object(body: dict[str, Any]) -> None:
    """Objects that were never good."""
    for dialect in DIALECTS:
        found = decode(dialect, json.dumps(body).encode())
        assert not isinstance(found, Fault) or found.status == 400
