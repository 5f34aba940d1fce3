"""Responses calls to canon, and answers from it. Source: openai-compatible.md 8. It has no upstream role: state is kept here."""

from typing import Any

import msgspec

from steelyard.base.jsondoor import encode
from steelyard.canon.answer import CALLED_TOOL, LENGTH, LISTED_TOOLS, SEARCHED, ChatAnswer, Choice, Step
from steelyard.canon.conversation import (
    ASSISTANT,
    AUTO,
    IMAGE,
    REQUIRED,
    SYSTEM,
    TOOL,
    USER,
    Conversation,
    Message,
    Part,
    Tool,
    ToolCall,
)
from steelyard.canon.request import ModelRequest
from steelyard.canon.usage import Usage
from steelyard.dialects.dialect import Rewrite, Showing
from steelyard.dialects.passages import PASSAGES, citations_in, search_item

_PLACED = frozenset(
    {
        "model",
        "input",
        "instructions",
        "previous_response_id",
        "stream",
        "stream_options",
        "tools",
        "tool_choice",
        "max_output_tokens",
        "text",
        "reasoning",
        "store",
        "background",
        "conversation",
        "include",
        "truncation",
        PASSAGES,
    }
)


def read_request(request: ModelRequest) -> Conversation:
    """What a Responses call asks."""
    body = request.body
    choice = body.get("tool_choice") or AUTO
    settings = {name: value for name, value in body.items() if name not in _PLACED and value is not None}
    effort = (body.get("reasoning") or {}).get("effort")
    if effort == "none":
        settings["enable_thinking"] = False
    elif effort is not None:
        settings["reasoning_effort"] = effort
    return Conversation(
        messages=tuple(_read_input(request)),
        tools=tuple(
            Tool(one["name"], one.get("description") or "", one.get("parameters"))
            for one in body.get("tools") or ()
            if one["type"] == "function"
        ),
        tool_choice=REQUIRED if isinstance(choice, dict) else choice,
        forced_tool=choice["name"] if isinstance(choice, dict) else "",
        response_format=_read_format((body.get("text") or {}).get("format")),
        settings=settings,
    )


def _read_format(asked: dict[str, Any] | None) -> dict[str, Any] | None:
    if asked is None or asked["type"] == "text":
        return None
    if asked["type"] == "json_object":
        return {"type": "json_object"}
    schema = {name: asked[name] for name in ("name", "schema", "strict", "description") if asked.get(name) is not None}
    return {"type": "json_schema", "json_schema": {"name": "answer", **schema}}


def _read_input(request: ModelRequest) -> list[Message]:
    body = request.body
    messages: list[Message] = []
    told = [body.get("instructions"), None if request.found is None else body[PASSAGES]]
    if any(told):
        # one message: some models take no other before the conversation
        messages.append(Message(role=SYSTEM, parts=(Part(text="\n\n".join(one for one in told if one)),)))
    asked = body["input"]
    if isinstance(asked, str):
        return [*messages, Message(role=USER, parts=(Part(text=asked),))]
    for item in asked:
        kind = item.get("type") or "message"
        if kind == "message":
            role = SYSTEM if item["role"] == "developer" else item["role"]
            _append(messages, Message(role=role, parts=_read_content(item["content"])))
        elif kind == "function_call":
            call = ToolCall(item["call_id"], item["name"], item["arguments"])
            _append(messages, Message(role=ASSISTANT, tool_calls=(call,)))
        elif kind == "function_call_output":
            output = item.get("output")
            parts = _read_content(output) if isinstance(output, str | list) else (Part(text=encode(output).decode()),)
            messages.append(Message(role=TOOL, call_id=item["call_id"], parts=parts))
        elif kind == "reasoning":
            text = "\n".join(one.get("text") or "" for one in item.get("summary") or ())
            _append(messages, Message(role=ASSISTANT, reasoning=text))
    return messages


def _append(messages: list[Message], message: Message) -> None:
    """What an assistant thought, said and called in one turn is one message."""
    if message.role == ASSISTANT and messages and messages[-1].role == ASSISTANT:
        last = messages[-1]
        messages[-1] = msgspec.structs.replace(
            last,
            parts=last.parts + message.parts,
            reasoning=last.reasoning or message.reasoning,
            tool_calls=last.tool_calls + message.tool_calls,
        )
    else:
        messages.append(message)


def _read_content(content: str | list[dict[str, Any]]) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (Part(text=content),) if content else ()
    parts = []
    for one in content:
        if one.get("type") == "input_image":
            hints = {"detail": one["detail"]} if one.get("detail") else {}
            parts.append(Part(kind=IMAGE, urls=(one["image_url"],), hints=hints))
        else:
            parts.append(Part(text=one.get("text") or one.get("refusal") or ""))
    return tuple(parts)


