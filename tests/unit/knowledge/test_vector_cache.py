"""Vectors in memory: appended to, read anew after deletions, bounded, and the same answers as by hand."""

from typing import Any

import numpy as np

from steelyard.knowledge.vector_cache import VectorCache, best_of

DICE = np.random.default_rng(5)
VECTORS = DICE.normal(size=(50, 8)).astype(np.float32)


class Store:
    """Rows that a base has, and how often they were read."""

    def __init__(self, rows: list[int]) -> None:
        self.rows = rows
        self.loads: list[int] = []

    def load(self, after: int) -> tuple[Any, Any, Any]:
        self.loads.append(after)
        rows = np.array([row for row in self.rows if row > after], dtype=np.int64)
        return rows, rows % 2 == 0, VECTORS[rows]


def cosine(row: int, vector: Any) -> float:
    return float(VECTORS[row] @ vector / np.linalg.norm(VECTORS[row]) / np.linalg.norm(vector))


def test_appended_and_read_anew() -> None:
    """What is gone stays until there is too much of it."""
    cache, store = VectorCache(1 << 20), Store([1, 3, 5])
    first = cache.find("b", "s", 3, 5, store.load)
    assert cache.find("b", "s", 3, 5, store.load) is first
    store.rows.append(9)
    second = cache.find("b", "s", 4, 9, store.load)
    assert (first.rows.tolist(), second.rows.tolist()) == ([1, 3, 5], [1, 3, 5, 9])
    store.rows.remove(3)
    assert cache.find("b", "s", 3, 9, store.load) is second
    assert store.loads == [0, 5]


def test_too_much_is_gone() -> None:
    """A base of which most was put again is read anew."""
    cache = VectorCache(1 << 30)
    vectors = DICE.normal(size=(3000, 8)).astype(np.float32)
    live = list(range(1, 2001))

    def load(after: int) -> tuple[Any, Any, Any]:
        rows = np.array([row for row in live if row > after], dtype=np.int64)
        return rows, rows % 2 == 0, vectors[rows]

    assert len(cache.find("b", "s", 2000, 2000, load).rows) == 2000
    live = live[1500:]
    assert len(cache.find("b", "s", 500, 2000, load).rows) == 500


def test_likeness() -> None:
    store = Store(list(range(1, 40)))
    matrix = VectorCache(1 << 20).find("b", "s", 39, 39, store.load)
    asked = VECTORS[7] * 3
    best = best_of(matrix.rows, matrix.likeness(asked), 4)
    by_hand = sorted(range(1, 40), key=lambda row: -cosine(row, asked))[:4]
    assert [row for row, _ in best] == by_hand
    assert best[0][0] == 7
    found = matrix.likeness_of(asked, [2, 7, 100, 0])
    assert set(found) == {2, 7}
    assert abs(found[2] - cosine(2, asked)) < 1e-5
    above = matrix.above(asked, 2.0, (0.0, 1.0), (0.5, 0.5))
    place = matrix.rows.tolist().index(8)
    assert abs(above[place] - 2.0 * (cosine(8, asked) - 0.5) / 0.5) < 1e-4
    assert len(best_of(matrix.rows, matrix.likeness(asked), 1000)) == 39


def test_bounded() -> None:
    """The least used goes; what is larger than all of it is not kept."""
    size = VectorCache(1 << 20).find("b", "s", 9, 9, Store(list(range(1, 10))).load).size_bytes
    cache, stores = VectorCache(2 * size), {name: Store(list(range(1, 10))) for name in "abc"}
    for name in "abac":
        cache.find(name, "s", 9, 9, stores[name].load)
    cache.find("a", "s", 9, 9, stores["a"].load)
    cache.find("b", "s", 9, 9, stores["b"].load)
    assert (len(stores["a"].loads), len(stores["b"].loads)) == (1, 2)
    assert VectorCache(100).fits(1, 20)
    assert not VectorCache(100).fits(2, 20)
