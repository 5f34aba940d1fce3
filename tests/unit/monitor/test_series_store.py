"""What was taken is given back: from memory, from the log after a crash, from blocks; once each, at its time, with its gaps."""

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from steelyard.monitor.cohorts import OutOfOrder
from steelyard.monitor.series_store import BLOCK_MS, SeriesStore, TooManySeries
from steelyard.promql.engine import query_instant
from steelyard.promql.labels import Labels, make_labels
from steelyard.promql.nodes import Matcher
from steelyard.promql.parse import parse
from steelyard.promql.values import is_stale

START = 1_795_600_000_000 // BLOCK_MS * BLOCK_MS
Samples = dict[tuple[Labels, int], float]


def series(*numbers: int) -> tuple[Labels, ...]:
    return tuple(make_labels({"__name__": "m", "n": str(number), "odd": str(number % 2)}) for number in numbers)


def everything(store: SeriesStore, matchers: tuple[Matcher, ...] = (), start: int = 0, end: int = 2**62) -> Samples:
    found: Samples = {}
    for cohort in store.select(matchers, start, end):
        stale = is_stale(cohort.values)
        for row, labels in enumerate(cohort.labels):
            for column, at in enumerate(cohort.times.tolist()):
                if (cohort.present is None or cohort.present[row, column]) and not stale[row, column]:
                    assert (labels, at) not in found
                    found[labels, at] = float(cohort.values[row, column])
    return found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SeriesStore]:
    made = SeriesStore(tmp_path / "monitor")
    yield made
    made.close()


