"""Where attempts go: the choice of targets, connections to them, and what follows a failure.

A failed attempt goes to another target at once, or back to the same one after a pause, as long as nothing has gone
downstream, the route allows more attempts and the caller's deadline has not passed.
"""

import asyncio
import random
from collections.abc import Coroutine, Sequence
from typing import Any

from steelyard.base.clock import monotonic
from steelyard.base.errors import Fault, fault
from steelyard.canon.model import PASS, Target
from steelyard.dialects.crossing import Wires
from steelyard.dialects.dialect import Dialect, Wire
from steelyard.gateway.attempt import Attempt, Route
from steelyard.gateway.call import Call
from steelyard.gateway.exchange import Exchange
from steelyard.gateway.health import TargetHealth
from steelyard.gateway.journey import Conclude, Journey, Stream, Whole
from steelyard.policy.meter import Meter
from steelyard.policy.retry import backoff_s, may_go_elsewhere, may_repeat
from steelyard.policy.routing import Candidates, choose
from steelyard.upstream.pool import ConnectError, Connection, Pool, parse_origin
from steelyard.upstream.providers.kind import Forward, request_head
from steelyard.upstream.providers.kinds import BY_API

#: A local engine may be loading or restarting: calls wait this long for it.
ENGINE_WAIT_S = 30.0
ENGINE_POLL_S = 0.1
#: Targets are new objects with every snapshot; old routes must not pile up.
MAX_ROUTES = 512
MAX_RETRY_AFTER_S = 60.0

_random = random.random


class Routes(Candidates[Route]):
    """The routes to the targets of a call, which are kept with them, so that the id by which they are found stays theirs."""

    __slots__ = ("targets",)

    def __init__(self, targets: tuple[Target, ...], routes: Sequence[Route]) -> None:
        super().__init__(routes)
        self.targets = targets


