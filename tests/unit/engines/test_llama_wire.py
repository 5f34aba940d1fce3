"""Between the vendor's wire and the engine's: pure."""

import json

import pytest

from steelyard.canon.usage import Usage
from steelyard.engines.answers import ChatShape
from steelyard.engines.catalogue import MODELS, QWEN_CODER_05B
from steelyard.engines.generation import Piece
from steelyard.engines.llama_wire import chat_wish, completion_wish, engine_fault
from steelyard.engines.tool_calls import call_schema, may_be_call, parse_calls

TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("f", "g")]
HI = [
    {"role": "developer", "content": "be brief"},
    {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
]


def test_chat_wish() -> None:
    """Parts are joined, developer is system, the model's sampling is the default, top_k off is 0."""
    asked = chat_wish(
        {"messages": HI, "temperature": 0.1, "top_k": 500, "repetition_penalty": 1.2, "stop": "x"}, QWEN_CODER_05B
    ).body
    assert [(one["role"], one["content"]) for one in asked["messages"]] == [("system", "be brief"), ("user", "ab")]
    assert (asked["temperature"], asked["top_p"], asked["top_k"], asked["repeat_penalty"]) == (0.1, 0.8, 0, 1.2)
    assert asked["max_tokens"] == QWEN_CODER_05B.default_output_tokens
    assert asked["stop"] == ["x"]


def test_forced_tools_are_constrained() -> None:
    """required and a named tool become a schema; none hides the tools; auto leaves the model free."""
    wish = chat_wish({"messages": HI, "tools": TOOLS, "tool_choice": "required"}, QWEN_CODER_05B)
    assert wish.is_constrained
    assert len(wish.body["response_format"]["json_schema"]["schema"]["anyOf"]) == 2
    named = chat_wish(
        {"messages": HI, "tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "g"}}}, QWEN_CODER_05B
    )
    assert named.body["response_format"]["json_schema"]["schema"]["properties"]["name"] == {"const": "g"}
    assert chat_wish({"messages": HI, "tools": TOOLS, "tool_choice": "none"}, QWEN_CODER_05B).tools == []
    free = chat_wish({"messages": HI, "tools": TOOLS}, QWEN_CODER_05B)
    assert "response_format" not in free.body
    assert "<tools>" in free.body["messages"][0]["content"]


def test_fill_in_the_middle() -> None:
    """A suffix uses the model's own marks."""
    prompt = completion_wish({"prompt": "def f(", "suffix": "return 1"}, QWEN_CODER_05B).body["prompt"]
    assert prompt == "<|fim_prefix|>def f(<|fim_suffix|>return 1<|fim_middle|>"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('{"name": "f", "arguments": {"a": 1}}', ["f"]),
        ('```json\n{"name": "g", "arguments": {}}\n```', ["g"]),
        (
            '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>\n<tool_call>\n{"name": "g", "arguments": {}}\n</tool_call>',
            ["f", "g"],
        ),
        ('[{"name": "f", "arguments": {}}, {"name": "g", "parameters": {}}]', ["f", "g"]),
        ('{"function": {"name": "f", "arguments": "{}"}}', ["f"]),
        ('{"name": "unknown", "arguments": {}}', []),
        ("The answer is 5.", []),
        ('{"name": "f", "arguments": 5}', []),
        ("{", []),
    ],
)
def test_lenient_parsing(text: str, names: list[str]) -> None:
    """Bare, fenced, tagged or listed; unknown tools and prose are no calls."""
    calls = parse_calls(text, TOOLS, many=True)
    assert [call["function"]["name"] for call in calls] == names
    assert all(isinstance(json.loads(call["function"]["arguments"]), dict) for call in calls)
    assert len(parse_calls(text, TOOLS, many=False)) == min(1, len(names))


def test_what_may_be_a_call_is_held_back() -> None:
    """Text that begins like a call waits; prose does not."""
    assert all(may_be_call(text) for text in ("", " ", "<tool", "{", '{"na', "``", "[1"))
    assert not any(may_be_call(text) for text in ("Hello", "<b>", "`x`"))


def test_engine_errors() -> None:
    """The engine's words become documented rows."""
    assert (
        engine_fault({"type": "exceed_context_size_error"}, QWEN_CODER_05B).message
        == "Range of input length should be [1, 8192]"
    )
    assert engine_fault({"message": "JSON schema error"}, QWEN_CODER_05B).slug == "json_schema_invalid"
    assert engine_fault({"code": 500, "message": "boom"}, QWEN_CODER_05B).status == 500


def test_answer_shape() -> None:
    """Choices by index, one prompt counted once, exactly the vendor's fields."""
    usage = Usage(prompt_tokens=5, completion_tokens=2, cached_tokens=1)
    pieces = [
        Piece(1, "b"),
        Piece(0, "a"),
        Piece(0, finish_reason="stop"),
        Piece(1, finish_reason="length"),
        Piece(0, usage=usage),
        Piece(1, usage=usage),
    ]
    body = json.loads(ChatShape("id", 1, "m", with_logprobs=False).whole(pieces))
    assert [choice["message"]["content"] for choice in body["choices"]] == ["a", "b"]
    assert body["usage"] == {
        "prompt_tokens": 5,
        "completion_tokens": 4,
        "total_tokens": 9,
        "prompt_tokens_details": {"cached_tokens": 1},
    }
    frames = ChatShape("id", 1, "m", with_logprobs=False).frames(
        Piece(
            0, tool_calls=parse_calls('{"name":"f","arguments":{"a":1}}', TOOLS, many=False), finish_reason="tool_calls"
        )
    )
    events = [json.loads(line[6:]) for line in frames.decode().splitlines() if line]
    assert events[0]["choices"][0]["delta"]["tool_calls"][0]["function"] == {"name": "f", "arguments": ""}
    assert "id" not in events[1]["choices"][0]["delta"]["tool_calls"][0]
    assert events[2]["choices"][0]["finish_reason"] == "tool_calls"


def test_catalogue_is_sound() -> None:
    """Hashes are whole, parts are numbered, licences are named."""
    for model in MODELS.values():
        assert len(model.weights.sha256) == 64
        assert all(len(part.sha256) == 64 and "==" in part.requirement for part in model.weights.parts)
        assert model.weights.licence == "Apache-2.0"
    assert call_schema(TOOLS, "f")["properties"]["name"] == {"const": "f"}
