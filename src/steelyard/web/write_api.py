"""Where other programs write samples: Prometheus' remote write and OTLP, each for the workspace of its key. Source: prometheus.md 2.4."""

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from steelyard.base.errors import Fault
from steelyard.monitor import otlp, remote_write
from steelyard.monitor.received import Received, Refusals
from steelyard.monitor.remote_write import MalformedWrite, Written
from steelyard.web.principal import get_principal
from steelyard.web.prometheus_forms import fault_answer

_NOBODY = "an admin key writes for nobody; use a key of the workspace"


class WriteApi:
    """The handlers."""

    def __init__(self, received: Received, prefix: str) -> None:
        self._received = received
        self._prefix = prefix

    def routes(self) -> list[Route]:
        """The Starlette routes."""
        return [
            Route(self._prefix + "/write", self.write, methods=["POST"]),
            Route(self._prefix + "/otlp/v1/metrics", self.otlp, methods=["POST"]),
        ]

    async def write(self, request: Request) -> Response:
        """Remote write 1.0. What was not taken is told, and the sender drops it; what was taken stays."""
        kind = request.headers.get("content-type", "")
        if not kind.startswith("application/x-protobuf") or "io.prometheus.write.v2" in kind:
            return PlainTextResponse("only remote write 1.0 is read here (application/x-protobuf)\n", 415)
        if request.headers.get("content-encoding", "snappy") != "snappy":
            return PlainTextResponse("the body must be in snappy's block format\n", 415)
        try:
            refusals = await self._take(request, remote_write.decode)
        except Fault as failure:
            return fault_answer(failure, request)
        except MalformedWrite as exc:
            return PlainTextResponse(f"{exc}\n", 400)
        except OSError as exc:
            return PlainTextResponse(f"{exc}\n", 503, {"retry-after": "5"})
        return PlainTextResponse(f"{refusals}\n", 400) if refusals.reasons else Response(status_code=204)

    async def otlp(self, request: Request) -> Response:
        """OTLP metrics over HTTP, in protobuf or JSON; points that were not taken are told as its partial success."""
        kind = request.headers.get("content-type", "").split(";")[0].strip()
        if kind not in (otlp.PROTOBUF, otlp.JSON):
            return PlainTextResponse(f"the body must be {otlp.PROTOBUF} or {otlp.JSON}\n", 415)
        encoding = request.headers.get("content-encoding", "").strip()
        if encoding not in ("", "identity", "gzip"):
            return PlainTextResponse("the body may be packed by gzip alone\n", 415)
        try:
            refusals = await self._take(request, lambda body: otlp.decode(body, kind, encoding))
        except Fault as failure:
            return fault_answer(failure, request)
        except MalformedWrite as exc:
            return PlainTextResponse(f"{exc}\n", 400)
        except OSError as exc:
            return PlainTextResponse(f"{exc}\n", 503, {"retry-after": "5"})
        refused = sum(refusals.reasons.values())
        return Response(otlp.answer(refused, str(refusals), kind), media_type=kind)

    async def _take(self, request: Request, decode: Callable[[bytes], Written]) -> Refusals:
        workspace, body = get_principal(request).workspace, await request.body()
        if not workspace:
            raise MalformedWrite(_NOBODY)
        return await asyncio.to_thread(lambda: self._received.take(workspace, decode(body)))
