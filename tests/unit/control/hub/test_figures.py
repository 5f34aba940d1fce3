"""Figures from answers of PromQL, and which model is first."""

from typing import Any

import pytest

from steelyard.base.errors import Fault
from steelyard.control.hub.figures import ORDERS, WINDOWS, get_queries, rank, read_figures
from steelyard.promql.parse import parse


def _vector(**values: str) -> dict[str, Any]:
    return {
        "resultType": "vector",
        "result": [{"metric": {"model": one}, "value": [0, text]} for one, text in values.items()],
    }


ANSWERS = {
    "answers": _vector(a="10", b="3"),
    "first": _vector(a="0.5", b="0.2", c="NaN"),
    "errors": _vector(a="0", b="0.25"),
    "speed": _vector(a="80", b="+Inf"),
    "price": {"result": [{"metric": {"model": "a", "currency": "CNY"}, "value": [0, "0.002"]}]},
}


def test_what_is_no_number_is_left_out() -> None:
    found = read_figures(ANSWERS)
    assert set(found) == {"a", "b"}
    assert (found["a"].answers, found["a"].speed, found["a"].price) == (10, 80, {"CNY": 0.002})
    assert (found["b"].speed, found["b"].price) == (None, {})


@pytest.mark.parametrize(
    ("order", "first"), [("answers", "a"), ("first", "b"), ("errors", "a"), ("speed", "a"), ("price", "a")]
)
def test_the_best_is_first(order: str, first: str) -> None:
    assert rank(read_figures(ANSWERS), order)[0].model == first


@pytest.mark.parametrize("window", WINDOWS)
def test_queries_are_promql(window: str) -> None:
    queries = get_queries(window)
    assert tuple(queries) == ORDERS
    for query in queries.values():
        parse(query)
        assert f"[{window}]" in query


def test_windows_are_few() -> None:
    with pytest.raises(Fault):
        get_queries("1h]) or vector(1) or sum(increase(x[1h")
