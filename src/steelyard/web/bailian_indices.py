"""Actions of knowledge bases: indices, jobs, documents in them, retrieval, chunks. Source: bailian-openapi.md 6 and 7."""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from steelyard.base.clock import now_us
from steelyard.base.errors import Fault
from steelyard.base.units import MILLI_US
from steelyard.canon.grant import Grant
from steelyard.canon.knowledge import BaseDocument, BaseSpec, Cutting, Document, KnowledgeBase, Passage
from steelyard.canon.task import CANCELED, FAILED, PENDING, SUCCEEDED
from steelyard.dialects.bailian_wire import Parameters
from steelyard.knowledge.bases import Bases
from steelyard.knowledge.chunks import MODES
from steelyard.knowledge.documents import Documents
from steelyard.knowledge.index import IndexedChunk
from steelyard.knowledge.retrieval import NO_RERANK, Question, Retriever
from steelyard.tasks.caller import inner_rights

Action = Callable[[Grant, str, Parameters], Awaitable[Any]]

FILES, CATEGORIES = "DATA_CENTER_FILE", "DATA_CENTER_CATEGORY"
SOURCES = (FILES, CATEGORIES)
EMBEDDINGS = ("text-embedding-v2", "text-embedding-v3", "text-embedding-v4")
RERANKS = ("gte-rerank", "gte-rerank-hybrid", "qwen3-rerank", "qwen3-rerank-hybrid")
_NAME = re.compile(r"[\w.:\-\u3400-\u9fff]{1,20}")
MIN_SIZE_ALONE = 100
MAX_PAGE = 100
MAX_DOCUMENTS = 10_000
_JOB_STATUS = {PENDING: "PENDING", SUCCEEDED: "COMPLETED", FAILED: "FAILED", CANCELED: "FAILED"}
#: What is told again and is without meaning here.
_EXTRA = (
    "RerankMode", "RerankInstruct", "metaExtractColumns", "knowledgeType", "knowledgeScene", "SinkInstanceId", "SinkRegion",
    "CreateIndexType", "pipelineCommercialType", "pipelineCommercialCu", "pipelineRetrieveRateLimitStrategy",
)  # fmt: skip
#: Filters of retrieval that are about documents; all others are about chunks.
_TAGS, _DOCUMENT_FILTERS = "tags", ("file_id", "doc_id", "DocId", "FileId")


