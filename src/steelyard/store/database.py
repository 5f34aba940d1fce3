"""Opening a database and taking its connections. Every writer takes its lock at once, so it never fails half way."""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import aiosqlite
from sqlalchemy import Connection, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from steelyard.base.errors import SetupFault

BUSY_TIMEOUT_MS = 10_000
_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}


class Database:
    """The records of one installation."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"

    def file_state(self) -> tuple[int, ...] | None:
        """What changes with every write to a SQLite file, so that a poller need not ask it; None elsewhere."""
        if not self.is_sqlite:
            return None
        state: list[int] = []
        for suffix in ("", "-wal"):
            with contextlib.suppress(OSError):
                found = os.stat(f"{self._engine.url.database}{suffix}")
                state += (found.st_size, found.st_mtime_ns)
        return tuple(state)

    def __repr__(self) -> str:
        return f"<Database {self._engine.url.render_as_string(hide_password=True)}>"

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading, with one snapshot."""
        async with self._engine.connect() as connection, connection.begin():
            yield connection

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A connection with a write transaction, committed at the end."""
        async with self._engine.connect() as plain:
            connection = await plain.execution_options(is_writer=True)
            async with connection.begin():
                yield connection

    async def close(self) -> None:
        """Closes every connection."""
        await self._engine.dispose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def open_database(url: str, data_dir: Path) -> Database:
    """Opens `sqlite:///…` (relative paths lie in the data directory) or `postgresql://…`.

    Raises:
        SetupFault: the address is of neither form.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise SetupFault(
            "[database] url is not an address; use sqlite:///FILE or postgresql://USER@HOST/NAME."
        ) from None
    driver = _DRIVERS.get(parsed.get_backend_name())
    if driver is None:
        raise SetupFault(
            f"[database] url: {parsed.drivername}:// is not supported; use sqlite:///FILE or postgresql://…."
        )
    parsed = parsed.set(drivername=driver)
    if driver.startswith("sqlite"):
        parsed = parsed.set(database=str(data_dir / (parsed.database or "steelyard.db")))
        engine = create_async_engine(parsed, connect_args={"async_creator_fn": _connect})
        _prepare_sqlite(engine)
    else:
        # imported where it is used: most installations have a file
        from steelyard.store.postgres_connection import EndingConnection

        options = {"connection_class": EndingConnection}
        engine = create_async_engine(parsed, pool_size=8, max_overflow=8, pool_pre_ping=True, connect_args=options)
    return Database(engine)


class _EndingConnection(aiosqlite.Connection):
    """A connection that takes its transaction back before it is closed.

    SQLite keeps a closed connection alive, its write lock too, for as long as any statement of it is: and one is, in the traceback of
    whoever was cancelled in the midst of it.
    """

    def stop(self) -> asyncio.Future[Any] | None:
        """See `aiosqlite.Connection.stop`."""
        self._tx.put_nowait((None, self._roll_back))
        return super().stop()

    async def close(self) -> None:
        """See `aiosqlite.Connection.close`."""
        if self._running and self._connection is not None:
            await self._execute(self._roll_back)  # type: ignore[no-untyped-call]
        await super().close()

    def _roll_back(self) -> None:
        if self._connection is not None and self._connection.in_transaction:
            self._connection.rollback()


def _connect(*args: Any, **kwargs: Any) -> aiosqlite.Connection:
    """As `aiosqlite.connect`, its thread ending with the process."""
    connection = _EndingConnection(lambda: sqlite3.connect(*args, **kwargs), iter_chunk_size=64)
    connection._thread.daemon = True
    return connection


def _prepare_sqlite(engine: AsyncEngine) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def on_connect(connection: Any, _record: object) -> None:
        # the driver must not begin transactions on its own: see on_begin
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", f"busy_timeout={BUSY_TIMEOUT_MS}", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def on_begin(connection: Connection) -> None:
        is_writer = connection.get_execution_options().get("is_writer", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writer else "BEGIN")


def explain_failure(exc: Exception) -> str:
    """One sentence on why the database could not be used."""
    if isinstance(exc, DBAPIError):
        return str(exc.orig).splitlines()[0]
    return str(exc).splitlines()[0] if str(exc) else type(exc).__name__


async def lock_for_migration(database: Database, connection: AsyncConnection) -> None:
    """Keeps other migrations out until the transaction ends; on SQLite the write lock does that already."""
    if not database.is_sqlite:
        await connection.execute(text("SELECT pg_advisory_xact_lock(8090)"))


__all__ = ["AsyncConnection", "Database", "explain_failure", "lock_for_migration", "open_database"]
