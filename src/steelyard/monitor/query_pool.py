"""Processes that evaluate heavy queries: one a query, killed where it takes too long, used again where it does not."""

import asyncio
import contextlib
import sys

from steelyard.monitor.frames import (
    SIZE_BYTES,
    Failed,
    Given,
    Head,
    Pick,
    Shown,
    Wish,
    head_size,
    pack,
    pack_cohorts,
    read_head,
)
from steelyard.monitor.series_store import SeriesStore
from steelyard.monitor.tenants import own_matcher
from steelyard.promql.errors import INTERNAL, TIMEOUT, QueryError
from steelyard.promql.nodes import Matcher

#: A process is given this much longer than its query to say itself that it was too slow.
GRACE_S = 1.0
#: After so many queries a process is replaced, so that none grows.
MAX_USES = 100
_BUFFER = 1024 * 1024


class _Worker:
    """One process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self.uses = 0
        self._in, self._out = process.stdin, process.stdout

    async def send(self, head: Head, blobs: list[bytes | memoryview] | None = None) -> None:
        for piece in pack(head, blobs):
            self._in.write(piece)
        await self._in.drain()

    async def receive(self) -> tuple[Head, list[bytes]]:
        size = head_size(await self._out.readexactly(SIZE_BYTES))
        head = read_head(await self._out.readexactly(size))
        return head, [await self._out.readexactly(one) for one in head.blobs]

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()


class QueryPool:
    """As many as may run at once."""

    def __init__(self, store: SeriesStore, size: int) -> None:
        self._store = store
        self._slots = asyncio.Semaphore(size)
        self._idle: list[_Worker] = []
        self._ended: set[asyncio.Task[int]] = set()

    def __repr__(self) -> str:
        return f"<QueryPool {len(self._idle)} idle>"

    async def ask(self, wish: Wish) -> tuple[Shown, bytes]:
        """(what is said of an answer, its JSON)

        Raises:
            QueryError: it cannot be answered, or not in time.
        """
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + wish.give_up_in_s
        try:
            async with asyncio.timeout_at(give_up_at):
                await self._slots.acquire()
        except TimeoutError:
            raise QueryError("query timed out in query queue", TIMEOUT) from None
        try:
            wish.give_up_in_s = max(give_up_at - loop.time(), 0.0)
            return await self._ask(wish, give_up_at + GRACE_S)
        finally:
            self._slots.release()

    async def _ask(self, wish: Wish, give_up_at: float) -> tuple[Shown, bytes]:
        worker = self._idle.pop() if self._idle else await self._start()
        is_well = False
        try:
            async with asyncio.timeout_at(give_up_at):
                head, blobs = await self._converse(worker, wish)
            is_well = True
        except TimeoutError:
            raise QueryError("query timed out in query execution", TIMEOUT) from None
        except (asyncio.IncompleteReadError, ConnectionError, BrokenPipeError):
            raise QueryError("the process that evaluated the query ended", INTERNAL) from None
        finally:
            worker.uses += 1
            if is_well and worker.uses < MAX_USES:
                self._idle.append(worker)
            else:
                self._end(worker)
        if head.failed is not None:
            raise QueryError(head.failed.text, head.failed.kind)
        assert head.shown is not None
        return head.shown, blobs[0]

    async def _converse(self, worker: _Worker, wish: Wish) -> tuple[Head, list[bytes]]:
        await worker.send(Head(wish=wish))
        while True:
            head, blobs = await worker.receive()
            if head.pick is None:
                return head, blobs
            try:
                given, arrays = await asyncio.to_thread(self._pick, head.pick, wish.workspace)
            except OSError as exc:
                await worker.send(Head(failed=Failed(kind=INTERNAL, text=str(exc))))
            else:
                await worker.send(Head(given=given), arrays)

    def _pick(self, pick: Pick, workspace: str | None) -> tuple[Given, list[bytes | memoryview]]:
        matchers = tuple(Matcher(*one) for one in pick.matchers)
        if workspace is not None:
            # the process was told so too; here it cannot be forgotten
            own = own_matcher(workspace)
            matchers = matchers if own in matchers else (*matchers, own)
        return pack_cohorts(self._store.select(matchers, pick.start_ms, pick.end_ms))

    async def _start(self) -> _Worker:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "steelyard.monitor.query_process",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_BUFFER,
        )  # fmt: skip
        return _Worker(process)

    def _end(self, worker: _Worker) -> None:
        worker.kill()
        task = asyncio.create_task(worker.process.wait())
        self._ended.add(task)
        task.add_done_callback(self._ended.discard)

    def close(self) -> None:
        """Ends those that are idle."""
        for worker in self._idle:
            worker.kill()
        self._idle.clear()
