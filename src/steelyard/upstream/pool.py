"""A keep-alive pool of HTTP/1.1 connections on httptools, over TCP, TLS and unix sockets.

It is our own because it is on the hot path. A body is handed over through callbacks, so a stream costs no task switch
per chunk. Rule: a connection goes back only after its answer was parsed to its end and nobody reads from it any more.
"""

import asyncio
import contextlib
import math
import re
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, cast
from urllib.parse import urlsplit

import httptools

from steelyard.base.head_pattern import MAX_MISSES, HeadPattern
from steelyard.base.outbox import Outbox

MAX_CONNECTIONS = 1024  # per origin
IDLE_S = 4.0  # below the keep-alive time of common servers (uvicorn: 5 s)
SWEEP_S = 0.5
CHUNK_TIMEOUT_S = 120.0
MAX_BUFFERED_ANSWER_BYTES = 64 * 1024 * 1024


_BREAKS = re.compile(r"[\x00-\x20\x7f]")
_BREAKS_FIELD = re.compile(r"[\x00\r\n]")


class PoolError(Exception):
    """Something between us and the upstream; `is_sent` says whether the request may have been acted on."""

    def __init__(self, message: str, *, is_sent: bool) -> None:
        super().__init__(message)
        self.is_sent = is_sent


class ConnectError(PoolError):
    """No connection was made."""


class TimedOut(PoolError):
    """A time limit passed."""


class Broken(PoolError):
    """The connection broke, or what came was no HTTP."""


class CutOff(Broken):
    """The other side ended the connection before its answer was whole."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where connections lead, and the path prefix below it."""

    host: str
    port: int
    is_tls: bool = False
    unix_path: str | None = None
    prefix: str = ""

    @property
    def host_header(self) -> str:
        """Value of `Host`."""
        default = 443 if self.is_tls else 80
        return self.host if self.port == default or self.unix_path else f"{self.host}:{self.port}"


def parse_origin(base_url: str) -> Origin:
    """`http(s)://host[:port]/prefix` or `unix:/path.sock:/prefix` as an origin.

    Raises:
        ValueError: any other form.
    """
    if base_url.startswith("unix:"):
        path, _, prefix = base_url[5:].partition(":")
        return Origin("localhost", 80, unix_path=path, prefix=prefix.rstrip("/"))
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"base_url must be http(s)://host/path, not {base_url!r}")
    is_tls = parts.scheme == "https"
    return Origin(parts.hostname, parts.port or (443 if is_tls else 80), is_tls, prefix=parts.path.rstrip("/"))


class Answer:
    """An upstream's answer."""

    __slots__ = ("body", "headers", "status")

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = b""


class Flight(Answer):
    """One call on a connection, and its answer. Its end is told by a callback, so that a call needs no task of its own.

    Whoever waits on a flight usually keeps it too, so its callbacks go once they have been called: a cycle left behind by
    every call would stall the process for milliseconds, each time the collector comes for them.
    """

    __slots__ = ("chunk_timeout_s", "deadline", "give_up_at", "on_body", "on_end", "parts", "size")

    def __init__(self, on_end: Callable[["PoolError | None"], None], deadline: float) -> None:
        super().__init__()
        #: Called once: with None when the answer is whole, else with what went wrong.
        self.on_end = on_end
        #: Takes the body in parts, and `body` stays empty; None keeps it.
        self.on_body: Callable[[bytes], None] | None = None
        #: Loop times: of the next sign of life, and of the whole answer.
        self.deadline = deadline
        self.give_up_at = math.inf
        #: Between two pieces of a streamed answer.
        self.chunk_timeout_s = CHUNK_TIMEOUT_S
        self.parts: list[bytes] = []
        self.size = 0

    def end(self, error: "PoolError | None") -> None:
        """Tells how the call ended; nothing is told twice."""
        on_end = self.on_end
        self.forget()
        on_end(error)

    def forget(self) -> None:
        """Nobody waits any more."""
        self.on_end, self.on_body = nobody, None


def nobody(_: "PoolError | None") -> None:
    """Stands where `on_end` was."""


