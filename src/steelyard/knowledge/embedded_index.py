"""The embedded search index: one file that only apsw opens, exact vectors partitioned by base beside a text index of our own words."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import apsw
import msgspec
import numpy as np
import sqlite_vec

from steelyard.base.errors import SetupFault
from steelyard.knowledge.index import Hit, IndexedChunk, Wish, fuse, indexed_text, pick_depth
from steelyard.knowledge.vector_cache import Matrix, VectorCache, best_of
from steelyard.knowledge.words import cut_words, is_han, query_words

T = TypeVar("T")

FORMAT = 1
#: The largest document takes some ten seconds to write.
BUSY_MS = 30_000
READERS = 2
#: sqlite-vec gives no more at once.
MAX_NEIGHBOURS = 4096
#: What lies deeper in one list of all spaces hardly ever comes first.
BLENDED_DEPTH = 40
#: Where filters leave little, it is looked no further.
MAX_LOOKED_AT = 1 << 20
PORTION = 500
#: The file is looked at in place of being copied.
MMAP_BYTES = 1 << 32
#: Bases of fewer chunks are sought through in the file; larger ones in memory, of which so much is used.
CACHED_FROM = 200
CACHE_BYTES = 512 * 1024 * 1024
TEXT_LIST, VIEWS_LIST = "text", "views"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS chunk (
    row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, base TEXT NOT NULL, document TEXT NOT NULL, number INTEGER NOT NULL,
    is_enabled INTEGER NOT NULL, is_han INTEGER NOT NULL, metadata TEXT NOT NULL, data BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS chunk_place ON chunk (base, document, number);
CREATE INDEX IF NOT EXISTS chunk_row ON chunk (base, row);
CREATE TABLE IF NOT EXISTS state (base TEXT PRIMARY KEY, chunks INTEGER NOT NULL);
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(said, content='', contentless_delete=1, tokenize='unicode61');
CREATE TABLE IF NOT EXISTS space (name TEXT PRIMARY KEY, dimensions INTEGER NOT NULL, number INTEGER NOT NULL);
"""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(IndexedChunk).decode


