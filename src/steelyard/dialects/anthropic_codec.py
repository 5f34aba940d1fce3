"""Messages calls to canon and back. Source: openai-compatible.md 11."""

from typing import Any

import msgspec

from steelyard.base.errors import fault
from steelyard.base.jsondoor import encode
from steelyard.canon.answer import FILTERED, LENGTH, STOP, TOOL_CALLS, ChatAnswer, Choice
from steelyard.canon.conversation import (
    ASSISTANT,
    AUTO,
    FILE,
    IMAGE,
    NONE,
    REQUIRED,
    SYSTEM,
    TEXT,
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
from steelyard.dialects.anthropic_errors import fault_in_event
from steelyard.dialects.dialect import Reply, Rewrite, Showing

CARRIES = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "stop",
        "enable_thinking",
        "thinking_budget",
        "reasoning_effort",
        "parallel_tool_calls",
        "response_format",
    }
)
LACKS = frozenset({"n", "logprobs", "json_object", "search", "audio", "video"})
#: Sent where nobody says how long an answer may be: the API wants to be told.
DEFAULT_CAP_TOKENS = 4096
#: A model that is asked to think without being told how much.
DEFAULT_BUDGET_TOKENS = 1024
_PLACED = frozenset(
    {
        "model",
        "messages",
        "system",
        "max_tokens",
        "stream",
        "tools",
        "tool_choice",
        "stop_sequences",
        "thinking",
        "output_config",
    }
)
_REASONS = {
    "end_turn": STOP,
    "stop_sequence": STOP,
    "pause_turn": STOP,
    "max_tokens": LENGTH,
    "model_context_window_exceeded": LENGTH,
    "tool_use": TOOL_CALLS,
    "refusal": FILTERED,
}
_STOP_REASONS = {STOP: "end_turn", LENGTH: "max_tokens", TOOL_CALLS: "tool_use", FILTERED: "refusal"}
_CHOICES = {"auto": AUTO, "none": NONE, "any": REQUIRED, "tool": REQUIRED}
_WIRE_CHOICES = {AUTO: "auto", NONE: "none", REQUIRED: "any"}


def reason_of(stop_reason: Any) -> str:
    """Why a choice ended, from the wire's word."""
    return _REASONS.get(stop_reason, STOP)


def stop_reason_of(reason: str) -> str:
    """The wire's word for why a choice ended."""
    return _STOP_REASONS.get(reason, "end_turn")


# requests


def read_request(request: ModelRequest) -> Conversation:
    """What a Messages call asks."""
    body = request.body
    messages = [Message(role=SYSTEM, parts=_read_system(body["system"]))] if body.get("system") else []
    for one in body["messages"]:
        messages += _read_message(one)
    if messages[-1].role == ASSISTANT:
        # the answer goes on from the words that are put into the model's mouth
        messages[-1] = msgspec.structs.replace(messages[-1], is_partial=True)
    choice = body.get("tool_choice") or {"type": "auto"}
    return Conversation(
        messages=tuple(messages),
        tools=tuple(
            Tool(one["name"], one.get("description") or "", one["input_schema"]) for one in body.get("tools") or ()
        ),
        tool_choice=_CHOICES[choice["type"]],
        forced_tool=choice["name"] if choice["type"] == "tool" else "",
        response_format=_read_format((body.get("output_config") or {}).get("format")),
        stop=tuple(body.get("stop_sequences") or ()),
        settings=_read_settings(body, choice),
    )


def _read_settings(body: dict[str, Any], choice: dict[str, Any]) -> dict[str, Any]:
    settings = {name: value for name, value in body.items() if name not in _PLACED and value is not None}
    thinking = body.get("thinking") or {}
    if thinking.get("type") == "enabled":
        settings |= {"enable_thinking": True, "thinking_budget": thinking["budget_tokens"]}
    elif thinking.get("type") == "disabled":
        settings["enable_thinking"] = False
    effort = (body.get("output_config") or {}).get("effort")
    if effort is not None:
        settings["reasoning_effort"] = effort
    if choice.get("disable_parallel_tool_use") is not None:
        settings["parallel_tool_calls"] = not choice["disable_parallel_tool_use"]
    return settings


def _read_format(asked: Any) -> dict[str, Any] | None:
    if not isinstance(asked, dict) or asked.get("type") != "json_schema":
        return None
    return {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": asked.get("schema") or {}, "strict": True},
    }


def _read_system(system: Any) -> tuple[Part, ...]:
    return (Part(text=system),) if isinstance(system, str) else tuple(_read_text(block) for block in system)


def _read_text(block: dict[str, Any]) -> Part:
    mark = block.get("cache_control")
    return Part(text=block["text"], hints={} if mark is None else {"cache_control": mark})


