"""Databases of a real PostgreSQL server, one a test."""

from pathlib import Path

from steelyard.store.database import Database, open_database

_numbers = iter(range(10_000))


async def fresh_postgres(url: str, directory: Path) -> Database:
    from urllib.parse import parse_qs, urlsplit

    import asyncpg

    name = f"t{next(_numbers)}"
    parts = urlsplit(url)
    host = parse_qs(parts.query).get("host", [parts.hostname])[0]
    connection = await asyncpg.connect(user=parts.username, host=host, port=parts.port, database="postgres")
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return open_database(f"postgresql://{parts.username}@/{name}?host={host}", directory)
