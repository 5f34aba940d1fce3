"""Documents of a workspace and the categories that they are in: leased, uploaded, added, parsed, tagged, deleted.

A document is visible to its workspace alone. Deleting one takes its chunks out of every base.
"""

import os
from collections.abc import Sequence

from steelyard.base.clock import MICROS, now_us
from steelyard.base.errors import fault
from steelyard.base.ids import new_request_id
from steelyard.canon.files import StoredObject
from steelyard.canon.grant import Grant
from steelyard.canon.knowledge import (
    DEFAULT_CATEGORY,
    FILES_CATEGORY,
    PARSE_FAILED,
    UNSTRUCTURED,
    Category,
    Document,
    Mark,
)
from steelyard.canon.task import CALLS_LANE, PARSING, TaskAsk
from steelyard.knowledge.index import SearchIndex
from steelyard.knowledge.leases import KEEP_S, UPLOAD_PREFIX, Lease
from steelyard.knowledge.parse import parsers
from steelyard.policy.orders import Order
from steelyard.store import knowledge
from steelyard.store.database import AsyncConnection
from steelyard.store.objects import records
from steelyard.store.objects.blobs import Spool
from steelyard.tasks.desk import Desk
from steelyard.tasks.shelf import Shelf

#: As the vendor has it.
MAX_DOCUMENT_BYTES = 150 * 1024 * 1024
MAX_CATEGORIES = 500
MAX_DOCUMENTS = 100_000
MAX_TOTAL_BYTES = 100 * 1024**3
#: The API by which parsing tasks come: nobody asks for them by themselves.
API = "knowledge"
#: Before a document's id: its parsing as a task, which there is once.
PARSING_PREFIX = "parsing-"
LOST_S = 60
#: Documents stay until they are deleted; links to them do not.
LINK_S = 24 * 3600


