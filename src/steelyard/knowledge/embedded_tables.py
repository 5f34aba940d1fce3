"""The embedded index's tables: statements on them within somebody's transaction. A chunk is a row beside its words and its vectors."""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import apsw
import msgspec
import numpy as np

from steelyard.knowledge.index import IndexedChunk, indexed_text
from steelyard.knowledge.words import cut_words, is_han

PORTION = 500
SCHEMA = """
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
decode_chunk = msgspec.msgpack.Decoder(IndexedChunk).decode


def read_chunk(data: bytes, is_enabled: int) -> IndexedChunk:
    chunk = decode_chunk(data)
    return chunk if chunk.is_enabled == is_enabled else msgspec.structs.replace(chunk, is_enabled=bool(is_enabled))


def list_spaces(connection: apsw.Connection) -> dict[str, tuple[int, int]]:
    """Vector spaces: dimensions, and the number of their table."""
    rows = connection.execute("SELECT name, dimensions, number FROM space")
    return {name: (dimensions, number) for name, dimensions, number in rows}


def vectors_of(connection: apsw.Connection, rows: Sequence[Any]) -> dict[Any, dict[str, Any]]:
    """Vectors of chunks, by row and space."""
    found: dict[Any, dict[str, Any]] = {}
    for space, (_, number) in list_spaces(connection).items():
        vectors: Any = connection.execute(
            f"SELECT rowid, embedding FROM vectors_{number} WHERE rowid IN (SELECT value FROM json_each(?))",
            (json.dumps(list(rows)),),
        )
        for row, data in vectors:
            found.setdefault(row, {})[space] = np.frombuffer(data, dtype=np.float32)
    return found


def whole_base(connection: apsw.Connection, number: int, base: str, dimensions: int) -> tuple[Any, Any]:
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


def table_of(connection: apsw.Connection, space: str, dimensions: int) -> str:
    """The table of a vector space, made where it is new.

    Raises:
        ValueError: its vectors are of another length.
    """
    known = list_spaces(connection)
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


def pack(vector: Sequence[float]) -> bytes:
    return np.asarray(vector, dtype=np.float32).tobytes()


def insert_chunk(
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
    mark = mark_of(base)
    words = " ".join(mark + word for word in cut_words(indexed_text(chunk)))
    connection.execute("INSERT INTO words (rowid, said) VALUES (?, ?)", (number, words))
    for space, vector in vectors.items():
        table = table_of(connection, space, len(vector))
        connection.execute(
            f"INSERT INTO {table} (rowid, base, embedding) VALUES (?, ?, ?)", (number, base, pack(vector))
        )


def mark_of(base: str) -> str:
    """What a base's words begin with in the text index: how rare they are is then a matter of the base, and others cost it nothing."""
    return f"b{sha256(base.encode()).hexdigest()[:12]}x"


def delete_where(connection: apsw.Connection, where: str, values: tuple[Any, ...]) -> int:
    found: Any = connection.execute(f"SELECT row, base FROM chunk WHERE {where}", values).fetchall()
    rows = [row for row, _ in found]
    for base in {base for _, base in found}:
        connection.execute(
            "UPDATE state SET chunks = chunks - ? WHERE base = ?",
            (sum(one == base for _, one in found), base),
        )
    tables = [f"vectors_{number}" for _, number in list_spaces(connection).values()]
    for start in range(0, len(rows), PORTION):
        some = json.dumps(rows[start : start + PORTION])
        connection.execute("DELETE FROM chunk WHERE row IN (SELECT value FROM json_each(?))", (some,))
        connection.execute("DELETE FROM words WHERE rowid IN (SELECT value FROM json_each(?))", (some,))
        for table in tables:
            connection.execute(f"DELETE FROM {table} WHERE rowid IN (SELECT value FROM json_each(?))", (some,))
    return len(rows)
