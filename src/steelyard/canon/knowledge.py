"""Knowledge bases, the documents in them, and what is found. Frozen, whatever API they come by. Source: bailian-openapi.md 5 to 7."""

from typing import Any

import msgspec

#: States of a document by itself.
IN_QUEUE, PARSING, PARSED, PARSE_FAILED = "IN_PARSE_QUEUE", "PARSING", "PARSE_SUCCESS", "PARSE_FAILED"
#: States of a document in a base; it is found in `FINISH` alone.
RUNNING, FINISH, INSERT_ERROR = "RUNNING", "FINISH", "INSERT_ERROR"
#: Kinds of categories: documents that stay, and those of a conversation.
UNSTRUCTURED, SESSION_FILE = "UNSTRUCTURED", "SESSION_FILE"
#: The category that every workspace has.
DEFAULT_CATEGORY = "default"
#: Where a page begins: (created, id) of the last one that was told.
Mark = tuple[int, str]
#: Where documents of the OpenAI API are: they are files first.
FILES_CATEGORY = "files"


class Category(msgspec.Struct, frozen=True, kw_only=True):
    """Where documents are put."""

    id: str
    workspace: str
    name: str
    type: str = UNSTRUCTURED
    parent_id: str = ""
    created_us: int = 0


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A document of a workspace.

    Args:
        digest: SHA-256 of its bytes, in hexadecimal.
        blocks_id: the object with what it was parsed into; empty until then.
        code, message: why it could not be parsed.
    """

    id: str
    workspace: str
    key_id: str
    category_id: str
    category_type: str = UNSTRUCTURED
    name: str
    object_id: str
    digest: str
    size_bytes: int
    parser: str = ""
    tags: tuple[str, ...] = ()
    status: str = IN_QUEUE
    code: str = ""
    message: str = ""
    blocks_id: str = ""
    created_us: int
    modified_us: int

    @property
    def suffix(self) -> str:
        """Its kind: `pdf`, `md`."""
        return self.name.rpartition(".")[2].lower() if "." in self.name else ""


class Cutting(msgspec.Struct, frozen=True, kw_only=True):
    """How documents of a base are cut into chunks, in characters; see `knowledge.chunks`."""

    size: int = 500
    overlap: int = 100
    mode: str = ""
    separator: str = ""
    keeps_headings: bool = True


class BaseSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What was said of a base.

    Args:
        embedding_model: as it was asked for; `spaces` are the models that chunks are embedded by.
        rerank_model: empty takes the fusion of both embedded models, where these are the base's spaces.
        min_score: what is less alike is not told.
        documents, categories: what its first job is to take in.
        extra: what an API tells again and nothing here makes use of.
    """

    description: str = ""
    cutting: Cutting = Cutting()
    embedding_model: str = ""
    spaces: tuple[str, ...] = ()
    rerank_model: str = ""
    min_score: float = 0.01
    dense_top_k: int = 100
    sparse_top_k: int = 100
    source_type: str = ""
    documents: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
    extra: dict[str, Any] = {}


class KnowledgeBase(msgspec.Struct, frozen=True, kw_only=True):
    """A base of a workspace."""

    id: str
    workspace: str
    name: str
    spec: BaseSpec = BaseSpec()
    created_us: int
    modified_us: int


class BaseDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A document in a base.

    Args:
        fingerprint: of all that its chunks were made from: while it stays, they need not be made anew.
        job_id: the task that takes it in, or took it in last.
    """

    base_id: str
    document_id: str
    workspace: str
    name: str
    size_bytes: int
    status: str = RUNNING
    code: str = ""
    message: str = ""
    cutting: Cutting = Cutting()
    #: What was said of it, to filter by: texts, numbers, booleans.
    metadata: dict[str, Any] = {}
    fingerprint: str = ""
    chunk_count: int = 0
    job_id: str = ""
    created_us: int
    modified_us: int


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """What was found: a chunk, how well it fits (0 to 1), and where it stands.

    Args:
        place: "page 3", "sheet Q1"; empty where its document has none.
        likeness: of the vectors, by model: 1 is the same.
        words_place: its place in the list of those that share words; 0 where it is not in it.
    """

    base_id: str
    chunk_id: str
    document_id: str
    document_name: str
    number: int
    text: str
    title: str = ""
    headings: tuple[str, ...] = ()
    place: str = ""
    score: float = 0.0
    fused: float = 0.0
    likeness: dict[str, float] = {}
    words_place: int = 0
    metadata: dict[str, str] = {}


class KnowledgeWish(msgspec.Struct, frozen=True, kw_only=True):
    """What a chat call wants of knowledge bases.

    Args:
        min_score: None leaves it to the server what is relevant.
        filters: over attributes of documents, as the caller wrote them.
        tools: as the caller named them, to be told again.
        wants_results: whether the passages are told with the search itself.
    """

    bases: tuple[str, ...]
    question: str
    documents: tuple[str, ...] | None = None
    tags: tuple[str, ...] = ()
    limit: int = 5
    min_score: float | None = None
    filters: dict[str, Any] | None = None
    tools: tuple[dict[str, Any], ...] = ()
    wants_results: bool = False


class FoundPassages(msgspec.Struct, frozen=True, kw_only=True):
    """What was found for a chat call. `is_han`: whether it was asked in Chinese."""

    question: str
    passages: tuple[Passage, ...] = ()
    is_han: bool = False
    tools: tuple[dict[str, Any], ...] = ()
    wants_results: bool = False
