"""Native generation calls to canon and back. Source: dashscope.md 5 and 6."""

import re
from typing import Any

import msgspec

from steelyard.base.errors import fault
from steelyard.base.jsondoor import encode
from steelyard.canon.answer import STOP, TOOL_CALLS, ChatAnswer, Choice
from steelyard.canon.conversation import (
    ASSISTANT,
    AUTO,
    REQUIRED,
    SETTINGS,
    TEXT,
    TOOL,
    USER,
    Conversation,
    Message,
    Part,
)
from steelyard.canon.request import ModelRequest
from steelyard.canon.usage import Usage
from steelyard.dialects.dashscope_errors import fault_in_event
from steelyard.dialects.dashscope_fields import MEDIA
from steelyard.dialects.dialect import Reply, Rewrite, Showing
from steelyard.dialects.openai_codec import read_call, read_tool, write_calls, write_choice, write_tool

CARRIES = SETTINGS - {"frequency_penalty", "logit_bias", "modalities", "audio"}
LACKS = frozenset({"json_schema", "server_tool"})
_PLACED = frozenset(
    {
        "tools",
        "tool_choice",
        "response_format",
        "stop",
        "max_tokens",
        "max_completion_tokens",
        "result_format",
        "incremental_output",
    }
)
_HINTS = ("min_pixels", "max_pixels", "total_pixels", "fps", "cache_control")
#: Models whose answers are told as `output.text` unless the caller says otherwise.
_TELLS_TEXT = re.compile(r"qwen-|qwen[12]|baichuan|chatglm|llama|ziya|belle|dolly|moss|bilingual")
_REQUEST_ID = re.compile(rb'"request_id"\s*:\s*"[^"]*"')

#: Models that answer on the multimodal service alone, whatever they are asked.
_MULTIMODAL = re.compile(r"qwen[\w.]*-(vl|omni|audio|ocr)|qvq|.*-vl\b|.*-omni\b|tongyi-.*vl")


def belongs_to_multimodal(request: ModelRequest, model: str) -> bool:
    """Whether a call belongs on the multimodal service."""
    return request.media_count > 0 or _MULTIMODAL.match(model) is not None


# requests


def read_request(request: ModelRequest) -> Conversation:
    """What a native call asks."""
    asked, parameters = request.body["input"], request.settings
    choice = parameters.get("tool_choice") or AUTO
    stop = parameters.get("stop")
    if asked.get("messages") is not None:
        messages = [_read_message(one) for one in asked["messages"]]
    else:
        messages = _read_prompt(asked)
    return Conversation(
        messages=tuple(messages),
        tools=tuple(read_tool(one["function"]) for one in parameters.get("tools") or ()),
        tool_choice=REQUIRED if isinstance(choice, dict) else choice,
        forced_tool=choice["function"]["name"] if isinstance(choice, dict) else "",
        response_format=parameters.get("response_format"),
        stop=() if stop is None else tuple(stop) if isinstance(stop, list) else (stop,),
        settings={name: value for name, value in parameters.items() if name not in _PLACED and value is not None},
    )


def _read_prompt(asked: dict[str, Any]) -> list[Message]:
    messages = []
    for turn in asked.get("history") or ():
        messages.append(Message(role=USER, parts=(Part(text=turn["user"]),)))
        messages.append(Message(role=ASSISTANT, parts=(Part(text=turn["bot"]),)))
    return [*messages, Message(role=USER, parts=(Part(text=asked["prompt"]),))]


def _read_message(message: dict[str, Any]) -> Message:
    content = message.get("content")
    parts = (
        ((Part(text=content),) if content else ())
        if isinstance(content, str)
        else tuple(_read_part(one) for one in content or ())
    )
    return Message(
        role=message["role"],
        parts=parts,
        reasoning=message.get("reasoning_content") or "",
        tool_calls=tuple(read_call(one) for one in message.get("tool_calls") or ()),
        call_id=message.get("tool_call_id") or "",
        is_partial=message.get("partial") is True,
    )


