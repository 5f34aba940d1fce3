"""Written series find others of their target, and a workspace that scatters its samples costs only itself."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from steelyard.monitor import received as module
from steelyard.monitor.received import Received
from steelyard.monitor.remote_write import Written, WrittenSeries
from steelyard.monitor.series_store import PART_MS, SeriesStore
from steelyard.promql.parse import parse_selector

NOW = int(time.time() * 1000) // PART_MS * PART_MS


def one(name: str, *times: int, **labels: str) -> WrittenSeries:
    pairs = tuple({"__name__": name, "job": "j", "instance": "i", **labels}.items())
    return WrittenSeries(pairs, list(times), [1.0] * len(times))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SeriesStore]:
    made = SeriesStore(tmp_path / "store")
    yield made
    made.close()


def test_series_of_one_target_stand_together(store: SeriesStore) -> None:
    """Whatever requests they come in, if they are sampled at the same times; those of another target stand apart."""
    received = Received(store)
    received.take("w", Written([one("a", NOW, NOW + 1000), one("b", NOW, NOW + 1000)]))
    received.take("w", Written([one("c", NOW + 1000)]))
    received.take("w", Written([one("a", NOW + 1000, instance="k")]))
    assert sorted(len(series) for series in store.series_by_source("write:").values()) == [1, 3]
    again = Received(store)
    # the new one comes first, and joins those that it comes with
    again.take("w", Written([one("d", NOW + 2000), one("b", NOW + 2000)]))
    assert sorted(len(series) for series in store.series_by_source("write:").values()) == [1, 4]


def test_scattered_samples_are_refused(store: SeriesStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each series at a time of its own would be an array of its own: so many are kept, and those go on."""
    monkeypatch.setattr(module, "MAX_SOURCES", 20)
    received = Received(store)
    refusals = received.take("w", Written([one("a", NOW + number, n=str(number)) for number in range(30)]))
    assert refusals.taken == 20
    assert "too many different times" in str(refusals)
    assert not received.take(
        "w", Written([one("a", NOW + 60_000 + number, n=str(number)) for number in range(20)])
    ).reasons
    # a new one is taken where it comes at the time of one of the newest
    assert not received.take("w", Written([one("b", NOW + 60_019)])).reasons
    assert not received.take("other", Written([one("a", NOW)])).reasons


def test_what_nobody_asks_for_is_not_unpacked(store: SeriesStore) -> None:
    """A query reads the samples of blocks that have what it asks for, and of no other workspace's."""
    received = Received(store)
    for workspace in ("w", "other"):
        received.take(workspace, Written([one("a", NOW - 2 * PART_MS + number, n=str(number)) for number in range(50)]))
    store.settle(NOW)
    assert store.series_by_source("write:") == {}
    found = store.select(parse_selector('a{workspace_id="w",n="7"}'), 0, 2**62)
    assert sum(len(each.labels) for each in found) == 1
    assert len(store._cache) == 1
    assert len(store.list_series(parse_selector('a{workspace_id="w"}'), 0, 2**62)) == 50
