"""Aggregations: series put together by their labels. Source: prometheus.md 5.6."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from steelyard.promql.context import Context
from steelyard.promql.errors import QueryError
from steelyard.promql.functions.labelling import check_name
from steelyard.promql.functions.over_time import (
    add,
    largest,
    mean_of,
    quantile_of,
    smallest,
    variance_of,
    warn_of_quantile,
)
from steelyard.promql.invocation import finish_names, merge_same
from steelyard.promql.labels import NAME, Labels, make_labels, only, without
from steelyard.promql.nodes import Aggregation
from steelyard.promql.numbers import format_plain
from steelyard.promql.values import Bools, Floats, Scalar, String, Value, Vector, anywhere, empty, pick

#: Series by steps put together at once.
BLOCK = 4_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Which series belong together: labels of each group, and its rows."""

    labels: tuple[Labels, ...]
    rows: tuple[list[int], ...]


def group(node: Aggregation, vector: Vector) -> Groups:
    """The groups that an aggregation makes, in the order of their first series."""
    names = frozenset(node.names)
    gone = names | {NAME}
    found: dict[Labels, list[int]] = {}
    for row, labels in enumerate(vector.labels):
        if node.is_without:
            key = without(labels, gone)
        elif node.is_grouped:
            key = only(labels, names)
        else:
            key = ()
        found.setdefault(key, []).append(row)
    return Groups(tuple(found), tuple(found.values()))


def aggregate(node: Aggregation, vector: Vector, param: Value | None, context: Context) -> Vector:
    """An aggregation's result.

    Raises:
        QueryError: its parameter is out of bounds.
    """
    if isinstance(param, Scalar) and node.op in _CHECKS:
        _CHECKS[node.op](param)
    if not len(vector):
        return vector
    if node.op in _PICKING:
        assert isinstance(param, Scalar)
        return _PICKING[node.op](node, vector, param, context)
    if node.op == "count_values":
        assert isinstance(param, String)
        return _count_values(node, vector, param.value)
    groups = group(node, vector)
    shares = param.values if isinstance(param, Scalar) else None
    if node.op == "quantile" and shares is not None:
        for share in np.unique(shares[np.isnan(shares) | (shares < 0) | (shares > 1)]):
            warn_of_quantile(context, float(share))
    values, present, drops = [], [], []
    sums = _sums_at_once(vector, groups) if node.op == "sum" else None
    for number, rows in enumerate(groups.rows):
        context.check()
        there = vector.present[rows]
        if sums is None:
            values.append(_put_together(node.op, vector.values[rows], there, shares))
        else:
            values.append(sums[number])
        present.append(anywhere(there, axis=0))
        drops.append(bool(vector.drops[rows].any()))
    keeps_name = node.is_grouped and not node.is_without and NAME in node.names
    marks = np.array(drops if keeps_name else [False] * len(drops), dtype=bool)
    return Vector(groups.labels, np.array(values), np.array(present), marks)


def _put_together(op: str, samples: Floats, there: Bools, shares: Floats | None) -> Floats:
    """One group's values. Shapes: `samples`, `there` (rows, m)."""
    if op == "quantile":
        assert shares is not None
        return quantile_of(samples.T, there.T, shares)
    return _REDUCERS[op](samples, there)


def _sums_at_once(vector: Vector, groups: Groups) -> Floats | None:
    """All groups' sums, the nth series of each in one step; None where some samples are not there, or there is one step."""
    if vector.values.shape[1] == 1 or not vector.present.all():
        return None
    order = sorted(range(len(groups.rows)), key=lambda number: -len(groups.rows[number]))
    total = np.zeros((len(order), vector.values.shape[1]))
    rest = np.zeros_like(total)
    for place in range(len(groups.rows[order[0]])):
        rows = [groups.rows[number][place] for number in order if len(groups.rows[number]) > place]
        some = slice(0, len(rows))
        total[some], rest[some] = add(vector.values[rows], total[some], rest[some])
    made = np.empty_like(total)
    made[order] = np.where(np.isinf(total), total, total + rest)
    return made


def _sum(samples: Floats, there: Bools) -> Floats:
    if samples.shape[1] == 1:
        # at one step an exact sum is quicker than a compensated one
        try:
            return np.array([math.fsum(samples[there].tolist())])
        except (OverflowError, ValueError):
            pass
    total = np.zeros(samples.shape[1])
    rest = np.zeros(samples.shape[1])
    for value, is_there in zip(samples, there, strict=True):
        grown, more = add(value, total, rest)
        if is_there.all():
            total, rest = grown, more
        else:
            total, rest = np.where(is_there, grown, total), np.where(is_there, more, rest)
    return np.where(np.isinf(total), total, total + rest)


_REDUCERS: dict[str, Callable[[Floats, Bools], Floats]] = {
    "sum": _sum,
    "avg": lambda samples, there: mean_of(samples.T, there.T),
    "min": lambda samples, there: smallest(samples.T, there.T),
    "max": lambda samples, there: largest(samples.T, there.T),
    "count": lambda _samples, there: there.sum(axis=0).astype(float),
    "group": lambda _samples, there: np.ones(there.shape[1]),
    "stdvar": lambda samples, there: variance_of(samples.T, there.T),
    "stddev": lambda samples, there: np.sqrt(variance_of(samples.T, there.T)),
}


