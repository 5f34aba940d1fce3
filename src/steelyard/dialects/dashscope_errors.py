"""The DashScope-native error envelope. Source: errors.md 1, dashscope.md 3."""

from steelyard.base.errors import Fault
from steelyard.base.jsondoor import encode
from steelyard.dialects.dialect import Headers
from steelyard.dialects.openai_errors import retry_headers

#: What speaks this dialect.
PREFIX = "/api/v1/"


def render(failure: Fault, request_id: str) -> tuple[Headers, bytes]:
    """Headers and body of an error answer."""
    body = encode({"code": failure.native_code, "message": failure.message.strip(), "request_id": request_id})
    return [(b"content-type", b"application/json"), *retry_headers(failure)], body
