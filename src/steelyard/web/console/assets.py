"""Style sheet and scripts: read once, sent compressed, kept by browsers as long as they stay the same."""

import gzip
import hashlib
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from steelyard.base.errors import fault
from steelyard.web.answers import guarded

PREFIX = "/static/console/"
_KINDS = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


class Assets:
    """The files of `static/`, under names that change with their content."""

    def __init__(self) -> None:
        self._by_name: dict[str, str] = {}
        self._files: dict[str, tuple[str, bytes, bytes]] = {}
        for file in (files(__package__) / "static").iterdir():
            stem, dot, suffix = file.name.rpartition(".")
            kind = _KINDS.get(dot + suffix)
            if kind is None:
                continue
            data = file.read_bytes()
            address = f"{stem}.{hashlib.sha256(data).hexdigest()[:10]}.{suffix}"
            self._by_name[file.name] = PREFIX + address
            self._files[address] = (kind, data, gzip.compress(data, 9, mtime=0))

    def __repr__(self) -> str:
        return f"<Assets [{len(self._files)} files]>"

    def url(self, name: str) -> str:
        """Where a file is."""
        return self._by_name[name]

    def routes(self) -> list[Route]:
        """The Starlette routes; public, for they are the same everywhere."""
        return [Route(PREFIX + "{name}", guarded(self._send))]

    async def _send(self, request: Request) -> Response:
        found = self._files.get(request.path_params["name"])
        if found is None:
            raise fault("path_not_found")
        kind, plain, packed = found
        headers = {
            "cache-control": "public, max-age=31536000, immutable",
            "vary": "accept-encoding",
            "x-content-type-options": "nosniff",
        }
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(packed, headers={**headers, "content-encoding": "gzip"}, media_type=kind)
        return Response(plain, headers=headers, media_type=kind)