def _read_part(part: dict[str, Any]) -> Part:
    hints = {name: part[name] for name in _HINTS if part.get(name) is not None}
    if "text" in part:
        return Part(text=part["text"], hints=hints)
    kind = next(name for name in MEDIA if name in part)
    links = part[kind]
    return Part(kind=kind, urls=tuple(links) if isinstance(links, list) else (links,), hints=hints)


def write_request(
    ask: Conversation, model: str, cap_tokens: int | None, is_stream: bool, *, is_multimodal: bool
) -> bytes:
    """The body for text-generation, whose messages are texts, or for multimodal-generation, whose messages are lists."""
    parameters: dict[str, Any] = {**ask.settings, "result_format": "message"}
    if is_stream:
        parameters["incremental_output"] = True
    if ask.tools:
        parameters["tools"] = [write_tool(one) for one in ask.tools]
        parameters |= write_choice(ask)
    if ask.response_format is not None:
        parameters["response_format"] = ask.response_format
    if ask.stop:
        parameters["stop"] = list(ask.stop)
    if cap_tokens is not None:
        parameters["max_tokens"] = cap_tokens
    messages = [
        _write_message(one, [_write_part(part) for part in one.parts] if is_multimodal else one.text)
        for one in ask.messages
    ]
    return encode({"model": model, "input": {"messages": messages}, "parameters": parameters})


def _write_message(message: Message, content: Any) -> dict[str, Any]:
    out: dict[str, Any] = {"role": message.role, "content": content}
    if message.role == TOOL:
        out["tool_call_id"] = message.call_id
    if message.tool_calls:
        out["tool_calls"] = write_calls(message.tool_calls)
        if message.reasoning:
            out["reasoning_content"] = message.reasoning
    if message.is_partial:
        out["partial"] = True
    return out


def _write_part(part: Part) -> dict[str, Any]:
    hints = {name: value for name, value in part.hints.items() if name in _HINTS}
    if part.kind == TEXT:
        return {"text": part.text, **hints}
    return {part.kind: list(part.urls) if len(part.urls) > 1 else part.urls[0], **hints}


# whole answers


def usage_from(counts: Any) -> Usage:
    """A native `usage` object as ours; missing parts count 0."""
    details = (_member(counts, "prompt_tokens_details"), _member(counts, "input_tokens_details"))
    return Usage(
        prompt_tokens=_whole(counts, "input_tokens"),
        completion_tokens=_whole(counts, "output_tokens"),
        cached_tokens=max(_whole(one, "cached_tokens") for one in details),
        reasoning_tokens=_whole(_member(counts, "output_tokens_details"), "reasoning_tokens"),
    )


def _member(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, dict) else None


def _whole(holder: Any, name: str) -> int:
    value = _member(holder, name)
    return value if isinstance(value, int) and value > 0 else 0


