"""The search index in PostgreSQL: pgvector beside a text index over the same words as the embedded one has, for many machines and large bases.

Its tables are made here and not by migrations: they need the extension, which not every PostgreSQL has. They hold nothing that could not be
made anew from the documents.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from steelyard.knowledge.index import Hit, IndexedChunk, Wish, fuse, indexed_text, pick_depth
from steelyard.knowledge.words import cut_words, is_han, query_words
from steelyard.store.database import AsyncConnection, Database

TEXT_LIST = "text"
PORTION = 500
#: Neighbours that the graph is searched for: 100 finds 996 of 1,000 of the nearest.
EF_SEARCH = 200
#: Bases of fewer chunks are sought through exactly, in some 20 ms.
GRAPH_FROM = 20_000
#: Of other bases' chunks too, before a search in the graph gives up.
MAX_SCANNED = 500_000
#: pgvector's graphs take no longer vectors.
MAX_GRAPH_DIMENSIONS = 2000
_LOCK = 8092
_SCHEMA = (
    "CREATE EXTENSION IF NOT EXISTS vector",
    """CREATE TABLE IF NOT EXISTS search_chunk (
        row BIGSERIAL PRIMARY KEY, id TEXT NOT NULL UNIQUE, base TEXT NOT NULL, document TEXT NOT NULL, number INTEGER NOT NULL,
        is_enabled BOOLEAN NOT NULL, metadata JSONB NOT NULL, data BYTEA NOT NULL, words TSVECTOR NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS search_chunk_place ON search_chunk (base, document, number)",
    "CREATE INDEX IF NOT EXISTS search_chunk_words ON search_chunk USING gin (words)",
    "CREATE TABLE IF NOT EXISTS search_space (name TEXT PRIMARY KEY, dimensions INTEGER NOT NULL, number INTEGER NOT NULL)",
)
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(IndexedChunk).decode


async def open_postgres_index(database: Database) -> "PostgresIndex | None":
    """The index in this database; None where it has no pgvector and may not get it."""
    try:
        async with database.write() as connection:
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
            for statement in _SCHEMA:
                await connection.execute(text(statement))
    except SQLAlchemyError:
        return None
    return PostgresIndex(database)


