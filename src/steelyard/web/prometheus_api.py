"""Prometheus' HTTP API under /prometheus, in the monitor process. The gateway has admitted whoever asks. Source: prometheus.md 1."""

import contextlib
import time
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from steelyard.base.clock import now_us
from steelyard.base.errors import Fault
from steelyard.base.jsondoor import encode
from steelyard.monitor.exemplars import Exemplar, Exemplars
from steelyard.monitor.federation import render_newest
from steelyard.monitor.minutes import Minutes
from steelyard.monitor.pushed import Pushed
from steelyard.monitor.questions import Answer, Questions, Span
from steelyard.monitor.received import Received
from steelyard.monitor.scraper import Target
from steelyard.monitor.series_store import SeriesStore
from steelyard.promql.engine import MAX_POINTS, selectors_of
from steelyard.promql.errors import BAD_DATA, QueryError
from steelyard.promql.labels import NAME, Labels, get
from steelyard.promql.nodes import Range, Subquery, Text, unwrap
from steelyard.promql.numbers import format_sample, format_time
from steelyard.promql.printer import show_query
from steelyard.promql.tree import show_tree
from steelyard.web.prometheus_answers import (
    ALL_MS,
    API,
    PREFIX,
    STATUS,
    TRUNCATED,
    Endpoint,
    Told,
    cut,
    plain_error,
    read_view,
    told,
)
from steelyard.web.prometheus_forms import Parameters, fault_answer, read_parameters, refuse
from steelyard.web.prometheus_status import StatusApi
from steelyard.web.push_api import PushApi
from steelyard.web.rules_api import RulesApi
from steelyard.web.write_api import WriteApi

#: Prometheus writes a name that a path cannot hold with this before it.
_ESCAPED_NAME = "U__"


