"""The door for scripts, as a Pushgateway's: `/prometheus/metrics/job/JOB/LABEL/VALUE…`, by PUT, POST and DELETE."""

import asyncio
import base64
import binascii
import re
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from steelyard.base.errors import Fault
from steelyard.monitor.exposition_format import MalformedText, Reader
from steelyard.monitor.pushed import Pushed
from steelyard.monitor.tenants import Refused
from steelyard.web.principal import get_principal
from steelyard.web.prometheus_forms import fault_answer

JOB = "job"
PROTOBUF = "application/vnd.google.protobuf"
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
#: A label's value is in URL-safe base64 where its name says so: a path cannot hold a `/` or nothing at all.
_ENCODED = "@base64"


class PushApi:
    """The handlers."""

    def __init__(self, pushed: Pushed, prefix: str) -> None:
        self._pushed = pushed
        self._prefix = prefix

    def routes(self) -> list[Route]:
        """The Starlette routes."""
        return [Route(self._prefix + "/metrics/{grouping:path}", self.push, methods=["PUT", "POST", "DELETE"])]

    async def push(self, request: Request) -> Response:
        """Replaces a group, some of its metrics, or deletes it."""
        try:
            workspace = get_principal(request).workspace
            if not workspace:
                raise Refused("an admin key pushes for nobody; use a key of the workspace")
            grouping = read_grouping(_path_of(request, self._prefix + "/metrics/"))
            if request.method == "DELETE":
                await asyncio.to_thread(self._pushed.delete, workspace, grouping)
                return Response(status_code=202)
            body, kind = await request.body(), request.headers.get("content-type", "")
            if kind.startswith(PROTOBUF):
                return PlainTextResponse("only the text formats are read here\n", 415)
            exposed = await asyncio.to_thread(Reader().read, body, kind)
            is_whole = request.method == "PUT"
            await asyncio.to_thread(self._pushed.push, workspace, grouping, exposed, replaces_all=is_whole)
        except Fault as failure:
            return fault_answer(failure, request)
        except (Refused, MalformedText) as exc:
            return PlainTextResponse(f"{exc}\n", 400)
        except OSError as exc:
            return PlainTextResponse(f"{exc}\n", 503, {"retry-after": "5"})
        return Response(status_code=200)


def _path_of(request: Request, prefix: str) -> str:
    """The path as it was sent: an encoded `/` is part of a value."""
    raw: str = request.scope["raw_path"].decode("latin-1")
    return raw.removeprefix(prefix)


def read_grouping(path: str) -> dict[str, str]:
    """The labels of a group, from its path, as it was sent.

    Raises:
        Refused: naming what is wrong.
    """
    parts = [unquote(part) for part in path.split("/")]
    if len(parts) % 2 or parts[0] not in (JOB, JOB + _ENCODED):
        raise Refused("the path must be /metrics/job/JOB, then pairs of /LABEL/VALUE")
    found: dict[str, str] = {}
    for name, value in zip(parts[::2], parts[1::2], strict=True):
        label = name.removesuffix(_ENCODED)
        if not _LABEL.fullmatch(label) or label.startswith("__"):
            raise Refused(f"{label[:40]!r} is no name of a label")
        if label in found:
            raise Refused(f"label {label!r} is there twice")
        found[label] = _decode(value) if name.endswith(_ENCODED) else value
    if not found[JOB]:
        raise Refused("job name is required")
    return found


def _decode(value: str) -> str:
    try:
        raw = value.rstrip("=")
        return base64.b64decode(raw + "=" * (-len(raw) % 4), b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise Refused(f"{value[:40]!r} is no URL-safe base64 of a UTF-8 text") from None
