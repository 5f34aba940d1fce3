"""Chat completions to canon and back. Source: openai-compatible.md 3."""

from typing import Any

import msgspec

from steelyard.base.jsondoor import encode
from steelyard.canon.answer import STOP, TOOL_CALLS, ChatAnswer, Choice
from steelyard.canon.conversation import (
    ASSISTANT,
    AUDIO,
    AUTO,
    IMAGE,
    REQUIRED,
    SYSTEM,
    TEXT,
    TOOL,
    VIDEO,
    Conversation,
    Message,
    Part,
    Tool,
    ToolCall,
)
from steelyard.canon.request import ModelRequest
from steelyard.canon.usage import Usage
from steelyard.dialects.dialect import Showing
from steelyard.dialects.openai_stream import usage_from

#: Fields with a place of their own in canon, or none beyond the wire.
_PLACED = frozenset(
    {
        "model",
        "messages",
        "tools",
        "tool_choice",
        "response_format",
        "stop",
        "stream",
        "stream_options",
        "max_tokens",
        "max_completion_tokens",
    }
)
_HINTS = ("min_pixels", "max_pixels", "total_pixels", "fps", "cache_control")


# requests


def read_request(request: ModelRequest) -> Conversation:
    """What a chat call asks."""
    body = request.body
    choice = body.get("tool_choice") or AUTO
    stop = body.get("stop")
    return Conversation(
        messages=tuple(read_message(one) for one in body["messages"]),
        tools=tuple(read_tool(one["function"]) for one in body.get("tools") or ()),
        tool_choice=REQUIRED if isinstance(choice, dict) else choice,
        forced_tool=choice["function"]["name"] if isinstance(choice, dict) else "",
        response_format=body.get("response_format"),
        stop=() if stop is None else tuple(stop) if isinstance(stop, list) else (stop,),
        settings={name: value for name, value in body.items() if name not in _PLACED and value is not None},
    )


def read_tool(function: dict[str, Any]) -> Tool:
    """A function tool."""
    return Tool(function["name"], function.get("description") or "", function.get("parameters"))


def read_message(message: dict[str, Any]) -> Message:
    """One message."""
    role = message["role"]
    return Message(
        role=SYSTEM if role == "developer" else role,
        parts=_read_content(message.get("content")),
        reasoning=message.get("reasoning_content") or "",
        tool_calls=tuple(read_call(one) for one in message.get("tool_calls") or ()),
        call_id=message.get("tool_call_id") or "",
        is_partial=message.get("partial") is True,
    )


def read_call(call: dict[str, Any]) -> ToolCall:
    """One tool call."""
    return ToolCall(call.get("id") or "", call["function"]["name"], call["function"].get("arguments") or "")


def _read_content(content: Any) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (Part(text=content),) if content else ()
    return tuple(_read_part(one) for one in content or ())


def _read_part(part: dict[str, Any]) -> Part:
    hints = {name: part[name] for name in _HINTS if part.get(name) is not None}
    kind = part["type"]
    if kind == "text":
        return Part(text=part["text"], hints=hints)
    if kind == "input_audio":
        audio = part["input_audio"]
        return Part(kind=AUDIO, urls=(audio["data"],), hints=hints | {"format": audio.get("format") or "wav"})
    link = part[kind]
    if isinstance(link, dict):
        if link.get("detail"):
            hints["detail"] = link["detail"]
        link = link.get("url") or link.get("file_data") or link.get("file_id") or ""
    urls = tuple(link) if isinstance(link, list) else (link,)
    return Part(kind=kind.removesuffix("_url"), urls=urls, hints=hints)


def write_request(ask: Conversation, model: str, cap_tokens: int | None, is_stream: bool) -> bytes:
    """The body for an OpenAI-compatible upstream."""
    body: dict[str, Any] = {"model": model, "messages": [write_message(one) for one in ask.messages], **ask.settings}
    if ask.tools:
        body["tools"] = [write_tool(one) for one in ask.tools]
        body |= write_choice(ask)
    if ask.response_format is not None:
        body["response_format"] = ask.response_format
    if ask.stop:
        body["stop"] = list(ask.stop)
    if cap_tokens is not None:
        body["max_tokens"] = cap_tokens
    if is_stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return encode(body)


