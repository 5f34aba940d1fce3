"""The Anthropic error envelope, before and after the first byte. Source: errors.md 1, openai-compatible.md 11."""

from typing import Any

from steelyard.base.errors import Fault
from steelyard.base.jsondoor import encode
from steelyard.dialects.dialect import Headers
from steelyard.dialects.openai_errors import retry_headers
from steelyard.dialects.refusals import Refused, in_stream, text_of, to_fault
from steelyard.dialects.sse import frame


def error_object(failure: Fault, request_id: str) -> dict[str, Any]:
    """The envelope."""
    error = {"type": failure.anthropic_type, "message": failure.message.strip()}
    return {"type": "error", "error": error, "request_id": request_id}


def render(failure: Fault, request_id: str) -> tuple[Headers, bytes]:
    """Headers and body of an error answer. Its SDK reads the id from `request-id`."""
    body = encode(error_object(failure, request_id))
    return [(b"content-type", b"application/json"), (b"request-id", request_id.encode()), *retry_headers(failure)], body


def render_event(failure: Fault, request_id: str) -> bytes:
    """The stream event that replaces the rest of an answer."""
    return frame(b"error", encode(error_object(failure, request_id)))


def read_refusal(status: int, headers: dict[bytes, bytes], body: Any, provider: str) -> Fault:
    """An upstream's error answer as our fault."""
    return to_fault(_refused(body), status, headers, provider)


def fault_in_event(event: dict[str, Any]) -> Fault:
    """The fault that an upstream's error event tells of."""
    return in_stream(_refused(event))


def _refused(body: Any) -> Refused:
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return Refused()
    kind = text_of(error.get("type"))
    return Refused(message=text_of(error.get("message")), kind=kind, same_api={"anthropic_type": kind or None})
