"""Prometheus' HTTP API where another server answers: the same paths, with what a workspace may see enforced on the parsed query.

Source: prometheus.md 7. A text is never changed as text: selectors are read, given the workspace's matcher, and written anew.
"""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from steelyard.base.errors import Fault, fault
from steelyard.monitor.questions import View
from steelyard.monitor.tenants import WORKSPACE
from steelyard.promql.errors import QueryError
from steelyard.promql.parse import parse
from steelyard.promql.printer import show_query, show_series
from steelyard.promql.tree import show_tree
from steelyard.web.prometheus_answers import API, PREFIX, STATUS, json_response, plain_error, read_view
from steelyard.web.prometheus_api import is_of
from steelyard.web.prometheus_forms import FORM, Parameters, fault_answer, read_parameters
from steelyard.web.push_api import PushApi
from steelyard.web.rules_api import RulesApi
from steelyard.web.write_api import WriteApi

#: Sends a request: (method, path with query, headers, body) -> (status, headers, body); raises OSError where nobody answers.
Ask = Callable[[str, str, dict[str, str], bytes], Awaitable[tuple[int, dict[str, str], bytes]]]
#: What the other server says that clients should hear.
_PASSED = frozenset({"content-type", "content-encoding", "retry-after", "vary"})
UNAVAILABLE = "unavailable"
QUERIES = ("/query", "/query_range", "/query_exemplars")
LISTS = ("/series", "/labels", "/label/{name}/values")
#: Nothing of a workspace's is in them.
PLAIN = (
    "/status/buildinfo",
    "/status/walreplay",
    "/features",
)
#: What is of all workspaces together: for admins.
ADMINS = (
    "/targets",
    "/targets/metadata",
    "/alertmanagers",
    "/status/config",
    "/status/tsdb",
    "/status/runtimeinfo",
    "/status/flags",
    "/notifications",
    "/rules",
    "/read",
)
EMPTY: dict[str, Any] = {
    "/targets": {"activeTargets": [], "droppedTargets": [], "droppedTargetCounts": {}},
    "/targets/metadata": [],
    "/alertmanagers": {"activeAlertmanagers": [], "droppedAlertmanagers": []},
    "/status/config": {"yaml": ""},
    "/rules": {"groups": []},
    "/notifications": [],
}


