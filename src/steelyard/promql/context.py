"""What one evaluation knows and counts: its bounds, its port to the samples, its budget, its notes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from steelyard.promql.errors import QueryError
from steelyard.promql.nodes import Matcher
from steelyard.promql.values import Cohort

LOOKBACK_MS = 300_000
SUBQUERY_STEP_MS = 60_000
MAX_SAMPLES = 50_000_000
MAX_NOTES = 10


class Samples(Protocol):
    """Where samples are."""

    def select(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> list[Cohort]:
        """The samples of all series that match, from `start_ms` to `end_ms`, both included."""
        ...


def _nothing() -> None:
    """Is always in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How queries are evaluated."""

    lookback_ms: int = LOOKBACK_MS
    subquery_step_ms: int = SUBQUERY_STEP_MS
    max_samples: int = MAX_SAMPLES
    #: Whether a name that is dropped goes only at the end, so that functions of names still see it.
    delays_names: bool = False
    experimental: bool = False


@dataclass(slots=True)
class Context:
    """One evaluation."""

    samples: Samples
    start_ms: int
    end_ms: int
    is_range: bool
    options: Options = field(default_factory=Options)
    #: Raises once the query's time is over, or whoever asked has left.
    check: Callable[[], None] = _nothing
    count: int = 0
    #: Warnings and infos, in the order of their coming, each once.
    warnings: dict[str, None] = field(default_factory=dict)
    infos: dict[str, None] = field(default_factory=dict)

    def take(self, samples: int) -> None:
        """Counts samples that are held.

        Raises:
            QueryError: the query holds more than it may.
        """
        self.count += samples
        if self.count > self.options.max_samples:
            raise QueryError("query processing would load too many samples into memory in query execution")
        self.check()

    def warn(self, text: str) -> None:
        """Notes a warning."""
        self.warnings["PromQL warning: " + text] = None

    def inform(self, text: str) -> None:
        """Notes what may be of interest."""
        self.infos["PromQL info: " + text] = None
