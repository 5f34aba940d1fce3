"""The one read that a gateway makes on a key miss."""

from steelyard.canon.grant import Grant
from steelyard.store import keys
from steelyard.store.database import Database


async def find_grant(database: Database, digest: str) -> Grant | None:
    """The grant of the key with this digest."""
    async with database.read() as connection:
        record = await keys.find_by_digest(connection, digest)
    return None if record is None else record.grant