class Connection(asyncio.Protocol):
    """One connection; at most one call at a time."""

    def __init__(self, pool: "OriginPool") -> None:
        self._pool = pool
        self._loop = pool.loop
        self._post = pool.outbox.post
        # the parser puts each header straight into this dict, without a Python frame of ours
        self._headers: dict[bytes, bytes] = {}
        self.on_header = self._headers.__setitem__
        self._parser = httptools.HttpResponseParser(self)
        #: Whether the parser stands between two answers; the bytes with which the answer begins that it reads now.
        self._is_between = True
        self._fresh = b""
        #: A head that came before, its status and fields.
        self._known: tuple[HeadPattern, int, dict[bytes, bytes]] | None = None
        self._misses = 0
        self.transport: asyncio.Transport
        self.flight: Flight | None = None
        self.idle_since = 0.0
        self.is_closed = False
        self._is_paused = False

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "busy" if self.flight else "idle"
        return f"<Connection to {self._pool.origin.host_header} [{state}]>"

    # asyncio callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: connected."""
        # uvloop's transports are of another family, but do the same
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes came."""
        if self.flight is None:
            # bytes nobody asked for: this connection cannot be trusted any more
            self.close()
            return
        if self._is_between:
            if self._known is not None and self._take_known(data, *self._known):
                return
            self._fresh = data
        self._is_between = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            self._fail(Broken(f"no HTTP: {exc}", is_sent=True))

    def eof_received(self) -> bool:
        """asyncio: the other side is finished."""
        flight = self.flight
        if flight and flight.status and not self._has_length(flight):
            # a body that ends with the connection (RFC 9112, 6.3)
            self._complete(flight, reusable=False)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: gone."""
        self.is_closed = True
        self._pool.forget(self)
        self._fail(CutOff(f"connection lost: {exc or 'closed by the upstream'}", is_sent=True))

    # parser callbacks

    def on_headers_complete(self) -> None:
        """httptools: head complete."""
        flight = self.flight
        if flight is None:
            # a second answer behind the first
            self.close()
            return
        headers = {name.lower(): value for name, value in self._headers.items()}
        self._headers.clear()
        status = self._parser.get_status_code()
        # an interim answer (1xx) says nothing that matters here
        if status >= 200:
            flight.headers = headers
            flight.status = status
            self._known = None
            if self._misses < MAX_MISSES and self._parser.should_keep_alive():
                pattern = HeadPattern.of(self._fresh, headers.get(b"content-length"))
                if pattern is not None:
                    # the next one's body has another length
                    fields = {name: value for name, value in headers.items() if name != b"content-length"}
                    self._known = (pattern, status, fields)
        # what comes behind an interim answer does not begin where that begins
        self._fresh = b""

    def on_body(self, body: bytes) -> None:
        """httptools: part of the body."""
        flight = self.flight
        if flight is None:
            return
        if flight.on_body is not None:
            flight.deadline = min(self._loop.time() + flight.chunk_timeout_s, flight.give_up_at)
            flight.on_body(body)
            return
        flight.parts.append(body)
        flight.size += len(body)
        if flight.size > MAX_BUFFERED_ANSWER_BYTES:
            self._fail(Broken("answer too large", is_sent=True))

    def on_message_complete(self) -> None:
        """httptools: the answer is whole."""
        flight = self.flight
        if flight is not None and flight.status:
            self._complete(flight, reusable=self._parser.should_keep_alive())

    # inside

    def _take_known(self, data: bytes, pattern: HeadPattern, status: int, headers: dict[bytes, bytes]) -> bool:
        """Reads a whole answer whose head came before on this connection; False where it is for the parser."""
        flight = self.flight
        found = pattern.read(data)
        self._misses = self._misses + 1 if found is None else 0
        if found is None or flight is None or flight.on_body is not None or len(data) - found[1] != found[0]:
            return False
        flight.status, flight.headers = status, headers
        flight.parts.append(data[found[1] :])
        self._complete(flight, reusable=True)
        return True

    def _has_length(self, flight: Flight) -> bool:
        headers = flight.headers
        return b"content-length" in headers or b"transfer-encoding" in headers

    def _complete(self, flight: Flight, *, reusable: bool) -> None:
        flight.body = b"".join(flight.parts) if len(flight.parts) != 1 else flight.parts[0]
        self.flight = None
        self._is_between = True
        if self._is_paused:
            self.pause(False)
        if reusable and not self.transport.is_closing():
            # the answer has been handed over in full, so the next call may have the connection
            self._pool.give_back(self)
        else:
            self.close()
        flight.end(None)

    def _fail(self, error: PoolError) -> None:
        flight, self.flight = self.flight, None
        self.close()
        if flight is None:
            return
        flight.end(error)

    def start(self, request: bytes, flight: Flight) -> None:
        """Sends a request."""
        assert self.flight is None
        self.flight = flight
        self.write(request)

    def write(self, data: bytes) -> None:
        """Sends more, in order."""
        self._post(self.transport, data)

    def expire(self, now: float) -> None:
        """Gives up a call whose deadline has passed."""
        if self.flight is not None and now > self.flight.deadline:
            self._fail(TimedOut("the upstream took too long", is_sent=True))

    def pause(self, is_paused: bool) -> None:
        """Stops or goes on reading, for a consumer that is slower than the upstream."""
        if is_paused == self._is_paused or self.transport.is_closing():
            return
        self._is_paused = is_paused
        if is_paused:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()
        if self.flight is not None:
            self.flight.deadline = min(self._loop.time() + self.flight.chunk_timeout_s, self.flight.give_up_at)

    def abort(self) -> None:
        """Ends the call under way; the upstream sees the connection close."""
        flight, self.flight = self.flight, None
        if flight is not None:
            flight.forget()
        self.close()

    def close(self) -> None:
        """Closes; safe to repeat."""
        if not self.is_closed:
            self.is_closed = True
            self._pool.forget(self)
            self.transport.abort()


