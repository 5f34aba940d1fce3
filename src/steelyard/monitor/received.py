"""Samples that others write: by remote write and OTLP. Each series finds others that are sampled at its times, and is kept with them."""

import threading
import zlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from steelyard.base.clock import now_us
from steelyard.monitor.exemplars import Exemplar, Exemplars
from steelyard.monitor.exposition_format import Metadata
from steelyard.monitor.remote_write import Written, WrittenSeries
from steelyard.monitor.series_store import OUT_OF_BOUNDS, SeriesStore, TooManySeries
from steelyard.monitor.tenants import MAX_SERIES, Refused, check_series, own_labels
from steelyard.promql.labels import Labels, get, show

SOURCE = "write:"
#: A clock may be ahead by so much.
MAX_AHEAD_MS = 600_000
MAX_FAMILIES = 5_000
#: Arrays that a workspace's series may stand in: whoever samples each series at times of its own would make one for each.
MAX_SOURCES = 2_000
MAX_TRIED = 16
#: What a workspace's metrics bear, by which series of one target are found.
_TARGET_LABELS = ("job", "instance")


@dataclass(slots=True)
class Refusals:
    """Samples of a request that were not taken; the others were."""

    taken: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    example: str = ""

    def add(self, reason: str, labels: Labels, count: int = 1) -> None:
        """Counts some."""
        if not self.reasons:
            self.example = show(labels)[:300]
        self.reasons[reason] += count

    def __str__(self) -> str:
        told = "; ".join(f"{reason} ({count} samples)" for reason, count in self.reasons.items())
        return f"{told}; the first is of {self.example}. {self.taken} other samples were taken"


@dataclass(slots=True)
class _Workspace:
    """What is known of a workspace's series."""

    #: series -> the source that it is in
    homes: dict[Labels, str] = field(default_factory=dict)
    #: what a target's series bear -> sources with series of it
    by_target: dict[tuple[str, ...], list[str]] = field(default_factory=dict)
    #: as they come -> as they are kept
    finished: dict[Labels, Labels] = field(default_factory=dict)
    families: dict[str, Metadata] = field(default_factory=dict)

    def count_sources(self) -> int:
        return sum(len(one) for one in self.by_target.values())

    def settle(self, labels: Labels, source: str) -> None:
        self.homes[labels] = source
        sources = self.by_target.setdefault(_target_of(labels), [])
        if source not in sources:
            sources.append(source)