def usage_object(usage: Usage) -> dict[str, Any]:
    """`usage`."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


def search_items(showing: Showing) -> list[dict[str, Any]]:
    """The search that came before the answer, where there was one."""
    found = showing.request.found
    return [] if found is None else [search_item(found, f"fs_{showing.request_id}")]


def step_item(step: Step) -> dict[str, Any] | None:
    """Something done here, as an item; None where it has no place in a response."""
    if step.kind == LISTED_TOOLS:
        return {
            "type": "mcp_list_tools",
            "id": f"mcpl_{step.id}",
            "server_label": step.plugin,
            "tools": msgspec.json.decode(step.output),
            "error": None,
        }
    if step.kind == CALLED_TOOL:
        return {
            "type": "mcp_call",
            "id": f"mcp_{step.id}",
            "server_label": step.plugin,
            "name": step.name,
            "arguments": step.arguments,
            "output": None if step.is_error else step.output,
            "error": step.output if step.is_error else None,
            "status": "failed" if step.is_error else "completed",
            "approval_request_id": None,
        }
    if step.kind == SEARCHED and step.found is not None:
        return search_item(step.found, f"fs_{step.id}")
    return None


def reasoning_item(showing: Showing, text: str) -> dict[str, Any]:
    """What the model thought."""
    summary = [{"type": "summary_text", "text": text}] if text else []
    return {"type": "reasoning", "id": f"rs_{showing.request_id}", "summary": summary}


def message_item(showing: Showing, text: str | None, status: str) -> dict[str, Any]:
    """What the model said; without a text the item has no content yet."""
    content = [] if text is None else [text_part(text, showing)]
    return {
        "type": "message",
        "id": f"msg_{showing.request_id}",
        "role": "assistant",
        "status": status,
        "content": content,
    }


def text_part(text: str, showing: Showing) -> dict[str, Any]:
    """A piece of content, with what it cites."""
    return {"type": "output_text", "text": text, "annotations": citations_in(text, showing.request.found)}


def call_item(showing: Showing, number: int, call: ToolCall, status: str) -> dict[str, Any]:
    """A call that the model asks for."""
    return {
        "type": "function_call",
        "id": f"fc_{number}_{showing.request_id}",
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments,
        "status": status,
    }


def response_object(
    showing: Showing,
    status: str,
    output: list[dict[str, Any]],
    *,
    usage: Usage | None = None,
    reason: str = "",
    error: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """`response`, at any time of its life."""
    body, found = showing.request.body, showing.request.found
    return {
        "id": response_id(showing.request_id),
        "object": "response",
        "created_at": showing.created_s,
        "status": status,
        "model": showing.request.model,
        "error": error,
        "incomplete_details": {"reason": "max_output_tokens"} if reason == LENGTH else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "metadata": body.get("metadata") or {},
        "output": output,
        "parallel_tool_calls": body.get("parallel_tool_calls") is True,
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": body.get("reasoning"),
        "store": body.get("store") is not False,
        "temperature": body.get("temperature"),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": [*(() if found is None else found.tools), *(body.get("tools") or ())],
        "top_p": body.get("top_p"),
        "usage": None if usage is None else usage_object(usage),
    }


def response_id(request_id: str) -> str:
    """The id of a call's response."""
    return f"resp_{request_id}"


def output_of(choice: Choice, showing: Showing, steps: tuple[Step, ...] = ()) -> list[dict[str, Any]]:
    """The items of an answer."""
    output = [*search_items(showing), *(item for one in steps if (item := step_item(one)) is not None)]
    if choice.reasoning:
        output.append(reasoning_item(showing, choice.reasoning))
    if choice.text or not choice.tool_calls:
        output.append(message_item(showing, choice.text, "completed"))
    return output + [call_item(showing, number, call, "completed") for number, call in enumerate(choice.tool_calls)]


def write_answer(answer: ChatAnswer, showing: Showing) -> bytes:
    """A whole response."""
    choice = answer.choices[0]
    status = "incomplete" if choice.reason == LENGTH else "completed"
    usage = answer.usage or Usage()
    return encode(
        response_object(showing, status, output_of(choice, showing, answer.steps), usage=usage, reason=choice.reason)
    )


def rewrite_reply(body: bytes, rewrite: Rewrite) -> bytes:
    """See `Dialect`."""
    answer = msgspec.json.decode(body)
    has_changed = False
    for item in answer.get("output") or ():
        for holder in (item, *(item.get("content") or ()), *(item.get("summary") or ())):
            for name in ("text", "arguments", "output", "error"):
                if isinstance(holder.get(name), str) and (new := rewrite(holder[name])) != holder[name]:
                    holder[name] = new
                    has_changed = True
    return encode(answer) if has_changed else body
