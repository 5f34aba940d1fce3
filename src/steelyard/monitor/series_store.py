"""The time-series store: the newest half hour in memory behind an append log, what is older in blocks of a SQLite file.

Blocks begin as parts of half an hour, so that little is in memory, and are joined to two hours, so that few are read.
"""

import contextlib
import logging
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import numpy as np

from steelyard.monitor.codec import Block, DamagedBlock, decode, encode
from steelyard.monitor.cohorts import (
    DUPLICATE,
    OUT_OF_ORDER,
    SAME,
    Growing,
    OutOfOrder,
    choose,
    is_absent,
    join_parts,
    merge_shared,
)
from steelyard.monitor.files import open_file
from steelyard.monitor.log import Log, Record
from steelyard.promql.labels import Labels
from steelyard.promql.nodes import Matcher
from steelyard.promql.values import Cohort, Floats, Times

log = logging.getLogger("steelyard.monitor")

PART_MS = 1_800_000
BLOCK_MS = 7_200_000
#: A part is written once it is this much older than its end: what comes late still goes in.
LATE_MS = 600_000
MAX_SETS = 512
#: Blocks whose series are remembered.
MAX_LISTS = 50_000
MAX_CHOICES = 256
#: Sources of this kind have no series of another: a target's labels are its own.
APART = "scrape:"
OUT_OF_BOUNDS = "out of bounds"
CACHE_BYTES = 256 * 1024 * 1024
_SCHEMA = """
CREATE TABLE IF NOT EXISTS block (
    id INTEGER PRIMARY KEY, source TEXT NOT NULL, start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL,
    labels BLOB NOT NULL, data BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS block_time ON block (end_ms, start_ms);
"""
_INSERT = "INSERT INTO block (source, start_ms, end_ms, labels, data) VALUES (?, ?, ?, ?, ?)"
_decode_labels = msgspec.json.Decoder(tuple[tuple[tuple[str, str], ...], ...]).decode


class TooManySeries(ValueError):
    """A source would bring more series than may be."""


def _by_window(
    source: str, labels: tuple[Labels, ...], times: Times, values: Floats
) -> Iterator[tuple[str, tuple[Labels, ...], Times, Floats]]:
    """Samples of a cohort in pieces of one part's time each; series that have nothing there are left out."""
    windows = times // PART_MS
    for window in np.unique(windows):
        columns = windows == window
        piece = values[:, columns]
        rows = np.flatnonzero(~is_absent(piece).all(axis=1))
        if len(rows):
            yield source, tuple(labels[row] for row in rows), times[columns], np.ascontiguousarray(piece[rows])


def _row(source: str, labels: tuple[Labels, ...], times: Times, values: Floats) -> tuple[str, int, int, bytes, bytes]:
    told = zlib.compress(msgspec.json.encode(labels), 6)
    return source, int(times[0]), int(times[-1]), told, encode(times, values)


