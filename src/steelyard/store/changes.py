"""The change log: how a change in one process reaches every other within two seconds."""

from dataclasses import dataclass

from sqlalchemy import func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from steelyard.store.schema import change

KEY, WORKSPACE, TOKEN, PROVIDER = "key", "workspace", "token", "provider"


@dataclass(frozen=True, slots=True)
class Change:
    """One entry. The subject of a key's change is its digest."""

    id: int
    kind: str
    subject: str


async def append(connection: AsyncConnection, kind: str, subject: str, now_us: int) -> None:
    """Adds an entry to the writer's transaction."""
    if connection.dialect.name == "postgresql":
        # numbers must become visible in their order, or a follower would skip the slower of two writers
        await connection.execute(text("SELECT pg_advisory_xact_lock(8091)"))
    await connection.execute(insert(change).values(kind=kind, subject=subject, at_us=now_us))


async def get_version(connection: AsyncConnection) -> int:
    """The number of the newest entry."""
    return int(await connection.scalar(select(func.max(change.c.id))) or 0)


async def list_after(connection: AsyncConnection, version: int, limit: int) -> list[Change]:
    """Entries after a version, oldest first."""
    rows = await connection.execute(
        select(change.c.id, change.c.kind, change.c.subject)
        .where(change.c.id > version)
        .order_by(change.c.id)
        .limit(limit)
    )
    return [Change(*row) for row in rows]
