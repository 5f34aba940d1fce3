"""A streamed answer for whoever reads it in a task: part by part, at the reader's pace. The hot path reads by callbacks instead."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from steelyard.upstream.pool import Answer, Connection, Flight, OriginPool, PoolError

#: Parts that may wait for a slow reader before the upstream is paused.
HIGH_WATER = 64
CONNECT_S = 5.0


class Hearing:
    """An answer as it comes."""

    def __init__(self, connection: Connection, flight: Flight) -> None:
        self._connection = connection
        self._flight = flight
        self._parts: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._error: PoolError | None = None
        self.answer: Answer = flight
        flight.on_body = self._arrived

    def _arrived(self, part: bytes) -> None:
        self._parts.put_nowait(part)
        if self._parts.qsize() > HIGH_WATER:
            self._connection.pause(True)

    def ended(self, error: PoolError | None) -> None:
        """The pool's word on the answer."""
        self._error = error
        self._parts.put_nowait(None)

    async def parts(self) -> AsyncIterator[bytes]:
        """The body; `answer` has status and headers from the first part on.

        Raises:
            PoolError: it broke off.
        """
        while (part := await self._parts.get()) is not None:
            yield part
            if self._parts.qsize() < HIGH_WATER // 2 and self._connection.flight is self._flight:
                self._connection.pause(False)
        if self._error is not None:
            raise self._error


@contextlib.asynccontextmanager
async def hear(pool: OriginPool, request: bytes, *, total_s: float, silence_s: float) -> AsyncIterator[Hearing]:
    """Sends a request and listens. Leaving early closes the connection, so that the other side stops.

    Args:
        request: head and body.
        silence_s: between two parts, and before the first.

    Raises:
        PoolError: no connection.
    """
    loop = asyncio.get_running_loop()
    connection = await pool.acquire(CONNECT_S)
    flight = Flight(lambda _: None, loop.time() + min(silence_s, total_s))
    flight.give_up_at = loop.time() + total_s
    flight.chunk_timeout_s = silence_s
    hearing = Hearing(connection, flight)
    flight.on_end = hearing.ended
    connection.start(request, flight)
    try:
        yield hearing
    finally:
        if connection.flight is flight:
            connection.abort()
