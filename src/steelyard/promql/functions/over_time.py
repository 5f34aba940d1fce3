"""Functions that put the samples of a window together. Sums are compensated, as Prometheus' own."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from steelyard.promql.invocation import Body, Invocation, merge_same
from steelyard.promql.labels import Labels, drop_name
from steelyard.promql.values import Bools, Floats, Matrix, Value, Vector, Windows, concat

#: Samples gathered at once.
BLOCK = 2_000_000

#: (windows, steps at which they are looked at) -> values (k, steps)
Kernel = Callable[[Windows], Floats]


def over(call: Invocation, kernel: Kernel, *, least: int = 1, keeps_name: bool = False, index: int = 0) -> Vector:
    """Each series' windows through a kernel; steps with fewer than `least` samples have none."""
    matrix = call.matrix(index)
    parts = []
    for windows in matrix.windows:
        call.context.check()
        there = windows.counts >= least
        if not there.any():
            continue
        values = kernel(windows)
        count = len(windows.labels)
        parts.append(
            Vector(
                windows.labels,
                values,
                np.broadcast_to(there, (count, len(there))).copy(),
                np.zeros(count, dtype=bool),
            )
        )
    return named(call, matrix, concat(parts, len(call.steps)), keeps_name=keeps_name)


def named(call: Invocation, matrix: Matrix, made: Vector, *, keeps_name: bool) -> Vector:
    """A result with the names that it keeps."""
    delays = call.context.options.delays_names
    if keeps_name:
        drops = np.array([matrix.drops.get(one, False) for one in made.labels], dtype=bool)
        return merge_same(Vector(made.labels, made.values, made.present, drops))
    if delays:
        return Vector(made.labels, made.values, made.present, np.ones(len(made), dtype=bool))
    labels: tuple[Labels, ...] = tuple(drop_name(one) for one in made.labels)
    return merge_same(Vector(labels, made.values, made.present, made.drops))


