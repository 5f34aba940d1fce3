"""Passages for chat calls: the bases that a call names, asked with its question."""

from steelyard.canon.grant import Grant
from steelyard.canon.knowledge import FoundPassages, KnowledgeWish
from steelyard.knowledge.bases import Bases
from steelyard.knowledge.filters import read_filter
from steelyard.knowledge.retrieval import Question, Retriever
from steelyard.knowledge.words import is_han
from steelyard.tasks.caller import inner_rights

#: Below this a passage is not put before a model unless the caller says so: what has nothing to do with the question misleads it.
RELEVANT = 0.3


class Answering:
    """The use-case."""

    def __init__(self, bases: Bases, retriever: Retriever) -> None:
        self._bases = bases
        self._retriever = retriever

    async def find(self, grant: Grant, wish: KnowledgeWish) -> FoundPassages:
        """What answers a call's question.

        Raises:
            Fault: a base is not there, or a model refused.
        """
        bases = [await self._bases.get(grant.workspace, one) for one in wish.bases]
        question = Question(
            text=wish.question,
            limit=wish.limit,
            min_score=RELEVANT if wish.min_score is None else wish.min_score,
            documents=wish.documents,
            tags=wish.tags,
            matches=None if wish.filters is None else read_filter(wish.filters, "filters"),
        )
        passages = await self._retriever.retrieve(inner_rights(grant), bases, question)
        return FoundPassages(
            question=wish.question,
            passages=tuple(passages),
            is_han=is_han(wish.question),
            tools=wish.tools,
            wants_results=wish.wants_results,
        )
