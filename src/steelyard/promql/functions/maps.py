"""Functions of each value by itself."""

from collections.abc import Callable

import numpy as np

from steelyard.promql.invocation import Body, Invocation
from steelyard.promql.values import Floats, Scalar, Value


def _map(change: Callable[[Floats], Floats]) -> Body:
    def body(call: Invocation) -> Value:
        vector = call.vector()
        return call.nameless(vector, change(vector.values))

    return body


def _round(call: Invocation) -> Value:
    vector = call.vector()
    inverse = 1.0 / (call.numbers(1) if len(call.args) > 1 else np.ones(len(call.steps)))
    return call.nameless(vector, np.floor(vector.values * inverse + 0.5) / inverse)


def _clamp(call: Invocation) -> Value:
    vector, low, high = call.vector(), call.numbers(1), call.numbers(2)
    # a range that is turned around holds nothing
    present = vector.present & ~(low > high)
    return call.nameless(vector, np.maximum(low, np.minimum(high, vector.values)), present)


def _clamp_min(call: Invocation) -> Value:
    return call.nameless(call.vector(), np.maximum(call.numbers(1), call.vector().values))


def _clamp_max(call: Invocation) -> Value:
    return call.nameless(call.vector(), np.minimum(call.numbers(1), call.vector().values))


def _pi(call: Invocation) -> Value:
    return Scalar(np.full(len(call.steps), np.pi))


FUNCTIONS: dict[str, Body] = {
    **{name: _map(getattr(np, name)) for name in ("ceil", "floor", "exp", "log2", "log10", "sqrt", "cos", "cosh", "sin", "sinh", "tan", "tanh")},
    "abs": _map(np.abs),
    "ln": _map(np.log),
    "sgn": _map(np.sign),
    # in the order of Prometheus' own arithmetic: a last digit that differs becomes large in a cosine
    "deg": _map(lambda values: values * 180 / np.pi),
    "rad": _map(lambda values: values * np.pi / 180),
    "acos": _map(np.arccos),
    "acosh": _map(np.arccosh),
    "asin": _map(np.arcsin),
    "asinh": _map(np.arcsinh),
    "atan": _map(np.arctan),
    "atanh": _map(np.arctanh),
    "round": _round,
    "clamp": _clamp,
    "clamp_min": _clamp_min,
    "clamp_max": _clamp_max,
    "pi": _pi,
}  # fmt: skip
