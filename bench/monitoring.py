"""Monitoring by itself: what a scrape costs, what samples take on disk and in memory, and queries beside a real Prometheus with the same samples."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from steelyard.monitor.exposition_format import Reader
from steelyard.monitor.remote_write import HEADERS, WrittenSeries, encode
from steelyard.monitor.series_store import PART_MS, SeriesStore
from steelyard.promql.labels import Labels, make_labels

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

STEP_MS = 15_000
DAY = 86_400_000 // STEP_MS
COUNTERS, GAUGES = 2_000, 10_000
RANGES = {
    "`rate(c[5m])` over 24 h, 60 s steps, 2,000 series": "rate(c[5m])",
    "`sum by (job) (rate(c[5m]))`, the same": "sum by (job) (rate(c[5m]))",
}
INSTANT = "g"
ROUNDS = 5
#: In a process of its own, told its own time: what is imported does not count, the page cache is warm.
COLD = """
import json, sys, time
from pathlib import Path
from steelyard.monitor.series_store import SeriesStore
from steelyard.promql.engine import query_range
from steelyard.promql.parse import parse
from steelyard.promql.answers import show_result
from steelyard.base.jsondoor import encode
place, query, start, end = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
times = []
began = time.perf_counter()
store = SeriesStore(Path(place))
for _ in range(6):
    result = query_range(parse(query), store, start, end, 60_000)
    evaluated = time.perf_counter() - began
    encode(show_result(result, is_range=True))
    times.append((evaluated, time.perf_counter() - began))
    began = time.perf_counter()
print(json.dumps(times))
"""


def counters() -> tuple[Labels, ...]:
    return tuple(
        make_labels({"__name__": "c", "job": f"j{number % 20}", "instance": f"i{number % 100}", "n": str(number)})
        for number in range(COUNTERS)
    )


def fill(place: Path, now_ms: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """A day of regular counters."""
    dice = np.random.default_rng(3)
    times = now_ms - STEP_MS * np.arange(DAY)[::-1]
    values = np.cumsum(dice.integers(0, 40, (COUNTERS, DAY)), axis=1).astype(float)
    store, labels = SeriesStore(place), counters()
    for column, at in enumerate(times.tolist()):
        store.append("scrape:c", labels, at, values[:, column])
        if at % PART_MS < STEP_MS:
            store.settle(at)
    store.settle(now_ms)
    store.close()
    return times, values


def on_disk(place: Path) -> float:
    """Bytes a sample in the blocks."""
    import sqlite3

    with sqlite3.connect(place / "blocks.db") as file:
        size, samples = 0, 0
        for data, labels in file.execute("SELECT data, labels FROM block"):
            size += len(data) + len(labels)
            samples += int.from_bytes(data[4:8], "little") * int.from_bytes(data[8:12], "little")
    return size / samples


def memory_per_series() -> float:
    """KB of a process per active series, after half an hour and its settling."""
    script = (
        "import sys, os, numpy as np; from pathlib import Path\n"
        "from bench.monitoring import *\n"
        "def rss(): return int(open('/proc/self/statm').read().split()[1]) * os.sysconf('SC_PAGE_SIZE')\n"
        "store = SeriesStore(Path(sys.argv[1])); labels = tuple(make_labels({'__name__': 'g', 'job': f'j{n % 20}', 'n': str(n)}) for n in range(10_000))\n"
        "before, worst = rss(), 0\n"
        "start = 1_795_600_000_000 // PART_MS * PART_MS\n"
        "for column in range(400):\n"
        "    at = start + column * STEP_MS\n"
        "    store.append('scrape:g', labels, at, np.arange(10_000.0) + column)\n"
        "    if at % 60_000 == 0: store.settle(at)\n"
        "    worst = max(worst, rss())\n"
        "print((worst - before) / 10_000 / 1000)\n"
    )
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run([sys.executable, "-c", script, place], capture_output=True, text=True, check=True)
    return float(done.stdout)


def ingest() -> float:
    """Samples a second, from a scraped text to the store and its log."""
    lines = [f'g{{job="a",n="{number}"}} ' for number in range(10_000)]
    with tempfile.TemporaryDirectory() as place:
        store, reader, best = SeriesStore(Path(place)), Reader(), 0.0
        bodies = [
            "".join(f"{line}{number * 0.5 + turn}\n" for number, line in enumerate(lines)).encode()
            for turn in range(10)
        ]
        for turn, body in enumerate(bodies):
            began = time.perf_counter()
            exposed = reader.read(body)
            store.append(
                "scrape:g", tuple(exposed.labels), 1_795_600_000_000 + turn * STEP_MS, np.array(exposed.values)
            )
            store.flush()
            best = max(best, len(lines) / (time.perf_counter() - began))
        store.close()
    return best


def ours(place: Path, query: str, now_ms: int) -> tuple[float, float, float]:
    """Seconds of the evaluation, cold and warm, and warm with its answer as JSON."""
    words = [sys.executable, "-c", COLD, str(place), query, str(now_ms - 86_400_000 + 300_000), str(now_ms)]
    found = [json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout) for _ in range(3)]
    warm = [pair for one in found for pair in one[1:]]
    return (
        statistics.median(one[0][0] for one in found),
        statistics.median(pair[0] for pair in warm),
        statistics.median(pair[1] for pair in warm),
    )


def ours_instant(now_ms: int) -> tuple[float, float]:
    """Seconds of an instant query over 10,000 series in memory, and with its answer as JSON."""
    from steelyard.base.jsondoor import encode as to_json
    from steelyard.promql.answers import show_result
    from steelyard.promql.engine import query_instant
    from steelyard.promql.parse import parse

    with tempfile.TemporaryDirectory() as place:
        store = SeriesStore(Path(place))
        labels = gauges()
        for turn in range(20):
            store.append("scrape:g", labels, now_ms - (20 - turn) * STEP_MS, np.arange(float(GAUGES)))
        evaluated = timed(lambda: query_instant(parse(INSTANT), store, now_ms))
        whole = timed(lambda: to_json(show_result(query_instant(parse(INSTANT), store, now_ms), is_range=False)))
        store.close()
    return evaluated, whole


def gauges() -> tuple[Labels, ...]:
    return tuple(make_labels({"__name__": "g", "job": f"j{number % 20}", "n": str(number)}) for number in range(GAUGES))


def timed(work: Callable[[], Any]) -> float:
    found = []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return statistics.median(found[1:])


class Real:
    """Debian's Prometheus on one core, with the same samples."""

    def __init__(self, origin: str) -> None:
        self._origin = origin

    def write(self, series: list[WrittenSeries]) -> None:
        request = urllib.request.Request(self._origin + "/api/v1/write", encode(series), HEADERS)
        urllib.request.urlopen(request, timeout=60).close()

    def fill(self, times: np.ndarray, values: np.ndarray, now_ms: int) -> None:  # type: ignore[type-arg]
        # it takes nothing that is an hour older than its newest
        for first in range(0, DAY, 120):
            told = times[first : first + 120].tolist()
            for start in range(0, COUNTERS, 500):
                part = values[start : start + 500, first : first + 120].tolist()
                rows = zip(counters()[start : start + 500], part, strict=True)
                self.write([WrittenSeries(labels, told, row) for labels, row in rows])
        stamps = [now_ms - number * STEP_MS for number in range(20, 0, -1)]
        self.write([WrittenSeries(labels, stamps, [float(row)] * 20) for row, labels in enumerate(gauges())])

    def ask(self, path: str, **wish: object) -> float:
        url = f"{self._origin}/api/v1/{path}?{urllib.parse.urlencode(wish)}"

        def work() -> None:
            with urllib.request.urlopen(url, timeout=60) as answer:
                answer.read()

        return timed(work)


