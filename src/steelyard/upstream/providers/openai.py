"""Any OpenAI-compatible upstream, an engine host included."""

from steelyard.canon.model import Target
from steelyard.upstream.pool import Origin


def request_head(target: Target, origin: Origin, path: str) -> bytes:
    """The part of the request head that is the same for every call to a target; length and id are added per call."""
    lines = [
        f"POST {origin.prefix}{path} HTTP/1.1",
        f"Host: {origin.host_header}",
        "Content-Type: application/json",
        "Accept: application/json, text/event-stream",
        "User-Agent: steelyard",
    ]
    if target.api_key:
        lines.append(f"Authorization: Bearer {target.api_key}")
    head = "\r\n".join(lines)
    if "\n" in target.api_key or "\r" in target.base_url:
        raise ValueError("line breaks in a provider's key or base_url")
    return head.encode() + b"\r\n"


PROVIDER = request_head
