"""Passages that answer a question: sought by words and by vectors, fused by their ranks, put in order by a second look.

Where a base is embedded by both embedded models, the second look costs no call: their likeness and the shared words are at hand.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from steelyard.canon.knowledge import KnowledgeBase, Passage
from steelyard.knowledge.calibration import WEIGHTS, Calibration, score_hits
from steelyard.knowledge.filters import Matches
from steelyard.knowledge.index import RANK, Hit, SearchIndex, Wish, indexed_text
from steelyard.knowledge.models import EMBEDDED, FUSION_MODEL, QUERY, Models
from steelyard.store import knowledge
from steelyard.store.database import Database
from steelyard.tasks.caller import Rights

#: Looked at a second time, at least, where a model is asked; and where all that it takes is at hand. What only one list has found
#: comes late in the fused ones, and across languages that is most of it.
CANDIDATES, CANDIDATES_AT_HAND = 50, 250
#: Interactive callers wait no longer for a model.
MODEL_S = 8.0
HYBRID, TEXT, VECTORS = "hybrid", "text", "vectors"
MODES = (HYBRID, TEXT, VECTORS)
#: A second look that is none.
NO_RERANK = "none"
MAX_PASSAGES = 200
#: A question's vectors, by space.
Vectors = dict[str, Sequence[float]]


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is sought.

    Args:
        limit: passages that are told, at most.
        rerank_model: "" takes the base's, `none` takes the fused ranks as they are.
        min_score: None takes the base's.
        dense_top_k, sparse_top_k: how deep the lists are looked at; None takes the base's, 0 leaves a list out.
        documents: only in these; None seeks in all.
        tags: only in documents that have one of these.
        matches: only in documents of which what was said in their base is so.
        metadata: only chunks that have all of these.
    """

    text: str
    limit: int = 5
    mode: str = HYBRID
    rerank_model: str = ""
    instruct: str = ""
    min_score: float | None = None
    dense_top_k: int | None = None
    sparse_top_k: int | None = None
    documents: tuple[str, ...] | None = None
    tags: tuple[str, ...] = ()
    matches: Matches | None = None
    metadata: dict[str, str] = {}