class PostgresIndex:
    """Implements `index.SearchIndex`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __repr__(self) -> str:
        return f"<PostgresIndex {self._database!r}>"

    def close(self) -> None:
        """The database is somebody else's."""

    # writing

    async def put_document(
        self, base: str, document: str, chunks: Sequence[IndexedChunk], vectors: Mapping[str, Sequence[Sequence[float]]]
    ) -> None:
        """See `index.SearchIndex`."""
        tables = await self._tables({space: len(rows[0]) for space, rows in vectors.items() if len(rows)})
        async with self._database.write() as connection:
            await _lock_document(connection, base, document)
            await _delete(connection, "base = :base AND document = :document", base=base, document=document)
            await _insert(connection, base, chunks, vectors, tables)

    async def put_chunk(self, base: str, chunk: IndexedChunk, vectors: Mapping[str, Sequence[float]]) -> None:
        """See `index.SearchIndex`."""
        tables = await self._tables({space: len(vector) for space, vector in vectors.items()})
        async with self._database.write() as connection:
            await _lock_document(connection, base, chunk.document)
            await _delete(connection, "base = :base AND id = :id", base=base, id=chunk.id)
            await _insert(connection, base, [chunk], {name: [vector] for name, vector in vectors.items()}, tables)

    async def _tables(self, dimensions: dict[str, int]) -> dict[str, int]:
        """The numbers of vector spaces' tables. New ones are made by themselves: beside other writes their locks would cross.

        Raises:
            ValueError: vectors are of another length than their space's.
        """
        async with self._database.read() as connection:
            known = await _spaces(connection)
        if dimensions.keys() - known.keys():
            async with self._database.write() as connection:
                await connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
                for space, length in dimensions.items():
                    await _make_table(connection, space, length)
                known = await _spaces(connection)
        for space, length in dimensions.items():
            if known[space][0] != length:
                raise ValueError(f"vectors of {space} have {known[space][0]} dimensions, not {length}")
        return {space: known[space][1] for space in dimensions}

    async def delete_document(self, base: str, document: str) -> int:
        """See `index.SearchIndex`."""
        async with self._database.write() as connection:
            await _lock_document(connection, base, document)
            return await _delete(connection, "base = :base AND document = :document", base=base, document=document)

    async def drop_base(self, base: str) -> None:
        """See `index.SearchIndex`."""
        async with self._database.write() as connection:
            await _delete(connection, "base = :base", base=base)

    async def delete_chunks(self, base: str, ids: Sequence[str]) -> int:
        """See `index.SearchIndex`."""
        async with self._database.write() as connection:
            return await _delete(connection, "base = :base AND id = ANY(:ids)", base=base, ids=list(ids))

    async def set_enabled(self, base: str, ids: Sequence[str], *, is_enabled: bool) -> int:
        """See `index.SearchIndex`."""
        async with self._database.write() as connection:
            done = await connection.execute(
                text("UPDATE search_chunk SET is_enabled = :on WHERE base = :base AND id = ANY(:ids)"),
                {"on": is_enabled, "base": base, "ids": list(ids)},
            )
            return done.rowcount

    # reading

    async def list_chunks(
        self, base: str, document: str | None, *, offset: int, limit: int
    ) -> tuple[list[IndexedChunk], int]:
        """See `index.SearchIndex`."""
        where = "base = :base" if document is None else "base = :base AND document = :document"
        values = {"base": base} if document is None else {"base": base, "document": document}
        async with self._database.read() as connection:
            await _one_snapshot(connection)
            total = await connection.scalar(text(f"SELECT COUNT(*) FROM search_chunk WHERE {where}"), values)
            rows = await connection.execute(
                text(
                    f"SELECT data, is_enabled FROM search_chunk WHERE {where} "
                    "ORDER BY document, number, row LIMIT :limit OFFSET :offset"
                ),
                {**values, "limit": limit, "offset": offset},
            )
            return [_chunk(*row) for row in rows], int(total or 0)

    async def find_chunk(self, base: str, chunk_id: str) -> IndexedChunk | None:
        """See `index.SearchIndex`."""
        async with self._database.read() as connection:
            query = text("SELECT data, is_enabled FROM search_chunk WHERE base = :base AND id = :id")
            row = (await connection.execute(query, {"base": base, "id": chunk_id})).first()
        return None if row is None else _chunk(*row)

    async def find_vectors(self, base: str, document: str) -> dict[str, dict[str, Any]]:
        """See `index.SearchIndex`."""
        found: dict[str, dict[str, Any]] = {}
        async with self._database.read() as connection:
            await _one_snapshot(connection)
            rows = await connection.execute(
                text("SELECT row, data FROM search_chunk WHERE base = :base AND document = :document"),
                {"base": base, "document": document},
            )
            texts = {row.row: indexed_text(_decode(row.data)) for row in rows}
            for row, vectors in (await _vectors_of(connection, list(texts))).items():
                for space, vector in vectors.items():
                    found.setdefault(space, {})[texts[row]] = vector
        return found

    async def sample(self, base: str, count: int) -> list[tuple[str, dict[str, Any]]]:
        """See `index.SearchIndex`."""
        async with self._database.read() as connection:
            await _one_snapshot(connection)
            rows = await connection.execute(
                text("SELECT row, data FROM search_chunk WHERE base = :base ORDER BY random() LIMIT :count"),
                {"base": base, "count": count},
            )
            texts = {row.row: _decode(row.data).text for row in rows}
            vectors = await _vectors_of(connection, list(texts))
        return [(said, vectors.get(row, {})) for row, said in texts.items()]

    async def list_owners(self) -> list[tuple[str, str]]:
        """See `index.SearchIndex`."""
        async with self._database.read() as connection:
            rows = await connection.execute(text("SELECT DISTINCT base, document FROM search_chunk"))
            return [(row.base, row.document) for row in rows]

    async def search(self, base: str, wish: Wish) -> list[Hit]:
        """See `index.SearchIndex`."""
        depth = pick_depth(wish.limit)
        dense_depth, text_depth = wish.dense_depth or depth, wish.text_depth or depth
        lists: dict[str, list[int]] = {}
        likeness: dict[int, dict[str, float]] = {}
        async with self._database.read() as connection:
            await _one_snapshot(connection)
            known = await _spaces(connection)
            for space, vector in wish.vectors.items():
                if space in known:
                    near = await _nearest(connection, known[space][1], base, vector, wish, dense_depth)
                    lists[space] = [row for row, _ in near]
                    for row, distance in near:
                        likeness.setdefault(row, {})[space] = 1 - distance
            words = query_words(wish.text)
            if words:
                lists[TEXT_LIST] = await _by_words(connection, base, words, wish, text_depth)
            fused = fuse(lists, wish.limit)
            rows = [row for row, _, _ in fused]
            for space, vector in wish.vectors.items():
                if space in known:
                    lacking = [row for row in rows if space not in likeness.get(row, {})]
                    for row, distance in await _distances(connection, known[space][1], vector, lacking):
                        likeness.setdefault(row, {})[space] = 1 - distance
            found = await connection.execute(
                text("SELECT row, data, is_enabled FROM search_chunk WHERE row = ANY(:rows)"), {"rows": rows}
            )
            chunks = {row.row: _chunk(row.data, row.is_enabled) for row in found}
        return [
            Hit(
                chunk=chunks[row],
                score=score,
                ranks=ranks,
                likeness=likeness.get(row, {}),
                is_han=is_han(chunks[row].text),
            )
            for row, score, ranks in fused
        ]


