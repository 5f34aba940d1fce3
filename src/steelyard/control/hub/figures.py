"""What own traffic says of models: the queries, and what their answers mean. Whoever runs the same PromQL gets the same figures."""

from collections.abc import Mapping
from typing import Any

import msgspec

from steelyard.base.errors import fault

#: How far back it is looked.
WINDOWS = ("1h", "1d", "7d", "30d")
ANSWERS, FIRST, ERRORS, SPEED, PRICE = "answers", "first", "errors", "speed", "price"
#: name -> PromQL; `$w` is the window. Seconds to the first token and tokens a second are medians of streamed calls.
_QUERIES = {
    ANSWERS: 'sum by (model) (increase(llm_requests_total{status_code="200"}[$w])) > 0',
    FIRST: "histogram_quantile(0.5, sum by (le, model) (increase(llm_time_to_first_token_seconds_bucket[$w])))",
    # models that never failed, or never answered, have a figure too
    ERRORS: '1 - (sum by (model) (increase(llm_requests_total{status_code="200"}[$w]))'
    " or sum by (model) (increase(llm_requests_total[$w])) * 0)"
    " / (sum by (model) (increase(llm_requests_total[$w])) > 0)",
    SPEED: "1 / histogram_quantile(0.5, sum by (le, model) (increase(llm_time_per_output_token_seconds_bucket[$w])))",
    PRICE: "sum by (model, currency) (increase(llm_cost_total[$w]))"
    ' / on (model) group_left sum by (model) (increase(llm_requests_total{status_code="200"}[$w]))',
}
#: Which end of each is the better one.
_BEST_FIRST = {ANSWERS: -1, FIRST: 1, ERRORS: 1, SPEED: -1, PRICE: 1}
ORDERS = tuple(_QUERIES)


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Of one model; None where traffic says nothing.

    Args:
        answers: calls that were answered.
        first_s: the median time to the first token.
        errors: the share of calls that failed.
        speed: tokens a second after the first.
        price: what a successful answer costs, by currency, in its units.
    """

    model: str
    answers: float | None = None
    first_s: float | None = None
    errors: float | None = None
    speed: float | None = None
    price: dict[str, float] = {}

    def of(self, name: str) -> float | None:
        """One of them by its query's name; of several currencies the first."""
        values = {ANSWERS: self.answers, FIRST: self.first_s, ERRORS: self.errors, SPEED: self.speed}
        return next(iter(self.price.values()), None) if name == PRICE else values[name]


def get_queries(window: str) -> dict[str, str]:
    """The queries by name.

    Raises:
        Fault: the window is not one of those that there are.
    """
    if window not in WINDOWS:
        raise fault("parameter_invalid", detail=f"window is one of {', '.join(WINDOWS)}.", param="window")
    return {name: query.replace("$w", window) for name, query in _QUERIES.items()}


def read_figures(answers: Mapping[str, Any]) -> dict[str, Figures]:
    """Answers of the HTTP API, by the names of their queries, as figures by model."""
    values = {name: _by_model(data) for name, data in answers.items()}
    models = sorted({model for found in values.values() for model in found})
    return {
        model: Figures(
            model=model,
            answers=_only(values[ANSWERS], model),
            first_s=_only(values[FIRST], model),
            errors=_only(values[ERRORS], model),
            speed=_only(values[SPEED], model),
            price=values[PRICE].get(model, {}),
        )
        for model in models
    }


def rank(figures: Mapping[str, Figures], order: str) -> list[Figures]:
    """The best first; those of whom nothing is known last."""

    def place(one: Figures) -> tuple[bool, float, str]:
        value = one.of(order)
        return value is None, (value or 0.0) * _BEST_FIRST[order], one.model

    return sorted(figures.values(), key=place)


def _by_model(data: Any) -> dict[str, dict[str, float]]:
    """model -> currency, or nothing -> value; what is no number is left out."""
    found: dict[str, dict[str, float]] = {}
    for one in data["result"]:
        value = float(one["value"][1])
        if value == value and abs(value) != float("inf"):
            found.setdefault(one["metric"].get("model", ""), {})[one["metric"].get("currency", "")] = value
    return found


def _only(found: Mapping[str, dict[str, float]], model: str) -> float | None:
    return next(iter(found.get(model, {}).values()), None)
