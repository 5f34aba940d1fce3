"""Forward steps from one schema to the next. A step is a module `mNNNN_name` with `upgrade(op)`; none is ever changed."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from steelyard.base.errors import SetupFault
from steelyard.store.database import Database, lock_for_migration
from steelyard.store.migrations import (
    m0001_foundation,
    m0002_attempts,
    m0003_limits,
    m0004_revocations,
    m0005_providers,
    m0006_networks,
    m0007_responses,
    m0008_tasks,
    m0009_settled,
    m0010_knowledge,
    m0011_apps,
    m0012_members,
    m0013_quota_wishes,
    m0014_kept_calls,
    m0015_identities,
)

if TYPE_CHECKING:
    from alembic.operations import Operations

STEPS: "tuple[Callable[[Operations], None], ...]" = (
    m0001_foundation.upgrade,
    m0002_attempts.upgrade,
    m0003_limits.upgrade,
    m0004_revocations.upgrade,
    m0005_providers.upgrade,
    m0006_networks.upgrade,
    m0007_responses.upgrade,
    m0008_tasks.upgrade,
    m0009_settled.upgrade,
    m0010_knowledge.upgrade,
    m0011_apps.upgrade,
    m0012_members.upgrade,
    m0013_quota_wishes.upgrade,
    m0014_kept_calls.upgrade,
    m0015_identities.upgrade,
)


async def migrate(database: Database) -> bool:
    """Brings the schema to the newest version; True if anything was done.

    Raises:
        SetupFault: the database is newer than this program.
    """
    async with database.write() as connection:
        await lock_for_migration(database, connection)
        version = await connection.run_sync(_read_version)
        if version > len(STEPS):
            raise SetupFault(
                f"The data is of a newer version of steelyard (schema {version}, this program knows {len(STEPS)}); "
                "install that version or use another data directory."
            )
        if version == len(STEPS):
            return False
        await connection.run_sync(_climb, version)
        return True


def _read_version(connection: Connection) -> int:
    if not inspect(connection).has_table("meta"):
        return 0
    return int(connection.scalar(text("SELECT value FROM meta WHERE name = 'schema_version'")) or 0)


def _climb(connection: Connection, version: int) -> None:
    # only a start that has steps to climb pays for this import
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    op = Operations(MigrationContext.configure(connection, opts={"render_as_batch": True}))
    for step in STEPS[version:]:
        step(op)
    connection.execute(text("DELETE FROM meta WHERE name = 'schema_version'"))
    connection.execute(text("INSERT INTO meta (name, value) VALUES ('schema_version', :v)"), {"v": str(len(STEPS))})