def _chunk(data: bytes, is_enabled: bool) -> IndexedChunk:
    return msgspec.structs.replace(_decode(data), is_enabled=is_enabled)


async def _one_snapshot(connection: AsyncConnection) -> None:
    """What is read belongs together, whatever is written meanwhile."""
    await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))


async def _lock_document(connection: AsyncConnection, base: str, document: str) -> None:
    """Two who put the same document at once come one after the other."""
    await connection.execute(
        text("SELECT pg_advisory_xact_lock(:kind, hashtext(:name))"), {"kind": _LOCK, "name": f"{base}\n{document}"}
    )


async def _spaces(connection: AsyncConnection) -> dict[str, tuple[int, int]]:
    """Vector spaces: dimensions, and the number of their table."""
    rows = await connection.execute(text("SELECT name, dimensions, number FROM search_space"))
    return {row.name: (row.dimensions, row.number) for row in rows}


async def _make_table(connection: AsyncConnection, space: str, dimensions: int) -> None:
    """The table of a vector space, where it is new."""
    known = await _spaces(connection)
    if space in known:
        return
    number = len(known) + 1
    await connection.execute(
        text("INSERT INTO search_space VALUES (:name, :dimensions, :number)"),
        {"name": space, "dimensions": dimensions, "number": number},
    )
    await connection.execute(
        text(
            f"CREATE TABLE search_vector_{number} (row BIGINT PRIMARY KEY REFERENCES search_chunk (row) ON DELETE CASCADE, "
            f"base TEXT NOT NULL, embedding vector({dimensions}) NOT NULL)"
        )
    )
    await connection.execute(text(f"CREATE INDEX ON search_vector_{number} (base)"))
    if dimensions <= MAX_GRAPH_DIMENSIONS:
        # longer ones are searched exactly
        await connection.execute(
            text(f"CREATE INDEX ON search_vector_{number} USING hnsw (embedding vector_cosine_ops)")
        )


def _pack(vector: Sequence[float]) -> str:
    return "[" + ",".join(f"{value:.7g}" for value in np.asarray(vector, dtype=np.float32)) + "]"


def _base_word(base: str) -> str:
    """A base's name as one word of the text index."""
    return "b" + base.encode().hex()


async def _insert(
    connection: AsyncConnection,
    base: str,
    chunks: Sequence[IndexedChunk],
    vectors: Mapping[str, Sequence[Sequence[float]]],
    tables: Mapping[str, int],
) -> None:
    for start in range(0, len(chunks), PORTION):
        portion = chunks[start : start + PORTION]
        values = [
            {
                "id": one.id,
                "base": base,
                "document": one.document,
                "number": one.number,
                "on": one.is_enabled,
                "metadata": json.dumps(one.metadata),
                "data": _encode(one),
                "words": list({_base_word(base), *cut_words(indexed_text(one))}),
            }
            for one in portion
        ]
        await connection.execute(
            text(
                "INSERT INTO search_chunk (id, base, document, number, is_enabled, metadata, data, words) VALUES "
                "(:id, :base, :document, :number, :on, CAST(:metadata AS JSONB), :data, array_to_tsvector(CAST(:words AS TEXT[])))"
            ),
            values,
        )
        found = await connection.execute(
            text("SELECT id, row FROM search_chunk WHERE id = ANY(:ids)"), {"ids": [one.id for one in portion]}
        )
        rows = {row.id: row.row for row in found}
        for space, table in tables.items():
            some = vectors[space][start : start + PORTION]
            await connection.execute(
                text(f"INSERT INTO search_vector_{table} VALUES (:row, :base, CAST(:embedding AS vector))"),
                [
                    {"row": rows[one.id], "base": base, "embedding": _pack(vector)}
                    for one, vector in zip(portion, some, strict=True)
                ],
            )


async def _delete(connection: AsyncConnection, where: str, **values: Any) -> int:
    # their vectors go with them
    return (await connection.execute(text(f"DELETE FROM search_chunk WHERE {where}"), values)).rowcount