class IndexActions:
    """The actions."""

    def __init__(self, bases: Bases, documents: Documents, retriever: Retriever) -> None:
        self._bases = bases
        self._documents = documents
        self._retriever = retriever

    def actions(self) -> dict[str, Action]:
        """Every action by its name."""
        return {
            "CreateIndex": self.create,
            "SubmitIndexJob": self.submit,
            "SubmitIndexAddDocumentsJob": self.add_documents,
            "GetIndexJobStatus": self.get_job,
            "ListIndices": self.list,
            "UpdateIndex": self.update,
            "DeleteIndex": self.delete,
            "ListIndexDocuments": self.list_documents,
            "ListIndexFileDetails": self.list_details,
            "DeleteIndexDocument": self.delete_documents,
            "Retrieve": self.retrieve,
            "ListChunks": self.list_chunks,
            "AddChunk": self.add_chunk,
            "UpdateChunk": self.update_chunk,
            "DeleteChunk": self.delete_chunk,
            "GetIndexMonitor": self.get_monitor,
        }

    async def _base(self, grant: Grant, asked: Parameters, name: str = "IndexId") -> KnowledgeBase:
        try:
            return await self._bases.get(grant.workspace, asked.text(name, high=100))
        except Fault as failure:
            if failure.slug == "knowledge_base_not_found":
                raise asked.refuse(name, "There is no such index.") from None
            raise

    # indices

    async def create(self, grant: Grant, _id: str, asked: Parameters) -> Any:
        name = asked.text("Name")
        if not _NAME.fullmatch(name):
            raise asked.refuse("Name", "1 to 20 letters, Chinese characters, digits, and _ - . :")
        if asked.text("StructureType") != "unstructured":
            raise asked.refuse("StructureType", "Only unstructured is here: tables come as documents.")
        if asked.text("SinkType") not in ("BUILT_IN", "DEFAULT", "ES"):
            raise asked.refuse("SinkType", "Only BUILT_IN is here.")
        source = asked.text("SourceType")
        if source not in SOURCES:
            raise asked.refuse("SourceType", f"It must be one of {', '.join(SOURCES)}.")
        spec = BaseSpec(
            description=asked.text("Description", "", high=200),
            cutting=_cutting(asked, Cutting(), mode="chunkMode", headings="enableHeaders"),
            embedding_model=_one_of(asked, "EmbeddingModelName", EMBEDDINGS),
            rerank_model=_one_of(asked, "RerankModelName", RERANKS),
            min_score=asked.decimal("RerankMinScore", 0.01, 0.01, 1.0),
            source_type=source,
            documents=asked.texts("DocumentIds"),
            categories=asked.texts("CategoryIds"),
            extra={
                "EmbeddingModelName": asked.text("EmbeddingModelName", EMBEDDINGS[-1]),
                "RerankModelName": asked.text("RerankModelName", RERANKS[1]),
                "EnableRewrite": asked.flag("EnableRewrite", True),
                **{key: asked.text(key) for key in _EXTRA if asked.text(key, "")},
            },
        )
        made = await self._bases.create(grant, name, spec)
        return {"Id": made.id}

    async def list(self, grant: Grant, _id: str, asked: Parameters) -> Any:
        page, size = _page(asked, "PageNumber", "PageSize")
        found, total = await self._bases.list_page(
            grant.workspace, name_part=asked.text("IndexName", ""), offset=(page - 1) * size, limit=size
        )
        indices = [_show_index(one, (await self._bases.count_documents(one.id))[1]) for one in found]
        return {"Indices": indices, "PageNumber": page, "PageSize": size, "TotalCount": total}

    async def update(self, grant: Grant, _id: str, asked: Parameters) -> Any:
        base = await self._base(grant, asked, "Id")
        name = asked.text("Name", base.name)
        if not _NAME.fullmatch(name):
            raise asked.refuse("Name", "1 to 20 letters, Chinese characters, digits, and _ - . :")
        spec = base.spec
        await self._bases.change(
            base,
            name=name,
            description=asked.text("Description", spec.description, high=200),
            dense_top_k=asked.number("DenseSimilarityTopK", spec.dense_top_k, 0, 100),
            sparse_top_k=asked.number("SparseSimilarityTopK", spec.sparse_top_k, 0, 100),
            min_score=asked.decimal("RerankMinScore", spec.min_score, 0.01, 1.0),
        )

    async def delete(self, grant: Grant, _id: str, asked: Parameters) -> Any:
        base = await self._base(grant, asked)
        await self._bases.delete(grant.workspace, base.id)

    # jobs

    async def submit(self, grant: Grant, _id: str, asked: Parameters) -> Any:
        base = await self._base(grant, asked)
        documents = await self._sources(grant, asked, base.spec.documents, base.spec.categories)
        if not documents:
            raise asked.refuse("data_sources")
        job_id = await self._bases.submit(grant, base, documents)
        return {"Id": job_id, "IndexId": base.id}

    async def add_documents(self, grant: Grant, _id: str, asked: Parameters) -> Any:
        base = await self._base(grant, asked)
        source = asked.text("SourceType")
        if source not in SOURCES:
            raise asked.refuse("SourceType", f"It must be one of {', '.join(SOURCES)}.")
        name = "DocumentIds" if source == FILES else "CategoryIds"
        wanted = asked.texts(name)
        if not wanted:
            raise asked.refuse(name)
        files, categories = (wanted, ()) if source == FILES else ((), wanted)
        documents = await self._sources(grant, asked, files, categories)
        cutting = _cutting(asked, base.spec.cutting, mode="ChunkMode", headings="EnableHeaders")
        return {"Id": await self._bases.submit(grant, base, documents, cutting=cutting)}

    async def _sources(
        self, grant: Grant, asked: Parameters, files: tuple[str, ...], categories: tuple[str, ...]
    ) -> "Sequence[Document]":
        """The documents that are named, and those of the categories that are named."""
        known = await self._documents.find_all(grant.workspace, files)
        unknown = [one for one in files if one not in known]
        if unknown:
            raise asked.refuse("DocumentIds", f"There is no document {unknown[0][:100]}.")
        for category_id in categories:
            await self._documents.get_category(grant.workspace, category_id)
        found = {one: known[one] for one in files}
        if categories:
            listed, total = await self._documents.list_page(
                grant.workspace, categories, name_part="", mark=None, limit=MAX_DOCUMENTS
            )
            if total > MAX_DOCUMENTS:
                raise asked.refuse("CategoryIds", f"A job may have {MAX_DOCUMENTS} documents; these have {total}.")
            found |= {one.id: one for one in listed}
        return list(found.values())

    async def get_job(self, grant: Grant, _id: str, asked: Parameters) -> Any:
        base = await self._base(grant, asked)
        job_id = asked.text("JobId", high=100)
        try:
            state = await self._bases.get_job(grant.workspace, base.id, job_id)
        except Fault as failure:
            if failure.slug == "task_not_found":
                raise asked.refuse("JobId", "There is no such job.") from None
            raise
        page = asked.number("PageNumber", 1, 1, 10**6)
        size = asked.number("pageSize", 10, 1, MAX_PAGE, clamps=True)
        rows, _ = await self._bases.list_documents(base.id, job_id=job_id, offset=(page - 1) * size, limit=size)
        return {
            "JobId": job_id,
            "Status": _JOB_STATUS.get(state.task.status, "RUNNING"),
            "Documents": [
                {"DocId": row.document_id, "DocName": row.name, "Status": row.status, **_outcome(row)} for row in rows
            ],
        }

    # documents

    async def list_documents(self, grant: Grant, _id: str, asked: Parameters) -> Any:
        return await self._list_rows(grant, asked, _show_row)

    async def list_details(self, grant: Grant, _id: str, asked: Parameters) -> Any:
        return await self._list_rows(grant, asked, _show_detail)

    async def _list_rows(self, grant: Grant, asked: Parameters, show: Callable[[BaseDocument, str], Any]) -> Any:
        base = await self._base(grant, asked)
        page, size = _page(asked, "PageNumber", "PageSize")
        filters = {"status": asked.text("DocumentStatus", "")}
        is_like = asked.flag("EnableNameLike", False)
        filters["name_part" if is_like else "name"] = asked.text("DocumentName", "")
        rows, total = await self._bases.list_documents(base.id, offset=(page - 1) * size, limit=size, **filters)
        sources = await self._documents.find_all(grant.workspace, [row.document_id for row in rows])
        shown = [show(row, sources[row.document_id].category_id if row.document_id in sources else "") for row in rows]
        return {"IndexId": base.id, "PageNumber": page, "PageSize": size, "TotalCount": total, "Documents": shown}

    async def delete_documents(self, grant: Grant, _id: str, asked: Parameters) -> Any:
        base = await self._base(grant, asked)
        wanted = asked.texts("DocumentIds")
        if not wanted:
            raise asked.refuse("DocumentIds")
        return {"DeletedDocument": await self._bases.remove_documents(base, wanted)}

    # retrieval

    async def retrieve(self, grant: Grant, _id: str, asked: Parameters) -> Any:
        base = await self._base(grant, asked)
        dense = asked.number("DenseSimilarityTopK", base.spec.dense_top_k, 0, 100)
        sparse = asked.number("SparseSimilarityTopK", base.spec.sparse_top_k, 0, 200)
        if asked.has("DenseSimilarityTopK") and asked.has("SparseSimilarityTopK") and dense + sparse > 200:
            raise asked.refuse("SparseSimilarityTopK", "Together with DenseSimilarityTopK it must not exceed 200.")
        rerank = (asked.json("Rerank", list[dict[str, Any]], []) or [{}])[0]
        is_reranked = asked.flag("EnableReranking", True)
        documents, tags, metadata = _filters(asked)
        question = Question(
            text=asked.text("Query", ""),
            limit=asked.number("RerankTopN", 5, 1, 20),
            rerank_model=base.spec.rerank_model if is_reranked else NO_RERANK,
            instruct=str(rerank.get("RerankInstruct") or base.spec.extra.get("RerankInstruct") or ""),
            min_score=asked.decimal("RerankMinScore", base.spec.min_score, 0.01, 1.0) if is_reranked else 0.0,
            dense_top_k=dense,
            sparse_top_k=sparse,
            documents=documents,
            tags=tags,
            metadata=metadata,
        )
        found = await self._retriever.retrieve(inner_rights(grant), [base], question)
        return {"Nodes": [_show_passage(one, base) for one in found]}

    # chunks

    async def list_chunks(self, grant: Grant, _id: str, asked: Parameters) -> Any:
        base = await self._base(grant, asked)
        document_id = asked.text("FileId", "") or asked.text("Filed", "") or None
        page, size = asked.number("PageNum", 1, 1, 10**6), asked.number("PageSize", 10, 1, MAX_PAGE)
        fields = set(asked.texts("Fields"))
        found, total = await self._bases.list_chunks(base, document_id, offset=(page - 1) * size, limit=size)
        nodes = [_show_chunk(one, base, fields) for one in found]
        return {"Nodes": nodes, "Total": total}

    async def add_chunk(self, grant: Grant, _id: str, asked: Parameters) -> Any:
        """`field: {"content", "title", ...}`: what else it names is metadata of the chunk (inferred)."""
        base = await self._base(grant, asked, "PipelineId")
        fields: dict[str, Any] = asked.json("field", dict[str, Any], {})
        text = str(fields.get("content") or "")
        _check_text(asked, "field", text, base)
        metadata = {name: str(value) for name, value in fields.items() if name not in ("content", "title")}
        document_id = asked.text("dataId", high=200)
        await self._bases.add_chunk(
            grant, base, document_id, text, title=str(fields.get("title") or ""), metadata=metadata
        )
        return True

    async def update_chunk(self, grant: Grant, _id: str, asked: Parameters) -> Any:
        base = await self._base(grant, asked, "PipelineId")
        asked.text("DataId", high=200)
        chunk_id, text = asked.text("ChunkId", high=400), asked.text("content")
        _check_text(asked, "content", text, base)
        title = asked.text("title", "", high=50) if asked.has("title") else None
        is_enabled = asked.flag("IsDisplayedChunkContent", True) if asked.has("IsDisplayedChunkContent") else None
        await self._bases.change_chunk(grant, base, chunk_id, text=text, title=title, is_enabled=is_enabled)
        return True

    async def delete_chunk(self, grant: Grant, _id: str, asked: Parameters) -> Any:
        base = await self._base(grant, asked, "PipelineId")
        wanted = asked.texts("ChunkIds")
        if not wanted:
            raise asked.refuse("ChunkIds")
        if not await self._bases.delete_chunks(base, wanted):
            raise asked.refuse("ChunkIds", "There are no such chunks.")
        return True

    async def get_monitor(self, grant: Grant, _id: str, asked: Parameters) -> Any:
        """What a base holds now; how often it is asked is not counted (inferred)."""
        base = await self._base(grant, asked)
        counts, size_bytes = await self._bases.count_documents(base.id)
        _, chunks = await self._bases.list_chunks(base, None, offset=0, limit=1)
        return {
            "IndexId": base.id,
            "DocumentCount": sum(counts.values()),
            "ChunkCount": chunks,
            "StorageBytes": size_bytes,
            "Timestamp": now_us() // MILLI_US,
        }


