"""Named statements on plugins. Secrets in their specs are references or sealed."""

from typing import Any

import msgspec
from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from steelyard.canon.apps import Plugin, PluginSpec, ToolSpec
from steelyard.store.schema import plugin


def _plugin(row: Row[Any]) -> Plugin:
    spec = msgspec.json.decode(row.spec, type=PluginSpec)
    tools = msgspec.json.decode(row.tools, type=tuple[ToolSpec, ...])
    return Plugin(**{**row._mapping, "spec": spec, "tools": tools})


def _values(one: Plugin) -> dict[str, Any]:
    texts = {name: msgspec.json.encode(getattr(one, name)).decode() for name in ("spec", "tools")}
    return {**msgspec.structs.asdict(one), **texts}


async def insert_plugin(connection: AsyncConnection, one: Plugin) -> None:
    """Adds a plugin."""
    await connection.execute(insert(plugin).values(**_values(one)))


async def find_plugin(connection: AsyncConnection, workspace: str, name: str) -> Plugin | None:
    """A plugin of a workspace."""
    row = (
        await connection.execute(select(plugin).where(plugin.c.workspace == workspace, plugin.c.name == name))
    ).first()
    return None if row is None else _plugin(row)


async def list_plugins(connection: AsyncConnection, workspace: str) -> list[Plugin]:
    """A workspace's plugins by name."""
    rows = await connection.execute(select(plugin).where(plugin.c.workspace == workspace).order_by(plugin.c.name))
    return [_plugin(row) for row in rows]


async def list_switches(connection: AsyncConnection) -> list[tuple[str, str, bool]]:
    """(workspace, name, is_enabled) of every plugin."""
    rows = await connection.execute(select(plugin.c.workspace, plugin.c.name, plugin.c.is_enabled))
    return [(row.workspace, row.name, row.is_enabled) for row in rows]


async def change_plugin(connection: AsyncConnection, one: Plugin) -> None:
    """Writes a plugin anew."""
    where = (plugin.c.workspace == one.workspace, plugin.c.name == one.name)
    await connection.execute(update(plugin).where(*where).values(**_values(one)))


async def delete_plugin(connection: AsyncConnection, workspace: str, name: str) -> bool:
    """Deletes a plugin; False where there is none."""
    done = await connection.execute(delete(plugin).where(plugin.c.workspace == workspace, plugin.c.name == name))
    return done.rowcount > 0
