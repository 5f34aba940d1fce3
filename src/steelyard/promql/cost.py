"""What a query will take, roughly: how many numbers are looked at. Values in, values out."""

from collections.abc import Callable

from steelyard.promql.nodes import Aggregation, Binary, Call, Matcher, Negation, Node, Paren, Range, Selector, Subquery

#: How far apart samples usually are.
SPACING_MS = 15_000
#: Most functions of a window look at its ends; the others look at each sample, many at once.
WINDOW_DISCOUNT = 20

Count = Callable[[tuple[Matcher, ...]], int]


def estimate_cost(node: Node, steps: int, span_ms: int, count: Count, subquery_step_ms: int = 60_000) -> float:
    """Numbers that are looked at.

    Args:
        steps: at which the query is evaluated.
        span_ms: from the first to the last.
        count: how many series a selector means.
    """

    def of(one: Node, steps: float, span_ms: float) -> float:
        match one:
            case Selector():
                return count(one.matchers) * (steps + span_ms / SPACING_MS)
            case Range():
                window = one.range / SPACING_MS
                load = (span_ms + one.range) / SPACING_MS
                return count(one.selector.matchers) * (load + steps * (1 + window / WINDOW_DISCOUNT))
            case Subquery():
                grid = (span_ms + one.range) / (one.step or subquery_step_ms)
                return (
                    of(one.expr, grid, span_ms + one.range)
                    + steps * (one.range / (one.step or subquery_step_ms)) / WINDOW_DISCOUNT
                )
            case Paren() | Negation():
                return of(one.expr, steps, span_ms)
            case Call():
                return sum(of(arg, steps, span_ms) for arg in one.args)
            case Aggregation():
                return of(one.expr, steps, span_ms) + (0 if one.param is None else of(one.param, steps, span_ms))
            case Binary():
                return of(one.left, steps, span_ms) + of(one.right, steps, span_ms)
            case _:
                return steps

    return of(node, steps, span_ms)