def _one_of(asked: Parameters, name: str, known: tuple[str, ...]) -> str:
    """A model by the vendor's name; any other name is looked for among the models that are here."""
    value = asked.text(name, "", high=200)
    return value or known[-1]


def _cutting(asked: Parameters, default: Cutting, *, mode: str, headings: str) -> Cutting:
    size = asked.number("ChunkSize", default.size, 1, 6000)
    if asked.has("ChunkSize") and size < MIN_SIZE_ALONE and not asked.has("OverlapSize"):
        raise asked.refuse("OverlapSize", f"A ChunkSize below {MIN_SIZE_ALONE} needs it.")
    overlap = asked.number("OverlapSize", min(default.overlap, size - 1), 0, 1024)
    if overlap >= size:
        raise asked.refuse("OverlapSize", "It must be less than ChunkSize.")
    asked_mode = asked.text(mode, default.mode)
    if asked_mode not in MODES:
        raise asked.refuse(mode, f"It must be one of {', '.join(one for one in MODES if one)}.")
    separator = asked.text("Separator", default.separator, high=1000)
    if asked_mode == "regex" and not separator:
        raise asked.refuse("Separator", "The mode regex needs a pattern.")
    return Cutting(
        size=size,
        overlap=overlap,
        mode=asked_mode,
        separator=separator,
        keeps_headings=asked.flag(headings, default.keeps_headings),
    )


