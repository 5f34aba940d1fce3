"""Named statements on keys. A key is kept as its digest; what it allows as short JSON lists."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Row, delete, func, insert, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from steelyard.canon.grant import Grant
from steelyard.canon.limits import NO_LIMITS, Limits
from steelyard.store.schema import api_key


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key as it may be shown: never the secret."""

    masked: str
    created_us: int
    digest: str
    grant: Grant
    #: An access key's secret, sealed.
    sealed_secret: str | None = None


def _record(row: Row[Any]) -> KeyRecord:
    return KeyRecord(
        masked=row.masked,
        created_us=row.created_us,
        digest=row.digest,
        grant=Grant(
            key_id=row.id,
            workspace=row.workspace,
            kind=row.kind,
            name=row.name,
            models=_list(row.models),
            operations=_list(row.operations),
            networks=_list(row.networks),
            tools=() if row.tools is None else _list(row.tools),
            expires_us=row.expires_us,
            is_disabled=row.is_disabled,
            limits=NO_LIMITS if row.limits is None else msgspec.json.decode(row.limits, type=Limits),
            lineage=row.lineage or "",
        ),
        sealed_secret=row.sealed_secret,
    )


def _list(text: str) -> tuple[str, ...]:
    return msgspec.json.decode(text, type=tuple[str, ...])


def _text(values: tuple[str, ...]) -> str:
    return msgspec.json.encode(values).decode()


def _limits_text(limits: Limits) -> str | None:
    return None if limits == NO_LIMITS else msgspec.json.encode(limits).decode()


async def insert_key(connection: AsyncConnection, record: KeyRecord) -> None:
    """Adds a key."""
    grant = record.grant
    await connection.execute(
        insert(api_key).values(
            id=grant.key_id,
            digest=record.digest,
            masked=record.masked,
            name=grant.name,
            workspace=grant.workspace,
            kind=grant.kind,
            models=_text(grant.models),
            operations=_text(grant.operations),
            networks=_text(grant.networks),
            tools=_text(grant.tools) if grant.tools else None,
            created_us=record.created_us,
            expires_us=grant.expires_us,
            is_disabled=grant.is_disabled,
            limits=_limits_text(grant.limits),
            lineage=grant.lineage or None,
            sealed_secret=record.sealed_secret,
        )
    )


async def find_by_digest(connection: AsyncConnection, digest: str) -> KeyRecord | None:
    """The key with this digest."""
    row = (await connection.execute(select(api_key).where(api_key.c.digest == digest))).first()
    return None if row is None else _record(row)


async def find_by_id(connection: AsyncConnection, key_id: str) -> KeyRecord | None:
    """The key with this id."""
    row = (await connection.execute(select(api_key).where(api_key.c.id == key_id))).first()
    return None if row is None else _record(row)


async def find_by_name(connection: AsyncConnection, workspace: str, name: str) -> KeyRecord | None:
    """The newest key of this name in a workspace."""
    query = (
        select(api_key)
        .where(api_key.c.workspace == workspace, api_key.c.name == name)
        .order_by(api_key.c.created_us.desc())
    )
    row = (await connection.execute(query)).first()
    return None if row is None else _record(row)


async def list_keys(connection: AsyncConnection, workspace: str | None) -> list[KeyRecord]:
    """The keys of a workspace, or all; oldest first."""
    query = select(api_key).order_by(api_key.c.created_us, api_key.c.id)
    if workspace is not None:
        query = query.where(api_key.c.workspace == workspace)
    return [_record(row) for row in await connection.execute(query)]


async def list_page(
    connection: AsyncConnection, workspace: str, *, text: str, before: tuple[int, str] | None, limit: int
) -> list[KeyRecord]:
    """Keys of a workspace whose name has the text, or whose id it is, newest first, from before a place on."""
    query = (
        select(api_key)
        .where(api_key.c.workspace == workspace)
        .order_by(api_key.c.created_us.desc(), api_key.c.id.desc())
        .limit(limit)
    )
    if text:
        # an escape character makes SQLite's comparison half as slow again: it is named where it is needed
        has = api_key.c.name.contains(text, autoescape=any(one in text for one in "%_/"))
        query = query.where(or_(has, api_key.c.id == text))
    if before is not None:
        query = query.where(tuple_(api_key.c.created_us, api_key.c.id) < before)
    return [_record(row) for row in await connection.execute(query)]


async def find_names(connection: AsyncConnection, key_ids: Sequence[str]) -> dict[str, str]:
    """What keys are called, those that are still there."""
    rows = await connection.execute(select(api_key.c.id, api_key.c.name).where(api_key.c.id.in_(key_ids)))
    return {row.id: row.name for row in rows}


async def list_limited_keys(connection: AsyncConnection, limit: int) -> list[KeyRecord]:
    """Keys that have limits of their own."""
    rows = await connection.execute(
        select(api_key).where(api_key.c.limits.is_not(None)).order_by(api_key.c.id).limit(limit)
    )
    return [_record(row) for row in rows]


async def count_keys(connection: AsyncConnection) -> int:
    """How many keys there are."""
    return int(await connection.scalar(select(func.count()).select_from(api_key)) or 0)


async def set_disabled(connection: AsyncConnection, key_id: str, is_disabled: bool) -> None:
    """Switches a key off or on."""
    await connection.execute(update(api_key).where(api_key.c.id == key_id).values(is_disabled=is_disabled))


async def set_limits(connection: AsyncConnection, key_id: str, limits: Limits) -> None:
    """Replaces what a key may take."""
    await connection.execute(update(api_key).where(api_key.c.id == key_id).values(limits=_limits_text(limits)))


async def set_expiry(connection: AsyncConnection, key_id: str, expires_us: int) -> None:
    """Ends a key at a time."""
    await connection.execute(update(api_key).where(api_key.c.id == key_id).values(expires_us=expires_us))


async def delete_key(connection: AsyncConnection, key_id: str) -> None:
    """Removes a key for good."""
    await connection.execute(delete(api_key).where(api_key.c.id == key_id))