class Relay:
    """Carries calls to targets over one pool."""

    def __init__(self, pool: Pool, meter: Meter, wires: Wires) -> None:
        self.wires = wires
        self._pool = pool
        self._meter = meter
        self._routes: dict[tuple[int, int, bool], Route] = {}
        #: All routes of a model, by its targets.
        self._routes_by_model: dict[tuple[int, int, bool], Routes] = {}
        #: By what a target is, since its object is new with every snapshot.
        self._health: dict[tuple[str, str, str], TargetHealth] = {}
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self.now = self._loop.time

    def __repr__(self) -> str:
        return f"<Relay to {len(self._health)} targets [{len(self._tasks)} waiting]>"

    # routes

    def _routes_of(self, call: Call, dialect: Dialect) -> Routes:
        """The routes to those that may answer a call."""
        targets = call.targets
        key = (id(targets), id(dialect), call.request.is_stream)
        found = self._routes_by_model.get(key)
        if found is not None and found.targets is targets:
            return found
        routes = Routes(targets, [self._route(call, target, dialect) for target in targets])
        # what is chosen call by call is not kept: fewer targets than the model has, or a wire that hangs on the call
        if targets is call.model.targets and all(target.api == dialect.api for target in targets):
            if len(self._routes_by_model) >= MAX_ROUTES:
                self._routes_by_model.clear()
            self._routes_by_model[key] = routes
        return routes

    def _route(self, call: Call, target: Target, dialect: Dialect) -> Route:
        request = call.request
        wire: Wire = dialect
        if target.api != dialect.api:
            passes = call.model.unsupported == PASS
            wire = self.wires.find(dialect, request, target.api, target.model, passes=passes)
        # hashing a target's every field would cost more than the rest of the look-up; the route keeps the target and the wire
        # alive, so their ids stay their own
        key = (id(target), id(wire), request.is_stream)
        route = self._routes.get(key)
        if route is None:
            route = self._make_route(target, wire, is_stream=request.is_stream)
            if len(self._routes) >= MAX_ROUTES:
                self._routes.clear()
            self._routes[key] = route
        return route

    def _make_route(self, target: Target, wire: Wire, *, is_stream: bool) -> Route:
        origin, kind = parse_origin(target.base_url), BY_API[target.api]
        head = request_head(kind, target, origin, wire.upstream_path, is_stream=is_stream)
        headers = [(b"x-steelyard-target", target.label.encode()), (b"x-steelyard-attempts", b"1")]
        forwards = () if target.is_local else kind.forwards
        return Route(target, wire, self._pool.origin(origin), head, headers, self.health(target), forwards)

    def health(self, target: Target) -> TargetHealth:
        """What is known of a target."""
        key = (target.provider, target.model, target.base_url)
        found = self._health.get(key)
        if found is None:
            state = self._meter.breaker_cells(target.label)
            found = self._health[key] = TargetHealth(target.max_concurrency, target.has_breaker, state)
        found.max_concurrency, found.has_breaker = target.max_concurrency, target.has_breaker
        return found

    # the first attempt

    def begin(self, call: Call, exchange: Exchange, dialect: Dialect, conclude: Conclude) -> None:
        """Sends the call on its way; `conclude` is told where no answer came of it.

        Raises:
            Fault: no target can be asked now.
        """
        routes = self._routes_of(call, dialect)
        route = self._pick(call, routes)
        if route is None:
            raise self._unavailable(routes.all)
        journey = (Stream if call.request.is_stream else Whole)(self, call, exchange, dialect, conclude)
        exchange.on_disconnect = journey.on_gone
        if call.model.hedge_after_s is not None and len(routes.all) > 1:
            journey.timers.append(self._loop.call_later(call.model.hedge_after_s, self._hedge, journey))
        self._send(journey, route)

    @staticmethod
    def _pick(call: Call, routes: Routes) -> Route | None:
        chosen = routes.choose(call.model, _random)
        if chosen is not None:
            return chosen
        # all are aside: one that is only throttled is better than none
        soonest = min(routes.all, key=lambda route: route.health.wait_s())
        return soonest if soonest.health.is_throttled and not soonest.health.is_full else None

    @staticmethod
    def _unavailable(routes: Sequence[Route]) -> Fault:
        """Why nobody can be asked, and when to come back."""
        healths = [route.health for route in routes]
        if any(health.is_full for health in healths):
            return fault("overloaded", detail=" (Every target has as many calls as it may.)")
        wait_s = min(max(min(health.wait_s() for health in healths), 1.0), MAX_RETRY_AFTER_S)
        names = ", ".join(sorted({route.target.provider for route in routes}))
        detail = f" ({names} failed lately and is tried again in {wait_s:.0f} s.)"
        return fault("model_unavailable", retry_after_s=round(wait_s), detail=detail)

    # attempts

    def _send(self, journey: Journey, route: Route) -> None:
        journey.call.attempts += 1
        attempt = Attempt(journey, route, self.now())
        journey.running.append(attempt)
        connection = route.origin.take_idle()
        if connection is not None:
            attempt.is_reused = True
            self._launch(journey, attempt, connection, attempt.began)
        else:
            self.connect(journey, attempt)

    def _launch(self, journey: Journey, attempt: Attempt, connection: Connection, now: float) -> None:
        call, route = journey.call, attempt.route
        request, target = call.request, route.target
        # an engine host answers under any name, so nothing need be rewritten on the way back
        name = request.model if target.is_local else target.model
        body = route.wire.encode(request, name, call.output_cap_for(target))
        head = b"%bX-Request-Id: %b\r\nContent-Length: %d\r\n\r\n" % (route.head, call.request_id.encode(), len(body))
        if route.forwards:
            head = _forward(head, route.forwards, journey.exchange.headers)
        give_up_at = min(call.give_up_at, attempt.began + target.total_timeout_s)
        attempt.launch(connection, head + body, journey.is_stream, now, give_up_at)

    def connect(self, journey: Journey, attempt: Attempt) -> None:
        """Sends an attempt over a new connection."""
        self.spawn(self._connect(journey, attempt))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs what a journey has to wait for."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, journey: Journey, attempt: Attempt) -> None:
        try:
            connection = await self._acquire(journey, attempt)
        except Fault as failure:
            journey.arrived(attempt, failure.with_traceback(None))
            return
        if connection is None or journey.is_over or attempt not in journey.running:
            if connection is not None:
                attempt.route.origin.give_back(connection)
            return
        attempt.is_reused = False
        self._launch(journey, attempt, connection, self.now())

    async def _acquire(self, journey: Journey, attempt: Attempt) -> Connection | None:
        """A connection; None where nobody wants it any more."""
        origin, target = attempt.route.origin, attempt.route.target
        give_up_at = monotonic() + (ENGINE_WAIT_S if target.is_local else 0.0)
        while True:
            try:
                return await origin.acquire(target.connect_timeout_s, is_new=attempt.is_reused)
            except ConnectError as exc:
                if journey.is_over:
                    return None
                if not target.is_local:
                    raise fault("bad_gateway", detail=f" ({target.provider}: {exc})") from exc
                if monotonic() > give_up_at:
                    raise fault("model_unavailable", detail=" (Its engine does not answer.)") from exc
            await asyncio.sleep(ENGINE_POLL_S)

    # what follows a failure

    def go_on(self, journey: Journey, attempt: Attempt, failure: Fault) -> bool:
        """Whether the journey goes on after a failed attempt: a twin still runs, another target is asked, or a pause is made."""
        call, target = journey.call, attempt.route.target
        call.note_failure(target, failure, self.now() - attempt.began)
        self._meter.attempt_failed(target.label, failure.slug)
        if journey.running:
            return True
        if call.attempts >= call.model.max_attempts or not may_go_elsewhere(failure) or self.now() >= call.give_up_at:
            return False
        untried = [one for one in self._routes_of(call, journey.dialect).all if not call.has_tried(one.target)]
        chosen = choose(call.model, untried, _random)
        if chosen is not None:
            self._send(journey, chosen)
            return True
        if not may_repeat(failure):
            return False
        pause_s = backoff_s(call.attempts, failure, _random)
        if pause_s is None or self.now() + pause_s >= call.give_up_at:
            return False
        journey.timers.append(self._loop.call_later(pause_s, self._resume, journey, failure))
        return True

    def _resume(self, journey: Journey, failure: Fault) -> None:
        chosen = self._pick(journey.call, self._routes_of(journey.call, journey.dialect))
        if chosen is None:
            # the breaker has opened meanwhile: what the last attempt said is the better answer
            journey.finish(failure)
        else:
            self._send(journey, chosen)

    def _hedge(self, journey: Journey) -> None:
        """Asks a second target where the first has not answered yet."""
        call = journey.call
        has_begun = any(one.first_s is not None for one in journey.running)
        if journey.is_over or has_begun or not journey.running or call.attempts >= call.model.max_attempts:
            return
        asked = {id(one.route.target) for one in journey.running}
        routes = self._routes_of(call, journey.dialect).all
        others = [one for one in routes if id(one.target) not in asked and not call.has_tried(one.target)]
        chosen = choose(call.model, others, _random)
        if chosen is not None:
            self._send(journey, chosen)


def _forward(head: bytes, forwards: tuple[Forward, ...], headers: dict[bytes, bytes]) -> bytes:
    """A request head with what goes along of the caller's headers."""
    for one in forwards:
        value = headers.get(one.name, one.default)
        if value:
            head = b"%b%b: %b\r\n\r\n" % (head[:-2], one.shown, value)
    return head
