"""The name under which faces hold the database: they pass it to use-cases and never look inside."""

from steelyard.store.database import Database as Records
from steelyard.store.migrations import migrate

__all__ = ["Records", "migrate"]
