"""The same samples and the same queries in a real Prometheus (Debian's) and in our evaluator.

That one is a 2.42: samples and times of evaluation are chosen so that no window's edge, which 3.x leaves open, meets a sample.
"""

import json
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from installation import Installation
from real_prometheus import run_prometheus
from steelyard.monitor.received import Received
from steelyard.monitor.remote_write import HEADERS, WrittenSeries, decode, encode
from steelyard.monitor.series_store import SeriesStore
from steelyard.monitor.tenants import WORKSPACE
from steelyard.promql.answers import show_result
from steelyard.promql.engine import query_instant, query_range
from steelyard.promql.errors import QueryError
from steelyard.promql.labels import Labels, make_labels
from steelyard.promql.parse import parse
from steelyard.promql.values import STALE_NAN

from .grammar import Grammar

QUERIES = 300
STEP_MS = 15_000
HOURS = 2
#: What only 3.x has, or does otherwise; prometheus.md lists it. (2.42 keeps the name before atan2.)
LEFT_OUT = (
    "histogram_fraction",
    "histogram_count",
    "histogram_sum",
    "histogram_avg",
    "histogram_std",
    "double_exponential",
    "sort_by_label",
    "mad_over_time",
    "ts_of",
    "first_over_time",
    "limit",
    "atan2",
)
#: Of what is no number these give what the platform happens to, and in 2.42 something else than in 3.x.
OF_NUMBERS = ("stddev", "stdvar", "minute", "hour", "day", "month", "year")
#: Counters near zero are stretched by another rule since 3.0.
OF_COUNTERS = ("rate(", "increase(")
NEAR_ZERO = ("up", "temp", "/", "%", "^", "quantile", "acos", "asin", "log", "ln", "sqrt")


def is_comparable(text: str) -> bool:
    """Whether both versions mean the same by a query."""
    is_delicate = any(word in text for word in (*OF_NUMBERS, *OF_COUNTERS)) and any(word in text for word in NEAR_ZERO)
    # a variance's last digit may differ, and becomes a label there
    is_digit = "count_values" in text and any(word in text for word in OF_NUMBERS)
    return not is_delicate and not is_digit and not any(word in text for word in LEFT_OUT)


def make_series(now_ms: int) -> list[tuple[Labels, np.ndarray, np.ndarray]]:  # type: ignore[type-arg]
    """Counters, gauges and histograms over two hours, with resets, gaps and ends."""
    dice = np.random.default_rng(7)
    count = HOURS * 3600_000 // STEP_MS
    start = now_ms - HOURS * 3600_000
    series = []
    for job in ("a", "b", "api"):
        for instance in ("x", "y"):
            base = {"job": job, "instance": instance}
            times = start + np.arange(count) * STEP_MS + 37 + int(dice.integers(0, 900))
            kept = dice.random(count) > 0.03
            # far from zero, where 2.42 and 3.x stretch counters alike
            grown = 1e6 + np.cumsum(dice.integers(0, 40, count)).astype(float)
            grown[count // 2 :] -= grown[count // 2] - 5e5
            heat = np.round(dice.normal(20, 8, count), 3)
            heat[dice.random(count) < 0.01] = np.nan
            gauge = heat.copy()
            gauge[count // 3] = STALE_NAN
            series += [
                (make_labels({"__name__": "http_requests_total", "code": "200", **base}), times[kept], grown[kept]),
                (make_labels({"__name__": "temp", "path": "/" + job, **base}), times[kept], heat[kept]),
                (make_labels({"__name__": "up", **base}), times, gauge),
            ]
            total = np.zeros(count)
            for bound in ("0.5", "1", "+Inf"):
                total = total + 1e6 + np.cumsum(dice.integers(0, 9, count))
                series.append((make_labels({"__name__": "latency_bucket", "le": bound, **base}), times, total.copy()))
    series.append((make_labels({"__name__": "a:b", "job": "a"}), times[:50], heat[:50]))
    return series


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, SeriesStore, int]]:
    config = "global: {evaluation_interval: 1m}\n"
    features = "--enable-feature=promql-at-modifier,promql-negative-offset"
    with run_prometheus(
        tmp_path_factory.mktemp("prometheus"), config, "--web.enable-remote-write-receiver", features
    ) as origin:
        now = int(time.time()) // 3600 * 3600_000
        # one body for both
        body = encode(
            WrittenSeries(labels, times.tolist(), values.tolist()) for labels, times, values in make_series(now)
        )
        answer = httpx.post(f"{origin}/api/v1/write", content=body, headers=HEADERS, timeout=30)
        assert answer.status_code == 204, answer.text
        store = SeriesStore(tmp_path_factory.mktemp("series"))
        refusals = Received(store).take("w", decode(body))
        assert not refusals.reasons, str(refusals)
        # a part in memory, a part in blocks
        store.settle(now - 1_800_000)
        yield origin, store, now
        store.close()


