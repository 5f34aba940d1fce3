"""The DashScope-native error envelope, before and after the first byte. Source: errors.md 1, dashscope.md 3 and 4."""

from typing import Any

from steelyard.base.errors import Fault
from steelyard.base.jsondoor import encode
from steelyard.dialects.dialect import Headers
from steelyard.dialects.openai_errors import retry_headers
from steelyard.dialects.refusals import Refused, in_stream, text_of, to_fault

#: What speaks this dialect.
PREFIX = "/api/v1/"
#: Where the native text is another one: row -> (how the row's text begins, how the native one does).
_TEXTS = {
    "model_missing": (
        "you must provide a model parameter.",
        'Required parameter "model" missing from request.',
    ),
    "api_key_missing": (
        "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
        "(i.e. Authorization: Bearer YOUR_KEY).",
        "No API-key provided.",
    ),
    "api_key_invalid": ("Incorrect API key provided.", "Invalid API-key provided."),
    "api_key_placeholder": ("Incorrect API key provided.", "Invalid API-key provided."),
    "limit_requests": (
        "You exceeded your current requests list.",
        "Requests rate limit exceeded, please try again later.",
    ),
    "token_rate": (
        "You exceeded your current quota, please check your plan and billing details.",
        "Allocated quota exceeded, please increase your quota limit.",
    ),
    "budget_spent": (
        "You exceeded your current quota, please check your plan and billing details.",
        "Allocated quota exceeded, please increase your quota limit.",
    ),
}


def error_object(failure: Fault, request_id: str) -> dict[str, Any]:
    """The flat envelope."""
    message = failure.message
    if failure.slug in _TEXTS:
        message = message.replace(*_TEXTS[failure.slug], 1)
    return {"code": failure.native_code, "message": message.strip(), "request_id": request_id}


def render(failure: Fault, request_id: str) -> tuple[Headers, bytes]:
    """Headers and body of an error answer."""
    body = encode(error_object(failure, request_id))
    return [(b"content-type", b"application/json"), *retry_headers(failure)], body


def render_event(failure: Fault, request_id: str, number: int) -> bytes:
    """The stream event that replaces the rest. `status:` tells the 1.x SDK what the comment tells nobody."""
    data = encode(error_object(failure, request_id))
    return b"id:%d\nevent:error\n:HTTP_STATUS/%d\nstatus:%d\ndata:%b\n\n" % (
        number,
        failure.status,
        failure.status,
        data,
    )


def read_refusal(status: int, headers: dict[bytes, bytes], body: Any, provider: str) -> Fault:
    """An upstream's error answer as our fault."""
    return to_fault(_refused(body), status, headers, provider)


def fault_in_event(event: dict[str, Any]) -> Fault:
    """The fault that an upstream's error event tells of."""
    return in_stream(_refused(event))


def _refused(body: Any) -> Refused:
    if not isinstance(body, dict):
        return Refused()
    code = text_of(body.get("code"))
    return Refused(
        message=text_of(body.get("message") or body.get("msg")), code=code, same_api={"native_code": code or None}
    )
