"""Series that are sampled together, growing: one column a time, one row a series."""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from steelyard.promql.labels import Labels, get
from steelyard.promql.nodes import MATCHES, NOT_MATCHES, Matcher
from steelyard.promql.parse import compile_pattern
from steelyard.promql.values import STALE_NAN, Cohort, Floats, Times, is_stale

#: The bits of a place where a series has no sample.
ABSENT_BITS = 0x7FF0000000000003
ABSENT = float(np.array([ABSENT_BITS], dtype=np.uint64).view(np.float64)[0])
_FIRST_ROWS, _FIRST_COLUMNS = 4, 16
_NEVER = -(2**62)
OUT_OF_ORDER, DUPLICATE = "out of order sample", "duplicate sample for timestamp"
#: A sample that is there already, with the same value: taken once.
SAME = "same"
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
        #: Whether a sample's series are all that there are at its time.
        self.is_whole = True
        #: Of each row, where samples come by `put`.
        self._newest: Times = np.full(_FIRST_ROWS, _NEVER, dtype=np.int64)
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
            raise OutOfOrder(OUT_OF_ORDER if at_ms < self._times[self._count - 1] else DUPLICATE)
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
        rows = self._find_rows(labels)
        gone: list[int] = [] if self._last is None else sorted(set(self._last[1].tolist()) - set(rows.tolist()))
        self._last = (labels, rows)
        return rows, gone

    def _find_rows(self, labels: tuple[Labels, ...]) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
        for one in labels:
            if one not in self._rows:
                self._rows[one] = len(self.labels)
                self.labels.append(one)
                self._choices.clear()
        return np.array([self._rows[one] for one in labels], dtype=np.intp)

    def holds(self, labels: Labels) -> bool:
        """Whether a series is here."""
        return labels in self._rows

    def has_time(self, at_ms: int) -> bool:
        """Whether there is a sample of any series at a time."""
        column = int(np.searchsorted(self._times[: self._count], at_ms))
        return column < self._count and int(self._times[column]) == at_ms

    def weigh(self, labels: tuple[Labels, ...], at_ms: int, values: Floats) -> list[str]:
        """What `put` would say of each sample: nothing where it is new, `OUT_OF_ORDER`, `DUPLICATE`, or `same`."""
        column = int(np.searchsorted(self._times[: self._count], at_ms))
        bits = np.ascontiguousarray(values).view(np.uint64)
        said = []
        for number, one in enumerate(labels):
            row = self._rows.get(one)
            newest = _NEVER if row is None else int(self._newest[row])
            if at_ms > newest or row is None:
                said.append("")
            elif at_ms < newest:
                said.append(OUT_OF_ORDER)
            else:
                is_same = self._values[row, column : column + 1].view(np.uint64)[0] == bits[number]
                said.append(SAME if is_same else DUPLICATE)
        return said

    def put(self, labels: tuple[Labels, ...], at_ms: int, values: Floats) -> None:
        """Adds samples of some series, which have been weighed; of the others nothing is known."""
        rows = self._find_rows(labels)
        column = int(np.searchsorted(self._times[: self._count], at_ms))
        is_there = column < self._count and int(self._times[column]) == at_ms
        self._make_room()
        if not is_there:
            self._times[column + 1 : self._count + 1] = self._times[column : self._count].copy()
            self._times[column] = at_ms
            if column < self._count:
                self._values[:, column + 1 : self._count + 1] = self._values[:, column : self._count].copy()
                self._values[:, column] = ABSENT
            self._count += 1
        self._values[rows, column] = values
        self._newest[rows] = at_ms
        self.is_whole = False

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
        if wanted[0] != rows:
            self._newest = np.concatenate([self._newest, np.full(wanted[0] - rows, _NEVER, dtype=np.int64)])
        if wanted[1] != columns:
            self._times = np.concatenate([self._times, np.empty(wanted[1] - columns, dtype=np.int64)])

    def count_matching(self, matchers: tuple[Matcher, ...]) -> int:
        """How many series match."""
        return len(self._chosen(matchers))

    def _chosen(self, matchers: tuple[Matcher, ...]) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
        rows = self._choices.get(matchers)
        if rows is None:
            rows = choose(self.labels, matchers)
            if len(self._choices) >= MAX_CHOICES:
                self._choices.clear()
            self._choices[matchers] = rows
        return rows

    def select(
        self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int
    ) -> tuple[tuple[Labels, ...], Times, Floats]:
        """(labels, times, values) of what matches; absent places are marked."""
        rows = self._chosen(matchers)
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
        newest = np.full(fresh.shape[0], _NEVER, dtype=np.int64)
        newest[: len(kept)] = self._newest[kept]
        self._newest = newest
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


def merge_shared(cohorts: list[Cohort]) -> list[Cohort]:
    """Cohorts none of which has a series of another: what came of one series by several ways is one series."""
    counts = Counter(labels for one in cohorts for labels in one.labels)
    if len(counts) == sum(len(one.labels) for one in cohorts):
        return cohorts
    shared = {labels for labels, count in counts.items() if count > 1}
    merged: dict[Labels, list[tuple[Times, Floats]]] = {}
    kept = []
    for one in cohorts:
        own = [row for row, labels in enumerate(one.labels) if labels not in shared]
        if len(own) < len(one.labels):
            for row, labels in enumerate(one.labels):
                if labels in shared:
                    there = slice(None) if one.present is None else one.present[row]
                    merged.setdefault(labels, []).append((one.times[there], one.values[row][there]))
            if not own:
                continue
            present = None if one.present is None else one.present[own]
            one = Cohort(tuple(one.labels[row] for row in own), one.times, one.values[own], present)
        kept.append(one)
    return [*kept, *(_as_one(labels, parts) for labels, parts in merged.items())]


def _as_one(labels: Labels, parts: list[tuple[Times, Floats]]) -> Cohort:
    times = np.concatenate([one for one, _ in parts])
    values = np.concatenate([one for _, one in parts])
    # of several at one time a sample goes before a stale marker: the series has ended one way and goes on another
    order = np.lexsort((is_stale(values), times))
    times, values = times[order], values[order]
    first = np.concatenate([[True], times[1:] != times[:-1]]) if len(times) else np.zeros(0, dtype=bool)
    return Cohort((labels,), times[first], values[first][None, :])
