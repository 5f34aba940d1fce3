"""Functions of classic histograms: counts in buckets by their upper bounds. Source: prometheus.md 5.9."""

import math

import numpy as np

from steelyard.promql.functions.over_time import warn_of_quantile
from steelyard.promql.invocation import Body, Invocation, drop_names, merge_same
from steelyard.promql.labels import NAME, Labels, get, quote, without
from steelyard.promql.values import Bools, Floats, Value, Vector, empty

BOUND = "le"
_NOT_GROUPED = frozenset({BOUND, NAME})
#: Counts that fall by less than this share are rounding's fault, and mended without a word.
SMALL = 1e-12


def _groups(call: Invocation, vector: Vector) -> dict[Labels, list[tuple[float, int]]]:
    """The rows of each histogram with their bounds, ascending."""
    groups: dict[Labels, list[tuple[float, int]]] = {}
    delays = call.context.options.delays_names
    for row, labels in enumerate(vector.labels):
        text = get(labels, BOUND)
        try:
            bound = float(text)
        except ValueError:
            name = get(labels, NAME)
            call.context.warn(
                f'bucket label "le" is missing or has a malformed value of {quote(text)} for metric name {quote(name)}'
            )
            continue
        # a name that goes at the end still tells histograms apart
        key = without(labels, frozenset({BOUND}) if delays else _NOT_GROUPED)
        groups.setdefault(key, []).append((bound, row))
    return {key: sorted(rows) for key, rows in groups.items()}


def _buckets(vector: Vector, rows: list[tuple[float, int]]) -> tuple[Floats, Floats, Bools]:
    """(bounds, counts (buckets, m), which are there); buckets with the same bound are one."""
    bounds = sorted({bound for bound, _ in rows})
    counts = np.zeros((len(bounds), vector.values.shape[1]))
    there = np.zeros(counts.shape, dtype=bool)
    place = {bound: number for number, bound in enumerate(bounds)}
    for bound, row in rows:
        number = place[bound]
        counts[number] += np.where(vector.present[row], vector.values[row], 0.0)
        there[number] |= vector.present[row]
    return np.array(bounds), counts, there


def _each(call: Invocation, vector: Vector, measure: "Measure") -> Vector:
    steps = len(call.steps)
    groups = _groups(call, vector)
    if not groups:
        return empty(steps)
    labels, values, present = [], [], []
    for key, rows in groups.items():
        bounds, counts, there = _buckets(vector, rows)
        name = get(vector.labels[rows[0][1]], NAME)
        labels.append(key)
        values.append(
            [
                measure(call, bounds[there[:, step]], counts[there[:, step], step], step, name)
                if there[:, step].any()
                else 0.0
                for step in range(steps)
            ]
        )
        present.append(there.any(axis=0))
    made = Vector(tuple(labels), np.array(values), np.array(present), np.zeros(len(labels), dtype=bool))
    return drop_names(made, call.context) if call.context.options.delays_names else merge_same(made)


class Measure:
    """What is measured of one histogram at one step."""

    def __call__(self, call: Invocation, bounds: Floats, counts: Floats, step: int, name: str) -> float:
        raise NotImplementedError


class _Quantile(Measure):
    def __init__(self, shares: Floats) -> None:
        self._shares = shares

    def __call__(self, call: Invocation, bounds: Floats, counts: Floats, step: int, name: str) -> float:
        share = float(self._shares[step])
        if math.isnan(share):
            return math.nan
        if share < 0:
            return -math.inf
        if share > 1:
            return math.inf
        if not len(bounds) or bounds[-1] != math.inf or len(bounds) < 2:
            return math.nan
        counts, was_bent = monotone(counts)
        if was_bent:
            call.context.inform(
                "input to histogram_quantile needed to be fixed for monotonicity (see "
                "https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile) "
                f"for metric name {quote(name)}"
            )
        return quantile_in(bounds, counts, share)


def monotone(counts: Floats) -> tuple[Floats, bool]:
    """Counts that never fall, and whether they fell by more than rounding does."""
    ever = np.maximum.accumulate(counts)
    fell = ever != counts
    if not fell.any():
        return counts, False
    gap = np.abs(ever - counts)[fell] / np.maximum(np.abs(ever) + np.abs(counts), 1e-300)[fell]
    return ever, bool((gap > SMALL).any())


def quantile_in(bounds: Floats, counts: Floats, share: float) -> float:
    """The value below which a share of the observations lies, in proportion within its bucket."""
    total = float(counts[-1])
    if total == 0 or math.isnan(total):
        return math.nan
    rank = share * total
    number = int(np.searchsorted(counts[:-1], rank, side="left"))
    if number == len(bounds) - 1:
        return float(bounds[-2])
    if number == 0 and bounds[0] <= 0:
        return float(bounds[0])
    start, end, count = 0.0, float(bounds[number]), float(counts[number])
    if number > 0:
        start = float(bounds[number - 1])
        count -= float(counts[number - 1])
        rank -= float(counts[number - 1])
    return start + (end - start) * (rank / count) if count else math.nan


class _Fraction(Measure):
    def __init__(self, lows: Floats, highs: Floats) -> None:
        self._lows, self._highs = lows, highs

    def __call__(self, call: Invocation, bounds: Floats, counts: Floats, step: int, name: str) -> float:
        del call, name
        low, high = float(self._lows[step]), float(self._highs[step])
        if not len(bounds) or bounds[-1] != math.inf:
            return math.nan
        counts, _ = monotone(counts)
        total = float(counts[-1])
        if total == 0 or math.isnan(low) or math.isnan(high) or math.isnan(total):
            return math.nan
        if low >= high:
            return 0.0
        return (_rank(bounds, counts, high) - _rank(bounds, counts, low)) / total


def _rank(bounds: Floats, counts: Floats, value: float) -> float:
    """How many observations lie below a value, in proportion within its bucket."""
    if value == -math.inf:
        return 0.0
    if value >= bounds[-1]:
        return float(counts[-1])
    number = int(np.searchsorted(bounds, value, side="right"))
    if number >= len(bounds):
        return float(counts[-1])
    below = float(counts[number - 1]) if number > 0 else 0.0
    end = float(bounds[number])
    start = float(bounds[number - 1]) if number > 0 else 0.0 if end > 0 else -math.inf
    # in a bucket without an end nothing can be told apart
    if start == -math.inf:
        return float(counts[number])
    if end == math.inf:
        return below
    if value <= start:
        return below
    return below + (float(counts[number]) - below) * (value - start) / (end - start)


def _quantile(call: Invocation) -> Value:
    shares = call.numbers(0)
    for share in np.unique(shares[np.isnan(shares) | (shares < 0) | (shares > 1)]):
        if len(call.vector(1)):
            warn_of_quantile(call.context, float(share))
    return _each(call, call.vector(1), _Quantile(shares))


def _fraction(call: Invocation) -> Value:
    return _each(call, call.vector(2), _Fraction(call.numbers(0), call.numbers(1)))


def _of_natives(call: Invocation) -> Value:
    # these are of native histograms alone, which are not kept: plain numbers give nothing
    return empty(len(call.steps))


FUNCTIONS: dict[str, Body] = {
    "histogram_quantile": _quantile,
    "histogram_fraction": _fraction,
    **dict.fromkeys(
        ("histogram_count", "histogram_sum", "histogram_avg", "histogram_stddev", "histogram_stdvar"), _of_natives
    ),
}
