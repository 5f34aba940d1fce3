"""One model call: what is known of it on its way, and its settlement, which always happens and happens once."""

from steelyard.base.clock import monotonic, now_us
from steelyard.base.errors import Fault
from steelyard.canon.grant import Grant
from steelyard.canon.model import Target
from steelyard.canon.receipt import ABANDONED, BROKEN, COMPLETED, FAILED, Receipt
from steelyard.canon.request import ModelRequest
from steelyard.canon.usage import Usage
from steelyard.gateway.meter import CallSeries, Meter
from steelyard.gateway.ports import Sink
from steelyard.policy.counting import estimate_answer_tokens, estimate_prompt_tokens
from steelyard.policy.pricing import cost_micros, hold_for

MAX_CLIENT_ID_CHARS = 200


class Call:
    """A call that holds tokens and money until `settle`."""

    __slots__ = (
        "_began",
        "_meter",
        "_series",
        "_sink",
        "_started_us",
        "client_request_id",
        "first_at",
        "grant",
        "hold_micros",
        "hold_tokens",
        "is_settled",
        "operation",
        "request",
        "request_id",
        "target",
    )

    def __init__(self, request_id: str, began: float, operation: str, sink: Sink, meter: Meter) -> None:
        self.request_id = request_id
        self.operation = operation
        self.client_request_id: str | None = None
        self.grant: Grant
        self.request: ModelRequest
        self.target: Target
        self._series: CallSeries
        self.first_at: float | None = None
        self.hold_tokens = 0
        self.hold_micros = 0
        self.is_settled = True
        self._began = began
        self._started_us = now_us()
        self._sink = sink
        self._meter = meter

    def __repr__(self) -> str:
        return f"<Call {self.request_id} {self.operation} [{'settled' if self.is_settled else 'held'}]>"

    def reserve(self, grant: Grant, request: ModelRequest, target: Target) -> None:
        """Takes the hold. From here on the call must be settled."""
        self.grant, self.request, self.target = grant, request, target
        self.hold_tokens, self.hold_micros = hold_for(request, target)
        self.is_settled = False
        series = self._series = self._meter.series(grant.workspace, request.model, self.operation, request.is_stream)
        series.in_flight[0] += 1
        series.held[0] += self.hold_tokens

    def settle(
        self,
        usage: Usage | None,
        *,
        status: int = 200,
        failure: Fault | None = None,
        outcome: str = COMPLETED,
        counted_tokens: int = 0,
    ) -> None:
        """Releases the hold, prices the call and records it; a second settlement does nothing.

        Raises:
            Fault: `stores_unavailable`: nothing was recorded, so the answer must not be finished.
        """
        if self.is_settled:
            return
        self.is_settled = True
        series = self._series
        series.in_flight[0] -= 1
        series.held[0] -= self.hold_tokens
        receipt = self._receipt(
            usage or self._own_count(outcome, counted_tokens), status, failure, outcome, counted_tokens
        )
        self._sink.record(receipt)
        series.settled(receipt)

    def _own_count(self, outcome: str, counted_tokens: int) -> Usage:
        """No usage came: nothing for a call that failed before an answer, else our count, marked as such."""
        if outcome == FAILED:
            return Usage()
        return Usage(
            prompt_tokens=estimate_prompt_tokens(len(self.request.raw)),
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
            started_us=self._started_us,
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
            cost_micros=cost_micros(target.price, usage),
            client_request_id=self.client_request_id,
        )


__all__ = ["ABANDONED", "BROKEN", "COMPLETED", "FAILED", "Call", "estimate_answer_tokens"]
