"""The ledger's minutes as samples: Model Studio's gauges, and OpenTelemetry's histograms that grow. Source: prometheus.md 8.1 and 8.3."""

import logging
from collections.abc import Awaitable, Callable

import msgspec
import numpy as np

from steelyard.base.clock import now_us
from steelyard.monitor.cohorts import OutOfOrder
from steelyard.monitor.exposition_format import Metadata
from steelyard.monitor.series_store import SeriesStore, TooManySeries
from steelyard.promql.labels import NAME, Labels, make_labels
from steelyard.promql.numbers import format_sample
from steelyard.promql.values import is_stale

log = logging.getLogger("steelyard.monitor")

MINUTE_S = 60
#: Receipts are in the ledger this long after they were settled.
GRACE_S = 15
#: Minutes that are made up for after a pause.
MAX_LATE_MINUTES = 24 * 60
GAUGES, HISTOGRAMS = "minutes:gauges", "minutes:histograms"
JOB = {"job": "steelyard-ledger"}

#: The face's answer for the minute that ends at a second; raises OSError where it does not answer.
Fetch = Callable[[int], Awaitable[bytes]]


class _Minute(msgspec.Struct):
    end_s: int
    #: (name, labels, value)
    gauges: list[tuple[str, dict[str, str], float]]
    #: (name, labels, growth of each bucket, growth of the sum)
    growths: list[tuple[str, dict[str, str], list[int], float]]
    #: name -> bounds of its buckets
    bounds: dict[str, list[float]]


_decode = msgspec.json.Decoder(_Minute).decode


class Minutes:
    """Takes each minute once, in order; what was taken is read from the store after a restart."""

    def __init__(self, store: SeriesStore, fetch: Fetch, *, unit: str) -> None:
        self._store = store
        self._fetch = fetch
        self._unit = unit
        self._totals: dict[Labels, float] = {}
        self._next_s = self._first()
        self._remember_totals()

    def __repr__(self) -> str:
        return f"<Minutes, next {self._next_s}>"

    def _first(self) -> int:
        now_s = now_us() // 1_000_000
        oldest_s = (now_s - MAX_LATE_MINUTES * MINUTE_S) // MINUTE_S * MINUTE_S
        newest_ms = self._store.newest_ms(GAUGES)
        if newest_ms is None:
            newest_ms = self._store.written_until(GAUGES)
        if newest_ms is None:
            # the first start: what was before is the ledger's own
            return now_s // MINUTE_S * MINUTE_S
        return max(newest_ms // 1000 // MINUTE_S * MINUTE_S + MINUTE_S, oldest_s)

    def _remember_totals(self) -> None:
        """Histograms go on from where they were."""
        now_ms = now_us() // 1000
        cohort = self._store.samples_of(HISTOGRAMS, now_ms - 2 * MAX_LATE_MINUTES * MINUTE_S * 1000, now_ms)
        if cohort is None:
            return
        gone = is_stale(cohort.values) if cohort.present is None else is_stale(cohort.values) | ~cohort.present
        for row, labels in enumerate(cohort.labels):
            columns = np.flatnonzero(~gone[row])
            if len(columns):
                self._totals[labels] = float(cohort.values[row, columns[-1]])

    async def take_due(self) -> int:
        """Takes every minute that is over; how many.

        Raises:
            OSError: the face does not answer, or the disk takes no more; the minute comes again.
        """
        count = 0
        while self._next_s + GRACE_S <= now_us() // 1_000_000:
            minute = _decode(await self._fetch(self._next_s))
            self._take(minute)
            self._next_s += MINUTE_S
            count += 1
        return count

    def _take(self, minute: _Minute) -> None:
        at_ms = minute.end_s * 1000
        rows = {make_labels({**labels, **JOB, NAME: name}): value for name, labels, value in minute.gauges}
        newest_ms = self._store.newest_ms(HISTOGRAMS)
        if newest_ms is None or newest_ms < at_ms:
            # else the process ended between the two, and the totals have this minute already
            for name, labels, counts, total in minute.growths:
                self._grow(name, labels, counts, total, minute.bounds[name])
            self._append(HISTOGRAMS, self._totals, at_ms)
        # last: it says which minutes were taken
        self._append(GAUGES, rows, at_ms)

    def _grow(self, name: str, labels: dict[str, str], counts: list[int], total: float, bounds: list[float]) -> None:
        base, running = {**labels, **JOB}, 0
        for bound, count in zip([*bounds, float("inf")], counts, strict=True):
            running += count
            self._add({**base, NAME: f"{name}_bucket", "le": format_sample(bound)}, running)
        self._add({**base, NAME: f"{name}_count"}, running)
        self._add({**base, NAME: f"{name}_sum"}, total)

    def _add(self, pairs: dict[str, str], amount: float) -> None:
        labels = make_labels(pairs)
        self._totals[labels] = self._totals.get(labels, 0.0) + amount

    def _append(self, source: str, rows: dict[Labels, float], at_ms: int) -> None:
        try:
            self._store.append(source, tuple(rows), at_ms, np.array(list(rows.values()), dtype=np.float64))
        except OutOfOrder:
            log.info("the minute %d is there already", at_ms // 1000)
        except TooManySeries as exc:
            log.warning("a minute of the ledger was not kept: %s", exc)

    def families(self) -> dict[str, Metadata]:
        """What the families are."""
        found = {name: Metadata("gauge", text.replace("UNIT", self._unit)) for name, text in HELP.items()}
        found |= {
            name: Metadata("histogram", f"OpenTelemetry's {name.replace('_', '.')}, by the ledger.") for name in _GEN_AI
        }
        return found


_GEN_AI = (
    "gen_ai_client_token_usage", "gen_ai_client_operation_duration_seconds", "gen_ai_server_request_duration_seconds",
    "gen_ai_server_time_per_output_token_seconds", "gen_ai_server_time_to_first_token_seconds",
)  # fmt: skip
_TIMES: dict[str, str] = {
    f"{name}{ending}": f"{text}: {how}, UNIT."
    for name, text in (
        ("model_call_duration", "Duration of calls"),
        ("model_first_token_duration", "Time to the first token"),
        ("model_generation_duration_per_token", "Time of a token after the first"),
    )
    for ending, how in (("", "mean of the minute"), ("_total", "sum of the minute"), ("_p50", "median"), ("_p99", "99th percentile"))
}  # fmt: skip
HELP: dict[str, str] = {
    "model_call_count": "Calls of the minute, by outcome.",
    "model_call_failed_count": "Failed calls of the minute.",
    "model_call_4xx_count": "Calls of the minute that ended with a 4xx.",
    "model_call_5xx_count": "Calls of the minute that ended with a 5xx.",
    "model_call_429_count": "Calls of the minute that ended with a 429.",
    "model_call_data_inspection_failed_count": "Calls of the minute that content inspection refused.",
    **_TIMES,
    "model_usage": "What the minute's calls used, by usage_type.",
    "model_tps_per_request": "Output tokens a second of a call, mean of the minute.",
    "model_total_amount": "What the minute's calls were charged, in the currency's units.",
    "model_cache_hit_percent": "Input tokens of the minute that a cache had, in per cent.",
}
