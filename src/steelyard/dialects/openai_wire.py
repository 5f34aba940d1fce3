"""What chat and completions share on the wire: the upstream body, and the reading of whole answers."""

import re
from typing import Any

import msgspec

from steelyard.base.errors import fault
from steelyard.base.jsondoor import encode
from steelyard.canon.request import ModelRequest
from steelyard.dialects.dialect import Reply
from steelyard.dialects.openai_errors import fault_in_event
from steelyard.dialects.openai_stream import usage_from

_MODEL = re.compile(rb'"model"\s*:\s*"(?:[^"\\]|\\.)*"')


class _Answer(msgspec.Struct):
    choices: list[msgspec.Raw] | None = None
    usage: dict[str, Any] | None = None
    error: msgspec.Raw | None = None


_decode_answer = msgspec.json.Decoder(_Answer).decode


def encode_request(request: ModelRequest, model: str, default_cap_tokens: int | None) -> bytes:
    """The body for an upstream: the caller's own bytes where nothing must change."""
    caps = request.output_cap_tokens is None and default_cap_tokens is not None
    if model == request.model and not caps:
        if not request.is_stream or request.wants_usage:
            return request.raw
        if "stream_options" not in request.body:
            start = request.raw.index(b"{") + 1
            return b'{"stream_options":{"include_usage":true},' + request.raw[start:]
    body = dict(request.body, model=model)
    if caps:
        body["max_tokens"] = default_cap_tokens
    if request.is_stream:
        body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    return encode(body)


def read_reply(body: bytes) -> Reply:
    """What matters of a whole answer.

    Raises:
        Fault: `bad_gateway` where it is no answer at all.
    """
    try:
        answer = _decode_answer(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise fault("bad_gateway", detail=" (The answer is not valid JSON.)") from exc
    if answer.error is not None and answer.error != b"null" and answer.choices is None:
        return Reply(None, fault_in_event(msgspec.json.decode(body)))
    if answer.choices is None:
        raise fault("bad_gateway", detail=" (The answer has no choices.)")
    usage = usage_from(answer.usage) if answer.usage else None
    return Reply(usage, answer_bytes=sum(map(len, answer.choices)))


def rename_reply(body: bytes, model: str) -> bytes:
    """The answer under the name that the caller used."""
    decoded = msgspec.json.decode(body)
    decoded["model"] = model
    return encode(decoded)
