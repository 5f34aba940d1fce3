"""The fast lane: uvicorn's httptools protocol, with hot paths handed to the core without an ASGI scope.

What is not hot, or comes while a call is in flight on the same connection, falls through to the parent class and so to
ASGI. The lane also holds the limits that protect the process: head size, body size, slow senders, memory for bodies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar, Self

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from steelyard.base import ids
from steelyard.base.errors import Fault, fault
from steelyard.base.head_pattern import MAX_MISSES
from steelyard.base.outbox import Outbox
from steelyard.dialects import openai_errors
from steelyard.dialects.dialect import Operation
from steelyard.gateway.core import Core
from steelyard.gateway.exchange import Headers
from steelyard.gateway.known_head import KnownHead

#: A question to a knowledge base comes in the URL, percent-encoded: nine bytes a Chinese character.
MAX_HEAD_BYTES = 262_144
#: What a head has beyond this is taken from the strangers' budget: who sends a head has not shown a key yet.
FREE_HEAD_BYTES = 65_536
MAX_PARSED_URL = 65_000
HEAD_TIMEOUT_S = 15.0
BODY_IDLE_TIMEOUT_S = 20.0
#: A body may take this long, plus a second for each KiB.
BODY_GRACE_S = 60.0
KEEP_ALIVE_S = 75.0
#: After a refusal the rest of a body is read and thrown away for this long, so that the client gets to read the answer.
DRAIN_S = 10.0
#: A process that ends keeps idle connections this long: whoever calls meanwhile is answered, and told to go elsewhere next.
LINGER_S = 1.5
SWEEP_S = 1.0
#: Request bodies held in memory at once, by all connections of this process.
MAX_HELD_BYTES = 64 * 1024 * 1024
#: Of bodies that come in parts under a key not known yet: nobody without a key can fill the room of those who have one.
MAX_STRANGERS_BYTES = 24 * 1024 * 1024


_default_cache: tuple[list[tuple[bytes, bytes]], bytes] = ([], b"")


def _default_lines(headers: list[tuple[bytes, bytes]]) -> bytes:
    """uvicorn's `date` as a line; it makes a new list once a second, and only then is there anything to do."""
    global _default_cache
    if _default_cache[0] is not headers:
        _default_cache = (headers, b"".join(b"%b: %b\r\n" % pair for pair in headers))
    return _default_cache[1]


