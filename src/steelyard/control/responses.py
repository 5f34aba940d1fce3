"""Responses that are kept: told again, gone on from, deleted. Each is its workspace's alone."""

from typing import Any

import msgspec

from steelyard.base.clock import MICROS, now_us
from steelyard.base.errors import fault
from steelyard.store import responses
from steelyard.store.database import Database
from steelyard.store.responses import ResponseRecord

#: As the vendor keeps them.
KEEP_S = 7 * 86_400
MAX_LISTED = 100


async def keep(database: Database, workspace: str, response_id: str, body: bytes, items: bytes) -> None:
    """Keeps a response with the items of the conversation up to it, its own output included."""
    async with database.write() as connection:
        await responses.insert(connection, ResponseRecord(response_id, workspace, body, items, now_us()))


async def get(database: Database, workspace: str, response_id: str) -> ResponseRecord:
    """A response.

    Raises:
        Fault: `response_not_found`, also for one of another workspace.
    """
    async with database.read() as connection:
        found = await responses.find(connection, workspace, response_id)
    if found is None or now_us() - found.created_us > KEEP_S * MICROS:
        raise fault("response_not_found", id=response_id[:100])
    return found


async def delete(database: Database, workspace: str, response_id: str) -> None:
    """Deletes a response.

    Raises:
        Fault: `response_not_found`.
    """
    async with database.write() as connection:
        if not await responses.forget(connection, workspace, response_id):
            raise fault("response_not_found", id=response_id[:100])


def list_items(
    record: ResponseRecord, *, after: str = "", limit: int = 20, is_ascending: bool = False
) -> dict[str, Any]:
    """The input of a response as a page, newest first unless asked otherwise."""
    output = {item.get("id") for item in msgspec.json.decode(record.body)["output"]}
    items = [item for item in msgspec.json.decode(record.items) if item.get("id") not in output]
    rows = [{**item, "id": item.get("id") or f"item_{number}_{record.id}"} for number, item in enumerate(items)]
    if not is_ascending:
        rows.reverse()
    if after:
        places = [place for place, row in enumerate(rows) if row["id"] == after]
        rows = rows[places[0] + 1 :] if places else []
    page = rows[: max(1, min(limit, MAX_LISTED))]
    ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {"first_id": None, "last_id": None}
    return {"object": "list", "data": page, "has_more": len(rows) > len(page), **ends}


async def sweep(database: Database) -> None:
    """Deletes what is too old."""
    async with database.write() as connection:
        await responses.forget_before(connection, now_us() - KEEP_S * MICROS)
