"""Temporary tokens that were revoked before their time, kept until it has passed."""

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from steelyard.store.insertion import insert_if_absent
from steelyard.store.schema import revocation


async def insert_revocation(connection: AsyncConnection, token_id: str, expires_us: int) -> None:
    """Revokes a token; again changes nothing."""
    await insert_if_absent(connection, revocation, {"token_id": token_id, "expires_us": expires_us})


async def list_revoked(connection: AsyncConnection, now_us: int) -> list[str]:
    """Those whose time has not passed."""
    return list(await connection.scalars(select(revocation.c.token_id).where(revocation.c.expires_us > now_us)))


async def forget_before(connection: AsyncConnection, time_us: int) -> None:
    """Drops those that have expired anyway."""
    await connection.execute(delete(revocation).where(revocation.c.expires_us < time_us))
