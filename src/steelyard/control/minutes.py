"""What the ledger says of one minute, under Model Studio's names and OpenTelemetry's. Source: prometheus.md 8.1 and 8.3.

A receipt belongs to the minute in which it was settled, so each is counted once, whenever the minute is asked for.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from steelyard.base.metrics import DURATION_BOUNDS_S, FIRST_TOKEN_BOUNDS_S, PER_TOKEN_BOUNDS_S
from steelyard.base.units import MICROS
from steelyard.canon.task import OPERATION_OF
from steelyard.store import ledger
from steelyard.store.database import Database

MINUTE_US = 60 * MICROS
ASYNC_OPERATIONS = frozenset(OPERATION_OF.values())
#: OpenTelemetry's names of our operations; others are told by their own.
GEN_AI_OPERATIONS = {
    "chat": "chat", "generation": "chat", "multimodal": "generate_content", "messages": "chat", "responses": "chat",
    "completions": "text_completion", "embeddings": "embeddings", "images": "generate_content", "videos": "generate_content",
    "speech": "generate_content", "transcription": "generate_content",
}  # fmt: skip
_TOKENS = tuple(float(4**power) for power in range(14))
#: OpenTelemetry's end where ours go on: 81.92 s, and 10 s to the first token.
_DURATIONS, _FIRST = DURATION_BOUNDS_S[:14], FIRST_TOKEN_BOUNDS_S[:16]
#: name -> the bounds of its buckets
BOUNDS: dict[str, tuple[float, ...]] = {
    "gen_ai_client_token_usage": _TOKENS,
    "gen_ai_client_operation_duration_seconds": _DURATIONS,
    "gen_ai_server_request_duration_seconds": _DURATIONS,
    "gen_ai_server_time_per_output_token_seconds": PER_TOKEN_BOUNDS_S,
    "gen_ai_server_time_to_first_token_seconds": _FIRST,
}

Labels = dict[str, str]


class Gauge(msgspec.Struct, array_like=True):
    """One value of a minute."""

    name: str
    labels: Labels
    value: float


class Growth(msgspec.Struct, array_like=True):
    """How much a histogram grew in a minute: in each bucket, the last one without an end, and its sum."""

    name: str
    labels: Labels
    counts: list[int]
    sum: float


class Minute(msgspec.Struct):
    """One minute, by its end in seconds."""

    end_s: int
    gauges: list[Gauge]
    growths: list[Growth]


class Call(NamedTuple):
    """What is read of a receipt, in the order of `ledger.MINUTE_COLUMNS`."""

    workspace: str
    key_id: str
    operation: str
    model: str
    target: str
    is_stream: bool
    status: int
    error: str | None
    duration_us: int
    first_token_us: int | None
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    image_count: int
    video_seconds: int
    audio_seconds: int
    charged_micros: int
    currency: str

    @property
    def per_token_us(self) -> float | None:
        """Time of a token after the first."""
        if self.first_token_us is None or self.completion_tokens < 2:
            return None
        return (self.duration_us - self.first_token_us) / (self.completion_tokens - 1)


async def read_minute(database: Database, end_s: int, *, per_s: float) -> Minute:
    """What was settled in the minute that ends at a time.

    Args:
        per_s: how many of the unit of durations a second has: 1000 for milliseconds.
    """
    end_us = end_s * MICROS
    async with database.read() as connection:
        rows = await ledger.list_settled(connection, end_us - MINUTE_US, end_us)
    return tell_minute((Call(*row) for row in rows), end_s, per_s=per_s)


def tell_minute(calls: Iterable[Call], end_s: int, *, per_s: float) -> Minute:
    """A minute's calls as samples."""
    groups: dict[tuple[str, ...], list[Call]] = {}
    growths: dict[tuple[Any, ...], Growth] = {}
    for call in calls:
        groups.setdefault(_labels_of(call), []).append(call)
        _grow(growths, call)
    names = ("workspace_id", "apikey_id", "model", "protocol", "sub_protocol")
    gauges = [one for key, some in groups.items() for one in _gauges(dict(zip(names, key, strict=True)), some, per_s)]
    return Minute(end_s, gauges, list(growths.values()))


def _labels_of(call: Call) -> tuple[str, ...]:
    is_async = call.operation in ASYNC_OPERATIONS
    return (
        call.workspace,
        call.key_id,
        call.model,
        "SSE" if call.is_stream else "HTTP",
        "ASYNC" if is_async else "DEFAULT",
    )


