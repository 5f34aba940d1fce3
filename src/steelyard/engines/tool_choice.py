"""Whether a small model calls a tool, and which: asked of it by itself, in words that it cannot get wrong. Pure.

A model of half a billion parameters that is free to call or to answer does both at once, or calls whatever it is offered. Asked for a name
out of a list it is right four times in five, and the call that follows is held to the tool's schema: so a call is always well formed.
"""

from typing import Any

import msgspec

from steelyard.engines.catalogue import EmbeddedModel
from steelyard.engines.llama_wire import Wish, chat_wish

NONE = "none"
MAX_QUESTION_CHARS, MAX_DESCRIPTION_CHARS = 2000, 200
_RULE = "You choose the tool that a message needs. Answer with its name, or none."
#: (tools, message) -> name; in both languages, with and without a tool.
_EXAMPLES = (
    ("- stock__price: The price of a share.", "How are you today?", NONE),
    ("- stock__price: The price of a share.\n- mail__send: Sends a mail.", "苹果的股价是多少?", "stock__price"),
    ("- stock__price: The price of a share.", "Write a function that adds two numbers.", NONE),
)


def is_free(body: dict[str, Any]) -> bool:
    """Whether a call leaves it to the model."""
    return bool(body.get("tools")) and (body.get("tool_choice") or "auto") == "auto"


def choice_wish(body: dict[str, Any], model: EmbeddedModel) -> Wish:
    """The question which tool it is."""
    tools = [one["function"] for one in body["tools"]]
    listing = "\n".join(f"- {one['name']}: {(one.get('description') or '')[:MAX_DESCRIPTION_CHARS]}" for one in tools)
    messages = [{"role": "system", "content": _RULE}]
    for shown, asked, name in (*_EXAMPLES, (listing, question_of(body), "")):
        messages.append(
            {"role": "user", "content": f"Tools:\n{shown}\n- {NONE}: no tool is needed\n\nMessage: {asked}"}
        )
        if name:
            messages.append({"role": "assistant", "content": _answer(name)})
    schema = {
        "type": "object",
        "properties": {"tool": {"enum": [*(one["name"] for one in tools), NONE]}},
        "required": ["tool"],
        "additionalProperties": False,
    }
    response_format = {"type": "json_schema", "json_schema": {"name": "tool", "schema": schema}}
    wish = {"messages": messages, "response_format": response_format, "temperature": 0, "max_tokens": 100}
    return chat_wish(wish, model)


def _answer(name: str) -> str:
    return msgspec.json.encode({"tool": name}).decode()


def question_of(body: dict[str, Any]) -> str:
    """The text of the last thing that the user said."""
    asked = next((one for one in reversed(body["messages"]) if one["role"] == "user"), {"content": ""})
    content = asked.get("content") or ""
    if isinstance(content, list):
        content = "".join(part.get("text") or "" for part in content)
    return str(content)[:MAX_QUESTION_CHARS]


def chosen(body: dict[str, Any], text: str) -> dict[str, Any]:
    """The call with what was chosen: one tool that must be called, or none."""
    try:
        name = msgspec.json.decode(text).get("tool")
    except (msgspec.DecodeError, AttributeError):
        name = NONE
    known = any(one["function"]["name"] == name for one in body["tools"])
    return {**body, "tool_choice": {"type": "function", "function": {"name": name}} if known else NONE}
