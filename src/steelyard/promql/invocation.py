"""A function's call with its arguments evaluated, and what bodies of functions share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from steelyard.promql.context import Context
from steelyard.promql.errors import QueryError
from steelyard.promql.labels import Labels, drop_name
from steelyard.promql.nodes import Call
from steelyard.promql.values import Bools, Floats, Matrix, Scalar, String, Times, Value, Vector, anywhere

SAME_LABELS = "vector cannot contain metrics with the same labelset"


@dataclass(frozen=True, slots=True, eq=False)
class Invocation:
    """One call at the steps of its query."""

    context: Context
    node: Call
    args: tuple[Value, ...]
    steps: Times

    def vector(self, index: int = 0) -> Vector:
        """An argument that is a vector."""
        value = self.args[index]
        assert isinstance(value, Vector)
        return value

    def matrix(self, index: int = 0) -> Matrix:
        """An argument that is a matrix."""
        value = self.args[index]
        assert isinstance(value, Matrix)
        return value

    def numbers(self, index: int) -> Floats:
        """An argument that is a scalar, at each step."""
        value = self.args[index]
        assert isinstance(value, Scalar)
        return value.values

    def text(self, index: int) -> str:
        """An argument that is a string."""
        value = self.args[index]
        assert isinstance(value, String)
        return value.value

    def nameless(self, vector: Vector, values: Floats, present: Bools | None = None) -> Vector:
        """A vector with other values, whose names are dropped."""
        present = vector.present if present is None else present
        return drop_names(Vector(vector.labels, values, present, vector.drops), self.context)


#: What a function does.
Body: TypeAlias = Callable[[Invocation], Value]


def drop_names(vector: Vector, context: Context) -> Vector:
    """A vector without its names: marked for the end, or dropped now.

    Raises:
        QueryError: two series have the same labels then.
    """
    if context.options.delays_names:
        return Vector(vector.labels, vector.values, vector.present, np.ones(len(vector), dtype=bool))
    return merge_same(
        Vector(tuple(drop_name(one) for one in vector.labels), vector.values, vector.present, vector.drops)
    )


def finish_names(vector: Vector) -> Vector:
    """A vector whose marked names are dropped in the end.

    Raises:
        QueryError: two series have the same labels then.
    """
    labels = tuple(drop_name(one) if drops else one for one, drops in zip(vector.labels, vector.drops, strict=True))
    return merge_same(Vector(labels, vector.values, vector.present, np.zeros(len(labels), dtype=bool)))


def merge_same(vector: Vector, text: str = SAME_LABELS) -> Vector:
    """A vector in which series with the same labels are one; they may not be there at the same step.

    Raises:
        QueryError: they are.
    """
    rows: dict[Labels, list[int]] = {}
    for row, labels in enumerate(vector.labels):
        rows.setdefault(labels, []).append(row)
    if len(rows) == len(vector.labels):
        return vector
    values, present, drops = [], [], []
    for same in rows.values():
        there = vector.present[same]
        if (there.sum(axis=0) > 1).any():
            raise QueryError(text)
        values.append(
            np.where(there, vector.values[same], 0.0).sum(axis=0) if len(same) > 1 else vector.values[same[0]]
        )
        present.append(anywhere(there, axis=0))
        drops.append(vector.drops[same].any())
    return Vector(tuple(rows), np.array(values), np.array(present), np.array(drops, dtype=bool))
