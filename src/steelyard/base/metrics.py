"""Metric instruments of one process, and how several processes' readings become one exposition.

An instrument is a dict from label values to cells; a hot path keeps its cells and pays one addition per count. Label sets
are closed: callers pass only values from their own tables, never user text.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Any

DURATION_BOUNDS_S: tuple[float, ...] = (
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 327.68, 600.0,
)  # fmt: skip
FIRST_TOKEN_BOUNDS_S: tuple[float, ...] = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0,
)  # fmt: skip
PER_TOKEN_BOUNDS_S: tuple[float, ...] = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5,
)  # fmt: skip

Labels = tuple[str, ...]
#: One instrument's readings as they travel between processes.
Reading = dict[str, Any]


class Counter:
    """Counts up."""

    kind = "counter"

    def __init__(self, name: str, help_text: str, labels: Labels) -> None:
        self.name = name
        self.help_text = help_text
        self.labels = labels
        self._cells: dict[Labels, list[float]] = {}

    def cell(self, labels: Labels) -> list[float]:
        """The one-element list that holds the series' value; add to it directly."""
        cell = self._cells.get(labels)
        if cell is None:
            cell = self._cells[labels] = [0]
        return cell

    def add(self, labels: Labels, amount: float = 1) -> None:
        """Adds `amount` to the series with these label values."""
        self.cell(labels)[0] += amount

    def read(self) -> Reading:
        """The readings, ready to be encoded."""
        return {
            "kind": self.kind,
            "help": self.help_text,
            "labels": self.labels,
            "series": [[list(labels), cell[0]] for labels, cell in self._cells.items()],
        }


class Gauge(Counter):
    """Goes up and down; summed over processes."""

    kind = "gauge"

    def set(self, labels: Labels, value: float) -> None:
        """Replaces the value."""
        self.cell(labels)[0] = value


class Histogram:
    """Counts observations in buckets."""

    kind = "histogram"

    def __init__(self, name: str, help_text: str, labels: Labels, bounds: tuple[float, ...]) -> None:
        self.name = name
        self.help_text = help_text
        self.labels = labels
        self.bounds = bounds
        self._cells: dict[Labels, list[float]] = {}

    def cell(self, labels: Labels) -> list[float]:
        """The series' cells: one per bound, one for +Inf, one for the sum."""
        cells = self._cells.get(labels)
        if cells is None:
            cells = self._cells[labels] = [0.0] * (len(self.bounds) + 2)
        return cells

    def observe(self, labels: Labels, value: float) -> None:
        """Counts one observation."""
        observe(self.cell(labels), self.bounds, value)

    def read(self) -> Reading:
        """The readings, ready to be encoded."""
        return {
            "kind": self.kind,
            "help": self.help_text,
            "labels": self.labels,
            "bounds": self.bounds,
            "series": [[list(labels), cells] for labels, cells in self._cells.items()],
        }


def observe(cells: list[float], bounds: tuple[float, ...], value: float) -> None:
    """Counts one observation in a histogram's cells."""
    cells[bisect_left(bounds, value)] += 1
    cells[-1] += value


class Registry:
    """The instruments of one process."""

    def __init__(self) -> None:
        self._instruments: dict[str, Counter | Histogram] = {}

    def counter(self, name: str, help_text: str, labels: Labels = ()) -> Counter:
        """A new counter."""
        made = Counter(name, help_text, labels)
        self._keep(made)
        return made

    def gauge(self, name: str, help_text: str, labels: Labels = ()) -> Gauge:
        """A new gauge."""
        made = Gauge(name, help_text, labels)
        self._keep(made)
        return made

    def histogram(self, name: str, help_text: str, labels: Labels, bounds: tuple[float, ...]) -> Histogram:
        """A new histogram."""
        made = Histogram(name, help_text, labels, bounds)
        self._keep(made)
        return made

    def _keep(self, instrument: Counter | Histogram) -> None:
        if instrument.name in self._instruments:
            raise ValueError(f"metric {instrument.name} exists already")
        self._instruments[instrument.name] = instrument

    def read(self) -> dict[str, Reading]:
        """All readings by metric name."""
        return {name: instrument.read() for name, instrument in self._instruments.items()}


def merge(readings: Iterable[Mapping[str, Reading]]) -> dict[str, Reading]:
    """Adds up the readings of several processes; gauges too, since each holds its own share."""
    merged: dict[str, Reading] = {}
    for reading in readings:
        for name, one in reading.items():
            into = merged.setdefault(name, {**one, "series": {}})
            for labels, value in one["series"]:
                _add_series(into["series"], tuple(labels), value)
    return {
        name: {**one, "series": [[list(k), v] for k, v in sorted(one["series"].items())]}
        for name, one in sorted(merged.items())
    }


def _add_series(series: dict[Labels, Any], labels: Labels, value: Any) -> None:
    if isinstance(value, list):
        old = series.get(labels)
        series[labels] = [a + b for a, b in zip(old, value, strict=True)] if old else list(value)
    else:
        series[labels] = series.get(labels, 0) + value


def without_gauges(reading: Mapping[str, Reading]) -> dict[str, Reading]:
    """What of a process's readings outlives it."""
    return {name: one for name, one in reading.items() if one["kind"] != "gauge"}


def render(readings: Mapping[str, Reading]) -> str:
    """The text exposition format, version 0.0.4."""
    lines: list[str] = []
    for name, one in readings.items():
        lines += [f"# HELP {name} {one['help']}", f"# TYPE {name} {one['kind']}"]
        for labels, value in one["series"]:
            pairs = list(zip(one["labels"], labels, strict=True))
            if one["kind"] == "histogram":
                lines += _histogram_lines(name, pairs, one["bounds"], value)
            else:
                lines.append(f"{name}{_braces(pairs)} {_number(value)}")
    return "\n".join(lines) + "\n"


def _histogram_lines(name: str, pairs: list[tuple[str, str]], bounds: list[float], cells: list[float]) -> list[str]:
    lines, total = [], 0.0
    for bound, count in zip([*map(_number, bounds), "+Inf"], cells[:-1], strict=True):
        total += count
        lines.append(f"{name}_bucket{_braces([*pairs, ('le', bound)])} {_number(total)}")
    lines.append(f"{name}_sum{_braces(pairs)} {_number(cells[-1])}")
    lines.append(f"{name}_count{_braces(pairs)} {_number(total)}")
    return lines


def _braces(pairs: list[tuple[str, str]]) -> str:
    if not pairs:
        return ""
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in pairs) + "}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