def _read_message(message: dict[str, Any]) -> list[Message]:
    """One message; the results of tools are messages of their own, and come before the rest."""
    content = message["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if message["role"] == ASSISTANT:
        return [_read_assistant(blocks)]
    results = [_read_result(block) for block in blocks if block["type"] == "tool_result"]
    parts = tuple(_read_block(block) for block in blocks if block["type"] != "tool_result")
    return [*results, Message(role=USER, parts=parts)] if parts or not results else results


def _read_assistant(blocks: list[dict[str, Any]]) -> Message:
    return Message(
        role=ASSISTANT,
        parts=tuple(_read_text(block) for block in blocks if block["type"] == "text"),
        reasoning="\n".join(block.get("thinking") or "" for block in blocks if block["type"] == "thinking"),
        tool_calls=tuple(
            ToolCall(block["id"], block["name"], encode(block["input"]).decode())
            for block in blocks
            if block["type"] == "tool_use"
        ),
    )


def _read_result(block: dict[str, Any]) -> Message:
    content = block.get("content")
    inner = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    return Message(role=TOOL, call_id=block["tool_use_id"], parts=tuple(_read_block(one) for one in inner))


def _read_block(block: dict[str, Any]) -> Part:
    if block["type"] == "text":
        return _read_text(block)
    source = block["source"]
    url = source.get("url") or f"data:{source.get('media_type')};base64,{source.get('data')}"
    mark = block.get("cache_control")
    kind = IMAGE if block["type"] == "image" else FILE
    return Part(kind=kind, urls=(url,), hints={} if mark is None else {"cache_control": mark})


def write_request(ask: Conversation, model: str, cap_tokens: int | None, is_stream: bool) -> bytes:
    """The body for an Anthropic upstream."""
    settings = dict(ask.settings)
    cap = cap_tokens or DEFAULT_CAP_TOKENS
    body: dict[str, Any] = {"model": model, "max_tokens": cap}
    system = [part for one in ask.messages if one.role == SYSTEM for part in one.parts]
    if system:
        body["system"] = [_write_part(part) for part in system]
    body["messages"] = _write_messages(ask.messages)
    is_parallel = settings.pop("parallel_tool_calls", None)
    if ask.tools:
        body["tools"] = [_write_tool(one) for one in ask.tools]
        body |= _write_choice(ask, is_parallel)
    if ask.stop:
        body["stop_sequences"] = [one for one in ask.stop if isinstance(one, str)]
    body |= _write_thinking(settings, cap)
    output = _write_output(ask, settings)
    if output:
        body["output_config"] = output
    if is_stream:
        body["stream"] = True
    return encode(body | settings)


def _write_messages(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    """Turns alternate: what follows from the same side goes into one message."""
    out: list[dict[str, Any]] = []
    for one in messages:
        if one.role == SYSTEM:
            continue
        role = ASSISTANT if one.role == ASSISTANT else USER
        blocks = _write_blocks(one)
        if not blocks:
            continue
        if out and out[-1]["role"] == role:
            out[-1]["content"] += blocks
        else:
            out.append({"role": role, "content": blocks})
    return out


def _write_blocks(message: Message) -> list[dict[str, Any]]:
    blocks = [_write_part(part) for part in message.parts if part.kind != TEXT or part.text]
    if message.role == TOOL:
        return [{"type": "tool_result", "tool_use_id": message.call_id, "content": blocks}]
    calls = [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments_of(call.arguments)}
        for call in message.tool_calls
    ]
    return blocks + calls


def arguments_of(text: str) -> dict[str, Any]:
    """A tool call's arguments as an object; what is none is kept as a text within one."""
    try:
        value = msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, RecursionError):
        return {"arguments": text}
    return value if isinstance(value, dict) else {"arguments": value}


def _write_part(part: Part) -> dict[str, Any]:
    mark = {"cache_control": part.hints["cache_control"]} if "cache_control" in part.hints else {}
    if part.kind == TEXT:
        return {"type": "text", "text": part.text, **mark}
    url = part.urls[0]
    source: dict[str, Any] = {"type": "url", "url": url}
    if url.startswith("data:"):
        head, _, data = url.partition(",")
        source = {"type": "base64", "media_type": head[5:].split(";")[0] or "image/png", "data": data}
    return {"type": "image" if part.kind == IMAGE else "document", "source": source, **mark}


def _write_tool(tool: Tool) -> dict[str, Any]:
    schema = tool.parameters or {"type": "object", "properties": {}}
    return {"name": tool.name, "description": tool.description, "input_schema": schema}


def _write_choice(ask: Conversation, is_parallel: Any) -> dict[str, Any]:
    choice: dict[str, Any] = {"type": "tool", "name": ask.forced_tool} if ask.forced_tool else {}
    if not choice and (ask.tool_choice != AUTO or is_parallel is False):
        choice = {"type": _WIRE_CHOICES[ask.tool_choice]}
    if choice and is_parallel is False and choice["type"] != "none":
        choice["disable_parallel_tool_use"] = True
    return {"tool_choice": choice} if choice else {}


