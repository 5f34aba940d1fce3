"""What evaluation works on: series over the steps of a query, and samples over time. Arrays are never changed in place.

A value of a vector is there only where `present` says so: NaN is a value like any other.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from steelyard.promql.labels import Labels

Floats: TypeAlias = NDArray[np.float64]
Times: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]

#: The bits of the marker that says that a series has ended.
STALE_BITS = 0x7FF0000000000002
STALE_NAN = float(np.array([STALE_BITS], dtype=np.uint64).view(np.float64)[0])


def is_stale(values: Floats) -> Bools:
    """Where values are the stale marker. Comparisons and `isnan` do not tell."""
    found: Bools = np.ascontiguousarray(values).view(np.uint64) == STALE_BITS
    return found


def anywhere(there: Bools, axis: int) -> Bools:
    """Where any along an axis is true."""
    return np.asarray(there.any(axis=axis), dtype=bool)


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """Samples of series that were taken at the same times, as by scrapes of one target.

    Shapes: `times` (n) ascending, milliseconds; `values` (k, n), stale markers included; `present` (k, n), None where all are there.
    """

    labels: tuple[Labels, ...]
    times: Times
    values: Floats
    present: Bools | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Vector:
    """Series over the steps. Shapes: `values` and `present` (k, m); `drops` (k): whose name goes at the end."""

    labels: tuple[Labels, ...]
    values: Floats
    present: Bools
    drops: Bools

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, eq=False)
class Scalar:
    """One number a step. Shape: `values` (m)."""

    values: Floats


@dataclass(frozen=True, slots=True)
class String:
    """A text."""

    value: str


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """The samples of a cohort's series in a window that ends at each step: those from `low` to before `high`.

    Shapes: `low`, `high`, `starts`, `ends` (m). Every sample is there and none is stale. The window is open at its start.
    """

    labels: tuple[Labels, ...]
    times: Times
    values: Floats
    low: NDArray[np.intp]
    high: NDArray[np.intp]
    starts: Times
    ends: Times

    @property
    def counts(self) -> NDArray[np.intp]:
        """How many samples each window has."""
        return self.high - self.low


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """Windows of all series, and how long they are in milliseconds."""

    windows: tuple[Windows, ...]
    range: int
    drops: dict[Labels, bool]


Value: TypeAlias = Vector | Scalar | String | Matrix


def empty(steps: int) -> Vector:
    """No series."""
    return Vector((), np.empty((0, steps)), np.zeros((0, steps), dtype=bool), np.zeros(0, dtype=bool))


def concat(parts: list[Vector], steps: int) -> Vector:
    """Several vectors as one."""
    parts = [one for one in parts if len(one)]
    if not parts:
        return empty(steps)
    if len(parts) == 1:
        return parts[0]
    return Vector(
        tuple(labels for one in parts for labels in one.labels),
        np.concatenate([one.values for one in parts]),
        np.concatenate([one.present for one in parts]),
        np.concatenate([one.drops for one in parts]),
    )


def pick(vector: Vector, rows: Any) -> Vector:
    """Some of a vector's series, in the order of `rows`."""
    rows = np.asarray(rows, dtype=np.intp)
    return Vector(
        tuple(vector.labels[row] for row in rows), vector.values[rows], vector.present[rows], vector.drops[rows]
    )
