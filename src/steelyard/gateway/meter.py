"""The gateway's own metrics. Labels come from our tables: no key, no request id, no user text. Names: prometheus.md 8.2."""

from steelyard.base.metrics import DURATION_BOUNDS_S, FIRST_TOKEN_BOUNDS_S, PER_TOKEN_BOUNDS_S, Registry
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
        self.usage = registry.counter("llm_usage_total", "Tokens by kind.", (*_L, "usage_type"))
        self.cost = registry.counter("llm_cost_total", "Money spent, in the currency's units.", (*_L, "currency"))
        self.in_flight = registry.gauge("llm_requests_in_flight", "Calls under way.", ("workspace_id", "model"))
        self.held = registry.gauge("llm_held_tokens", "Tokens held for calls under way.", ("workspace_id",))
        self.backend_errors = registry.counter(
            "llm_backend_errors_total", "Failures of upstreams.", ("model", "backend")
        )
        self.connections = registry.gauge("gateway_connections", "Open client connections.", ())

    def refused(self, workspace: str, model: str, operation: str, status: int, code: str) -> None:
        """A call that reached no model."""
        self.requests.add((workspace, model, operation, "HTTP", str(status), code))

    def settled(self, receipt: Receipt) -> None:
        """A call that reached a model."""
        protocol = "SSE" if receipt.is_stream else "HTTP"
        labels = (receipt.workspace, receipt.model, receipt.operation, protocol)
        duration_s = receipt.duration_us / 1e6
        self.requests.add((*labels, str(receipt.status), receipt.error or ""))
        self.duration.observe(labels, duration_s)
        if receipt.prompt_tokens:
            self.usage.add((*labels, "input_tokens"), receipt.prompt_tokens)
        if receipt.completion_tokens:
            self.usage.add((*labels, "output_tokens"), receipt.completion_tokens)
        if receipt.cached_tokens:
            self.usage.add((*labels, "cache_tokens"), receipt.cached_tokens)
        if receipt.cost_micros:
            self.cost.add((*labels, receipt.currency), receipt.cost_micros / 1e6)
        if receipt.first_token_us is not None:
            first_s = receipt.first_token_us / 1e6
            self.first_token.observe(labels, first_s)
            if receipt.completion_tokens > 1:
                self.per_token.observe(labels, (duration_s - first_s) / (receipt.completion_tokens - 1))
        if receipt.error and receipt.status >= 500:
            self.backend_errors.add((receipt.model, receipt.target))
