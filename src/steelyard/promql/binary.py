"""Operators between two expressions. Source: prometheus.md 5.4 and 5.5."""

from collections.abc import Callable

import numpy as np

from steelyard.promql.context import Context
from steelyard.promql.errors import QueryError
from steelyard.promql.invocation import drop_names, merge_same
from steelyard.promql.labels import NAME, Labels, get, make_labels, only, show, without
from steelyard.promql.nodes import Binary, Matching
from steelyard.promql.values import Bools, Floats, Scalar, Value, Vector, anywhere, concat, empty, pick

ARITHMETIC: dict[str, Callable[[Floats, Floats], Floats]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
    "atan2": np.arctan2,
}
COMPARISONS: dict[str, Callable[[Floats, Floats], Bools]] = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}
SETS = frozenset({"and", "or", "unless"})


def calculate(node: Binary, left: Value, right: Value, context: Context) -> Value:
    """An operator's result.

    Raises:
        QueryError: the sides do not find each other in one way.
    """
    if isinstance(left, Scalar) and isinstance(right, Scalar):
        return Scalar(_numbers(node.op, left.values, right.values))
    if isinstance(left, Vector) and isinstance(right, Scalar):
        return _with_scalar(node, left, right.values, context, is_left=True)
    if isinstance(left, Scalar) and isinstance(right, Vector):
        return _with_scalar(node, right, left.values, context, is_left=False)
    assert isinstance(left, Vector)
    assert isinstance(right, Vector)
    if node.op in SETS:
        return _SET_OPERATORS[node.op](node.matching, left, right)
    return _match(node, left, right, context)


def _numbers(op: str, left: Floats, right: Floats) -> Floats:
    if op in COMPARISONS:
        return COMPARISONS[op](left, right).astype(float)
    return ARITHMETIC[op](left, right)


def _with_scalar(node: Binary, vector: Vector, numbers: Floats, context: Context, *, is_left: bool) -> Vector:
    sides = (vector.values, numbers) if is_left else (numbers, vector.values)
    if node.op not in COMPARISONS:
        return drop_names(Vector(vector.labels, ARITHMETIC[node.op](*sides), vector.present, vector.drops), context)
    holds = COMPARISONS[node.op](*sides)
    if node.returns_bool:
        return drop_names(Vector(vector.labels, holds.astype(float), vector.present, vector.drops), context)
    # what is compared is kept as it is
    return Vector(vector.labels, vector.values, vector.present & holds, vector.drops)


# keys


def _keys(matching: Matching, vector: Vector) -> list[Labels]:
    names = frozenset(matching.names)
    if matching.is_on:
        return [only(labels, names) for labels in vector.labels]
    return [without(labels, names | {NAME}) for labels in vector.labels]


def _rows_by_key(keys: list[Labels]) -> dict[Labels, list[int]]:
    rows: dict[Labels, list[int]] = {}
    for row, key in enumerate(keys):
        rows.setdefault(key, []).append(row)
    return rows


# sets


def _there(vector: Vector, rows: list[int], steps: int) -> Bools:
    """Where any of these series is there."""
    if not rows:
        return np.zeros(steps, dtype=bool)
    found: Bools = anywhere(vector.present[rows], axis=0)
    return found


def _and(matching: Matching, left: Vector, right: Vector) -> Vector:
    return _kept(matching, left, right, is_there=True)


def _unless(matching: Matching, left: Vector, right: Vector) -> Vector:
    return _kept(matching, left, right, is_there=False)


def _kept(matching: Matching, left: Vector, right: Vector, *, is_there: bool) -> Vector:
    if not len(left):
        return left
    steps = left.values.shape[1]
    rows = _rows_by_key(_keys(matching, right))
    there = np.array([_there(right, rows.get(key, []), steps) for key in _keys(matching, left)])
    present = left.present & (there if is_there else ~there)
    return pick(Vector(left.labels, left.values, present, left.drops), np.flatnonzero(anywhere(present, axis=1)))


def _or(matching: Matching, left: Vector, right: Vector) -> Vector:
    if not len(left) or not len(right):
        return left if len(left) else right
    rest = _kept(matching, right, left, is_there=False)
    return merge_same(concat([left, rest], left.values.shape[1]))


_SET_OPERATORS: dict[str, Callable[[Matching, Vector, Vector], Vector]] = {"and": _and, "or": _or, "unless": _unless}


# pairs


