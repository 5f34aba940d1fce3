"""What is asked of the samples: queries with a deadline, and which series, labels and families there are. A workspace sees its own."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from steelyard.monitor.federation import Newest
from steelyard.monitor.series_store import SeriesStore
from steelyard.monitor.tenants import WORKSPACE
from steelyard.promql.context import LOOKBACK_MS, Options
from steelyard.promql.engine import Result, query_instant, query_range
from steelyard.promql.errors import TIMEOUT, QueryError
from steelyard.promql.labels import Labels
from steelyard.promql.nodes import EQUAL, Matcher, Node
from steelyard.promql.tenancy import restrict, restrict_matchers
from steelyard.promql.windows import look_back

#: Queries evaluated at once; more wait.
SLOTS = 2
TIMEOUT_S = 120.0
MAX_SAMPLES = 20_000_000

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
        return node if self.workspace is None else restrict(node, self._matcher())

    def narrow_matchers(self, matchers: tuple[Matcher, ...]) -> tuple[Matcher, ...]:
        """A selector of what may be seen."""
        return matchers if self.workspace is None else restrict_matchers(matchers, self._matcher())

    def _matcher(self) -> Matcher:
        return Matcher(WORKSPACE, EQUAL, self.workspace or "", is_imposed=True)


class Questions:
    """Answers them beside the event loop."""

    def __init__(self, store: SeriesStore) -> None:
        self._store = store
        self._slots = asyncio.Semaphore(SLOTS)
        self._threads = ThreadPoolExecutor(SLOTS, thread_name_prefix="query")

    async def ask_instant(self, node: Node, at_ms: int, view: View) -> Result:
        """A query at one time.

        Raises:
            QueryError: it cannot be answered, or not in time.
        """
        seen, options = view.narrow(node), _options(view)
        return await self._run(view, lambda check: query_instant(seen, self._store, at_ms, options, check))

    async def ask_range(self, node: Node, start_ms: int, end_ms: int, step_ms: int, view: View) -> Result:
        """A query over a time; see `ask_instant`."""
        seen, options = view.narrow(node), _options(view)
        return await self._run(
            view, lambda check: query_range(seen, self._store, start_ms, end_ms, step_ms, options, check)
        )

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
        """Ends the threads when their queries have ended."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _options(view: View) -> Options:
    return Options(lookback_ms=view.lookback_ms, max_samples=MAX_SAMPLES)