@pytest.mark.parametrize("seed", range(8))
def test_like_a_dictionary(tmp_path: Path, seed: int) -> None:
    """Random scrapes, restarts and settlings, against a plain dictionary."""
    pick = random.Random(seed)
    store, expected = SeriesStore(tmp_path), {}
    crashed: list[SeriesStore] = []
    now = START
    for _ in range(120):
        now += pick.choice((15_000, 15_000, 60_000, BLOCK_MS // 3))
        source = pick.choice(("a", "b"))
        numbers = sorted(pick.sample(range(12), pick.randrange(0, 9)))
        labels = tuple(make_labels({**dict(one), "job": source}) for one in series(*numbers))
        values = np.array([pick.choice((1.0, 2.5, float(number), 1e9)) for number in numbers])
        store.append(source, labels, now, values)
        expected |= {(one, now): value for one, value in zip(labels, values.tolist(), strict=True)}
        action = pick.random()
        if action < 0.1:
            store.close()
            store = SeriesStore(tmp_path)
        elif action < 0.2:
            store.settle(now)
        elif action < 0.25:
            # as a crash leaves it: nothing is closed
            store.flush()
            crashed.append(store)
            store = SeriesStore(tmp_path)
    assert everything(store) == expected
    odd = (Matcher("odd", "=", "1"), Matcher("n", "=~", "[0-7]"))
    middle = START + 40 * 15_000
    wanted = {
        key: value
        for key, value in expected.items()
        if dict(key[0])["odd"] == "1" and int(dict(key[0])["n"]) < 8 and middle <= key[1] <= now - 60_000
    }
    assert everything(store, odd, middle, now - 60_000) == wanted
    for one in (store, *crashed):
        one.close()


def test_series_that_end_are_stale(store: SeriesStore) -> None:
    """At once, and not after the lookback."""
    store.append("a", series(1, 2), START, np.array([1.0, 2.0]))
    store.append("a", series(2), START + 15_000, np.array([3.0]))
    result = query_instant(parse("count(m)"), store, START + 16_000)
    assert result.value.values.tolist() == [[1.0]]  # type: ignore[union-attr]


def test_order(store: SeriesStore) -> None:
    """What is older than the newest is refused, and so is another sample of the same time."""
    store.append("a", series(1), START, np.array([1.0]))
    for at, text in ((START, "duplicate sample for timestamp"), (START - 1, "out of order sample")):
        with pytest.raises(OutOfOrder, match=text):
            store.append("a", series(1), at, np.array([2.0]))
    assert everything(store) == {(series(1)[0], START): 1.0}


@pytest.mark.parametrize("seed", range(8))
def test_writes_like_a_dictionary(tmp_path: Path, seed: int) -> None:
    """Samples of some series at a time, early, late and twice; restarts and settlings between; scraped series beside them."""
    pick = random.Random(seed)
    store, expected, newest = SeriesStore(tmp_path), {}, {}
    now, scraped = START, series(50, 51)
    for _ in range(200):
        now += pick.choice((1_000, 15_000, 60_000, BLOCK_MS // 5))
        source = pick.choice(("write:a", "write:b"))
        numbers = sorted(pick.sample(range(6), pick.randrange(1, 6)))
        labels = tuple(make_labels({**dict(one), "job": source}) for one in series(*numbers))
        at = now - pick.choice((0, 0, 15_000, 15_000, 400_000))
        values = np.array([float(pick.randrange(3)) for _ in numbers])
        before = store._written_ms.get(source, 0)
        said = store.put(source, labels, at, values)
        for one, value, word in zip(labels, values.tolist(), said, strict=True):
            last = newest.get(one, -1)
            if word == "out of bounds":
                assert at < before
            elif at > last or (at == last and expected[one, at] == value):
                assert word == ""
                expected[one, at], newest[one] = value, at
            else:
                # a series of which memory has nothing any more is only known to be bounded
                assert word == ("out of order sample" if at < last else "duplicate sample for timestamp")
        store.append("scrape:c", scraped, now, np.ones(2))
        expected |= {(one, now): 1.0 for one in scraped}
        action = pick.random()
        if action < 0.1:
            store.flush()
            store.close()
            store = SeriesStore(tmp_path)
        elif action < 0.3:
            store.settle(now)
        elif action < 0.4:
            store.select((), 0, 2**62)
    assert everything(store) == expected
    store.close()


def test_one_series_by_several_ways(store: SeriesStore) -> None:
    """Is one series, and has ended only if nothing goes on."""
    store.append("scrape:a", series(1, 2), START, np.array([1.0, 2.0]))
    store.append("scrape:a", series(2), START + 1000, np.array([3.0]))
    assert store.put("write:b", series(1, 7), START + 1000, np.array([4.0, 7.0])) == ["", ""]
    assert sorted(everything(store).values()) == [1.0, 2.0, 3.0, 4.0, 7.0]
    found = store.select((), 0, 2**62)
    assert sorted(labels for one in found for labels in one.labels) == sorted(series(1, 2, 7))
    result = query_instant(parse("sum(m)"), store, START + 1000)
    assert result.value.values.tolist() == [[14.0]]  # type: ignore[union-attr]


def test_parts_are_joined(store: SeriesStore, tmp_path: Path) -> None:
    """Half an hour stays in memory; four parts become a block, and nothing is lost by it."""
    times = [START + number * 15_000 for number in range(1000)]
    for at in times:
        store.append("a", series(1, 2), at, np.array([1.0, float(at)]))
        if at % 60_000 == 0:
            store.settle(at)
            store.select((), START, at)
    spans = [row[0] for row in store._blocks.execute("SELECT end_ms - start_ms FROM block ORDER BY start_ms")]
    assert spans[0] == BLOCK_MS - 15_000
    assert store._heads["a"]._values.nbytes < 4 * 256 * 8 + 1
    found = everything(store)
    assert len(found) == 2 * len(times)
    assert all(found[series(2)[0], at] == at for at in times)


def test_too_many_series(tmp_path: Path) -> None:
    """Are refused; those that are there go on."""
    store = SeriesStore(tmp_path, max_series=3)
    store.append("a", series(1, 2, 3), START, np.ones(3))
    with pytest.raises(TooManySeries):
        store.append("b", series(4), START, np.ones(1))
    store.append("a", series(1, 2, 3), START + 1, np.ones(3))
    store.close()


def test_retention(store: SeriesStore) -> None:
    """Blocks that are old enough go."""
    for number in range(3):
        store.append("a", series(1), START + number * BLOCK_MS, np.array([float(number)]))
    store.settle(START + 4 * BLOCK_MS)
    store.forget(START + 1)
    assert sorted(everything(store).values()) == [1.0, 2.0]


def test_a_torn_log(tmp_path: Path) -> None:
    """Bytes that were cut off in their writing are passed over, and what was before them is there."""
    store = SeriesStore(tmp_path)
    for number in range(5):
        store.append("a", series(1, 2), START + number, np.array([1.0, float(number)]))
    store.close()
    [segment] = (tmp_path / "log").iterdir()
    data = segment.read_bytes()
    for cut in (1, 7, 30):
        segment.write_bytes(data[:-cut])
        store = SeriesStore(tmp_path)
        assert len(everything(store)) == 8
        store.close()
        for path in (tmp_path / "log").iterdir():
            if path != segment:
                path.unlink()


WRITER = """
import sys, numpy as np
from pathlib import Path
from steelyard.monitor.series_store import SeriesStore, BLOCK_MS
store = SeriesStore(Path(sys.argv[1]))
labels = tuple((("__name__", "m"), ("n", str(number))) for number in range(50))
at = max([int(cohort.times[-1]) for cohort in store.select((), 0, 2**62)], default=%d)
while True:
    for _ in range(20):
        at += 15_000
        store.append("a", labels, at, np.full(50, float(at)))
    store.flush()
    print(at, flush=True)
    if at // BLOCK_MS != (at - 20 * 15_000) // BLOCK_MS:
        store.settle(at)
"""


@pytest.mark.parametrize("kills", [5, pytest.param(30, marks=pytest.mark.long)])
def test_killed_while_writing(tmp_path: Path, kills: int) -> None:
    """Every sample that was acknowledged is there, once; no block is torn."""
    acknowledged = 0
    for _ in range(kills):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER % START, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        time.sleep(random.uniform(0.8, 1.6))
        os.kill(process.pid, signal.SIGKILL)
        assert process.stdout is not None
        told = [int(line) for line in process.stdout.read().split() if line.isdigit()]
        process.wait()
        process.stdout.close()
        acknowledged = max([acknowledged, *told])
    store = SeriesStore(tmp_path)
    found = everything(store)
    times = {at for _, at in found}
    assert acknowledged > START + 5 * BLOCK_MS
    assert set(range(START + 15_000, acknowledged + 1, 15_000)) <= times
    assert all(value == float(at) for (_, at), value in found.items())
    assert len(found) == 50 * len(times)
    store.close()


def test_full_disk_leaves_no_half_record(tmp_path: Path) -> None:
    """What did not fit is refused whole; what is taken once there is room again is read again."""
    store = SeriesStore(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    labels, taken, at_ms = series(*range(50)), [], START
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        for at_ms in range(START, START + 1_000_000, 1000):
            store.append("a", labels, at_ms, np.full(50, float(at_ms)))
            taken.append(at_ms)
        pytest.fail("the disk never was full")
    except OSError:
        pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    store.append("a", labels, at_ms, np.full(50, float(at_ms)))
    store.close()
    again = SeriesStore(tmp_path)
    (cohort,) = again.select((), START, at_ms)
    assert cohort.times.tolist() == [*taken, at_ms]
    again.close()


def test_damaged_blocks_are_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The monitor starts all the same, and says so."""
    (tmp_path / "blocks.db").write_bytes(b"this is no database" * 100)
    store = SeriesStore(tmp_path)
    store.append("a", series(1), START, np.array([1.0]))
    assert len(store.select((), START, START)) == 1
    store.close()
    assert len(list(tmp_path.glob("blocks.damaged-*"))) == 1
    assert "set aside" in caplog.text
