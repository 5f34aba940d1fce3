"""Figures of models from a workspace's own traffic, asked of the monitor in PromQL and kept for a moment."""

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from steelyard.base.clock import monotonic, now_us
from steelyard.base.units import MICROS
from steelyard.canon.grant import Grant
from steelyard.control.hub.figures import Figures, get_queries, read_figures

KEPT_S = 15.0
MAX_KEPT = 200


class Monitor(Protocol):
    """Prometheus' HTTP API; see `assembly.monitor_link`."""

    async def ask(self, grant: Grant, path: str, fields: Mapping[str, str]) -> Any:
        """The `data` of an answer, of what a grant may see."""
        ...

    async def reload(self, grant: Grant) -> None:
        """Has the rule files read again."""
        ...


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, when, and by which queries.

    Args:
        at_s: the time of the queries: asked again for the same time they tell the same.
    """

    at_s: int
    queries: dict[str, str]
    by_model: dict[str, Figures]


class Measures:
    """Sheets by workspace and window."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._kept: dict[tuple[str, str], tuple[float, Sheet]] = {}

    async def read(self, grant: Grant, window: str) -> Sheet:
        """What traffic says of the models in a workspace.

        Raises:
            Fault: the window is none, or the monitor does not answer.
        """
        queries, place = get_queries(window), (grant.workspace, window)
        since, sheet = self._kept.get(place, (0.0, None))
        if sheet is not None and monotonic() - since < KEPT_S:
            return sheet
        at_s = now_us() // MICROS
        answers = await asyncio.gather(
            *(self._monitor.ask(grant, "query", {"query": one, "time": str(at_s)}) for one in queries.values())
        )
        found = Sheet(at_s=at_s, queries=queries, by_model=read_figures(dict(zip(queries, answers, strict=True))))
        if len(self._kept) >= MAX_KEPT:
            self._kept.clear()
        self._kept[place] = (monotonic(), found)
        return found
