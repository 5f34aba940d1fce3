"""Answers by Idempotency-Key: claimed by one request, kept for a repeat."""

from dataclasses import dataclass

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from steelyard.store.insertion import insert_if_absent
from steelyard.store.schema import replay

RUNNING, STORED, GONE = "running", "stored", "gone"


@dataclass(frozen=True, slots=True)
class ReplayRecord:
    """One claimed key."""

    body_digest: str
    request_id: str
    state: str
    answer: bytes | None
    created_us: int


async def find(connection: AsyncConnection, scope: str, key: str) -> ReplayRecord | None:
    """The claim on a key."""
    columns = (replay.c.body_digest, replay.c.request_id, replay.c.state, replay.c.answer, replay.c.created_us)
    row = (await connection.execute(select(*columns).where(replay.c.scope == scope, replay.c.key == key))).first()
    return None if row is None else ReplayRecord(*row)


async def claim(
    connection: AsyncConnection, scope: str, key: str, body_digest: str, request_id: str, now_us: int
) -> bool:
    """Takes the key for a request; False where another has it. The database decides between two at once."""
    values = {"scope": scope, "key": key, "body_digest": body_digest, "request_id": request_id}
    return await insert_if_absent(
        connection, replay, {**values, "state": RUNNING, "answer": None, "created_us": now_us}
    )


async def finish(connection: AsyncConnection, scope: str, key: str, answer: bytes | None) -> None:
    """Keeps the answer; without one only the fact that it was given."""
    state = GONE if answer is None else STORED
    where = (replay.c.scope == scope, replay.c.key == key)
    await connection.execute(update(replay).where(*where).values(state=state, answer=answer))


async def put(connection: AsyncConnection, scope: str, key: str, answer: bytes, now_us: int) -> None:
    """Keeps an answer that nobody claimed; one that another has just put there stays."""
    values = {"scope": scope, "key": key, "body_digest": "", "request_id": "", "state": STORED, "answer": answer}
    await insert_if_absent(connection, replay, {**values, "created_us": now_us})


async def forget(connection: AsyncConnection, scope: str, key: str) -> None:
    """Frees the key."""
    await connection.execute(delete(replay).where(replay.c.scope == scope, replay.c.key == key))


async def forget_before(connection: AsyncConnection, time_us: int) -> None:
    """Frees what is older."""
    await connection.execute(delete(replay).where(replay.c.created_us < time_us))
