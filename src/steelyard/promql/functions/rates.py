"""Functions of how samples change in a window. Source: prometheus.md 5.8."""

import numpy as np

from steelyard.promql.functions.over_time import add, gather, over
from steelyard.promql.invocation import Body, Invocation
from steelyard.promql.nodes import Range, Selector, unwrap
from steelyard.promql.values import Bools, Floats, Value, Windows

#: A gap to the window's edge that is this much wider than the usual one between samples is not bridged.
GAP = 1.1
COUNTER_ENDINGS = ("_total", "_sum", "_count", "_bucket")


def _ends(
    windows: Windows,
) -> tuple["np.ndarray[tuple[int], np.dtype[np.intp]]", "np.ndarray[tuple[int], np.dtype[np.intp]]"]:
    """Indexes of each window's first and last sample; windows without any have some."""
    most = max(len(windows.times) - 1, 0)
    return np.minimum(windows.low, most), np.clip(windows.high - 1, 0, most)


def _put_back(
    grown: Floats,
    values: Floats,
    low: "np.ndarray[tuple[int], np.dtype[np.intp]]",
    high: "np.ndarray[tuple[int], np.dtype[np.intp]]",
) -> None:
    """Adds to how much counters grew what they lost when they began anew; most never do."""
    before, after = values[:, :-1], values[:, 1:]
    rows = np.flatnonzero((after < before).any(axis=1))
    if len(rows):
        lost = np.zeros((len(rows), values.shape[1]))
        lost[:, 1:] = np.where(after[rows] < before[rows], before[rows], 0.0)
        grown[rows] += _since(lost, low, high)


def _since(
    changes: Floats, low: "np.ndarray[tuple[int], np.dtype[np.intp]]", high: "np.ndarray[tuple[int], np.dtype[np.intp]]"
) -> Floats:
    """Sums of what changed at each sample, from behind the first of a window to its last."""
    running = np.cumsum(changes, axis=1)
    return running[:, high] - running[:, low]


def extrapolate(windows: Windows, range_ms: int, *, is_counter: bool, is_rate: bool) -> Floats:
    """How much a series grows in its window: from its first to its last sample, stretched to the window's edges."""
    low, high = _ends(windows)
    values, times = windows.values, windows.times
    first, grown = values[:, low], values[:, high] - values[:, low]
    if is_counter:
        _put_back(grown, values, low, high)
    span = (times[high] - times[low]) / 1000.0
    usual = span / np.maximum(windows.counts - 1, 1)
    to_start = (times[low] - windows.starts) / 1000.0
    to_end = (windows.ends - times[high]) / 1000.0
    to_start = np.where(to_start >= usual * GAP, usual / 2, to_start)
    to_end = np.where(to_end >= usual * GAP, usual / 2, to_end)
    factor = (span + to_start + to_end) / span
    whole = range_ms / 1000.0 if is_rate else 1.0
    result: Floats = grown * (factor / whole)
    if is_counter:
        # a counter is not stretched to before it was zero
        to_zero = span * (first / grown)
        for row in np.flatnonzero(((grown > 0) & (first >= 0) & (to_zero < to_start)).any(axis=1)):
            near = np.where((grown[row] > 0) & (first[row] >= 0), np.minimum(to_start, to_zero[row]), to_start)
            result[row] = grown[row] * (((span + near + to_end) / span) / whole)
    return result


def _extrapolated(*, is_counter: bool, is_rate: bool) -> Body:
    def body(call: Invocation) -> Value:
        if is_counter:
            look_at_name(call)
        range_ms = call.matrix().range
        return over(
            call, lambda windows: extrapolate(windows, range_ms, is_counter=is_counter, is_rate=is_rate), least=2
        )

    return body


def look_at_name(call: Invocation) -> None:
    """Says so where a metric is not named like a counter."""
    node = unwrap(call.node.args[0])
    name = node.selector.name if isinstance(node, Range) and isinstance(node.selector, Selector) else ""
    has_any = any(windows.counts.max(initial=0) > 1 for windows in call.matrix().windows)
    if name and has_any and not name.endswith(COUNTER_ENDINGS):
        call.context.inform(f'metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "{name}"')


def _instant(*, is_rate: bool) -> Body:
    """The change between the last two samples."""

    def kernel(windows: Windows) -> Floats:
        _, high = _ends(windows)
        before = np.maximum(high - 1, 0)
        last, previous = windows.values[:, high], windows.values[:, before]
        change = last - previous
        if not is_rate:
            return change
        # behind a reset the counter began at zero
        change = np.where(last < previous, last, change)
        return change / ((windows.times[high] - windows.times[before]) / 1000.0)

    def body(call: Invocation) -> Value:
        if is_rate:
            look_at_name(call)
        return over(call, kernel, least=2)

    return body


def _resets(windows: Windows) -> Floats:
    return _counted(windows, windows.values[:, 1:] < windows.values[:, :-1])


