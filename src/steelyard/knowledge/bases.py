"""Knowledge bases: made, listed, filled, emptied, deleted; their jobs and their chunks. A base is visible to its workspace alone."""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from steelyard.base import ids
from steelyard.base.clock import MICROS, now_us
from steelyard.base.errors import fault
from steelyard.base.ids import new_request_id
from steelyard.canon.grant import Grant
from steelyard.canon.knowledge import (
    RUNNING,
    BaseDocument,
    BaseSpec,
    Cutting,
    Document,
    KnowledgeBase,
    Mark,
)
from steelyard.canon.model import Model
from steelyard.canon.task import CALLS_LANE, INGESTION, Task, TaskAsk
from steelyard.knowledge.chunks import check_options
from steelyard.knowledge.index import IndexedChunk, SearchIndex, indexed_text
from steelyard.knowledge.ingestion import options_of
from steelyard.knowledge.models import DOCUMENT, EMBEDDED, FUSION_MODEL, Models
from steelyard.knowledge.retrieval import NO_RERANK
from steelyard.policy.orders import Order
from steelyard.store import knowledge
from steelyard.store.database import Database
from steelyard.tasks.caller import Rights, inner_rights
from steelyard.tasks.desk import Desk

API = "knowledge"
MAX_BASES = 10_000
MAX_DOCUMENTS_IN_JOB = 10_000
#: A job's documents are known by then whether they came in.
JOB_DEADLINE_S = 7 * 86_400
ABANDONED_S = 60
EMBED_S = 20.0
MAX_CHUNK_CHARS = 6000
_ID_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"

FindModel = Callable[[str], Awaitable[Model | None]]


@dataclass(frozen=True, slots=True)
class JobState:
    """A job, and where its documents are: status -> how many."""

    task: Task
    counts: dict[str, int]
    eta_s: float | None


