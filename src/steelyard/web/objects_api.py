"""/o/ID/NAME: objects behind signed links. They need no header, answer GET, HEAD, Range and CORS, and are never a page or a script."""

import re
from collections.abc import AsyncIterator
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from steelyard.base.clock import MICROS, now_us
from steelyard.base.errors import Fault
from steelyard.canon.files import StoredObject
from steelyard.policy import media
from steelyard.tasks.library import Library
from steelyard.web.answers import guarded

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
MAX_AGE_S = 86_400
#: As `gateway.passage` names them.
HEAD_HEADER, LENGTH_HEADER = "x-steelyard-head", "x-steelyard-length"
_CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "GET, HEAD, OPTIONS",
    "access-control-allow-headers": "Range",
    "access-control-expose-headers": "Content-Length, Content-Range, Content-Type, ETag",
    "cross-origin-resource-policy": "cross-origin",
}
_SAFE = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; media-src 'self'; img-src 'self'",
    "referrer-policy": "no-referrer",
    "accept-ranges": "bytes",
}


class ObjectsApi:
    """The handlers."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def routes(self) -> list[Route]:
        """The Starlette routes."""
        path = "/o/{object_id}/{name:path}"
        return [
            Route(path, guarded(self.get), methods=["GET"]),
            Route(path, self.preflight, methods=["OPTIONS"]),
        ]

    async def preflight(self, _request: Request) -> Response:
        return Response(status_code=204, headers={**_CORS, "access-control-max-age": "86400"})

    async def get(self, request: Request) -> Response:
        params, query = request.path_params, request.query_params
        try:
            stored = await self._library.open_link(
                params["object_id"], params["name"], query.get("Expires", ""), query.get("Signature", "")
            )
        except Fault as failure:
            return _refused(failure, request)
        return serve(stored, self._library, request, headers=_CORS)


def _refused(failure: Fault, request: Request) -> Response:
    """A plain error: links are opened by people and by programs that speak no API of ours."""
    request_id = request.headers.get("x-request-id", "")
    text = f"{failure.status} {failure.openai_code}: {failure.message}\n{failure.row.cure[0]}\n{failure.row.cure[1]}\nrequest id: {request_id}\n"
    return Response(text, status_code=failure.status, media_type="text/plain; charset=utf-8", headers=_CORS)


def serve(
    stored: StoredObject, library: Library, request: Request, *, headers: dict[str, str] | None = None
) -> Response:
    """An object's bytes, or the part that is asked for.

    Raises:
        Fault: `objects_unavailable`.
    """
    told = {**(headers or {}), **_SAFE, "etag": f'"{stored.digest}"', "cache-control": _caching(stored)}
    as_file = request.query_params.get("download") == "1" or not media.is_shown(stored.content_type)
    place = "attachment" if as_file else "inline"
    told["content-disposition"] = f"{place}; filename*=UTF-8''{quote(stored.name)}"
    told["content-type"] = stored.content_type if media.is_shown(stored.content_type) else media.BINARY
    if request.headers.get("if-none-match") == told["etag"]:
        return Response(status_code=304, headers=told)
    start, end = 0, stored.size_bytes
    status = 200
    asked = request.headers.get("range")
    if asked is not None and request.headers.get("if-range", told["etag"]) == told["etag"]:
        found = _read_range(asked, stored.size_bytes)
        if found is None:
            return Response(status_code=416, headers={**told, "content-range": f"bytes */{stored.size_bytes}"})
        start, end = found
        status = 206
        told["content-range"] = f"bytes {start}-{end - 1}/{stored.size_bytes}"
    told["content-length"] = str(end - start)
    if request.headers.get(HEAD_HEADER):
        # the gateway's parser must not wait for a body; it gives the length its name again
        told[LENGTH_HEADER] = told.pop("content-length")
        return Response(status_code=status, headers=told)
    if start == end:
        return Response(status_code=status, headers=told)
    return StreamingResponse(_parts(library, stored, start, end), status_code=status, headers=told)


async def _parts(library: Library, stored: StoredObject, start: int, end: int) -> AsyncIterator[bytes]:
    async for part in library.read(stored, start, end):
        yield part


def _caching(stored: StoredObject) -> str:
    if stored.keep_until_us is None:
        return f"public, max-age={MAX_AGE_S}, immutable"
    left_s = max((stored.keep_until_us - now_us()) // MICROS, 0)
    return f"public, max-age={min(left_s, MAX_AGE_S)}"


def _read_range(text: str, size: int) -> tuple[int, int] | None:
    """The first and the byte after the last; None where nothing of it is there. Several ranges at once are answered whole."""
    if "," in text:
        return 0, size
    found = _RANGE.fullmatch(text.strip())
    if not found or not (found[1] or found[2]):
        return 0, size
    if not found[1]:
        length = min(int(found[2]), size)
        return (size - length, size) if length else None
    start = int(found[1])
    end = min(int(found[2]) + 1, size) if found[2] else size
    return (start, end) if start < end else None


__all__ = ["ObjectsApi", "serve"]
