"""The hot path from match to settlement, for every operation of every dialect."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from steelyard.base import ids
from steelyard.base.clock import monotonic
from steelyard.base.errors import Fault, fault
from steelyard.canon.apps import APP_PREFIX
from steelyard.canon.grant import Grant
from steelyard.canon.inspection import INPUT, OUTPUT
from steelyard.canon.model import Model, Target
from steelyard.canon.request import ModelRequest
from steelyard.dialects.dialect import Dialect, Operation, TaskOperation
from steelyard.gateway.admission import Admission
from steelyard.gateway.allowance import Allowance, Allowances
from steelyard.gateway.answer_cache import AnswerCache, Slot, discounted, replayed, slot_of
from steelyard.gateway.call import ABANDONED, COMPLETED, FAILED, Call
from steelyard.gateway.checking import Checker
from steelyard.gateway.contents import Contents
from steelyard.gateway.errands import Errands
from steelyard.gateway.exchange import Exchange
from steelyard.gateway.hygiene import NetworkWatch
from steelyard.gateway.idempotency import HEADER as IDEMPOTENCY_KEY
from steelyard.gateway.idempotency import Once, once_of, wants_no_replay
from steelyard.gateway.inspection import HEADER as INSPECTION_HEADER
from steelyard.gateway.inspection import Inspection, Inspectors, stages_of, texts_of_request
from steelyard.gateway.keeping import is_kept, keep_call
from steelyard.gateway.known_head import Fields
from steelyard.gateway.passages import CitingExchange, Passages
from steelyard.gateway.ports import Audit, KeptCalls, Replay, Responses, Sink
from steelyard.gateway.recording import RecordingExchange
from steelyard.gateway.relay import Relay
from steelyard.gateway.responses import KeepingExchange, find_context
from steelyard.gateway.standing import Standing, check_content_type
from steelyard.gateway.tasks import Counter, order_of
from steelyard.policy.access import check_model
from steelyard.policy.meter import UNKNOWN, Meter
from steelyard.policy.routing import resolve

if TYPE_CHECKING:
    from steelyard.policy.inspection import Inspector

log = logging.getLogger("steelyard.gateway")

#: Of a call that is part of another, on the way back: the slug of what went wrong.
FAULT_HEADER = b"x-steelyard-fault"


@dataclass(slots=True)
class Passing:
    """Something that others answer; the status is set once they have."""

    status: int = 0


class Core:
    """Answers exchanges. One per gateway process."""

    def __init__(
        self,
        admission: Admission,
        allowances: Allowances,
        relay: Relay,
        sink: Sink,
        meter: Meter,
        replay: Replay,
        audit: Audit,
        cache: AnswerCache,
        checker: Checker,
        responses: Responses,
        kept_calls: KeptCalls,
        counter: Counter,
        passages: Passages,
        contents: Contents,
        errands: Errands,
        *,
        max_body_bytes: int,
    ) -> None:
        self.admission = admission
        self.meter = meter
        self.max_body_bytes = max_body_bytes
        self._allowances = allowances
        self._relay = relay
        self._sink = sink
        self.replay = replay
        self._audit = audit
        self._cache = cache
        self._checker = checker
        self._responses = responses
        self._kept_calls = kept_calls
        self._counter = counter
        self._contents = contents
        self._errands = errands
        self._passages = passages
        self._networks = NetworkWatch(audit.saw_network)
        self._inspectors = Inspectors()
        self._tasks: set[asyncio.Task[None]] = set()

    def handle(self, exchange: Exchange, dialect: Operation) -> None:
        """Takes one model call on. Never raises: the request's frame is here.

        The common call runs through without a task; only what must wait (an unknown key, an Idempotency-Key) gets one.
        """
        call = Call(ids.new_request_id(), monotonic(), dialect.operation, self._sink, self.meter)
        headers = exchange.headers
        grant = self.admission.find_cached(headers)
        if grant is None or IDEMPOTENCY_KEY in headers or dialect.with_context is not None:
            self._spawn(self._handle_slowly(call, exchange, dialect))
            return
        self._attempt(call, grant, exchange, dialect)

    def _attempt(self, call: Call, grant: Grant, exchange: Exchange, dialect: Operation) -> None:
        workspace = self.admission.snapshot.workspaces.get(grant.workspace)
        if workspace is not None and workspace.kept_calls and is_kept(grant, dialect):
            exchange = RecordingExchange(exchange, lambda one: self._keep_whole(call, grant, one))
        try:
            self._answer(call, grant, exchange, dialect)
        except Exception as problem:  # noqa: BLE001 - the request's frame
            self._tell(call, grant, exchange, dialect, problem)

    def _tell(
        self, call: Call, grant: Grant | None, exchange: Exchange, dialect: Operation, problem: Exception
    ) -> None:
        """Whatever went wrong before the answer began, told to the caller; what is no fault is ours."""
        if not isinstance(problem, Fault):
            log.error("call failed", exc_info=problem, extra={"request_id": call.request_id})
            problem = fault("internal_error")
        self._refuse(call, grant, exchange, dialect, problem)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _handle_slowly(self, call: Call, exchange: Exchange, dialect: Operation) -> None:
        grant: Grant | None = None
        try:
            grant = await self.admission.identify(exchange.headers)
            client = exchange
            if dialect.with_context is not None:
                exchange = await self._in_context(call, grant, exchange, dialect)
            if IDEMPOTENCY_KEY in exchange.headers:
                await self._once(call, grant, client, exchange, dialect)
            else:
                self._attempt(call, grant, exchange, dialect)
        except Exception as problem:  # noqa: BLE001 - the request's frame
            self._tell(call, grant, exchange, dialect, problem)

    async def _in_context(self, call: Call, grant: Grant, exchange: Exchange, dialect: Operation) -> Exchange:
        """Fetches what was said before; the exchange that comes back keeps what is said now."""
        self.admission.check(grant, dialect.operation, exchange.headers, exchange.client, exchange.path)
        call.context = await find_context(self._responses, grant.workspace, exchange.body)
        return KeepingExchange(exchange, call, grant.workspace, self._responses, self._spawn)

    def _answer(self, call: Call, grant: Grant, exchange: Exchange, dialect: Operation) -> None:
        """Admit, decode, resolve, reserve; then the relay has it, or the task queue."""
        headers = exchange.headers
        if dialect.diverts is not None:
            dialect = dialect.diverts(exchange.body, headers, self._operations_of) or dialect
            call.operation = dialect.operation
        standing = self._stand(grant, exchange, dialect)
        workspace = standing.workspace
        request = self._read(call, grant, exchange, dialect)
        if request is None:
            return
        if standing.inspector is not None:
            request = self._inspect(call, grant, request, dialect, standing.inspector, headers.get(INSPECTION_HEADER))
        if standing.has_models:
            check_model(grant, workspace, request.model)
        errand = None
        if standing.has_tools or request.servers or request.model.startswith(APP_PREFIX):
            errand = self._errands.find(call.request_id, grant, workspace, request, headers)
        if errand is None:
            model, targets = resolve(self.admission.snapshot.models, request, self._relay.wires.codec_of)
        else:
            request = msgspec.structs.replace(request, errand=errand)
            model, targets = self._made_of_calls(request)
        self._sink.check()
        call.client_request_id, call.parent = standing.client_request_id, standing.parent
        if standing.timeout_s is not None:
            call.give_up_at = monotonic() + standing.timeout_s
        call.prepare(grant, request, model, targets)
        allowance = self._allowances.find(grant, workspace, call.started_us)
        if allowance is None:
            call.reserve(None, ())
        else:
            wants = allowance.wants(request, targets, (call.hold_tokens, call.hold_micros))
            if not self._allowances.take(allowance, wants):
                self._spawn(self._acquire(call, grant, exchange, dialect, allowance, wants))
                return
            call.reserve(allowance, wants)
        self._go(call, grant, exchange, dialect)

    def _stand(self, grant: Grant, exchange: Exchange, dialect: Operation) -> Standing:
        """The call is admitted; what was decided of the head that came before on its connection is not decided again.

        Raises:
            Fault: the key may not do this, or not from here, or the head asks for what is not to be had.
        """
        headers = exchange.headers
        known = headers.standing if type(headers) is Fields else None
        if (
            known is not None
            and known.grant is grant
            and known.dialect is dialect
            and known.workspace is self.admission.snapshot.workspaces.get(grant.workspace)
        ):
            self.admission.check_fresh()
            return known
        self.admission.check(grant, dialect.operation, headers, exchange.client, exchange.path)
        if not grant.is_task:
            # what a task or another call asks comes from here, wherever its caller is
            self._networks.saw(grant.key_id, grant.workspace, self.admission.client_of(headers, exchange.client))
        check_content_type(headers, takes_forms=dialect.takes_forms)
        workspace = self.admission.snapshot.workspaces[grant.workspace]
        standing = Standing(grant, workspace, dialect, headers, self._inspectors.find(workspace))
        if type(headers) is Fields and standing.is_lasting:
            headers.standing = standing
        return standing

    def _read(self, call: Call, grant: Grant, exchange: Exchange, dialect: Operation) -> ModelRequest | None:
        """The call decoded; None where what it refers to is put in first, and it comes again then."""
        body = call.body
        if body is None:
            body = exchange.body
            if dialect.decode_plain is not None and not self._contents.has_links(body):
                plain = dialect.decode_plain(body)
                if plain is not None:
                    return plain
            if dialect.takes_links and (
                self._contents.concerns(body) or self._passages.concerns(dialect.api, dialect.operation, body)
            ):
                self._spawn(self._put_in(call, grant, exchange, dialect))
                return None
        request = dialect.decode(body, exchange.headers)
        if call.found is not None:
            request = msgspec.structs.replace(request, found=call.found)
        if call.context is not None and dialect.with_context is not None:
            request = dialect.with_context(request, call.context)
        return request

    def apps_of(self, grant: Grant) -> dict[str, Model]:
        """The published apps of a workspace, as models."""
        workspace = self.admission.snapshot.workspaces.get(grant.workspace)
        names = [APP_PREFIX + app_id for app_id in sorted(workspace.apps)] if workspace is not None else []
        return {name: msgspec.structs.replace(self._errands.model, name=name, owned_by="app") for name in names}

    def knows_tools(self, grant: Grant, name: str) -> bool:
        """Whether a workspace has a plugin or app that may be asked as an MCP server; the app host looks closer."""
        workspace = self.admission.snapshot.workspaces[grant.workspace]
        return name.removeprefix("apps/") in workspace.apps if name.startswith("apps/") else name in workspace.plugins

    @contextlib.asynccontextmanager
    async def passing(self, grant: Grant, operation: str, name: str, request_id: str) -> AsyncIterator["Passing"]:
        """Limits around something that others answer, and its record.

        Raises:
            Fault: a limit is reached, or records cannot be kept.
        """
        self._sink.check()
        call = Call(request_id, monotonic(), operation, self._sink, self.meter)
        request = ModelRequest(operation=operation, model=name, raw=b"", decoded={}, n=0)
        model = self._errands.model
        call.prepare(grant, request, model, model.targets)
        workspace = self.admission.snapshot.workspaces[grant.workspace]
        allowance = self._allowances.find(grant, workspace, call.started_us)
        taken: Sequence[int] = ()
        if allowance is not None:
            wants = allowance.wants(request, model.targets, (0, 0))
            if not self._allowances.take(allowance, wants):
                wants = await self._allowances.acquire(allowance, wants, wants)
            taken = wants
        call.reserve(allowance, taken)
        passing = Passing()
        try:
            yield passing
        except Fault as failure:
            self._settle(call, failure, FAILED)
            raise
        finally:
            # an answer that says no is an answer; one that never came is not
            outcome = COMPLETED if passing.status else ABANDONED
            call.settle(None, status=passing.status or 499, outcome=outcome)

    def _made_of_calls(self, request: ModelRequest) -> tuple[Model, tuple[Target, ...]]:
        """The app host as what answers.

        Raises:
            Fault: it is asked for what no app does, or there is no such model.
        """
        models, wires = self.admission.snapshot.models, self._relay.wires
        if not request.model.startswith(APP_PREFIX) and request.model not in models:
            # it says what is wrong
            resolve(models, request, wires.codec_of)
        return resolve({request.model: self._errands.model}, request, wires.codec_of)

    async def _put_in(self, call: Call, grant: Grant, exchange: Exchange, dialect: Operation) -> None:
        """What the call refers to is put in; then it is a call like any other."""
        try:
            workspace = self.admission.snapshot.workspaces[grant.workspace]
            body = exchange.body
            if self._contents.concerns(body):
                body = await self._contents.put_in(workspace, body, exchange.headers)
            if self._passages.concerns(dialect.api, dialect.operation, body):
                body, call.found = await self._passages.put_in(grant, dialect.api, body)
                if call.found is not None and dialect.api != "responses":
                    exchange = CitingExchange(exchange, dialect.api, call.found)
            call.body = body
            if exchange.is_disconnected:
                exchange.abort()
                return
            self._answer(call, grant, exchange, dialect)
        except Exception as problem:  # noqa: BLE001 - the request's frame
            self._tell(call, grant, exchange, dialect, problem)

    def _operations_of(self, name: str) -> tuple[str, ...]:
        model = self.admission.snapshot.models.get(name)
        return () if model is None else model.targets[0].operations

    def _inspect(
        self,
        call: Call,
        grant: Grant,
        request: ModelRequest,
        dialect: Operation,
        inspector: "Inspector",
        asked: bytes | None,
    ) -> ModelRequest:
        """The request as it may go on; what looks at the answer goes with the call."""
        stages = stages_of(inspector, asked)
        models = self.admission.snapshot.models
        # the call itself must not be held from here: it holds the inspection, and a cycle would wait for the collector
        request_id = call.request_id

        def note(stage: str, rule: str) -> None:
            self.meter.moderated(grant.workspace, request.model if request.model in models else UNKNOWN, stage)
            self._audit.note(
                "inspection.blocked",
                grant.workspace,
                grant.key_id,
                request_id,
                f"{stage} {dialect.operation} {rule}",
            )

        inspection = Inspection(inspector, note, self._checker, is_output=OUTPUT in stages)
        call.asks_first = inspection if inspection.is_asking and INPUT in stages else None
        if OUTPUT in stages:
            call.inspection = inspection
        return inspection.rewrite_input(request, dialect) if INPUT in stages else request

    async def _acquire(
        self,
        call: Call,
        grant: Grant,
        exchange: Exchange,
        dialect: Operation,
        allowance: Allowance,
        wants: list[int],
    ) -> None:
        """Waits for room within limits, then goes on."""
        try:
            leasts = allowance.leasts(call.request, call.targets, wants)
            taken = await self._allowances.acquire(allowance, wants, leasts)
            if exchange.is_disconnected:
                self._allowances.settle(allowance, taken, None)
                exchange.abort()
                return
            call.reserve(allowance, taken)
            call.lower_cap(wants, taken)
            self._go(call, grant, exchange, dialect)
        except Exception as problem:  # noqa: BLE001 - the request's frame
            self._tell(call, grant, exchange, dialect, problem)

    def _go(self, call: Call, grant: Grant, exchange: Exchange, dialect: Operation) -> None:
        """The call holds what it may take: the relay has it now."""

        if call.asks_first is not None:
            self._spawn(self._go_when_passed(call, grant, exchange, dialect, call.asks_first))
        else:
            self._look_in_cache(call, grant, exchange, dialect)

    async def _go_when_passed(
        self, call: Call, grant: Grant, exchange: Exchange, dialect: Operation, inspection: Inspection
    ) -> None:
        """Somebody else is asked about the call's texts first."""
        try:
            await inspection.ask(texts_of_request(call.request, dialect), INPUT)
            if exchange.is_disconnected:
                self._abandon(call, exchange)
                return
            self._look_in_cache(call, grant, exchange, dialect)
        except Exception as problem:  # noqa: BLE001 - the request's frame
            self._tell(call, grant, exchange, dialect, problem)

    @staticmethod
    def _abandon(call: Call, exchange: Exchange) -> None:
        call.settle(None, status=499, failure=fault("client_disconnect"), outcome=ABANDONED)
        exchange.abort()

    def _look_in_cache(self, call: Call, grant: Grant, exchange: Exchange, dialect: Operation) -> None:
        if isinstance(dialect, TaskOperation):
            self._spawn(self._hand_over(call, grant, exchange, dialect))
            return
        workspace = self.admission.snapshot.workspaces.get(grant.workspace)
        if workspace is not None and workspace.cache.ttl_s and not call.target.is_composite:
            slot = slot_of(call, workspace, exchange)
            if slot is not None:
                self._spawn(self._go_by_cache(call, grant, exchange, dialect, slot))
                return
        self._relay_on(call, exchange, dialect)

    async def _go_by_cache(self, call: Call, grant: Grant, exchange: Exchange, dialect: Operation, slot: Slot) -> None:
        """A kept answer, if there is one; else the model's, which is kept."""
        try:
            found = await self._cache.find(slot)
            if exchange.is_disconnected:
                self._abandon(call, exchange)
                return
            if found is not None:
                call.target = discounted(call.target, slot.policy.price_percent)
                call.settle(found.usage)
                answer = replayed(found, call.request_id, call.target)
                exchange.send(answer.status, answer.headers + call.rate_headers, answer.body)
                return
            recording = RecordingExchange(exchange, lambda one: self._spawn(self._keep_answer(slot, call, one)))
            self._relay_on(call, recording, dialect)
        except Exception as problem:  # noqa: BLE001 - the request's frame
            self._tell(call, grant, exchange, dialect, problem)

    async def _keep_answer(self, slot: Slot, call: Call, recording: RecordingExchange) -> None:
        answer, usage = recording.answer(True), call.answered_usage
        if answer is not None and usage is not None:
            # the caller has its answer already; one that is not kept costs a later call more
            with contextlib.suppress(Fault):
                await self._cache.keep(slot, answer, usage, call.request_id)

    async def _hand_over(self, call: Call, grant: Grant, exchange: Exchange, dialect: TaskOperation) -> None:
        """The call becomes a task: what it may cost is held with the task, so the call itself takes nothing."""
        try:
            order = order_of(
                call, grant, exchange.headers, dialect, self.admission.snapshot.workspaces[grant.workspace]
            )
            call.release()
            await self._counter.serve(order, exchange, dialect)
        except Exception as problem:  # noqa: BLE001 - the request's frame
            self._tell(call, grant, exchange, dialect, problem)

    def _relay_on(self, call: Call, exchange: Exchange, dialect: Operation) -> None:
        assert isinstance(dialect, Dialect)
        self._relay.begin(call, exchange, dialect, self._conclude)

    def _conclude(self, call: Call, exchange: Exchange, dialect: Operation, failure: Fault) -> None:
        """No answer came: the caller is told why."""
        self._refuse(call, call.grant, exchange, dialect, failure)

    async def _once(self, call: Call, grant: Grant, client: Exchange, exchange: Exchange, dialect: Operation) -> None:
        """A call with an Idempotency-Key: processed at most once, its answer kept for a repeat, which goes straight to the client."""
        self.admission.check(grant, dialect.operation, exchange.headers, exchange.client, exchange.path)
        once = once_of(grant, exchange.headers, dialect.operation)
        assert once is not None
        stored = await once.claim(self.replay, exchange.body, call.request_id)
        if stored is not None:
            client.send(stored.status, stored.headers, stored.body)
            return
        keeps = not wants_no_replay(exchange.headers)
        recording = RecordingExchange(
            exchange, lambda one: self._spawn(self._keep(once, one, keeps)), outlives_client=grant.is_task
        )
        # refusals go through the recording too, so that the key is freed again
        self._attempt(call, grant, recording, dialect)

    def _keep_whole(self, call: Call, grant: Grant, recording: RecordingExchange) -> None:
        """Keeps a good answer with its call, behind the answer's back."""
        answer = recording.answer(keeps=True)
        if answer is not None:
            self._spawn(keep_call(self._kept_calls, call, grant, answer.body))

    async def _keep(self, once: Once, recording: RecordingExchange, keeps: bool) -> None:
        # the client has its answer already; a lost note only means that a repeat is told to wait
        with contextlib.suppress(Fault):
            if recording.is_answered:
                await self.replay.finish(once.scope, once.key, recording.answer(keeps))
            else:
                await self.replay.forget(once.scope, once.key)

    def _refuse(self, call: Call, grant: Grant | None, exchange: Exchange, dialect: Operation, failure: Fault) -> None:
        if failure.limit_name and grant is not None:
            self.meter.limited(grant.workspace, dialect.operation, failure.limit_name)
        if call.is_settled:
            workspace = grant.workspace if grant else ""
            self.meter.refused(workspace, UNKNOWN, dialect.operation, failure.status, failure.slug)
        else:
            self._settle(call, failure, FAILED)
        headers, body = dialect.render_error(failure, call.request_id)
        if grant is not None and grant.is_inner:
            # the call that this one is a part of is told what it was, whatever the API makes of it
            headers = [*headers, (FAULT_HEADER, failure.slug.encode())]
        exchange.send(failure.status, [*headers, (b"x-request-id", call.request_id.encode())], body)

    def _settle(self, call: Call, failure: Fault, outcome: str) -> None:
        try:
            call.settle(None, status=failure.status, failure=failure, outcome=outcome)
        except Fault as problem:
            log.error("a record could not be kept: %s", problem, extra={"request_id": call.request_id})