def as_rows(data: dict[str, Any]) -> dict[Any, float]:
    """(labels, time) -> value."""
    if data["resultType"] in ("scalar", "string"):
        return {((), float(data["result"][0])): float(data["result"][1])}
    rows = {}
    for one in data["result"]:
        # what is written to us is a workspace's
        labels = tuple(sorted((name, value) for name, value in one["metric"].items() if name != WORKSPACE))
        for at, value in one.get("values") or [one["value"]]:
            rows[labels, float(at)] = float(value)
    return rows


def same(one: float, other: float) -> bool:
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return one == other or abs(one - other) <= 1e-9 * max(abs(one), abs(other)) or abs(one - other) < 1e-12


def ours(store: SeriesStore, text: str, at: int, wish: dict[str, int] | None) -> dict[Any, float] | None:
    try:
        node = parse(text)
        if wish is None:
            result = query_instant(node, store, at)
        else:
            result = query_range(node, store, wish["start"] * 1000, wish["end"] * 1000, wish["step"] * 1000)
    except QueryError:
        return None
    shown, _ = show_result(result, is_range=wish is not None)
    import msgspec

    return as_rows(json.loads(msgspec.json.encode(shown)))


def test_generated_queries(real: tuple[str, SeriesStore, int]) -> None:
    """Instant and range queries agree to nine digits, and what the one refuses the other refuses."""
    compare(real, QUERIES, 11)


@pytest.mark.long
def test_many_generated_queries(real: tuple[str, SeriesStore, int]) -> None:
    """Likewise, ten times as many."""
    compare(real, 10 * QUERIES, 12)


def compare(real: tuple[str, SeriesStore, int], count: int, seed: int) -> None:
    origin, store, now = real
    pick = random.Random(seed)
    asked = refused = 0
    number = seed * 1_000_000
    problems = []
    while asked < count:
        number += 1
        text = Grammar(number, is_old=True).query(pick.randrange(1, 4))
        if not is_comparable(text):
            continue
        # neither on a minute nor on half of one
        at = now // 1000 - pick.randrange(0, 3600) // 30 * 30 + 13
        wish = None if pick.random() < 0.5 else {"start": at - 1800, "end": at, "step": pick.choice((60, 90, 300))}
        if wish is None:
            answer = httpx.get(f"{origin}/api/v1/query", params={"query": text, "time": at}, timeout=30)
        else:
            answer = httpx.get(f"{origin}/api/v1/query_range", params={"query": text, **wish}, timeout=30)
        theirs = as_rows(answer.json()["data"]) if answer.status_code == 200 else None
        mine = ours(store, text, at * 1000, wish)
        asked += 1
        refused += theirs is None
        problem = difference(mine, theirs, answer)
        if problem is not None:
            problems.append(f"{text}\n    {wish or at}\n    {problem}")
    assert problems == [], "\n".join(problems[:10]) + f"\n{len(problems)} of {asked}"
    assert refused < asked / 2


def difference(mine: dict[Any, float] | None, theirs: dict[Any, float] | None, answer: httpx.Response) -> str | None:
    if mine is None or theirs is None:
        return None if mine is theirs else f"ours {'fails' if mine is None else 'answers'}, theirs: {answer.text[:200]}"
    for key in mine.keys() | theirs.keys():
        if key not in mine or key not in theirs:
            return f"{key} is only {'theirs' if key not in mine else 'ours'}"
        if not same(mine[key], theirs[key]):
            return f"{key}: ours {mine[key]!r}, theirs {theirs[key]!r}"
    return None


def test_by_the_command_line(real: tuple[str, SeriesStore, int], tmp_path: Path) -> None:
    """A table, a plot and a refusal, of a Prometheus that is not ours."""
    origin, _, _ = real
    cli = Installation(tmp_path).cli
    assert cli("promql", "1 + 1", "--url", origin).stdout == "2\n"
    assert (
        json.loads(cli("promql", "vector(3)", "--url", origin, "--json").stdout)["data"]["result"][0]["value"][1] == "3"
    )
    plotted = cli("promql", "count(http_requests_total) or vector(0)", "--url", origin, "--range", "30m").stdout
    assert plotted.startswith("{}\t")
    assert any(bar in plotted for bar in "▁█")
    assert "序列 up" in cli("promql", "rate(up[5m])", "--explain", "--lang", "zh").stdout
    assert cli("promql", "rate(up", "--explain", check=False).returncode == 1
    refused = cli("promql", "rate(up)", "--url", origin, check=False)
    assert refused.returncode == 1
    assert "expected type range vector" in refused.stderr
