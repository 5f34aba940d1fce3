"""Errors on MCP paths: HTTP statuses as everywhere, and a JSON-RPC error for clients that read the body."""

from steelyard.base.errors import Fault
from steelyard.base.jsondoor import encode
from steelyard.dialects.dialect import Headers
from steelyard.dialects.openai_errors import retry_headers

#: JSON-RPC leaves these numbers to servers.
CODE = -32000


def render(failure: Fault, request_id: str) -> tuple[Headers, bytes]:
    """Headers and body of an error answer."""
    data = {"code": failure.openai_code or failure.slug, "request_id": request_id, "cure": failure.row.cure[0]}
    body = encode({"jsonrpc": "2.0", "id": None, "error": {"code": CODE, "message": failure.message, "data": data}})
    return [(b"content-type", b"application/json"), *retry_headers(failure)], body
