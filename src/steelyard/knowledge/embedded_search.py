"""One question to the embedded index: by words, by vectors in the file or in memory, joined by their ranks."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import apsw
import numpy as np

from steelyard.knowledge.embedded_tables import list_spaces, mark_of, pack, read_chunk, whole_base
from steelyard.knowledge.index import Hit, IndexedChunk, Wish, fuse, pick_depth
from steelyard.knowledge.vector_cache import Matrix, VectorCache, best_of
from steelyard.knowledge.words import query_words

#: sqlite-vec gives no more at once.
MAX_NEIGHBOURS = 4096
#: What lies deeper in one list of all spaces hardly ever comes first.
BLENDED_DEPTH = 40
#: Where filters leave little, it is looked no further.
MAX_LOOKED_AT = 1 << 20
#: Bases of fewer chunks are sought through in the file; larger ones in memory.
CACHED_FROM = 200
TEXT_LIST, VIEWS_LIST = "text", "views"


def _conditions(wish: Wish) -> tuple[str, list[Any]]:
    """What of a wish narrows chunks, as SQL over the table `chunk`."""
    parts, values = ["chunk.is_enabled"], []
    if wish.documents is not None:
        parts.append("chunk.document IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(list(wish.documents)))
    for name, value in wish.metadata.items():
        parts.append("EXISTS (SELECT 1 FROM json_each(chunk.metadata) AS one WHERE one.key = ? AND one.value = ?)")
        values += [name, value]
    return " AND ".join(parts), values


class Search:
    """One question to one base, within one read transaction."""

    def __init__(self, connection: apsw.Connection, cache: VectorCache, base: str, wish: Wish) -> None:
        self._connection = connection
        self._cache = cache
        self._base = base
        self._wish = wish
        self._where, self._values = _conditions(wish)
        #: What may be found at all, ascending, where the wish narrows it; None where it does not.
        self._allowed = self._narrowed() if wish.documents is not None or wish.metadata else None

    def _narrowed(self) -> Any:
        rows: Any = self._connection.execute(
            f"SELECT row FROM chunk WHERE base = ? AND {self._where} ORDER BY row", (self._base, *self._values)
        )
        return np.array([row for (row,) in rows], dtype=np.int64)

    def run(self) -> list[Hit]:
        """The best first."""
        wish = self._wish
        depth = pick_depth(wish.limit)
        lists: dict[str, list[int]] = {}
        likeness: dict[int, dict[str, float]] = {}
        state: Any = self._connection.execute("SELECT chunks FROM state WHERE base = ?", (self._base,)).fetchone()
        if state is None or not state[0]:
            return []
        known = list_spaces(self._connection)
        spaces = [space for space in wish.vectors if space in known]
        matrices = {space: self._matrix(space, *known[space], state[0]) for space in spaces}
        dense_depth, text_depth = wish.dense_depth or depth, wish.text_depth or depth
        blended = self._blended(matrices, min(dense_depth, BLENDED_DEPTH)) if wish.levels else None
        if blended is not None:
            lists[VIEWS_LIST] = blended
            text_depth = min(text_depth, BLENDED_DEPTH)
        for space in spaces if blended is None else ():
            found = self._nearest(known[space][1], matrices[space], wish.vectors[space], dense_depth)
            lists[space] = [row for row, _ in found]
            for row, value in found:
                likeness.setdefault(row, {})[space] = value
        words = query_words(wish.text)
        if words:
            lists[TEXT_LIST] = self._by_words(words, text_depth)
        fused = fuse(lists, wish.limit)
        rows = [row for row, _, _ in fused]
        for space, matrix in matrices.items():
            # those that the words alone have found are alike or not all the same
            lacking = [row for row in rows if space not in likeness.get(row, {})]
            for row, value in self._likeness(known[space][1], matrix, wish.vectors[space], lacking).items():
                likeness.setdefault(row, {})[space] = value
        chunks = self._chunks(rows)
        return [
            Hit(chunk=chunks[row][0], score=score, ranks=ranks, likeness=likeness.get(row, {}), is_han=chunks[row][1])
            for row, score, ranks in fused
        ]

    def _matrix(self, space: str, dimensions: int, number: int, chunks: int) -> Matrix | None:
        """The base's vectors in memory; None where it is small, or too large for that."""
        if chunks < CACHED_FROM or not self._cache.fits(chunks, dimensions):
            return None
        newest: Any = self._connection.execute(
            "SELECT row FROM chunk WHERE base = ? ORDER BY row DESC LIMIT 1", (self._base,)
        ).get

        def load(after: int) -> tuple[Any, Any, Any]:
            scripts: Any = dict(
                self._connection.execute(
                    "SELECT row, is_han FROM chunk WHERE base = ? AND row > ?", (self._base, after)
                )
            )
            if after:
                found: Any = self._connection.execute(
                    f"SELECT rowid, embedding FROM vectors_{number} WHERE rowid IN (SELECT value FROM json_each(?))",
                    (json.dumps(list(scripts)),),
                ).fetchall()
                rows = np.array([row for row, _ in found], dtype=np.int64)
                vectors = np.frombuffer(b"".join(data for _, data in found), dtype=np.float32).reshape(-1, dimensions)
            else:
                rows, vectors = whole_base(self._connection, number, self._base, dimensions)
            order = np.argsort(rows)
            rows = rows[order]
            return rows, np.fromiter((bool(scripts.get(row)) for row in rows.tolist()), bool, len(rows)), vectors[order]

        return self._cache.find(self._base, space, chunks, int(newest), load)

    def _blended(self, matrices: Mapping[str, Matrix | None], depth: int) -> list[int] | None:
        """The nearest in all spaces together; None where a space is not in memory."""
        wish = self._wish
        kept = [one for one in matrices.values() if one is not None]
        if len(kept) < len(wish.vectors):
            return None
        above = [
            one.above(wish.vectors[space], wish.weights[space], wish.levels[space, False], wish.levels[space, True])
            for space, one in zip(matrices, kept, strict=True)
        ]
        rows, total = kept[0].rows, above[0]
        for one, more in zip(kept[1:], above[1:], strict=True):
            if np.array_equal(rows, one.rows):
                total = total + more
                continue
            # they were read at different times: one may have kept what the other never saw
            rows, mine, theirs = np.intersect1d(rows, one.rows, assume_unique=True, return_indices=True)
            total = total[mine] + more[theirs]
        return [row for row, _ in self._best(rows, total, depth)]

    def _nearest(
        self, number: int, matrix: Matrix | None, vector: Sequence[float], depth: int
    ) -> list[tuple[int, float]]:
        """The nearest that may be found."""
        if matrix is None:
            return self._first_open(
                lambda count: self._nearest_in_file(number, vector, min(count, MAX_NEIGHBOURS)), depth
            )
        return self._best(matrix.rows, matrix.likeness(vector), depth)

    def _best(self, rows: Any, values: Any, depth: int) -> list[tuple[int, float]]:
        """The highest of those that may be found."""
        if self._allowed is not None:
            is_allowed = np.isin(rows, self._allowed, assume_unique=True)
            return best_of(rows[is_allowed], values[is_allowed], depth)
        return self._first_open(lambda count: best_of(rows, values, count), depth)

    def _first_open(self, look: Callable[[int], list[tuple[int, float]]], depth: int) -> list[tuple[int, float]]:
        """The first that may be found: as many are looked at as it takes."""
        count = depth
        while True:
            near = look(count)
            open_rows = self._open([row for row, _ in near])
            found = [one for one in near if one[0] in open_rows]
            if len(found) >= depth or len(near) < count or count >= MAX_LOOKED_AT:
                return found[:depth]
            count *= 4

    def _nearest_in_file(self, number: int, vector: Sequence[float], count: int) -> list[tuple[int, float]]:
        near: Any = self._connection.execute(
            f"SELECT rowid, distance FROM vectors_{number} WHERE embedding MATCH ? AND k = ? AND base = ? ORDER BY distance",
            (pack(vector), count, self._base),
        )
        return [(row, 1 - distance) for row, distance in near]

    def _open(self, rows: list[int]) -> set[int]:
        """Which of these may be found."""
        if self._allowed is not None:
            wanted = np.array(rows, dtype=np.int64)
            return set(wanted[np.isin(wanted, self._allowed)].tolist())
        kept: Any = self._connection.execute(
            f"SELECT row FROM chunk WHERE row IN (SELECT value FROM json_each(?)) AND chunk.base = ? AND {self._where}",
            (json.dumps(rows), self._base, *self._values),
        )
        return {row for (row,) in kept}

    def _likeness(
        self, number: int, matrix: Matrix | None, vector: Sequence[float], rows: list[int]
    ) -> dict[int, float]:
        if not rows:
            return {}
        if matrix is not None:
            return matrix.likeness_of(vector, rows)
        found: Any = self._connection.execute(
            f"SELECT rowid, vec_distance_cosine(embedding, ?) FROM vectors_{number} "
            "WHERE rowid IN (SELECT value FROM json_each(?))",
            (pack(vector), json.dumps(rows)),
        )
        return {row: 1 - distance for row, distance in found}

    def _by_words(self, words: list[str], depth: int) -> list[int]:
        """Those that share words with the question."""
        mark = mark_of(self._base)
        said = " OR ".join('"' + mark + word.replace('"', "") + '"' for word in words)

        def look(count: int) -> list[tuple[int, float]]:
            near: Any = self._connection.execute(
                "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rank LIMIT ?", (said, count)
            )
            return [(row, 0.0) for (row,) in near]

        return [row for row, _ in self._first_open(look, depth)]

    def _chunks(self, rows: list[int]) -> dict[int, tuple[IndexedChunk, bool]]:
        found: Any = self._connection.execute(
            "SELECT row, data, is_enabled, is_han FROM chunk WHERE row IN (SELECT value FROM json_each(?))",
            (json.dumps(rows),),
        )
        return {row: (read_chunk(data, is_enabled), bool(han)) for row, data, is_enabled, han in found}
