"""The embedded search index: one file that only apsw opens, exact vectors partitioned by base beside a text index of our own words."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import apsw
import msgspec
import numpy as np
import sqlite_vec

from steelyard.knowledge.index import Hit, IndexedChunk, Wish, fuse, indexed_text, pick_depth
from steelyard.knowledge.words import cut_words, query_words

T = TypeVar("T")

BUSY_MS = 10_000
READERS = 2
#: sqlite-vec gives no more at once.
MAX_NEIGHBOURS = 4096
PORTION = 500
TEXT_LIST = "text"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS chunk (
    row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, base TEXT NOT NULL, document TEXT NOT NULL, number INTEGER NOT NULL,
    is_enabled INTEGER NOT NULL, metadata TEXT NOT NULL, data BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS chunk_place ON chunk (base, document, number);
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(base, said, content='', contentless_delete=1, tokenize='unicode61');
CREATE TABLE IF NOT EXISTS space (name TEXT PRIMARY KEY, dimensions INTEGER NOT NULL, number INTEGER NOT NULL);
"""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(IndexedChunk).decode


class EmbeddedIndex:
    """Implements `index.SearchIndex`. One thread writes, some read; readers see whole transactions."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = path
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="index-write")
        self._reading = ThreadPoolExecutor(READERS, thread_name_prefix="index-read")
        self._writer = self._open()
        self._writer.execute(_SCHEMA)
        self._free = [self._open() for _ in range(READERS)]

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
        return await self._read(lambda connection: _search(connection, base, wish))

    def close(self) -> None:
        """Waits for what is under way, and lets go of the file."""
        self._writing.shutdown()
        self._reading.shutdown()
        for connection in (self._writer, *self._free):
            connection.close()


def _chunk(data: bytes, is_enabled: int) -> IndexedChunk:
    return msgspec.structs.replace(_decode(data), is_enabled=bool(is_enabled))


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
        json.dumps(chunk.metadata),
        _encode(chunk),
    )
    connection.execute(
        "INSERT INTO chunk (id, base, document, number, is_enabled, metadata, data) VALUES (?, ?, ?, ?, ?, ?, ?)", row
    )
    number = connection.last_insert_rowid()
    words = " ".join(cut_words(indexed_text(chunk)))
    connection.execute("INSERT INTO words (rowid, base, said) VALUES (?, ?, ?)", (number, _base_word(base), words))
    for space, vector in vectors.items():
        table = _table(connection, space, len(vector))
        connection.execute(
            f"INSERT INTO {table} (rowid, base, embedding) VALUES (?, ?, ?)", (number, base, _pack(vector))
        )


def _base_word(base: str) -> str:
    """A base's name as one word of the text index."""
    return "b" + base.encode().hex()


def _delete(connection: apsw.Connection, where: str, values: tuple[Any, ...]) -> int:
    rows = [number for (number,) in connection.execute(f"SELECT row FROM chunk WHERE {where}", values)]
    tables = [f"vectors_{number}" for _, number in _spaces(connection).values()]
    for start in range(0, len(rows), PORTION):
        some = json.dumps(rows[start : start + PORTION])
        connection.execute("DELETE FROM chunk WHERE row IN (SELECT value FROM json_each(?))", (some,))
        connection.execute("DELETE FROM words WHERE rowid IN (SELECT value FROM json_each(?))", (some,))
        for table in tables:
            connection.execute(f"DELETE FROM {table} WHERE rowid IN (SELECT value FROM json_each(?))", (some,))
    return len(rows)


def _search(connection: apsw.Connection, base: str, wish: Wish) -> list[Hit]:
    depth = pick_depth(wish.limit)
    dense_depth, text_depth = wish.dense_depth or depth, wish.text_depth or depth
    lists: dict[str, list[int]] = {}
    likeness: dict[int, dict[str, float]] = {}
    known = _spaces(connection)
    for space, vector in wish.vectors.items():
        if space in known:
            found = _nearest(connection, f"vectors_{known[space][1]}", base, vector, wish, dense_depth)
            lists[space] = [row for row, _ in found]
            for row, distance in found:
                likeness.setdefault(row, {})[space] = 1 - distance
    words = query_words(wish.text)
    if words:
        lists[TEXT_LIST] = _by_words(connection, base, words, wish, text_depth)
    fused = fuse({name: [str(row) for row in rows] for name, rows in lists.items()}, wish.limit)
    rows = json.dumps([int(row) for row, _, _ in fused])
    for space, vector in wish.vectors.items():
        if space in known:
            # those that the words alone have found are alike or not all the same
            lacking = [int(row) for row, _, _ in fused if space not in likeness.get(int(row), {})]
            for row, distance in _distances(connection, f"vectors_{known[space][1]}", vector, lacking):
                likeness.setdefault(row, {})[space] = 1 - distance
    found_rows = connection.execute(
        "SELECT row, data, is_enabled FROM chunk WHERE row IN (SELECT value FROM json_each(?))", (rows,)
    )
    chunks = {row: _chunk(data, is_enabled) for row, data, is_enabled in found_rows}
    return [
        Hit(chunk=chunks[int(row)], score=score, ranks=ranks, likeness=likeness.get(int(row), {}))
        for row, score, ranks in fused
    ]


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


def _nearest(
    connection: apsw.Connection, table: str, base: str, vector: Sequence[float], wish: Wish, depth: int
) -> list[tuple[int, float]]:
    """The nearest that may be found: as many are looked at as it takes."""
    where, values = _conditions(wish)
    count = depth
    while True:
        near = connection.execute(
            f"SELECT rowid, distance FROM {table} WHERE embedding MATCH ? AND k = ? AND base = ? ORDER BY distance",
            (_pack(vector), min(count, MAX_NEIGHBOURS), base),
        ).fetchall()
        rows = json.dumps([row for row, _ in near])
        kept = connection.execute(
            f"SELECT row FROM chunk WHERE row IN (SELECT value FROM json_each(?)) AND {where}",
            (rows, *values),
        )
        open_rows = {row for (row,) in kept}
        found: list[tuple[int, float]] = [one for one in near if one[0] in open_rows]  # type: ignore[misc]
        if len(found) >= depth or len(near) < count or count >= MAX_NEIGHBOURS:
            return found[:depth]
        count *= 4


def _distances(
    connection: apsw.Connection, table: str, vector: Sequence[float], rows: list[int]
) -> list[tuple[int, float]]:
    if not rows:
        return []
    found = connection.execute(
        f"SELECT rowid, vec_distance_cosine(embedding, ?) FROM {table} WHERE rowid IN (SELECT value FROM json_each(?))",
        (_pack(vector), json.dumps(rows)),
    )
    return found.fetchall()  # type: ignore[return-value]


def _by_words(connection: apsw.Connection, base: str, words: list[str], wish: Wish, depth: int) -> list[int]:
    where, values = _conditions(wish)
    said = " OR ".join('"' + word.replace('"', "") + '"' for word in words)
    rows = connection.execute(
        "SELECT words.rowid FROM words JOIN chunk ON chunk.row = words.rowid "
        f"WHERE words MATCH ? AND {where} ORDER BY bm25(words, 0.0, 1.0) LIMIT ?",
        (f"base:{_base_word(base)} AND said:({said})", *values, depth),
    )
    return [int(row) for (row,) in rows]
