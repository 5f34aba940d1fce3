"""Samples on their way to another Prometheus, by remote write: each source from where it stood, through outages and restarts."""

import asyncio
import logging
import random
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from steelyard.base.clock import now_us
from steelyard.base.metrics import Registry
from steelyard.monitor.cohorts import is_absent
from steelyard.monitor.files import open_file
from steelyard.monitor.notifications import Send
from steelyard.monitor.remote_write import HEADERS, WrittenSeries, encode
from steelyard.monitor.series_store import SeriesStore
from steelyard.monitor.tenants import WORKSPACE
from steelyard.promql.labels import Labels, get, make_labels
from steelyard.promql.values import Cohort

log = logging.getLogger("steelyard.monitor")

#: What is older than this when it could be sent is left out: the receiver would take it for too old.
MAX_AGE_MS = 2 * 3_600_000
#: Samples of sources that others write come a little late; they are sent when none is to be expected any more.
LATE_MS = 60_000
WRITTEN = "write:"
BATCH = 5_000
#: Stands in the place of a source: a receiver that is new is sent what comes from then on.
BEGAN = ""
ROUND_S = 5.0
PAUSES_S = (1.0, 2.0, 5.0, 15.0, 30.0)
_SCHEMA = "CREATE TABLE IF NOT EXISTS sent (receiver TEXT, source TEXT, at_ms INTEGER, PRIMARY KEY (receiver, source));"


@dataclass(frozen=True, slots=True)
class Receiver:
    """One that is written to.

    Args:
        workspace: whose series; None: all.
    """

    name: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    workspace: str | None = None


class Forwarder:
    """Sends to one receiver. `run` does so until it is cancelled."""

    def __init__(
        self, directory: Path, store: SeriesStore, receiver: Receiver, send: Send, registry: Registry, *,
        external_labels: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        self._store = store
        self._receiver = receiver
        self._send = send
        self._external = external_labels or {}
        self._samples = registry.counter("monitor_forwarded_samples_total", "Samples sent by remote write, by receiver and result.", ("receiver", "result"))  # fmt: skip
        self._file = open_file(directory / "forwarded.db", _SCHEMA, "the file of what was forwarded")
        rows = self._file.execute("SELECT source, at_ms FROM sent WHERE receiver = ?", (receiver.name,))
        self._sent: dict[str, int] = dict(rows.fetchall())
        if BEGAN not in self._sent:
            self._remember(BEGAN, now_us() // 1000)

    def __repr__(self) -> str:
        return f"<Forwarder to {self._receiver.name}>"

    async def run(self) -> None:
        """Sends what has come, again and again."""
        while True:
            await asyncio.sleep(ROUND_S)
            try:
                await self.round()
            except OSError as exc:
                log.warning("%s was not written to: %s", self._receiver.name, exc)

    async def round(self) -> int:
        """Everything that has come since; how many samples were sent.

        Raises:
            OSError: the samples cannot be read.
        """
        count = 0
        for source in self._store.list_sources():
            count += await self._forward(source)
        return count

    async def _forward(self, source: str) -> int:
        now_ms = now_us() // 1000
        start_ms = max(self._sent.get(source, self._sent[BEGAN]) + 1, now_ms - MAX_AGE_MS)
        end_ms = now_ms - LATE_MS if source.startswith(WRITTEN) else now_ms
        cohort = await asyncio.to_thread(self._store.samples_of, source, start_ms, end_ms)
        if cohort is None:
            return 0
        rows = [row for row, labels in enumerate(cohort.labels) if self._is_wanted(labels)]
        count, columns = 0, max(BATCH // max(len(rows), 1), 1)
        for first in range(0, len(cohort.times), columns):
            part = slice(first, first + columns)
            for low in range(0, len(rows), BATCH):
                count += await self._deliver(self._series(cohort, rows[low : low + BATCH], part))
            self._remember(source, int(cohort.times[part][-1]))
        return count

    def _is_wanted(self, labels: Labels) -> bool:
        return self._receiver.workspace in (None, get(labels, WORKSPACE))

    def _series(self, cohort: Cohort, rows: list[int], part: slice) -> list[WrittenSeries]:
        times = cohort.times[part]
        made = []
        for row in rows:
            values = cohort.values[row, part]
            there = ~is_absent(values) if cohort.present is None else cohort.present[row, part]
            if there.any():
                labels = make_labels({**self._external, **dict(cohort.labels[row])})
                made.append(WrittenSeries(labels, times[there].tolist(), np.asarray(values[there]).tolist()))
        return made

    async def _deliver(self, series: list[WrittenSeries]) -> int:
        """Sends until it is taken or refused for good; who does not answer is waited for."""
        if not series:
            return 0
        body, count = encode(series), sum(len(one.times_ms) for one in series)
        headers = {**HEADERS, "User-Agent": "steelyard", **dict(self._receiver.headers)}
        tries = 0
        while True:
            try:
                status, answer = await self._send(self._receiver.url, headers, body)
            except OSError as exc:
                status, answer = 0, str(exc).encode()
            if 200 <= status < 300:
                self._samples.add((self._receiver.name, "delivered"), count)
                return count
            if 400 <= status < 500 and status != 429:
                self._samples.add((self._receiver.name, "refused"), count)
                log.warning(
                    "%s refused %d samples: %d %s",
                    self._receiver.name,
                    count,
                    status,
                    answer[:200].decode(errors="replace"),
                )
                return 0
            self._samples.add((self._receiver.name, "failed"), count)
            if not tries:
                log.warning(
                    "%s is not written to for now: %d %s",
                    self._receiver.name,
                    status,
                    answer[:200].decode(errors="replace"),
                )
            await asyncio.sleep(PAUSES_S[min(tries, len(PAUSES_S) - 1)] * random.uniform(0.8, 1.2))
            tries += 1

    def _remember(self, source: str, at_ms: int) -> None:
        self._sent[source] = at_ms
        try:
            self._file.execute("INSERT OR REPLACE INTO sent VALUES (?, ?, ?)", (self._receiver.name, source, at_ms))
        except sqlite3.Error as exc:
            # sent again after a restart: the receiver knows them by their times
            log.warning("what %s was sent cannot be remembered: %s", self._receiver.name, exc)

    def close(self) -> None:
        """Lets go of the file."""
        self._file.close()
