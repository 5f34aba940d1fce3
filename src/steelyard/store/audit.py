"""The audit trail: one row for each change of state, in the same transaction. Never a secret, never a prompt."""

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from steelyard.store.schema import audit


async def append(
    connection: AsyncConnection, *, actor: str, action: str, subject: str, detail: str = "", now_us: int
) -> None:
    """Adds an entry."""
    values = {"at_us": now_us, "actor": actor, "action": action, "subject": subject, "detail": detail}
    await connection.execute(insert(audit).values(**values))


async def list_entries(connection: AsyncConnection, limit: int, prefix: str = "") -> list[dict[str, object]]:
    """The newest entries first, those alone whose action begins with the prefix."""
    query = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if prefix:
        query = query.where(audit.c.action.startswith(prefix, autoescape=True))
    rows = await connection.execute(query)
    return [dict(row._mapping) for row in rows]
