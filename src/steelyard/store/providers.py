"""Named statements on providers and routes that were added while running. What they say is short JSON."""

from dataclasses import dataclass

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from steelyard.store.schema import provider, route


@dataclass(frozen=True, slots=True)
class ProviderRecord:
    """A provider. Its key is a reference (`env:`, `file:`) or sealed, never plain."""

    name: str
    spec: str
    api_key: str
    created_us: int


async def list_providers(connection: AsyncConnection) -> list[ProviderRecord]:
    """Oldest first."""
    rows = await connection.execute(select(provider).order_by(provider.c.created_us, provider.c.name))
    return [ProviderRecord(**row._mapping) for row in rows]


async def find_provider(connection: AsyncConnection, name: str) -> ProviderRecord | None:
    """One by name."""
    row = (await connection.execute(select(provider).where(provider.c.name == name))).first()
    return None if row is None else ProviderRecord(**row._mapping)


async def insert_provider(connection: AsyncConnection, record: ProviderRecord) -> None:
    """Adds one."""
    values = {"name": record.name, "spec": record.spec, "api_key": record.api_key, "created_us": record.created_us}
    await connection.execute(insert(provider).values(**values))


async def delete_provider(connection: AsyncConnection, name: str) -> None:
    """Removes one."""
    await connection.execute(delete(provider).where(provider.c.name == name))


async def list_routes(connection: AsyncConnection) -> dict[str, str]:
    """Specs by model name."""
    rows = await connection.execute(select(route.c.model, route.c.spec).order_by(route.c.model))
    return {row.model: row.spec for row in rows}


async def put_route(connection: AsyncConnection, model: str, spec: str, now_us: int) -> None:
    """Adds or replaces one."""
    values = {"spec": spec, "updated_us": now_us}
    done = await connection.execute(update(route).where(route.c.model == model).values(**values))
    if done.rowcount == 0:
        await connection.execute(insert(route).values(model=model, **values))


async def delete_route(connection: AsyncConnection, model: str) -> bool:
    """Removes one; False where there was none."""
    return (await connection.execute(delete(route).where(route.c.model == model))).rowcount == 1