# some of the series


def _counts_of(param: Scalar) -> "np.ndarray[tuple[int, ...], np.dtype[np.int64]]":
    if np.isnan(param.values).any():
        raise QueryError("Parameter value is NaN")
    if (param.values >= 2**63).any() or (param.values < -(2**63)).any():
        raise QueryError(f"Scalar value {param.values[0]} overflows int64")
    return np.trunc(param.values).astype(np.int64)


def _best(sign: int) -> Callable[[Aggregation, Vector, Scalar, Context], Vector]:
    def choose(node: Aggregation, vector: Vector, param: Scalar, context: Context) -> Vector:
        counts = _counts_of(param)
        kept = np.zeros(vector.present.shape, dtype=bool)
        is_instant = not context.is_range and vector.values.shape[1] == 1
        order: list[int] = []
        for rows in group(node, vector).rows:
            context.check()
            chosen = _ranked(vector, rows, sign)
            for step, count in enumerate(counts.tolist()):
                best = [row for row in chosen[step] if vector.present[row, step]][: max(count, 0)]
                kept[best, step] = True
                if is_instant:
                    order += best
        if not is_instant:
            order = np.flatnonzero(anywhere(kept, axis=1)).tolist()
        if not order:
            return empty(vector.values.shape[1])
        return pick(Vector(vector.labels, vector.values, kept, vector.drops), order)

    return choose


def _ranked(vector: Vector, rows: list[int], sign: int) -> list[list[int]]:
    """For each step the rows, the best first; NaN comes last, and equals are in the order of their labels, as Prometheus' storage has them."""
    rows = sorted(rows, key=lambda row: vector.labels[row])
    values = vector.values[rows]
    keys = np.where(np.isnan(values), np.inf, sign * values)
    is_nan = np.isnan(values)
    places = np.array(rows)
    return [
        places[np.lexsort((np.arange(len(rows)), keys[:, step], is_nan[:, step]))].tolist()
        for step in range(values.shape[1])
    ]


def _limit(node: Aggregation, vector: Vector, param: Scalar, context: Context) -> Vector:
    """The first k of each group, at each step."""
    del context
    counts = _counts_of(param)
    kept = np.zeros(vector.present.shape, dtype=bool)
    for some in group(node, vector).rows:
        rows = sorted(some, key=lambda row: vector.labels[row])
        place = np.cumsum(vector.present[rows], axis=0)
        kept[rows] = vector.present[rows] & (place <= np.maximum(counts, 0))
    return _some(vector, kept)


def _ratio(node: Aggregation, vector: Vector, param: Scalar, context: Context) -> Vector:
    """A share of the series, by a number that each series always has; a negative share takes the others."""
    shares = param.values
    for share in np.unique(shares[np.abs(shares) > 1]):
        kept = np.sign(share)
        context.warn(f"ratio value should be between -1 and 1, got {format_plain(float(share))}, capping to {kept:g}")
    shares = np.clip(shares, -1, 1)
    del node
    offsets = np.array([_offset(labels) for labels in vector.labels])[:, None]
    chosen = np.where(shares >= 0, offsets < shares, offsets >= 1.0 + shares)
    return _some(vector, vector.present & chosen)


def _check_ratio(param: Scalar) -> None:
    if np.isnan(param.values).any():
        raise QueryError("Ratio value is NaN")


def _offset(labels: Labels) -> float:
    """A number in [0, 1) that depends on the labels alone."""
    from hashlib import blake2b

    text = "\xff".join(part for pair in labels for part in pair)
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=7).digest(), "big") / 2**56


def _some(vector: Vector, kept: Bools) -> Vector:
    return pick(Vector(vector.labels, vector.values, kept, vector.drops), np.flatnonzero(anywhere(kept, axis=1)))


#: Parameters are looked at even where there is nothing to choose from.
_CHECKS: dict[str, Callable[[Scalar], object]] = {
    **dict.fromkeys(("topk", "bottomk", "limitk"), _counts_of),
    "limit_ratio": _check_ratio,
}
_PICKING: dict[str, Callable[[Aggregation, Vector, Scalar, Context], Vector]] = {
    "topk": _best(-1),
    "bottomk": _best(1),
    "limitk": _limit,
    "limit_ratio": _ratio,
}


def _count_values(node: Aggregation, vector: Vector, label: str) -> Vector:
    """How many series of a group have each value; the value becomes a label."""
    check_name(label)
    steps = vector.values.shape[1]
    found: dict[Labels, Floats] = {}
    groups = group(node, vector)
    for labels, rows in zip(groups.labels, groups.rows, strict=True):
        base = dict(labels)
        for row in rows:
            for step in np.flatnonzero(vector.present[row]).tolist():
                text = format_plain(float(vector.values[row, step]))
                key = make_labels({**base, label: text})
                found.setdefault(key, np.zeros(steps))[step] += 1
    if not found:
        return empty(steps)
    values = np.array(list(found.values()))
    return merge_same(Vector(tuple(found), values, values > 0, np.zeros(len(found), dtype=bool)))


__all__ = ["aggregate", "finish_names"]
