"""/control/v1/knowledge-bases and /control/v1/search: bases as `steelyard kb` and the console use them.

An api key sees its own workspace; an admin names one by `?workspace=`.
"""

from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from steelyard.base.errors import fault
from steelyard.base.units import MICROS
from steelyard.canon.grant import Grant
from steelyard.canon.knowledge import BaseDocument, BaseSpec, Cutting, KnowledgeBase, Passage
from steelyard.knowledge.bases import Bases, JobState
from steelyard.knowledge.documents import Documents
from steelyard.knowledge.index import IndexedChunk
from steelyard.knowledge.quality import Case, measure
from steelyard.knowledge.retrieval import HYBRID, MODES, Question, Retriever
from steelyard.knowledge.searching import Searching
from steelyard.tasks.caller import inner_rights
from steelyard.web.answers import json_answer, read_body
from steelyard.web.control_api import Operation
from steelyard.web.principal import get_principal
from steelyard.web.queries import read_integer

#: In one call, which must be over before its caller gives up.
MAX_CASES = 200


class BaseWish(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /knowledge-bases."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    description: str = ""
    chunking: Cutting = Cutting()
    embedding_model: str = ""
    rerank_model: str = ""
    min_score: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.01


class BaseChange(msgspec.Struct, forbid_unknown_fields=True):
    """Body of PUT /knowledge-bases/ID."""

    name: str | None = None
    description: str | None = None
    min_score: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None


class DocumentsWish(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /knowledge-bases/ID/documents: ids of files or documents."""

    documents: Annotated[list[str], msgspec.Meta(min_length=1, max_length=2000)]
    chunking: Cutting | None = None
    webhook: str = ""


class ChunkWish(msgspec.Struct, forbid_unknown_fields=True):
    """Body of PUT /knowledge-bases/ID/chunks/ID."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=6000)] | None = None
    title: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    enabled: bool | None = None


class NewChunk(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /knowledge-bases/ID/chunks."""

    document: str
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=6000)]
    title: str = ""
    metadata: dict[str, str] = {}


class SearchWish(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /knowledge-bases/ID/search."""

    query: Annotated[str, msgspec.Meta(min_length=1)]
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 5
    mode: str = HYBRID
    rerank_model: str = ""
    min_score: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    documents: tuple[str, ...] | None = None
    tags: tuple[str, ...] = ()


class BenchWish(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /knowledge-bases/ID/bench: questions, and the documents that answer them."""

    cases: Annotated[list[Case], msgspec.Meta(min_length=1, max_length=MAX_CASES)]
    modes: tuple[str, ...] = ("vectors", "text", "hybrid", "hybrid+rerank")


class FilesSearch(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /search: files of the workspace, bases, or both; of neither, all files that can be read."""

    query: Annotated[str, msgspec.Meta(min_length=1)]
    files: Annotated[tuple[str, ...], msgspec.Meta(max_length=1000)] = ()
    knowledge_bases: Annotated[tuple[str, ...], msgspec.Meta(max_length=20)] = ()
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 5
    #: Seconds that files not read before may take.
    wait_s: Annotated[float, msgspec.Meta(ge=0, le=25)] = 20.0


class KnowledgeApi:
    """The handlers."""

    def __init__(self, bases: Bases, documents: Documents, retriever: Retriever, searching: Searching) -> None:
        self._bases = bases
        self._documents = documents
        self._retriever = retriever
        self._searching = searching
        base = "/knowledge-bases/{base}"
        self.operations = (
            Operation(
                "GET",
                "/knowledge-bases",
                "List knowledge bases",
                self.list,
                query=("workspace", "name", "page_no", "page_size"),
            ),
            Operation("POST", "/knowledge-bases", "Make a knowledge base", self.create, BaseWish),
            Operation("GET", base, "Show a knowledge base", self.get),
            Operation("PUT", base, "Change what is said of a knowledge base", self.change, BaseChange),
            Operation("DELETE", base, "Delete a knowledge base; its documents stay", self.delete),
            Operation(
                "GET",
                base + "/documents",
                "List a base's documents with their states",
                self.list_documents,
                query=("workspace", "status", "page_no", "page_size"),
            ),
            Operation("POST", base + "/documents", "Take documents into a base", self.add_documents, DocumentsWish),
            Operation("DELETE", base + "/documents/{document}", "Take a document out of a base", self.remove_document),
            Operation("GET", base + "/jobs/{job}", "Show how far a job is", self.get_job),
            Operation("POST", base + "/jobs/{job}/cancel", "Stop a job", self.cancel_job),
            Operation(
                "GET",
                base + "/chunks",
                "List chunks of a base, or of ?document=",
                self.list_chunks,
                query=("workspace", "document", "page_no", "page_size"),
            ),
            Operation("POST", base + "/chunks", "Add a chunk to a document", self.add_chunk, NewChunk),
            Operation(
                "PUT", base + "/chunks/{chunk}", "Change, disable or enable a chunk", self.change_chunk, ChunkWish
            ),
            Operation("DELETE", base + "/chunks/{chunk}", "Delete a chunk", self.delete_chunk),
            Operation("POST", base + "/search", "Find passages that answer a question", self.search, SearchWish),
            Operation("POST", base + "/bench", "Measure retrieval with questions and answers", self.bench, BenchWish),
            Operation("POST", "/search", "Search files and knowledge bases by meaning", self.search_files, FilesSearch),
        )

    async def _base(self, request: Request) -> tuple[Grant, KnowledgeBase]:
        grant = get_actor(request)
        return grant, await self._bases.get(grant.workspace, request.path_params["base"])

    # bases

    async def list(self, request: Request) -> Response:
        query = request.query_params
        page, size = read_integer(query, "page_no", 1, 1, 10**6), read_integer(query, "page_size", 50, 1, 200)
        found, total = await self._bases.list_page(
            get_actor(request).workspace, name_part=query.get("name", ""), offset=(page - 1) * size, limit=size
        )
        return json_answer({"data": [await self._show(one) for one in found], "total": total, "page_no": page})

    async def create(self, request: Request) -> Response:
        grant, wish = get_actor(request), await read_body(request, BaseWish)
        spec = BaseSpec(
            description=wish.description,
            cutting=wish.chunking,
            embedding_model=wish.embedding_model,
            rerank_model=wish.rerank_model,
            min_score=wish.min_score,
        )
        return json_answer(await self._show(await self._bases.create(grant, wish.name, spec)), 201)

    async def get(self, request: Request) -> Response:
        return json_answer(await self._show((await self._base(request))[1]))

    async def change(self, request: Request) -> Response:
        _, base = await self._base(request)
        wish = await read_body(request, BaseChange)
        said = {name: value for name in ("description", "min_score") if (value := getattr(wish, name)) is not None}
        return json_answer(await self._show(await self._bases.change(base, name=wish.name, **said)))

    async def delete(self, request: Request) -> Response:
        grant, base = await self._base(request)
        await self._bases.delete(grant.workspace, base.id)
        return json_answer({"id": base.id, "deleted": True})

    # documents

    async def list_documents(self, request: Request) -> Response:
        _, base = await self._base(request)
        query = request.query_params
        page, size = read_integer(query, "page_no", 1, 1, 10**6), read_integer(query, "page_size", 50, 1, 200)
        found, total = await self._bases.list_documents(
            base.id,
            status=query.get("status", ""),
            name_part=query.get("name", ""),
            offset=(page - 1) * size,
            limit=size,
        )
        known = await self._documents.find_all(base.workspace, [one.document_id for one in found])
        digests = {one.id: one.digest for one in known.values()}
        shown = [{**_show_document(one), "digest": digests.get(one.document_id, "")} for one in found]
        return json_answer({"data": shown, "total": total, "page_no": page})

    async def add_documents(self, request: Request) -> Response:
        grant, base = await self._base(request)
        wish = await read_body(request, DocumentsWish)
        found = list((await self._documents.gather(grant, wish.documents)).values())
        job_id = await self._bases.submit(grant, base, found, cutting=wish.chunking, webhook=wish.webhook)
        return json_answer(_show_job(await self._bases.get_job(grant.workspace, base.id, job_id)), 201)

    async def remove_document(self, request: Request) -> Response:
        _, base = await self._base(request)
        document_id = request.path_params["document"]
        if not await self._bases.remove_documents(base, [document_id]):
            raise fault("document_not_found", id=document_id[:100])
        return json_answer({"id": document_id, "deleted": True})

    async def get_job(self, request: Request) -> Response:
        grant, base = await self._base(request)
        return json_answer(_show_job(await self._bases.get_job(grant.workspace, base.id, request.path_params["job"])))

    async def cancel_job(self, request: Request) -> Response:
        grant, base = await self._base(request)
        job_id = request.path_params["job"]
        return json_answer(_show_job(await self._bases.cancel_job(grant.workspace, base.id, job_id)))

    # chunks

    async def list_chunks(self, request: Request) -> Response:
        _, base = await self._base(request)
        query = request.query_params
        page, size = read_integer(query, "page_no", 1, 1, 10**6), read_integer(query, "page_size", 50, 1, 200)
        found, total = await self._bases.list_chunks(
            base, query.get("document") or None, offset=(page - 1) * size, limit=size
        )
        return json_answer({"data": [_show_chunk(one) for one in found], "total": total, "page_no": page})

    async def add_chunk(self, request: Request) -> Response:
        grant, base = await self._base(request)
        wish = await read_body(request, NewChunk)
        made = await self._bases.add_chunk(
            grant, base, wish.document, wish.text, title=wish.title, metadata=wish.metadata
        )
        return json_answer(_show_chunk(made), 201)

    async def change_chunk(self, request: Request) -> Response:
        grant, base = await self._base(request)
        wish = await read_body(request, ChunkWish)
        changed = await self._bases.change_chunk(
            grant, base, request.path_params["chunk"], text=wish.text, title=wish.title, is_enabled=wish.enabled
        )
        return json_answer(_show_chunk(changed))

    async def delete_chunk(self, request: Request) -> Response:
        _, base = await self._base(request)
        chunk_id = request.path_params["chunk"]
        if not await self._bases.delete_chunks(base, [chunk_id]):
            raise fault("document_not_found", id=chunk_id[:200])
        return json_answer({"id": chunk_id, "deleted": True})

    # retrieval

    async def search(self, request: Request) -> Response:
        grant, base = await self._base(request)
        wish = await read_body(request, SearchWish)
        if wish.mode not in MODES:
            raise fault("parameter_invalid", detail=f"mode must be one of {', '.join(MODES)}.", param="mode")
        question = Question(
            text=wish.query,
            limit=wish.limit,
            mode=wish.mode,
            rerank_model=wish.rerank_model,
            min_score=wish.min_score,
            documents=wish.documents,
            tags=wish.tags,
        )
        found = await self._retriever.retrieve(inner_rights(grant), [base], question)
        return json_answer({"data": [show_passage(one) for one in found]})

    async def bench(self, request: Request) -> Response:
        grant, base = await self._base(request)
        wish = await read_body(request, BenchWish)
        found = await measure(self._retriever, inner_rights(grant), base, wish.cases, wish.modes)
        return json_answer({"data": found})

    async def search_files(self, request: Request) -> Response:
        grant, wish = get_actor(request), await read_body(request, FilesSearch)
        found = await self._searching.search(
            grant, wish.query, files=wish.files, bases=wish.knowledge_bases, limit=wish.limit, wait_s=wish.wait_s
        )
        return json_answer(
            {
                "data": [show_passage(one) for one in found.passages],
                "pending": list(found.pending),
                "failed": found.failed,
            }
        )

    async def _show(self, base: KnowledgeBase) -> dict[str, Any]:
        counts, size_bytes = await self._bases.count_documents(base.id)
        spec = base.spec
        return {
            "id": base.id,
            "name": base.name,
            "workspace": base.workspace,
            "description": spec.description,
            "created_at": base.created_us // MICROS,
            "modified_at": base.modified_us // MICROS,
            "embedding_models": list(spec.spaces),
            "rerank_model": spec.rerank_model,
            "min_score": spec.min_score,
            "chunking": msgspec.to_builtins(spec.cutting),
            "documents": counts,
            "bytes": size_bytes,
        }


def get_actor(request: Request) -> Grant:
    """Who asks, in the workspace that is asked about."""
    grant = get_principal(request)
    named = request.query_params.get("workspace")
    if named and named != grant.workspace:
        if grant.kind != "admin":
            raise fault("workspace_mismatch")
        return msgspec.structs.replace(grant, workspace=named)
    return grant


def show_passage(one: Passage) -> dict[str, Any]:
    """A passage, with where it stands."""
    return {
        "score": one.score,
        "text": one.text,
        "document": one.document_id,
        "document_name": one.document_name,
        "place": one.place,
        "headings": list(one.headings),
        "title": one.title,
        "chunk": one.chunk_id,
        "knowledge_base": one.base_id,
        "likeness": one.likeness,
        "words_place": one.words_place,
        "metadata": one.metadata,
    }


def _show_document(row: BaseDocument) -> dict[str, Any]:
    return {
        "id": row.document_id,
        "name": row.name,
        "status": row.status,
        "code": row.code,
        "message": row.message,
        "bytes": row.size_bytes,
        "chunks": row.chunk_count,
        "job": row.job_id,
        "modified_at": row.modified_us // MICROS,
    }


def _show_job(state: JobState) -> dict[str, Any]:
    task = state.task
    return {
        "id": task.id,
        "status": task.status,
        "done": task.done_count,
        "total": task.total_count,
        "eta_s": state.eta_s,
        "documents": state.counts,
        "error": None if task.failure is None else {"code": task.failure.code, "message": task.failure.message},
    }


def _show_chunk(one: IndexedChunk) -> dict[str, Any]:
    return {
        "id": one.id,
        "document": one.document,
        "number": one.number,
        "text": one.text,
        "title": one.title,
        "headings": list(one.headings),
        "place": "" if one.place is None else str(one.place),
        "enabled": one.is_enabled,
        "metadata": one.metadata,
    }
