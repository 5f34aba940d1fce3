"""From samples to steps: the newest sample before each step, and the window before each step. Source: prometheus.md 5.1 and 5.3."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from steelyard.promql.labels import Labels
from steelyard.promql.values import Bools, Cohort, Floats, Times, Vector, Windows, anywhere, concat, is_stale


def look_back(cohorts: Iterable[Cohort], times: Times, lookback_ms: int) -> tuple[Vector, NDArray[np.int64]]:
    """Each series' newest sample in (t - lookback, t] at each time, and that sample's own time.

    A stale marker as the newest sample says that the series has ended.
    """
    parts, stamps = [], []
    for cohort in cohorts:
        values, present, at = _newest(cohort, times, lookback_ms)
        kept = anywhere(present, axis=1)
        if kept.any():
            labels = tuple(one for one, is_kept in zip(cohort.labels, kept, strict=True) if is_kept)
            parts.append(Vector(labels, values[kept], present[kept], np.zeros(len(labels), dtype=bool)))
            stamps.append(at[kept])
    made = concat(parts, len(times))
    return made, np.concatenate(stamps) if stamps else np.empty((0, len(times)), dtype=np.int64)


def _newest(cohort: Cohort, times: Times, lookback_ms: int) -> tuple[Floats, Bools, Times]:
    count, steps = len(cohort.labels), len(times)
    if not len(cohort.times):
        return np.empty((count, steps)), np.zeros((count, steps), dtype=bool), np.zeros((count, steps), dtype=np.int64)
    index = np.searchsorted(cohort.times, times, side="right") - 1
    if cohort.present is None:
        rows = np.broadcast_to(index, (count, steps))
    else:
        # for each sample the newest one up to it that is there
        known = np.maximum.accumulate(np.where(cohort.present, np.arange(len(cohort.times)), -1), axis=1)
        rows = np.where(index >= 0, known[:, np.maximum(index, 0)], -1)
    safe = np.maximum(rows, 0)
    values = np.take_along_axis(cohort.values, safe, axis=1)
    at = cohort.times[safe]
    present = (rows >= 0) & (at > times - lookback_ms) & ~is_stale(values)
    return values, present, at


def cut_windows(cohorts: Iterable[Cohort], ends: Times, range_ms: int) -> tuple[Windows, ...]:
    """The samples in (t - range, t] at each end t. Stale markers are passed over."""
    return tuple(_cut(one, ends, range_ms) for cohort in cohorts for one in _whole(cohort))


def _cut(cohort: Cohort, ends: Times, range_ms: int) -> Windows:
    starts = ends - range_ms
    low = np.searchsorted(cohort.times, starts, side="right")
    high = np.searchsorted(cohort.times, ends, side="right")
    return Windows(cohort.labels, cohort.times, cohort.values, low, np.maximum(high, low), starts, ends)


def _whole(cohort: Cohort) -> Iterable[Cohort]:
    """A cohort whose samples are all there; series with gaps or stale markers come each by itself."""
    gone = is_stale(cohort.values)
    if cohort.present is not None:
        gone |= ~cohort.present
    broken = anywhere(gone, axis=1)
    if not broken.any():
        yield Cohort(cohort.labels, cohort.times, cohort.values)
        return
    if not broken.all():
        labels: tuple[Labels, ...] = tuple(one for one, bad in zip(cohort.labels, broken, strict=True) if not bad)
        yield Cohort(labels, cohort.times, cohort.values[~broken])
    for row in np.flatnonzero(broken):
        kept = ~gone[row]
        yield Cohort((cohort.labels[row],), cohort.times[kept], cohort.values[row : row + 1, kept])
