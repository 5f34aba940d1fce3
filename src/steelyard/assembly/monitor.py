"""The monitor process: samples of all processes, kept and asked for in PromQL."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from steelyard.assembly.alerting import make_send, make_webhooks, read_groups
from steelyard.assembly.orders import MONITOR_SOCKET, Orders
from steelyard.assembly.process import background, die_with_parent, make_server, repeat
from steelyard.assembly.scraping import make_ask, make_minute_fetch, make_receivers, make_targets
from steelyard.base.clock import now_us
from steelyard.base.lifetimes import read_ttl_s
from steelyard.base.metrics import Registry
from steelyard.base.metrics_port import open_metrics_port
from steelyard.config import Settings
from steelyard.config.monitor import EMBEDDED
from steelyard.monitor.evaluation import Evaluations
from steelyard.monitor.exemplars import Exemplars
from steelyard.monitor.forwarding import Forwarder
from steelyard.monitor.minutes import Minutes
from steelyard.monitor.notifications import Notifier
from steelyard.monitor.pushed import Pushed
from steelyard.monitor.questions import Questions
from steelyard.monitor.received import Received
from steelyard.monitor.scraper import Target, end_others
from steelyard.monitor.series_store import SeriesStore
from steelyard.upstream.pool import Pool
from steelyard.web.prometheus_answers import API, PREFIX
from steelyard.web.prometheus_api import PrometheusApi
from steelyard.web.push_api import PushApi
from steelyard.web.remote_api import RemoteApi
from steelyard.web.rules_api import RulesApi
from steelyard.web.write_api import WriteApi

log = logging.getLogger("steelyard.monitor")

MONITOR_NICENESS = 5
#: What was taken is on the disk after this long.
FLUSH_S = 0.5
SETTLE_S = 60.0
MINUTES_S = 2.0
FORGET_S = 3600.0


async def run_monitor(orders: Orders) -> None:
    """Runs the role."""
    os.nice(MONITOR_NICENESS)
    async with Pool() as pool:
        monitor = Monitor(orders.settings, pool)
        try:
            await monitor.serve(f"monitor-{orders.boot_id}-{os.getpid()}")
        finally:
            monitor.close()


class Monitor:
    """The parts of the role, put together."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        directory = Path(settings.data_dir) / "monitor"
        self._settings = settings
        self._pool = pool
        self._registry = Registry()
        self._series = self._registry.gauge("monitor_tsdb_series", "Series that the newest half hour has.", ())
        self._scrapes = self._registry.counter("monitor_scrapes_total", "Scrapes by how the target was.", ("state",))
        self._store = SeriesStore(directory)
        self._questions = Questions(self._store)
        self._pushed = Pushed(directory, self._store)
        kept_s = read_ttl_s(settings.monitor.retention)
        self._exemplars = Exemplars()
        self._received = Received(self._store, self._exemplars, retention_ms=(kept_s or 0) * 1000)
        self._targets = make_targets(settings, pool)
        end_others(self._store, self._targets)
        self._minutes = Minutes(self._store, make_minute_fetch(settings, pool), unit=settings.monitor.duration_unit)
        self._notifier = Notifier(
            directory,
            list(settings.monitor.alertmanagers),
            make_webhooks(settings),
            make_send(pool),
            self._registry,
            external_labels=dict(settings.monitor.external_labels),
            external_url=settings.public_url,
        )
        self._forwarders = [
            Forwarder(
                directory,
                self._store,
                one,
                make_send(pool),
                self._registry,
                external_labels=dict(settings.monitor.external_labels),
            )
            for one in make_receivers(settings)
        ]
        self._evaluations = Evaluations(
            read_groups(settings),
            self._store,
            self._questions,
            self._notifier.notify,
            self._registry,
            external_labels=dict(settings.monitor.external_labels),
            external_url=settings.public_url,
        )
        self._evaluations.end_others()

    async def serve(self, name: str) -> None:
        """Scrapes and answers until the process is told to end."""
        path = self._settings.run_dir / MONITOR_SOCKET
        path.unlink(missing_ok=True)
        config = uvicorn.Config(
            self._app(), uds=str(path), ws="none", lifespan="off", log_config=None, access_log=False,
            timeout_keep_alive=75, timeout_graceful_shutdown=2,
        )  # fmt: skip
        door = await open_metrics_port(self._settings.run_dir, name, self._registry, self._refresh)
        async with door, background(die_with_parent(), *self._chores()):
            await make_server(config).serve()

    def _app(self) -> Starlette:
        """The HTTP API: over the own store, or in front of another server."""
        rules = RulesApi(self._evaluations, self._notifier, self._reload)
        if self._settings.monitor.url != EMBEDDED:
            ask = make_ask(self._settings, self._pool)
            return RemoteApi(ask, PushApi(self._pushed, PREFIX), WriteApi(self._received, API), rules).app()
        return PrometheusApi(
            self._store,
            self._questions,
            self._targets,
            self._pushed,
            self._received,
            self._minutes,
            self._exemplars,
            rules,
            retention=self._settings.monitor.retention,
            external_labels=dict(self._settings.monitor.external_labels),
        ).app()

    def _chores(self) -> list[Awaitable[None]]:
        every_s = self._settings.monitor.scrape_interval_s
        return [
            *(repeat(f"scraping {one.job}", one.interval_s, self._scraping(one)) for one in self._targets),
            repeat("sampling what was pushed", every_s, lambda: asyncio.to_thread(self._pushed.sample)),
            repeat("writing samples to the disk", FLUSH_S, lambda: asyncio.to_thread(self._store.flush)),
            repeat("writing blocks", SETTLE_S, lambda: asyncio.to_thread(self._settle)),
            repeat("forgetting old samples", FORGET_S, self._forget),
            repeat("taking the ledger's minutes", MINUTES_S, self._take_minutes),
            self._evaluations.run(),
            self._notifier.run(),
            *(one.run() for one in self._forwarders),
        ]

    def _scraping(self, target: Target) -> Callable[[], Awaitable[None]]:
        async def scrape() -> None:
            await target.scrape(self._store, self._exemplars)
            self._scrapes.add((target.health.state,))

        return scrape

    async def _take_minutes(self) -> None:
        try:
            await self._minutes.take_due()
        except OSError as exc:
            # the face is being replaced, or the disk is full: the minute comes again
            log.warning("a minute of the ledger was not taken yet: %s", exc)

    def _settle(self) -> None:
        if self._store.settle(now_us() // 1000):
            self._received.refresh()

    async def _forget(self) -> None:
        kept_s = read_ttl_s(self._settings.monitor.retention)
        if kept_s:
            await asyncio.to_thread(self._store.forget, now_us() // 1000 - kept_s * 1000)

    async def _reload(self) -> None:
        """Reads the rule files again; faulty ones change nothing."""
        groups = await asyncio.to_thread(read_groups, self._settings)
        self._evaluations.replace(groups)
        self._evaluations.end_others()

    def _refresh(self) -> None:
        self._series.set((), self._store.count_series())

    def close(self) -> None:
        """Everything taken is on the disk."""
        self._questions.close()
        self._notifier.close()
        for one in self._forwarders:
            one.close()
        self._pushed.close()
        self._store.close()
