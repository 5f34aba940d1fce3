"""Named statements on stored responses."""

from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from steelyard.store.insertion import insert_if_absent
from steelyard.store.schema import response


@dataclass(frozen=True, slots=True)
class ResponseRecord:
    """A response as it was told, and the items of the conversation up to it, both as JSON."""

    id: str
    workspace: str
    body: bytes
    items: bytes
    created_us: int


async def insert(connection: AsyncConnection, record: ResponseRecord) -> None:
    """Keeps a response; a second time nothing happens."""
    values = {name: getattr(record, name) for name in ResponseRecord.__slots__}
    await insert_if_absent(connection, response, values)


async def find(connection: AsyncConnection, workspace: str, response_id: str) -> ResponseRecord | None:
    """A response of a workspace."""
    where = (response.c.id == response_id, response.c.workspace == workspace)
    row = (await connection.execute(select(response).where(*where))).first()
    return None if row is None else ResponseRecord(**dict(row._mapping))


async def forget(connection: AsyncConnection, workspace: str, response_id: str) -> bool:
    """Deletes a response; False where there is none."""
    where = (response.c.id == response_id, response.c.workspace == workspace)
    return (await connection.execute(delete(response).where(*where))).rowcount > 0


async def forget_before(connection: AsyncConnection, time_us: int) -> None:
    """Deletes what is older."""
    await connection.execute(delete(response).where(response.c.created_us < time_us))
