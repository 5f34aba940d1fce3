"""Documents on their way into bases, as tasks: read, cut, embedded, indexed. Each step may be done twice and changes nothing then.

A document's chunks come into the index all at once, and its state is told after that: a worker that is killed between the two does it
again, and the index holds the same as before. What was not changed since is not made anew.
"""

import asyncio
import logging
from hashlib import sha256

import msgspec

from steelyard.base.clock import MICROS, now_us
from steelyard.base.errors import Fault
from steelyard.canon.knowledge import (
    FINISH,
    INSERT_ERROR,
    PARSE_FAILED,
    BaseDocument,
    Cutting,
    Document,
    KnowledgeBase,
)
from steelyard.canon.model import LOCAL_PREFIX, Model
from steelyard.canon.task import Outcome, TaskFailure
from steelyard.knowledge.chunks import Chunk, ChunkOptions, cut_chunks
from steelyard.knowledge.index import IndexedChunk, SearchIndex, indexed_text
from steelyard.knowledge.models import DOCUMENT, Models
from steelyard.knowledge.reading import Reading, Unreadable
from steelyard.store import knowledge
from steelyard.store.database import Database
from steelyard.tasks.caller import Rights, rights_of
from steelyard.tasks.job import Again, Done, Failed, Job, Stopped

log = logging.getLogger("steelyard.knowledge")

#: Part of every fingerprint: raised where documents are cut or indexed otherwise than before.
VERSION = 2
#: Documents of one job at once: one where the embedded models work, since they use what cores may be used, and more where a vendor's do.
DOCUMENTS_AT_ONCE, DOCUMENTS_AT_VENDORS = 1, 4
#: Its vectors are in memory until all of them are indexed.
MAX_CHUNKS = 20_000
#: Chunks embedded before the next look whether the job goes on.
PORTION = 200


class ParsingRunner:
    """Reads one document."""

    def __init__(self, database: Database, reading: Reading) -> None:
        self._database = database
        self._reading = reading

    async def run(self, job: Job, _model: Model | None) -> Done:
        """See `job.Runner`."""
        async with self._database.read() as connection:
            document = await knowledge.find_document(connection, job.task.workspace, job.ask.settings["document"])
        if document is not None:
            try:
                await self._reading.read(document)
            except Unreadable as failure:
                raise Failed(TaskFailure(code="DocumentUnreadable", message=str(failure))) from None
        return Done(Outcome())