def write_choice(ask: Conversation) -> dict[str, Any]:
    """`tool_choice`, where it is not the usual one."""
    if ask.forced_tool:
        return {"tool_choice": {"type": "function", "function": {"name": ask.forced_tool}}}
    return {} if ask.tool_choice == AUTO else {"tool_choice": ask.tool_choice}


def write_tool(tool: Tool) -> dict[str, Any]:
    """A function tool."""
    function: dict[str, Any] = {"name": tool.name, "description": tool.description}
    if tool.parameters is not None:
        function["parameters"] = tool.parameters
    return {"type": "function", "function": function}


def write_message(message: Message) -> dict[str, Any]:
    """One message."""
    out: dict[str, Any] = {"role": message.role, "content": _write_content(message)}
    if message.role == TOOL:
        out["tool_call_id"] = message.call_id
    if message.tool_calls:
        out["tool_calls"] = write_calls(message.tool_calls)
        # a turn that called tools is thought on from; of finished turns vendors refuse or ignore it
        if message.reasoning:
            out["reasoning_content"] = message.reasoning
    if message.is_partial:
        out["partial"] = True
    return out


def write_calls(calls: tuple[ToolCall, ...]) -> list[dict[str, Any]]:
    """Tool calls of a whole message."""
    return [
        {
            "index": number,
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments or "{}"},
        }
        for number, call in enumerate(calls)
    ]


def _write_content(message: Message) -> str | list[dict[str, Any]]:
    # text alone goes as a text: models without media may refuse a list
    if message.is_plain:
        return message.text
    return [_write_part(part) for part in message.parts]


def _write_part(part: Part) -> dict[str, Any]:
    hints = {name: value for name, value in part.hints.items() if name in _HINTS}
    if part.kind == TEXT:
        return {"type": "text", "text": part.text, **hints}
    if part.kind == AUDIO:
        audio = {"data": part.urls[0], "format": part.hints.get("format", "wav")}
        return {"type": "input_audio", "input_audio": audio, **hints}
    if part.kind == VIDEO and len(part.urls) > 1:
        return {"type": "video", "video": list(part.urls), **hints}
    if part.kind in (IMAGE, VIDEO):
        link = {"url": part.urls[0]}
        if part.hints.get("detail"):
            link["detail"] = part.hints["detail"]
        return {"type": f"{part.kind}_url", f"{part.kind}_url": link, **hints}
    return {"type": "file", "file": {"file_data": part.urls[0]}}


# whole answers


def read_answer(body: bytes) -> ChatAnswer:
    """An upstream's answer; `read_reply` has looked at it before."""
    answer = msgspec.json.decode(body)
    counts = answer.get("usage")
    return ChatAnswer(
        choices=tuple(_read_choice(one) for one in answer["choices"]),
        usage=usage_from(counts) if isinstance(counts, dict) else None,
    )


def _read_choice(choice: dict[str, Any]) -> Choice:
    message = choice.get("message") or {}
    calls = tuple(read_call(one) for one in message.get("tool_calls") or ())
    return Choice(
        text=message.get("content") or message.get("refusal") or "",
        reasoning=message.get("reasoning_content") or message.get("reasoning") or "",
        tool_calls=calls,
        reason=choice.get("finish_reason") or (TOOL_CALLS if calls else STOP),
        logprobs=choice.get("logprobs"),
    )


def usage_object(usage: Usage) -> dict[str, Any]:
    """`usage`."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def write_answer(answer: ChatAnswer, showing: Showing) -> bytes:
    """`chat.completion`."""
    return encode(
        {
            "id": f"chatcmpl-{showing.request_id}",
            "object": "chat.completion",
            "created": showing.created_s,
            "model": showing.request.model,
            "system_fingerprint": None,
            "choices": [_write_choice(number, one) for number, one in enumerate(answer.choices)],
            "usage": usage_object(answer.usage or Usage()),
        }
    )


def _write_choice(index: int, choice: Choice) -> dict[str, Any]:
    message: dict[str, Any] = {"role": ASSISTANT, "content": choice.text}
    if choice.reasoning:
        message["reasoning_content"] = choice.reasoning
    if choice.tool_calls:
        message["tool_calls"] = write_calls(choice.tool_calls)
    return {"index": index, "message": message, "logprobs": choice.logprobs, "finish_reason": choice.reason}
