"""The fake vendor's bodies."""

import json
from typing import Any

from upstream.script import Script

HEAD = {"created": 1_770_000_000, "system_fingerprint": None}


def usage_of(script: Script, pieces: int) -> dict[str, Any] | None:
    if script.no_usage:
        return None
    if script.usage is not None:
        return script.usage
    details: dict[str, Any] = {"cached_tokens": script.cached_tokens}
    if script.cache_creation:
        details |= {"cache_creation_input_tokens": script.cache_creation, "cache_type": "ephemeral"}
    completion: dict[str, Any] = {"text_tokens": pieces}
    if script.reasoning:
        completion["reasoning_tokens"] = len(script.reasoning.split())
    total = pieces + completion.get("reasoning_tokens", 0)
    return {
        "prompt_tokens": 10,
        "completion_tokens": total,
        "total_tokens": 10 + total,
        "prompt_tokens_details": details,
        "completion_tokens_details": completion,
    }


def counted_pieces(script: Script, body: dict[str, Any]) -> int:
    """How many tokens the answer has: its pieces, within the caller's cap."""
    return len(pieces_of(script, body))


def pieces_of(script: Script, body: dict[str, Any]) -> list[str]:
    cap = body.get("max_completion_tokens") or body.get("max_tokens")
    if script.echo_id:
        return [script.echo_id] * (script.chunks or 4)
    if script.chunks:
        return [f"piece{n} " for n in range(script.chunks)][:cap]
    text = script.text or "Hello from the fake vendor"
    if script.vision_echo:
        parts = [
            part for message in body["messages"] if isinstance(message["content"], list) for part in message["content"]
        ]
        text = "saw " + ",".join(part["image_url"]["url"][:40] for part in parts if part["type"] == "image_url")
    words = text.split(" ")
    return [word + " " for word in words[:-1]] + words[-1:]


def tool_calls_of(script: Script) -> list[dict[str, Any]]:
    if script.calls:
        return [
            {"index": n, "id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for n, (name, arguments) in enumerate(script.calls)
        ]
    return [
        {
            "index": n,
            "id": f"call_{n}",
            "type": "function",
            "function": {"name": "get_weather", "arguments": json.dumps({"city": f"city{n}"})},
        }
        for n in range(script.tool_calls)
    ]


def whole(script: Script, body: dict[str, Any], is_chat: bool) -> bytes:
    pieces = pieces_of(script, body)
    calls = tool_calls_of(script)
    head = HEAD | {"id": "chatcmpl-" + (script.echo_id or "fake"), "model": body["model"]}
    if is_chat:
        message: dict[str, Any] = {"role": "assistant", "content": "" if calls else "".join(pieces)}
        if script.reasoning:
            message["reasoning_content"] = script.reasoning
        if calls:
            message["tool_calls"] = calls
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls" if calls else "stop"}
    else:
        choice = {"index": 0, "text": "".join(pieces), "logprobs": None, "finish_reason": "stop"}
    answer = head | {
        "object": "chat.completion" if is_chat else "text_completion",
        "choices": [choice],
        "vendor_extra": 1,
    }
    usage = usage_of(script, len(pieces))
    if usage is not None:
        answer["usage"] = usage
    data = json.dumps(answer, ensure_ascii=False).encode()
    return data[: len(data) // 2] if script.broken_json else data


def events(script: Script, body: dict[str, Any], is_chat: bool) -> list[bytes]:  # noqa: C901
    """The events of a stream, each with its blank line."""
    head = HEAD | {
        "id": "chatcmpl-" + (script.echo_id or "fake"),
        "model": body["model"],
        "object": "chat.completion.chunk" if is_chat else "text_completion",
    }
    out: list[dict[str, Any]] = []

    def choice(delta: dict[str, Any], finish: str | None = None) -> None:
        inner = {"delta": delta} if is_chat else {"text": delta.get("content") or ""}
        out.append(
            head | {"choices": [{"index": 0, **inner, "logprobs": None, "finish_reason": finish}], "usage": None}
        )

    calls = tool_calls_of(script)
    pieces = pieces_of(script, body)
    if is_chat:
        choice({"role": "assistant", "content": ""})
    for word in script.reasoning.split():
        choice({"content": None, "reasoning_content": word + " "})
    if calls:
        for call in calls:
            first = {**call, "function": {"name": call["function"]["name"], "arguments": ""}}
            choice({"content": None, "tool_calls": [first]})
        for call in calls:
            arguments = call["function"]["arguments"]
            for half in (arguments[:5], arguments[5:]):
                choice({"tool_calls": [{"index": call["index"], "function": {"arguments": half}}]})
    else:
        for number, piece in enumerate(pieces):
            if number == script.moderate_after:
                out.append(MODERATED)
                return [b"data: " + json.dumps(one).encode() + b"\n\n" for one in out]
            choice({"content": piece})
    choice({"content": ""}, "tool_calls" if calls else "stop")
    usage = usage_of(script, len(pieces))
    if usage is not None and (body.get("stream_options") or {}).get("include_usage"):
        out.append(head | {"choices": [], "usage": usage})
    framed = [b"data: " + json.dumps(one, ensure_ascii=False).encode() + b"\n\n" for one in out]
    if script.broken_json:
        framed[-1] = framed[-1][:20] + b"\n\n"
    if not script.no_done:
        framed.append(b"data: [DONE]\n\n")
    return framed


MODERATED = {
    "error": {
        "message": "Output data may contain inappropriate content.",
        "type": "data_inspection_failed",
        "param": None,
        "code": "data_inspection_failed",
    }
}