class RemoteApi:
    """The handlers."""

    def __init__(self, ask: Ask, push: PushApi, write: WriteApi, rules: RulesApi) -> None:
        self._ask = ask
        self._push = push
        self._write = write
        self._rules = rules

    def app(self) -> Starlette:
        """The application of the monitor process."""
        both = ["GET", "POST"]
        return Starlette(
            routes=[
                *(Route(API + path, self._guarded(self.query), methods=both) for path in QUERIES),
                *(Route(API + path, self._guarded(self.lists), methods=both) for path in LISTS),
                *(Route(API + path, self._guarded(self.plain), methods=["GET"]) for path in PLAIN),
                *(Route(API + path, self._guarded(self.for_admins), methods=both) for path in ADMINS),
                Route(API + "/metadata", self._guarded(self.metadata), methods=["GET"]),
                Route(API + "/alerts", self._guarded(self.alerts), methods=["GET"]),
                Route(API + "/format_query", self._guarded(self.format_query), methods=both),
                Route(API + "/parse_query", self._guarded(self.parse_query), methods=both),
                Route(PREFIX + "/federate", self._guarded(self.federate), methods=["GET"]),
                *self._write.routes(),
                *self._push.routes(),
                Route(PREFIX + "/-/reload", self._rules.reload, methods=["POST", "PUT"]),
                *(Route(f"{PREFIX}/-/{name}", self._guarded(self.plain), methods=["GET", "HEAD"]) for name in ("healthy", "ready")),
            ],
            middleware=[Middleware(GZipMiddleware, minimum_size=1000, compresslevel=1)],
            exception_handlers={HTTPException: plain_error},
        )  # fmt: skip

    def _guarded(
        self, handler: Callable[[Request, Parameters, View], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            try:
                parameters = await read_parameters(request)
                return await handler(request, parameters, read_view(request, parameters))
            except QueryError as exc:
                return json_response({"status": "error", "errorType": exc.kind, "error": str(exc)}, STATUS[exc.kind])
            except OSError as exc:
                text = f"the server that keeps the samples does not answer: {exc}"
                return json_response({"status": "error", "errorType": UNAVAILABLE, "error": text}, 503)
            except Fault as failure:
                return fault_answer(failure, request)

        return guarded

    async def query(self, request: Request, parameters: Parameters, view: View) -> Response:
        """A query, narrowed; an admin's goes as it is, so that it may use what only the other server knows."""
        if view.workspace is None:
            return await self._pass(request, parameters.pairs())
        narrowed = show_query(view.narrow(parameters.query()))
        return await self._pass(request, [*parameters.pairs(without=("query",)), ("query", narrowed)])

    async def lists(self, request: Request, parameters: Parameters, view: View) -> Response:
        """Series, labels, values: each selector narrowed, and one where there is none."""
        return await self._pass(request, self._narrowed(request, parameters, view))

    def _narrowed(self, request: Request, parameters: Parameters, view: View) -> list[tuple[str, str]]:
        if view.workspace is None:
            return parameters.pairs()
        selectors = parameters.selectors(is_needed=request.url.path.endswith("/series")) or [()]
        told = [("match[]", show_series(view.narrow_matchers(one))) for one in selectors]
        return [*parameters.pairs(without=("match[]",)), *told]

    async def federate(self, request: Request, parameters: Parameters, view: View) -> Response:
        """As lists; without a selector nothing is told."""
        if not parameters.texts("match[]"):
            return PlainTextResponse("")
        return await self._pass(request, self._narrowed(request, parameters, view))

    async def plain(self, request: Request, parameters: Parameters, _view: View) -> Response:
        """What is the same for all."""
        return await self._pass(request, parameters.pairs())

    async def for_admins(self, request: Request, parameters: Parameters, view: View) -> Response:
        """What is of all workspaces together; the others are told that there is nothing, or that it is not theirs."""
        if view.workspace is None:
            return await self._pass(request, parameters.pairs(), await request.body())
        path = request.url.path.removeprefix(API)
        if path not in EMPTY:
            raise fault("admin_key_required")
        return json_response({"status": "success", "data": EMPTY[path]}, 200)

    async def metadata(self, request: Request, parameters: Parameters, view: View) -> Response:
        """Families of which one sees series."""
        if view.workspace is None:
            return await self._pass(request, parameters.pairs())
        told = [("match[]", show_series(view.narrow_matchers(())))]
        status, _, body = await self._ask("GET", f"/api/v1/label/__name__/values?{urlencode(told)}", {}, b"")
        there = await self._ask("GET", f"/api/v1/metadata?{urlencode(parameters.pairs())}", {}, b"")
        if status != 200 or there[0] != 200:
            return _answer(*(there if status == 200 else (status, {}, body)))
        names = set(msgspec.json.decode(body)["data"])
        families = msgspec.json.decode(there[2])["data"]
        return json_response(
            {"status": "success", "data": {name: one for name, one in families.items() if is_of(name, names)}}, 200
        )

    async def alerts(self, request: Request, parameters: Parameters, view: View) -> Response:
        """Those that bear the workspace's label."""
        if view.workspace is None:
            return await self._pass(request, parameters.pairs())
        status, headers, body = await self._ask("GET", "/api/v1/alerts", {}, b"")
        if status != 200:
            return _answer(status, headers, body)
        alerts = msgspec.json.decode(body)["data"]["alerts"]
        own = [one for one in alerts if one.get("labels", {}).get(WORKSPACE) == view.workspace]
        return json_response({"status": "success", "data": {"alerts": own}}, 200)

    async def format_query(self, _request: Request, parameters: Parameters, _view: View) -> Response:
        """Answered here."""
        return json_response({"status": "success", "data": show_query(parameters.query())}, 200)

    async def parse_query(self, _request: Request, parameters: Parameters, _view: View) -> Response:
        """Answered here."""
        return json_response({"status": "success", "data": show_tree(parse(parameters.text("query")))}, 200)

    async def _pass(self, request: Request, pairs: list[tuple[str, str]], body: bytes = b"") -> Response:
        path = _path_there(request)
        headers = {"Accept": request.headers.get("accept", "*/*")}
        if request.method != "POST":
            return _answer(*await self._ask("GET", f"{path}?{urlencode(pairs)}" if pairs else path, headers, b""))
        kind = request.headers.get("content-type", FORM)
        if body and not kind.startswith(FORM):
            # remote read, in protobuf
            more = {"Content-Type": kind, "Content-Encoding": request.headers.get("content-encoding", "")}
            return _answer(*await self._ask("POST", path, headers | more, body))
        return _answer(*await self._ask("POST", path, headers | {"Content-Type": FORM}, urlencode(pairs).encode()))


def _path_there(request: Request) -> str:
    """The path below the other server's: the route's own, and a label's name that cannot become more than a name."""
    name = request.path_params.get("name")
    if name is None:
        return request.url.path.removeprefix(PREFIX)
    if name in (".", ".."):
        raise fault("path_not_found", detail="")
    return f"/api/v1/label/{quote(name, safe='')}/values"


def _answer(status: int, headers: dict[str, str], body: bytes) -> Response:
    return Response(body, status, {name: value for name, value in headers.items() if name in _PASSED})
