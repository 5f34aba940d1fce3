"""One call's way to an answer: the attempts it makes, and what of them reaches the client.

Same dialect on both sides: bytes pass through, read by a tap. Nothing is tried again once a byte has gone downstream.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from steelyard.base.clock import monotonic
from steelyard.base.errors import Fault, fault
from steelyard.base.units import MICROS
from steelyard.canon.inspection import OUTPUT
from steelyard.canon.usage import Usage
from steelyard.dialects.crossing import Crossing
from steelyard.dialects.dialect import Dialect, Showing
from steelyard.gateway.attempt import Attempt, Route
from steelyard.gateway.call import ABANDONED, BROKEN, COMPLETED, Call, estimate_answer_tokens
from steelyard.gateway.checking import Gate
from steelyard.gateway.exchange import Exchange, Headers
from steelyard.gateway.inspection import texts_of_reply

if TYPE_CHECKING:
    from steelyard.gateway.relay import Relay

#: Refusals longer than this are not worth reading.
MAX_REFUSAL_BYTES = 262_144

log = logging.getLogger("steelyard.gateway")

_JSON = (b"content-type", b"application/json")
_SSE_HEADERS: Headers = [
    (b"content-type", b"text/event-stream;charset=UTF-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]

#: Told once where a call ended with nothing downstream, and why.
Conclude = Callable[[Call, Exchange, Dialect, Fault], None]


class Journey:
    """A call between its admission and its settlement."""

    __slots__ = ("call", "conclude", "dialect", "exchange", "is_over", "relay", "running", "timers")

    is_stream = False

    def __init__(self, relay: Relay, call: Call, exchange: Exchange, dialect: Dialect, conclude: Conclude) -> None:
        self.relay = relay
        self.call = call
        self.exchange = exchange
        self.dialect = dialect
        self.conclude = conclude
        self.running: list[Attempt] = []
        self.timers: list[asyncio.TimerHandle] = []
        self.is_over = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.call!r} [{len(self.running)} attempts under way]>"

    # the client

    def on_gone(self) -> None:
        """The client has left: upstreams see their connections close, and what was delivered is settled."""
        if self.is_over:
            return
        self.close()
        with contextlib.suppress(Fault):
            self.abandon()

    def abandon(self) -> None:
        """Settles a call whose client left before anything was delivered."""
        self.call.settle(None, status=499, failure=fault("client_disconnect"), outcome=ABANDONED)

    def close(self) -> None:
        """Lets go of everything; nothing more will happen."""
        self.is_over = True
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()
        running, self.running = self.running, []
        for attempt in running:
            attempt.drop()
        self.exchange.on_disconnect = None
        self.exchange.on_pressure = None

    def finish(self, failure: Fault | None) -> None:
        """The end, told once."""
        if not self.is_over:
            self.close()
            if failure is not None:
                self.conclude(self.call, self.exchange, self.dialect, failure)

    # the attempts

    def resend(self, attempt: Attempt) -> None:
        """See `attempt.Traveller`."""
        if not self.is_over:
            self.relay.connect(self, attempt)

    def arrived(self, attempt: Attempt, failure: Fault | None) -> None:
        """See `attempt.Traveller`. A frame of its own: nothing may escape into the parser."""
        if self.is_over:
            return
        if attempt in self.running:
            self.running.remove(attempt)
        try:
            if failure is not None:
                raise failure
            self.take(attempt)
        except Fault as exc:
            # its traceback holds this frame, which holds the fault
            self.fail(attempt, exc.with_traceback(None))
        except Exception:
            log.exception("call failed", extra={"request_id": self.call.request_id})
            self.finish(fault("internal_error"))

    def fail(self, attempt: Attempt, failure: Fault) -> None:
        """An attempt failed with nothing downstream: another may follow."""
        attempt.report(failure, self.relay.now())
        if not self.relay.go_on(self, attempt, failure):
            self.finish(failure)

    def take(self, attempt: Attempt) -> None:
        """The answer is whole. Raises the fault where nothing has gone downstream."""
        raise NotImplementedError

    def piece(self, attempt: Attempt, chunk: bytes) -> None:
        """See `attempt.Traveller`."""
        raise NotImplementedError

    # what answers have in common

    def headers(self, route: Route) -> Headers:
        """The head lines that say what answered."""
        call = self.call
        request_id = call.request_id.encode()
        headers: Headers = []
        for name in self.dialect.id_headers:
            headers.append((name, request_id))
        headers += route.headers
        if call.attempts > 1:
            headers[-1] = (b"x-steelyard-attempts", b"%d" % call.attempts)
        headers += call.rate_headers
        if route.wire is not self.dialect:
            assert isinstance(route.wire, Crossing)
            dropped = route.wire.dropped(call.request)
            if dropped:
                headers.append((b"x-steelyard-dropped", ", ".join(dropped).encode()))
        return headers

    def showing(self, route: Route) -> Showing:
        """How the answer is shown."""
        call = self.call
        return Showing(
            call.request, call.request_id, call.started_us // MICROS, self.shown_model(route), call.inspection
        )

    def shown_model(self, route: Route) -> str | None:
        """The name to write into the answer, None where the upstream's is the caller's."""
        target, asked = route.target, self.call.request.model
        # an engine host answers under any name
        return None if target.is_local or target.model == asked else asked

    def refusal(self, attempt: Attempt) -> Fault:
        """An error answer of the upstream as a fault."""
        try:
            body = msgspec.json.decode(attempt.body[:MAX_REFUSAL_BYTES])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            body = None
        provider = attempt.route.target.provider
        return attempt.route.wire.read_refusal(attempt.status, attempt.headers, body, provider)


class Whole(Journey):
    """An answer in one piece."""

    __slots__ = ()

    def take(self, attempt: Attempt) -> None:
        """See `Journey`."""
        if attempt.status != 200:
            raise self.refusal(attempt)
        route = attempt.route
        reply = route.wire.read_reply(attempt.body)
        if reply.error is not None:
            raise reply.error
        body = route.wire.show_reply(attempt.body, self.showing(route))
        attempt.report(None, self.relay.now())
        call = self.call
        call.target = route.target
        counted_tokens = estimate_answer_tokens(reply.answer_bytes)
        try:
            if call.inspection is not None:
                body = self._inspect(body, reply.usage, counted_tokens)
                if call.inspection.is_asking:
                    self.relay.spawn(self._send_when_passed(route, body, reply.usage, counted_tokens))
                    return
            call.settle(reply.usage, counted_tokens=counted_tokens, is_posted=self.exchange.is_posted)
        except Fault as failure:
            # answered, but not recorded, or not fit to be shown: another attempt would change nothing
            self.finish(failure.with_traceback(None))
            return
        self._send(route, body)

    def _send(self, route: Route, body: bytes) -> None:
        headers = [_JSON, *self.headers(route)]
        exchange = self.exchange
        self.close()
        exchange.send(200, headers, body)

    async def _send_when_passed(self, route: Route, body: bytes, usage: Usage | None, counted_tokens: int) -> None:
        """Somebody else is asked about the answer's texts first."""
        call = self.call
        assert call.inspection is not None
        try:
            await call.inspection.ask(texts_of_reply(body, self.dialect), OUTPUT)
            if self.is_over:
                return
            call.settle(usage, counted_tokens=counted_tokens)
        except Fault as failure:
            if self.is_over:
                return
            with contextlib.suppress(Fault):
                # it was made, so it is charged
                call.settle(
                    usage, status=failure.status, failure=failure, outcome=BROKEN, counted_tokens=counted_tokens
                )
            self.finish(failure.with_traceback(None))
            return
        self._send(route, body)

    def _inspect(self, body: bytes, usage: Usage | None, counted_tokens: int) -> bytes:
        """The answer as it may go on. A refused one was made, so it is charged."""
        call = self.call
        assert call.inspection is not None
        try:
            return call.inspection.rewrite_output(body, self.dialect)
        except Fault as failure:
            call.settle(usage, status=failure.status, failure=failure, outcome=BROKEN, counted_tokens=counted_tokens)
            raise


