"""Series that are sampled together, growing: one column a time, one row a series."""

from collections.abc import Callable, Sequence

import numpy as np

from steelyard.promql.labels import Labels, get
from steelyard.promql.nodes import MATCHES, NOT_MATCHES, Matcher
from steelyard.promql.parse import compile_pattern
from steelyard.promql.values import STALE_NAN, Cohort, Floats, Times

#: The bits of a place where a series has no sample.
ABSENT_BITS = 0x7FF0000000000003
ABSENT = float(np.array([ABSENT_BITS], dtype=np.uint64).view(np.float64)[0])
_FIRST_ROWS, _FIRST_COLUMNS = 16, 64
#: Selections that are remembered.
MAX_CHOICES = 256


class OutOfOrder(ValueError):
    """A sample that is older than the newest of its series, or another one of the same time."""


def is_absent(values: Floats) -> "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]":
    """Where there is no sample."""
    found: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] = np.ascontiguousarray(values).view(np.uint64) == ABSENT_BITS
    return found


def test_of(matcher: Matcher) -> Callable[[str], bool]:
    """Whether a label's value is as a matcher wants it."""
    wanted = matcher.value
    if matcher.op in (MATCHES, NOT_MATCHES):
        pattern, is_wanted = compile_pattern(wanted), matcher.op == MATCHES
        return lambda value: (pattern.match(value) is not None) is is_wanted
    if matcher.op == "=":
        return lambda value: value == wanted
    return lambda value: value != wanted


def choose(labels: Sequence[Labels], matchers: tuple[Matcher, ...]) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
    """The rows whose labels match."""
    tests = [(one.name, test_of(one)) for one in matchers]
    known: dict[tuple[int, str], bool] = {}
    rows = []
    for row, one in enumerate(labels):
        for number, (name, test) in enumerate(tests):
            value = get(one, name)
            key = (number, value)
            # the same few values come again and again
            if key not in known:
                known[key] = test(value)
            if not known[key]:
                break
        else:
            rows.append(row)
    return np.array(rows, dtype=np.intp)


