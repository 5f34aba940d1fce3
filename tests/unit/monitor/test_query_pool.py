"""Heavy queries run in processes of their own: the same answers, killed in time, replaced when they die; and nobody else waits."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steelyard.monitor import questions as module
from steelyard.monitor.questions import Questions, Span, View
from steelyard.monitor.series_store import SeriesStore
from steelyard.promql.cost import estimate_cost
from steelyard.promql.errors import QueryError
from steelyard.promql.labels import make_labels
from steelyard.promql.parse import parse

NOW = 1_795_600_000_000
SPAN = Span(NOW - 3_600_000, NOW, 15_000)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeriesStore]:
    made = SeriesStore(tmp_path_factory.mktemp("store"))
    for workspace in ("w", "other"):
        labels = tuple(make_labels({"__name__": "m", "n": str(n), "workspace_id": workspace}) for n in range(1000))
        for at in range(NOW - 3_600_000, NOW + 1, 15_000):
            made.append(f"scrape:{workspace}", labels, at, np.arange(1000.0) + at % 7)
    made.put("write:w", labels[:1], NOW, np.array([1.0]))
    yield made
    made.close()


@pytest.fixture
def questions(store: SeriesStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Questions]:
    made = Questions(store)
    yield made
    made.close()


def children() -> list[int]:
    return [int(one) for one in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


QUERIES = (
    "sum(rate(m[5m]))",
    "m",
    'm{n="1"} or m{n="2"}',
    "topk(3, m)",
    "absent(none)",
    "1 + 1",
    "quantile_over_time(0.5, m[10m])",
    "m[1m]",
)


@pytest.mark.parametrize("workspace", [None, "w"])
async def test_the_same_answers(questions: Questions, monkeypatch: pytest.MonkeyPatch, workspace: str | None) -> None:
    """To the byte, errors and warnings too, whether in a thread or in a process; a workspace sees its own in both."""
    view = View(workspace=workspace)
    for query in (*QUERIES, "m * on() m", "rate(m[5m]) > bool 1 or vector(1)"):
        for span in (SPAN, Span(NOW, NOW)):
            if query == "m[1m]" and span.step_ms:
                continue
            told: list[Any] = []
            for heavy in (1e18, -1.0):
                monkeypatch.setattr(module, "HEAVY", heavy)
                try:
                    told.append(await questions.answer(query, span, view, limit=5))
                except QueryError as exc:
                    told.append((exc.kind, str(exc)))
            assert told[0] == told[1], query
    monkeypatch.setattr(module, "HEAVY", -1.0)
    found = json.loads((await questions.answer("count by (workspace_id) (m)", Span(NOW, NOW), view)).data)
    assert {one["metric"]["workspace_id"] for one in found["result"]} == ({"w"} if workspace else {"w", "other"})


async def test_killed_in_time(questions: Questions, monkeypatch: pytest.MonkeyPatch) -> None:
    """A query that would take minutes ends at its deadline, and its process with it; the next one is answered."""
    monkeypatch.setattr(module, "HEAVY", -1.0)
    slow = "sum(" + " + ".join(["quantile_over_time(0.5, m[30m:1s])"] * 5) + ")"
    began = time.monotonic()
    with pytest.raises(QueryError, match=r"timed out|too many samples"):
        await questions.answer(slow, SPAN, View(workspace=None, timeout_s=2))
    assert time.monotonic() - began < 5
    assert await questions.answer("1", Span(NOW, NOW), View(workspace=None))
    questions.close()
    await asyncio.sleep(0.3)


async def test_a_process_that_dies(questions: Questions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its query fails and says so; the one after it has another."""
    monkeypatch.setattr(module, "HEAVY", -1.0)
    before = set(children())
    await questions.answer("1", Span(NOW, NOW), View(workspace=None))
    (worker,) = set(children()) - before
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(QueryError, match="the process that evaluated the query ended"):
        await questions.answer("1", Span(NOW, NOW), View(workspace=None))
    assert await questions.answer("1", Span(NOW, NOW), View(workspace=None))


async def test_light_ones_do_not_wait_for_heavy_ones(questions: Questions) -> None:
    """While as many heavy ones as may run do, and more wait."""
    heavy = [
        asyncio.create_task(questions.answer("sum(quantile_over_time(0.5, m[30m]))", Span(NOW - 3_600_000, NOW, 5_000), View(workspace=None)))
        for _ in range(6)
    ]  # fmt: skip
    await asyncio.sleep(0.5)
    began = time.monotonic()
    await questions.answer('m{n="1"}', Span(NOW, NOW), View(workspace=None))
    assert time.monotonic() - began < 1
    assert not all(one.done() for one in heavy)
    for one in heavy:
        one.cancel()
    await asyncio.gather(*heavy, return_exceptions=True)


@pytest.mark.parametrize(
    ("query", "steps", "low", "high"),
    [
        ("up", 1, 100, 101),
        ("1", 100, 100, 101),
        ("rate(up[5m])", 100, 20_000, 50_000),
        ("up + up", 100, 30_000, 60_000),
        ("max_over_time(up[1d:1s])", 1, 5_000_000, 20_000_000),
        ("sum(up)", 11_000, 1_000_000, 3_000_000),
    ],
)
def test_cost(query: str, steps: int, low: float, high: float) -> None:
    """Of a hundred series."""
    assert low <= estimate_cost(parse(query), steps, (steps - 1) * 15_000, lambda _: 100) <= high
