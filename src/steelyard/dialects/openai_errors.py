"""The OpenAI-compatible error envelope, before and after the first byte. Source: errors.md 1 and 5."""

from typing import Any

from steelyard.base.errors import Fault, RelayedFault, fault
from steelyard.base.jsondoor import encode
from steelyard.dialects.dialect import Headers

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


def read_refusal(status: int, headers: dict[bytes, bytes], body: dict[str, Any] | None, provider: str) -> Fault:
    """An upstream's error answer as our fault.

    The caller's mistakes pass on in the vendor's words; a refused vendor key is the operator's matter, so its text
    stays here; what is left is the vendor's failure.
    """
    error = _error_member(body)
    message = _text(error.get("message"))
    if status in (401, 403) and not _is_policy(error):
        return fault("provider_refused_key", provider=provider)
    if status == 408 or status == 504:
        return fault("upstream_timeout")
    if status == 429 or status == 503:
        return _throttled(status, headers, error, message)
    if status == 500:
        # the vendor's service is there and says that it failed: told on as it is
        return _told_on("inference_error", status, error, message, provider)
    if status > 500:
        return fault("bad_gateway", detail=f" ({provider} answered {status}: {message})" if message else "")
    return _told_on(_row_for(error, status), status, error, message, provider)


def _told_on(slug: str, status: int, error: dict[str, Any], message: str, provider: str) -> Fault:
    return RelayedFault(
        slug,
        status=status,
        message=message or f"{provider} answered {status}.",
        openai_type=_text(error.get("type")) or None,
        openai_code=_text(error.get("code")) or None,
        param=_text(error.get("param")) or None,
    )


def _error_member(body: dict[str, Any] | None) -> dict[str, Any]:
    if body is None:
        return {}
    error = body.get("error")
    if isinstance(error, dict):
        return error
    # a native flat body, or "error": "text"
    return {"message": error if isinstance(error, str) else body.get("message"), "code": body.get("code")}


def _text(value: object) -> str:
    return "" if value is None else str(value)[:2000]


def _is_policy(error: dict[str, Any]) -> bool:
    return "inspection" in _text(error.get("code")).lower()


def _row_for(error: dict[str, Any], status: int) -> str:
    if "inspection" in f"{error.get('code')}{error.get('type')}".lower():
        return "data_inspection_failed"
    if status == 404:
        return "model_not_found"
    return "parameter_invalid"


def _throttled(status: int, headers: dict[bytes, bytes], error: dict[str, Any], message: str) -> Fault:
    slug = "limit_requests" if status == 429 else "model_unavailable"
    return RelayedFault(
        slug,
        status=status,
        message=message or fault(slug).message,
        openai_type=_text(error.get("type")) or None,
        openai_code=_text(error.get("code")) or fault(slug).openai_code,
        retry_after_s=_seconds(headers.get(b"retry-after")),
        is_retryable=headers.get(b"x-should-retry", b"true").lower() != b"false",
    )


def _seconds(value: bytes | None) -> float | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        return None


def fault_in_event(event: dict[str, Any]) -> Fault:
    """The fault that an upstream's error event tells of."""
    error = _error_member(event)
    return RelayedFault(
        _row_for(error, 400),
        status=400 if "inspection" in _text(error.get("code")) else 502,
        message=_text(error.get("message")) or "The upstream reported an error.",
        openai_type=_text(error.get("type")) or None,
        openai_code=_text(error.get("code")) or None,
    )