class Bases:
    """The use-cases."""

    def __init__(
        self, database: Database, desk: Desk, index: SearchIndex, models: Models, find_model: FindModel
    ) -> None:
        self._database = database
        self._desk = desk
        self._index = index
        self._models = models
        self._find_model = find_model

    # bases

    async def create(self, grant: Grant, name: str, spec: BaseSpec) -> KnowledgeBase:
        """A new, empty base.

        Raises:
            Fault: what is said of it contradicts itself, or a model is unknown.
        """
        spaces = await self._spaces_of(spec.embedding_model)
        spec = msgspec.structs.replace(
            spec, spaces=spaces, rerank_model=await self._rerank_of(spec.rerank_model, spaces)
        )
        check_cutting(spec.cutting)
        now = now_us()
        made = KnowledgeBase(
            id="".join(secrets.choice(_ID_LETTERS) for _ in range(12)),
            workspace=grant.workspace,
            name=name,
            spec=spec,
            created_us=now,
            modified_us=now,
        )
        async with self._database.write() as connection:
            _, count = await knowledge.list_bases(connection, grant.workspace, limit=1)
            if count >= MAX_BASES:
                raise fault("knowledge_base_full", detail=f"A workspace may have {MAX_BASES} knowledge bases.")
            await knowledge.insert_base(connection, made)
        return made

    async def _spaces_of(self, name: str) -> tuple[str, ...]:
        """The models that a base is embedded by: both embedded ones, unless another is chosen that is really there."""
        embedded = [one for one in EMBEDDED if await self._find_model(one) is not None]
        if not name and embedded:
            return tuple(embedded)
        model = await self._find_model(name) if name else None
        if model is None:
            raise fault(
                "parameter_invalid",
                detail=f"There is no embedding model {name!r}."
                if name
                else "No embedding model is installed; name one.",
                param="embedding_model",
            )
        if model.is_stand_in and embedded:
            return tuple(embedded)
        if "embeddings" not in model.targets[0].operations:
            raise fault("parameter_invalid", detail=f"{name} makes no embeddings.", param="embedding_model")
        return (name,)

    async def _rerank_of(self, name: str, spaces: tuple[str, ...]) -> str:
        """The model of the second look; '' leaves it to the fusion of what is at hand, where that is all it needs."""
        model = await self._find_model(name) if name else None
        if model is None or model.is_stand_in:
            if set(EMBEDDED) <= set(spaces):
                return ""
            return FUSION_MODEL if await self._find_model(FUSION_MODEL) is not None else NO_RERANK
        if "rerank" not in model.targets[0].operations:
            raise fault("parameter_invalid", detail=f"{name} does not rerank.", param="rerank_model")
        return name

    async def get(self, workspace: str, base_id: str) -> KnowledgeBase:
        """A base.

        Raises:
            Fault: `knowledge_base_not_found`.
        """
        async with self._database.read() as connection:
            found = await knowledge.find_base(connection, workspace, base_id)
        if found is None:
            raise fault("knowledge_base_not_found", id=base_id[:100])
        return found

    async def list_page(
        self, workspace: str | None, *, name_part: str = "", mark: Mark | None = None, offset: int = 0, limit: int
    ) -> tuple[list[KnowledgeBase], int]:
        """The newest first, and how many there are."""
        async with self._database.read() as connection:
            return await knowledge.list_bases(
                connection, workspace, name_part=name_part, mark=mark, offset=offset, limit=limit
            )

    async def change(self, base: KnowledgeBase, *, name: str | None = None, **spec: object) -> KnowledgeBase:
        """Changes what is said of a base."""
        changed = msgspec.structs.replace(
            base,
            name=base.name if name is None else name,
            spec=msgspec.structs.replace(base.spec, **spec),
            modified_us=now_us(),
        )
        async with self._database.write() as connection:
            await knowledge.update_base(connection, changed)
        return changed

    async def delete(self, workspace: str, base_id: str) -> None:
        """Removes a base with its chunks; its documents stay.

        Raises:
            Fault: `knowledge_base_not_found`.
        """
        base = await self.get(workspace, base_id)
        # the index first: what is killed between the two is deleted again, and nothing is found of a base that is gone
        await self._index.drop_base(base.id)
        async with self._database.write() as connection:
            await knowledge.delete_base(connection, base.id)

    # jobs

    async def submit(
        self,
        grant: Grant,
        base: KnowledgeBase,
        documents: Sequence[Document],
        *,
        cutting: Cutting | None = None,
        metadata: dict[str, dict[str, Any]] | None = None,
        webhook: str = "",
    ) -> str:
        """Takes documents into a base, or takes them in anew; the job's id. When it returns, the job survives every process.

        Raises:
            Fault: too many at once, or the options contradict each other.
        """
        if len(documents) > MAX_DOCUMENTS_IN_JOB:
            raise fault("knowledge_base_full", detail=f"A job may have {MAX_DOCUMENTS_IN_JOB} documents.")
        cutting = cutting or base.spec.cutting
        check_cutting(cutting)
        job_id = ids.new_id("job")[4:] + secrets.token_hex(8)
        now = now_us()
        rows = [
            BaseDocument(
                base_id=base.id, document_id=one.id, workspace=base.workspace, name=one.name,
                size_bytes=one.size_bytes, status=RUNNING, cutting=cutting, metadata=(metadata or {}).get(one.id, {}),
                job_id=job_id, created_us=now + number, modified_us=now,
            )
            for number, one in enumerate(documents)
        ]  # fmt: skip
        async with self._database.write() as connection:
            for row in rows:
                await knowledge.put_base_document(connection, row)
        ask = TaskAsk(
            kind=INGESTION, model="", api=API, service=INGESTION, webhook=webhook,
            settings={"base": base.id, "documents": [one.id for one in documents]},
        )  # fmt: skip
        order = Order(request_id=new_request_id(), grant=grant, ask=ask, lane=CALLS_LANE)
        await self._desk.submit(order, task_id=job_id, total=len(documents), deadline_s=JOB_DEADLINE_S)
        return job_id

    async def get_job(self, workspace: str, base_id: str, job_id: str) -> JobState:
        """A job of a base.

        Raises:
            Fault: `task_not_found`.
        """
        task = (await self._desk.get(workspace, job_id)).task
        if task.kind != INGESTION or task.ask.settings["base"] != base_id:
            raise fault("task_not_found", id=job_id[:100])
        async with self._database.read() as connection:
            counts = await knowledge.count_base_documents(connection, base_id, job_id)
        return JobState(task, counts, _eta_s(task))

    async def cancel_job(self, workspace: str, base_id: str, job_id: str) -> JobState:
        """Stops a job; what has come in stays."""
        await self.get_job(workspace, base_id, job_id)
        await self._desk.ask_to_cancel(workspace, job_id)
        return await self.get_job(workspace, base_id, job_id)

    async def refuse_abandoned(self) -> None:
        """Documents of jobs that ended without them are told so."""
        now = now_us()
        async with self._database.write() as connection:
            await knowledge.refuse_abandoned(connection, now, now - ABANDONED_S * MICROS)

    async def sweep_index(self) -> int:
        """Removes chunks of documents that are gone; how many documents. A process may have ended between the two steps of a deletion."""
        async with self._database.read() as connection:
            _, bases = await knowledge.list_bases(connection, None, limit=1)
        if not bases:
            # nothing can be found without a base, and a process that has none need not open the index for this
            return 0
        removed, known_of, known = 0, "", frozenset[str]()
        for base_id, document_id in sorted(await self._index.list_owners()):
            if base_id != known_of:
                async with self._database.read() as connection:
                    known_of, known = base_id, await knowledge.list_document_ids(connection, base_id)
            if document_id not in known:
                await self._index.delete_document(base_id, document_id)
                removed += 1
        return removed

    # documents

    async def list_documents(
        self, base_id: str, *, offset: int = 0, limit: int, **filters: Any
    ) -> tuple[list[BaseDocument], int]:
        """The newest first, and how many there are."""
        async with self._database.read() as connection:
            return await knowledge.list_base_documents(connection, base_id, offset=offset, limit=limit, **filters)

    async def get_document(self, base_id: str, document_id: str) -> BaseDocument:
        """A document in a base.

        Raises:
            Fault: `document_not_found`.
        """
        async with self._database.read() as connection:
            found = await knowledge.find_base_document(connection, base_id, document_id)
        if found is None:
            raise fault("document_not_found", id=document_id[:100])
        return found

    async def set_attributes(self, base_id: str, document_id: str, attributes: dict[str, Any]) -> BaseDocument:
        """Replaces what is said of a document in a base.

        Raises:
            Fault: `document_not_found`.
        """
        async with self._database.write() as connection:
            await knowledge.update_base_document(connection, base_id, document_id, metadata=attributes)
        return await self.get_document(base_id, document_id)

    async def count_documents(self, base_id: str) -> tuple[dict[str, int], int]:
        """How many there are by status, and their bytes."""
        async with self._database.read() as connection:
            counts = await knowledge.count_base_documents(connection, base_id)
            return counts, await knowledge.sum_base_bytes(connection, base_id)

    async def remove_documents(self, base: KnowledgeBase, document_ids: Sequence[str]) -> list[str]:
        """Takes documents out of a base; those that were in it."""
        removed = []
        for document_id in document_ids:
            await self._index.delete_document(base.id, document_id)
            async with self._database.write() as connection:
                is_removed = await knowledge.delete_base_document(connection, base.id, document_id)
            if is_removed:
                removed.append(document_id)
        return removed

    # chunks

    async def list_chunks(
        self, base: KnowledgeBase, document_id: str | None, *, offset: int, limit: int
    ) -> tuple[list[IndexedChunk], int]:
        """Chunks in their documents' order, and how many there are."""
        return await self._index.list_chunks(base.id, document_id, offset=offset, limit=limit)

    async def add_chunk(
        self, grant: Grant, base: KnowledgeBase, document_id: str, text: str, *, title: str = "",
        metadata: dict[str, str] | None = None,
    ) -> IndexedChunk:  # fmt: skip
        """A chunk that no document was cut into, behind the others of its document."""
        document = await self.get_document(base.id, document_id)
        _, count = await self._index.list_chunks(base.id, document_id, offset=0, limit=1)
        made = IndexedChunk(
            id=f"{base.workspace}_{base.id}_{document_id}_1_{secrets.token_hex(6)}",
            document=document_id,
            number=count,
            text=text,
            name=document.name,
            title=title or document.name.rpartition(".")[0] or document.name,
            metadata=metadata or {},
        )
        await self._put(inner_rights(grant), base, made)
        return made

    async def change_chunk(
        self, grant: Grant, base: KnowledgeBase, chunk_id: str, *, text: str | None = None, title: str | None = None,
        is_enabled: bool | None = None,
    ) -> IndexedChunk:  # fmt: skip
        """Changes a chunk; it is found by what it says from then on.

        Raises:
            Fault: `document_not_found`.
        """
        known = await self._index.find_chunk(base.id, chunk_id)
        if known is None:
            raise fault("document_not_found", id=chunk_id[:200])
        changed = msgspec.structs.replace(
            known,
            text=known.text if text is None else text,
            title=known.title if title is None else title,
            is_enabled=known.is_enabled if is_enabled is None else is_enabled,
        )
        if indexed_text(changed) != indexed_text(known):
            await self._put(inner_rights(grant), base, changed)
        elif changed.is_enabled != known.is_enabled:
            await self._index.set_enabled(base.id, [chunk_id], is_enabled=changed.is_enabled)
        return changed

    async def _put(self, rights: Rights, base: KnowledgeBase, chunk: IndexedChunk) -> None:
        texts = [indexed_text(chunk)]
        vectors = {
            space: (await self._models.embed(rights, space, texts, DOCUMENT, within_s=EMBED_S))[0]
            for space in base.spec.spaces
        }
        try:
            await self._index.put_chunk(base.id, chunk, vectors)
        except ValueError as exc:
            raise fault("embedding_unusable", detail=f"{exc}.") from None

    async def delete_chunks(self, base: KnowledgeBase, chunk_ids: Sequence[str]) -> int:
        """Removes chunks; how many there were."""
        return await self._index.delete_chunks(base.id, chunk_ids)


def check_cutting(cutting: Cutting) -> None:
    """Whether documents can be cut so.

    Raises:
        Fault: `parameter_invalid`.
    """
    try:
        check_options(options_of(cutting))
    except ValueError as exc:
        raise fault("parameter_invalid", detail=f"chunks: {exc}.", param="chunking") from None


def _eta_s(task: Task) -> float | None:
    """Seconds that a job will take still, by its pace so far; None where nothing can be said."""
    if task.is_over:
        return 0.0
    if task.started_us is None or not task.done_count:
        return None
    pace_s = (now_us() - task.started_us) / MICROS / task.done_count
    return round(pace_s * max(task.total_count - task.done_count, 0), 1)
