"""Metrics of calls, those that gateways answer and those that are tasks. Labels come from our tables: no key, no request id, no user text. Names: prometheus.md 8.2."""

from collections.abc import Callable

from steelyard.base.metrics import DURATION_BOUNDS_S, FIRST_TOKEN_BOUNDS_S, PER_TOKEN_BOUNDS_S, Registry, observe
from steelyard.canon.receipt import Receipt

_L = ("workspace_id", "model", "operation", "protocol")
#: Shown for a model name that no table knows, so that callers cannot make series.
UNKNOWN = "unknown"


class Meter:
    """What is counted of calls."""

    def __init__(self, registry: Registry) -> None:
        self.requests = registry.counter(
            "llm_requests_total", "Model calls by outcome.", (*_L, "status_code", "error_code")
        )
        self.duration = registry.histogram(
            "llm_request_duration_seconds", "Time from the request to the last byte.", _L, DURATION_BOUNDS_S
        )
        self.first_token = registry.histogram(
            "llm_time_to_first_token_seconds", "Time to the first piece of a streamed answer.", _L, FIRST_TOKEN_BOUNDS_S
        )
        self.per_token = registry.histogram(
            "llm_time_per_output_token_seconds", "Time per output token after the first.", _L, PER_TOKEN_BOUNDS_S
        )
        self.usage = registry.counter(
            "llm_usage_total", "What calls used: tokens, images, seconds of video and sound.", (*_L, "usage_type")
        )
        self.cost = registry.counter("llm_cost_total", "Money spent, in the currency's units.", (*_L, "currency"))
        self.in_flight = registry.gauge("llm_requests_in_flight", "Calls under way.", ("workspace_id", "model"))
        self.held = registry.gauge("llm_held_tokens", "Tokens held for calls under way.", ("workspace_id",))
        self.backend_errors = registry.counter(
            "llm_backend_errors_total", "Failures of upstreams.", ("model", "backend")
        )
        self.moderation = registry.counter(
            "llm_moderation_blocked_total", "Calls refused by content inspection.", ("workspace_id", "model", "stage")
        )
        self.rate_limited = registry.counter(
            "llm_rate_limited_total", "Calls refused by a limit.", ("workspace_id", "operation", "limit")
        )
        self.attempts_failed = registry.counter(
            "llm_attempts_failed_total", "Attempts upstream that failed.", ("backend", "error_code")
        )
        self.breaker_open = registry.gauge(
            "llm_breaker_open", "Gateway processes that leave a failing target alone.", ("backend",)
        )
        self.breaker_changes = registry.counter(
            "llm_breaker_changes_total", "Changes of a target's breaker.", ("backend", "state")
        )
        self._series: dict[tuple[str, str, str, bool], CallSeries] = {}
        self.connections = registry.gauge("gateway_connections", "Open client connections.", ())

    def refused(self, workspace: str, model: str, operation: str, status: int, code: str) -> None:
        """A call that reached no model."""
        self.requests.add((workspace, model, operation, "HTTP", str(status), code))

    def moderated(self, workspace: str, model: str, stage: str) -> None:
        """A call whose text was refused."""
        self.moderation.add((workspace, model, stage))

    def limited(self, workspace: str, operation: str, limit: str) -> None:
        """A call that met a limit."""
        self.rate_limited.add((workspace, operation, limit))

    def attempt_failed(self, backend: str, code: str) -> None:
        """One attempt of a call, which may yet succeed."""
        self.attempts_failed.add((backend, code))

    def breaker_cells(self, backend: str) -> Callable[[str], None]:
        """What a target's breaker calls when it changes."""

        def changed(state: str) -> None:
            self.breaker_changes.add((backend, state))
            self.breaker_open.set((backend,), 0 if state == "closed" else 1)

        return changed

    def series(self, workspace: str, model: str, operation: str, is_stream: bool) -> "CallSeries":
        """The cells of one kind of call, looked up once per call."""
        key = (workspace, model, operation, is_stream)
        found = self._series.get(key)
        if found is None:
            found = self._series[key] = CallSeries(self, workspace, model, operation, is_stream)
        return found


class CallSeries:
    """The cells that calls of one workspace, model, operation and protocol count in."""

    __slots__ = (
        "_cached",
        "_cost",
        "_currency",
        "_duration",
        "_input",
        "_labels",
        "_meter",
        "_ok",
        "_output",
        "held",
        "in_flight",
    )

    def __init__(self, meter: Meter, workspace: str, model: str, operation: str, is_stream: bool) -> None:
        labels = (workspace, model, operation, "SSE" if is_stream else "HTTP")
        self._meter = meter
        self._labels = labels
        self._ok = meter.requests.cell((*labels, "200", ""))
        self._duration = meter.duration.cell(labels)
        self._input = meter.usage.cell((*labels, "input_tokens"))
        self._output = meter.usage.cell((*labels, "output_tokens"))
        #: Of the currency that was last charged in: a model's calls are charged in one, mostly.
        self._cost: list[float] = [0]
        self._currency = ""
        self._cached = meter.usage.cell((*labels, "cache_tokens"))
        self.in_flight = meter.in_flight.cell((workspace, model))
        self.held = meter.held.cell((workspace,))

    def settled(self, receipt: Receipt) -> None:
        """A call that reached a model."""
        duration_s = receipt.duration_us / 1e6
        if receipt.status == 200 and receipt.error is None:
            self._ok[0] += 1
        else:
            self._failed(receipt)
        observe(self._duration, DURATION_BOUNDS_S, duration_s)
        self._input[0] += receipt.prompt_tokens
        self._output[0] += receipt.completion_tokens
        self._cached[0] += receipt.cached_tokens
        if receipt.image_count or receipt.video_seconds or receipt.audio_seconds:
            self._count_media(receipt)
        if receipt.cost_micros:
            if receipt.currency != self._currency:
                self._currency = receipt.currency
                self._cost = self._meter.cost.cell((*self._labels, receipt.currency))
            self._cost[0] += receipt.cost_micros / 1e6
        if receipt.first_token_us is not None:
            first_s = receipt.first_token_us / 1e6
            self._meter.first_token.observe(self._labels, first_s)
            if receipt.completion_tokens > 1:
                self._meter.per_token.observe(self._labels, (duration_s - first_s) / (receipt.completion_tokens - 1))

    def _count_media(self, receipt: Receipt) -> None:
        if receipt.image_count:
            self._meter.usage.add((*self._labels, "image_count"), receipt.image_count)
        if receipt.video_seconds or receipt.audio_seconds:
            self._meter.usage.add((*self._labels, "duration"), receipt.video_seconds + receipt.audio_seconds)

    def _failed(self, receipt: Receipt) -> None:
        self._meter.requests.add((*self._labels, str(receipt.status), receipt.error or ""))
        if receipt.status >= 500:
            self._meter.backend_errors.add((receipt.model, receipt.target))
