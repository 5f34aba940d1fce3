"""The database, ready for use."""

from pathlib import Path

from steelyard.assembly.data_dir import prepare_data_dir
from steelyard.base.errors import SetupFault
from steelyard.config import Settings
from steelyard.control import workspaces
from steelyard.store.database import Database, explain_failure, open_database
from steelyard.store.migrations import migrate


async def open_records(settings: Settings) -> Database:
    """Opens the database with its schema brought up to date and workspace `default` in place.

    Raises:
        SetupFault: it cannot be used, or is newer than this program.
    """

    prepare_data_dir(settings)
    database = open_database(settings.database.url, Path(settings.data_dir))
    try:
        await migrate(database)
        await workspaces.ensure_default(database)
    except SetupFault:
        await database.close()
        raise
    except Exception as exc:
        await database.close()
        raise SetupFault(f"The database cannot be used: {explain_failure(exc)}.") from exc
    return database
