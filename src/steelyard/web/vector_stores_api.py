"""/v1/vector_stores: knowledge bases by the OpenAI API. A vector store is a base, its files are the base's documents."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from steelyard.base.errors import fault
from steelyard.base.units import MICROS
from steelyard.canon.grant import Grant
from steelyard.canon.knowledge import (
    FINISH,
    INSERT_ERROR,
    PARSE_FAILED,
    RUNNING,
    BaseDocument,
    BaseSpec,
    Cutting,
    KnowledgeBase,
    Mark,
    Passage,
)
from steelyard.canon.task import CANCELED, FAILED
from steelyard.knowledge.bases import Bases, JobState
from steelyard.knowledge.documents import Documents
from steelyard.knowledge.filters import read_filter
from steelyard.knowledge.retrieval import NO_RERANK, Question, Retriever
from steelyard.tasks.caller import inner_rights
from steelyard.web.answers import guarded, json_answer, read_body
from steelyard.web.principal import get_principal
from steelyard.web.queries import read_integer

PREFIXES = ("/v1/vector_stores", "/compatible-mode/v1/vector_stores")
#: Chunks are cut by characters here; of Chinese and English together a token has about two.
CHARACTERS_A_TOKEN = 2
MAX_CHUNK = 6000
_STATUS = {FINISH: "completed", INSERT_ERROR: "failed", PARSE_FAILED: "failed"}
_FILE_STATUSES = {"in_progress": RUNNING, "completed": FINISH, "failed": INSERT_ERROR}

#: In one call.
MAX_FILES = 2000
FileIds = Annotated[list[str], msgspec.Meta(max_length=MAX_FILES)]
Attributes = dict[str, str | float | bool]


class StaticChunks(msgspec.Struct):
    """`chunking_strategy.static`, in tokens."""

    max_chunk_size_tokens: Annotated[int, msgspec.Meta(ge=100, le=4096)] = 800
    chunk_overlap_tokens: Annotated[int, msgspec.Meta(ge=0)] = 400


class Strategy(msgspec.Struct):
    """`chunking_strategy`."""

    type: str
    static: StaticChunks = msgspec.field(default_factory=StaticChunks)


class StoreWish(msgspec.Struct):
    """Body of POST /vector_stores."""

    name: str | None = None
    file_ids: FileIds = []
    metadata: Attributes | None = None
    description: str = ""
    chunking_strategy: Strategy | None = None
    expires_after: dict[str, Any] | None = None
    #: Not the OpenAI API's: the model that chunks are embedded by.
    embedding_model: str = ""


class StoreChange(msgspec.Struct):
    """Body of POST /vector_stores/ID."""

    name: str | None = None
    metadata: Attributes | None = None
    expires_after: dict[str, Any] | None = None


class FileWish(msgspec.Struct):
    """Body of POST /vector_stores/ID/files."""

    file_id: str
    attributes: Attributes | None = None
    chunking_strategy: Strategy | None = None


class BatchWish(msgspec.Struct):
    """Body of POST /vector_stores/ID/file_batches."""

    file_ids: FileIds = []
    files: Annotated[list[FileWish], msgspec.Meta(max_length=MAX_FILES)] = []
    attributes: Attributes | None = None
    chunking_strategy: Strategy | None = None


class AttributesWish(msgspec.Struct):
    """Body of POST /vector_stores/ID/files/ID."""

    attributes: Attributes | None = None


class Ranking(msgspec.Struct):
    """`ranking_options`."""

    ranker: str = "auto"
    score_threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0


class SearchWish(msgspec.Struct):
    """Body of POST /vector_stores/ID/search."""

    query: str | list[str]
    filters: dict[str, Any] | None = None
    max_num_results: Annotated[int, msgspec.Meta(ge=1, le=50)] = 10
    ranking_options: Ranking = msgspec.field(default_factory=Ranking)
    rewrite_query: bool = False


class VectorStoresApi:
    """The handlers."""

    def __init__(self, bases: Bases, documents: Documents, retriever: Retriever) -> None:
        self._bases = bases
        self._documents = documents
        self._retriever = retriever

    def routes(self) -> list[Route]:
        """The Starlette routes."""
        table = (
            ("POST", "", self.create),
            ("GET", "", self.list),
            ("GET", "/{store}", self.get),
            ("POST", "/{store}", self.change),
            ("DELETE", "/{store}", self.delete),
            ("POST", "/{store}/search", self.search),
            ("POST", "/{store}/files", self.add_file),
            ("GET", "/{store}/files", self.list_files),
            ("GET", "/{store}/files/{file}", self.get_file),
            ("POST", "/{store}/files/{file}", self.change_file),
            ("DELETE", "/{store}/files/{file}", self.remove_file),
            ("GET", "/{store}/files/{file}/content", self.get_content),
            ("POST", "/{store}/file_batches", self.create_batch),
            ("GET", "/{store}/file_batches/{batch}", self.get_batch),
            ("POST", "/{store}/file_batches/{batch}/cancel", self.cancel_batch),
            ("GET", "/{store}/file_batches/{batch}/files", self.list_files),
        )
        return [
            Route(prefix + path, guarded(handler), methods=[method])
            for prefix in PREFIXES
            for method, path, handler in table
        ]

    async def _base(self, request: Request) -> KnowledgeBase:
        return await self._bases.get(get_principal(request).workspace, request.path_params["store"])

    # stores

    async def create(self, request: Request) -> Response:
        grant, wish = get_principal(request), await read_body(request, StoreWish)
        _no_expiry(wish.expires_after)
        spec = BaseSpec(
            description=wish.description,
            cutting=_cutting(wish.chunking_strategy),
            embedding_model=wish.embedding_model,
            metadata=dict(wish.metadata or {}),
        )
        files = list((await self._documents.gather(grant, wish.file_ids)).values())
        made = await self._bases.create(grant, wish.name or "", spec)
        if files:
            await self._bases.submit(grant, made, files)
        return json_answer(await self._show(made))

    async def list(self, request: Request) -> Response:
        workspace, query = get_principal(request).workspace, request.query_params
        limit = read_integer(query, "limit", 20, 1, 100)
        mark: Mark | None = None
        if query.get("after"):
            last = await self._bases.get(workspace, query["after"])
            mark = (last.created_us, last.id)
        found, _ = await self._bases.list_page(workspace, mark=mark, limit=limit + 1)
        return json_answer(_page([await self._show(one) for one in found[:limit]], len(found) > limit))

    async def get(self, request: Request) -> Response:
        return json_answer(await self._show(await self._base(request)))

    async def change(self, request: Request) -> Response:
        base, wish = await self._base(request), await read_body(request, StoreChange)
        _no_expiry(wish.expires_after)
        metadata = base.spec.metadata if wish.metadata is None else dict(wish.metadata)
        return json_answer(await self._show(await self._bases.change(base, name=wish.name, metadata=metadata)))

    async def delete(self, request: Request) -> Response:
        store = request.path_params["store"]
        await self._bases.delete(get_principal(request).workspace, store)
        return json_answer({"id": store, "object": "vector_store.deleted", "deleted": True})

    async def search(self, request: Request) -> Response:
        grant, base, wish = get_principal(request), await self._base(request), await read_body(request, SearchWish)
        queries = [wish.query] if isinstance(wish.query, str) else wish.query
        if not queries or not all(one.strip() for one in queries):
            raise fault("parameter_invalid", detail="query must hold a text.", param="query")
        matches = None if wish.filters is None else read_filter(wish.filters, "filters")
        found: dict[str, Passage] = {}
        for text in queries[:10]:
            question = Question(
                text=text,
                limit=wish.max_num_results,
                rerank_model=NO_RERANK if wish.ranking_options.ranker == "none" else "",
                min_score=wish.ranking_options.score_threshold,
                matches=matches,
            )
            for one in await self._retriever.retrieve(inner_rights(grant), [base], question):
                known = found.get(one.chunk_id)
                found[one.chunk_id] = one if known is None or one.score > known.score else known
        best = sorted(found.values(), key=lambda one: -one.score)[: wish.max_num_results]
        rows = {one: await self._bases.get_document(base.id, one) for one in {one.document_id for one in best}}
        return json_answer(
            {
                "object": "vector_store.search_results.page",
                "search_query": queries,
                "data": [_show_passage(one, rows[one.document_id]) for one in best],
                "has_more": False,
                "next_page": None,
            }
        )

    # files

    async def add_file(self, request: Request) -> Response:
        grant, base, wish = get_principal(request), await self._base(request), await read_body(request, FileWish)
        await self._take_in(grant, base, [wish], wish.chunking_strategy)
        return json_answer(_show_file(await self._bases.get_document(base.id, wish.file_id)))

    async def _take_in(
        self, grant: Grant, base: KnowledgeBase, wishes: Sequence[FileWish], strategy: Strategy | None
    ) -> str:
        files = await self._documents.gather(grant, [one.file_id for one in wishes])
        attributes = {one.file_id: _attributes(one.attributes) for one in wishes}
        cutting = base.spec.cutting if strategy is None else _cutting(strategy)
        return await self._bases.submit(grant, base, list(files.values()), cutting=cutting, metadata=attributes)

    async def list_files(self, request: Request) -> Response:
        base, query = await self._base(request), request.query_params
        limit = read_integer(query, "limit", 20, 1, 100)
        filters: dict[str, Any] = {}
        if query.get("filter"):
            filters["status"] = _FILE_STATUSES.get(query["filter"], "NONE")
        if "batch" in request.path_params:
            filters["job_id"] = request.path_params["batch"]
        if query.get("after"):
            last = await self._bases.get_document(base.id, query["after"])
            filters["mark"] = (last.created_us, last.document_id)
        found, _ = await self._bases.list_documents(base.id, limit=limit + 1, **filters)
        return json_answer(_page([_show_file(one) for one in found[:limit]], len(found) > limit))

    async def get_file(self, request: Request) -> Response:
        base = await self._base(request)
        return json_answer(_show_file(await self._bases.get_document(base.id, request.path_params["file"])))

    async def change_file(self, request: Request) -> Response:
        base, wish = await self._base(request), await read_body(request, AttributesWish)
        changed = await self._bases.set_attributes(base.id, request.path_params["file"], _attributes(wish.attributes))
        return json_answer(_show_file(changed))

    async def remove_file(self, request: Request) -> Response:
        base, file_id = await self._base(request), request.path_params["file"]
        if not await self._bases.remove_documents(base, [file_id]):
            raise fault("document_not_found", id=file_id[:100])
        return json_answer({"id": file_id, "object": "vector_store.file.deleted", "deleted": True})

    async def get_content(self, request: Request) -> Response:
        base, file_id = await self._base(request), request.path_params["file"]
        await self._bases.get_document(base.id, file_id)
        chunks, total = await self._bases.list_chunks(base, file_id, offset=0, limit=1000)
        data = [{"type": "text", "text": one.text} for one in chunks]
        return json_answer(
            {"object": "vector_store.file_content.page", "data": data, "has_more": total > len(data), "next_page": None}
        )

    # batches

    async def create_batch(self, request: Request) -> Response:
        grant, base, wish = get_principal(request), await self._base(request), await read_body(request, BatchWish)
        if bool(wish.files) == bool(wish.file_ids):
            raise fault("parameter_invalid", detail="Either file_ids or files must name what to add.", param="file_ids")
        wishes = wish.files or [FileWish(one, wish.attributes) for one in dict.fromkeys(wish.file_ids)]
        strategy = wish.chunking_strategy or next((one.chunking_strategy for one in wishes), None)
        job_id = await self._take_in(grant, base, wishes, strategy)
        return json_answer(_show_batch(base, await self._bases.get_job(grant.workspace, base.id, job_id)))

    async def get_batch(self, request: Request) -> Response:
        base = await self._base(request)
        state = await self._bases.get_job(base.workspace, base.id, request.path_params["batch"])
        return json_answer(_show_batch(base, state))

    async def cancel_batch(self, request: Request) -> Response:
        base = await self._base(request)
        state = await self._bases.cancel_job(base.workspace, base.id, request.path_params["batch"])
        return json_answer(_show_batch(base, state))

    async def _show(self, base: KnowledgeBase) -> dict[str, Any]:
        counts, size_bytes = await self._bases.count_documents(base.id)
        return {
            "id": base.id,
            "object": "vector_store",
            "created_at": base.created_us // MICROS,
            "name": base.name,
            "description": base.spec.description,
            "usage_bytes": size_bytes,
            "file_counts": _counts(counts),
            "status": "in_progress" if counts.get(RUNNING) else "completed",
            "expires_after": None,
            "expires_at": None,
            "last_active_at": base.modified_us // MICROS,
            "metadata": base.spec.metadata,
            "embedding_models": list(base.spec.spaces),
        }


def _no_expiry(asked: dict[str, Any] | None) -> None:
    if asked is not None:
        detail = "Vector stores here stay until they are deleted; leave expires_after out."
        raise fault("parameter_invalid", detail=detail, param="expires_after")


def _cutting(strategy: Strategy | None) -> Cutting:
    if strategy is None or strategy.type == "auto":
        return Cutting()
    if strategy.type != "static":
        detail = "chunking_strategy.type must be auto or static."
        raise fault("parameter_invalid", detail=detail, param="chunking_strategy")
    size, overlap = strategy.static.max_chunk_size_tokens, strategy.static.chunk_overlap_tokens
    if overlap > size // 2:
        detail = "chunk_overlap_tokens must not exceed half of max_chunk_size_tokens."
        raise fault("parameter_invalid", detail=detail, param="chunking_strategy")
    most = min(size * CHARACTERS_A_TOKEN, MAX_CHUNK)
    return Cutting(size=most, overlap=min(overlap * CHARACTERS_A_TOKEN, most // 2))


def _attributes(asked: Attributes | None) -> dict[str, Any]:
    found = dict(asked or {})
    if len(found) > 16 or any(len(name) > 64 or len(str(value)) > 512 for name, value in found.items()):
        detail = "At most 16 attributes, names of 64 and values of 512 characters."
        raise fault("parameter_invalid", detail=detail, param="attributes")
    return found


def _counts(counts: dict[str, int]) -> dict[str, int]:
    failed = counts.get(INSERT_ERROR, 0) + counts.get(PARSE_FAILED, 0)
    return {
        "in_progress": counts.get(RUNNING, 0),
        "completed": counts.get(FINISH, 0),
        "failed": failed,
        "cancelled": 0,
        "total": sum(counts.values()),
    }


def _show_batch(base: KnowledgeBase, state: JobState) -> dict[str, Any]:
    status = "completed" if state.task.is_over else "in_progress"
    return {
        "id": state.task.id,
        "object": "vector_store.files_batch",
        "created_at": state.task.created_us // MICROS,
        "vector_store_id": base.id,
        "status": {CANCELED: "cancelled", FAILED: "failed"}.get(state.task.status, status),
        "file_counts": _counts(state.counts),
    }


def _show_file(row: BaseDocument) -> dict[str, Any]:
    error = None
    if row.status in (INSERT_ERROR, PARSE_FAILED):
        code = "unsupported_file" if row.status == PARSE_FAILED else "invalid_file"
        error = {"code": code, "message": row.message}
    tokens = {
        "max_chunk_size_tokens": row.cutting.size // CHARACTERS_A_TOKEN,
        "chunk_overlap_tokens": row.cutting.overlap // CHARACTERS_A_TOKEN,
    }
    return {
        "id": row.document_id,
        "object": "vector_store.file",
        "created_at": row.created_us // MICROS,
        "vector_store_id": row.base_id,
        "status": _STATUS.get(row.status, "in_progress"),
        "usage_bytes": row.size_bytes,
        "last_error": error,
        "attributes": row.metadata,
        "chunking_strategy": {"type": "static", "static": tokens},
    }


def _show_passage(one: Passage, row: BaseDocument) -> dict[str, Any]:
    return {
        "file_id": one.document_id,
        "filename": one.document_name,
        "score": one.score,
        "attributes": row.metadata,
        "content": [{"type": "text", "text": one.text}],
        "chunk_id": one.chunk_id,
        "place": one.place,
        "headings": list(one.headings),
    }


def _page(data: "Sequence[dict[str, Any]]", has_more: bool) -> dict[str, Any]:
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": has_more,
    }