def _page(asked: Parameters, number: str, size: str) -> tuple[int, int]:
    return asked.number(number, 1, 1, 10**6), asked.number(size, 10, 1, MAX_PAGE, clamps=True)


def _filters(asked: Parameters) -> tuple[tuple[str, ...] | None, tuple[str, ...], dict[str, str]]:
    """`SearchFilters` as (documents, tags, metadata of chunks). A list in a value comes as JSON text."""
    documents: tuple[str, ...] | None = None
    tags: tuple[str, ...] = ()
    metadata: dict[str, str] = {}
    for one in asked.json("SearchFilters", list[dict[str, Any]], []):
        for name, value in one.items():
            if name == _TAGS:
                tags = _listed(value)
            elif name in _DOCUMENT_FILTERS:
                documents = _listed(value)
            else:
                metadata[name] = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return documents, tags, metadata


def _listed(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except msgspec.DecodeError:
            return (value,)
    return tuple(str(one) for one in value) if isinstance(value, list) else (str(value),)


def _check_text(asked: Parameters, name: str, text: str, base: KnowledgeBase) -> None:
    most = max(base.spec.cutting.size, 10)
    if not 10 <= len(text) <= min(most, 6000):
        raise asked.refuse(name, f"The content must have 10 to {most} characters, the base's chunk size.")


def _outcome(row: BaseDocument) -> dict[str, Any]:
    return {"Code": row.code or row.status, "Message": row.message, "GmtModified": row.modified_us // MILLI_US}


def _show_index(base: KnowledgeBase, size_bytes: int) -> dict[str, Any]:
    spec = base.spec
    extra = spec.extra
    return {
        "Id": base.id,
        "Name": base.name,
        "Description": spec.description,
        "StructureType": "unstructured",
        "SourceType": spec.source_type or FILES,
        "SinkType": "BUILT_IN",
        "SinkInstanceId": extra.get("SinkInstanceId", ""),
        "SinkRegion": extra.get("SinkRegion", ""),
        "EmbeddingModelName": extra.get("EmbeddingModelName") or spec.embedding_model or "+".join(spec.spaces),
        "RerankModelName": extra.get("RerankModelName") or spec.rerank_model,
        "RerankMinScore": f"{spec.min_score:g}",
        "ChunkSize": spec.cutting.size,
        "OverlapSize": spec.cutting.overlap,
        "Separator": spec.cutting.separator,
        "ChunkMode": spec.cutting.mode,
        "EnableRewrite": extra.get("EnableRewrite", True),
        "ConfgModel": "recommend",
        "DocumentIds": list(spec.documents),
        "StructuredIndexConfig": [],
        "PipelineCommercialType": extra.get("pipelineCommercialType", "standard"),
        "PipelineCommercialCu": 0,
        "PipelineStorageUsage": round(size_bytes / 1024**3, 6),
    }


def _show_row(row: BaseDocument, category_id: str) -> dict[str, Any]:
    return {
        "Id": row.document_id,
        "Name": row.name.rpartition(".")[0] or row.name,
        "DocumentType": row.name.rpartition(".")[2].lower(),
        "Size": row.size_bytes,
        "Status": row.status,
        "SourceId": category_id,
        **_outcome(row),
    }


def _show_detail(row: BaseDocument, category_id: str) -> dict[str, Any]:
    cutting = row.cutting
    return {
        **_show_row(row, category_id),
        "ChunkMode": cutting.mode,
        "ChunkSize": str(cutting.size),
        "OverlapSize": str(cutting.overlap),
        "separator": cutting.separator,
        "EnableHeaders": cutting.keeps_headings,
        "MetaExtractInfo": "",
    }


def _show_passage(one: Passage, base: KnowledgeBase) -> dict[str, Any]:
    metadata = {
        **one.metadata,
        "_id": one.chunk_id,
        "doc_id": one.document_id,
        "doc_name": one.document_name.rpartition(".")[0] or one.document_name,
        "title": one.title,
        "hier_title": " > ".join(one.headings),
        "content": one.text,
        "parent": "",
        "nid": str(one.number),
        "source": "0",
        "workspace_id": base.workspace,
        "pipeline_id": base.id,
        "file_path": "",
        "image_url": [],
        "page_number": [int(one.place.split()[-1])] if one.place.startswith("page ") else [],
        "place": one.place,
        "is_displayed_chunk_content": "true",
        "_score": one.score,
        "_rc_score": one.fused,
        "_rc_v_score": max(one.likeness.values(), default=0.0),
        "_rc_t_score": 1 / one.words_place if one.words_place else 0.0,
        "_q_score": 1,
    }
    return {"Text": one.text, "Score": one.score, "Metadata": metadata}


def _show_chunk(one: IndexedChunk, base: KnowledgeBase, fields: set[str]) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        **one.metadata,
        "_id": one.id,
        "doc_id": one.document,
        "doc_name": one.name.rpartition(".")[0] or one.name,
        "title": one.title,
        "hier_title": " > ".join(one.headings),
        "content": one.text,
        "nid": str(one.number),
        "workspace_id": base.workspace,
        "pipeline_id": base.id,
        "place": "" if one.place is None else str(one.place),
        "image_url": [],
        "is_displayed_chunk_content": "true" if one.is_enabled else "false",
    }
    if fields:
        metadata = {name: value for name, value in metadata.items() if name.startswith("_") or name in fields}
    return {"Text": one.text, "Score": 0, "Metadata": metadata}