class Retriever:
    """Finds passages."""

    def __init__(self, database: Database, index: SearchIndex, models: Models) -> None:
        self._database = database
        self._index = index
        self._models = models
        self._calibration = Calibration(index)

    async def retrieve(
        self, rights: Rights, bases: Sequence[KnowledgeBase], question: Question, vectors: Vectors | None = None
    ) -> list[Passage]:
        """The best first, of all bases together.

        Args:
            vectors: of the question, where they were made already.

        Raises:
            Fault: a model refused.
        """
        if not question.text.strip():
            return []
        if question.mode == TEXT:
            vectors = {}
        elif vectors is None:
            vectors = await self.embed(rights, bases, question.text)
        found = await asyncio.gather(*(self._retrieve_from(rights, base, question, vectors) for base in bases))
        merged = sorted((one for some in found for one in some), key=lambda one: -one.score)
        return merged[: question.limit]

    async def embed(self, rights: Rights, bases: Sequence[KnowledgeBase], text: str) -> Vectors:
        """A question's vectors, by every space of some bases.

        Raises:
            Fault: a model refused.
        """
        spaces = dict.fromkeys(space for base in bases for space in base.spec.spaces)

        async def one(space: str) -> tuple[str, Sequence[float]]:
            rows = await self._models.embed(rights, space, [text], QUERY, within_s=MODEL_S)
            return space, rows[0]

        return dict(await asyncio.gather(*(one(space) for space in spaces)))

    async def _retrieve_from(
        self, rights: Rights, base: KnowledgeBase, question: Question, vectors: Vectors
    ) -> list[Passage]:
        documents = await self._narrowed(base, question)
        if documents == ():
            return []
        spec = base.spec
        dense = spec.dense_top_k if question.dense_top_k is None else question.dense_top_k
        sparse = spec.sparse_top_k if question.sparse_top_k is None else question.sparse_top_k
        own = {space: vectors[space] for space in spec.spaces if space in vectors and dense}
        is_at_hand = bool(own) and self._is_at_hand(base, question)
        levels = await self._calibration.levels(base.id, question.text, own) if is_at_hand else {}
        wish = Wish(
            weights=WEIGHTS,
            levels=levels,
            text="" if question.mode == VECTORS or not sparse else question.text,
            vectors=own,
            limit=max(CANDIDATES_AT_HAND if is_at_hand else CANDIDATES, question.limit),
            documents=documents,
            metadata=question.metadata,
            dense_depth=dense,
            text_depth=sparse,
        )
        hits = await self._index.search(base.id, wish)
        if is_at_hand:
            scores = score_hits(hits, question.text, levels, question.limit)
        else:
            scores = await self._score(rights, base, question, hits, lists=len(own) + bool(wish.text))
        minimum = spec.min_score if question.min_score is None else question.min_score
        order = sorted(range(len(hits)), key=lambda one: (-scores[one], one))
        kept = [(hits[one], scores[one]) for one in order if scores[one] >= minimum]
        return [passage_of(base, hit, score) for hit, score in kept[: question.limit]]

    async def _narrowed(self, base: KnowledgeBase, question: Question) -> tuple[str, ...] | None:
        """Documents that are sought in; None for all."""
        if not question.tags and question.matches is None:
            return question.documents
        found: set[str] | None = None
        async with self._database.read() as connection:
            if question.tags:
                found = set(await knowledge.list_tagged(connection, base.id, question.tags))
            if question.matches is not None:
                attributes = await knowledge.list_attributes(connection, base.id)
                matching = {one for one, said in attributes.items() if question.matches(said)}
                found = matching if found is None else found & matching
        assert found is not None
        if question.documents is not None:
            found &= set(question.documents)
        return tuple(sorted(found))

    async def _score(
        self,
        rights: Rights,
        base: KnowledgeBase,
        question: Question,
        hits: list[Hit],
        *,
        lists: int,
    ) -> list[float]:
        """How well each fits, 0 to 1."""
        if not hits:
            return []
        model = question.rerank_model or base.spec.rerank_model
        if model == NO_RERANK or question.mode != HYBRID:
            return [self._plain_score(hit, question.mode, lists) for hit in hits]
        texts = [indexed_text(hit.chunk) for hit in hits]
        return await self._models.rerank(rights, model, question.text, texts, question.instruct, within_s=MODEL_S)

    @staticmethod
    def _is_at_hand(base: KnowledgeBase, question: Question) -> bool:
        """Whether the second look needs no model beside those that the base is embedded by."""
        model = question.rerank_model or base.spec.rerank_model
        return question.mode == HYBRID and model in ("", FUSION_MODEL) and set(EMBEDDED) <= set(base.spec.spaces)

    @staticmethod
    def _plain_score(hit: Hit, mode: str, lists: int) -> float:
        """Without a second look: of several lists the place in them, 1 for what is first in each; of vectors alone their likeness."""
        if mode == VECTORS and len(hit.likeness) == 1:
            return min(max(*hit.likeness.values(), 0.0), 1.0)
        return hit.score * (RANK + 1) / max(lists, 1)


def passage_of(base: KnowledgeBase, hit: Hit, score: float) -> Passage:
    """A hit as it is told."""
    chunk = hit.chunk
    return Passage(
        base_id=base.id,
        chunk_id=chunk.id,
        document_id=chunk.document,
        document_name=chunk.name,
        number=chunk.number,
        text=chunk.text,
        title=chunk.title,
        headings=chunk.headings,
        place="" if chunk.place is None else str(chunk.place),
        score=round(float(score), 6),
        fused=hit.score,
        likeness={name: round(float(value), 6) for name, value in hit.likeness.items()},
        words_place=hit.ranks.get("text", 0),
        metadata=chunk.metadata,
    )
