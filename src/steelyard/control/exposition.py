"""One exposition for all processes: each is asked over its private door, and what a dead one counted is not lost."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from steelyard.base.metrics import Reading, merge, render, without_gauges
from steelyard.base.metrics_port import SUFFIX

log = logging.getLogger("steelyard.metrics")

Readings = dict[str, Reading]
#: (socket) -> body of the process's answer; raises OSError where nobody listens
Ask = Callable[[Path], Awaitable[bytes]]
#: Readings that no process has: what the database tells.
Measure = Callable[[], Awaitable[Readings]]


class Process(msgspec.Struct, frozen=True):
    """A process of this machine, and whether it answers."""

    role: str
    pid: int
    is_well: bool


class Exposition:
    """Collects the readings of every process of this machine."""

    def __init__(self, run_dir: Path, ask: Ask, measure: Measure) -> None:
        self._measure = measure
        self._run_dir = run_dir
        self._ask = ask
        self._last: dict[str, Readings] = {}
        #: what processes that are gone had counted
        self._retired: Readings = {}
        self._lock = asyncio.Lock()

    async def collect(self) -> Readings:
        """The sum over all processes, as it is now."""
        async with self._lock:
            paths = self._sockets()
            answers = await asyncio.gather(*(self._read(path) for path in paths))
            now = {path.name: reading for path, reading in zip(paths, answers, strict=True) if reading is not None}
            for name in set(self._last) - set(now):
                self._retired = merge([self._retired, without_gauges(self._last.pop(name))])
            self._last.update(now)
            return merge([self._retired, *now.values(), await self._measure()])

    async def render(self) -> str:
        """Text format 0.0.4."""
        return render(await self.collect())

    async def list_processes(self) -> list[Process]:
        """Every process with a door of its own, asked now."""
        paths = self._sockets()
        answers = await asyncio.gather(*(self._ask(path) for path in paths), return_exceptions=True)
        found = []
        for path, answer in zip(paths, answers, strict=True):
            role, _, pid = path.name.removesuffix(SUFFIX).partition("-")
            found.append(Process(role, int(pid.rpartition("-")[2] or 0), not isinstance(answer, BaseException)))
        return found

    def _sockets(self) -> list[Path]:
        return sorted(self._run_dir.glob(f"*{SUFFIX}"))

    async def _read(self, path: Path) -> Readings | None:
        try:
            value: Any = msgspec.json.decode(await self._ask(path))
        except (OSError, msgspec.DecodeError):
            # a process that died left its socket behind
            path.unlink(missing_ok=True)
            return None
        return value if isinstance(value, dict) else None