def usage_object(usage: Usage) -> dict[str, Any]:
    """`usage`."""
    counts: dict[str, Any] = {
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }
    if usage.reasoning_tokens:
        counts["output_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return counts


def read_reply(body: bytes) -> Reply:
    """What matters of a whole answer.

    Raises:
        Fault: `bad_gateway` where it is no answer at all.
    """
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise fault("bad_gateway", detail=" (The answer is not valid JSON.)") from exc
    if not isinstance(answer, dict):
        raise fault("bad_gateway", detail=" (The answer is no object.)")
    if answer.get("code") and not isinstance(answer.get("output"), dict):
        return Reply(None, fault_in_event(answer))
    if not isinstance(answer.get("output"), dict):
        raise fault("bad_gateway", detail=" (The answer has no output.)")
    counts = answer.get("usage")
    return Reply(usage_from(counts) if isinstance(counts, dict) else None, answer_bytes=len(body))


def show_reply(body: bytes, showing: Showing) -> bytes:
    """The answer under this server's request id."""
    return show_id(body, showing.request_id)


def show_id(body: bytes, request_id: str) -> bytes:
    """A body with our request id in place of the vendor's."""
    mine = b'"request_id":"%b"' % request_id.encode()
    return _REQUEST_ID.sub(lambda _: mine, body)


def read_answer(body: bytes) -> ChatAnswer:
    """An upstream's answer; `read_reply` has looked at it before."""
    answer = msgspec.json.decode(body)
    output, counts = answer["output"], answer.get("usage")
    choices = output.get("choices")
    if choices is None:
        found: tuple[Choice, ...] = (Choice(text=output.get("text") or "", reason=output.get("finish_reason") or STOP),)
    else:
        found = tuple(_read_choice(one) for one in choices)
    return ChatAnswer(choices=found, usage=usage_from(counts) if isinstance(counts, dict) else None)


def _read_choice(choice: dict[str, Any]) -> Choice:
    message = choice.get("message") or {}
    calls = tuple(read_call(one) for one in message.get("tool_calls") or ())
    return Choice(
        text=text_of(message.get("content")),
        reasoning=message.get("reasoning_content") or "",
        tool_calls=calls,
        reason=choice.get("finish_reason") or (TOOL_CALLS if calls else STOP),
        logprobs=choice.get("logprobs"),
    )


def text_of(content: Any) -> str:
    """Content as text, a string or a list of parts."""
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    return content or ""


def content_of(text: str, *, is_multimodal: bool) -> str | list[dict[str, str]]:
    """Text as content."""
    if is_multimodal:
        return [{"text": text}] if text else []
    return text


def tells_message(request: ModelRequest, *, is_multimodal: bool) -> bool:
    """Whether answers have the form `message`; else `text`."""
    asked = request.settings.get("result_format")
    if is_multimodal or asked == "message" or request.settings.get("tools"):
        return True
    return asked is None and _TELLS_TEXT.match(request.model) is None


def write_answer(answer: ChatAnswer, showing: Showing, *, is_multimodal: bool) -> bytes:
    """The answer of either service, in the form that the caller asked for."""
    if tells_message(showing.request, is_multimodal=is_multimodal):
        choices = [_write_choice(number, one, is_multimodal) for number, one in enumerate(answer.choices)]
        output: dict[str, Any] = {"choices": choices}
    else:
        output = {"text": answer.choices[0].text, "finish_reason": answer.choices[0].reason}
    usage = usage_object(answer.usage or Usage())
    return encode({"output": output, "usage": usage, "request_id": showing.request_id})


def _write_choice(index: int, choice: Choice, is_multimodal: bool) -> dict[str, Any]:
    message: dict[str, Any] = {"role": ASSISTANT, "content": content_of(choice.text, is_multimodal=is_multimodal)}
    if choice.reasoning:
        message["reasoning_content"] = choice.reasoning
    if choice.tool_calls:
        message["tool_calls"] = write_calls(choice.tool_calls)
    out: dict[str, Any] = {"index": index, "finish_reason": choice.reason, "message": message}
    if choice.logprobs is not None:
        out["logprobs"] = choice.logprobs
    return out


def rewrite_parts(parts: list[Any], rewrite: Rewrite) -> list[Any]:
    """Parts with their texts rewritten."""
    return [{**one, "text": rewrite(one["text"])} if isinstance(one.get("text"), str) else one for one in parts]


def rewrite_reply(body: bytes, rewrite: Rewrite) -> bytes:
    """See `Dialect`."""
    answer = msgspec.json.decode(body)
    output = answer.get("output") or {}
    holders = [output, *((one.get("message") or {}) for one in output.get("choices") or ())]
    has_changed = False
    for holder in holders:
        for name in ("text", "content", "reasoning_content"):
            has_changed |= _rewrite_member(holder, name, rewrite)
        for call in holder.get("tool_calls") or ():
            has_changed |= _rewrite_member(call.get("function") or {}, "arguments", rewrite)
    return encode(answer) if has_changed else body


def _rewrite_member(holder: dict[str, Any], name: str, rewrite: Rewrite) -> bool:
    value = holder.get(name)
    if isinstance(value, list):
        return any([_rewrite_member(part, "text", rewrite) for part in value if isinstance(part, dict)])  # noqa: C419
    if not isinstance(value, str) or not value:
        return False
    new = rewrite(value)
    holder[name] = new
    return new != value
