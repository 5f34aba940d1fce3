"""Refusals in the envelope of Prometheus' HTTP API. Source: prometheus.md 1.1."""

from steelyard.base.errors import Fault
from steelyard.base.jsondoor import encode
from steelyard.dialects.dialect import Headers

PREFIX = "/prometheus/"
#: Prometheus itself has no keys, so it has no words for these.
_KINDS = {400: "bad_data", 401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "bad_data", 429: "too_many_requests", 503: "unavailable"}  # fmt: skip


#: Pages of any origin may ask, with a key of their own.
CORS = {
    "access-control-allow-headers": "Accept, Authorization, Content-Type, Origin",
    "access-control-allow-methods": "GET, POST, OPTIONS",
    "access-control-allow-origin": "*",
    "access-control-expose-headers": "Date",
}


def render(failure: Fault, request_id: str) -> tuple[Headers, bytes]:
    """Headers and body of an error answer."""
    kind = _KINDS.get(failure.status, "internal")
    headers: Headers = [(b"content-type", b"application/json"), *failure.limit_headers]
    headers += [(name.encode(), value.encode()) for name, value in CORS.items()]
    if failure.status == 401:
        # what asks people for a password asks for basic authentication
        headers.append((b"www-authenticate", b'Basic realm="steelyard", charset="UTF-8"'))
    if failure.retry_after_s is not None:
        headers.append((b"retry-after", f"{failure.retry_after_s:g}".encode()))
    body = {"status": "error", "errorType": kind, "error": failure.message, "request_id": request_id}
    return headers, encode(body)
