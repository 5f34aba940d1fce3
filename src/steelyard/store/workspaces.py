"""Named statements on workspaces."""

from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from steelyard.canon.cache import NO_CACHE, CachePolicy
from steelyard.canon.downloads import NO_BOUNDS, DownloadBounds
from steelyard.canon.grant import ALERT, REFUSE
from steelyard.canon.inspection import NO_INSPECTION, InspectionPolicy
from steelyard.canon.limits import NO_LIMITS, Limits
from steelyard.store.schema import workspace


class Policy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an admin decided for a workspace."""

    limits: Limits = NO_LIMITS
    #: For calls without a known price while a budget in money is in force.
    unknown_price: str = REFUSE
    #: Operations of the control API that take a temporary token.
    step_up: tuple[str, ...] = ()
    inspection: InspectionPolicy = NO_INSPECTION
    #: Models that are open to it; empty opens all.
    models: tuple[str, ...] = ()
    cache: CachePolicy = NO_CACHE
    #: Tools that its chat calls have unless they say otherwise.
    tools: tuple[str, ...] = ()
    downloads: DownloadBounds = NO_BOUNDS
    #: "off", "alert" or "disable": see `control.hygiene`.
    hygiene: str = ALERT
    #: How many calls are kept whole, to be asked again; see `control.kept_calls`.
    kept_calls: int = 0


NO_POLICY = Policy()


@dataclass(frozen=True, slots=True)
class WorkspaceRecord:
    """A workspace and its free tokens."""

    name: str
    created_us: int
    activated_us: int | None = None
    free_tokens_granted: int = 0
    free_tokens_left: int = 0
    policy: Policy = NO_POLICY


def _record(row: Row[Any]) -> WorkspaceRecord:
    fields = dict(row._mapping)
    policy = fields.pop("policy")
    return WorkspaceRecord(**fields, policy=NO_POLICY if policy is None else msgspec.json.decode(policy, type=Policy))


async def find_workspace(connection: AsyncConnection, name: str) -> WorkspaceRecord | None:
    """The workspace of that name."""
    row = (await connection.execute(select(workspace).where(workspace.c.name == name))).first()
    return None if row is None else _record(row)


async def list_workspaces(connection: AsyncConnection) -> list[WorkspaceRecord]:
    """All workspaces by name."""
    rows = await connection.execute(select(workspace).order_by(workspace.c.name))
    return [_record(row) for row in rows]


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


async def set_policy(connection: AsyncConnection, name: str, policy: Policy) -> None:
    """Replaces what was decided for it."""
    text = msgspec.json.encode(policy).decode()
    await connection.execute(update(workspace).where(workspace.c.name == name).values(policy=text))
