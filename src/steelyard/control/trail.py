"""The audit trail: what gateways tell, and what admins read."""

from typing import Any

from steelyard.base.clock import now_us
from steelyard.store import audit
from steelyard.store.database import Database

MAX_ENTRIES = 1000


async def note(database: Database, *, action: str, workspace: str, actor: str, subject: str, detail: str) -> None:
    """Adds what a gateway saw."""
    told = f"{workspace}: {detail}"
    async with database.write() as connection:
        await audit.append(connection, actor=actor, action=action, subject=subject, detail=told, now_us=now_us())


async def list_entries(database: Database, limit: int, prefix: str = "") -> list[dict[str, Any]]:
    """The newest entries first, those alone whose action begins with the prefix."""
    async with database.read() as connection:
        return await audit.list_entries(connection, min(limit, MAX_ENTRIES), prefix)
