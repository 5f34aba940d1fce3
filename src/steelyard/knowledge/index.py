"""What a search index keeps and finds, whichever database it is in; and how its two lists become one. Values in, values out."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from steelyard.knowledge.blocks import Place

K = TypeVar("K", int, str)

#: How much a place in a list counts: 1 / (RANK + place). Source: reciprocal rank fusion (Cormack and others, 2009).
RANK = 60
TEXT, VECTORS, HYBRID = "text", "vectors", "hybrid"


class IndexedChunk(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk as it is kept.

    Args:
        id: unique in the whole index.
        number: its place in the document.
        metadata: what it may be filtered by.
    """

    id: str
    document: str
    number: int
    text: str
    #: Of its document.
    name: str = ""
    title: str = ""
    headings: tuple[str, ...] = ()
    place: Place | None = None
    metadata: dict[str, str] = {}
    is_enabled: bool = True


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What is sought in a base.

    Args:
        vectors: of the question, by vector space; empty seeks by words alone.
        text: empty seeks by vectors alone.
        documents: only in these; None seeks in all.
        metadata: only chunks that have all of these.
    """

    text: str = ""
    vectors: Mapping[str, Sequence[float]] = {}
    limit: int = 10
    documents: tuple[str, ...] | None = None
    metadata: Mapping[str, str] = {}
    #: Where likeness in several spaces is one measure: how much each counts, and by (space, whether a chunk is written in Han characters) its
    #: mean and spread. An index that can makes one list of all spaces by it.
    weights: Mapping[str, float] = {}
    levels: Mapping[tuple[str, bool], tuple[float, float]] = {}
    #: How deep either kind of list is looked at; 0 leaves it to the index.
    dense_depth: int = 0
    text_depth: int = 0


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk that was found. `score` is the fused one; the others say where it stood in each list (from 1; 0: not in it)."""

    chunk: IndexedChunk
    score: float
    ranks: dict[str, int]
    #: Likeness of the vectors, by space: 1 is the same.
    likeness: dict[str, float]
    #: Whether it is written in Chinese characters.
    is_han: bool


class SearchIndex(Protocol):
    """One contract for the embedded index and PostgreSQL's. A base belongs to whoever names it: its name is not known to others."""

    async def put_document(
        self, base: str, document: str, chunks: Sequence[IndexedChunk], vectors: Mapping[str, Sequence[Sequence[float]]]
    ) -> None:
        """Puts a document's chunks in place of all that it had; whoever searches sees the old ones or the new ones."""
        ...

    async def delete_document(self, base: str, document: str) -> int:
        """Removes a document's chunks; how many."""
        ...

    async def drop_base(self, base: str) -> None:
        """Removes all of a base."""
        ...

    async def put_chunk(self, base: str, chunk: IndexedChunk, vectors: Mapping[str, Sequence[float]]) -> None:
        """Adds one chunk, or puts it in the place of the one of its id."""
        ...

    async def set_enabled(self, base: str, ids: Sequence[str], *, is_enabled: bool) -> int:
        """Whether chunks may be found; how many there were."""
        ...

    async def delete_chunks(self, base: str, ids: Sequence[str]) -> int:
        """Removes chunks; how many there were."""
        ...

    async def list_chunks(
        self, base: str, document: str | None, *, offset: int, limit: int
    ) -> tuple[list[IndexedChunk], int]:
        """(chunks in their documents' order, how many there are)"""
        ...

    async def find_chunk(self, base: str, chunk_id: str) -> IndexedChunk | None:
        """One chunk."""
        ...

    async def find_vectors(self, base: str, document: str) -> dict[str, dict[str, Any]]:
        """The vectors of a document's chunks, by space and by the text that was looked at."""
        ...

    async def sample(self, base: str, count: int) -> list[tuple[str, dict[str, Any]]]:
        """Some chunks of a base, any: their texts, and their vectors by space."""
        ...

    async def list_owners(self) -> list[tuple[str, str]]:
        """Every (base, document) of which there is a chunk."""
        ...

    def close(self) -> None:
        """Waits for what is under way, and lets go."""
        ...

    async def search(self, base: str, wish: Wish) -> list[Hit]:
        """The best first, each with its likeness in every space that was sought in."""
        ...


def fuse(lists: Mapping[str, Sequence[K]], limit: int) -> list[tuple[K, float, dict[str, int]]]:
    """Several lists, the best first, as one: (what it is, score, its place in each)."""
    ranks: dict[K, dict[str, int]] = {}
    scores: dict[K, float] = {}
    for name, some in lists.items():
        for place, one in enumerate(some, start=1):
            scores[one] = scores.get(one, 0.0) + 1 / (RANK + place)
            ranks.setdefault(one, {})[name] = place
    best = sorted(scores.items(), key=_order)[:limit]
    return [(one, score, ranks[one]) for one, score in best]


def _order(item: tuple[K, float]) -> tuple[float, K]:
    return -item[1], item[0]


def indexed_text(chunk: IndexedChunk) -> str:
    """What of a chunk is looked at: its title and headings say what it is about."""
    return "\n".join(part for part in (chunk.title, *chunk.headings, chunk.text) if part)


def pick_depth(limit: int) -> int:
    """How deep each list is looked at before they are fused."""
    return min(max(4 * limit, 50), 1000)
