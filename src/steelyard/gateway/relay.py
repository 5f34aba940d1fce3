"""The call to the target and the way of its answer to the client.

Same dialect on both sides: bytes pass through, read by a tap. Nothing is tried again once a byte has gone downstream.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from steelyard.base.clock import monotonic
from steelyard.base.errors import Fault, fault
from steelyard.canon.model import Target
from steelyard.dialects.dialect import Dialect
from steelyard.dialects.openai_errors import read_refusal
from steelyard.gateway.call import ABANDONED, BROKEN, COMPLETED, Call, estimate_answer_tokens
from steelyard.gateway.exchange import Exchange, Headers
from steelyard.upstream.pool import (
    ConnectError,
    Connection,
    Flight,
    OriginPool,
    Pool,
    PoolError,
    TimedOut,
    parse_origin,
)
from steelyard.upstream.providers.openai import request_head

#: A local engine may be loading or restarting: calls wait this long for it.
ENGINE_WAIT_S = 30.0
ENGINE_POLL_S = 0.1
#: Refusals longer than this are not worth reading.
MAX_REFUSAL_BYTES = 262_144

#: Targets are new objects with every snapshot; old routes must not pile up.
MAX_ROUTES = 512
log = logging.getLogger("steelyard.gateway")

_JSON = (b"content-type", b"application/json")
_SSE_HEADERS: Headers = [
    (b"content-type", b"text/event-stream;charset=UTF-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class ClientGone(Exception):
    """The client went away before its call was sent."""


@dataclass(frozen=True, slots=True)
class Route:
    """What every call to one target by one dialect has in common, made once."""

    target: Target
    origin: OriginPool
    head: bytes
    headers: Headers


#: Told once how a call ended: None when it was answered or its client left, a fault when nothing has gone downstream.
Conclude = Callable[[Fault | None], None]


class Relay:
    """Carries calls to targets over one pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._routes: dict[tuple[int, str], Route] = {}
        self._loop = asyncio.get_running_loop()
        self._connecting: set[asyncio.Task[None]] = set()

    def _route(self, target: Target, dialect: Dialect) -> Route:
        # hashing a target's every field would cost more than the rest of the look-up; the route keeps the target alive,
        # so its id stays its own
        key = (id(target), dialect.upstream_path)
        route = self._routes.get(key)
        if route is None:
            route = self._make_route(target, dialect)
            if len(self._routes) >= MAX_ROUTES:
                self._routes.clear()
            self._routes[key] = route
        return route

    def _make_route(self, target: Target, dialect: Dialect) -> Route:
        origin = parse_origin(target.base_url)
        pool = self._pool.origin(origin)
        pool.chunk_timeout_s = target.chunk_timeout_s
        headers = [(b"x-steelyard-target", target.label.encode()), (b"x-steelyard-attempts", b"1")]
        return Route(target, pool, request_head(target, origin, dialect.upstream_path), headers)

    def begin(self, call: Call, exchange: Exchange, dialect: Dialect, conclude: Conclude) -> None:
        """Sends the call on its way; `conclude` is told how it ended."""
        target, request = call.target, call.request
        route = self._route(target, dialect)
        # an engine host answers under any name, so nothing need be rewritten on the way back
        name = request.model if target.is_local else target.model
        body = dialect.encode(request, name, target.default_output_tokens)
        head = b"%bX-Request-Id: %b\r\nContent-Length: %d\r\n\r\n" % (route.head, call.request_id.encode(), len(body))
        shown = None if name == request.model else request.model
        journey = (_Stream if request.is_stream else _Whole)(call, exchange, dialect, route, shown, conclude)
        connection = route.origin.take_idle()
        if connection is not None:
            journey.launch(connection, head + body, self._loop)
            return
        task = self._loop.create_task(self._connect(route, journey, head + body))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, route: Route, journey: "_Journey", data: bytes) -> None:
        try:
            connection = await self._acquire(route.origin, route.target, journey.exchange)
        except Fault as failure:
            journey.conclude(failure)
        except ClientGone:
            journey.on_gone()
        else:
            journey.launch(connection, data, self._loop)

    async def _acquire(self, origin: OriginPool, target: Target, exchange: Exchange) -> Connection:
        give_up_at = monotonic() + (ENGINE_WAIT_S if target.is_local else 0.0)
        while True:
            try:
                return await origin.acquire(target.connect_timeout_s)
            except ConnectError as exc:
                if exchange.is_disconnected:
                    raise ClientGone from None
                if not target.is_local:
                    raise fault("bad_gateway", detail=f" ({target.provider}: {exc})") from exc
                if monotonic() > give_up_at:
                    raise fault("model_unavailable", detail=" (Its engine does not answer.)") from exc
            await asyncio.sleep(ENGINE_POLL_S)