class Stream(Journey):
    """An answer in pieces."""

    __slots__ = ("gate", "is_ended", "is_started", "leader", "tap", "waits_for_gate")

    is_stream = True

    def __init__(self, relay: Relay, call: Call, exchange: Exchange, dialect: Dialect, conclude: Conclude) -> None:
        super().__init__(relay, call, exchange, dialect, conclude)
        #: The attempt whose answer goes downstream.
        self.leader: Attempt | None = None
        self.is_started = False
        self.is_ended = False
        #: Where the answer waits until somebody else has said yes to its texts.
        self.gate: Gate | None = None
        self.waits_for_gate = False

    def close(self) -> None:
        """See `Journey`."""
        super().close()
        # the attempt and the gate hold the journey: no cycle may outlive the call
        self.leader = None
        self.gate = None
        if self.call.inspection is not None:
            self.call.inspection.hear = None

    def piece(self, attempt: Attempt, chunk: bytes) -> None:
        """A piece from the upstream. Runs inside the parser, so nothing may be raised from here."""
        if self.is_over or self.is_ended:
            return
        try:
            if self.leader is not attempt and not self._lead(attempt, chunk):
                return
            out = self.tap.feed(chunk)
            if self.gate is not None:
                self._hold(self.gate, out)
            elif self.tap.is_done:
                self._end(out)
            elif out:
                self.exchange.write(out)
        except Fault as failure:
            self._give_up(failure)
        except Exception:
            log.exception("stream failed", extra={"request_id": self.call.request_id})
            self._give_up(fault("stream_broken"))

    def _lead(self, attempt: Attempt, chunk: bytes) -> bool:
        """Sends the head downstream, if this is a stream at all and the first to answer."""
        if attempt.status != 200 or b"event-stream" not in attempt.headers.get(b"content-type", b""):
            attempt.on_body = None
            attempt.parts.append(chunk)
            return False
        self.leader, self.is_started = attempt, True
        attempt.first_s = self.relay.now() - attempt.began
        for slower in [one for one in self.running if one is not attempt]:
            self.running.remove(slower)
            slower.drop()
        route, call = attempt.route, self.call
        call.target = route.target
        call.first_at = monotonic()
        self.tap = route.wire.open_tap(self.showing(route))
        if call.inspection is not None and call.inspection.is_asking:
            self.gate = Gate(self, call.inspection.ask_output)
            call.inspection.hear = self.gate.hear
        assert attempt.connection is not None
        self.exchange.on_pressure = attempt.connection.pause
        self.exchange.start(200, _SSE_HEADERS + self.headers(route))
        return True

    # the gate

    def _hold(self, gate: Gate, out: bytes) -> None:
        """What has come waits; the last of it is settled when it has passed."""
        self.is_ended = self.waits_for_gate = self.tap.is_done
        gate.hold(out, is_last=self.tap.is_done)

    def let_pass(self, data: bytes, *, is_last: bool) -> None:
        """See `checking.Passenger`."""
        if not is_last:
            if data:
                self.exchange.write(data)
            return
        self._end(data)
        self.finish(None)

    def turn_back(self, failure: Fault) -> None:
        """See `checking.Passenger`."""
        self._give_up(failure)

    def press(self, is_full: bool) -> None:
        """See `checking.Passenger`."""
        if self.leader is not None and self.leader.connection is not None and not self.is_ended:
            self.leader.connection.pause(is_full)

    def _give_up(self, failure: Fault) -> None:
        """Nothing more is read from the upstream."""
        if self.leader is not None:
            self.leader.report(failure, self.relay.now())
        self._break_off(failure)
        self.finish(None)

    def fail(self, attempt: Attempt, failure: Fault) -> None:
        """See `Journey`; after the first byte there is no other attempt."""
        if not self.is_started:
            super().fail(attempt, failure)
            return
        attempt.report(failure, self.relay.now())
        if self.waits_for_gate:
            # all has come; what happens to the connection afterwards is nobody's loss
            return
        if not self.is_ended:
            self._break_off(failure)
        self.finish(None)

    def take(self, attempt: Attempt) -> None:
        """See `Journey`: the upstream has ended."""
        if not self.is_started:
            raise self.refusal(attempt) if attempt.status != 200 else _no_stream()
        if not self.is_ended:
            self._close_stream()
        attempt.report(None, self.relay.now())
        if not self.waits_for_gate:
            self.finish(None)

    def _close_stream(self) -> None:
        """The upstream ended without its end mark."""
        out = self.tap.flush()
        if self.gate is not None and self.tap.is_done:
            self._hold(self.gate, out)
        elif self.tap.is_done or self.tap.error is not None:
            self._end(out)
        else:
            if out:
                self.exchange.write(out)
            raise fault("stream_broken")

    def _end(self, out: bytes) -> None:
        """The end mark came: record first, then let it go."""
        failure = self.tap.error
        self.is_ended = True
        try:
            if failure is None:
                self._settle(200, None, COMPLETED, is_posted=self.exchange.is_posted)
            else:
                self._settle(failure.status, failure, BROKEN)
        except Fault as problem:
            # not recorded, so not finished: the client learns of it in place of the end mark
            self.exchange.break_off(self.tap.fail(problem))
            return
        (self.exchange.end if failure is None else self.exchange.break_off)(out)

    def _break_off(self, failure: Fault) -> None:
        """Tells the client in the stream that there will be no more."""
        self.is_ended = True
        with contextlib.suppress(Fault):
            self._settle(failure.status, failure, BROKEN)
        self.exchange.break_off(self.tap.fail(failure))

    def abandon(self) -> None:
        """See `Journey`."""
        if self.is_started:
            self._settle(499, fault("client_disconnect"), ABANDONED)
        else:
            super().abandon()

    def _settle(self, status: int, failure: Fault | None, outcome: str, *, is_posted: bool = False) -> None:
        tap = self.tap
        self.call.settle(
            tap.usage,
            status=status,
            failure=failure,
            outcome=outcome,
            counted_tokens=tap.pieces,
            is_posted=is_posted,
        )


def _no_stream() -> Fault:
    return fault("bad_gateway", detail=" (A stream was asked for, something else came.)")