class _Refused(Exception):
    """A document does not come into the base."""

    def __init__(self, status: str, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class IngestionRunner:
    """Takes a job's documents into its base."""

    def __init__(self, database: Database, reading: Reading, index: SearchIndex, models: Models) -> None:
        self._database = database
        self._reading = reading
        self._index = index
        self._models = models
        #: Documents of the same bytes in one base come one after the other, so that the second is known for what it is.
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}

    async def run(self, job: Job, _model: Model | None) -> Done:
        """See `job.Runner`."""
        base = await self._find_base(job)
        waiting = await self._list_waiting(job, base)
        total = len(job.ask.settings["documents"])
        done = total - len(waiting)
        is_local = any(space.startswith(LOCAL_PREFIX) for space in base.spec.spaces)
        slots = asyncio.Semaphore(DOCUMENTS_AT_ONCE if is_local else DOCUMENTS_AT_VENDORS)
        await job.tell_progress(done, total)

        async def one(row: BaseDocument) -> None:
            nonlocal done
            async with slots:
                if await job.is_cancelling():
                    raise Stopped
                await self._take_in(job, base, row)
                done += 1
                await job.tell_progress(done, total)

        tasks = [asyncio.create_task(one(row)) for row in waiting]
        try:
            await asyncio.gather(*tasks)
        except Stopped:
            await self._refuse_waiting(job, base, "Cancelled", "the job was cancelled")
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        async with self._database.read() as connection:
            counted = await knowledge.count_base_documents(connection, base.id, job.task.id)
        return Done(Outcome(extra={"documents": counted}), count=total)

    async def _find_base(self, job: Job) -> KnowledgeBase:
        async with self._database.read() as connection:
            base = await knowledge.find_base(connection, job.task.workspace, job.ask.settings["base"])
        if base is None:
            raise Failed(TaskFailure(code="Index.NotFound", message="The knowledge base was deleted."))
        return base

    async def _list_waiting(self, job: Job, base: KnowledgeBase) -> list[BaseDocument]:
        """What of the job is not over yet, in its order."""
        found: list[BaseDocument] = []
        wanted: list[str] = job.ask.settings["documents"]
        for start in range(0, len(wanted), knowledge.PORTION):
            async with self._database.read() as connection:
                rows, _ = await knowledge.list_base_documents(
                    connection, base.id, document_ids=wanted[start : start + knowledge.PORTION],
                    limit=knowledge.PORTION,
                )  # fmt: skip
            known = {row.document_id: row for row in rows}
            # what was taken out of the base meanwhile, or is another job's by now, is not this one's to do
            found += [
                known[one]
                for one in wanted[start : start + knowledge.PORTION]
                if one in known and known[one].job_id == job.task.id and not _is_over(known[one])
            ]
        return found

    async def _refuse_waiting(self, job: Job, base: KnowledgeBase, code: str, message: str) -> None:
        for row in await self._list_waiting(job, base):
            await self._set(row, status=INSERT_ERROR, code=code, message=message)

    async def _take_in(self, job: Job, base: KnowledgeBase, row: BaseDocument) -> None:
        """One document, from wherever it was left."""
        try:
            count, fingerprint = await self._index_document(job, base, row)
        except _Refused as refused:
            await self._set(row, status=refused.status, code=refused.code, message=str(refused))
        except Unreadable as failure:
            await self._set(row, status=PARSE_FAILED, code="DocumentUnreadable", message=str(failure))
        except Fault as failure:
            if failure.is_retryable:
                raise Again(failure.message, failure.retry_after_s or 2.0) from None
            await self._set(row, status=INSERT_ERROR, code=failure.native_code, message=failure.message.strip())
        else:
            is_there = await self._set(
                row, status=FINISH, code=FINISH, message="", chunk_count=count, fingerprint=fingerprint
            )
            if not is_there:
                # it was taken out of the base while it came in
                await self._index.delete_document(base.id, row.document_id)

    async def _set(self, row: BaseDocument, **values: object) -> bool:
        async with self._database.write() as connection:
            return await knowledge.update_base_document(
                connection, row.base_id, row.document_id, **values, modified_us=now_us()
            )

    async def _index_document(self, job: Job, base: KnowledgeBase, row: BaseDocument) -> tuple[int, str]:
        """(chunks, what they were made from)"""
        async with self._database.read() as connection:
            document = await knowledge.find_document(connection, base.workspace, row.document_id)
        if document is None:
            raise _Refused(INSERT_ERROR, "DocumentDeleted", "the document was deleted")
        lock = self._locks.setdefault((base.id, document.digest), asyncio.Lock())
        try:
            async with lock:
                return await self._index_once(job, base, row, document)
        finally:
            if not lock.locked():
                self._locks.pop((base.id, document.digest), None)

    async def _index_once(
        self, job: Job, base: KnowledgeBase, row: BaseDocument, document: Document
    ) -> tuple[int, str]:
        fingerprint = fingerprint_of(document, row.cutting, base.spec.spaces)
        if fingerprint == row.fingerprint:
            return row.chunk_count, fingerprint
        async with self._database.read() as connection:
            same = await knowledge.find_same(connection, base.id, document.digest, document.id)
        if same is not None:
            said = f"the base has the same content already as {same.name} ({same.document_id})"
            raise _Refused(INSERT_ERROR, "DocumentDuplicate", said)
        blocks = await self._reading.read(document)
        try:
            chunks = await asyncio.to_thread(cut_chunks, blocks, options_of(row.cutting))
        except ValueError as exc:
            raise _Refused(INSERT_ERROR, "ChunkOptionsInvalid", str(exc)) from None
        if not chunks:
            raise _Refused(INSERT_ERROR, "DocumentEmpty", "the document has no text to be found")
        if len(chunks) > MAX_CHUNKS:
            said = f"the document makes {len(chunks):,} chunks; {MAX_CHUNKS:,} are allowed"
            raise _Refused(INSERT_ERROR, "DocumentTooLarge", said)
        indexed = [chunk_of(base, document, number, chunk, row) for number, chunk in enumerate(chunks)]
        vectors = await self._embed(job, base, indexed)
        await self._index.put_document(base.id, document.id, indexed, vectors)
        return len(indexed), fingerprint

    async def _embed(self, job: Job, base: KnowledgeBase, indexed: list[IndexedChunk]) -> dict[str, list[list[float]]]:
        """Vectors by space. What the index has of the very same text already is not asked for again."""
        document = indexed[0].document
        known = await self._index.find_vectors(base.id, document)
        rights = rights_of(job.task, is_inner=True)
        texts = [indexed_text(one) for one in indexed]
        return {
            space: await self._embed_in(job, rights, space, texts, known.get(space, {})) for space in base.spec.spaces
        }

    async def _embed_in(
        self, job: Job, rights: Rights, space: str, texts: list[str], known: dict[str, list[float]]
    ) -> list[list[float]]:
        made = dict(known)
        lacking = [text for text in dict.fromkeys(texts) if text not in made]
        for start in range(0, len(lacking), PORTION):
            if start and await job.is_cancelling():
                raise Stopped
            portion = lacking[start : start + PORTION]
            left_s = (job.claimed.deadline_us - now_us()) / MICROS
            rows = await self._models.embed(rights, space, portion, DOCUMENT, within_s=left_s)
            made |= dict(zip(portion, rows, strict=True))
        return [made[text] for text in texts]


def _is_over(row: BaseDocument) -> bool:
    return row.status in (FINISH, INSERT_ERROR, PARSE_FAILED)


def options_of(cutting: Cutting) -> ChunkOptions:
    """How a document is cut."""
    return ChunkOptions(size=cutting.size, overlap=cutting.overlap, mode=cutting.mode, separator=cutting.separator)


def fingerprint_of(document: Document, cutting: Cutting, spaces: tuple[str, ...]) -> str:
    """Of all that a document's chunks are made from."""
    made_from = (VERSION, document.digest, document.name, msgspec.to_builtins(cutting), spaces)
    return sha256(msgspec.json.encode(made_from)).hexdigest()


def chunk_of(base: KnowledgeBase, document: Document, number: int, chunk: Chunk, row: BaseDocument) -> IndexedChunk:
    """A chunk as it is kept; its id has the vendor's form."""
    title = document.name.rpartition(".")[0] or document.name
    return IndexedChunk(
        id=f"{base.workspace}_{base.id}_{document.id}_0_{number}",
        document=document.id,
        number=number,
        text=chunk.text,
        name=document.name,
        title=title,
        headings=chunk.headings if row.cutting.keeps_headings else (),
        place=chunk.place,
    )
