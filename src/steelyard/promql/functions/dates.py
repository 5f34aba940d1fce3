"""Functions of times: a value is seconds since 1970, in UTC."""

from collections.abc import Callable
from typing import Any

import numpy as np

from steelyard.promql.invocation import Body, Invocation
from steelyard.promql.values import Floats, Scalar, Value, Vector

#: Seconds that a date can be made of.
LIMIT_S = 2**53


def _part(read: Callable[[Any], Any]) -> Body:
    def body(call: Invocation) -> Value:
        vector = call.vector() if call.args else _now(call)
        values = vector.values
        is_date = np.isfinite(values) & (np.abs(values) < LIMIT_S)
        moments = np.where(is_date, values, 0).astype(np.int64).astype("datetime64[s]")
        return call.nameless(vector, np.where(is_date, read(moments).astype(np.float64), np.nan))

    return body


def _now(call: Invocation) -> Vector:
    steps = len(call.steps)
    return Vector(((),), call.steps[None, :] / 1000.0, np.ones((1, steps), dtype=bool), np.zeros(1, dtype=bool))


def _days(moments: Any) -> Any:
    return moments.astype("datetime64[D]")


def _months(moments: Any) -> Any:
    return moments.astype("datetime64[M]")


def _years(moments: Any) -> Any:
    return moments.astype("datetime64[Y]")


def _time(call: Invocation) -> Value:
    seconds: Floats = call.steps / 1000.0
    return Scalar(seconds)


FUNCTIONS: dict[str, Body] = {
    "minute": _part(lambda at: at.astype("datetime64[m]").astype(np.int64) % 60),
    "hour": _part(lambda at: at.astype("datetime64[h]").astype(np.int64) % 24),
    # the first of January 1970 was a Thursday
    "day_of_week": _part(lambda at: (_days(at).astype(np.int64) + 4) % 7),
    "day_of_month": _part(lambda at: (_days(at) - _months(at).astype("datetime64[D]")).astype(np.int64) + 1),
    "day_of_year": _part(lambda at: (_days(at) - _years(at).astype("datetime64[D]")).astype(np.int64) + 1),
    "days_in_month": _part(lambda at: ((_months(at) + 1).astype("datetime64[D]") - _months(at).astype("datetime64[D]")).astype(np.int64)),
    "month": _part(lambda at: _months(at).astype(np.int64) % 12 + 1),
    "year": _part(lambda at: _years(at).astype(np.int64) + 1970),
    "time": _time,
}  # fmt: skip
