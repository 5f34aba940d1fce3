"""An upstream's error answer as our fault, whichever API it comes in. Source: errors.md.

The caller's mistakes pass on in the vendor's words; a refused vendor key is the operator's matter, so its text stays here;
what is left is the vendor's failure. Codes and types pass on to callers of the same API alone: another API's have no
meaning there, so its callers get those of the row that fits.
"""

from typing import Any

import msgspec

from steelyard.base.errors import Fault, RelayedFault, fault

MAX_TEXT_CHARS = 2000
#: Codes and types of all three APIs that name a row better than their status does.
_ROWS = {
    "arrearage": "arrearage",
    "billing_error": "arrearage",
    "datainspectionfailed": "data_inspection_failed",
    "data_inspection_failed": "data_inspection_failed",
    "content_filter": "data_inspection_failed",
    "model_not_found": "model_not_found",
    "modelnotfound": "model_not_found",
    "not_found_error": "model_not_found",
    "insufficient_quota": "token_rate",
    "throttling.allocationquota": "token_rate",
    "limit_burst_rate": "limit_burst_rate",
    "throttling.burstrate": "limit_burst_rate",
    "context_length_exceeded": "input_too_long",
}
_OVERLOADED = 529


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """What an error answer says."""

    message: str = ""
    #: OpenAI's and Anthropic's `type`
    kind: str = ""
    #: OpenAI's and the native API's `code`
    code: str = ""
    param: str = ""
    #: The codes to pass on to callers of the same API, as `RelayedFault` takes them.
    same_api: dict[str, str | None] = {}


def text_of(value: object) -> str:
    """A member of an error as text."""
    return "" if value is None else str(value)[:MAX_TEXT_CHARS]


def to_fault(refused: Refused, status: int, headers: dict[bytes, bytes], provider: str) -> Fault:
    """The fault of an error answer."""
    named = _named(refused)
    if status in (401, 403) and named != "data_inspection_failed":
        return fault("provider_refused_key", provider=provider)
    if status in (408, 504):
        return fault("upstream_timeout")
    if status in (429, 503, _OVERLOADED):
        return _throttled(refused, status, headers)
    if status == 500:
        # the vendor's service is there and says that it failed: told on as it is
        return _told_on("inference_error", refused, status, provider)
    if status > 500:
        return fault(
            "bad_gateway", detail=f" ({provider} answered {status}: {refused.message})" if refused.message else ""
        )
    slug = named or ("model_not_found" if status == 404 else "parameter_invalid")
    return _told_on(slug, refused, status, provider)


def in_stream(refused: Refused) -> Fault:
    """The fault that an error event within a stream tells of."""
    named = _named(refused) or "bad_gateway"
    return RelayedFault(
        named,
        status=400 if named == "data_inspection_failed" else 502,
        message=refused.message or "The upstream reported an error.",
        **_codes(refused),
    )


def _named(refused: Refused) -> str | None:
    for word in (refused.code.lower(), refused.kind.lower()):
        if word in _ROWS:
            return _ROWS[word]
        if "inspection" in word:
            return "data_inspection_failed"
    return None


def _codes(refused: Refused) -> dict[str, Any]:
    return dict(refused.same_api)


def _told_on(slug: str, refused: Refused, status: int, provider: str) -> Fault:
    return RelayedFault(
        slug,
        status=status,
        message=refused.message or f"{provider} answered {status}.",
        param=refused.param or None,
        **_codes(refused),
    )


def _throttled(refused: Refused, status: int, headers: dict[bytes, bytes]) -> Fault:
    slug = (_named(refused) or "limit_requests") if status == 429 else "model_unavailable"
    row = fault(slug)
    codes = _codes(refused)
    if "openai_code" in codes:
        codes["openai_code"] = codes["openai_code"] or row.openai_code
    return RelayedFault(
        slug,
        status=503 if status == _OVERLOADED else status,
        message=refused.message or row.message,
        retry_after_s=_seconds(headers.get(b"retry-after")),
        is_retryable=headers.get(b"x-should-retry", b"true").lower() != b"false",
        **codes,
    )


def _seconds(value: bytes | None) -> float | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        return None
