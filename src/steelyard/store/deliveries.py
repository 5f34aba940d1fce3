"""What is to be told to webhooks, and what was: at least once each, in a log that can be read and repeated."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from steelyard.store.schema import delivery

WAITING, DELIVERED, FAILED = "waiting", "delivered", "failed"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One telling of one task's end."""

    id: str
    task_id: str
    workspace: str
    url: str
    body: bytes
    state: str
    attempts: int
    next_us: int
    last_status: int | None
    last_error: str | None
    created_us: int


_COLUMNS = [delivery.c[name] for name in Delivery.__slots__]


async def insert_delivery(connection: AsyncConnection, one: Delivery) -> None:
    """Adds one."""
    await connection.execute(insert(delivery).values({name: getattr(one, name) for name in Delivery.__slots__}))


async def list_due(connection: AsyncConnection, now_us: int, limit: int) -> list[Delivery]:
    """What should be told now."""
    query = (
        select(*_COLUMNS)
        .where(delivery.c.state == WAITING, delivery.c.next_us <= now_us)
        .order_by(delivery.c.next_us)
        .limit(limit)
    )
    return [Delivery(*row) for row in await connection.execute(query)]


async def list_of(connection: AsyncConnection, workspace: str | None, task_id: str) -> list[Delivery]:
    """What was told of a task."""
    query = select(*_COLUMNS).where(delivery.c.task_id == task_id).order_by(delivery.c.created_us)
    if workspace is not None:
        query = query.where(delivery.c.workspace == workspace)
    return [Delivery(*row) for row in await connection.execute(query)]


async def find(connection: AsyncConnection, delivery_id: str) -> Delivery | None:
    """One delivery."""
    row = (await connection.execute(select(*_COLUMNS).where(delivery.c.id == delivery_id))).first()
    return None if row is None else Delivery(*row)


async def take(connection: AsyncConnection, delivery_id: str, until_us: int, now_us: int) -> bool:
    """Puts the next try off, so that no other worker makes it meanwhile; False where another has it already."""
    where = (delivery.c.id == delivery_id, delivery.c.state == WAITING, delivery.c.next_us <= now_us)
    changed = await connection.execute(
        update(delivery).where(*where).values(next_us=until_us, attempts=delivery.c.attempts + 1)
    )
    return changed.rowcount == 1


async def set_result(connection: AsyncConnection, delivery_id: str, **values: Any) -> None:
    """What came of a try."""
    await connection.execute(update(delivery).where(delivery.c.id == delivery_id).values(**values))
