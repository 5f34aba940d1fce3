"""The monitor process: samples of all processes, kept and asked for in PromQL."""

import asyncio
import os
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn

from steelyard.assembly.orders import FACE_SOCKET, MONITOR_SOCKET, Orders
from steelyard.assembly.process import background, die_with_parent, make_server, repeat
from steelyard.base.clock import now_us
from steelyard.base.lifetimes import read_ttl_s
from steelyard.base.metrics import Registry
from steelyard.base.metrics_port import open_metrics_port
from steelyard.config import Settings
from steelyard.monitor.pushed import Pushed
from steelyard.monitor.questions import Questions
from steelyard.monitor.scraper import Page, Target
from steelyard.monitor.series_store import SeriesStore
from steelyard.upstream.pool import Origin, Pool, PoolError
from steelyard.web.prometheus_api import PrometheusApi

MONITOR_NICENESS = 5
#: The platform's own metrics bear this as `job`.
OWN_JOB = "steelyard"
SCRAPE_TIMEOUT_S = 10.0
#: What was taken is on the disk after this long.
FLUSH_S = 0.5
SETTLE_S = 60.0
FORGET_S = 3600.0


async def run_monitor(orders: Orders) -> None:
    """Runs the role."""
    settings = orders.settings
    os.nice(MONITOR_NICENESS)
    registry = Registry()
    series = registry.gauge("monitor_tsdb_series", "Series that the newest hours have.", ())
    scrapes = registry.counter("monitor_scrapes_total", "Scrapes by how the target was.", ("state",))
    store = SeriesStore(Path(settings.data_dir) / "monitor")
    questions = Questions(store)
    pushed = Pushed(Path(settings.data_dir) / "monitor", store)
    path = settings.run_dir / MONITOR_SOCKET
    path.unlink(missing_ok=True)
    async with Pool() as pool:
        target = _own_target(settings, pool)
        api = PrometheusApi(store, questions, [target], pushed, retention=settings.monitor.retention)
        config = uvicorn.Config(
            api.app(), uds=str(path), ws="none", lifespan="off", log_config=None, access_log=False,
            timeout_keep_alive=75, timeout_graceful_shutdown=2,
        )  # fmt: skip

        async def scrape() -> None:
            await target.scrape(store)
            scrapes.add((target.health.state,))

        async def forget() -> None:
            kept_s = read_ttl_s(settings.monitor.retention)
            if kept_s:
                await asyncio.to_thread(store.forget, now_us() // 1000 - kept_s * 1000)

        def refresh() -> None:
            series.set((), store.count_series())

        name = f"monitor-{orders.boot_id}-{os.getpid()}"
        interval_s = settings.monitor.scrape_interval_s
        chores = (
            die_with_parent(),
            repeat("scraping", interval_s, scrape),
            repeat("sampling what was pushed", interval_s, lambda: asyncio.to_thread(pushed.sample)),
            repeat("writing samples to the disk", FLUSH_S, lambda: asyncio.to_thread(store.flush)),
            repeat("writing blocks", SETTLE_S, lambda: asyncio.to_thread(store.settle, now_us() // 1000)),
            repeat("forgetting old samples", FORGET_S, forget),
        )
        async with await open_metrics_port(settings.run_dir, name, registry, refresh), background(*chores):
            await make_server(config).serve()
    questions.close()
    pushed.close()
    store.close()


def _own_target(settings: Settings, pool: Pool) -> Target:
    """All processes of this machine, told by the face as one."""
    face = Origin("face", 80, unix_path=str(settings.run_dir / FACE_SOCKET))

    async def fetch() -> Page:
        try:
            answer = await pool.fetch(face, "GET", "/internal/metrics", timeout_s=SCRAPE_TIMEOUT_S)
        except PoolError as exc:
            raise OSError(str(exc)) from exc
        if answer.status != 200:
            raise OSError(f"server returned HTTP status {answer.status}")
        return Page(answer.body)

    return Target(
        OWN_JOB,
        urlsplit(settings.public_url).netloc,
        settings.public_url + "/metrics",
        fetch,
        interval_s=settings.monitor.scrape_interval_s,
        timeout_s=SCRAPE_TIMEOUT_S,
    )
