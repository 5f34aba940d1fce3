"""One request to one target. It belongs to a journey, which may make several; the target's health hears how it ended."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from steelyard.base.errors import Fault, fault
from steelyard.canon.model import Target
from steelyard.dialects.dialect import Wire
from steelyard.gateway.exchange import Headers
from steelyard.gateway.health import TargetHealth
from steelyard.policy.retry import may_go_elsewhere
from steelyard.upstream.pool import Connection, CutOff, Flight, OriginPool, PoolError, TimedOut, nobody
from steelyard.upstream.providers.kind import Forward


@dataclass(frozen=True, slots=True)
class Route:
    """What every call to one target by one dialect has in common, made once."""

    target: Target
    wire: Wire
    origin: OriginPool
    head: bytes
    headers: Headers
    health: TargetHealth
    forwards: tuple[Forward, ...] = ()


class Traveller(Protocol):
    """Who waits for an attempt."""

    def arrived(self, attempt: Attempt, failure: Fault | None) -> None:
        """The answer is whole, or will never be."""
        ...

    def piece(self, attempt: Attempt, chunk: bytes) -> None:
        """A part of a streamed answer."""
        ...

    def resend(self, attempt: Attempt) -> None:
        """The connection was kept alive too long and died before it carried anything: a new one is wanted."""
        ...


#: A stale connection fails within this time of its use.
STALE_S = 1.0


class Attempt(Flight):
    """A request on its way. Everything happens in callbacks of the pool, whose flight it is once it is launched."""

    __slots__ = (
        "_is_reported",
        "began",
        "connection",
        "first_s",
        "is_reused",
        "journey",
        "route",
        "sent_at",
    )

    def __init__(self, journey: Traveller, route: Route, now: float) -> None:
        self.journey = journey
        self.route = route
        self.began = now
        #: seconds to the first byte of the answer, None before it
        self.first_s: float | None = None
        self.connection: Connection | None = None
        self.is_reused = False
        self.sent_at = now
        self._is_reported = False
        route.health.began()

    def __repr__(self) -> str:
        return f"<Attempt at {self.route.target.label} [{'under way' if self.connection else 'connecting'}]>"

    def launch(self, connection: Connection, data: bytes, is_stream: bool, now: float, give_up_at: float) -> None:
        """Sends the request.

        Args:
            now, give_up_at: loop times; the latter is when the call as a whole is given up.
        """
        target = self.route.target
        self.connection = connection
        self.sent_at = now
        super().__init__(nobody, min(now + target.first_byte_timeout_s, give_up_at))
        self.give_up_at = give_up_at
        if is_stream:
            self.chunk_timeout_s = target.chunk_timeout_s
            self.on_body = partial(self.journey.piece, self)
        connection.start(data, self)

    def end(self, error: PoolError | None) -> None:
        """The pool's word on the answer."""
        self.on_body = None
        if error is None:
            self.journey.arrived(self, None)
        elif self._was_stale(error):
            self.journey.resend(self)
        else:
            self.journey.arrived(self, self._explain(error))

    def _was_stale(self, error: PoolError) -> bool:
        """Whether the upstream had closed a kept-alive connection just before we used it: that is no failure of the call.

        It shows within a round trip. What breaks later was being worked on, and an engine host keeps connections longer
        than the pool does.
        """
        if not self.is_reused or not isinstance(error, CutOff) or self.status:
            return False
        return not self.route.target.is_local and self.sent_at + STALE_S > asyncio.get_running_loop().time()

    def _explain(self, error: PoolError) -> Fault:
        target = self.route.target
        if isinstance(error, TimedOut):
            return fault("upstream_timeout")
        if target.is_composite:
            return fault("app_failed", detail="the process that ran it stopped.")
        if target.is_local:
            return fault("model_unavailable", detail=" (Its engine stopped.)")
        return fault("bad_gateway", detail=f" ({target.provider}: {error})")

    def report(self, failure: Fault | None, now: float) -> None:
        """Tells the target's health, once: a caller's mistake is no failure of the target."""
        if self._is_reported:
            return
        self._is_reported = True
        health = self.route.health
        if failure is None or not may_go_elsewhere(failure):
            health.succeeded(self.first_s if self.first_s is not None else now - self.began)
        elif failure.status == 429:
            health.throttled(failure.retry_after_s)
        else:
            health.failed()

    def drop(self) -> None:
        """Ends it from this side; the upstream sees its connection close."""
        connection = self.connection
        if connection is not None and connection.flight is self:
            connection.abort()
        if self._is_reported:
            return
        self._is_reported = True
        if self.first_s is not None:
            self.route.health.succeeded(self.first_s)
        else:
            self.route.health.dropped()