def table() -> str:
    """The figures as text."""
    from real_prometheus import run_prometheus

    now_ms = int(time.time()) // 60 * 60_000
    rows = []
    with tempfile.TemporaryDirectory() as place:
        times, values = fill(Path(place) / "ours", now_ms)
        disk = on_disk(Path(place) / "ours")
        flags = ("--web.enable-remote-write-receiver",)
        os.environ["GOMAXPROCS"] = "1"
        with run_prometheus(Path(place) / "real", "global: {}\n", *flags) as origin:
            real = Real(origin)
            real.fill(times, values, now_ms)
            span = {"start": now_ms / 1000 - 86_400 + 300, "end": now_ms / 1000, "step": 60}
            for title, query in RANGES.items():
                cold, warm, whole = ours(Path(place) / "ours", query, now_ms)
                rows.append(
                    (
                        title,
                        f"{cold:.2f} s cold, {warm:.2f} s warm; {whole:.2f} s with its JSON",
                        "1.5 s, 0.3 s",
                        f"{real.ask('query_range', query=query, **span):.2f} s with its JSON",
                    )
                )
            instant, whole = ours_instant(now_ms)
            theirs = real.ask("query", query=INSTANT, time=now_ms / 1000)
            told = f"{instant * 1000:.0f} ms; {whole * 1000:.0f} ms with its JSON"
            rows.append(("an instant query, 10,000 series", told, "50 ms", f"{theirs * 1000:.0f} ms with its JSON"))
    rows.append(("scraped samples taken", f"{ingest():,.0f} a second", "300,000", ""))
    rows.append(("memory of an active series, at most", f"{memory_per_series():.1f} KB", "5 KB", ""))
    rows.append(("a sample of a regular counter on disk", f"{disk:.2f} bytes", "2 bytes", ""))
    lines = [
        "Monitoring, 15 s samples, one core; the real Prometheus is Debian's 2.42 with GOMAXPROCS=1, the same samples all in its memory:",
        "",
    ]
    lines += ["| what | ours | aim | Prometheus |", "|---|---|---|---|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
