"""What becomes of documents whose parsing was lost, on both databases: submitted again, or told."""

from pathlib import Path
from typing import Any

from steelyard.canon.grant import Grant
from steelyard.canon.knowledge import DEFAULT_CATEGORY, FILES_CATEGORY, Document
from steelyard.knowledge.documents import PARSING_PREFIX, Documents
from steelyard.store import knowledge, tasks
from steelyard.store.database import Database
from steelyard.store.objects.blobs import open_blobs
from steelyard.tasks.desk import Desk
from steelyard.tasks.links import Links
from steelyard.tasks.shelf import Shelf


class NoBudgets:
    """No budget is set."""

    async def fulfil(self, _owner: str, _wishes: list[Any]) -> list[Any]:
        return []

    async def release(self, _owner: str) -> None:
        pass


def document(name: str, category: str = DEFAULT_CATEGORY) -> Document:
    return Document(
        id=name, workspace="default", key_id="key_1", category_id=category, name=f"{name}.md", object_id="o", digest="d",
        size_bytes=1, created_us=1, modified_us=1,
    )  # fmt: skip


async def test_lost_parsing(database: Database, tmp_path: Path) -> None:
    """Without a task one is made, once; with one that is over the document says so; files of other APIs wait for a base."""
    shelf = Shelf(database, open_blobs("", tmp_path, {}), Links(b"k" * 32, "http://127.0.0.1"))
    desk = Desk(shelf, NoBudgets(), result_ttl_s=60, deadline_s=60)
    documents = Documents(shelf, desk, index=None)  # type: ignore[arg-type]
    async with database.write() as connection:
        for one in (document("lost"), document("ended"), document("file", FILES_CATEGORY)):
            await knowledge.insert_document(connection, one)
    await documents._submit(document("ended"), Grant(key_id="key_1", workspace="default"))
    await desk.cancel("default", PARSING_PREFIX + "ended")
    await documents.resume_lost()
    await documents.resume_lost()
    async with database.read() as connection:
        found = await knowledge.find_documents(connection, "default", ["lost", "ended", "file"])
        waiting, count = await tasks.list_tasks(connection, workspace="default", status="PENDING", limit=10)
    assert {name: one.status for name, one in found.items()} == {
        "lost": "IN_PARSE_QUEUE", "ended": "PARSE_FAILED", "file": "IN_PARSE_QUEUE",
    }  # fmt: skip
    assert (count, waiting[0].id) == (1, PARSING_PREFIX + "lost")
    assert "add it again" in found["ended"].message
