"""Named statements on wishes for higher limits."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from steelyard.canon.limits import Limits
from steelyard.canon.quota import OPEN, QuotaWish
from steelyard.store.schema import quota_wish


def _wish(row: Any) -> QuotaWish:
    return QuotaWish(**{**row._mapping, "limits": msgspec.json.decode(row.limits, type=Limits)})


async def insert_wish(connection: AsyncConnection, wish: QuotaWish) -> None:
    """Adds one."""
    values = {**msgspec.structs.asdict(wish), "limits": msgspec.json.encode(wish.limits).decode()}
    await connection.execute(insert(quota_wish).values(**values))


async def find_wish(connection: AsyncConnection, wish_id: str) -> QuotaWish | None:
    """The wish with this id."""
    row = (await connection.execute(select(quota_wish).where(quota_wish.c.id == wish_id))).first()
    return None if row is None else _wish(row)


async def list_wishes(connection: AsyncConnection, workspaces: Sequence[str], limit: int) -> list[QuotaWish]:
    """Those of some workspaces, the newest first."""
    asked = select(quota_wish).where(quota_wish.c.workspace.in_(workspaces))
    rows = await connection.execute(asked.order_by(quota_wish.c.asked_us.desc(), quota_wish.c.id).limit(limit))
    return [_wish(row) for row in rows]


async def count_open(connection: AsyncConnection, workspace: str) -> int:
    """How many of a workspace wait."""
    asked = select(func.count()).where(quota_wish.c.workspace == workspace, quota_wish.c.state == OPEN)
    return int((await connection.execute(asked)).scalar_one())


async def decide(
    connection: AsyncConnection, wish_id: str, state: str, *, decided_by: str, decided_us: int, answer: str
) -> bool:
    """Decides a wish that is open; False where it no longer is."""
    done = await connection.execute(
        update(quota_wish)
        .where(quota_wish.c.id == wish_id, quota_wish.c.state == OPEN)
        .values(state=state, decided_by=decided_by, decided_us=decided_us, answer=answer)
    )
    return bool(done.rowcount)
