"""The monitor's files: each is a database that is made where it is not, and set aside where it is damaged."""

import logging
import sqlite3
import time
from pathlib import Path

log = logging.getLogger("steelyard.monitor")


def open_file(path: Path, schema: str, what: str) -> sqlite3.Connection:
    """A file, ready for use. One that is no database any more is set aside, since monitoring goes on without the past.

    Args:
        what: is kept in it, for the log.

    Raises:
        sqlite3.OperationalError: the disk is full, or the file is locked; what is there is good.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    try:
        file.execute("PRAGMA journal_mode=WAL")
        file.execute("PRAGMA synchronous=FULL")
        file.executescript(schema)
    except sqlite3.OperationalError:
        file.close()
        raise
    except sqlite3.DatabaseError as exc:
        file.close()
        aside = path.with_suffix(f".damaged-{time.time_ns()}")
        path.rename(aside)
        log.error("%s is damaged (%s); it was set aside as %s", what, exc, aside.name)
        return open_file(path, schema, what)
    return file