def _write_thinking(settings: dict[str, Any], cap_tokens: int) -> dict[str, Any]:
    wants, budget = settings.pop("enable_thinking", None), settings.pop("thinking_budget", None)
    if wants is True:
        budget_tokens = budget or max(DEFAULT_BUDGET_TOKENS, cap_tokens // 2)
        return {"thinking": {"type": "enabled", "budget_tokens": budget_tokens}}
    return {"thinking": {"type": "disabled"}} if wants is False else {}


def _write_output(ask: Conversation, settings: dict[str, Any]) -> dict[str, Any]:
    output: dict[str, Any] = {}
    effort = settings.pop("reasoning_effort", None)
    if effort is not None:
        output["effort"] = effort
    asked = ask.response_format or {}
    if asked.get("type") == "json_schema":
        output["format"] = {"type": "json_schema", "schema": asked["json_schema"].get("schema") or {}}
    return output


# whole answers


def usage_from(counts: Any) -> Usage:
    """An Anthropic `usage` object as ours: what comes from a cache is counted beside the input there, as part of it here."""
    cached, written = _whole(counts, "cache_read_input_tokens"), _whole(counts, "cache_creation_input_tokens")
    return Usage(
        prompt_tokens=_whole(counts, "input_tokens") + cached + written,
        completion_tokens=_whole(counts, "output_tokens"),
        cached_tokens=cached,
    )


def _whole(holder: Any, name: str) -> int:
    value = holder.get(name) if isinstance(holder, dict) else None
    return value if isinstance(value, int) and value > 0 else 0


def usage_object(usage: Usage) -> dict[str, Any]:
    """`usage`."""
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
    }


def read_reply(body: bytes) -> Reply:
    """What matters of a whole answer.

    Raises:
        Fault: `bad_gateway` where it is no answer at all.
    """
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise fault("bad_gateway", detail=" (The answer is not valid JSON.)") from exc
    if isinstance(answer, dict) and answer.get("type") == "error":
        return Reply(None, fault_in_event(answer))
    if not isinstance(answer, dict) or not isinstance(answer.get("content"), list):
        raise fault("bad_gateway", detail=" (The answer has no content.)")
    counts = answer.get("usage")
    return Reply(usage_from(counts) if isinstance(counts, dict) else None, answer_bytes=len(body))


def show_reply(body: bytes, showing: Showing) -> bytes:
    """The answer under the name that the caller used."""
    if showing.model is None:
        return body
    answer = msgspec.json.decode(body)
    answer["model"] = showing.model
    return encode(answer)


def read_answer(body: bytes) -> ChatAnswer:
    """An upstream's answer; `read_reply` has looked at it before."""
    answer = msgspec.json.decode(body)
    blocks, counts = answer["content"], answer.get("usage")
    choice = Choice(
        text="".join(block.get("text") or "" for block in blocks if block.get("type") == "text"),
        reasoning="".join(block.get("thinking") or "" for block in blocks if block.get("type") == "thinking"),
        tool_calls=tuple(
            ToolCall(block["id"], block["name"], encode(block.get("input") or {}).decode())
            for block in blocks
            if block.get("type") == "tool_use"
        ),
        reason=reason_of(answer.get("stop_reason")),
    )
    return ChatAnswer(choices=(choice,), usage=usage_from(counts) if isinstance(counts, dict) else None)


def write_answer(answer: ChatAnswer, showing: Showing) -> bytes:
    """A message."""
    choice = answer.choices[0]
    content: list[dict[str, Any]] = []
    if choice.reasoning:
        content.append({"type": "thinking", "thinking": choice.reasoning, "signature": ""})
    if choice.text or not choice.tool_calls:
        content.append({"type": "text", "text": choice.text})
    content += [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments_of(call.arguments)}
        for call in choice.tool_calls
    ]
    return encode(
        message_head(showing)
        | {
            "content": content,
            "stop_reason": stop_reason_of(choice.reason),
            "stop_sequence": None,
            "usage": usage_object(answer.usage or Usage()),
        }
    )


def message_head(showing: Showing) -> dict[str, Any]:
    """What every message begins with."""
    return {
        "id": f"msg_{showing.request_id}",
        "type": "message",
        "role": "assistant",
        "model": showing.request.model,
    }


def rewrite_reply(body: bytes, rewrite: Rewrite) -> bytes:
    """See `Dialect`."""
    answer = msgspec.json.decode(body)
    has_changed = False
    for block in answer.get("content") or ():
        for name in ("text", "thinking"):
            if isinstance(block.get(name), str) and (new := rewrite(block[name])) != block[name]:
                block[name] = new
                has_changed = True
        if block.get("type") == "tool_use":
            text = encode(block.get("input") or {}).decode()
            if (new := rewrite(text)) != text:
                block["input"] = arguments_of(new)
                has_changed = True
    return encode(answer) if has_changed else body
