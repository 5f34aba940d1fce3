"""The embedded search index: one file that only apsw opens, exact vectors partitioned by base beside a text index of our own words."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import apsw
import sqlite_vec

from steelyard.base.errors import SetupFault, fault
from steelyard.knowledge.embedded_search import Search
from steelyard.knowledge.embedded_tables import (
    SCHEMA,
    decode_chunk,
    delete_where,
    insert_chunk,
    read_chunk,
    vectors_of,
)
from steelyard.knowledge.index import Hit, IndexedChunk, Wish, indexed_text
from steelyard.knowledge.vector_cache import VectorCache

T = TypeVar("T")
#: What may pass: a full disk, another writer that takes its time.
_PASSING = (apsw.FullError, apsw.BusyError, apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError)

FORMAT = 1
#: The largest document takes some ten seconds to write.
BUSY_MS = 30_000
READERS = 2
#: The file is looked at in place of being copied.
MMAP_BYTES = 1 << 32
#: Of memory, for vectors of bases that are asked.
CACHE_BYTES = 512 * 1024 * 1024


@contextlib.contextmanager
def _transaction(connection: apsw.Connection, begin: str) -> Iterator[None]:
    """All of it or nothing. What the disk refuses, if only at the end, is a fault that callers are told of and that tasks wait for."""
    try:
        connection.execute(begin)
        yield
        connection.execute("COMMIT")
    except BaseException as failure:
        # a full disk has ended the transaction already
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if isinstance(failure, _PASSING):
            raise fault("stores_unavailable", detail=f" (The search index: {failure}.)") from failure
        raise


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
        self._writer.execute(SCHEMA)
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
            with _transaction(self._writer, "BEGIN IMMEDIATE"):
                return work(self._writer)

        return await asyncio.get_running_loop().run_in_executor(self._writing, run)

    async def _read(self, work: Callable[[apsw.Connection], T]) -> T:
        def run() -> T:
            connection = self._free.pop()
            try:
                # one transaction: what is read belongs together, whatever is written meanwhile
                with _transaction(connection, "BEGIN"):
                    return work(connection)
            finally:
                self._free.append(connection)

        return await asyncio.get_running_loop().run_in_executor(self._reading, run)

    # writing

    async def put_document(
        self, base: str, document: str, chunks: Sequence[IndexedChunk], vectors: Mapping[str, Sequence[Sequence[float]]]
    ) -> None:
        """See `index.SearchIndex`."""

        def work(connection: apsw.Connection) -> None:
            delete_where(connection, "base = ? AND document = ?", (base, document))
            for number, chunk in enumerate(chunks):
                insert_chunk(connection, base, chunk, {name: some[number] for name, some in vectors.items()})

        await self._write(work)

    async def put_chunk(self, base: str, chunk: IndexedChunk, vectors: Mapping[str, Sequence[float]]) -> None:
        """See `index.SearchIndex`."""

        def work(connection: apsw.Connection) -> None:
            delete_where(connection, "base = ? AND id = ?", (base, chunk.id))
            insert_chunk(connection, base, chunk, vectors)

        await self._write(work)

    async def delete_document(self, base: str, document: str) -> int:
        """See `index.SearchIndex`."""
        return await self._write(lambda one: delete_where(one, "base = ? AND document = ?", (base, document)))

    async def drop_base(self, base: str) -> None:
        """See `index.SearchIndex`."""
        await self._write(lambda one: delete_where(one, "base = ?", (base,)))

    async def delete_chunks(self, base: str, ids: Sequence[str]) -> int:
        """See `index.SearchIndex`."""
        return await self._write(
            lambda one: delete_where(
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
            return [read_chunk(*row) for row in rows], total

        return await self._read(work)

    async def find_chunk(self, base: str, chunk_id: str) -> IndexedChunk | None:
        """See `index.SearchIndex`."""

        def work(connection: apsw.Connection) -> IndexedChunk | None:
            row = connection.execute(
                "SELECT data, is_enabled FROM chunk WHERE base = ? AND id = ?", (base, chunk_id)
            ).fetchone()
            return None if row is None else read_chunk(*row)

        return await self._read(work)

    async def find_vectors(self, base: str, document: str) -> dict[str, dict[str, Any]]:
        """See `index.SearchIndex`."""

        def work(connection: apsw.Connection) -> dict[str, dict[str, Any]]:
            rows = connection.execute(
                "SELECT row, data FROM chunk WHERE base = ? AND document = ?", (base, document)
            ).fetchall()
            texts: dict[Any, str] = {row: indexed_text(decode_chunk(data)) for row, data in rows}  # type: ignore[arg-type]
            found: dict[str, dict[str, Any]] = {}
            for row, vectors in vectors_of(connection, list(texts)).items():
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
            vectors = vectors_of(connection, [row for row, _ in rows])
            return [(decode_chunk(data).text, vectors.get(row, {})) for row, data in rows]  # type: ignore[arg-type]

        return await self._read(work)

    async def list_owners(self) -> list[tuple[str, str]]:
        """See `index.SearchIndex`."""
        return await self._read(
            lambda connection: connection.execute("SELECT DISTINCT base, document FROM chunk").fetchall()  # type: ignore[arg-type,return-value]
        )

    async def search(self, base: str, wish: Wish) -> list[Hit]:
        """See `index.SearchIndex`."""
        return await self._read(lambda connection: Search(connection, self._cache, base, wish).run())

    def close(self) -> None:
        """Waits for what is under way, and lets go of the file."""
        self._writing.shutdown()
        self._reading.shutdown()
        for connection in (self._writer, *self._free):
            connection.close()
