"""Scraping: a target's exposition becomes samples, with `up` and the scrape's own series. Source: prometheus.md 2.3."""

import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import numpy as np

from steelyard.base.clock import monotonic, now_us
from steelyard.monitor.cohorts import OutOfOrder
from steelyard.monitor.exemplars import Exemplar, Exemplars
from steelyard.monitor.exposition_format import Exposed, MalformedText, Metadata, Reader
from steelyard.monitor.series_store import SeriesStore, TooManySeries
from steelyard.monitor.tenants import MAX_SERIES, WORKSPACE
from steelyard.promql.labels import NAME, Labels, make_labels

log = logging.getLogger("steelyard.monitor")

#: What the store calls the sources that are scraped.
SOURCE = "scrape:"
#: And those of samples whose time a target says itself.
STAMPED = "stamped:"
#: A target's clock may be ahead by so much.
MAX_AHEAD_MS = 600_000
UNKNOWN, UP, DOWN = "unknown", "up", "down"


@dataclass(frozen=True, slots=True)
class Page:
    """What a target answered."""

    body: bytes
    content_type: str = ""


#: Asks a target for its metrics; raises OSError where it does not answer.
Fetch = Callable[[], Awaitable[Page]]


@dataclass(slots=True)
class Health:
    """How a target was at the last scrape."""

    state: str = UNKNOWN
    error: str = ""
    scraped_us: int = 0
    took_s: float = 0.0


class Target:
    """One target, scraped again and again.

    Args:
        workspace: whose series they are; empty: the admins'.
        tells_workspaces: whether it is believed whose a series is: the platform itself, and nobody else.
        labels: added to every series, as `job`, `instance` and the workspace's are; an exposed label of the same name becomes `exported_NAME`.
    """

    def __init__(
        self, job: str, instance: str, url: str, fetch: Fetch, *, interval_s: float, timeout_s: float,
        workspace: str = "", labels: Mapping[str, str] | None = None, tells_workspaces: bool = False,
    ) -> None:  # fmt: skip
        self.job = job
        self.workspace = workspace
        own = {"instance": instance, "job": job} | ({WORKSPACE: workspace} if workspace else {})
        self.labels = {**(labels or {}), **own}
        self._taken = self.labels.keys() | (set() if tells_workspaces else {WORKSPACE})
        self.url = url
        self.interval_s = interval_s
        self.timeout_s = timeout_s
        self.health = Health()
        self.families: dict[str, Metadata] = {}
        self._fetch = fetch
        self._reader = Reader()
        self.source = f"{SOURCE}{job}:{instance}"
        self._finished: dict[Labels, Labels] = {}
        self._known: set[Labels] = set()
        self._stamped: dict[int, dict[Labels, float]] = {}

    def __repr__(self) -> str:
        return f"<Target {self.job} {self.labels['instance']} {self.health.state}>"

    async def scrape(self, store: SeriesStore, exemplars: Exemplars | None = None) -> None:
        """Asks once and stores what came; what does not come leaves `up 0`, and its series end."""
        at_ms, began = now_us() // 1000, monotonic()
        try:
            page = await self._fetch()
            exposed, error = self._reader.read(page.body, page.content_type), ""
            if self.workspace and len(exposed.labels) > MAX_SERIES:
                raise MalformedText(f"{len(exposed.labels)} series; a workspace's target may have {MAX_SERIES}")
        except (OSError, MalformedText) as exc:
            exposed, error = Exposed(), str(exc)
        took_s = monotonic() - began
        self.health = Health(DOWN if error else UP, error, at_ms * 1000, took_s)
        if exposed.families:
            self.families = exposed.families
        labels, values = self._finish(exposed, took_s, is_up=not error)
        if exemplars is not None:
            for series, told, value, given_ms in exposed.exemplars:
                exemplars.add(self._finished[series], Exemplar(told, value, given_ms or at_ms))
        try:
            store.append(self.source, labels, at_ms, values)
        except (OutOfOrder, TooManySeries, OSError) as exc:
            self.health.error = str(exc)
            log.warning("a scrape of %s was not stored: %s", self.job, exc)
        self._store_stamped(store, at_ms)

    def _store_stamped(self, store: SeriesStore, now_ms: int) -> None:
        """Samples whose time the target says itself. What is too old or told before is passed over, as it is scraped again and again."""
        for at_ms, rows in self._stamped.items():
            if at_ms <= now_ms + MAX_AHEAD_MS:
                with contextlib.suppress(TooManySeries, OSError):
                    store.put(
                        f"{STAMPED}{self.job}:{self.labels['instance']}",
                        tuple(rows),
                        at_ms,
                        np.array(list(rows.values())),
                    )

    def _finish(self, exposed: Exposed, took_s: float, *, is_up: bool) -> tuple[tuple[Labels, ...], "np.ndarray[tuple[int], np.dtype[np.float64]]"]:  # fmt: skip
        """The target's labels put to every series, and the scrape's own series put to the target's."""
        rows: dict[Labels, float] = {}
        self._stamped = {}
        for one, value, stamp_ms in zip(exposed.labels, exposed.values, exposed.times_ms, strict=True):
            finished = self._finished.get(one)
            if finished is None:
                finished = self._finished[one] = self._relabel(one)
            # told twice: the first counts
            if stamp_ms is None:
                rows.setdefault(finished, value)
            else:
                self._stamped.setdefault(stamp_ms, {}).setdefault(finished, value)
        fresh = rows.keys() - self._known
        self._known = set(rows)
        if len(self._finished) > 2 * len(rows) + 1000:
            self._finished = {one: made for one, made in self._finished.items() if made in self._known}
        count = float(len(exposed.labels))
        own = {
            "up": float(is_up),
            "scrape_duration_seconds": took_s,
            "scrape_samples_scraped": count,
            "scrape_samples_post_metric_relabeling": count,
            "scrape_series_added": float(len(fresh)),
        }
        for name, value in own.items():
            rows[make_labels({NAME: name, **self.labels})] = value
        return tuple(rows), np.array(list(rows.values()))

    def _relabel(self, labels: Labels) -> Labels:
        pairs = {f"exported_{name}" if name in self._taken else name: value for name, value in labels}
        return make_labels(pairs | self.labels)


def end_others(store: SeriesStore, targets: list[Target]) -> None:
    """Ends the series of targets that are scraped no more."""
    known = {one.source for one in targets}
    for source in store.series_by_source(SOURCE).keys() - known:
        with contextlib.suppress(OutOfOrder):
            store.append(source, (), now_us() // 1000, np.empty(0))
