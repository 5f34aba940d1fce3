"""The call to the target and the way of its answer to the client.

Same dialect on both sides: bytes pass through, read by a tap. Nothing is tried again once a byte has gone downstream.
"""

import asyncio
from dataclasses import dataclass

import msgspec

from steelyard.base.clock import monotonic
from steelyard.base.errors import Fault, fault
from steelyard.canon.model import Target
from steelyard.dialects.dialect import Dialect
from steelyard.dialects.openai_errors import read_refusal
from steelyard.gateway.call import ABANDONED, BROKEN, Call, estimate_answer_tokens
from steelyard.gateway.exchange import Exchange, Headers
from steelyard.upstream.pool import (
    Answer,
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

_SSE_HEADERS: Headers = [
    (b"content-type", b"text/event-stream;charset=UTF-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class ClientGone(Exception):
    """The client went away while its answer was under way."""


@dataclass(frozen=True, slots=True)
class Route:
    """What every call to one target by one dialect has in common, made once."""

    origin: OriginPool
    head: bytes
    label: bytes


class Relay:
    """Carries calls to targets over one pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._routes: dict[tuple[Target, str], Route] = {}
        self._loop = asyncio.get_running_loop()

    def _route(self, target: Target, dialect: Dialect) -> Route:
        # targets are frozen and live as long as their snapshot; the id is a cheap key for the common case
        key = (target, dialect.upstream_path)
        route = self._routes.get(key)
        if route is None:
            if len(self._routes) > 10_000:
                self._routes.clear()
            origin = parse_origin(target.base_url)
            head = request_head(target, origin, dialect.upstream_path)
            pool = self._pool.origin(origin)
            pool.chunk_timeout_s = target.chunk_timeout_s
            route = self._routes[key] = Route(pool, head, target.label.encode())
        return route

    async def run(self, call: Call, exchange: Exchange, dialect: Dialect) -> None:
        """Makes the call and answers the exchange.

        Raises:
            Fault: nothing has gone downstream yet.
            ClientGone: there is nobody to answer.
        """
        target, request = call.target, call.request
        route = self._route(target, dialect)
        # an engine host answers under any name, so nothing need be rewritten on the way back
        name = request.model if target.is_local else target.model
        body = dialect.encode(request, name, target.default_output_tokens)
        head = b"%bX-Request-Id: %b\r\nContent-Length: %d\r\n\r\n" % (route.head, call.request_id.encode(), len(body))
        connection = await self._connect(route.origin, target, exchange)
        flight = Flight(self._loop)
        flight.done = self._loop.create_future()
        flight.deadline = self._loop.time() + target.first_byte_timeout_s
        shown = None if name == request.model else request.model
        journey = _Stream if request.is_stream else _Whole
        await journey(call, exchange, dialect, connection, flight, route.label, shown).travel(head + body)

    async def _connect(self, origin: OriginPool, target: Target, exchange: Exchange) -> Connection:
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
    """One request on one connection."""

    def __init__(
        self,
        call: Call,
        exchange: Exchange,
        dialect: Dialect,
        connection: Connection,
        flight: Flight,
        label: bytes,
        shown_model: str | None,
    ) -> None:
        assert flight.done is not None
        self.call = call
        self.exchange = exchange
        self.dialect = dialect
        self.connection = connection
        self.flight = flight
        self.done: asyncio.Future[Answer] = flight.done
        self.label = label
        self.shown_model = shown_model

    def headers(self) -> Headers:
        return [
            (b"x-request-id", self.call.request_id.encode()),
            (b"x-steelyard-target", self.label),
            (b"x-steelyard-attempts", b"1"),
        ]

    def stop(self, reason: Exception) -> None:
        """Ends the call under way; the upstream sees its connection close."""
        if not self.done.done():
            self.connection.abort()
            self.done.set_exception(reason)

    async def fly(self, request: bytes) -> Answer:
        """Sends and waits for the end of the answer; pool errors become faults here."""
        exchange = self.exchange
        if exchange.is_disconnected:
            self.connection.abort()
            raise ClientGone
        exchange.on_disconnect = lambda: self.stop(ClientGone())
        self.connection.start(request, self.flight)
        try:
            return await self.done
        except TimedOut as exc:
            raise fault("upstream_timeout") from exc
        except PoolError as exc:
            if self.call.target.is_local:
                raise fault("model_unavailable", detail=" (Its engine stopped.)") from exc
            raise fault("bad_gateway", detail=f" ({self.call.target.provider}: {exc})") from exc
        except asyncio.CancelledError:
            self.connection.abort()
            raise
        finally:
            exchange.on_disconnect = None
            exchange.on_pressure = None

    def refusal(self, answer: Answer) -> Fault:
        try:
            body = msgspec.json.decode(answer.body[:MAX_REFUSAL_BYTES])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            body = None
        return read_refusal(
            answer.status, answer.headers, body if isinstance(body, dict) else None, self.call.target.provider
        )


class _Whole(_Journey):
    """An answer in one piece."""

    async def travel(self, request: bytes) -> None:
        try:
            answer = await self.fly(request)
        except ClientGone:
            self.call.settle(None, status=499, failure=fault("client_disconnect"), outcome=ABANDONED)
            raise
        if answer.status != 200:
            raise self.refusal(answer)
        reply = self.dialect.read_reply(answer.body)
        if reply.error is not None:
            raise reply.error
        body = answer.body if self.shown_model is None else self.dialect.rename_reply(answer.body, self.shown_model)
        self.call.settle(reply.usage, counted_tokens=estimate_answer_tokens(reply.answer_bytes))
        self.exchange.send(200, [(b"content-type", b"application/json"), *self.headers()], body)


class _Stream(_Journey):
    """An answer in pieces."""

    is_started = False
    is_ended = False

    async def travel(self, request: bytes) -> None:
        self.tap = self.dialect.open_tap(not self.call.request.wants_usage, self.shown_model)
        self.flight.on_body = self.on_body
        self.exchange.on_pressure = self.connection.pause
        try:
            answer = await self.fly(request)
        except ClientGone:
            self.settle(499, fault("client_disconnect"), ABANDONED)
            raise
        except Fault as failure:
            if not self.is_started:
                raise
            if not self.is_ended:
                self.break_off(failure)
            return
        if not self.is_started:
            raise self.refusal(answer) if answer.status != 200 else self.no_stream()
        if not self.is_ended:
            self.finish()

    def no_stream(self) -> Fault:
        return fault("bad_gateway", detail=" (A stream was asked for, something else came.)")

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
            self.stop(failure)
        except ValueError:
            self.stop(fault("stream_broken"))

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

    def end(self, out: bytes) -> None:
        """The end mark came: record first, then let it go."""
        failure = self.tap.error
        self.settle(200 if failure is None else failure.status, failure, None)
        self.is_ended = True
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
        self.settle(failure.status, failure, BROKEN)
        self.exchange.end(self.dialect.render_stream_error(failure, self.call.request_id))

    def settle(self, status: int, failure: Fault | None, outcome: str | None) -> None:
        tap = self.tap
        outcome = outcome or ("completed" if failure is None else BROKEN)
        self.call.settle(tap.usage, status=status, failure=failure, outcome=outcome, counted_tokens=tap.pieces)
