"""Evaluation: an expression over all steps of a query at once, part by part. Source: prometheus.md 5."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from steelyard.promql.aggregate import aggregate
from steelyard.promql.binary import calculate
from steelyard.promql.context import Context, Options, Samples, _nothing
from steelyard.promql.errors import BAD_DATA, QueryError
from steelyard.promql.functions import FUNCTIONS
from steelyard.promql.invocation import Invocation, drop_names, finish_names
from steelyard.promql.labels import Labels
from steelyard.promql.nodes import (
    END,
    START,
    Aggregation,
    At,
    Binary,
    Call,
    Negation,
    Node,
    Number,
    Paren,
    Range,
    Selector,
    Subquery,
    Text,
    unwrap,
    walk,
)
from steelyard.promql.values import Cohort, Matrix, Scalar, String, Times, Value, Vector, anywhere
from steelyard.promql.windows import cut_windows, look_back

MAX_POINTS = 11_000
#: Functions whose results have an order of their own.
_ORDERED = frozenset({"sort", "sort_desc", "sort_by_label", "sort_by_label_desc"})
_ORDERED_AGGREGATIONS = frozenset({"topk", "bottomk"})
#: Functions whose result depends on the time of evaluation, whatever their arguments.
_OF_TIME = frozenset(
    {"time", "minute", "hour", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month", "year", "timestamp", "predict_linear"}
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What came of a query: its value at the steps, and what is to be said of it."""

    value: Value
    steps: Times
    warnings: tuple[str, ...]
    infos: tuple[str, ...]
    #: How many samples were held for it.
    samples: int = 0


def query_instant(
    node: Node, samples: Samples, at_ms: int, options: Options | None = None, check: Callable[[], None] = _nothing
) -> Result:
    """An expression at one time.

    Raises:
        QueryError: it cannot be answered.
    """
    context = Context(samples, at_ms, at_ms, is_range=False, options=options or Options(), check=check)
    return _query(node, context, np.array([at_ms], dtype=np.int64))


def query_range(
    node: Node,
    samples: Samples,
    start_ms: int,
    end_ms: int,
    step_ms: int,
    options: Options | None = None,
    check: Callable[[], None] = _nothing,
) -> Result:
    """An expression at all steps from `start_ms` to `end_ms`.

    Raises:
        QueryError: it cannot be answered, or gives no vector or scalar.
    """
    if step_ms < 1:
        raise QueryError(
            "zero or negative query resolution step widths are not accepted. Try a positive integer", BAD_DATA
        )
    if (end_ms - start_ms) // step_ms > MAX_POINTS - 1 + 1:
        raise QueryError(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
            BAD_DATA,
        )
    if isinstance(unwrap(node), Text | Range | Subquery):
        kind = "string" if isinstance(unwrap(node), Text) else "range vector"
        raise QueryError(
            f'invalid expression type "{kind}" for range query, must be Scalar or instant Vector', BAD_DATA
        )
    context = Context(samples, start_ms, end_ms, is_range=True, options=options or Options(), check=check)
    return _query(node, context, np.arange(start_ms, end_ms + 1, step_ms, dtype=np.int64))


def _query(node: Node, context: Context, steps: Times) -> Result:
    with np.errstate(all="ignore"):
        value = _Evaluation(context).of(node, steps)
        if isinstance(value, Vector):
            value = _ordered(node, finish_names(_there(value)), context)
    return Result(value, steps, tuple(context.warnings), tuple(context.infos), context.count)


def _there(vector: Vector) -> Vector:
    """A vector without series that are nowhere there."""
    from steelyard.promql.values import pick

    kept = anywhere(vector.present, axis=1)
    return vector if kept.all() else pick(vector, np.flatnonzero(kept))


