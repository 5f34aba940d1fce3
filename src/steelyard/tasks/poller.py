"""One poller for all open tasks at vendors: each is asked about again at its own time, a bounded number at once.

Ten thousand open tasks are ten thousand entries in a heap and as many futures, and cost what their questions cost.
"""

import asyncio
import contextlib
import heapq
import itertools
from dataclasses import dataclass
from typing import Protocol

from steelyard.base.clock import monotonic
from steelyard.base.errors import Fault
from steelyard.canon.task import CANCELED, FAILED, SUCCEEDED, UNKNOWN

#: A new task is asked about soon, and then less and less often.
FIRST_S = 1.0
GROWTH = 2.0
TICK_S = 0.1
#: Questions under way at once.
AT_ONCE = 64
#: A task that the vendor does not know is asked about this often before it is believed.
UNKNOWN_TRIES = 3
_ENDS = frozenset({SUCCEEDED, FAILED, CANCELED})


class Api(Protocol):
    """Where tasks are asked about."""

    async def ask(self, task_id: str) -> tuple[str, bytes]:
        """State and whole answer; an empty state where there was none."""
        ...


@dataclass(slots=True)
class _Open:
    api: Api
    task_id: str
    over: "asyncio.Future[tuple[str, bytes]]"
    pause_s: float
    unknown: int = 0


class Poller:
    """Waits for vendors' tasks.

    Args:
        poll_s: seconds between two questions about one task, once it is no longer young.
    """

    def __init__(self, poll_s: float) -> None:
        self._poll_s = poll_s
        self._due: list[tuple[float, int, _Open]] = []
        self._numbers = itertools.count()
        self._asking: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(AT_ONCE)
        self.asked = 0
        #: Seconds that the latest question came after its time.
        self.late_s = 0.0

    def __repr__(self) -> str:
        return f"<Poller of {len(self._due)} tasks [{len(self._asking)} being asked about]>"

    async def wait(self, api: Api, task_id: str) -> tuple[str, bytes]:
        """A task's end: its last state and the whole answer.

        Raises:
            Fault: the vendor refuses to tell of it.
        """
        over: asyncio.Future[tuple[str, bytes]] = asyncio.get_running_loop().create_future()
        first = min(FIRST_S, self._poll_s)
        self._push(_Open(api, task_id, over, first), first)
        return await over

    def _push(self, one: _Open, after_s: float) -> None:
        heapq.heappush(self._due, (monotonic() + after_s, next(self._numbers), one))

    async def run(self) -> None:
        """Runs for the life of the worker."""
        while True:
            now = monotonic()
            while self._due and self._due[0][0] <= now:
                await self._room.acquire()
                due_at, _, one = heapq.heappop(self._due)
                self.late_s = max(monotonic() - due_at, 0.0)
                if one.over.done():
                    self._room.release()
                    continue
                asking = asyncio.create_task(self._ask(one))
                self._asking.add(asking)
                asking.add_done_callback(self._asked)
            await asyncio.sleep(TICK_S)

    def _asked(self, asking: "asyncio.Task[None]") -> None:
        self._asking.discard(asking)
        self._room.release()

    async def _ask(self, one: _Open) -> None:
        self.asked += 1
        try:
            state, body = await one.api.ask(one.task_id)
        except Fault as failure:
            with contextlib.suppress(asyncio.InvalidStateError):
                one.over.set_exception(failure)
            return
        one.unknown = one.unknown + 1 if state == UNKNOWN else 0
        if state in _ENDS or one.unknown >= UNKNOWN_TRIES:
            if not one.over.done():
                one.over.set_result((state, body))
            return
        one.pause_s = min(one.pause_s * GROWTH, self._poll_s)
        self._push(one, one.pause_s)