class _Journey:
    """One request on one connection. Everything happens in callbacks of the pool and of the exchange."""

    __slots__ = ("call", "conclude", "connection", "dialect", "exchange", "flight", "route", "shown_model")

    def __init__(
        self,
        call: Call,
        exchange: Exchange,
        dialect: Dialect,
        route: Route,
        shown_model: str | None,
        conclude: Conclude,
    ) -> None:
        self.call = call
        self.exchange = exchange
        self.dialect = dialect
        self.route = route
        self.shown_model = shown_model
        self.conclude = conclude
        self.connection: Connection
        self.flight: Flight

    def launch(self, connection: Connection, data: bytes, loop: asyncio.AbstractEventLoop) -> None:
        """Sends the request."""
        self.connection = connection
        self.flight = Flight(self.on_end, loop.time() + self.route.target.first_byte_timeout_s)
        self.prepare()
        if self.exchange.is_disconnected:
            connection.abort()
            self.on_gone()
            return
        self.exchange.on_disconnect = self.on_gone
        connection.start(data, self.flight)

    def prepare(self) -> None:
        """What a kind of journey sets up before it is launched."""

    def headers(self) -> Headers:
        return [(b"x-request-id", self.call.request_id.encode()), *self.route.headers]

    def on_gone(self) -> None:
        """The client has left: the upstream sees its connection close, and what was delivered is settled."""
        flight = getattr(self, "flight", None)
        if flight is not None and self.connection.flight is flight:
            self.connection.abort()
        with contextlib.suppress(Fault):
            self.abandon()
        self.conclude(None)

    def abandon(self) -> None:
        self.call.settle(None, status=499, failure=fault("client_disconnect"), outcome=ABANDONED)

    def on_end(self, error: PoolError | None) -> None:
        """The pool's word on the call. A frame of its own: nothing may escape into the parser."""
        exchange = self.exchange
        exchange.on_disconnect = None
        exchange.on_pressure = None
        failure: Fault | None = None
        try:
            self.arrive(None if error is None else self.explain(error))
        except Fault as exc:
            # its traceback holds this frame, which holds the fault
            failure = exc.with_traceback(None)
        except Exception:
            log.exception("call failed", extra={"request_id": self.call.request_id})
            failure = fault("internal_error")
        self.conclude(failure)

    def explain(self, error: PoolError) -> Fault:
        """A pool error as a fault."""
        if isinstance(error, TimedOut):
            return fault("upstream_timeout")
        if self.route.target.is_local:
            return fault("model_unavailable", detail=" (Its engine stopped.)")
        return fault("bad_gateway", detail=f" ({self.route.target.provider}: {error})")

    def arrive(self, failure: Fault | None) -> None:
        """The answer is whole, or will never be. Raises the fault where nothing has gone downstream."""
        raise NotImplementedError

    def refusal(self) -> Fault:
        """An error answer of the upstream as a fault."""
        answer = self.flight.answer
        try:
            body = msgspec.json.decode(answer.body[:MAX_REFUSAL_BYTES])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            body = None
        return read_refusal(
            answer.status, answer.headers, body if isinstance(body, dict) else None, self.route.target.provider
        )