def _changes(windows: Windows) -> Floats:
    before, after = windows.values[:, :-1], windows.values[:, 1:]
    return _counted(windows, (before != after) & ~(np.isnan(before) & np.isnan(after)))


def _counted(windows: Windows, is_change: Bools) -> Floats:
    low, high = _ends(windows)
    changes = np.zeros(windows.values.shape)
    changes[:, 1:] = is_change
    return _since(changes, low, high)


# lines


def fit_line(windows: Windows, origins: Floats | None) -> tuple[Floats, Floats]:
    """(slope a second, value at the origin) of the line through each window's samples.

    Args:
        origins: in milliseconds, one a step; None takes each window's first sample.
    """
    shape = (len(windows.labels), len(windows.low))
    slopes, heights = np.full(shape, np.nan), np.full(shape, np.nan)
    low, _ = _ends(windows)
    base = windows.times[low] if origins is None else origins
    for part, samples, there in gather(windows):
        width = samples.shape[-1]
        if not width:
            continue
        index = np.where(there, windows.low[part, None] + np.arange(width), 0)
        seconds = (windows.times[index] - base[part, None]) / 1000.0
        slopes[:, part], heights[:, part] = _line(samples, seconds, there)
    return slopes, heights


def _line(samples: Floats, seconds: Floats, there: Bools) -> tuple[Floats, Floats]:
    count = there.sum(axis=-1)
    sums = [np.zeros(samples.shape[:-1]) for _ in range(8)]
    for column in range(samples.shape[-1]):
        x = np.broadcast_to(seconds[..., column], samples.shape[:-1])
        y, is_there = samples[..., column], there[..., column]
        for place, value in enumerate((x, y, x * y, x * x)):
            grown = add(value, sums[2 * place], sums[2 * place + 1])
            sums[2 * place] = np.where(is_there, grown[0], sums[2 * place])
            sums[2 * place + 1] = np.where(is_there, grown[1], sums[2 * place + 1])
    sum_x, sum_y, sum_xy, sum_xx = (sums[2 * place] + sums[2 * place + 1] for place in range(4))
    slope = (sum_xy - sum_x * sum_y / count) / (sum_xx - sum_x * sum_x / count)
    height = sum_y / count - slope * sum_x / count
    # a line that is flat is told exactly
    first = samples[..., :1]
    is_flat = (~there | (samples == first)).all(axis=-1)
    flat = np.where(np.isinf(first[..., 0]), np.nan, first[..., 0])
    return np.where(is_flat, np.where(np.isnan(flat), np.nan, 0.0), slope), np.where(is_flat, flat, height)


def _deriv(call: Invocation) -> Value:
    return over(call, lambda windows: fit_line(windows, None)[0], least=2)


def _predict_linear(call: Invocation) -> Value:
    ahead = call.numbers(1)

    def kernel(windows: Windows) -> Floats:
        slope, height = fit_line(windows, call.steps.astype(float))
        return slope * ahead + height

    return over(call, kernel, least=2)


def _smooth(call: Invocation) -> Value:
    from steelyard.promql.errors import QueryError

    smoothing, trend = call.numbers(1), call.numbers(2)
    for name, factors in (("smoothing", smoothing), ("trend", trend)):
        bad = factors[~((factors > 0) & (factors < 1))]
        if len(bad):
            raise QueryError(
                f"invalid {name} factor. Expected: 0 < {'sf' if name == 'smoothing' else 'tf'} < 1, got: {bad[0]:f}"
            )

    def kernel(windows: Windows) -> Floats:
        out = np.full((len(windows.labels), len(windows.low)), np.nan)
        for part, samples, there in gather(windows):
            if samples.shape[-1] > 1:
                out[:, part] = _smoothed(samples, there, smoothing[part], trend[part])
        return out

    return over(call, kernel, least=2)


def _smoothed(samples: Floats, there: Bools, smoothing: Floats, trend: Floats) -> Floats:
    level, slope = samples[..., 0], samples[..., 1] - samples[..., 0]
    before = level
    for column in range(1, samples.shape[-1]):
        is_there = there[..., column]
        new_slope = slope if column == 1 else trend * (level - before) + (1 - trend) * slope
        new = smoothing * samples[..., column] + (1 - smoothing) * (level + new_slope)
        before, level = np.where(is_there, level, before), np.where(is_there, new, level)
        slope = np.where(is_there, new_slope, slope)
    return level


FUNCTIONS: dict[str, Body] = {
    "rate": _extrapolated(is_counter=True, is_rate=True),
    "increase": _extrapolated(is_counter=True, is_rate=False),
    "delta": _extrapolated(is_counter=False, is_rate=False),
    "irate": _instant(is_rate=True),
    "idelta": _instant(is_rate=False),
    "resets": lambda call: over(call, _resets),
    "changes": lambda call: over(call, _changes),
    "deriv": _deriv,
    "predict_linear": _predict_linear,
    "double_exponential_smoothing": _smooth,
}