def gather(windows: Windows) -> Iterator[tuple[slice, Floats, Bools]]:
    """The windows' samples side by side: (steps, samples (k, steps, width), which of them are there (steps, width))."""
    counts = windows.counts
    width = int(counts.max(initial=0))
    size = max(1, BLOCK // max(1, width * len(windows.labels)))
    offsets = np.arange(width)
    for start in range(0, len(counts), size):
        part = slice(start, start + size)
        there = offsets < counts[part, None]
        index = np.where(there, windows.low[part, None] + offsets, 0)
        yield part, windows.values[:, index], there


def reduce(windows: Windows, put_together: Callable[[Floats, Bools], Floats]) -> Floats:
    """Each window's samples put together; windows without any give what the function makes of nothing."""
    out = np.full((len(windows.labels), len(windows.low)), np.nan)
    if len(windows.times):
        for part, samples, there in gather(windows):
            if samples.shape[-1]:
                out[:, part] = put_together(samples, there)
    return out


# sums


def add(value: Floats, total: Floats, rest: Floats) -> tuple[Floats, Floats]:
    """One step of a compensated sum (Neumaier)."""
    grown = total + value
    more = np.where(np.abs(total) >= np.abs(value), (total - grown) + value, (value - grown) + total)
    return grown, np.where(np.isinf(grown), 0.0, rest + more)


def sum_of(samples: Floats, there: Bools) -> Floats:
    """Sums along the last axis."""
    total, rest = _running(samples, there)
    return np.where(np.isinf(total), total, total + rest)


def _running(samples: Floats, there: Bools) -> tuple[Floats, Floats]:
    total = np.zeros(samples.shape[:-1])
    rest = np.zeros(samples.shape[:-1])
    for column in range(samples.shape[-1]):
        grown, more = add(samples[..., column], total, rest)
        is_there = there[..., column]
        total, rest = np.where(is_there, grown, total), np.where(is_there, more, rest)
    return total, rest


def mean_of(samples: Floats, there: Bools) -> Floats:
    """Means along the last axis; where a sum grows over all bounds, a mean that grows with it."""
    total, rest = _running(samples, there)
    count = there.sum(axis=-1)
    mean: Floats = total / count + rest / count
    if np.isfinite(mean).all():
        return mean
    for place in zip(*np.nonzero(~np.isfinite(mean) & (count > 0)), strict=True):
        mean[place] = _growing_mean(samples[place][there[place[-1]] if there.ndim == 2 else there[place]])
    return mean


def _growing_mean(samples: Floats) -> float:
    total, rest, mean, is_growing = float(samples[0]), 0.0, 0.0, False
    for count, value in enumerate(samples[1:].tolist(), start=2):
        if not is_growing:
            grown, more = _add_one(value, total, rest)
            if not np.isinf(grown):
                total, rest = grown, more
                continue
            is_growing, mean, rest = True, total / (count - 1), rest / (count - 1)
        share = (count - 1) / count
        mean, rest = _add_one(value / count, share * mean, share * rest)
    return mean + rest if is_growing else total / len(samples) + rest / len(samples)


def _add_one(value: float, total: float, rest: float) -> tuple[float, float]:
    grown = total + value
    if np.isinf(grown):
        return grown, 0.0
    more = (total - grown) + value if abs(total) >= abs(value) else (value - grown) + total
    return grown, rest + more


def variance_of(samples: Floats, there: Bools) -> Floats:
    """Variances of the whole along the last axis (Welford)."""
    shape = samples.shape[:-1]
    mean, mean_rest, squares, squares_rest = (np.zeros(shape) for _ in range(4))
    count = np.zeros(there.shape[:-1])
    for column in range(samples.shape[-1]):
        value, is_there = samples[..., column], there[..., column]
        count = count + is_there
        delta = value - (mean + mean_rest)
        grown = add(delta / np.maximum(count, 1), mean, mean_rest)
        mean, mean_rest = np.where(is_there, grown[0], mean), np.where(is_there, grown[1], mean_rest)
        grown = add(delta * (value - (mean + mean_rest)), squares, squares_rest)
        squares, squares_rest = np.where(is_there, grown[0], squares), np.where(is_there, grown[1], squares_rest)
    return (squares + squares_rest) / count


# orders


def quantile_of(samples: Floats, there: Bools, share: Floats | float) -> Floats:
    """Quantiles along the last axis, between neighbours in proportion; NaN comes before all numbers."""
    count = there.sum(axis=-1)
    keyed = np.where(there, np.where(np.isnan(samples), -np.inf, samples), np.inf)
    ordered = np.sort(keyed, axis=-1)
    nans = (np.isnan(samples) & there).sum(axis=-1)
    share = np.broadcast_to(np.asarray(share, dtype=float), count.shape)
    inner = np.clip(np.nan_to_num(share), 0, 1)
    rank = inner * (count - 1)
    low = np.maximum(np.floor(rank), 0).astype(np.intp)
    high = np.clip(low + 1, 0, np.maximum(count - 1, 0)).astype(np.intp)
    weight = rank - np.floor(rank)

    def at(index: NDArray[np.intp]) -> Floats:
        index = np.broadcast_to(index, ordered.shape[:-1])
        found = np.take_along_axis(ordered, index[..., None], axis=-1)[..., 0]
        return np.where(index < nans, np.nan, found)

    found = at(low) * (1 - weight) + at(high) * weight
    # two equal infinities have no middle that arithmetic would find
    found = np.where(at(low) == at(high), at(low), found)
    found = np.where(share < 0, -np.inf, np.where(share > 1, np.inf, found))
    return np.where(np.isnan(share) | (count == 0), np.nan, found)


def _extreme(pick: Callable[..., Floats], worst: float) -> Callable[[Floats, Bools], Floats]:
    def put_together(samples: Floats, there: Bools) -> Floats:
        is_number = there & ~np.isnan(samples)
        found = pick(np.where(is_number, samples, worst), axis=-1)
        return np.where(is_number.any(axis=-1), found, np.nan)

    return put_together


smallest, largest = _extreme(np.min, np.inf), _extreme(np.max, -np.inf)


def _reducing(put_together: Callable[[Floats, Bools], Floats]) -> Body:
    return lambda call: over(call, lambda windows: reduce(windows, put_together))


def _last(windows: Windows) -> Floats:
    return windows.values[:, np.maximum(windows.high - 1, 0)]


def _first(windows: Windows) -> Floats:
    return windows.values[:, np.minimum(windows.low, len(windows.times) - 1)]


def _count(windows: Windows) -> Floats:
    return np.broadcast_to(windows.counts.astype(float), (len(windows.labels), len(windows.low)))


def _ones(windows: Windows) -> Floats:
    return np.ones((len(windows.labels), len(windows.low)))


def _quantile(call: Invocation) -> Value:
    shares = call.numbers(0)
    for share in np.unique(shares[np.isnan(shares) | (shares < 0) | (shares > 1)]):
        warn_of_quantile(call.context, float(share))

    def kernel(windows: Windows) -> Floats:
        out = np.full((len(windows.labels), len(windows.low)), np.nan)
        if len(windows.times):
            for part, samples, there in gather(windows):
                if samples.shape[-1]:
                    out[:, part] = quantile_of(samples, there, shares[part])
        return out

    return over(call, kernel, index=1)


def warn_of_quantile(context: object, share: float) -> None:
    """A share that is none gives infinities or nothing."""
    from steelyard.promql.numbers import format_sample

    context.warn(f"quantile value should be between 0 and 1, got {format_sample(share)}")  # type: ignore[attr-defined]


def _spread(samples: Floats, there: Bools) -> Floats:
    """The median distance from the median."""
    middle = quantile_of(samples, there, 0.5)
    return quantile_of(np.abs(samples - middle[..., None]), there, 0.5)


def _time_of(choose: Callable[[Floats, Bools], Floats]) -> Body:
    """When the extreme was, the last of several."""

    def kernel(windows: Windows) -> Floats:
        out = np.full((len(windows.labels), len(windows.low)), np.nan)
        if not len(windows.times):
            return out
        for part, samples, there in gather(windows):
            if not samples.shape[-1]:
                continue
            best = choose(samples, there)
            is_best = there & ((samples == best[..., None]) | np.isnan(best)[..., None])
            width = samples.shape[-1]
            last = width - 1 - np.argmax(is_best[..., ::-1], axis=-1)
            index = np.clip(windows.low[part] + last, 0, len(windows.times) - 1)
            out[:, part] = windows.times[index] / 1000.0
        return out

    return lambda call: over(call, kernel)


FUNCTIONS: dict[str, Body] = {
    "sum_over_time": _reducing(sum_of),
    "avg_over_time": _reducing(mean_of),
    "min_over_time": _reducing(smallest),
    "max_over_time": _reducing(largest),
    "stdvar_over_time": _reducing(variance_of),
    "stddev_over_time": _reducing(lambda samples, there: np.sqrt(variance_of(samples, there))),
    "mad_over_time": _reducing(_spread),
    "count_over_time": lambda call: over(call, _count),
    "present_over_time": lambda call: over(call, _ones),
    "last_over_time": lambda call: over(call, _last, keeps_name=True),
    "first_over_time": lambda call: over(call, _first, keeps_name=True),
    "quantile_over_time": _quantile,
    "ts_of_max_over_time": _time_of(largest),
    "ts_of_min_over_time": _time_of(smallest),
    "ts_of_last_over_time": lambda call: over(
        call,
        lambda windows: np.broadcast_to(
            windows.times[np.maximum(windows.high - 1, 0)] / 1000.0, (len(windows.labels), len(windows.low))
        ),
    ),
    "ts_of_first_over_time": lambda call: over(
        call,
        lambda windows: np.broadcast_to(
            windows.times[np.minimum(windows.low, len(windows.times) - 1)] / 1000.0,
            (len(windows.labels), len(windows.low)),
        ),
    ),
}
