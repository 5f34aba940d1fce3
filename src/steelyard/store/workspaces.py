"""Named statements on workspaces."""

from dataclasses import dataclass

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from steelyard.store.schema import workspace


@dataclass(frozen=True, slots=True)
class WorkspaceRecord:
    """A workspace and its free tokens."""

    name: str
    created_us: int
    activated_us: int | None = None
    free_tokens_granted: int = 0
    free_tokens_left: int = 0


async def find_workspace(connection: AsyncConnection, name: str) -> WorkspaceRecord | None:
    """The workspace of that name."""
    row = (await connection.execute(select(workspace).where(workspace.c.name == name))).first()
    return None if row is None else WorkspaceRecord(**row._mapping)


async def list_workspaces(connection: AsyncConnection) -> list[WorkspaceRecord]:
    """All workspaces by name."""
    rows = await connection.execute(select(workspace).order_by(workspace.c.name))
    return [WorkspaceRecord(**row._mapping) for row in rows]


async def insert_workspace(connection: AsyncConnection, name: str, now_us: int) -> None:
    """Adds a workspace, not activated."""
    values = {"name": name, "created_us": now_us, "free_tokens_granted": 0, "free_tokens_left": 0}
    await connection.execute(insert(workspace).values(**values))


async def activate(connection: AsyncConnection, name: str, free_tokens: int, now_us: int) -> bool:
    """Activates once and grants the free tokens; False if it was activated before."""
    done = await connection.execute(
        update(workspace)
        .where(workspace.c.name == name, workspace.c.activated_us.is_(None))
        .values(activated_us=now_us, free_tokens_granted=free_tokens, free_tokens_left=free_tokens)
    )
    return done.rowcount == 1


async def set_free_tokens_left(connection: AsyncConnection, name: str, tokens: int) -> None:
    """Writes what is left of the grant."""
    await connection.execute(update(workspace).where(workspace.c.name == name).values(free_tokens_left=tokens))