class EmbeddedIndex:
    """Implements `index.SearchIndex`. One thread writes, some read; readers see whole transactions."""

    def __init__(self, path: Path, cache_bytes: int = CACHE_BYTES) -> None:
        self._cache = VectorCache(cache_bytes)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = path
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="index-write")
        self._reading = ThreadPoolExecutor(READERS, thread_name_prefix="index-read")
        self._writer = self._open()
        self._prepare()
        self._free = [self._open() for _ in range(READERS)]

    def _prepare(self) -> None:
        """Makes the tables.

        Raises:
            SetupFault: the file is of another version.
        """
        version = int(self._writer.execute("PRAGMA user_version").get)
        if version not in (0, FORMAT):
            raise SetupFault(
                f"{self._path} is of another version of steelyard (format {version}, this program knows {FORMAT}): install that one, "
                "or remove the file and submit the documents of each base again."
            )
        self._writer.execute(_SCHEMA)
        self._writer.execute(f"PRAGMA user_version = {FORMAT}")

    def __repr__(self) -> str:
        return f"<EmbeddedIndex {self._path.name}>"

    def _open(self) -> apsw.Connection:
        connection = apsw.Connection(str(self._path))
        connection.set_busy_timeout(BUSY_MS)
        connection.enable_load_extension(True)
        connection.load_extension(sqlite_vec.loadable_path())
        connection.enable_load_extension(False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA mmap_size={MMAP_BYTES}")
        return connection

    async def _write(self, work: Callable[[apsw.Connection], T]) -> T:
        def run() -> T:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                result = work(self._writer)
            except BaseException:
                self._writer.execute("ROLLBACK")
                raise
            self._writer.execute("COMMIT")
            return result

        return await asyncio.get_running_loop().run_in_executor(self._writing, run)

    async def _read(self, work: Callable[[apsw.Connection], T]) -> T:
        def run() -> T:
            connection = self._free.pop()
            try:
                # one transaction: what is read belongs together, whatever is written meanwhile
                connection.execute("BEGIN")
                return work(connection)
            finally:
                connection.execute("COMMIT")
                self._free.append(connection)

        return await asyncio.get_running_loop().run_in_executor(self._reading, run)

    # writing

    async def put_document(
        self, base: str, document: str, chunks: Sequence[IndexedChunk], vectors: Mapping[str, Sequence[Sequence[float]]]
    ) -> None:
        """See `index.SearchIndex`."""

        def work(connection: apsw.Connection) -> None:
            _delete(connection, "base = ? AND document = ?", (base, document))
            for number, chunk in enumerate(chunks):
                _insert(connection, base, chunk, {name: some[number] for name, some in vectors.items()})

        await self._write(work)

    async def put_chunk(self, base: str, chunk: IndexedChunk, vectors: Mapping[str, Sequence[float]]) -> None:
        """See `index.SearchIndex`."""

        def work(connection: apsw.Connection) -> None:
            _delete(connection, "base = ? AND id = ?", (base, chunk.id))
            _insert(connection, base, chunk, vectors)

        await self._write(work)

    async def delete_document(self, base: str, document: str) -> int:
        """See `index.SearchIndex`."""
        return await self._write(lambda one: _delete(one, "base = ? AND document = ?", (base, document)))

    async def drop_base(self, base: str) -> None:
        """See `index.SearchIndex`."""
        await self._write(lambda one: _delete(one, "base = ?", (base,)))

    async def delete_chunks(self, base: str, ids: Sequence[str]) -> int:
        """See `index.SearchIndex`."""
        return await self._write(
            lambda one: _delete(
                one, "base = ? AND id IN (SELECT value FROM json_each(?))", (base, json.dumps(list(ids)))
            )
        )

    async def set_enabled(self, base: str, ids: Sequence[str], *, is_enabled: bool) -> int:
        """See `index.SearchIndex`."""

        def work(connection: apsw.Connection) -> int:
            connection.execute(
                "UPDATE chunk SET is_enabled = ? WHERE base = ? AND id IN (SELECT value FROM json_each(?))",
                (int(is_enabled), base, json.dumps(list(ids))),
            )
            return int(connection.changes())

        return await self._write(work)

    # reading

    async def list_chunks(
        self, base: str, document: str | None, *, offset: int, limit: int
    ) -> tuple[list[IndexedChunk], int]:
        """See `index.SearchIndex`."""
        where, values = ("base = ?", [base]) if document is None else ("base = ? AND document = ?", [base, document])

        def work(connection: apsw.Connection) -> tuple[list[IndexedChunk], int]:
            total = int(connection.execute(f"SELECT COUNT(*) FROM chunk WHERE {where}", values).get)
            rows = connection.execute(
                f"SELECT data, is_enabled FROM chunk WHERE {where} ORDER BY document, number, row LIMIT ? OFFSET ?",
                (*values, limit, offset),
            )
            return [_chunk(*row) for row in rows], total

        return await self._read(work)

    async def find_chunk(self, base: str, chunk_id: str) -> IndexedChunk | None:
        """See `index.SearchIndex`."""

        def work(connection: apsw.Connection) -> IndexedChunk | None:
            row = connection.execute(
                "SELECT data, is_enabled FROM chunk WHERE base = ? AND id = ?", (base, chunk_id)
            ).fetchone()
            return None if row is None else _chunk(*row)

        return await self._read(work)

    async def find_vectors(self, base: str, document: str) -> dict[str, dict[str, Any]]:
        """See `index.SearchIndex`."""

        def work(connection: apsw.Connection) -> dict[str, dict[str, Any]]:
            rows = connection.execute(
                "SELECT row, data FROM chunk WHERE base = ? AND document = ?", (base, document)
            ).fetchall()
            texts: dict[Any, str] = {row: indexed_text(_decode(data)) for row, data in rows}  # type: ignore[arg-type]
            found: dict[str, dict[str, Any]] = {}
            for row, vectors in _vectors_of(connection, list(texts)).items():
                for space, vector in vectors.items():
                    found.setdefault(space, {})[texts[row]] = vector
            return found

        return await self._read(work)

    async def sample(self, base: str, count: int) -> list[tuple[str, dict[str, Any]]]:
        """See `index.SearchIndex`."""

        def work(connection: apsw.Connection) -> list[tuple[str, dict[str, Any]]]:
            rows = connection.execute(
                "SELECT row, data FROM chunk WHERE row IN "
                "(SELECT row FROM chunk WHERE base = ? ORDER BY random() LIMIT ?)",
                (base, count),
            ).fetchall()
            vectors = _vectors_of(connection, [row for row, _ in rows])
            return [(_decode(data).text, vectors.get(row, {})) for row, data in rows]  # type: ignore[arg-type]

        return await self._read(work)

    async def list_owners(self) -> list[tuple[str, str]]:
        """See `index.SearchIndex`."""
        return await self._read(
            lambda connection: connection.execute("SELECT DISTINCT base, document FROM chunk").fetchall()  # type: ignore[arg-type,return-value]
        )

    async def search(self, base: str, wish: Wish) -> list[Hit]:
        """See `index.SearchIndex`."""
        return await self._read(lambda connection: _Search(connection, self._cache, base, wish).run())

    def close(self) -> None:
        """Waits for what is under way, and lets go of the file."""
        self._writing.shutdown()
        self._reading.shutdown()
        for connection in (self._writer, *self._free):
            connection.close()


def _chunk(data: bytes, is_enabled: int) -> IndexedChunk:
    chunk = _decode(data)
    return chunk if chunk.is_enabled == is_enabled else msgspec.structs.replace(chunk, is_enabled=bool(is_enabled))


def _spaces(connection: apsw.Connection) -> dict[str, tuple[int, int]]:
    """Vector spaces: dimensions, and the number of their table."""
    rows = connection.execute("SELECT name, dimensions, number FROM space")
    return {name: (dimensions, number) for name, dimensions, number in rows}


def _vectors_of(connection: apsw.Connection, rows: Sequence[Any]) -> dict[Any, dict[str, Any]]:
    """Vectors of chunks, by row and space."""
    found: dict[Any, dict[str, Any]] = {}
    for space, (_, number) in _spaces(connection).items():
        vectors: Any = connection.execute(
            f"SELECT rowid, embedding FROM vectors_{number} WHERE rowid IN (SELECT value FROM json_each(?))",
            (json.dumps(list(rows)),),
        )
        for row, data in vectors:
            found.setdefault(row, {})[space] = np.frombuffer(data, dtype=np.float32)
    return found


def _whole_base(connection: apsw.Connection, number: int, base: str, dimensions: int) -> tuple[Any, Any]:
    """(rows, vectors) of a base, in any order, by the blocks that sqlite-vec keeps them in: asked row by row it takes a hundred times as long."""
    blocks: Any = connection.execute(
        f"SELECT c.validity, c.rowids, v.vectors FROM vectors_{number}_chunks c "
        f"JOIN vectors_{number}_vector_chunks00 v ON v.rowid = c.chunk_id WHERE c.partition00 = ?",
        (base,),
    )
    rows, vectors = [np.empty(0, dtype=np.int64)], [np.empty((0, dimensions), dtype=np.float32)]
    for validity, rowids, data in blocks:
        is_valid = np.unpackbits(np.frombuffer(validity, dtype=np.uint8), bitorder="little").astype(bool)
        rows.append(np.frombuffer(rowids, dtype=np.int64)[is_valid])
        vectors.append(np.frombuffer(data, dtype=np.float32).reshape(-1, dimensions)[is_valid])
    return np.concatenate(rows), np.concatenate(vectors)


def _table(connection: apsw.Connection, space: str, dimensions: int) -> str:
    """The table of a vector space, made where it is new.

    Raises:
        ValueError: its vectors are of another length.
    """
    known = _spaces(connection)
    if space not in known:
        known[space] = (dimensions, len(known) + 1)
        connection.execute("INSERT INTO space VALUES (?, ?, ?)", (space, *known[space]))
        connection.execute(
            f"CREATE VIRTUAL TABLE vectors_{known[space][1]} USING vec0("
            f"base TEXT PARTITION KEY, embedding FLOAT[{dimensions}] DISTANCE_METRIC=cosine)"
        )
    if known[space][0] != dimensions:
        raise ValueError(f"vectors of {space} have {known[space][0]} dimensions, not {dimensions}")
    return f"vectors_{known[space][1]}"


def _pack(vector: Sequence[float]) -> bytes:
    return np.asarray(vector, dtype=np.float32).tobytes()


def _insert(
    connection: apsw.Connection, base: str, chunk: IndexedChunk, vectors: Mapping[str, Sequence[float]]
) -> None:
    row = (
        chunk.id,
        base,
        chunk.document,
        chunk.number,
        int(chunk.is_enabled),
        int(is_han(chunk.text)),
        json.dumps(chunk.metadata),
        _encode(chunk),
    )
    connection.execute(
        "INSERT INTO chunk (id, base, document, number, is_enabled, is_han, metadata, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        row,
    )
    number = connection.last_insert_rowid()
    connection.execute("INSERT INTO state VALUES (?, 1) ON CONFLICT (base) DO UPDATE SET chunks = chunks + 1", (base,))
    mark = _base_mark(base)
    words = " ".join(mark + word for word in cut_words(indexed_text(chunk)))
    connection.execute("INSERT INTO words (rowid, said) VALUES (?, ?)", (number, words))
    for space, vector in vectors.items():
        table = _table(connection, space, len(vector))
        connection.execute(
            f"INSERT INTO {table} (rowid, base, embedding) VALUES (?, ?, ?)", (number, base, _pack(vector))
        )


def _base_mark(base: str) -> str:
    """What a base's words begin with in the text index: how rare they are is then a matter of the base, and others cost it nothing."""
    return f"b{sha256(base.encode()).hexdigest()[:12]}x"


def _delete(connection: apsw.Connection, where: str, values: tuple[Any, ...]) -> int:
    found: Any = connection.execute(f"SELECT row, base FROM chunk WHERE {where}", values).fetchall()
    rows = [row for row, _ in found]
    for base in {base for _, base in found}:
        connection.execute(
            "UPDATE state SET chunks = chunks - ? WHERE base = ?",
            (sum(one == base for _, one in found), base),
        )
    tables = [f"vectors_{number}" for _, number in _spaces(connection).values()]
    for start in range(0, len(rows), PORTION):
        some = json.dumps(rows[start : start + PORTION])
        connection.execute("DELETE FROM chunk WHERE row IN (SELECT value FROM json_each(?))", (some,))
        connection.execute("DELETE FROM words WHERE rowid IN (SELECT value FROM json_each(?))", (some,))
        for table in tables:
            connection.execute(f"DELETE FROM {table} WHERE rowid IN (SELECT value FROM json_each(?))", (some,))
    return len(rows)


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


class _Search:
    """One question to one base, within one read transaction."""

    def __init__(self, connection: apsw.Connection, cache: VectorCache, base: str, wish: Wish) -> None:
        self._connection = connection
        self._cache = cache
        self._base = base
        self._wish = wish
        self._where, self._values = _conditions(wish)

    def run(self) -> list[Hit]:
        """The best first."""
        wish = self._wish
        depth = pick_depth(wish.limit)
        lists: dict[str, list[int]] = {}
        likeness: dict[int, dict[str, float]] = {}
        state: Any = self._connection.execute("SELECT chunks FROM state WHERE base = ?", (self._base,)).fetchone()
        if state is None or not state[0]:
            return []
        known = _spaces(self._connection)
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
                rows, vectors = _whole_base(self._connection, number, self._base, dimensions)
            order = np.argsort(rows)
            rows = rows[order]
            return rows, np.fromiter((bool(scripts.get(row)) for row in rows.tolist()), bool, len(rows)), vectors[order]

        return self._cache.find(self._base, space, chunks, int(newest), load)

    def _blended(self, matrices: Mapping[str, Matrix | None], depth: int) -> list[int] | None:
        """The nearest in all spaces together; None where a space is not in memory, or has other chunks than the others."""
        wish = self._wish
        kept = [one for one in matrices.values() if one is not None]
        if len(kept) < len(wish.vectors) or any(not np.array_equal(one.rows, kept[0].rows) for one in kept[1:]):
            return None
        total = sum(
            one.above(wish.vectors[space], wish.weights[space], wish.levels[space, False], wish.levels[space, True])
            for space, one in zip(matrices, kept, strict=True)
        )
        return [row for row, _ in self._first_open(lambda count: best_of(kept[0].rows, total, count), depth)]

    def _nearest(
        self, number: int, matrix: Matrix | None, vector: Sequence[float], depth: int
    ) -> list[tuple[int, float]]:
        """The nearest that may be found."""
        if matrix is None:
            return self._first_open(
                lambda count: self._nearest_in_file(number, vector, min(count, MAX_NEIGHBOURS)), depth
            )
        likeness = matrix.likeness(vector)
        return self._first_open(lambda count: best_of(matrix.rows, likeness, count), depth)

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
            (_pack(vector), count, self._base),
        )
        return [(row, 1 - distance) for row, distance in near]

    def _open(self, rows: list[int]) -> set[int]:
        """Which of these may be found."""
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
            (_pack(vector), json.dumps(rows)),
        )
        return {row: 1 - distance for row, distance in found}

    def _by_words(self, words: list[str], depth: int) -> list[int]:
        """Those that share words with the question."""
        mark = _base_mark(self._base)
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
        return {row: (_chunk(data, is_enabled), bool(han)) for row, data, is_enabled, han in found}
