"""The fake vendor's bodies in its native API."""

import json
from typing import Any

from upstream.answers import pieces_of, tool_calls_of, usage_of
from upstream.script import Script

ID = "11111111-2222-3333-4444-555555555555"


def flat(body: dict[str, Any]) -> dict[str, Any]:
    """What the call asks, as the scripts read it."""
    return {
        **(body.get("parameters") or {}),
        "model": body["model"],
        "messages": (body.get("input") or {}).get("messages"),
    }


def counts(usage: dict[str, Any] | None) -> dict[str, Any]:
    if usage is None:
        return {}
    told = {
        "input_tokens": usage["prompt_tokens"],
        "output_tokens": usage["completion_tokens"],
        "total_tokens": usage["total_tokens"],
        "prompt_tokens_details": {"cached_tokens": usage["prompt_tokens_details"]["cached_tokens"]},
        "output_tokens_details": {"reasoning_tokens": usage["completion_tokens_details"].get("reasoning_tokens", 0)},
    }
    return {"usage": told}


def _message(text: str, is_multimodal: bool, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"text": text}] if is_multimodal else text, **more}


def whole(script: Script, body: dict[str, Any], is_multimodal: bool) -> bytes:
    asked = flat(body)
    pieces, calls = pieces_of(script, asked), tool_calls_of(script)
    message = _message("" if calls else "".join(pieces), is_multimodal)
    if script.reasoning:
        message["reasoning_content"] = script.reasoning
    if calls:
        message["tool_calls"] = calls
    reason = "tool_calls" if calls else "stop"
    output: dict[str, Any] = {"choices": [{"finish_reason": reason, "message": message}], "vendor_extra": 1}
    if asked.get("result_format") == "text":
        output = {"text": "".join(pieces), "finish_reason": reason, "vendor_extra": 1}
    data = json.dumps(
        {"output": output, **counts(usage_of(script, len(pieces))), "request_id": ID}, ensure_ascii=False
    ).encode()
    return data[: len(data) // 2] if script.broken_json else data


def events(script: Script, body: dict[str, Any], is_multimodal: bool) -> list[bytes]:
    asked = flat(body)
    is_incremental = asked.get("incremental_output") is True
    pieces, calls = pieces_of(script, asked), tool_calls_of(script)
    usage = usage_of(script, len(pieces))
    out: list[bytes] = []
    told = ""

    def frame(message: dict[str, Any], reason: str = "null") -> None:
        running = {"usage": {**counts(usage)["usage"], "output_tokens": len(out) + 1}} if usage else {}
        last = counts(usage) if reason != "null" else running
        output = {"choices": [{"message": message, "finish_reason": reason, "index": 0}]}
        data = json.dumps({"output": output, **last, "request_id": ID}, ensure_ascii=False)
        out.append(f"id:{len(out) + 1}\nevent:result\n:HTTP_STATUS/200\ndata:{data}\n\n".encode())

    for word in script.reasoning.split():
        frame(_message("", is_multimodal, reasoning_content=word + " "))
    for call in calls:
        first = {**call, "function": {**call["function"], "arguments": call["function"]["arguments"][:5]}}
        rest = {
            "index": call["index"],
            "id": "",
            "type": "function",
            "function": {"arguments": call["function"]["arguments"][5:]},
        }
        frame(_message("", is_multimodal, tool_calls=[first]))
        frame(_message("", is_multimodal, tool_calls=[rest]))
    for number, piece in enumerate([] if calls else pieces):
        if number == script.moderate_after:
            error = {
                "code": "DataInspectionFailed",
                "message": "Output data may contain inappropriate content.",
                "request_id": ID,
            }
            out.append(f"id:{len(out) + 1}\nevent:error\n:HTTP_STATUS/400\ndata:{json.dumps(error)}\n\n".encode())
            return out
        told += piece
        frame(_message(piece if is_incremental else told, is_multimodal))
    frame(_message("" if is_incremental else told, is_multimodal), "tool_calls" if calls else "stop")
    if script.broken_json:
        out[-1] = out[-1][:60] + b"\n\n"
    return out[:-1] if script.no_done else out
