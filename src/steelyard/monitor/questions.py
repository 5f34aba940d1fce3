"""What is asked of the samples: queries with a deadline, and which series, labels and families there are. A workspace sees its own."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from steelyard.base.jsondoor import encode
from steelyard.monitor.federation import Newest
from steelyard.monitor.frames import MAX_SAMPLES, Wish
from steelyard.monitor.query_pool import QueryPool
from steelyard.monitor.series_store import SeriesStore
from steelyard.monitor.tenants import narrow, own_matcher
from steelyard.promql.answers import notes_of, show_result
from steelyard.promql.context import LOOKBACK_MS, Options
from steelyard.promql.cost import estimate_cost
from steelyard.promql.engine import Result, query_instant, query_range
from steelyard.promql.errors import TIMEOUT, QueryError
from steelyard.promql.labels import Labels
from steelyard.promql.nodes import Matcher, Node
from steelyard.promql.parse import parse
from steelyard.promql.tenancy import restrict_matchers
from steelyard.promql.windows import look_back

#: Queries evaluated at once, in threads and in processes each; more wait.
SLOTS = 2
TIMEOUT_S = 120.0
#: A query that looks at more numbers is evaluated in a process of its own.
HEAVY = 1_000_000.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Who looks, and how.

    Args:
        workspace: the only one whose series are seen; None sees all.
    """

    workspace: str | None
    timeout_s: float = TIMEOUT_S
    lookback_ms: int = LOOKBACK_MS

    def narrow(self, node: Node) -> Node:
        """A query of what may be seen."""
        return narrow(node, self.workspace)

    def narrow_matchers(self, matchers: tuple[Matcher, ...]) -> tuple[Matcher, ...]:
        """A selector of what may be seen."""
        return matchers if self.workspace is None else restrict_matchers(matchers, own_matcher(self.workspace))


@dataclass(frozen=True, slots=True)
class Answer:
    """A query's answer as JSON (`resultType` and `result`), and what is said of it."""

    data: bytes
    is_cut: bool
    warnings: list[str]
    infos: list[str]
    samples: int


@dataclass(frozen=True, slots=True)
class Span:
    """When a query is evaluated; `step_ms` is 0 for one time."""

    start_ms: int
    end_ms: int
    step_ms: int = 0

    @property
    def steps(self) -> int:
        """How often."""
        return (self.end_ms - self.start_ms) // self.step_ms + 1 if self.step_ms else 1


class Questions:
    """Answers them beside the event loop: light ones in threads, heavy ones in processes."""

    def __init__(self, store: SeriesStore) -> None:
        self._store = store
        self._slots = asyncio.Semaphore(SLOTS)
        self._threads = ThreadPoolExecutor(SLOTS, thread_name_prefix="query")
        self._pool = QueryPool(store, SLOTS)

    async def answer(self, query: str, span: Span, view: View, *, limit: int = 0) -> Answer:
        """A query as it is answered to a client.

        Raises:
            QueryError: it cannot be answered, or not in time.
        """
        node = view.narrow(parse(query))
        if await asyncio.to_thread(self._is_heavy, node, span):
            wish = Wish(
                query=query, workspace=view.workspace, start_ms=span.start_ms, end_ms=span.end_ms, step_ms=span.step_ms,
                lookback_ms=view.lookback_ms, limit=limit, give_up_in_s=view.timeout_s,
            )  # fmt: skip
            shown, data = await self._pool.ask(wish)
            return Answer(data, shown.is_cut, shown.warnings, shown.infos, shown.samples)

        def work(check: Callable[[], None]) -> Answer:
            result = self._evaluate(node, span, view, check)
            told, is_cut = show_result(result, is_range=span.step_ms > 0, limit=limit)
            warnings, infos = notes_of(result.warnings, "warning"), notes_of(result.infos, "info")
            return Answer(encode(told), is_cut, warnings, infos, result.samples)

        return await self._run(view, work)

    def _is_heavy(self, node: Node, span: Span) -> bool:
        cost = estimate_cost(node, span.steps, span.end_ms - span.start_ms, self._store.count_matching)
        return cost > HEAVY

    def _evaluate(self, node: Node, span: Span, view: View, check: Callable[[], None]) -> Result:
        options = Options(lookback_ms=view.lookback_ms, max_samples=MAX_SAMPLES)
        if span.step_ms:
            return query_range(node, self._store, span.start_ms, span.end_ms, span.step_ms, options, check)
        return query_instant(node, self._store, span.start_ms, options, check)

    async def ask_instant(self, node: Node, at_ms: int, view: View) -> Result:
        """A query's values at one time; see `answer`."""
        seen, span = view.narrow(node), Span(at_ms, at_ms)
        return await self._run(view, lambda check: self._evaluate(seen, span, view, check))

    async def ask_range(self, node: Node, start_ms: int, end_ms: int, step_ms: int, view: View) -> Result:
        """A query's values over a time; see `answer`."""
        seen, span = view.narrow(node), Span(start_ms, end_ms, step_ms)
        return await self._run(view, lambda check: self._evaluate(seen, span, view, check))

    async def list_series(
        self, selectors: list[tuple[Matcher, ...]], start_ms: int, end_ms: int, view: View
    ) -> list[Labels]:
        """The series that any selector means, by their labels; without a selector, all that may be seen."""
        narrowed = [view.narrow_matchers(one) for one in selectors or [()]]

        def collect(check: Callable[[], None]) -> list[Labels]:
            found: set[Labels] = set()
            for matchers in narrowed:
                check()
                found |= self._store.list_series(matchers, start_ms, end_ms)
            return sorted(found)

        return await self._run(view, collect)

    async def newest(self, selectors: list[tuple[Matcher, ...]], at_ms: int, view: View) -> list[Newest]:
        """The newest sample of every series that any selector means, as a query at a time would see it."""
        narrowed = [view.narrow_matchers(one) for one in selectors]

        def collect(check: Callable[[], None]) -> list[Newest]:
            found: dict[Labels, Newest] = {}
            for matchers in narrowed:
                check()
                cohorts = self._store.select(matchers, at_ms - view.lookback_ms + 1, at_ms)
                vector, stamps = look_back(cohorts, np.array([at_ms], dtype=np.int64), view.lookback_ms)
                for row, labels in enumerate(vector.labels):
                    if vector.present[row, 0]:
                        found[labels] = (labels, int(stamps[row, 0]), float(vector.values[row, 0]))
            return list(found.values())

        return await self._run(view, collect)

    async def _run(self, view: View, work: Callable[[Callable[[], None]], T]) -> T:
        give_up_at = time.monotonic() + view.timeout_s
        try:
            async with asyncio.timeout(view.timeout_s):
                await self._slots.acquire()
        except TimeoutError:
            raise QueryError("query timed out in query queue", TIMEOUT) from None

        def check() -> None:
            if time.monotonic() > give_up_at:
                raise QueryError("query timed out in expression evaluation", TIMEOUT)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, check)
        finally:
            self._slots.release()

    def close(self) -> None:
        """Ends the threads when their queries have ended, and the processes at once."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._pool.close()