class _Whole(_Journey):
    """An answer in one piece."""

    __slots__ = ()

    def arrive(self, failure: Fault | None) -> None:
        if failure is not None:
            raise failure
        answer = self.flight.answer
        if answer.status != 200:
            raise self.refusal()
        reply = self.dialect.read_reply(answer.body)
        if reply.error is not None:
            raise reply.error
        body = answer.body if self.shown_model is None else self.dialect.rename_reply(answer.body, self.shown_model)
        self.call.settle(reply.usage, counted_tokens=estimate_answer_tokens(reply.answer_bytes))
        self.exchange.send(200, [_JSON, *self.headers()], body)


class _Stream(_Journey):
    """An answer in pieces."""

    __slots__ = ("is_ended", "is_started", "tap")

    def prepare(self) -> None:
        self.is_started = False
        self.is_ended = False
        self.tap = self.dialect.open_tap(not self.call.request.wants_usage, self.shown_model)
        self.flight.on_body = self.on_body
        self.exchange.on_pressure = self.connection.pause

    def on_body(self, chunk: bytes) -> None:
        """A piece from the upstream. Runs inside the parser, so nothing may be raised from here."""
        if self.is_ended:
            return
        try:
            if not self.is_started and not self.start(chunk):
                return
            out = self.tap.feed(chunk)
            if self.tap.is_done:
                self.end(out)
            elif out:
                self.exchange.write(out)
        except Fault as failure:
            self.give_up(failure)
        except Exception:
            log.exception("stream failed", extra={"request_id": self.call.request_id})
            self.give_up(fault("stream_broken"))

    def give_up(self, failure: Fault) -> None:
        """Nothing more is read from the upstream."""
        self.connection.abort()
        self.exchange.on_disconnect = None
        self.exchange.on_pressure = None
        self.break_off(failure)
        self.conclude(None)

    def start(self, chunk: bytes) -> bool:
        """Sends the head downstream, if this is a stream at all."""
        answer = self.flight.answer
        if answer.status != 200 or b"event-stream" not in answer.headers.get(b"content-type", b""):
            self.flight.on_body = None
            self.flight.parts.append(chunk)
            return False
        self.is_started = True
        self.call.first_at = monotonic()
        self.exchange.start(200, _SSE_HEADERS + self.headers())
        return True

    def arrive(self, failure: Fault | None) -> None:
        if not self.is_started:
            raise failure or (self.refusal() if self.flight.answer.status != 200 else _no_stream())
        if self.is_ended:
            return
        if failure is not None:
            self.break_off(failure)
        else:
            self.finish()

    def end(self, out: bytes) -> None:
        """The end mark came: record first, then let it go."""
        failure = self.tap.error
        self.is_ended = True
        try:
            self.settle(200 if failure is None else failure.status, failure, COMPLETED if failure is None else BROKEN)
        except Fault as problem:
            # not recorded, so not finished: the client learns of it in place of the end mark
            self.exchange.end(self.dialect.render_stream_error(problem, self.call.request_id))
            return
        self.exchange.end(out)

    def finish(self) -> None:
        """The upstream ended without its end mark."""
        out = self.tap.flush()
        if self.tap.is_done or self.tap.error is not None:
            self.end(out)
        elif self.tap.usage is not None:
            self.end(out + b"data: [DONE]\n\n")
        else:
            if out:
                self.exchange.write(out)
            self.break_off(fault("stream_broken"))

    def break_off(self, failure: Fault) -> None:
        """Tells the client in the stream that there will be no more."""
        self.is_ended = True
        with contextlib.suppress(Fault):
            self.settle(failure.status, failure, BROKEN)
        self.exchange.end(self.dialect.render_stream_error(failure, self.call.request_id))

    def abandon(self) -> None:
        if getattr(self, "is_started", False):
            self.settle(499, fault("client_disconnect"), ABANDONED)
        else:
            super().abandon()

    def settle(self, status: int, failure: Fault | None, outcome: str) -> None:
        tap = self.tap
        self.call.settle(tap.usage, status=status, failure=failure, outcome=outcome, counted_tokens=tap.pieces)


def _no_stream() -> Fault:
    return fault("bad_gateway", detail=" (A stream was asked for, something else came.)")