class SeriesStore:
    """Implements `promql.context.Samples`. May be asked from several threads."""

    def __init__(self, directory: Path, *, max_series: int = 1_000_000) -> None:
        self._lock = threading.RLock()
        self._max_series = max_series
        self._heads: dict[str, Growing] = {}
        self._cache: OrderedDict[int, tuple[tuple[Labels, ...], Block]] = OrderedDict()
        self._cached_bytes = 0
        self._series_of: OrderedDict[int, tuple[Labels, ...]] = OrderedDict()
        #: Blocks of one source mostly have the same series: as they are in the file -> once in memory.
        self._sets: OrderedDict[bytes, tuple[Labels, ...]] = OrderedDict()
        self._choices: OrderedDict[
            tuple[int, tuple[Matcher, ...]], tuple[tuple[Labels, ...], np.ndarray[tuple[int], np.dtype[np.intp]]]
        ] = OrderedDict()
        self._blocks = open_file(directory / "blocks.db", _SCHEMA, "the file of older samples")
        self._log = Log(directory / "log")
        self._written_ms = self._written_until()
        for record, labels, values in self._log.replay():
            # what a block has already is not taken twice
            if record.at_ms >= self._written_ms.get(record.source, 0):
                self._keep(record, labels, values)

    def __repr__(self) -> str:
        return f"<SeriesStore of {len(self._heads)} sources, {self.count_series()} series>"

    def count_series(self) -> int:
        """How many series the newest hours have."""
        return sum(len(one.labels) for one in self._heads.values())

    def _written_until(self) -> dict[str, int]:
        rows = self._blocks.execute("SELECT source, MAX(end_ms) FROM block GROUP BY source")
        return {source: end_ms + 1 for source, end_ms in rows}

    def _keep(self, record: Record, labels: tuple[Labels, ...], values: Floats) -> None:
        head = self._head(record.source)
        if not record.is_whole:
            head.put(labels, record.at_ms, values)
            return
        # a log may tell of something twice
        with contextlib.suppress(OutOfOrder):
            head.append(labels, record.at_ms, values)

    def _head(self, source: str) -> Growing:
        head = self._heads.get(source)
        if head is None:
            head = self._heads[source] = Growing()
        return head

    def append(self, source: str, labels: tuple[Labels, ...], at_ms: int, values: Floats) -> int:
        """Takes one sample of each of a source's series; how many series are new. It is on disk after the next `flush`.

        Raises:
            OutOfOrder: the time is not after the source's newest.
            TooManySeries: there would be more than may be.
            OSError: the disk takes no more; nothing was taken.
        """
        with self._lock:
            return self._append(source, labels, at_ms, values)

    def _append(self, source: str, labels: tuple[Labels, ...], at_ms: int, values: Floats) -> int:
        head = self._head(source)
        newest = head.newest_ms
        if newest is not None and at_ms <= newest:
            raise OutOfOrder(OUT_OF_ORDER if at_ms < newest else DUPLICATE)
        self._check_room(max(len(labels) - len(head.labels), 0))
        self._log.append(source, labels, at_ms, values)
        return head.append(labels, at_ms, values)

    def _check_room(self, fresh: int) -> None:
        if fresh and self.count_series() + fresh > self._max_series:
            raise TooManySeries(f"more than {self._max_series} series")

    def put(self, source: str, labels: tuple[Labels, ...], at_ms: int, values: Floats) -> list[str]:
        """Takes samples of some of a source's series; the others are not said to have ended. It is on disk after the next `flush`.

        Returns: of each sample why it is refused, empty where it is taken or is there already.

        Raises:
            TooManySeries: there would be more than may be; nothing was taken.
            OSError: the disk takes no more; nothing was taken.
        """
        with self._lock:
            head = self._head(source)
            if at_ms < self._written_ms.get(source, 0):
                return [OUT_OF_BOUNDS] * len(labels)
            said = head.weigh(labels, at_ms, values)
            fresh = [number for number, one in enumerate(said) if not one]
            some = labels if len(fresh) == len(labels) else tuple(labels[number] for number in fresh)
            if some:
                self._check_room(sum(not head.holds(one) for one in some))
                kept = np.ascontiguousarray(values[fresh])
                self._log.append(source, some, at_ms, kept, is_whole=False)
                head.put(some, at_ms, kept)
            return ["" if one == SAME else one for one in said]

    def samples_of(self, source: str, start_ms: int, end_ms: int) -> Cohort | None:
        """One source's samples of a time; None where there are none."""
        with self._lock:
            rows = self._blocks.execute(
                "SELECT id FROM block WHERE source = ? AND end_ms >= ? AND start_ms <= ? ORDER BY start_ms",
                (source, start_ms, end_ms),
            ).fetchall()
            return self._join(source, [number for (number,) in rows], (), start_ms, end_ms)

    def find_source(self, among: Iterable[str], at_ms: int) -> str | None:
        """The first of some sources that has samples at a time."""
        with self._lock:
            return next((one for one in among if one in self._heads and self._heads[one].has_time(at_ms)), None)

    def list_sources(self) -> list[str]:
        """All sources that memory has something of."""
        with self._lock:
            return sorted(self._heads)

    def series_by_source(self, prefix: str) -> dict[str, tuple[Labels, ...]]:
        """The series in memory of the sources whose names begin so."""
        with self._lock:
            return {name: tuple(head.labels) for name, head in self._heads.items() if name.startswith(prefix)}

    def flush(self) -> None:
        """Everything taken survives the machine."""
        with self._lock:
            self._log.flush()

    def settle(self, now_ms: int) -> int:
        """Moves whole blocks from memory to the file; how many."""
        with self._lock:
            return self._settle(now_ms)

    def _settle(self, now_ms: int) -> int:
        before_ms = (now_ms - LATE_MS) // PART_MS * PART_MS
        parts = [(source, part) for source, head in self._heads.items() if (part := head.cut(before_ms)) is not None]
        if not parts:
            return 0
        # what is not in a part yet is told anew in the segment that begins now
        old = self._log.roll()
        for source, head in self._heads.items():
            self._tell_anew(source, head, before_ms)
        self._log.flush()
        pieces = [piece for source, part in parts for piece in _by_window(source, *part)]
        # commits, or takes all of it back
        with self._blocks:
            self._blocks.execute("BEGIN IMMEDIATE")
            for piece in pieces:
                self._blocks.execute(_INSERT, _row(*piece))
            self._join_parts(before_ms)
        for path in old:
            path.unlink()
        for source, (_, times, _) in parts:
            self._written_ms[source] = int(times[-1]) + 1
        for head in self._heads.values():
            head.drop(before_ms)
        for source in [source for source, head in self._heads.items() if head.newest_ms is None and not head.labels]:
            del self._heads[source]
        return len(parts)

    def _tell_anew(self, source: str, head: Growing, since_ms: int) -> None:
        labels, times, values = head.select((), since_ms, 2**62)
        for column, at_ms in enumerate(times.tolist()):
            if head.is_whole:
                self._log.append(source, labels, at_ms, values[:, column])
            else:
                rows = np.flatnonzero(~is_absent(values[:, column]))
                some = tuple(labels[row] for row in rows)
                self._log.append(source, some, at_ms, values[rows, column], is_whole=False)

    def _join_parts(self, before_ms: int) -> None:
        """Parts of a block's time that is over become one block."""
        found = self._blocks.execute(
            "SELECT source, start_ms / ? AS window FROM block WHERE end_ms < ? GROUP BY source, window HAVING COUNT(*) > 1",
            (BLOCK_MS, before_ms // BLOCK_MS * BLOCK_MS),
        ).fetchall()
        for source, window in found:
            span = (source, window * BLOCK_MS, (window + 1) * BLOCK_MS)
            rows = self._blocks.execute(
                "SELECT id FROM block WHERE source = ? AND start_ms >= ? AND start_ms < ? ORDER BY start_ms", span
            ).fetchall()
            try:
                parts = [self._read_block(number) for (number,) in rows]
            except OSError as exc:
                log.error("parts of %s stay as they are: %s", source, exc)
                continue
            whole = join_parts([(labels, one.times, one.values) for labels, one in parts])
            assert whole is not None
            self._blocks.execute("DELETE FROM block WHERE source = ? AND start_ms >= ? AND start_ms < ?", span)
            self._uncache(number for (number,) in rows)
            self._blocks.execute(_INSERT, _row(source, whole.labels, whole.times, whole.values))

    def forget(self, before_ms: int) -> None:
        """Removes blocks that ended before a time."""
        with self._lock:
            gone = self._blocks.execute("DELETE FROM block WHERE end_ms < ? RETURNING id", (before_ms,)).fetchall()
            self._uncache(number for (number,) in gone)

    def select(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> list[Cohort]:
        """See `promql.context.Samples`."""
        with self._lock:
            return self._select(matchers, start_ms, end_ms)

    def list_series(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> set[Labels]:
        """The series that match and may have samples in a time: what a block of that time knows of."""
        with self._lock:
            rows = self._blocks.execute(
                "SELECT id FROM block WHERE end_ms >= ? AND start_ms <= ?", (start_ms, end_ms)
            ).fetchall()
            known = [self._labels(number) for (number,) in rows]
            known += [tuple(head.labels) for head in self._heads.values() if head.reaches(start_ms, end_ms)]
            return {labels[row] for labels in known for row in choose(labels, matchers)}

    def count_matching(self, matchers: tuple[Matcher, ...]) -> int:
        """How many series of the newest half hour match; at least one, since older ones are not looked at."""
        with self._lock:
            return max(sum(one.count_matching(matchers) for one in self._heads.values()), 1)

    def newest_ms(self, source: str) -> int | None:
        """The time of a source's newest samples in memory."""
        with self._lock:
            head = self._heads.get(source)
            return None if head is None else head.newest_ms

    def written_until(self, source: str) -> int | None:
        """The time of a source's newest samples in blocks."""
        with self._lock:
            found = self._written_ms.get(source)
            return None if found is None else found - 1

    def bounds_ms(self) -> tuple[int, int]:
        """The times of the oldest and the newest sample in memory; (0, 0) where there is none."""
        with self._lock:
            oldest = [head.oldest_ms for head in self._heads.values() if head.oldest_ms is not None]
            newest = [head.newest_ms for head in self._heads.values() if head.newest_ms is not None]
        return (min(oldest), max(newest)) if oldest and newest else (0, 0)

    def _select(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> list[Cohort]:
        parts: dict[str, list[int]] = {}
        rows = self._blocks.execute(
            "SELECT id, source FROM block WHERE end_ms >= ? AND start_ms <= ? ORDER BY source, start_ms",
            (start_ms, end_ms),
        ).fetchall()
        for number, source in rows:
            parts.setdefault(source, []).append(number)
        found, is_apart = [], True
        for source in sorted(parts.keys() | self._heads.keys()):
            cohort = self._join(source, parts.get(source, []), matchers, start_ms, end_ms)
            if cohort is not None:
                found.append(cohort)
                is_apart = is_apart and source.startswith(APART)
        return found if is_apart or len(found) < 2 else merge_shared(found)

    def _join(
        self,
        source: str,
        blocks: list[int],
        matchers: tuple[Matcher, ...],
        start_ms: int,
        end_ms: int,
    ) -> Cohort | None:
        """A source's blocks and what memory has of it as one."""
        pieces = []
        for number in blocks:
            chosen = self._choose(self._labels(number), matchers)
            if not len(chosen):
                # most blocks have nothing that is asked for: their samples are not unpacked
                continue
            labels, block = self._block(number)
            low, high = block.times.searchsorted(start_ms), block.times.searchsorted(end_ms, side="right")
            some = tuple(labels[row] for row in chosen)
            pieces.append((some, block.times[low:high], block.values[chosen, low:high]))
        if source in self._heads:
            pieces.append(self._heads[source].select(matchers, start_ms, end_ms))
        return join_parts(pieces)

    def _labels(self, number: int) -> tuple[Labels, ...]:
        """A block's series, without its samples."""
        known = self._series_of.get(number)
        if known is None:
            (told,) = self._blocks.execute("SELECT labels FROM block WHERE id = ?", (number,)).fetchone()
            known = self._series_of[number] = self._read_labels(number, told)
            if len(self._series_of) > MAX_LISTS:
                self._series_of.popitem(last=False)
        return known

    def _read_labels(self, number: int, told: bytes) -> tuple[Labels, ...]:
        labels = self._sets.get(told)
        if labels is None:
            try:
                labels = self._sets[told] = _decode_labels(zlib.decompress(told))
            except (zlib.error, msgspec.DecodeError) as exc:
                raise OSError(f"block {number} is damaged: {exc}") from exc
            if len(self._sets) > MAX_SETS:
                self._sets.popitem(last=False)
        return labels

    def _block(self, number: int) -> tuple[tuple[Labels, ...], Block]:
        known = self._cache.get(number)
        if known is not None:
            self._cache.move_to_end(number)
            return known
        made = self._read_block(number)
        self._cache[number] = made
        self._cached_bytes += made[1].values.nbytes
        while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
            self._cached_bytes -= self._cache.popitem(last=False)[1][1].values.nbytes
        return made

    def _choose(
        self, labels: tuple[Labels, ...], matchers: tuple[Matcher, ...]
    ) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
        """The rows that match; the same few sets of series are asked again and again."""
        key = (id(labels), matchers)
        known = self._choices.get(key)
        if known is None:
            # the set is held with it, so that its number is not given to another
            known = self._choices[key] = (labels, choose(labels, matchers))
            if len(self._choices) > MAX_CHOICES:
                self._choices.popitem(last=False)
        else:
            self._choices.move_to_end(key)
        return known[1]

    def _uncache(self, numbers: Iterable[int]) -> None:
        """Forgets blocks that are gone: SQLite gives their numbers to new ones."""
        for number in numbers:
            self._series_of.pop(number, None)
            known = self._cache.pop(number, None)
            if known is not None:
                self._cached_bytes -= known[1].values.nbytes

    def _read_block(self, number: int) -> tuple[tuple[Labels, ...], Block]:
        told, data = self._blocks.execute("SELECT labels, data FROM block WHERE id = ?", (number,)).fetchone()
        labels = self._read_labels(number, told)
        try:
            return labels, decode(data)
        except (DamagedBlock, zlib.error) as exc:
            raise OSError(f"block {number} is damaged: {exc}") from exc

    def close(self) -> None:
        """Everything taken is on disk."""
        with self._lock:
            self._log.close()
            self._blocks.close()
