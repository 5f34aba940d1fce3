"""Samples in memory, for tests: each series a cohort of its own, or all that share their times together."""

import numpy as np

from steelyard.promql.labels import Labels, get
from steelyard.promql.nodes import Matcher
from steelyard.promql.parse import compile_pattern
from steelyard.promql.values import Cohort


def matches(matcher: Matcher, labels: Labels) -> bool:
    value = get(labels, matcher.name)
    if matcher.op == "=":
        return value == matcher.value
    if matcher.op == "!=":
        return value != matcher.value
    found = compile_pattern(matcher.value).match(value) is not None
    return found if matcher.op == "=~" else not found


class Memory:
    """Implements `Samples`."""

    def __init__(self, *, together: bool = False) -> None:
        self._series: dict[Labels, tuple[np.ndarray, np.ndarray]] = {}  # type: ignore[type-arg]
        self._together = together

    def clear(self) -> None:
        self._series.clear()

    def add(self, labels: Labels, times: "np.ndarray", values: "np.ndarray") -> None:  # type: ignore[type-arg]
        known = self._series.get(labels)
        if known is not None:
            times, first = np.unique(np.concatenate([times, known[0]]), return_index=True)
            values = np.concatenate([values, known[1]])[first]
        self._series[labels] = (times, values)

    def select(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> list[Cohort]:
        chosen = []
        for labels in sorted(self._series):
            if all(matches(one, labels) for one in matchers):
                times, values = self._series[labels]
                low, high = np.searchsorted(times, start_ms), np.searchsorted(times, end_ms, side="right")
                if high > low:
                    chosen.append((labels, times[low:high], values[low:high]))
        if not self._together:
            return [Cohort((labels,), times, values[None, :]) for labels, times, values in chosen]
        cohorts: dict[bytes, list[int]] = {}
        for number, (_, times, _) in enumerate(chosen):
            cohorts.setdefault(times.tobytes(), []).append(number)
        return [
            Cohort(
                tuple(chosen[one][0] for one in same), chosen[same[0]][1], np.array([chosen[one][2] for one in same])
            )
            for same in cohorts.values()
        ]
