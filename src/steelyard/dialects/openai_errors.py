"""The OpenAI-compatible error envelope, before and after the first byte. Source: errors.md 1 and 5."""

from typing import Any

from steelyard.base.errors import Fault
from steelyard.base.jsondoor import encode
from steelyard.dialects.dialect import Headers
from steelyard.dialects.refusals import Refused, in_stream, text_of, to_fault

#: Statuses that SDKs retry unless told not to.
_RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504})


def error_object(failure: Fault) -> dict[str, Any]:
    """The `error` member."""
    return {
        "message": failure.message,
        "type": failure.openai_type,
        "param": failure.param,
        "code": failure.openai_code,
    }


def retry_headers(failure: Fault) -> Headers:
    """Retry-After, and `x-should-retry: false` where an SDK would burn attempts for nothing."""
    headers: Headers = list(failure.limit_headers)
    if failure.retry_after_s is not None:
        headers.append((b"retry-after", f"{failure.retry_after_s:g}".encode()))
    if failure.status in _RETRIED and not failure.is_retryable:
        headers.append((b"x-should-retry", b"false"))
    return headers


def render(failure: Fault, request_id: str) -> tuple[Headers, bytes]:
    """Headers and body of an error answer."""
    body = encode({"error": error_object(failure), "request_id": request_id})
    return [(b"content-type", b"application/json"), *retry_headers(failure)], body


def render_event(failure: Fault, request_id: str) -> bytes:
    """The stream event that replaces the rest of an answer."""
    return b"data: " + encode({"error": error_object(failure), "request_id": request_id}) + b"\n\n"


def read_refusal(status: int, headers: dict[bytes, bytes], body: Any, provider: str) -> Fault:
    """An upstream's error answer as our fault."""
    return to_fault(_refused(body), status, headers, provider)


def fault_in_event(event: dict[str, Any]) -> Fault:
    """The fault that an upstream's error event tells of."""
    return in_stream(_refused(event))


def _refused(body: Any) -> Refused:
    error = _error_member(body)
    kind, code = text_of(error.get("type")), text_of(error.get("code"))
    return Refused(
        message=text_of(error.get("message")),
        kind=kind,
        code=code,
        param=text_of(error.get("param")),
        same_api={"openai_type": kind or None, "openai_code": code or None},
    )


def _error_member(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        return {}
    error = body.get("error")
    if isinstance(error, dict):
        return error
    # a native flat body, or "error": "text"
    return {"message": error if isinstance(error, str) else body.get("message"), "code": body.get("code")}
