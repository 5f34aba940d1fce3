"""Exemplars: examples of what was counted, with a trace's id. The newest are kept in memory. Source: prometheus.md 1.6."""

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

from steelyard.monitor.cohorts import choose
from steelyard.promql.labels import Labels
from steelyard.promql.nodes import Matcher

MAX_EXEMPLARS = 20_000
#: Of one series, so that none drives out all others.
MAX_PER_SERIES = 50
#: Characters of an exemplar's labels, names and values together.
MAX_CHARS = 128


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One of them. Time in milliseconds."""

    labels: Labels
    value: float
    at_ms: int


class Exemplars:
    """All that are kept. May be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[Labels, deque[Exemplar]] = {}
        self._count = 0

    def __repr__(self) -> str:
        return f"<Exemplars {self._count}>"

    def add(self, series: Labels, one: Exemplar) -> None:
        """Takes one; the same again, or one with too long labels, is passed over."""
        if sum(len(name) + len(value) for name, value in one.labels) > MAX_CHARS:
            return
        with self._lock:
            kept = self._kept.get(series)
            if kept is None:
                kept = self._kept[series] = deque()
            if kept and kept[-1].labels == one.labels and kept[-1].value == one.value:
                return
            kept.append(one)
            self._count += 1
            if len(kept) > MAX_PER_SERIES:
                kept.popleft()
                self._count -= 1
            while self._count > MAX_EXEMPLARS:
                # the series that has been there longest
                oldest = next(iter(self._kept))
                self._count -= len(self._kept.pop(oldest))

    def find(self, selectors: list[tuple[Matcher, ...]], start_ms: int, end_ms: int) -> list[dict[str, Any]]:
        """Those of the series that any selector means, in a time, as the HTTP API tells them."""
        with self._lock:
            known = [(series, list(kept)) for series, kept in self._kept.items()]
        labels = [series for series, _ in known]
        rows = sorted({int(row) for matchers in selectors for row in choose(labels, matchers)})
        found = []
        for row in rows:
            some = [one for one in known[row][1] if start_ms <= one.at_ms <= end_ms]
            if some:
                found.append({"seriesLabels": dict(labels[row]), "exemplars": some})
        return found