class Growing:
    """One cohort in memory."""

    def __init__(self) -> None:
        self.labels: list[Labels] = []
        self._rows: dict[Labels, int] = {}
        self._times: Times = np.empty(_FIRST_COLUMNS, dtype=np.int64)
        self._values: Floats = np.full((_FIRST_ROWS, _FIRST_COLUMNS), ABSENT)
        self._count = 0
        #: The series of the newest sample, and their rows: most scrapes bring the same ones in the same order.
        self._last: tuple[tuple[Labels, ...], np.ndarray[tuple[int], np.dtype[np.intp]]] | None = None
        self._choices: dict[tuple[Matcher, ...], np.ndarray[tuple[int], np.dtype[np.intp]]] = {}

    def __repr__(self) -> str:
        return f"<Growing of {len(self.labels)} series at {self._count} times>"

    @property
    def newest_ms(self) -> int | None:
        """The time of the newest samples."""
        return int(self._times[self._count - 1]) if self._count else None

    @property
    def oldest_ms(self) -> int | None:
        """The time of the oldest samples."""
        return int(self._times[0]) if self._count else None

    def reaches(self, start_ms: int, end_ms: int) -> bool:
        """Whether there are samples at such a time."""
        oldest, newest = self.oldest_ms, self.newest_ms
        return oldest is not None and newest is not None and oldest <= end_ms and newest >= start_ms

    def append(self, labels: tuple[Labels, ...], at_ms: int, values: Floats) -> int:
        """Adds a sample of each series; series that were there before and are not now have ended. How many are new.

        Raises:
            OutOfOrder: the time is not after the newest.
        """
        if self._count and at_ms <= self._times[self._count - 1]:
            raise OutOfOrder(
                "out of order sample" if at_ms < self._times[self._count - 1] else "duplicate sample for timestamp"
            )
        before = len(self.labels)
        rows, gone = self._rows_of(labels)
        self._make_room()
        column = self._count
        self._values[rows, column] = values
        self._values[gone, column] = STALE_NAN
        self._times[column] = at_ms
        self._count += 1
        return len(self.labels) - before

    def _rows_of(self, labels: tuple[Labels, ...]) -> tuple["np.ndarray[tuple[int], np.dtype[np.intp]]", list[int]]:
        """The rows of series, and those of series that were there a moment ago."""
        if self._last is not None and self._last[0] == labels:
            return self._last[1], []
        for one in labels:
            if one not in self._rows:
                self._rows[one] = len(self.labels)
                self.labels.append(one)
                self._choices.clear()
        rows = np.array([self._rows[one] for one in labels], dtype=np.intp)
        gone: list[int] = [] if self._last is None else sorted(set(self._last[1].tolist()) - set(rows.tolist()))
        self._last = (labels, rows)
        return rows, gone

    def _make_room(self) -> None:
        rows, columns = self._values.shape
        wanted = (
            max(rows, 2 * rows if len(self.labels) > rows else 0),
            2 * columns if self._count == columns else columns,
        )
        while wanted[0] < len(self.labels):
            wanted = (2 * wanted[0], wanted[1])
        if wanted == (rows, columns):
            return
        grown = np.full(wanted, ABSENT)
        grown[:rows, :columns] = self._values
        self._values = grown
        if wanted[1] != columns:
            self._times = np.concatenate([self._times, np.empty(wanted[1] - columns, dtype=np.int64)])

    def select(
        self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int
    ) -> tuple[tuple[Labels, ...], Times, Floats]:
        """(labels, times, values) of what matches; absent places are marked."""
        rows = self._choices.get(matchers)
        if rows is None:
            rows = choose(self.labels, matchers)
            if len(self._choices) >= MAX_CHOICES:
                self._choices.clear()
            self._choices[matchers] = rows
        low = int(np.searchsorted(self._times[: self._count], start_ms))
        high = int(np.searchsorted(self._times[: self._count], end_ms, side="right"))
        values = self._values[rows, low:high] if len(rows) else np.empty((0, high - low))
        return tuple(self.labels[row] for row in rows), self._times[low:high].copy(), values

    def cut(self, before_ms: int) -> tuple[tuple[Labels, ...], Times, Floats] | None:
        """What is older than a time; it stays until `drop`."""
        count = int(np.searchsorted(self._times[: self._count], before_ms))
        if not count:
            return None
        values = self._values[: len(self.labels), :count]
        kept = np.flatnonzero(~is_absent(values).all(axis=1))
        return tuple(self.labels[row] for row in kept), self._times[:count].copy(), values[kept]

    def drop(self, before_ms: int) -> None:
        """Forgets what is older than a time, and series of which nothing newer is there."""
        count = int(np.searchsorted(self._times[: self._count], before_ms))
        left = self._count - count
        values = self._values[: len(self.labels), count : self._count]
        current = set() if self._last is None else set(self._last[0])
        there = np.asarray(~is_absent(values).all(axis=1), dtype=bool)
        kept = [row for row, one in enumerate(self.labels) if there[row] or one in current]
        labels = [self.labels[row] for row in kept]
        times = self._times[count : self._count].copy()
        fresh = np.full((max(_FIRST_ROWS, len(kept)), max(_FIRST_COLUMNS, 2 * left)), ABSENT)
        fresh[: len(kept), :left] = values[kept]
        self.labels, self._rows = labels, {one: row for row, one in enumerate(labels)}
        self._values, self._count = fresh, left
        self._times = np.concatenate([times, np.empty(fresh.shape[1] - left, dtype=np.int64)])
        self._choices.clear()
        if self._last is not None:
            self._last = (self._last[0], np.array([self._rows[one] for one in self._last[0]], dtype=np.intp))


def join_parts(parts: list[tuple[tuple[Labels, ...], Times, Floats]]) -> Cohort | None:
    """Parts of one cohort, in the order of their times, as one; None where there is nothing."""
    parts = [one for one in parts if len(one[0]) and len(one[1])]
    if not parts:
        return None
    labels = parts[0][0]
    if all(one[0] == labels for one in parts[1:]):
        times = np.concatenate([one[1] for one in parts])
        values = np.concatenate([one[2] for one in parts], axis=1)
    else:
        rows = {one: row for row, one in enumerate(dict.fromkeys(label for part in parts for label in part[0]))}
        labels = tuple(rows)
        times = np.concatenate([one[1] for one in parts])
        values = np.full((len(labels), len(times)), ABSENT)
        column = 0
        for some, stamps, samples in parts:
            values[[rows[one] for one in some], column : column + len(stamps)] = samples
            column += len(stamps)
    gone = is_absent(values)
    return Cohort(labels, times, values, ~gone if gone.any() else None)