class BodyBudget:
    """How many bytes of request bodies this process holds."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0

    def take(self, size: int) -> bool:
        """Whether there is room for `size` more; takes it if so."""
        if self.held_bytes + size > self.limit_bytes:
            return False
        self.held_bytes += size
        return True

    def give_back(self, size: int) -> None:
        """The bytes are free again."""
        self.held_bytes -= size


class LaneExchange:
    """A hot request on a connection: the core's exchange, and what uvicorn expects of a cycle."""

    is_posted = True

    __slots__ = (
        "_parts",
        "_protocol",
        "budget",
        "client",
        "dialect",
        "disconnected",
        "head_sent",
        "headers",
        "is_refused",
        "keep_alive",
        "length",
        "on_disconnect",
        "on_pressure",
        "path",
        "response_complete",
        "size",
    )

    def __init__(
        self,
        protocol: FastLane,
        dialect: Operation,
        path: str,
        headers: dict[bytes, bytes],
        length: int | None,
        keep_alive: bool,
    ) -> None:
        self._protocol = protocol
        self.dialect = dialect
        self.path = path
        self.headers = headers
        self.client = protocol.client[0] if protocol.client else None
        #: Of the body, as the head has it; None where it does not say.
        self.length = length
        self.keep_alive = keep_alive
        self._parts: list[bytes] = []
        self.size = 0
        #: Where the body's bytes are counted, once there are any.
        self.budget: BodyBudget | None = None
        self.is_refused = False
        self.head_sent = False
        # what the parent class looks at
        self.disconnected = False
        self.response_complete = False
        self.on_disconnect: Callable[[], None] | None = None
        self.on_pressure: Callable[[bool], None] | None = None

    @property
    def message_event(self) -> Self:
        """The parent's event, which it sets when the connection is lost. No field: a cycle would wait for the collector."""
        return self

    def set(self) -> None:
        """The parent calls this, as on an event, when the connection is lost."""
        if self.disconnected and self.on_disconnect is not None:
            callback, self.on_disconnect = self.on_disconnect, None
            callback()

    @property
    def is_disconnected(self) -> bool:
        """Whether the client has gone."""
        return self.disconnected

    @property
    def body(self) -> bytes:
        """The whole request body."""
        parts = self._parts
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def take(self, part: bytes) -> None:
        """A part of the request body."""
        self._parts.append(part)

    def take_whole(self, body: bytes, budget: BodyBudget) -> bool:
        """The request body at once; False where there is no room for it."""
        size = len(body)
        if not budget.take(size):
            return False
        self.budget, self.size = budget, size
        self._parts.append(body)
        return True

    def drop_body(self) -> None:
        """Frees the body."""
        self._parts.clear()

    def _head(self, status: int, headers: Headers) -> list[bytes]:
        defaults = _default_lines(self._protocol.server_state.default_headers)
        if not self.keep_alive:
            headers = [*headers, (b"connection", b"close")]
        return [STATUS_LINE[status], defaults, b"\r\n".join(map(b": ".join, headers)), b"\r\n" if headers else b""]

    def send(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer, in one write."""
        if self.disconnected or self.response_complete:
            return
        if self.head_sent:
            self.abort()
            return
        self._finish(self._whole(status, headers, body))

    def _whole(self, status: int, headers: Headers, body: bytes) -> bytes:
        lines = self._head(status, headers)
        lines += (b"content-length: ", str(len(body)).encode(), b"\r\n\r\n", body)
        return b"".join(lines)

    def start(self, status: int, headers: Headers) -> None:
        """The head of a streamed answer."""
        if self.disconnected:
            return
        self.head_sent = True
        lines = self._head(status, headers)
        lines.append(b"transfer-encoding: chunked\r\n\r\n")
        protocol = self._protocol
        protocol.outbox.post(protocol.transport, b"".join(lines))

    def write(self, data: bytes) -> None:
        """A part of a streamed answer."""
        if not self.disconnected:
            protocol = self._protocol
            protocol.outbox.post(protocol.transport, b"%x\r\n%b\r\n" % (len(data), data))

    def end(self, data: bytes = b"") -> None:
        """The last part and the end mark."""
        if self.disconnected or self.response_complete:
            return
        self._finish(b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else b"0\r\n\r\n")

    def break_off(self, data: bytes) -> None:
        """See `Exchange`."""
        self.end(data)

    def revoke(self) -> bytes:
        """See `outbox.Answer`: a refusal, or a stream without its end."""
        if self.head_sent:
            self.abort()
            return b""
        request_id = ids.new_request_id()
        headers, body = self.dialect.render_error(fault("stores_unavailable"), request_id)
        return self._whole(503, [*headers, (b"x-request-id", request_id.encode())], body)

    def _finish(self, last: bytes) -> None:
        self.response_complete = True
        protocol = self._protocol
        protocol.outbox.post(protocol.transport, last, self)
        protocol.answered(self)

    def abort(self) -> None:
        """Cuts the connection."""
        self._protocol.transport.abort()


class FastLane(HttpToolsProtocol):
    """One client connection."""

    core: ClassVar[Core]
    outbox: ClassVar[Outbox]
    hot: ClassVar[dict[bytes, Operation]]
    budget: ClassVar[BodyBudget]
    strangers: ClassVar[BodyBudget]

    lane: LaneExchange | None = None
    known_head: KnownHead | None = None
    misses = 0
    #: bytes with which a request begins: of those in the parser now, and of the request that it reads
    fresh: bytes | None = None
    head_data: bytes | None = None
    #: bytes of a body still to come, where its head was known and the parser has not seen it
    awaited_bytes = 0
    head_bytes = 0
    #: how much of the head is taken from the strangers' budget
    head_taken = 0
    is_reading_head = False
    #: loop time since when the request now coming in is coming in; 0.0 while none is
    receiving_since = 0.0
    last_data = 0.0
    drain_until = 0.0
    is_ending = False

    @classmethod
    def bound_to(cls, core: Core, hot: dict[str, Operation], outbox: Outbox) -> type[FastLane]:
        """The class that uvicorn makes connections of."""
        paths = {path.encode(): dialect for path, dialect in hot.items()}
        budgets = {"budget": BodyBudget(MAX_HELD_BYTES), "strangers": BodyBudget(MAX_STRANGERS_BYTES)}
        return type("BoundFastLane", (cls,), {"core": core, "hot": paths, "outbox": outbox, **budgets})

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        # the parser puts each header straight into this dict, without a Python frame of ours; of repeated headers the
        # last one counts
        self._head_fields: dict[bytes, bytes] = {}
        self.on_header = self._head_fields.__setitem__  # type: ignore[method-assign,assignment]
        super().__init__(config, server_state, app_state, _loop)

    # connection

    def connection_made(self, transport: Any) -> None:
        """asyncio: connected. A connection that has sent nothing yet has been idle since now."""
        super().connection_made(transport)
        self.last_data = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes came."""
        self.last_data = self.loop.time()
        if self.parser is None or self.transport.is_closing():
            return
        if self.awaited_bytes:
            self._read_body(data)
        elif self.known_head is None or not self._read_known(data, self.known_head):
            self._parse(data)

    def _parse(self, data: bytes) -> None:
        """Bytes for the parser."""
        self.fresh = None if self.receiving_since else data
        if self.timeout_keep_alive_task is None:
            self._feed(data)
        else:
            super().data_received(data)
        self.fresh = None
        if self.is_reading_head:
            self._hold_head(len(data))

    # known heads

    def _read_known(self, data: bytes, known: KnownHead) -> bool:
        """Reads a request whose head came before on this connection; False where it is for the parser."""
        if self.receiving_since or self.is_ending or self.pipeline or self.timeout_keep_alive_task is not None:
            return False
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            return False
        found = known.pattern.read(data)
        self.misses = self.misses + 1 if found is None else 0
        if found is None:
            return False
        length, start = found
        lane = LaneExchange(self, known.dialect, known.path, known.fields, length, True)
        if self._enter(lane) and len(data) - start == length and lane.take_whole(data[start:], self.budget):
            self.core.handle(lane, known.dialect)
            return True
        self.receiving_since = self.last_data
        self.awaited_bytes = length
        if length and start < len(data):
            self._read_body(data[start:])
        elif not length:
            self.on_message_complete()
            self._parse_rest(data[start:])
        return True

    def _read_body(self, data: bytes) -> None:
        """A body's bytes, counted; what comes behind it is the next request."""
        awaited = self.awaited_bytes
        if len(data) <= awaited:
            body, rest = data, b""
        else:
            body, rest = data[:awaited], data[awaited:]
        self.awaited_bytes = awaited - len(body)
        self.on_body(body)
        if not self.awaited_bytes:
            self.on_message_complete()
            self._parse_rest(rest)

    def _parse_rest(self, rest: bytes) -> None:
        if rest and self.parser is not None and not self.transport.is_closing():
            self._parse(rest)

    def _hold_head(self, size: int) -> None:
        self.head_bytes += size
        if self.head_bytes > MAX_HEAD_BYTES:
            self._refuse_connection(431, fault("body_invalid", detail=" (The head of the request is too large.)"))
            return
        more = self.head_bytes - FREE_HEAD_BYTES - self.head_taken
        if more > 0:
            if self.strangers.take(more):
                self.head_taken += more
            else:
                self._refuse_connection(503, fault("overloaded"))

    def _free_head(self) -> None:
        if self.head_taken:
            self.strangers.give_back(self.head_taken)
            self.head_taken = 0

    def _feed(self, data: bytes) -> None:
        """What the parent does where no keep-alive timer runs and nothing is upgraded."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        except httptools.HttpParserUpgrade:
            self.send_400_response("Upgrades are not supported.")

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: gone."""
        self._free_head()
        lane = self.lane
        super().connection_lost(exc)
        if lane is not None:
            self.lane = None
            self._free(lane)
            if not lane.response_complete:
                lane.disconnected = True
                lane.set()

    def pause_writing(self) -> None:
        """asyncio: the client reads too slowly."""
        super().pause_writing()
        if self.lane is not None and self.lane.on_pressure is not None:
            self.lane.on_pressure(True)

    def resume_writing(self) -> None:
        """asyncio: the client has caught up."""
        super().resume_writing()
        if self.lane is not None and self.lane.on_pressure is not None:
            self.lane.on_pressure(False)

    def shutdown(self) -> None:
        """uvicorn: the process ends. Closing a kept-alive connection now could cut off a request that is on its way."""
        self.is_ending = True
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            lane = self.lane
            # a stream whose head has gone out has promised to stay: its client is told with the next answer
            if lane is None or not self._is_in(lane) or not lane.head_sent:
                cycle.keep_alive = False
        self.loop.call_later(LINGER_S, self._end_if_idle)

    def _end_if_idle(self) -> None:
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            self.close()
        else:
            self.cycle.keep_alive = False

    # parser callbacks

    def on_message_begin(self) -> None:
        """httptools: a request begins."""
        self.url = b""
        # only the first request within what came begins where that begins
        self.head_data, self.fresh = self.fresh, None
        self.is_reading_head = True
        self.head_bytes = 0
        self.receiving_since = self.last_data

    def on_headers_complete(self) -> None:
        """httptools: head complete; hot or not is decided here."""
        self.is_reading_head = False
        self._free_head()
        headers = {name.lower(): value for name, value in self._head_fields.items()}
        self._head_fields.clear()
        dialect = self.hot.get(self.url)
        if (
            dialect is not None
            and self.parser.get_method() == b"POST"
            and (self.cycle is None or self.cycle.response_complete)
            and not self.pipeline
            and self.parser.get_http_version() == "1.1"
        ):
            self._open_lane(dialect, headers)
            return
        self.head_data = None
        url = self.url
        super().on_message_begin()
        self.url = url
        self.expect_100_continue = headers.get(b"expect", b"").lower() == b"100-continue"
        self.headers += headers.items()
        try:
            # the URL parser counts in two bytes; a longer query is split off before and put back
            path, _, query = url.partition(b"?")
            if len(url) > MAX_PARSED_URL:
                self.url = path
            super().on_headers_complete()
            if len(url) > MAX_PARSED_URL:
                self.scope["query_string"] = query
            if self.is_ending and self.cycle is not None:
                self.cycle.keep_alive = False
        except (httptools.HttpParserInvalidURLError, UnicodeDecodeError):
            self._refuse_connection(400, fault("path_not_found", detail=" (The URL is malformed.)"))

    def _open_lane(self, dialect: Operation, headers: dict[bytes, bytes]) -> None:
        keep_alive = self.parser.should_keep_alive() and not self.is_ending
        head_data, self.head_data = self.head_data, None
        if head_data is not None and keep_alive and self.misses < MAX_MISSES:
            self.known_head = KnownHead.of(head_data, dialect, self.url.decode(), headers)
        length = headers.get(b"content-length")
        lane = LaneExchange(
            self, dialect, self.url.decode(), headers, None if length is None else int(length), keep_alive
        )
        if self._enter(lane) and headers.get(b"expect", b"").lower() == b"100-continue":
            self.outbox.post(self.transport, b"HTTP/1.1 100 Continue\r\n\r\n")

    def _enter(self, lane: LaneExchange) -> bool:
        """A request comes in; False where it is refused for what it says of its size."""
        self.lane = lane
        self.cycle = lane  # type: ignore[assignment]
        limit_bytes = self.core.max_body_bytes
        if lane.length is not None and lane.length > limit_bytes:
            self._refuse(lane, fault("file_too_large", limit_bytes=limit_bytes, size=lane.length))
            return False
        return True

    def _is_in(self, lane: LaneExchange) -> bool:
        """Whether the request coming in is the lane's; a pipelined one behind it is not."""
        cycle: object = self.cycle
        return cycle is lane

    def on_body(self, body: bytes) -> None:
        """httptools: part of the body."""
        lane = self.lane
        if lane is None or not self._is_in(lane):
            super().on_body(body)
            return
        if lane.is_refused:
            return
        if lane.size + len(body) > self.core.max_body_bytes:
            over = fault("file_too_large", limit_bytes=self.core.max_body_bytes, size="more")
            self._refuse(lane, over)
        elif not self._budget_of(lane, len(body)).take(len(body)):
            self._refuse(lane, fault("overloaded"))
        else:
            lane.size += len(body)
            lane.take(body)

    def _budget_of(self, lane: LaneExchange, size: int) -> BodyBudget:
        """Whose room a body takes. One that is whole at once is dealt with at once, so nobody need ask who sent it."""
        if lane.budget is None:
            is_known = lane.length == size or self.core.admission.find_cached(lane.headers) is not None
            lane.budget = self.budget if is_known else self.strangers
        return lane.budget

    def on_message_complete(self) -> None:
        """httptools: the request is whole."""
        self.receiving_since = 0.0
        lane = self.lane
        if lane is None or not self._is_in(lane):
            super().on_message_complete()
        elif lane.is_refused:
            # the client has sent all it had, so closing now cannot cut off our answer
            self.close()
        else:
            self.core.handle(lane, lane.dialect)

    # answers

    def _refuse(self, lane: LaneExchange, failure: Fault) -> None:
        """Answers at once, then lets the client finish sending."""
        lane.is_refused = True
        lane.keep_alive = False
        self.drain_until = self.loop.time() + DRAIN_S
        request_id = ids.new_request_id()
        self.core.meter.refused("", "unknown", lane.dialect.operation, failure.status, failure.slug)
        headers, body = lane.dialect.render_error(failure, request_id)
        lane.send(failure.status, [*headers, (b"x-request-id", request_id.encode())], body)

    def answered(self, lane: LaneExchange) -> None:
        """The answer is out: make the connection ready for the next request."""
        self.server_state.total_requests += 1
        self._free(lane)
        if lane.is_refused:
            return
        if not lane.keep_alive:
            self.close()
            return
        if self.pipeline or self.flow.read_paused:
            self.on_response_complete()

    def _free(self, lane: LaneExchange) -> None:
        if lane.size:
            (lane.budget or self.budget).give_back(lane.size)
            lane.size = 0
            lane.drop_body()

    def send_400_response(self, msg: str) -> None:
        """What could not be parsed gets our envelope, not plain text."""
        self._refuse_connection(400, fault("body_invalid", detail=f" ({msg})"))

    def _refuse_connection(self, status: int, failure: Fault) -> None:
        self.is_reading_head = False
        request_id = ids.new_request_id()
        headers, body = openai_errors.render(failure, request_id)
        headers += [
            (b"x-request-id", request_id.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        head = STATUS_LINE[status] + b"".join(b"%b: %b\r\n" % pair for pair in headers)
        self.outbox.post(self.transport, head + b"\r\n" + body)
        self.close()

    def close(self) -> None:
        """Closes the connection behind what was posted to it."""
        self.outbox.send()
        self.transport.close()

    # the sweep

    def is_overdue(self, now: float) -> bool:
        """Whether this connection sends too slowly, or has been idle for too long."""
        if self.drain_until:
            return now > self.drain_until
        since = self.receiving_since
        if not since:
            is_idle = self.cycle is None or self.cycle.response_complete
            return is_idle and now - self.last_data > KEEP_ALIVE_S
        if self.is_reading_head:
            return now - since > HEAD_TIMEOUT_S
        size = self.lane.size if self.lane is not None else 0
        return now - self.last_data > BODY_IDLE_TIMEOUT_S or now - since > BODY_GRACE_S + size / 1024


async def sweep_connections(connections: set[Any], meter_connections: Callable[[int], None]) -> None:
    """Runs for the life of the process: closes what is overdue, so that no call needs timers of its own."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(SWEEP_S)
        now = loop.time()
        meter_connections(len(connections))
        for connection in list(connections):
            if isinstance(connection, FastLane) and connection.is_overdue(now):
                connection.close()
