"""Named statements on calls that workspaces keep."""

from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from steelyard.store.insertion import insert_if_absent
from steelyard.store.schema import kept_call


@dataclass(frozen=True, slots=True)
class KeptRecord:
    """A call; its texts are sealed."""

    request_id: str
    workspace: str
    key_id: str
    model: str
    created_us: int
    sealed: str


async def insert(connection: AsyncConnection, record: KeptRecord) -> None:
    """Keeps a call; a second time nothing happens."""
    await insert_if_absent(connection, kept_call, {name: getattr(record, name) for name in KeptRecord.__slots__})


async def list_newest(connection: AsyncConnection, workspace: str, limit: int) -> list[KeptRecord]:
    """The newest of a workspace."""
    asked = select(kept_call).where(kept_call.c.workspace == workspace)
    rows = await connection.execute(asked.order_by(kept_call.c.created_us.desc()).limit(limit))
    return [KeptRecord(**dict(row._mapping)) for row in rows]


async def forget_beyond(connection: AsyncConnection, workspace: str, count: int) -> None:
    """Leaves the newest few of a workspace."""
    newest = select(kept_call.c.request_id).where(kept_call.c.workspace == workspace)
    newest = newest.order_by(kept_call.c.created_us.desc()).limit(count)
    await connection.execute(
        delete(kept_call).where(kept_call.c.workspace == workspace, kept_call.c.request_id.not_in(newest))
    )


async def forget_before(connection: AsyncConnection, time_us: int) -> None:
    """Deletes what is older."""
    await connection.execute(delete(kept_call).where(kept_call.c.created_us < time_us))
