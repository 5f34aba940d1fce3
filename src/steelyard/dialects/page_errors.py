"""Refusals where people look: a page, for the console's own may not be there to make one. In both languages, without a script."""

from html import escape

from steelyard.base.errors import Fault
from steelyard.dialects.dialect import Headers

PREFIXES = ("/console", "/hub")
#: Looked at again by itself where it may pass.
AGAIN_S = 2
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">{again}<meta name="viewport" content="width=device-width">
<title>{status} · steelyard</title></head><body><h1>{status}</h1><p>{message}</p><p>{cause}<br><span lang="zh-CN">{cause_zh}</span></p>
<p>{cure}<br><span lang="zh-CN">{cure_zh}</span></p><p><a href="">↻</a> <small>{request_id}</small></p></body></html>
"""


def render(failure: Fault, request_id: str) -> tuple[Headers, bytes]:
    """Headers and body of a page that says what is wrong."""
    row = failure.row
    again = f'<meta http-equiv="refresh" content="{AGAIN_S}">' if failure.status == 503 else ""
    page = _PAGE.format(
        again=again,
        status=failure.status,
        message=escape(failure.message),
        cause=escape(row.cause[0]),
        cause_zh=escape(row.cause[1]),
        cure=escape(row.cure[0]),
        cure_zh=escape(row.cure[1]),
        request_id=escape(request_id),
    )
    headers: Headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
        (b"x-content-type-options", b"nosniff"),
    ]
    if failure.retry_after_s is not None:
        headers.append((b"retry-after", f"{failure.retry_after_s:g}".encode()))
    return headers, page.encode()