class Received:
    """Takes them. May be called from several threads.

    Args:
        retention_ms: what is older is not taken; 0 takes all.
    """

    def __init__(self, store: SeriesStore, exemplars: Exemplars | None = None, *, retention_ms: int = 0) -> None:
        self._store = store
        self._exemplars = exemplars or Exemplars()
        self._retention_ms = retention_ms
        self._lock = threading.Lock()
        self._workspaces: dict[str, _Workspace] = {}
        self.refresh()

    def __repr__(self) -> str:
        return f"<Received {sum(len(one.homes) for one in self._workspaces.values())} series>"

    def refresh(self) -> None:
        """Forgets series of which the newest half hour has nothing."""
        with self._lock:
            families = {name: one.families for name, one in self._workspaces.items()}
            self._workspaces = {name: _Workspace(families=told) for name, told in families.items()}
            for source, series in self._store.series_by_source(SOURCE).items():
                known = self._workspaces.setdefault(source.split(":")[1], _Workspace())
                for labels in series:
                    known.settle(labels, source)

    def take(self, workspace: str, written: Written) -> Refusals:
        """Takes what is in order of a request; what is not is counted.

        Raises:
            OSError: the disk takes no more; sending it again helps.
        """
        refusals = Refusals()
        for what, count in written.left_out.items():
            refusals.add(f"{what} are not stored", (), count)
        with self._lock:
            known = self._workspaces.setdefault(workspace, _Workspace())
            known.families |= written.families
            while len(known.families) > MAX_FAMILIES:
                del known.families[next(iter(known.families))]
            for (source, at_ms), (labels, values) in sorted(self._sort(workspace, known, written, refusals).items()):
                self._put(source, at_ms, tuple(labels), values, refusals)
        return refusals

    def _sort(
        self, workspace: str, known: _Workspace, written: Written, refusals: Refusals
    ) -> dict[tuple[str, int], tuple[list[Labels], list[float]]]:
        """Samples by source and time."""
        series = [read for one in written.series if (read := self._read(workspace, known, one, refusals)) is not None]
        found: dict[tuple[str, int], tuple[list[Labels], list[float]]] = {}
        # new ones last: they join those that are known and come with them
        for labels, samples in sorted(series, key=lambda one: one[0] not in known.homes):
            try:
                source = self._home(workspace, known, labels, samples[0][0], found)
            except Refused as exc:
                refusals.add(str(exc), labels, len(samples))
                continue
            for at_ms, value in samples:
                rows = found.get((source, at_ms))
                if rows is None:
                    rows = found[source, at_ms] = ([], [])
                rows[0].append(labels)
                rows[1].append(value)
        return found

    def _read(
        self, workspace: str, known: _Workspace, one: WrittenSeries, refusals: Refusals
    ) -> tuple[Labels, list[tuple[int, float]]] | None:
        """A series' labels and those of its samples that lie in time; None where it has none."""
        now_ms = now_us() // 1000
        oldest_ms = now_ms - self._retention_ms if self._retention_ms else 0
        try:
            labels = self._finish(workspace, known, one.pairs)
        except Refused as exc:
            refusals.add(str(exc), one.pairs, len(one.times_ms))
            return None
        for told, value, at_ms in one.exemplars:
            self._exemplars.add(labels, Exemplar(told, value, at_ms))
        samples = [
            (at_ms, value)
            for at_ms, value in zip(one.times_ms, one.values, strict=True)
            if oldest_ms <= at_ms <= now_ms + MAX_AHEAD_MS
        ]
        if len(samples) < len(one.times_ms):
            refusals.add(OUT_OF_BOUNDS, labels, len(one.times_ms) - len(samples))
        return (labels, samples) if samples else None

    def _finish(self, workspace: str, known: _Workspace, pairs: Labels) -> Labels:
        finished = known.finished.get(pairs)
        if finished is None:
            if len(dict(pairs)) != len(pairs):
                raise Refused("a label name is there twice")
            finished = own_labels(workspace, dict(pairs))
            check_series(finished)
            if len(known.finished) > 2 * MAX_SERIES:
                known.finished.clear()
            known.finished[pairs] = finished
        return finished

    def _home(
        self, workspace: str, known: _Workspace, labels: Labels, at_ms: int, coming: Collection[tuple[str, int]]
    ) -> str:
        """The source that a series is in, or one whose series are sampled at its time, or a new one.

        Args:
            coming: sources and times of the same request.
        """
        source = known.homes.get(labels)
        if source is None:
            if len(known.homes) >= MAX_SERIES:
                raise Refused(f"the workspace has {len(known.homes)} written series; {MAX_SERIES} are allowed at once")
            target = _target_of(labels)
            mark = zlib.crc32("\0".join(target).encode())
            fresh = f"{SOURCE}{workspace}:{mark:08x}:{at_ms}"
            # of a target whose samples are scattered only the newest are looked at
            among = known.by_target.get(target, [])[-MAX_TRIED:]
            joined = next((one for one in among if (one, at_ms) in coming), None)
            source = joined or self._store.find_source(among, at_ms) or fresh
            if source not in known.by_target.get(target, []) and known.count_sources() >= MAX_SOURCES:
                raise Refused(
                    "the workspace's series are sampled at too many different times; send those of one target with the same time"
                )
            known.settle(labels, source)
        return source

    def _put(
        self, source: str, at_ms: int, labels: tuple[Labels, ...], values: list[float], refusals: Refusals
    ) -> None:
        if len(set(labels)) != len(labels):
            # the same series twice at one time: the later one is weighed by itself
            for one, value in zip(labels, values, strict=True):
                self._put(source, at_ms, (one,), [value], refusals)
            return
        try:
            said = self._store.put(source, labels, at_ms, np.array(values))
        except TooManySeries as exc:
            refusals.add(str(exc), labels[0], len(labels))
            return
        refusals.taken += said.count("")
        for one, reason in zip(labels, said, strict=True):
            if reason:
                refusals.add(reason, one)

    def families(self, workspace: str | None) -> dict[str, Metadata]:
        """What a workspace said of its families; what all said for None."""
        with self._lock:
            some = (
                list(self._workspaces.values())
                if workspace is None
                else [self._workspaces.get(workspace, _Workspace())]
            )
            return {name: one for known in some for name, one in known.families.items()}


def _target_of(labels: Labels) -> tuple[str, ...]:
    return tuple(get(labels, name) for name in _TARGET_LABELS)