class PrometheusApi:
    """The handlers."""

    def __init__(
        self,
        store: SeriesStore,
        questions: Questions,
        targets: list[Target],
        pushed: Pushed,
        received: Received,
        minutes: Minutes,
        exemplars: Exemplars,
        rules: RulesApi,
        *,
        retention: str,
        external_labels: dict[str, str],
    ) -> None:
        self._external_labels = external_labels
        self._rules = rules
        self._store = store
        self._questions = questions
        self._targets = targets
        self._pushed = pushed
        self._received = received
        self._minutes = minutes
        self._exemplars = exemplars
        self._status = StatusApi(store, questions, targets, retention=retention)

    def app(self) -> Starlette:
        """The application of the monitor process."""
        both, one = ["GET", "POST", "OPTIONS"], ["GET", "OPTIONS"]
        endpoints: tuple[tuple[str, Endpoint, list[str]], ...] = (
            ("/query", self.query, both),
            ("/query_range", self.query_range, both),
            ("/query_exemplars", self.query_exemplars, both),
            ("/format_query", self.format_query, both),
            ("/parse_query", self.parse_query, both),
            ("/series", self.series, both),
            ("/labels", self.labels, both),
            ("/label/{name}/values", self.label_values, one),
            ("/metadata", self.metadata, one),
            ("/rules", self.rules, one),
            ("/alerts", self.alerts, one),
            ("/alertmanagers", self.alertmanagers, one),
            *self._status.endpoints(),
        )
        return Starlette(
            routes=[
                *(Route(API + path, told(endpoint), methods=methods) for path, endpoint, methods in endpoints),
                Route(PREFIX + "/", _front),
                Route(PREFIX + "/federate", self.federate),
                *PushApi(self._pushed, PREFIX).routes(),
                *WriteApi(self._received, API).routes(),
                Route(PREFIX + "/-/reload", self._rules.reload, methods=["POST", "PUT"]),
                *(Route(f"{PREFIX}/-/{name}", _well, methods=["GET", "HEAD"]) for name in ("healthy", "ready")),
            ],
            middleware=[Middleware(GZipMiddleware, minimum_size=1000, compresslevel=1)],
            exception_handlers={HTTPException: plain_error},
        )

    # queries

    async def query(self, request: Request, parameters: Parameters) -> Told:
        """An expression at one time."""
        began = time.perf_counter()
        at_ms = parameters.time_ms("time", now_us() // 1000, is_told=True)
        view, limit = read_view(request, parameters), parameters.count("limit")
        parameters.query()
        answer = await self._questions.answer(parameters.text("query"), Span(at_ms, at_ms), view, limit=limit)
        return _tell(answer, parameters, began)

    async def query_range(self, request: Request, parameters: Parameters) -> Told:
        """An expression at the steps of a time."""
        began = time.perf_counter()
        start_ms, end_ms = parameters.time_ms("start"), parameters.time_ms("end")
        if end_ms < start_ms:
            raise refuse("end", "end timestamp must not be before start time")
        step_ms = parameters.duration_ms("step")
        if step_ms <= 0:
            words = "zero or negative query resolution step widths are not accepted. Try a positive integer"
            raise refuse("step", words)
        if (end_ms - start_ms) // step_ms > MAX_POINTS:
            words = "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)"
            raise QueryError(words, BAD_DATA)
        view, limit, node = read_view(request, parameters), parameters.count("limit"), parameters.query()
        kind = {Text: "string", Range: "range vector", Subquery: "range vector"}.get(type(unwrap(node)))
        if kind is not None:
            raise refuse("query", f'invalid expression type "{kind}" for range query, must be Scalar or instant Vector')
        span = Span(start_ms, end_ms, step_ms)
        answer = await self._questions.answer(parameters.text("query"), span, view, limit=limit)
        return _tell(answer, parameters, began)

    async def query_exemplars(self, request: Request, parameters: Parameters) -> Told:
        """Exemplars of all selectors of an expression; its functions are passed over."""
        view, node = read_view(request, parameters), parameters.query()
        start_ms = parameters.time_ms("start", 0, is_told=True)
        end_ms = parameters.time_ms("end", ALL_MS, is_told=True)
        if end_ms < start_ms:
            raise refuse("end", "end timestamp must not be before start time")
        selectors = [one.matchers for one in selectors_of(view.narrow(node))]
        found = self._exemplars.find(selectors, start_ms, end_ms)
        return Told([{**one, "exemplars": [_show_exemplar(each) for each in one["exemplars"]]} for one in found])

    async def format_query(self, _: Request, parameters: Parameters) -> Told:
        """An expression as it is written best."""
        return Told(show_query(parameters.query()))

    async def parse_query(self, _: Request, parameters: Parameters) -> Told:
        """An expression as a tree."""
        return Told(show_tree(parameters.query()))

    # what there is

    async def series(self, request: Request, parameters: Parameters) -> Told:
        """Label sets."""
        found = await self._list(request, parameters, is_needed=True)
        return cut([dict(labels) for labels in found], parameters.count("limit"))

    async def labels(self, request: Request, parameters: Parameters) -> Told:
        """Names of labels."""
        found = await self._list(request, parameters)
        return cut(sorted({name for labels in found for name, _ in labels}), parameters.count("limit"))

    async def label_values(self, request: Request, parameters: Parameters) -> Told:
        """Values of a label."""
        name = _unescape_name(request.path_params["name"])
        found = await self._list(request, parameters)
        values = {get(labels, name) for labels in found} - {""}
        return cut(sorted(values), parameters.count("limit"))

    async def _list(self, request: Request, parameters: Parameters, *, is_needed: bool = False) -> list[Labels]:
        selectors = parameters.selectors(is_needed=is_needed)
        start_ms = parameters.time_ms("start", -ALL_MS, is_told=True)
        end_ms = parameters.time_ms("end", ALL_MS, is_told=True)
        return await self._questions.list_series(selectors, start_ms, end_ms, read_view(request, parameters))

    async def metadata(self, request: Request, parameters: Parameters) -> Told:
        """What families are, those of which one sees series."""
        view = read_view(request, parameters)
        limit = parameters.count("limit", -1, "limit must be a number") if parameters.text("limit") else -1
        most = parameters.count("limit_per_metric", -1) if parameters.text("limit_per_metric") else -1
        wanted = parameters.text("metric")
        seen = None if view.workspace is None else await self._questions.list_series([], -ALL_MS, ALL_MS, view)
        names = None if seen is None else {get(labels, NAME) for labels in seen}
        found: dict[str, list[dict[str, str]]] = {}
        sources = [
            *(one.families for one in self._targets),
            self._pushed.families(view.workspace),
            self._received.families(view.workspace),
            self._minutes.families(),
        ]
        for families in sources:
            for family, one in families.items():
                if (wanted and family != wanted) or (names is not None and not is_of(family, names)):
                    continue
                shown = {"type": one.kind, "unit": one.unit, "help": one.help}
                entries = found.setdefault(family, [])
                if shown not in entries and (most < 0 or len(entries) < most):
                    entries.append(shown)
        return Told(dict(list(found.items())[:limit]) if limit >= 0 else found)

    # what is watched

    async def rules(self, request: Request, parameters: Parameters) -> Told:
        """Groups of rules and how they went."""
        return Told(self._rules.rules(request, parameters, read_view(request, parameters)))

    async def alerts(self, request: Request, parameters: Parameters) -> Told:
        """Alerts that are pending or firing."""
        return Told(self._rules.alerts(read_view(request, parameters)))

    async def alertmanagers(self, request: Request, parameters: Parameters) -> Told:
        """Whom alerts are told to."""
        return Told(self._rules.alertmanagers(read_view(request, parameters)))

    async def federate(self, request: Request) -> Response:
        """The newest samples of what is selected, in the text format."""
        try:
            parameters = await read_parameters(request)
            selectors = parameters.selectors()
            if not selectors:
                return PlainTextResponse("", media_type="text/plain; version=0.0.4")
            view = read_view(request, parameters)
            newest = await self._questions.newest(selectors, now_us() // 1000, view)
        except Fault as failure:
            return fault_answer(failure, request)
        except QueryError as exc:
            return PlainTextResponse(str(exc).removeprefix('invalid parameter "match[]": '), STATUS[exc.kind])
        return PlainTextResponse(render_newest(newest, self._external_labels), media_type="text/plain; version=0.0.4")


def _tell(answer: Answer, parameters: Parameters, began: float) -> Told:
    data = answer.data
    if parameters.text("stats"):
        took_s = time.perf_counter() - began
        timings = {"evalTotalTime": took_s, "resultSortTime": 0, "queryPreparationTime": 0, "innerEvalTime": took_s, "execQueueTime": 0, "execTotalTime": took_s}  # fmt: skip
        samples = {"totalQueryableSamples": answer.samples, "peakSamples": answer.samples}
        data = data[:-1] + b',"stats":' + encode({"timings": timings, "samples": samples}) + b"}"
    warnings = [*answer.warnings, TRUNCATED] if answer.is_cut else answer.warnings
    return Told(msgspec.Raw(data), warnings, answer.infos)


def _show_exemplar(one: Exemplar) -> dict[str, Any]:
    stamp = msgspec.Raw(format_time(one.at_ms).encode())
    return {"labels": dict(one.labels), "value": format_sample(one.value), "timestamp": stamp}


def _unescape_name(name: str) -> str:
    """`U__http_2e_code` is `http.code`."""
    if not name.startswith(_ESCAPED_NAME):
        return name
    parts = name.removeprefix(_ESCAPED_NAME).replace("__", "\0").split("_")
    text = parts[0]
    for number, part in enumerate(parts[1:], start=1):
        if number % 2:
            with contextlib.suppress(ValueError, OverflowError):
                text += chr(int(part, 16))
        else:
            text += part
    return text.replace("\0", "_")


def is_of(family: str, names: set[str]) -> bool:
    """Whether any of the names is a series of a family."""
    return any(family + suffix in names for suffix in ("", "_total", "_count", "_bucket", "_sum", "_info", "_created"))


async def _front(_: Request) -> Response:
    return PlainTextResponse(
        f"Prometheus' HTTP API is under {API}; this is its monitoring, without pages of its own.\n"
    )


async def _well(_: Request) -> Response:
    return PlainTextResponse("Prometheus Server is Healthy.\n")
