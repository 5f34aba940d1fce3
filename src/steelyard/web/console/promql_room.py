"""PromQL: a query as a table and as a plot. The browser asks the API itself, with a token that reads metrics alone."""

from starlette.responses import Response

from steelyard.canon.members import DEVELOPER
from steelyard.control import tokens
from steelyard.control.tokens import Narrowing
from steelyard.web.answers import secret_answer
from steelyard.web.console.callers import Callers
from steelyard.web.console.pages import Pages
from steelyard.web.console.reception import Act
from steelyard.web.console.visit import Visit

RANGES = ("15m", "1h", "6h", "1d", "7d")
#: What most people ask first; shown with a text in the catalogue.
EXAMPLES = (
    ("calls", "sum by (model) (rate(llm_requests_total[5m]))"),
    ("tokens", "sum by (model, usage_type) (increase(llm_usage_total[1h]))"),
    ("slow", "histogram_quantile(0.95, sum by (le, model) (rate(llm_request_duration_seconds_bucket[5m])))"),
    ("failed", 'sum by (error_code) (increase(llm_requests_total{status_code!="200"}[1h]))'),
)


class PromqlRoom:
    """The explorer."""

    def __init__(self, callers: Callers, pages: Pages) -> None:
        self._callers = callers
        self._pages = pages
        self.acts = (
            Act("GET", "/console/promql", self.show, DEVELOPER),
            Act("POST", "/console/promql/token", self.mint, DEVELOPER),
        )

    async def show(self, visit: Visit) -> Response:
        return self._pages.render(
            visit,
            "promql.html",
            keys=await self._callers.list_usable(visit),
            ranges=RANGES,
            examples=EXAMPLES,
            query=visit.query.get("q", ""),
            chosen=visit.query.get("range", "1h"),
        )

    async def mint(self, visit: Visit) -> Response:
        """A token that reads the workspace's metrics."""
        return secret_answer(tokens.show_token(await self._callers.mint(visit, Narrowing(operations=("metrics",)))))
