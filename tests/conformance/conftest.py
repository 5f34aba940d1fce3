"""The same suite over both databases: SQLite in a file, and PostgreSQL from a wheel."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from postgres import fresh_postgres
from steelyard.store.database import Database, open_database
from steelyard.store.migrations import migrate


@pytest.fixture(params=["sqlite", "postgresql"])
async def empty(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        database = open_database("sqlite:///test.db", tmp_path)
    else:
        database = await fresh_postgres(request.getfixturevalue("postgres_url"), tmp_path)
    yield database
    await database.close()


@pytest.fixture
async def database(empty: Database) -> Database:
    """A database with the newest schema."""
    await migrate(empty)
    return empty
