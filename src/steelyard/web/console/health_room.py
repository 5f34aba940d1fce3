"""设置 → 运行状况: whether every process is well, what targets are left alone, what waits, and the settings as they are in force."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.responses import Response

from steelyard import __version__
from steelyard.base.errors import Fault
from steelyard.canon.members import OPERATOR
from steelyard.control.exposition import Process
from steelyard.web.console.alerts_room import as_seen
from steelyard.web.console.measures import Monitor
from steelyard.web.console.pages import Pages
from steelyard.web.console.reception import Act
from steelyard.web.console.visit import Visit

#: name -> what the monitor is asked; each is a line or a table of the page.
_QUERIES = {
    "broken": "max by (backend) (llm_breaker_open) > 0",
    "failing": "topk(10, sum by (backend) (increase(llm_attempts_failed_total[1h])) > 0)",
    "waiting": "sum by (kind, status) (task_open) > 0",
    "in_flight": "sum(llm_requests_in_flight)",
    "alerts": "sum(monitor_alerts_firing)",
}
ListProcesses = Callable[[], Awaitable[list[Process]]]
#: Less than this of a disk left is told as a problem.
LOW_BYTES = 1024**3


class HealthRoom:
    """The page of health."""

    def __init__(
        self, monitor: Monitor, list_processes: ListProcesses, pages: Pages, settings: dict[str, Any], data_dir: Path
    ) -> None:
        self._monitor = monitor
        self._list_processes = list_processes
        self._pages = pages
        self._settings = settings
        self._data_dir = data_dir
        self.acts = (Act("GET", "/console/settings/health", self.show, OPERATOR, is_everywhere=True),)

    async def show(self, visit: Visit) -> Response:
        processes, targets, found = await asyncio.gather(self._list_processes(), self._targets(visit), self._ask(visit))
        disk = shutil.disk_usage(self._data_dir)
        return self._pages.render(
            visit,
            "health.html",
            processes=processes,
            targets=targets,
            found=found,
            free_bytes=disk.free,
            is_low=disk.free < LOW_BYTES,
            sections=_sections(self._settings),
            release=__version__,
        )

    async def _targets(self, visit: Visit) -> list[dict[str, Any]] | None:
        """What is scraped, with how it is; None where the monitor itself does not answer."""
        try:
            data = await self._monitor.ask(as_seen(visit), "targets", {})
        except Fault:
            return None
        active: list[dict[str, Any]] = data["activeTargets"]
        return sorted(active, key=lambda one: (one["health"] == "up", one["labels"].get("job", ""), one["scrapeUrl"]))

    async def _ask(self, visit: Visit) -> dict[str, list[dict[str, Any]]]:
        async def one(query: str) -> list[dict[str, Any]]:
            try:
                rows: list[dict[str, Any]] = (await self._monitor.ask(as_seen(visit), "query", {"query": query}))[
                    "result"
                ]
            except Fault:
                return []
            return rows

        answers = await asyncio.gather(*(one(query) for query in _QUERIES.values()))
        return dict(zip(_QUERIES, answers, strict=True))


def _sections(settings: dict[str, Any]) -> list[tuple[str, list[tuple[str, Any]]]]:
    """Settings by section; what belongs to none stands first."""
    plain = [(name, value) for name, value in settings.items() if not isinstance(value, dict)]
    nested = [(name, list(value.items())) for name, value in settings.items() if isinstance(value, dict) and value]
    return [("", plain), *nested]