def _match(node: Binary, left: Vector, right: Vector, context: Context) -> Vector:
    """Each series of the many side with its partner on the one side."""
    steps = left.values.shape[1]
    if not len(left) or not len(right):
        return empty(steps)
    matching = node.matching
    is_swapped = matching.card == "one-to-many"
    many, one = (right, left) if is_swapped else (left, right)
    many_keys, one_keys = _keys(matching, many), _keys(matching, one)
    ones = _rows_by_key(one_keys)
    # where one of the sides has nothing at all, nothing is wrong either
    both = anywhere(many.present, axis=0) & anywhere(one.present, axis=0)
    _check_ones(ones, one, both, "left" if is_swapped else "right")
    labels, values, present, drops, sources = [], [], [], [], []
    for row, key in enumerate(many_keys):
        for partner in ones.get(key, ()):
            there = many.present[row] & one.present[partner]
            if not there.any():
                continue
            value, holds = _pair(node, many.values[row], one.values[partner], is_swapped=is_swapped)
            there = there & holds
            labels.append(_result_labels(node, many.labels[row], one.labels[partner]))
            values.append(value)
            present.append(there)
            drops.append(many.drops[row])
            sources.append((key, many.present[row] & one.present[partner]))
    if not labels:
        return empty(steps)
    if matching.card == "one-to-one":
        _check_many(sources)
    made = Vector(tuple(labels), np.array(values), np.array(present), np.array(drops, dtype=bool))
    return _finish(node, made, context, np.array([there for _, there in sources]))


def _pair(node: Binary, many: Floats, one: Floats, *, is_swapped: bool) -> tuple[Floats, Bools]:
    """The values of a pair, and where it is kept."""
    sides = (one, many) if is_swapped else (many, one)
    if node.op not in COMPARISONS:
        return ARITHMETIC[node.op](*sides), np.ones(len(many), dtype=bool)
    holds = COMPARISONS[node.op](*sides)
    if node.returns_bool:
        return holds.astype(float), np.ones(len(many), dtype=bool)
    # a comparison keeps the left side's value
    return sides[0], holds


def _check_ones(ones: dict[Labels, list[int]], one: Vector, both: Bools, side: str) -> None:
    """Whether each key is there but once on the one side.

    Raises:
        QueryError: it is not.
    """
    for key, rows in ones.items():
        if len(rows) < 2:
            continue
        there = one.present[rows] & both
        steps = np.flatnonzero(there.sum(axis=0) > 1)
        if len(steps):
            first, second = np.flatnonzero(there[:, steps[0]])[:2]
            told = ", ".join(show(labels) for labels in sorted(one.labels[rows[number]] for number in (first, second)))
            raise QueryError(
                f"found duplicate series for the match group {show(key)} on the {side} hand-side of the operation: "
                f"[{told}];many-to-many matching not allowed: matching labels must be unique on one side"
            )


def _check_many(sources: list[tuple[Labels, Bools]]) -> None:
    """Whether each key has one pair at each step.

    Raises:
        QueryError: it has more, and nobody said which side is the many one.
    """
    seen: dict[Labels, Bools] = {}
    for key, there in sources:
        known = seen.get(key)
        if known is not None and (known & there).any():
            raise QueryError(
                "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
            )
        seen[key] = there if known is None else known | there


def _result_labels(node: Binary, many: Labels, one: Labels) -> Labels:
    matching = node.matching
    if matching.card == "one-to-one":
        names = frozenset(matching.names)
        if matching.is_on:
            keeps = names | ({NAME} if node.op in COMPARISONS and not node.returns_bool else frozenset())
            return only(many, keeps)
        return without(many, names)
    labels = dict(many)
    for name in matching.include:
        labels[name] = get(one, name)
    return make_labels(labels)


def _finish(node: Binary, made: Vector, context: Context, there: Bools) -> Vector:
    """The result's names, and whether two results have the same labels."""
    keeps_name = node.op in COMPARISONS and not node.returns_bool
    if keeps_name:
        if node.matching.is_on and node.matching.card == "one-to-one":
            names = frozenset(node.matching.names)
            if NAME not in names:
                made = Vector(
                    tuple(without(one, frozenset({NAME})) for one in made.labels), made.values, made.present, made.drops
                )
    elif not context.options.delays_names or node.matching.is_on:
        if NAME not in node.matching.names or not node.matching.is_on:
            made = Vector(
                tuple(without(one, frozenset({NAME})) for one in made.labels), made.values, made.present, made.drops
            )
    else:
        made = Vector(made.labels, made.values, made.present, np.ones(len(made), dtype=bool))
    if node.matching.card != "one-to-one":
        _check_results(made, there)
    return merge_same(made)


def _check_results(made: Vector, there: Bools) -> None:
    """Raises where results of group_left or group_right cannot be told apart, be they kept by a filter or not."""
    for rows in _rows_by_key(list(made.labels)).values():
        if len(rows) > 1 and (there[rows].sum(axis=0) > 1).any():
            raise QueryError("multiple matches for labels: grouping labels must ensure unique matches")