def _gauges(labels: Labels, calls: list[Call], per_s: float) -> Iterable[Gauge]:
    yield from _counts(labels, calls)
    per_us = per_s / MICROS
    times: tuple[tuple[str, list[float]], ...] = (
        ("model_call_duration", [one.duration_us * per_us for one in calls]),
        ("model_first_token_duration", [one.first_token_us * per_us for one in calls if one.first_token_us is not None]),
        ("model_generation_duration_per_token", [found * per_us for one in calls if (found := one.per_token_us) is not None]),
    )  # fmt: skip
    for name, values in times:
        if values:
            ordered = sorted(values)
            yield Gauge(name, labels, sum(values) / len(values))
            yield Gauge(f"{name}_total", labels, sum(values))
            yield Gauge(f"{name}_p50", labels, _quantile(ordered, 0.5))
            yield Gauge(f"{name}_p99", labels, _quantile(ordered, 0.99))
    paces = [MICROS / found for one in calls if (found := one.per_token_us)]
    if paces:
        yield Gauge("model_tps_per_request", labels, sum(paces) / len(paces))
    yield from _usage(labels, calls)
    amounts: dict[str, int] = {}
    for one in calls:
        if one.charged_micros:
            amounts[one.currency] = amounts.get(one.currency, 0) + one.charged_micros
    for currency, micros in amounts.items():
        yield Gauge("model_total_amount", {**labels, "currency": currency}, micros / MICROS)


def _counts(labels: Labels, calls: list[Call]) -> Iterable[Gauge]:
    outcomes: dict[tuple[str, str], int] = {}
    for one in calls:
        key = (str(one.status), one.error or "")
        outcomes[key] = outcomes.get(key, 0) + 1
    for (status, error), count in outcomes.items():
        yield Gauge("model_call_count", {**labels, "status_code": status, "error_code": error}, count)
    failed = [one for one in calls if one.status >= 400 or one.error]
    for name, count in (
        ("model_call_failed_count", len(failed)),
        ("model_call_4xx_count", sum(400 <= one.status < 500 for one in calls)),
        ("model_call_5xx_count", sum(one.status >= 500 for one in calls)),
        ("model_call_429_count", sum(one.status == 429 for one in calls)),
        ("model_call_data_inspection_failed_count", sum("inspection" in (one.error or "").lower() for one in calls)),
    ):
        yield Gauge(name, labels, count)


def _usage(labels: Labels, calls: list[Call]) -> Iterable[Gauge]:
    prompt = sum(one.prompt_tokens for one in calls)
    completion = sum(one.completion_tokens for one in calls)
    cached = sum(one.cached_tokens for one in calls)
    for kind, amount in (
        ("total_tokens", prompt + completion),
        ("input_tokens", prompt),
        ("output_tokens", completion),
        ("cache_tokens", cached),
        ("image_count", sum(one.image_count for one in calls)),
        ("duration", sum(one.video_seconds + one.audio_seconds for one in calls)),
    ):
        if amount:
            yield Gauge("model_usage", {**labels, "usage_type": kind}, amount)
    if prompt:
        yield Gauge("model_cache_hit_percent", labels, 100 * cached / prompt)


def _quantile(ordered: Sequence[float], share: float) -> float:
    """By interpolation between neighbours."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def _grow(growths: dict[tuple[Any, ...], Growth], call: Call) -> None:
    base = (
        ("workspace_id", call.workspace),
        ("gen_ai_operation_name", GEN_AI_OPERATIONS.get(call.operation, call.operation)),
        ("gen_ai_provider_name", call.target.partition("/")[0]),
        ("gen_ai_request_model", call.model),
    )
    failure = (("error_type", call.error or str(call.status)),) if call.error or call.status >= 400 else ()
    seconds = call.duration_us / MICROS
    _observe(growths, "gen_ai_client_operation_duration_seconds", base + failure, seconds)
    _observe(growths, "gen_ai_server_request_duration_seconds", base + failure, seconds)
    for kind, tokens in (("input", call.prompt_tokens), ("output", call.completion_tokens)):
        if tokens:
            _observe(growths, "gen_ai_client_token_usage", (*base, ("gen_ai_token_type", kind)), tokens)
    if call.first_token_us is not None:
        _observe(growths, "gen_ai_server_time_to_first_token_seconds", base, call.first_token_us / MICROS)
    if call.per_token_us is not None:
        _observe(growths, "gen_ai_server_time_per_output_token_seconds", base, call.per_token_us / MICROS)


def _observe(
    growths: dict[tuple[Any, ...], Growth], name: str, labels: tuple[tuple[str, str], ...], value: float
) -> None:
    growth = growths.get((name, labels))
    if growth is None:
        growth = growths[name, labels] = Growth(name, dict(labels), [0] * (len(BOUNDS[name]) + 1), 0.0)
    growth.counts[bisect_left(BOUNDS[name], value)] += 1
    growth.sum += value
