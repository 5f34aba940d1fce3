"""A target's exposition as samples: the scrape's own series, labels that clash, and how series end."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from steelyard.base.clock import now_us
from steelyard.monitor.exemplars import Exemplar, Exemplars
from steelyard.monitor.exposition_format import OPEN_METRICS
from steelyard.monitor.federation import render_newest
from steelyard.monitor.scraper import DOWN, UP, Page, Target
from steelyard.monitor.series_store import SeriesStore
from steelyard.monitor.statistics import describe_store
from steelyard.promql.engine import query_instant
from steelyard.promql.labels import make_labels
from steelyard.promql.parse import parse, parse_selector
from steelyard.promql.values import Vector


class Shop:
    """A target whose answer the test decides."""

    def __init__(self) -> None:
        self.body: bytes | None = b""

    async def fetch(self) -> Page:
        if self.body is None:
            raise OSError("connection refused")
        return Page(self.body)

    async def fetch_open(self) -> Page:
        return Page((await self.fetch()).body, OPEN_METRICS)


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def target(shop: Shop) -> Target:
    return Target("shop", "a:80", "http://a:80/metrics", shop.fetch, interval_s=1, timeout_s=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SeriesStore]:
    made = SeriesStore(tmp_path / "series")
    yield made
    made.close()


def ask(store: SeriesStore, query: str) -> dict[str, float]:
    newest = store.bounds_ms()[1]
    value = query_instant(parse(query), store, newest).value
    assert isinstance(value, Vector)
    return {str(dict(labels)): float(value.values[row, 0]) for row, labels in enumerate(value.labels)}


async def test_up_and_the_scrapes_own_series(shop: Shop, target: Target, store: SeriesStore) -> None:
    shop.body = b'sold{item="a"} 3\nsold{item="b"} 4\n'
    await target.scrape(store)
    assert target.health.state == UP
    assert list(ask(store, "up").values()) == [1]
    assert list(ask(store, "scrape_samples_scraped").values()) == [2]
    assert list(ask(store, "scrape_series_added").values()) == [2]
    assert ask(store, "sum by (job, instance) (sold)") == {"{'instance': 'a:80', 'job': 'shop'}": 7}


async def test_a_clash_becomes_exported(shop: Shop, target: Target, store: SeriesStore) -> None:
    shop.body = b'sold{job="own",instance="x"} 3\n'
    await target.scrape(store)
    assert ask(store, "sold{exported_job='own', exported_instance='x', job='shop'}")


@pytest.mark.parametrize("body", [None, b"no metric at all {\n", b"sold one\n", b"\xff\xfe 1\n"])
async def test_a_failed_scrape_ends_all_series(
    shop: Shop, target: Target, store: SeriesStore, body: bytes | None
) -> None:
    """`up` is 0, the reason is told, and what was there is stale at once."""
    shop.body = b"sold 3\n"
    await target.scrape(store)
    shop.body = body
    await sleep_a_moment()
    await target.scrape(store)
    assert (target.health.state, bool(target.health.error)) == (DOWN, True)
    assert list(ask(store, "up").values()) == [0]
    assert ask(store, "sold") == {}


async def test_a_series_that_is_not_exposed_again_has_ended(shop: Shop, target: Target, store: SeriesStore) -> None:
    shop.body = b'sold{item="a"} 3\nsold{item="b"} 4\n'
    await target.scrape(store)
    shop.body = b'sold{item="b"} 5\n'
    await sleep_a_moment()
    await target.scrape(store)
    assert list(ask(store, "sold").values()) == [5]
    assert list(ask(store, "scrape_series_added").values()) == [0]


async def test_a_series_told_twice_counts_once(shop: Shop, target: Target, store: SeriesStore) -> None:
    shop.body = b"sold 3\nsold 4\n"
    await target.scrape(store)
    assert list(ask(store, "sold").values()) == [3]


async def sleep_a_moment() -> None:
    """Samples of one target have different milliseconds."""
    await asyncio.sleep(0.005)


def test_newest_samples_in_the_text_format() -> None:
    """Under their names, in order; values that need escaping; an empty instance where there is none."""
    samples = [
        (make_labels({"__name__": "b", "x": 'say "hi"\n\\'}), 1500, 2.0),
        (make_labels({"__name__": "a", "instance": "i"}), 1000, float("inf")),
        (make_labels({"__name__": "b", "x": "1"}), 1500, 1e21),
    ]
    assert render_newest(samples) == (
        "# TYPE a untyped\n"
        'a{instance="i"} +Inf 1000\n'
        "# TYPE b untyped\n"
        'b{instance="",x="1"} 1e+21 1500\n'
        'b{instance="",x="say \\"hi\\"\\n\\\\"} 2 1500\n'
    )


def test_statistics_tell_what_makes_a_store_large() -> None:
    series = [make_labels({"__name__": "a", "x": str(number)}) for number in range(5)]
    told = describe_store([*series, make_labels({"__name__": "b"})], 1, 2, limit=1)
    assert told["headStats"]["numSeries"] == 6
    assert told["seriesCountByMetricName"] == [{"name": "a", "value": 5}]
    assert told["labelValueCountByLabelName"] == [{"name": "x", "value": 5}]


async def test_times_that_a_target_says(shop: Shop, target: Target, store: SeriesStore) -> None:
    """Are kept as they are, each once; the series does not end when the target says nothing new."""
    now = now_us() // 1000
    for at_ms, value in ((now - 5000, 1), (now - 5000, 1), (now - 4000, 2), (now + 3_600_000, 9)):
        shop.body = f"sold {value} {at_ms}\n".encode()
        await target.scrape(store)
    (cohort,) = [one for one in store.select(parse_selector("sold"), 0, 2**62) if len(one.labels)]
    assert (cohort.times.tolist(), cohort.values.tolist()) == ([now - 5000, now - 4000], [[1.0, 2.0]])


async def test_exemplars_are_kept(shop: Shop, store: SeriesStore) -> None:
    """With the target's labels, the newest ones, each once."""
    exemplars = Exemplars()
    target = Target("shop", "a:80", "http://a:80/metrics", shop.fetch_open, interval_s=1, timeout_s=1)
    for number in (1, 1, 2):
        shop.body = f'sold_total 3 # {{trace_id="t{number}"}} 0.5\n# EOF\n'.encode()
        await target.scrape(store, exemplars)
    (found,) = exemplars.find([parse_selector('{job="shop"}')], 0, 2**62)
    assert found["seriesLabels"] == {"__name__": "sold_total", "instance": "a:80", "job": "shop"}
    assert [dict(one.labels)["trace_id"] for one in found["exemplars"]] == ["t1", "t2"]
    assert exemplars.find([parse_selector('{job="other"}')], 0, 2**62) == []
    assert exemplars.find([parse_selector('{job="shop"}')], 0, 1) == []
    for number in range(30_000):
        exemplars.add(make_labels({"n": str(number % 1000)}), Exemplar((("t", str(number)),), 1.0, 1))
    assert sum(len(one["exemplars"]) for one in exemplars.find([()], 0, 9)) <= 20_000
    exemplars.add(make_labels({"n": "long"}), Exemplar((("t", "x" * 200),), 1.0, 1))
    assert exemplars.find([parse_selector('{n="long"}')], 0, 9) == []
