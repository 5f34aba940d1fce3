"""Requests whose bodies flow through to the face and back, a part at a time: files, uploads, public links. Nothing is held whole."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from steelyard.base.errors import fault
from steelyard.gateway.exchange import Headers
from steelyard.upstream.pool import Connection, Flight, OriginPool, PoolError

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

#: Parts of an answer that may wait for a slow client before the face is paused.
HIGH_WATER = 16
MAX_UNSENT_BYTES = 262_144
DRAIN_LOOK_S = 0.005
#: A transfer that takes longer is given up.
TOTAL_S = 6 * 3600.0
SILENCE_S = 120.0
#: A parser of answers does not know that HEAD was asked, so the face is asked with this and answers without a body.
HEAD_HEADER = "x-steelyard-head"
LENGTH_HEADER = b"x-steelyard-length"
KEPT = frozenset(
    {b"content-type", b"content-length", b"content-range", b"content-disposition", b"accept-ranges", b"etag", b"cache-control",
     b"access-control-allow-origin", b"access-control-allow-methods", b"access-control-allow-headers", b"access-control-max-age",
     b"access-control-expose-headers", b"cross-origin-resource-policy", b"x-content-type-options", b"content-security-policy",
     b"referrer-policy", b"retry-after", b"x-should-retry", b"x-steelyard-target"}
)  # fmt: skip


class Passage:
    """One request on its way."""

    def __init__(
        self, pool: OriginPool, receive: Receive, send: Send, *, is_head: bool, max_bytes: int, more: Headers
    ) -> None:
        self._pool = pool
        self._receive = receive
        self._send = send
        self._is_head = is_head
        self._max_bytes = max_bytes
        #: Headers of ours beside the face's.
        self._more = more
        self._parts: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._connection: Connection
        self._flight: Flight
        self._error: PoolError | None = None
        self._is_over = False
        self.is_started = False

    async def run(self, head: bytes, *, is_chunked: bool) -> None:
        """Carries it.

        Raises:
            Fault: the face cannot be reached, or the body is too large; nothing has gone to the client.
        """
        try:
            self._connection = await self._pool.acquire(5.0, is_new=True)
        except PoolError as exc:
            raise fault("stores_unavailable", detail=" (The control process does not answer.)") from exc
        flight = self._flight = Flight(self._ended, self._pool.loop.time() + TOTAL_S)
        flight.give_up_at = self._pool.loop.time() + TOTAL_S
        flight.chunk_timeout_s = SILENCE_S
        flight.on_body = self._arrived
        self._connection.start(head, flight)
        uploading = asyncio.create_task(self._upload(is_chunked=is_chunked))
        try:
            await self._answer(uploading)
        finally:
            uploading.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await uploading
            # an answer that has come whole has closed it
            if self._connection.flight is self._flight:
                self._connection.abort()

    async def _upload(self, *, is_chunked: bool) -> None:
        size = 0
        while not self._is_over:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ConnectionResetError
            part = message.get("body", b"")
            size += len(part)
            if size > self._max_bytes:
                raise fault("file_too_large", limit_bytes=self._max_bytes, size="more")
            transport = self._connection.transport
            if transport.is_closing():
                return
            if part:
                self._connection.write(b"%x\r\n%b\r\n" % (len(part), part) if is_chunked else part)
            if not message.get("more_body"):
                if is_chunked:
                    self._connection.write(b"0\r\n\r\n")
                break
            # a look now and then: the pool's connections have no hook for this, and the hot path would pay for one
            while transport.get_write_buffer_size() > MAX_UNSENT_BYTES and not transport.is_closing():  # noqa: ASYNC110
                await asyncio.sleep(DRAIN_LOOK_S)
        # from here on the client says only that it has left
        while (await self._receive())["type"] != "http.disconnect":
            pass
        raise ConnectionResetError

    def _arrived(self, part: bytes) -> None:
        self._parts.put_nowait(part)
        if self._parts.qsize() > HIGH_WATER:
            self._connection.pause(True)

    def _ended(self, error: PoolError | None) -> None:
        self._is_over = True
        self._error = error
        self._parts.put_nowait(None)

    async def _next(self, uploading: asyncio.Task[None]) -> bytes | None:
        """The next part; raises what ended the upload before its time."""
        waiting = asyncio.ensure_future(self._parts.get())
        await asyncio.wait({waiting, uploading}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done() and uploading.done() and uploading.exception() is None:
            # a body that the face would not take: its answer is on its way
            await waiting
        if waiting.done():
            return waiting.result()
        waiting.cancel()
        failure = uploading.exception()
        assert failure is not None
        raise failure

    async def _answer(self, uploading: asyncio.Task[None]) -> None:
        try:
            part = await self._next(uploading)
            if self._error is not None and not self._flight.status:
                raise fault("stores_unavailable", detail=" (The control process does not answer.)")
            await self._start()
            while part is not None:
                await self._send({"type": "http.response.body", "body": part, "more_body": True})
                if self._parts.qsize() < HIGH_WATER // 2 and self._connection.flight is self._flight:
                    self._connection.pause(False)
                part = await self._next(uploading)
        except ConnectionResetError:
            # the client has left: nobody is to be answered
            self.is_started = True
            return
        if self._error is None:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        # an answer that broke has no end: the server cuts the connection

    async def _start(self) -> None:
        self.is_started = True
        answer = self._flight
        headers: Headers = [(name, value) for name, value in answer.headers.items() if name in KEPT]
        if self._is_head and LENGTH_HEADER in answer.headers:
            headers = [(name, value) for name, value in headers if name != b"content-length"]
            headers.append((b"content-length", answer.headers[LENGTH_HEADER]))
        await self._send({"type": "http.response.start", "status": answer.status, "headers": headers + self._more})
