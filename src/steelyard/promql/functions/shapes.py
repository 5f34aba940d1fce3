"""Functions that turn kinds of values into each other, put them in an order, or tell that nothing is there."""

import re

import numpy as np

from steelyard.promql.invocation import Body, Invocation
from steelyard.promql.labels import NAME, Labels, drop_name, get, make_labels
from steelyard.promql.nodes import EQUAL, Node, Range, Selector, unwrap
from steelyard.promql.values import Scalar, Value, Vector, anywhere, pick

_DIGITS = re.compile(r"(\d+)")


def _vector(call: Invocation) -> Value:
    values = call.numbers(0)
    return Vector(((),), values[None, :], np.ones((1, len(values)), dtype=bool), np.zeros(1, dtype=bool))


def _scalar(call: Invocation) -> Value:
    vector = call.vector()
    if not len(vector):
        return Scalar(np.full(len(call.steps), np.nan))
    only = vector.present.sum(axis=0) == 1
    return Scalar(np.where(only, np.where(vector.present, vector.values, 0.0).sum(axis=0), np.nan))


def _sorted(sign: int) -> Body:
    def body(call: Invocation) -> Value:
        vector = call.vector()
        if call.context.is_range:
            call.context.warn(INEFFECTIVE)
            return vector
        # NaN comes last, whichever way
        keys = vector.values[:, 0]
        return pick(
            vector, np.lexsort((sign * np.nan_to_num(keys, nan=0.0, posinf=np.inf, neginf=-np.inf), np.isnan(keys)))
        )

    return body


INEFFECTIVE = "sort is ineffective for range queries since results are always ordered by labels"


def _sorted_by_label(is_down: bool) -> Body:
    def body(call: Invocation) -> Value:
        vector = call.vector()
        if call.context.is_range:
            call.context.warn(INEFFECTIVE)
            return vector
        names = [call.text(index) for index in range(1, len(call.args))]

        def key(row: int) -> tuple[object, ...]:
            labels = vector.labels[row]
            return (*(natural(get(labels, name)) for name in names), labels)

        return pick(vector, sorted(range(len(vector)), key=key, reverse=is_down))

    return body


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """A key by which `node2` comes before `node10`."""
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in _DIGITS.split(text) if part)


def _absent(call: Invocation) -> Value:
    there = anywhere(call.vector().present, axis=0) if len(call.vector()) else np.zeros(len(call.steps), dtype=bool)
    return _nothing_there(call, there)


def _absent_over_time(call: Invocation) -> Value:
    there = np.zeros(len(call.steps), dtype=bool)
    for windows in call.matrix().windows:
        there |= windows.counts > 0
    return _nothing_there(call, there)


def _nothing_there(call: Invocation, there: "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]") -> Vector:
    labels = labels_of_absent(call.node.args[0])
    return Vector((labels,), np.ones((1, len(there))), ~there[None, :], np.zeros(1, dtype=bool))


def labels_of_absent(node: Node) -> Labels:
    """What can be said of series that are not there: the labels that a selector asks for, each but once."""
    node = unwrap(node)
    if isinstance(node, Range):
        node = node.selector
    if not isinstance(node, Selector):
        return ()
    wanted: dict[str, str] = {}
    unsure: set[str] = set()
    for matcher in node.matchers:
        if matcher.name == NAME or matcher.is_imposed:
            continue
        if matcher.op == EQUAL and matcher.name not in wanted:
            wanted[matcher.name] = matcher.value
        else:
            unsure.add(matcher.name)
    return make_labels((name, value) for name, value in wanted.items() if name not in unsure)


def _timestamp(call: Invocation) -> Value:
    # of a bare selector the evaluator has put the samples' own times in place of the values
    return call.nameless(call.vector(), call.vector().values)


FUNCTIONS: dict[str, Body] = {
    "vector": _vector,
    "scalar": _scalar,
    "sort": _sorted(1),
    "sort_desc": _sorted(-1),
    "sort_by_label": _sorted_by_label(is_down=False),
    "sort_by_label_desc": _sorted_by_label(is_down=True),
    "absent": _absent,
    "absent_over_time": _absent_over_time,
    "timestamp": _timestamp,
}
__all__ = ["FUNCTIONS", "drop_name", "labels_of_absent", "natural"]
