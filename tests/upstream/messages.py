"""The fake vendor's bodies in the Anthropic API."""

import json
from typing import Any

from upstream.answers import pieces_of, tool_calls_of, usage_of
from upstream.script import Script


def counts(usage: dict[str, Any] | None) -> dict[str, Any]:
    if usage is None:
        return {}
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    told = {
        "input_tokens": usage["prompt_tokens"] - cached,
        "output_tokens": usage["completion_tokens"],
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
    }
    return {"usage": told}


def whole(script: Script, body: dict[str, Any]) -> bytes:
    pieces, calls = pieces_of(script, body), tool_calls_of(script)
    content: list[dict[str, Any]] = []
    if script.reasoning:
        content.append({"type": "thinking", "thinking": script.reasoning, "signature": "s"})
    if not calls:
        content.append({"type": "text", "text": "".join(pieces)})
    content += [
        {
            "type": "tool_use",
            "id": one["id"],
            "name": one["function"]["name"],
            "input": json.loads(one["function"]["arguments"]),
        }
        for one in calls
    ]
    answer = {
        "id": "msg_fake",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": content,
        "stop_reason": "tool_use" if calls else "end_turn",
        "stop_sequence": None,
        "vendor_extra": 1,
        **counts(usage_of(script, len(pieces))),
    }
    data = json.dumps(answer, ensure_ascii=False).encode()
    return data[: len(data) // 2] if script.broken_json else data


def events(script: Script, body: dict[str, Any]) -> list[bytes]:
    pieces, calls = pieces_of(script, body), tool_calls_of(script)
    told = counts(usage_of(script, len(pieces)))
    out: list[bytes] = []

    def event(kind: str, **fields: Any) -> None:
        data = json.dumps({"type": kind, **fields}, ensure_ascii=False)
        out.append(f"event: {kind}\ndata: {data}\n\n".encode())

    opening = {"usage": {**told["usage"], "output_tokens": 1}} if told else {}
    message = {"id": "msg_fake", "type": "message", "role": "assistant", "model": body["model"], "content": []}
    event("message_start", message={**message, "stop_reason": None, "stop_sequence": None, **opening})
    event("ping")
    block = 0
    if script.reasoning:
        event("content_block_start", index=block, content_block={"type": "thinking", "thinking": "", "signature": ""})
        for word in script.reasoning.split():
            event("content_block_delta", index=block, delta={"type": "thinking_delta", "thinking": word + " "})
        event("content_block_stop", index=block)
        block += 1
    for call in calls:
        name = call["function"]["name"]
        event(
            "content_block_start",
            index=block,
            content_block={"type": "tool_use", "id": call["id"], "name": name, "input": {}},
        )
        arguments = call["function"]["arguments"]
        for half in (arguments[:5], arguments[5:]):
            event("content_block_delta", index=block, delta={"type": "input_json_delta", "partial_json": half})
        event("content_block_stop", index=block)
        block += 1
    if not calls:
        event("content_block_start", index=block, content_block={"type": "text", "text": ""})
        for number, piece in enumerate(pieces):
            if number == script.moderate_after:
                event(
                    "error",
                    error={
                        "type": "data_inspection_failed",
                        "message": "Output data may contain inappropriate content.",
                    },
                )
                return out
            event("content_block_delta", index=block, delta={"type": "text_delta", "text": piece})
        event("content_block_stop", index=block)
    event("message_delta", delta={"stop_reason": "tool_use" if calls else "end_turn", "stop_sequence": None}, **told)
    if script.broken_json:
        out[-1] = out[-1][:40] + b"\n\n"
    if not script.no_done:
        event("message_stop")
    return out
