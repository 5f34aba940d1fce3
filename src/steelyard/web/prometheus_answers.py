"""How the monitor's HTTP API answers: Prometheus' envelope, who looks, and what is refused. Source: prometheus.md 1.1."""

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from steelyard.base.errors import Fault, fault
from steelyard.base.jsondoor import encode
from steelyard.dialects.prometheus_errors import CORS
from steelyard.monitor.questions import TIMEOUT_S, View
from steelyard.promql.context import LOOKBACK_MS
from steelyard.promql.errors import BAD_DATA, CANCELED, EXECUTION, INTERNAL, TIMEOUT, QueryError
from steelyard.web.principal import get_principal
from steelyard.web.prometheus_forms import Parameters, fault_answer, read_parameters, refuse

PREFIX = "/prometheus"
API = PREFIX + "/api/v1"
#: Grafana switches features on it: what of 3.x is here.
VERSION = "3.1.0"
UNAVAILABLE = "unavailable"
STATUS = {UNAVAILABLE: 500, BAD_DATA: 400, EXECUTION: 422, TIMEOUT: 503, CANCELED: 499, INTERNAL: 500}
ALL_MS = 2**62
TRUNCATED = "results truncated due to limit"


@dataclass(slots=True)
class Told:
    """What an endpoint answers."""

    data: Any
    warnings: list[str] = field(default_factory=list)
    infos: list[str] = field(default_factory=list)


Endpoint = Callable[[Request, Parameters], Awaitable[Told]]


def read_view(request: Request, parameters: Parameters) -> View:
    """Who looks: an admin at everything, all others at their own workspace."""
    grant = get_principal(request)
    if grant.kind != "admin" and not grant.workspace:
        # the label's being empty is what the platform's own series have
        raise fault("admin_key_required")
    timeout_ms = parameters.duration_ms("timeout", int(TIMEOUT_S * 1000))
    lookback_ms = parameters.duration_ms("lookback_delta", LOOKBACK_MS)
    if lookback_ms <= 0:
        raise refuse("lookback_delta", "must be positive")
    return View(
        workspace=None if grant.kind == "admin" else grant.workspace,
        timeout_s=min(max(timeout_ms / 1000, 0.0), TIMEOUT_S),
        lookback_ms=lookback_ms,
    )


def told(endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    """Wraps an endpoint: what it tells, and how it refuses, in Prometheus' envelope."""

    @functools.wraps(endpoint)
    async def wrapped(request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=CORS)
        try:
            found = await endpoint(request, await read_parameters(request))
        except QueryError as exc:
            return json_response({"status": "error", "errorType": exc.kind, "error": str(exc)}, STATUS[exc.kind])
        except OSError as exc:
            return json_response({"status": "error", "errorType": INTERNAL, "error": str(exc)}, 500)
        except Fault as failure:
            return fault_answer(failure, request)
        body: dict[str, Any] = {"status": "success", "data": found.data}
        if found.warnings:
            body["warnings"] = found.warnings
        if found.infos:
            body["infos"] = found.infos
        return json_response(body, 200)

    return wrapped


def json_response(body: dict[str, Any], status: int) -> Response:
    """An answer in JSON, which pages of other origins may read."""
    return Response(encode(body), status, CORS, "application/json")


def cut(rows: list[Any], limit: int) -> Told:
    return Told(rows[:limit], [TRUNCATED]) if 0 < limit < len(rows) else Told(rows)


async def plain_error(_: Request, exc: Exception) -> Response:
    """A path or a method that is not there, as Prometheus says it."""
    assert isinstance(exc, HTTPException)
    texts = {404: "404 page not found\n", 405: "Method Not Allowed\n"}
    return PlainTextResponse(texts.get(exc.status_code, exc.detail), exc.status_code)
