"""Vectors of large bases in memory: one product with the question in the place of a walk through the file, ten times as fast.

What is kept is a copy. New rows are appended; rows that are deleted stay, and whoever searches filters what is found by what its transaction
sees, so that a base is not read anew for every document that is put again. Where too many have gone it is.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

#: So many rows may be kept that are gone: a share of the base, and some.
GONE_SHARE, GONE_MIN = 0.25, 1_000


@dataclass(frozen=True, slots=True)
class Matrix:
    """Vectors of one base in one space, of length 1, by ascending rows. Never changed: what is appended makes another."""

    rows: Any
    is_han: Any
    vectors: Any

    @property
    def newest(self) -> int:
        """The newest row; 0 where there is none."""
        return int(self.rows[-1]) if len(self.rows) else 0

    @property
    def size_bytes(self) -> int:
        """What it takes of memory."""
        return int(self.rows.nbytes + self.vectors.nbytes)

    def likeness(self, vector: Sequence[float]) -> Any:
        """How alike each is to a vector."""
        return self.vectors @ _unit(np.asarray(vector, dtype=np.float32))

    def above(
        self, vector: Sequence[float], weight: float, latin: tuple[float, float], han: tuple[float, float]
    ) -> Any:
        """How far the likeness of each lies above the level of its script, in spreads, times a weight."""
        mean = np.where(self.is_han, np.float32(han[0]), np.float32(latin[0]))
        scale = np.where(self.is_han, np.float32(weight / han[1]), np.float32(weight / latin[1]))
        return (self.likeness(vector) - mean) * scale

    def likeness_of(self, vector: Sequence[float], rows: Sequence[int]) -> dict[int, float]:
        """How alike certain rows are."""
        wanted = np.asarray(rows, dtype=np.int64)
        places = np.searchsorted(self.rows, wanted)
        places = np.minimum(places, max(len(self.rows) - 1, 0))
        is_here = self.rows[places] == wanted if len(self.rows) else np.zeros(len(wanted), dtype=bool)
        found = self.vectors[places[is_here]] @ _unit(np.asarray(vector, dtype=np.float32))
        return dict(zip(wanted[is_here].tolist(), found.tolist(), strict=True))


def _unit(vectors: Any) -> Any:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


#: (rows behind this one) -> rows, ascending, whether they are written in Han characters, and their vectors
Load = Callable[[int], tuple[Any, Any, Any]]


class VectorCache:
    """Matrices of bases, the least used forgotten first.

    Args:
        limit_bytes: of all together; a base that is larger by itself is not kept.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._kept: OrderedDict[tuple[str, str], Matrix] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, base: str, space: str, chunks: int, newest: int, load: Load) -> Matrix:
        """The vectors of a base: at least those of the chunks that the caller sees.

        Args:
            chunks: how many it sees.
            newest: the row of the newest of them.
        """
        key = (base, space)
        with self._lock:
            known = self._kept.get(key)
            if known is not None:
                self._kept.move_to_end(key)
        if known is None or len(known.rows) > chunks + chunks * GONE_SHARE + GONE_MIN:
            known = Matrix(np.empty(0, dtype=np.int64), np.empty(0, dtype=bool), None)
        elif known.newest >= newest:
            return known
        made = _appended(known, *load(known.newest))
        with self._lock:
            self._kept[key] = made
            self._kept.move_to_end(key)
            while len(self._kept) > 1 and sum(one.size_bytes for one in self._kept.values()) > self._limit_bytes:
                self._kept.popitem(last=False)
        return made

    def fits(self, count: int, dimensions: int) -> bool:
        """Whether so many vectors may be kept at all."""
        return count * (4 * dimensions + 8) <= self._limit_bytes


def _appended(known: Matrix, rows: Any, is_han: Any, vectors: Any) -> Matrix:
    if not len(rows):
        return known
    added = _unit(vectors)
    if known.vectors is None:
        return Matrix(rows, is_han, added)
    return Matrix(
        np.concatenate([known.rows, rows]),
        np.concatenate([known.is_han, is_han]),
        np.concatenate([known.vectors, added]),
    )


def best_of(rows: Any, values: Any, count: int) -> list[tuple[int, float]]:
    """So many rows with their values, the highest first."""
    is_part = count < len(values)
    best = np.argpartition(-values, count)[:count] if is_part else np.arange(len(values))
    best = best[np.lexsort((rows[best], -values[best]))]
    return list(zip(rows[best].tolist(), values[best].tolist(), strict=True))
