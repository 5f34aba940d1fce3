"""Functions of labels."""

import re
from collections.abc import Callable

import numpy as np

from steelyard.promql.errors import QueryError
from steelyard.promql.invocation import Body, Invocation, merge_same
from steelyard.promql.labels import NAME, Labels, get, make_labels, quote
from steelyard.promql.parse import compile_pattern
from steelyard.promql.values import Value, Vector

_PLACE = re.compile(r"\$(?:\$|(\w+)|\{(\w+)\})")


def check_name(name: str) -> str:
    """A label's name.

    Raises:
        QueryError: it is none.
    """
    if not name or any("\ud800" <= one <= "\udfff" for one in name):
        raise QueryError(f"invalid label name {quote(name)}")
    return name


def _replace(call: Invocation) -> Value:
    goal, template, source, pattern = (call.text(index) for index in range(1, 5))
    try:
        matching = compile_pattern(pattern)
    except QueryError:
        raise QueryError(f"invalid regular expression in label_replace(): {pattern}") from None
    try:
        check_name(goal)
    except QueryError:
        raise QueryError(f"invalid destination label name in label_replace(): {goal}") from None

    def change(labels: Labels) -> str | None:
        found = matching.match(get(labels, source))
        return None if found is None else expand(template, found)

    return _relabelled(call.vector(), goal, change)


def expand(template: str, found: "re.Match[str]") -> str:
    """A template with what was found in the places `$1`, `${name}`; `$$` is a dollar sign."""

    def fill(place: "re.Match[str]") -> str:
        name = place[1] or place[2]
        if name is None:
            return "$"
        try:
            return found.group(int(name) if name.isdigit() else name) or ""
        except (IndexError, KeyError):
            return ""

    return _PLACE.sub(fill, template)


def _join(call: Invocation) -> Value:
    goal, separator = call.text(1), call.text(2)
    sources = [call.text(index) for index in range(3, len(call.args))]
    for name in sources:
        if not name:
            raise QueryError(f"invalid source label name in label_join(): {name}")
    try:
        check_name(goal)
    except QueryError:
        raise QueryError(f"invalid destination label name in label_join(): {goal}") from None
    return _relabelled(call.vector(), goal, lambda labels: separator.join(get(labels, name) for name in sources))


def _relabelled(vector: Vector, goal: str, change: Callable[[Labels], str | None]) -> Vector:
    labels, drops = [], vector.drops.copy()
    for row, one in enumerate(vector.labels):
        value = change(one)
        if value is None:
            labels.append(one)
            continue
        labels.append(make_labels({**dict(one), goal: value}))
        if goal == NAME:
            # a name that is given anew stays
            drops[row] = False
    return merge_same(Vector(tuple(labels), vector.values, vector.present, np.asarray(drops)))


FUNCTIONS: dict[str, Body] = {"label_replace": _replace, "label_join": _join}
