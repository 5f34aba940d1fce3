"""Refusals in the envelope of Alibaba Cloud's management APIs. Source: bailian-openapi.md 4."""

from steelyard.base.errors import Fault
from steelyard.base.jsondoor import encode
from steelyard.dialects.dialect import Headers

HOST_ID = "steelyard"
#: What this API has a name of its own for: slug -> (status, code); all others go by their native codes.
_NAMES = {
    "api_key_missing": (400, "MissingParameter"),
    "internal_error": (500, "InternalError"),
    "knowledge_base_not_found": (400, "Index.InvalidParameter"),
    "document_not_found": (400, "Index.InvalidParameter"),
    "limit_requests": (429, "Throttling.User"),
    "parameter_invalid": (400, "Index.InvalidParameter"),
    "path_not_found": (404, "InvalidAction.NotFound"),
    "stores_unavailable": (503, "ServiceUnavailable"),
}


def get_status(failure: Fault) -> int:
    """The HTTP status of a refusal."""
    return _NAMES.get(failure.slug, (failure.status, ""))[0]


def get_code(failure: Fault) -> str:
    """The code of a refusal."""
    return _NAMES.get(failure.slug, (0, failure.native_code))[1]


def render(failure: Fault, request_id: str) -> tuple[Headers, bytes]:
    """Headers and body of an error answer."""
    status, code = get_status(failure), get_code(failure)
    headers: Headers = [(b"content-type", b"application/json"), *failure.limit_headers]
    if failure.retry_after_s is not None:
        headers.append((b"retry-after", f"{failure.retry_after_s:g}".encode()))
        # the SDK waits only where it finds this one, in milliseconds
        headers.append((b"x-acs-retry-after", str(int(failure.retry_after_s * 1000)).encode()))
    body = {
        "RequestId": request_id,
        "HostId": HOST_ID,
        "Code": code,
        "Message": failure.message.strip(),
        "Recommend": f"/errors/{failure.slug}",
        "Status": str(status),
        "Success": False,
    }
    return headers, encode(body)
