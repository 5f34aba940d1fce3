"""The monitor itself and what it watches, as Prometheus' HTTP API tells them. Source: prometheus.md 1.6."""

import os
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request

import steelyard
from steelyard.monitor.cohorts import choose
from steelyard.monitor.exposition_format import Metadata
from steelyard.monitor.questions import TIMEOUT_S, Questions, View
from steelyard.monitor.scraper import DOWN, Target
from steelyard.monitor.series_store import SeriesStore
from steelyard.monitor.statistics import describe_store
from steelyard.promql.context import LOOKBACK_MS
from steelyard.promql.errors import QueryError
from steelyard.promql.labels import make_labels
from steelyard.web.prometheus_answers import UNAVAILABLE, VERSION, Endpoint, Told, cut, read_view
from steelyard.web.prometheus_forms import Parameters, refuse

TARGET_STATES = ("", "any", "active", "dropped")
#: Of the Go server's admin API, which deletes series and copies the store.
ADMIN_PATHS = ("delete_series", "clean_tombstones", "snapshot")


class StatusApi:
    """The handlers."""

    def __init__(self, store: SeriesStore, questions: Questions, targets: list[Target], *, retention: str) -> None:
        self._store = store
        self._questions = questions
        self._targets = targets
        self._retention = retention
        self._started = datetime.now(UTC)

    def endpoints(self) -> "tuple[tuple[str, Endpoint, list[str]], ...]":
        """Paths below the API's, their handlers and methods."""
        one = ["GET", "OPTIONS"]
        return (
            ("/targets", self.targets, one),
            ("/targets/metadata", self.targets_metadata, one),
            ("/status/buildinfo", self.buildinfo, one),
            ("/status/runtimeinfo", self.runtimeinfo, one),
            ("/status/flags", self.flags, one),
            ("/status/config", self.config, one),
            ("/status/tsdb", self.tsdb, one),
            ("/status/walreplay", self.walreplay, one),
            ("/features", self.features, one),
            ("/notifications", self.notifications, one),
            *((f"/admin/tsdb/{name}", self.admin, ["POST", "PUT", "OPTIONS"]) for name in ADMIN_PATHS),
        )

    async def targets(self, request: Request, parameters: Parameters) -> Told:
        """A workspace sees its own; the platform's are the admins'."""
        state, view = parameters.text("state"), read_view(request, parameters)
        if state not in TARGET_STATES:
            raise refuse("state", f'not supported value "{state[:40]}"')
        seen = [] if state == "dropped" else self._seen(view)
        pool = parameters.text("scrapePool")
        active = [_show_target(one) for one in seen if pool in ("", one.job)]
        return Told({"activeTargets": active, "droppedTargets": [], "droppedTargetCounts": {}})

    def _seen(self, view: View) -> list[Target]:
        return [one for one in self._targets if view.workspace in (None, one.workspace)]

    async def targets_metadata(self, request: Request, parameters: Parameters) -> Told:
        """What each target says of its families."""
        view, limit = read_view(request, parameters), parameters.count("limit")
        wanted, text = parameters.text("metric"), parameters.text("match_target")
        matchers = Parameters([("match[]", text)]).selectors()[0] if text else ()
        rows = [
            {"target": target.labels, "metric": family, **_show_family(one)}
            for target in self._seen(view)
            if len(choose([make_labels(target.labels)], matchers))
            for family, one in target.families.items()
            if wanted in ("", family)
        ]
        return cut(rows, limit)

    # the server itself

    async def buildinfo(self, _: Request, _parameters: Parameters) -> Told:
        """Without `features`: with it, Grafana would take us for another server."""
        return Told(
            {"version": VERSION, "revision": f"steelyard-{steelyard.__version__}", "branch": "", "buildUser": "", "buildDate": "", "goVersion": ""}
        )  # fmt: skip

    async def runtimeinfo(self, _: Request, _parameters: Parameters) -> Told:
        """Names are of the Go server; what has no counterpart here is empty."""
        return Told(
            {
                "startTime": _stamp(self._started), "CWD": "", "hostname": "", "serverTime": _stamp(datetime.now(UTC)),
                "reloadConfigSuccess": True, "lastConfigTime": _stamp(self._started), "corruptionCount": 0,
                "goroutineCount": 0, "GOMAXPROCS": os.cpu_count() or 1, "GOMEMLIMIT": 0, "GOGC": "", "GODEBUG": "",
                "storageRetention": self._retention,
            }
        )  # fmt: skip

    async def flags(self, _: Request, _parameters: Parameters) -> Told:
        """As the Go server's command line would have them."""
        return Told(
            {
                "query.lookback-delta": f"{LOOKBACK_MS // 60_000}m",
                "query.timeout": f"{TIMEOUT_S / 60:.0f}m",
                "storage.tsdb.retention.time": self._retention,
                "web.enable-remote-write-receiver": "true",
            }
        )

    async def config(self, request: Request, parameters: Parameters) -> Told:
        """What is scraped, as the Go server's file would say it, for an admin."""
        view = read_view(request, parameters)
        lines = ["scrape_configs:"]
        for one in self._seen(view):
            lines += [f"- job_name: {one.job}", f"  scrape_interval: {one.interval_s:g}s"]
        return Told({"yaml": "\n".join([*lines, ""])})

    async def tsdb(self, request: Request, parameters: Parameters) -> Told:
        """What the store has, and which labels make it large; a workspace is told of its own series."""
        view, limit = read_view(request, parameters), parameters.count("limit", 10) or 10
        oldest_ms, newest_ms = self._store.bounds_ms()
        seen = await self._questions.list_series([], oldest_ms, newest_ms, view) if newest_ms else []
        return Told(describe_store(seen, oldest_ms, newest_ms, limit))

    async def walreplay(self, _: Request, _parameters: Parameters) -> Told:
        """Nobody is answered before the log is read."""
        return Told({"min": 0, "max": 0, "current": 0})

    async def admin(self, _: Request, _parameters: Parameters) -> Told:
        """Series are deleted by nobody here; their time ends them."""
        raise QueryError("admin APIs disabled", UNAVAILABLE)

    async def features(self, _: Request, _parameters: Parameters) -> Told:
        """What of the Go server's switches is on."""
        return Told({"promql": {"experimental_functions": False, "delayed_name_removal": False, "at_modifier": True}})

    async def notifications(self, request: Request, parameters: Parameters) -> Told:
        """What one should know: targets of one's own that are down."""
        return Told(
            [
                {"text": f"The target {one.job} is down: {one.health.error}", "date": _stamp(_time_of(one)), "active": True}
                for one in self._seen(read_view(request, parameters))
                if one.health.state == DOWN
            ]
        )  # fmt: skip


def _show_target(one: Target) -> dict[str, Any]:
    return {
        "discoveredLabels": {"__address__": one.labels["instance"], "job": one.job},
        "labels": one.labels,
        "scrapePool": one.job,
        "scrapeUrl": one.url,
        "globalUrl": one.url,
        "lastError": one.health.error,
        "lastScrape": _stamp(_time_of(one)),
        "lastScrapeDuration": one.health.took_s,
        "health": one.health.state,
        "scrapeInterval": f"{one.interval_s:g}s",
        "scrapeTimeout": f"{one.timeout_s:g}s",
    }


def _time_of(one: Target) -> datetime:
    return datetime.fromtimestamp(one.health.scraped_us / 1e6, UTC)


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


def _show_family(one: Metadata) -> dict[str, str]:
    return {"type": one.kind, "help": one.help, "unit": one.unit}
