"""Inserting what somebody else may be inserting at the same moment: the database decides between two."""

from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection


async def insert_if_absent(connection: AsyncConnection, table: Table, values: dict[str, Any]) -> bool:
    """Adds a row; False where its key is there already, and nothing was changed."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    return (await connection.execute(insert(table).values(**values).on_conflict_do_nothing())).rowcount == 1