class Documents:
    """The use-cases."""

    def __init__(self, shelf: Shelf, desk: Desk, index: SearchIndex) -> None:
        self._shelf = shelf
        self._database = shelf.database
        self._desk = desk
        self._index = index

    # categories

    async def add_category(self, workspace: str, name: str, kind: str, parent_id: str) -> Category:
        """A new category.

        Raises:
            Fault: there are too many, or no such parent.
        """
        if parent_id:
            await self.get_category(workspace, parent_id)
        made = Category(
            id=f"cate_{os.urandom(16).hex()}_{now_us() % 10**8:08d}",
            workspace=workspace,
            name=name,
            type=kind,
            parent_id=parent_id,
            created_us=now_us(),
        )
        async with self._database.write() as connection:
            _, total = await knowledge.list_categories(connection, workspace, limit=1)
            if total >= MAX_CATEGORIES:
                raise fault("knowledge_base_full", detail=f"A workspace may have {MAX_CATEGORIES} categories.")
            await knowledge.insert_category(connection, made)
        return made

    async def get_category(self, workspace: str, category_id: str) -> Category:
        """A category; `default` is there always.

        Raises:
            Fault: `index_parameter`.
        """
        if category_id == DEFAULT_CATEGORY:
            return default_category(workspace)
        async with self._database.read() as connection:
            found = await knowledge.find_category(connection, workspace, category_id)
        if found is None:
            raise fault("index_parameter", name="CategoryId", detail=" There is no such category.", param="CategoryId")
        return found

    async def list_categories(
        self, workspace: str, *, mark: Mark | None, limit: int, **filters: str
    ) -> tuple[list[Category], int]:
        """The newest first, and how many there are."""
        async with self._database.read() as connection:
            return await knowledge.list_categories(connection, workspace, mark=mark, limit=limit, **filters)

    async def delete_category(self, workspace: str, category_id: str) -> None:
        """Removes an empty category.

        Raises:
            Fault: there is none such, or something is in it.
        """
        if category_id == DEFAULT_CATEGORY:
            raise fault("index_parameter", name="CategoryId", detail=" The default category stays.")
        await self.get_category(workspace, category_id)
        async with self._database.write() as connection:
            _, documents = await knowledge.list_documents(connection, workspace, categories=(category_id,), limit=1)
            _, children = await knowledge.list_categories(connection, workspace, limit=1, parent_id=category_id)
            if documents or children:
                raise fault("index_parameter", name="CategoryId", detail=" The category is not empty.")
            await knowledge.delete_category(connection, workspace, category_id)

    # coming in

    def open_spool(self) -> Spool:
        """Where a body goes on its way in."""
        return self._shelf.blobs.open_spool()

    async def keep_upload(self, lease: Lease, spool: Spool) -> StoredObject:
        """Keeps what was uploaded by a lease, in place of what was uploaded by it before."""
        stored = await self._shelf.prepare(spool, workspace=lease.workspace, name=lease.name, ttl_s=KEEP_S)
        key = UPLOAD_PREFIX + lease.id
        async with self._database.write() as connection:
            await records.forget_upload(connection, key)
            await records.insert_upload(connection, key, lease.name, stored, now_us() + KEEP_S * MICROS)
        return stored

    async def add_leased(
        self, grant: Grant, lease_id: str, *, category: Category, parser: str, tags: tuple[str, ...]
    ) -> Document:
        """Makes a document of what was uploaded by a lease; of a lease that was used already the same one.

        Raises:
            Fault: nothing was uploaded by it.
        """
        document_id, key = _id_of_lease(lease_id), UPLOAD_PREFIX + lease_id
        # one transaction: an upload that comes again meanwhile must not take the object away
        async with self._database.write() as connection:
            known = await knowledge.find_document(connection, grant.workspace, document_id)
            if known is not None:
                return known
            found = await records.find_named_upload(connection, grant.workspace, key, now_us())
            if found is None:
                raise fault(
                    "index_parameter", name="LeaseId", detail=" Nothing was uploaded by this lease.", param="LeaseId"
                )
            name, stored = found
            made = _document(document_id, grant, name, stored, category, parser, tags)
            await self._check_room(connection, grant.workspace, 1)
            await knowledge.insert_document(connection, made)
            await records.release_upload(connection, key)
            await records.set_keeping(connection, stored.id, None)
        await self._submit(made, grant)
        return made

    async def gather(self, grant: Grant, wanted: Sequence[str]) -> dict[str, Document]:
        """Documents by their ids, in this order; of a file of another API its document, made where there is none yet.

        Such a document is read when a base takes it in.

        Raises:
            Fault: `file_not_found`: one is neither, and none was made.
        """
        ids = tuple(dict.fromkeys(wanted))
        async with self._database.read() as connection:
            known = await knowledge.find_documents(connection, grant.workspace, ids)
        lacking = [one for one in ids if one not in known]
        if lacking:
            category = Category(id=FILES_CATEGORY, workspace=grant.workspace, name=FILES_CATEGORY)
            async with self._database.write() as connection:
                await self._check_room(connection, grant.workspace, len(lacking))
                for file_id in lacking:
                    file = await records.find_file(connection, grant.workspace, file_id)
                    if file is None:
                        raise fault("file_not_found", id=file_id[:100])
                    known[file_id] = _document(file.id, grant, file.object.name, file.object, category)
                    await knowledge.insert_document(connection, known[file_id])
        return {one: known[one] for one in ids}

    @staticmethod
    async def _check_room(connection: AsyncConnection, workspace: str, more: int) -> None:
        _, count = await knowledge.list_documents(connection, workspace, limit=1)
        _, size_bytes = await records.sum_sizes(connection, workspace)
        if count + more > MAX_DOCUMENTS or size_bytes > MAX_TOTAL_BYTES:
            raise fault("storage_full")

    async def _submit(self, made: Document, grant: Grant) -> None:
        ask = TaskAsk(kind=PARSING, model="", api=API, service=PARSING, settings={"document": made.id})
        order = Order(request_id=new_request_id(), grant=grant, ask=ask, lane=CALLS_LANE)
        await self._desk.submit(order, task_id=PARSING_PREFIX + made.id)

    async def resume_lost(self) -> None:
        """Documents whose parsing never came to be are submitted again; those whose parsing ended without them are told so."""
        now = now_us()
        async with self._database.read() as connection:
            waiting = await knowledge.list_unparsed(connection, now - LOST_S * MICROS, FILES_CATEGORY)
        for document in waiting:
            task = await self._desk.find(document.workspace, PARSING_PREFIX + document.id)
            if task is None:
                await self._submit(document, Grant(key_id=document.key_id, workspace=document.workspace))
            elif task.task.is_over:
                async with self._database.write() as connection:
                    message = "it could not be read in time; add it again"
                    await knowledge.update_document(
                        connection,
                        document.id,
                        status=PARSE_FAILED,
                        code="ParsingEnded",
                        message=message,
                        modified_us=now,
                    )

    # telling

    async def get(self, workspace: str, document_id: str) -> Document:
        """A document.

        Raises:
            Fault: `document_not_found`.
        """
        async with self._database.read() as connection:
            found = await knowledge.find_document(connection, workspace, document_id)
        if found is None:
            raise fault("document_not_found", id=document_id[:100])
        return found

    async def find_all(self, workspace: str, document_ids: Sequence[str]) -> dict[str, Document]:
        """Those that there are, by id."""
        async with self._database.read() as connection:
            return await knowledge.find_documents(connection, workspace, document_ids)

    async def list_page(
        self, workspace: str, categories: Sequence[str], *, name_part: str, mark: Mark | None, limit: int
    ) -> tuple[list[Document], int]:
        """The newest first, and how many there are."""
        async with self._database.read() as connection:
            return await knowledge.list_documents(
                connection, workspace, categories=categories, name_part=name_part, mark=mark, limit=limit
            )

    async def links_of(self, document: Document) -> tuple[str, str]:
        """Where the document itself and what it was parsed into can be fetched, for a day; '' where there is none."""
        until_us = now_us() + LINK_S * MICROS
        async with self._database.read() as connection:
            found = [await records.find_object(connection, one) for one in (document.object_id, document.blocks_id)]
        origin, parsed = ("" if one is None else self._shelf.links.sign(one, until_us) for one in found)
        return origin, parsed

    # changing

    async def set_tags(self, workspace: str, document_id: str, tags: tuple[str, ...]) -> Document:
        """Replaces a document's tags."""
        await self.get(workspace, document_id)
        async with self._database.write() as connection:
            await knowledge.update_document(connection, document_id, tags=tags, modified_us=now_us())
        return await self.get(workspace, document_id)

    async def delete(self, workspace: str, document_id: str) -> None:
        """Removes a document, from every base too.

        Raises:
            Fault: `document_not_found`.
        """
        document = await self.get(workspace, document_id)
        async with self._database.read() as connection:
            bases = await knowledge.list_bases_of(connection, workspace, document_id)
        # the index first: what is killed between the two is deleted again, and nothing is found of a document that is gone
        for base_id in bases:
            await self._index.delete_document(base_id, document_id)
        async with self._database.write() as connection:
            await knowledge.delete_document(connection, document_id)
            if document.category_id != FILES_CATEGORY:
                await records.delete_object(connection, document.object_id)
            if document.blocks_id:
                await records.delete_object(connection, document.blocks_id)

    async def forget_file(self, workspace: str, file_id: str) -> None:
        """A file is gone: so is its document."""
        async with self._database.read() as connection:
            known = await knowledge.find_document(connection, workspace, file_id)
        if known is not None:
            await self.delete(workspace, file_id)


def default_category(workspace: str) -> Category:
    """The category that is there always."""
    return Category(id=DEFAULT_CATEGORY, workspace=workspace, name="Default", type=UNSTRUCTURED)


def is_readable(name: str) -> bool:
    """Whether a document of this name can be read at all."""
    return "." in name and "." + name.rpartition(".")[2].lower() in parsers()


def _document(
    document_id: str,
    grant: Grant,
    name: str,
    stored: StoredObject,
    category: Category,
    parser: str = "",
    tags: tuple[str, ...] = (),
) -> Document:
    now = now_us()
    return Document(
        id=document_id,
        workspace=grant.workspace,
        key_id=grant.key_id,
        category_id=category.id,
        category_type=category.type,
        name=name,
        object_id=stored.id,
        digest=stored.digest,
        size_bytes=stored.size_bytes,
        parser=parser,
        tags=tags,
        created_us=now,
        modified_us=now,
    )


def _id_of_lease(lease_id: str) -> str:
    """A document's id in the vendor's form; one lease makes one document, however often it is asked."""
    random, _, made = lease_id.partition(".")
    return f"file_{random}_{made[-8:]}"