async def _vectors_of(connection: AsyncConnection, rows: list[int]) -> dict[int, dict[str, Any]]:
    """Vectors of chunks, by row and space."""
    found: dict[int, dict[str, Any]] = {}
    for space, (_, number) in (await _spaces(connection)).items():
        vectors = await connection.execute(
            text(f"SELECT row, embedding::text AS said FROM search_vector_{number} WHERE row = ANY(:rows)"),
            {"rows": rows},
        )
        for row in vectors:
            found.setdefault(row.row, {})[space] = np.array(json.loads(row.said), dtype=np.float32)
    return found


def _conditions(wish: Wish) -> tuple[str, dict[str, Any]]:
    """What of a wish narrows chunks, as SQL over the table `search_chunk` as `c`."""
    parts = ["c.is_enabled"]
    values: dict[str, Any] = {}
    if wish.documents is not None:
        parts.append("c.document = ANY(:documents)")
        values["documents"] = list(wish.documents)
    if wish.metadata:
        parts.append("c.metadata @> CAST(:wanted AS JSONB)")
        values["wanted"] = json.dumps(dict(wish.metadata))
    return " AND ".join(parts), values


async def _nearest(
    connection: AsyncConnection, table: int, base: str, vector: Sequence[float], wish: Wish, depth: int
) -> list[tuple[int, float]]:
    where, values = _conditions(wish)
    order = "v.embedding <=> CAST(:vector AS vector)"
    if wish.documents is not None or wish.metadata or not await _is_large(connection, base):
        # of few the graph, which all bases share, would find some alone: they are compared one by one
        order = f"({order}) + 0"
    else:
        # the graph goes on until enough of what may be found was found
        await connection.execute(text(f"SET LOCAL hnsw.ef_search = {min(max(depth, EF_SEARCH), 1000)}"))
        await connection.execute(text("SET LOCAL hnsw.iterative_scan = strict_order"))
        await connection.execute(text(f"SET LOCAL hnsw.max_scan_tuples = {MAX_SCANNED}"))
    rows = await connection.execute(
        text(
            f"SELECT v.row, v.embedding <=> CAST(:vector AS vector) AS distance FROM search_vector_{table} v "
            f"JOIN search_chunk c ON c.row = v.row WHERE v.base = :base AND {where} "
            f"ORDER BY {order} LIMIT :depth"
        ),
        {**values, "vector": _pack(vector), "base": base, "depth": depth},
    )
    return [(row.row, float(row.distance)) for row in rows]


async def _is_large(connection: AsyncConnection, base: str) -> bool:
    counted = await connection.scalar(
        text(f"SELECT COUNT(*) FROM (SELECT 1 FROM search_chunk WHERE base = :base LIMIT {GRAPH_FROM}) AS counted"),
        {"base": base},
    )
    return int(counted or 0) >= GRAPH_FROM


async def _distances(
    connection: AsyncConnection, table: int, vector: Sequence[float], rows: list[int]
) -> list[tuple[int, float]]:
    if not rows:
        return []
    found = await connection.execute(
        text(
            f"SELECT row, embedding <=> CAST(:vector AS vector) AS distance FROM search_vector_{table} WHERE row = ANY(:rows)"
        ),
        {"vector": _pack(vector), "rows": rows},
    )
    return [(row.row, float(row.distance)) for row in found]


async def _by_words(connection: AsyncConnection, base: str, words: list[str], wish: Wish, depth: int) -> list[int]:
    """Those that share words with a question; a word that few chunks have weighs more."""
    where, values = _conditions(wish)
    rows = await connection.execute(
        text(
            "WITH asked AS (SELECT word, array_to_tsvector(ARRAY[word]) AS lexeme FROM unnest(CAST(:words AS TEXT[])) word), "
            "query AS (SELECT string_agg(quote_literal(word), ' | ')::tsquery AS any_of FROM asked), "
            "found AS MATERIALIZED (SELECT c.row, c.words FROM search_chunk c, query "
            f"WHERE c.words @@ (quote_literal(:base_word)::tsquery && query.any_of) AND {where}), "
            "weights AS (SELECT asked.word, ln(1 + (SELECT COUNT(*) FROM found) / (0.5 + COUNT(found.row))) AS weight "
            "FROM asked LEFT JOIN found ON found.words @@ quote_literal(asked.word)::tsquery GROUP BY asked.word) "
            "SELECT found.row FROM found JOIN weights ON found.words @@ quote_literal(weights.word)::tsquery "
            "GROUP BY found.row, found.words ORDER BY SUM(weights.weight) / (20 + length(found.words)) DESC, found.row LIMIT :depth"
        ),
        {**values, "words": words, "base_word": _base_word(base), "depth": depth},
    )
    return [row.row for row in rows]