class OriginPool:
    """The connections to one origin."""

    def __init__(
        self, origin: Origin, tls: ssl.SSLContext | None, outbox: Outbox, *, max_connections: int = MAX_CONNECTIONS
    ) -> None:
        self.origin = origin
        self.outbox = outbox
        self.loop = asyncio.get_running_loop()
        self._tls = tls
        self._idle: deque[Connection] = deque()
        self._all: set[Connection] = set()
        self._connecting = 0
        self._max = max_connections
        self._waiters: deque[asyncio.Future[None]] = deque()

    def __repr__(self) -> str:
        return f"<OriginPool {self.origin.host_header} [{len(self._all)} open, {len(self._idle)} idle]>"

    def take_idle(self) -> Connection | None:
        """An idle connection, if there is one."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed and not connection.transport.is_closing():
                return connection
        return None

    async def acquire(self, connect_timeout_s: float, *, is_new: bool = False) -> Connection:
        """A connection of one's own, idle or new.

        Args:
            is_new: an idle one will not do.

        Raises:
            ConnectError: none could be made in time.
        """
        while True:
            if not is_new and (connection := self.take_idle()) is not None:
                return connection
            if len(self._all) + self._connecting < self._max:
                return await self._connect(connect_timeout_s)
            await self._wait(connect_timeout_s)

    async def _connect(self, timeout_s: float) -> Connection:
        origin = self.origin
        self._connecting += 1
        try:
            async with asyncio.timeout(timeout_s):
                if origin.unix_path is not None:
                    _, connection = await self.loop.create_unix_connection(lambda: Connection(self), origin.unix_path)
                else:
                    _, connection = await self.loop.create_connection(
                        lambda: Connection(self), origin.host, origin.port, ssl=self._tls if origin.is_tls else None
                    )
        except TimeoutError:
            raise ConnectError(f"no connection within {timeout_s:g} s", is_sent=False) from None
        except (OSError, ssl.SSLError) as exc:
            raise ConnectError(f"cannot connect: {exc.strerror or exc}", is_sent=False) from exc
        finally:
            self._connecting -= 1
        self._all.add(connection)
        return connection

    async def _wait(self, timeout_s: float) -> None:
        waiter = self.loop.create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                await waiter
        except TimeoutError:
            raise ConnectError("all connections are busy", is_sent=False) from None

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def give_back(self, connection: Connection) -> None:
        """A connection whose answer is whole becomes idle."""
        connection.idle_since = self.loop.time()
        self._idle.append(connection)
        if self._waiters:
            self._wake()

    def forget(self, connection: Connection) -> None:
        """A closed connection leaves the books."""
        self._all.discard(connection)
        if self._waiters:
            self._wake()

    def sweep(self, now: float) -> None:
        """Closes idle connections and expires calls; called twice a second, so no call needs a timer of its own."""
        while self._idle and (self._idle[0].is_closed or now - self._idle[0].idle_since > IDLE_S):
            self._idle.popleft().close()
        for connection in list(self._all):
            connection.expire(now)

    def close(self) -> None:
        """Closes every connection."""
        for connection in list(self._all):
            connection.close()


class Pool:
    """All origins. Open it inside a running loop, close it before the loop ends."""

    def __init__(self, outbox: Outbox | None = None) -> None:
        self._outbox = outbox or Outbox()
        self._origins: dict[Origin, OriginPool] = {}
        self._tls: ssl.SSLContext | None = None
        self._sweeper: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Pool {list(self._origins.values())}>"

    async def __aenter__(self) -> Self:
        self._sweeper = asyncio.create_task(self._sweep())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
        for origin in self._origins.values():
            origin.close()

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            for origin in list(self._origins.values()):
                origin.sweep(loop.time())

    def origin(self, origin: Origin) -> OriginPool:
        """The pool of one origin."""
        pool = self._origins.get(origin)
        if pool is None:
            if origin.is_tls and self._tls is None:
                self._tls = ssl.create_default_context()
            pool = self._origins[origin] = OriginPool(origin, self._tls, self._outbox)
        return pool

    async def fetch(
        self,
        origin: Origin,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        *,
        timeout_s: float = 30.0,
        connect_timeout_s: float = 5.0,
    ) -> Answer:
        """One whole call, for control traffic; the hot path drives connections itself.

        Raises:
            PoolError: no answer.
        """
        fields = {"Host": origin.host_header, "Content-Length": str(len(body)), **(headers or {})}
        if _BREAKS.search(path) or any(_BREAKS_FIELD.search(value) for value in fields.values()):
            # it would be another request than it is
            raise PoolError("a path or a header with characters that break a request", is_sent=False)
        pool = self.origin(origin)
        connection = await pool.acquire(connect_timeout_s)
        done: asyncio.Future[None] = pool.loop.create_future()

        def on_end(error: PoolError | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        flight = Flight(on_end, pool.loop.time() + timeout_s)
        head = f"{method} {origin.prefix}{path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items())
        connection.start(head.encode("latin-1") + b"\r\n" + body, flight)
        try:
            await done
        except asyncio.CancelledError:
            if connection.flight is flight:
                connection.abort()
            raise
        return flight
