"""One model call: what is known of it on its way, and its settlement, which always happens and happens once."""

import math
from collections.abc import Sequence
from typing import Any

from steelyard.base.clock import monotonic, now_us
from steelyard.base.errors import Fault
from steelyard.canon.counting import estimate_answer_tokens, estimate_prompt_tokens
from steelyard.canon.grant import Grant
from steelyard.canon.knowledge import FoundPassages
from steelyard.canon.limits import TOKENS
from steelyard.canon.model import Model, Target
from steelyard.canon.receipt import ABANDONED, BROKEN, COMPLETED, FAILED, FailedAttempt, Receipt
from steelyard.canon.request import ModelRequest
from steelyard.canon.usage import NO_USAGE, Usage
from steelyard.gateway.allowance import Allowance, Allowances
from steelyard.gateway.exchange import Headers
from steelyard.gateway.inspection import Inspection
from steelyard.gateway.ports import Sink
from steelyard.policy.limits import BUDGET, FREE, LeaseReply, refuse
from steelyard.policy.meter import CallSeries, Meter
from steelyard.policy.pricing import cap_within, discounted_micros, hold_for


class Call:
    """A call that holds tokens and money until `settle`."""

    __slots__ = (
        "_began",
        "_meter",
        "_series",
        "_sink",
        "_taken",
        "allowance",
        "answered_usage",
        "asks_first",
        "attempts",
        "body",
        "cap_tokens",
        "client_request_id",
        "context",
        "failed_attempts",
        "first_at",
        "found",
        "give_up_at",
        "grant",
        "hold_micros",
        "hold_tokens",
        "inspection",
        "is_settled",
        "model",
        "operation",
        "parent",
        "rate_headers",
        "request",
        "request_id",
        "started_us",
        "target",
        "targets",
    )

    def __init__(self, request_id: str, began: float, operation: str, sink: Sink, meter: Meter) -> None:
        self.request_id = request_id
        self.operation = operation
        self.client_request_id: str | None = None
        #: The call that this one is a part of.
        self.parent: str | None = None
        #: The call with the contents of its links in it; None as long as nobody has looked.
        self.body: bytes | None = None
        #: What knowledge bases had for it; None where none was asked.
        self.found: FoundPassages | None = None
        #: What was said before, where the call goes on from an earlier one.
        self.context: list[dict[str, Any]] | None = None
        self.grant: Grant
        self.request: ModelRequest
        self.model: Model
        #: Those that can honour every field of the call.
        self.targets: tuple[Target, ...]
        #: The one that was asked last.
        self.target: Target
        self.attempts = 0
        self.failed_attempts: tuple[FailedAttempt, ...] = ()
        #: Monotonic time at which the caller does not want an answer any more.
        self.give_up_at = math.inf
        #: The cap that a budget lowered the answers to; None where it did not.
        self.cap_tokens: int | None = None
        self.allowance: Allowance | None = None
        #: What looks at the texts; None where nothing does.
        self.inspection: Inspection | None = None
        #: What asks somebody else about the call's texts before it goes on; None where nobody is asked.
        self.asks_first: Inspection | None = None
        #: What the upstream said that a whole answer took; None until then.
        self.answered_usage: Usage | None = None
        #: `x-ratelimit-…` as they are with this call.
        self.rate_headers: Headers = []
        self._taken: Sequence[int] = ()
        self._series: CallSeries
        self.first_at: float | None = None
        self.hold_tokens = 0
        self.hold_micros = 0
        self.is_settled = True
        self._began = began
        self.started_us = now_us()
        self._sink = sink
        self._meter = meter

    def __repr__(self) -> str:
        return f"<Call {self.request_id} {self.operation} [{'settled' if self.is_settled else 'held'}]>"

    def prepare(self, grant: Grant, request: ModelRequest, model: Model, targets: tuple[Target, ...]) -> None:
        """Notes what the call is and who may answer it. Nothing is held yet."""
        self.grant, self.request, self.model, self.targets = grant, request, model, targets
        self.target = targets[0]
        self.hold_tokens, self.hold_micros = hold_for(request, targets)

    def reserve(self, allowance: Allowance | None, taken: Sequence[int]) -> None:
        """The call holds what was taken of its allowance. From here on it must be settled."""
        self.allowance, self._taken = allowance, taken
        if allowance is not None and allowance.rates:
            self.rate_headers = allowance.rate_headers()
        self.is_settled = False
        request = self.request
        series = self._series = self._meter.series(
            self.grant.workspace, request.model, self.operation, request.is_stream
        )
        series.in_flight[0] += 1
        series.held[0] += self.hold_tokens

    def release(self) -> None:
        """What is held is free again, and nothing is recorded: another record will be the call's."""
        if self.is_settled:
            return
        self.is_settled = True
        self._series.in_flight[0] -= 1
        self._series.held[0] -= self.hold_tokens
        allowance, self.allowance = self.allowance, None
        if allowance is not None:
            Allowances.settle(allowance, self._taken, None)

    def lower_cap(self, wants: Sequence[int], taken: Sequence[int]) -> None:
        """Fits the answers' cap to what was left of a budget, and tells only targets that obey it.

        Raises:
            Fault: `budget_spent`: no target obeys a cap, and other calls are under way.
        """
        assert self.allowance is not None
        request = self.request
        for purse, want, amount in zip(self.allowance.purses, wants, taken, strict=True):
            if purse.line.kind != BUDGET or amount >= want:
                continue
            obeying = tuple(target for target in self.targets if target.obeys_cap)
            if obeying:
                self.targets, self.target = obeying, obeying[0]
            elif purse.held > amount:
                # one that cannot be capped runs alone near the limit
                raise refuse(purse.line, LeaseReply(leased=purse.held), now_us())
            amounts = {"tokens": amount} if purse.line.unit in (TOKENS, FREE) else {"micros": amount}
            cap = cap_within(request, self.targets, **amounts)
            self.cap_tokens = cap if self.cap_tokens is None else min(cap, self.cap_tokens)
        if self.cap_tokens is not None:
            self.hold_tokens, self.hold_micros = hold_for(request, self.targets, max_cap=self.cap_tokens)

    def output_cap_for(self, target: Target) -> int | None:
        """The cap to send; None leaves what the caller said."""
        if self.cap_tokens is not None:
            return self.cap_tokens
        return target.default_output_tokens if self.request.output_cap_tokens is None else None

    def note_failure(self, target: Target, failure: Fault, took_s: float) -> None:
        """An attempt failed; should it be the last one, the receipt names it itself."""
        self.target = target
        attempt = FailedAttempt(
            target=target.label, status=failure.status, error=failure.slug, duration_us=int(took_s * 1e6)
        )
        self.failed_attempts = (*self.failed_attempts, attempt)

    def has_tried(self, target: Target) -> bool:
        """Whether an attempt at the target failed."""
        return any(one.target == target.label for one in self.failed_attempts)

    def settle(
        self,
        usage: Usage | None,
        *,
        status: int = 200,
        failure: Fault | None = None,
        outcome: str = COMPLETED,
        counted_tokens: int = 0,
        is_posted: bool = False,
    ) -> None:
        """Releases the hold, prices the call and records it; a second settlement does nothing.

        Args:
            is_posted: the answer's end goes to the outbox now, which keeps the record first.

        Raises:
            Fault: `stores_unavailable`: nothing was recorded, so the answer must not be finished.
        """
        if self.is_settled:
            return
        self.is_settled = True
        if outcome == COMPLETED:
            self.answered_usage = usage
        series = self._series
        series.in_flight[0] -= 1
        series.held[0] -= self.hold_tokens
        if self.target.is_composite:
            # what it is made of was settled, call by call
            usage, counted_tokens = NO_USAGE, 0
        receipt = self._receipt(
            usage or self._own_count(outcome, counted_tokens), status, failure, outcome, counted_tokens
        )
        allowance, self.allowance = self.allowance, None
        try:
            if is_posted:
                self._sink.enlist(receipt)
            else:
                self._sink.record(receipt)
        except Fault:
            if allowance is not None:
                Allowances.settle(allowance, self._taken, None)
            raise
        if allowance is not None:
            Allowances.settle(allowance, self._taken, receipt)
        series.settled(receipt)

    def _own_count(self, outcome: str, counted_tokens: int) -> Usage:
        """No usage came: nothing for a call that failed before an answer, else our count, marked as such."""
        if outcome == FAILED:
            return Usage()
        return Usage(
            prompt_tokens=estimate_prompt_tokens(self.request.text_bytes),
            completion_tokens=counted_tokens,
            is_estimated=True,
        )

    def _receipt(self, usage: Usage, status: int, failure: Fault | None, outcome: str, counted_tokens: int) -> Receipt:
        target = self.target
        first_at = self.first_at
        return Receipt(
            request_id=self.request_id,
            workspace=self.grant.workspace,
            key_id=self.grant.key_id,
            operation=self.operation,
            model=self.request.model,
            target=target.label,
            is_stream=self.request.is_stream,
            status=status,
            error=None if failure is None else failure.slug,
            outcome=outcome,
            attempts=max(self.attempts, 1),
            started_us=self.started_us,
            duration_us=int((monotonic() - self._began) * 1e6),
            first_token_us=None if first_at is None else int((first_at - self._began) * 1e6),
            hold_tokens=self.hold_tokens,
            hold_micros=self.hold_micros,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cached_tokens=usage.cached_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            is_estimated=usage.is_estimated,
            counted_tokens=counted_tokens,
            price_version=target.price.version,
            currency=target.price.currency,
            cost_micros=discounted_micros(target.price, usage, is_batch=self.grant.is_batch),
            client_request_id=self.client_request_id,
            parent=self.parent,
            failed_attempts=self.failed_attempts,
            accounts=() if self.allowance is None else self.allowance.budgets,
        )


__all__ = ["ABANDONED", "BROKEN", "COMPLETED", "FAILED", "Call", "estimate_answer_tokens"]
