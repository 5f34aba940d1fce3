"""Which tool a small model is asked for: pure."""

import pytest

from steelyard.engines.catalogue import QWEN_CODER_05B
from steelyard.engines.tool_choice import choice_wish, chosen, is_free

TOOLS = [
    {"type": "function", "function": {"name": name, "description": name * 300, "parameters": {"type": "object"}}}
    for name in ("f", "g")
]
BODY = {"messages": [{"role": "user", "content": [{"type": "text", "text": "how?"}]}], "tools": TOOLS}


def test_the_question() -> None:
    """One name out of a list, or none; descriptions are cut; the examples come before."""
    wish = choice_wish(BODY, QWEN_CODER_05B)
    schema = wish.body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["tool"] == {"enum": ["f", "g", "none"]}
    assert wish.body["messages"][-1]["content"].endswith("Message: how?")
    assert len(wish.body["messages"][-1]["content"]) < 600
    assert not wish.tools


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ('{"tool":"g"}', {"type": "function", "function": {"name": "g"}}),
        ('{"tool":"none"}', "none"),
        ('{"tool":"x"}', "none"),
        ("", "none"),
        ("[]", "none"),
    ],
)
def test_what_was_chosen(text: str, choice: object) -> None:
    """A tool that must be called, or none."""
    assert chosen(BODY, text)["tool_choice"] == choice


def test_when_it_is_asked() -> None:
    """Where the caller leaves it to the model, and no tool has answered yet."""
    assert is_free(BODY)
    assert is_free(BODY | {"tool_choice": "auto"})
    assert not is_free(BODY | {"tool_choice": "required"})
    assert not is_free({"messages": BODY["messages"]})
