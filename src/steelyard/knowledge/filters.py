"""Filters over what is said of documents: comparisons, joined by and or by or. Values in, values out. Source: the OpenAI API's vector stores."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

from steelyard.base.errors import fault

MAX_DEPTH = 8
MAX_PARTS = 100
Scalar = (str, int, float, bool)
_ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}

#: Whether a document with these attributes is meant.
Matches = Callable[[Mapping[str, Any]], bool]


def read_filter(value: Any, param: str, depth: int = 0) -> Matches:
    """A filter as a predicate.

    Raises:
        Fault: `parameter_invalid`, naming what is wrong.
    """
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise _wrong(param, "a filter is an object with a type")
    kind = value["type"]
    if kind in ("and", "or"):
        return _read_compound(kind, value.get("filters"), param, depth)
    key, wanted = value.get("key"), value.get("value")
    if not isinstance(key, str):
        raise _wrong(param, "a comparison has a key")
    if kind in ("in", "nin"):
        if not isinstance(wanted, list) or not all(isinstance(one, Scalar) for one in wanted):
            raise _wrong(param, f"{kind} takes a list of values")
        is_in = kind == "in"
        return lambda one: (one.get(key) in wanted) is is_in
    if not isinstance(wanted, Scalar):
        raise _wrong(param, "value is a text, a number or a boolean")
    if kind in ("eq", "ne"):
        is_equal = kind == "eq"
        return lambda one: (key in one and one[key] == wanted) is is_equal
    compare = _ORDERED.get(kind)
    if compare is None:
        raise _wrong(param, f"type {kind[:20]!r} is none of eq, ne, gt, gte, lt, lte, in, nin, and, or")
    return lambda one: _is_comparable(one.get(key), wanted) and compare(one[key], wanted)


def _read_compound(kind: str, parts: Any, param: str, depth: int) -> Matches:
    if not isinstance(parts, list) or not 1 <= len(parts) <= MAX_PARTS or depth >= MAX_DEPTH:
        raise _wrong(param, f"{kind} takes 1 to {MAX_PARTS} filters, {MAX_DEPTH} deep at most")
    tests = [read_filter(one, param, depth + 1) for one in parts]
    join = all if kind == "and" else any
    return lambda one: join(test(one) for test in tests)


def _is_comparable(left: Any, right: Any) -> bool:
    """A text with a text, a number with a number."""
    return isinstance(left, str) == isinstance(right, str) and isinstance(left, Scalar)


def _wrong(param: str, detail: str) -> Exception:
    return fault("parameter_invalid", detail=f"{param}: {detail}.", param=param)