def _ordered(node: Node, vector: Vector, context: Context) -> Vector:
    """Series by their labels, where the expression gives them no order of its own."""
    from steelyard.promql.values import pick

    node = unwrap(node)
    if not context.is_range:
        if isinstance(node, Call) and node.function in _ORDERED:
            return vector
        if isinstance(node, Aggregation) and node.op in _ORDERED_AGGREGATIONS:
            return vector
    return pick(vector, sorted(range(len(vector)), key=lambda row: vector.labels[row]))


def is_constant(node: Node) -> bool:
    """Whether an expression gives the same at every step."""
    node = unwrap(node)
    if isinstance(node, Selector):
        return node.at is not None
    if isinstance(node, Range):
        return node.selector.at is not None
    if isinstance(node, Subquery):
        return node.at is not None
    if isinstance(node, Call):
        return node.function not in _OF_TIME and all(is_constant(one) for one in node.args)
    if isinstance(node, Number | Text):
        return True
    if isinstance(node, Aggregation):
        return is_constant(node.expr) and (node.param is None or is_constant(node.param))
    if isinstance(node, Binary):
        return is_constant(node.left) and is_constant(node.right)
    assert isinstance(node, Negation)
    return is_constant(node.expr)


class _Evaluation:
    """Goes through one expression. Methods take a part and the steps that it is wanted at."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._loaded: dict[tuple[Any, ...], list[Cohort]] = {}

    def of(self, node: Node, steps: Times) -> Value:
        """A part's value at the steps; one that is the same at all of them is worked out once."""
        self._context.check()
        if len(steps) > 1 and isinstance(node, Call | Aggregation | Binary | Selector) and is_constant(node):
            return self._spread(self._of(node, steps[:1]), len(steps))
        return self._of(node, steps)

    def _of(self, node: Node, steps: Times) -> Value:
        return _PARTS[type(node)](self, node, steps)

    @staticmethod
    def _spread(value: Value, count: int) -> Value:
        if isinstance(value, Scalar):
            return Scalar(np.broadcast_to(value.values, (count,)))
        if isinstance(value, Vector):
            shape = (len(value), count)
            return Vector(
                value.labels, np.broadcast_to(value.values, shape), np.broadcast_to(value.present, shape), value.drops
            )
        return value

    def number(self, node: Number, steps: Times) -> Value:
        return Scalar(np.full(len(steps), node.value))

    def text(self, node: Text, _steps: Times) -> Value:
        return String(node.value)

    def paren(self, node: Paren, steps: Times) -> Value:
        return self.of(node.expr, steps)

    def negation(self, node: Negation, steps: Times) -> Value:
        value = self.of(node.expr, steps)
        if isinstance(value, Scalar):
            return Scalar(-value.values)
        assert isinstance(value, Vector)
        return drop_names(Vector(value.labels, -value.values, value.present, value.drops), self._context)

    def selector(self, node: Selector, steps: Times) -> Value:
        return self._instant(node, steps)[0]

    def _instant(self, node: Selector, steps: Times) -> tuple[Vector, "np.ndarray[Any, np.dtype[np.int64]]"]:
        times = self._times(node.offset, node.at, steps)
        lookback = self._context.options.lookback_ms
        cohorts = self._load(node, int(times.min()) - lookback + 1, int(times.max()))
        # what comes of it is as large as all series at all steps
        self._context.take(sum(len(one.labels) for one in cohorts) * len(times))
        return look_back(cohorts, times, lookback)

    def range(self, node: Range, steps: Times) -> Value:
        ends = self._times(node.selector.offset, node.selector.at, steps)
        cohorts = self._load(node.selector, int(ends.min()) - node.range + 1, int(ends.max()))
        self._context.take(sum(len(one.labels) for one in cohorts) * len(ends))
        return Matrix(cut_windows(cohorts, ends, node.range), node.range, {})

    def subquery(self, node: Subquery, steps: Times) -> Value:
        ends = self._times(node.offset, node.at, steps)
        step = node.step or self._context.options.subquery_step_ms
        first = (int(ends.min()) - node.range) // step * step + step
        inner = np.arange(first, int(ends.max()) + 1, step, dtype=np.int64)
        if not len(inner):
            return Matrix((), node.range, {})
        value = self.of(node.expr, inner)
        if isinstance(value, Scalar):
            value = Vector(((),), value.values[None, :], np.ones((1, len(inner)), dtype=bool), np.zeros(1, dtype=bool))
        assert isinstance(value, Vector)
        if not len(value):
            return Matrix((), node.range, {})
        self._context.take(value.values.size)
        drops = dict(zip(value.labels, value.drops.tolist(), strict=True))
        present = None if value.present.all() else np.asarray(value.present)
        cohort = Cohort(value.labels, inner, np.ascontiguousarray(value.values), present)
        return Matrix(cut_windows([cohort], ends, node.range), node.range, drops)

    def _times(self, offset: int, at: At, steps: Times) -> Times:
        """When a selector is looked at."""
        if at is None:
            return steps - offset
        bounds = {START: self._context.start_ms, END: self._context.end_ms}
        fixed = bounds[at] if isinstance(at, str) else at
        return np.full(len(steps), fixed - offset, dtype=np.int64)

    def _load(self, node: Selector, start_ms: int, end_ms: int) -> list[Cohort]:
        key = (node.matchers, start_ms, end_ms)
        found = self._loaded.get(key)
        if found is None:
            found = self._context.samples.select(node.matchers, start_ms, end_ms)
            for cohort in found:
                self._context.take(cohort.values.size)
            self._loaded[key] = found
        return found

    def call(self, node: Call, steps: Times) -> Value:
        if node.function == "timestamp" and isinstance(unwrap(node.args[0]), Selector):
            args: tuple[Value, ...] = (self._stamps(unwrap(node.args[0]), steps),)
        elif node.function == "timestamp":
            vector = self.of(node.args[0], steps)
            assert isinstance(vector, Vector)
            args = (
                Vector(
                    vector.labels, np.broadcast_to(steps / 1000.0, vector.values.shape), vector.present, vector.drops
                ),
            )
        else:
            args = tuple(self.of(one, steps) for one in node.args)
        value = FUNCTIONS[node.function](Invocation(self._context, node, args, steps))
        if isinstance(value, Vector):
            self._context.take(0)
        return value

    def _stamps(self, node: Node, steps: Times) -> Vector:
        """The times of samples in place of their values."""
        assert isinstance(node, Selector)
        vector, stamps = self._instant(node, steps)
        return Vector(vector.labels, stamps / 1000.0, vector.present, vector.drops)

    def aggregation(self, node: Aggregation, steps: Times) -> Value:
        param = None if node.param is None else self.of(node.param, steps)
        vector = self.of(node.expr, steps)
        assert isinstance(vector, Vector)
        return aggregate(node, vector, param, self._context)

    def binary(self, node: Binary, steps: Times) -> Value:
        return calculate(node, self.of(node.left, steps), self.of(node.right, steps), self._context)


_PARTS: dict[type, Callable[[_Evaluation, Any, Times], Value]] = {
    Number: _Evaluation.number,
    Text: _Evaluation.text,
    Paren: _Evaluation.paren,
    Negation: _Evaluation.negation,
    Selector: _Evaluation.selector,
    Range: _Evaluation.range,
    Subquery: _Evaluation.subquery,
    Call: _Evaluation.call,
    Aggregation: _Evaluation.aggregation,
    Binary: _Evaluation.binary,
}


def selectors_of(node: Node) -> list[Selector]:
    """Every selector of an expression."""
    return [one for one in walk(node) if isinstance(one, Selector)]


def raw_samples(matrix: Matrix) -> dict[Labels, tuple[Times, Any]]:
    """The samples that a range selector gives at one time, by their series."""
    found: dict[Labels, tuple[Times, Any]] = {}
    for windows in matrix.windows:
        low, high = int(windows.low[0]), int(windows.high[0])
        if high > low:
            for row, labels in enumerate(windows.labels):
                found[labels] = (windows.times[low:high], windows.values[row, low:high])
    return found
