"""A property: what a workspace is told of any query is what it would be told if there were no other workspace."""

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from promql.grammar import LABELS, METRICS, Grammar
from steelyard.base.jsondoor import encode
from steelyard.monitor.questions import Questions, View
from steelyard.monitor.series_store import BLOCK_MS, SeriesStore
from steelyard.promql.answers import show_result
from steelyard.promql.errors import QueryError
from steelyard.promql.labels import Labels, make_labels
from steelyard.promql.parse import parse, parse_selector

NOW = 1_795_600_000_000 // BLOCK_MS * BLOCK_MS + 3_600_000
#: Matchers that a query puts to its selectors in hope.
HOPES = (
    'workspace_id="other"', 'workspace_id=~".*"', 'workspace_id!="mine"', 'workspace_id=~"other|mine"', 'workspace_id=""',
    'workspace_id!~"mine"', '__name__=~".+"', '"workspace_id"="other"',
)  # fmt: skip


def fill(store: SeriesStore, workspaces: tuple[str, ...]) -> None:
    dice = {name: np.random.default_rng(number) for number, name in enumerate(("mine", "other", ""))}
    for workspace in workspaces:
        labels: list[Labels] = []
        for name in METRICS:
            for job in ("a", "b"):
                pairs = {"__name__": name, "job": job, "le": "0.5", "code": "api", "workspace_id": workspace}
                labels.append(make_labels(pairs))
        for at in range(NOW - 3_600_000, NOW, 60_000):
            store.append(f"scrape:{workspace}", tuple(labels), at, dice[workspace].integers(0, 9, len(labels)) * 1.0)
            # and by a way that is shared
            some = tuple(make_labels({**dict(one), "instance": "x"}) for one in labels[:3])
            store.put("write:shared", some, at, dice[workspace].integers(0, 9, 3) * 1.0)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Questions, Questions]]:
    """What there is of all, and of one alone; a part of it in memory, a part in blocks."""
    made = []
    for workspaces in (("mine", "other", ""), ("mine",)):
        store = SeriesStore(tmp_path_factory.mktemp("view"))
        fill(store, workspaces)
        store.settle(NOW)
        made.append(store)
    questions = (Questions(made[0]), Questions(made[1]))
    yield questions
    for one in (*questions, *made):
        one.close()


def hopeful(text: str, pick: random.Random) -> str:
    """A query that asks for more than is its own."""
    metric = pick.choice(METRICS)
    hope = pick.choice(HOPES)
    return text.replace(metric + "{", "{" + f'__name__="{metric}",{hope},', 1) if metric + "{" in text else text.replace(
        metric, f"{metric}{{{hope}}}", 1
    )  # fmt: skip


async def answer(questions: Questions, text: str, *, is_range: bool, view: View) -> Any:
    try:
        node = parse(text)
        if is_range:
            result = await questions.ask_range(node, NOW - 600_000, NOW, 60_000, view)
        else:
            result = await questions.ask_instant(node, NOW - 30_000, view)
    except QueryError as exc:
        return exc.kind, str(exc)
    return result.warnings, result.infos, encode(show_result(result, is_range=is_range)).decode()


@pytest.mark.parametrize("count", [500, pytest.param(20_000, marks=pytest.mark.long)])
def test_no_query_tells_of_another_workspace(stores: tuple[Questions, Questions], count: int) -> None:
    """The grammar's queries, with matchers on the workspace put in: errors, warnings and values are the same."""

    async def run() -> None:
        everything, alone = stores
        grammar, pick, told = Grammar(7), random.Random(11), 0
        view = View(workspace="mine")
        for number in range(count):
            text = grammar.query(pick.choice((1, 2, 3, 4)))
            if pick.random() < 0.6:
                text = hopeful(text, pick)
            is_range = number % 2 == 0
            seen = await answer(everything, text, is_range=is_range, view=view)
            assert seen == await answer(alone, text, is_range=is_range, view=View(workspace=None)), text
            told += len(seen) == 3 and "metric" in seen[2]
        assert told > count // 6, "most queries were told nothing: this shows little"

    asyncio.run(run())


def test_no_list_tells_of_another_workspace(stores: tuple[Questions, Questions]) -> None:
    """Series and newest samples by any selector."""

    async def run() -> None:
        everything, alone = stores
        view, own = View(workspace="mine"), View(workspace=None)
        for hope in HOPES:
            for more in ("", ',job="a"', ',le=~".*"', *(f',{name}!="zz"' for name in LABELS)):
                selector = [parse_selector("{" + '__name__!="",' + hope + more + "}")]
                for start, end in ((-(2**62), 2**62), (NOW - 60_000, NOW)):
                    seen = await everything.list_series(selector, start, end, view)
                    assert seen == await alone.list_series(selector, start, end, own)
                assert sorted(await everything.newest(selector, NOW, view)) == sorted(
                    await alone.newest(selector, NOW, own)
                )

    asyncio.run(run())
