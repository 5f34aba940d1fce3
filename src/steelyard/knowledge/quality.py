"""How well a base answers: a set of questions, each with the documents that answer it, asked by each way of retrieval."""

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import msgspec

from steelyard.base.errors import fault
from steelyard.canon.knowledge import KnowledgeBase
from steelyard.knowledge.retrieval import HYBRID, NO_RERANK, TEXT, VECTORS, Question, Retriever, Vectors
from steelyard.tasks.caller import Rights

DEPTH = 10
AT_ONCE = 4
#: A name of a way of retrieval -> (mode, second look)
WAYS = {
    "vectors": (VECTORS, NO_RERANK),
    "text": (TEXT, NO_RERANK),
    "hybrid": (HYBRID, NO_RERANK),
    "hybrid+rerank": (HYBRID, ""),
}
MAX_MISSES = 100


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question, and which documents answer it: by id or by name, with or without its suffix."""

    question: str
    documents: tuple[str, ...]
    kind: str = ""


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """Measures over a set of questions; each between 0 and 1.

    Args:
        mrr: mean reciprocal rank of the first right document, within ten.
        misses: questions without a right document among the first five, with what came first.
    """

    questions: int
    hit_at_1: float
    hit_at_5: float
    hit_at_10: float
    mrr: float
    ndcg_at_10: float
    by_kind: dict[str, "Quality"] = {}
    misses: list[dict[str, Any]] = []


async def measure(
    retriever: Retriever, rights: Rights, base: KnowledgeBase, cases: Sequence[Case], ways: Sequence[str]
) -> dict[str, Quality]:
    """The quality of each way.

    Raises:
        Fault: a way is unknown, or a model refused.
    """
    for way in ways:
        if way not in WAYS:
            raise fault("parameter_invalid", detail=f"modes: {way[:40]!r} is none of {', '.join(WAYS)}.", param="modes")
    slots = asyncio.Semaphore(AT_ONCE)

    async def answers_to(case: Case) -> dict[str, list[tuple[str, str]]]:
        async with slots:
            # the same vectors for every way: they are what takes its time
            vectors = await retriever.embed(rights, [base], case.question)
            return {way: await _answer(retriever, rights, base, case, way, vectors) for way in ways}

    answers = await asyncio.gather(*(answers_to(case) for case in cases))
    return {way: sum_up([(case, told[way]) for case, told in zip(cases, answers, strict=True)]) for way in ways}


async def _answer(
    retriever: Retriever, rights: Rights, base: KnowledgeBase, case: Case, way: str, vectors: Vectors
) -> list[tuple[str, str]]:
    """Documents by (id, name), the best first; several chunks of one document are one answer."""
    mode, rerank = WAYS[way]
    question = Question(text=case.question, limit=5 * DEPTH, mode=mode, rerank_model=rerank, min_score=0.0)
    found = await retriever.retrieve(rights, [base], question, vectors)
    return list(dict.fromkeys((passage.document_id, passage.document_name) for passage in found))[:DEPTH]


def sum_up(answered: Sequence[tuple[Case, list[tuple[str, str]]]], *, is_part: bool = False) -> Quality:
    """The measures over answers: documents by (id, name), the best first."""
    count = len(answered)
    gains = [[_is_right(case, *document) for document in documents] for case, documents in answered]
    firsts = [next((place for place, right in enumerate(one, 1) if right), 0) for one in gains]
    kinds = {} if is_part else {case.kind: None for case, _ in answered if case.kind}
    return Quality(
        questions=count,
        hit_at_1=_share(sum(first == 1 for first in firsts), count),
        hit_at_5=_share(sum(1 <= first <= 5 for first in firsts), count),
        hit_at_10=_share(sum(1 <= first <= DEPTH for first in firsts), count),
        mrr=_share(sum(1 / first for first in firsts if first), count),
        ndcg_at_10=_share(
            sum(_ndcg(one, len(case.documents)) for one, (case, _) in zip(gains, answered, strict=True)), count
        ),
        by_kind={
            kind: sum_up([one for one in answered if one[0].kind == kind], is_part=True) for kind in kinds
        },
        misses=[] if is_part else [
            {"question": case.question, "wanted": list(case.documents), "found": [name for _, name in documents[:5]]}
            for (case, documents), first in zip(answered, firsts, strict=True)
            if not 1 <= first <= 5
        ][:MAX_MISSES],
    )  # fmt: skip


def _is_right(case: Case, document_id: str, name: str) -> bool:
    return bool({document_id, name, name.rpartition(".")[0] or name} & set(case.documents))


def _share(value: float, count: int) -> float:
    return round(value / count, 4) if count else 0.0


def _ndcg(gains: list[bool], right: int) -> float:
    got = sum(1 / math.log2(place + 1) for place, is_right in enumerate(gains, 1) if is_right)
    best = sum(1 / math.log2(place + 1) for place in range(1, min(right, DEPTH) + 1))
    return got / best if best else 0.0


def join(parts: Sequence[Quality]) -> Quality:
    """The measures over several sets as over one."""
    count = sum(one.questions for one in parts)

    def mean(name: str) -> float:
        return _share(sum(getattr(one, name) * one.questions for one in parts), count)

    kinds = dict.fromkeys(kind for one in parts for kind in one.by_kind)
    return Quality(
        questions=count,
        **{name: mean(name) for name in ("hit_at_1", "hit_at_5", "hit_at_10", "mrr", "ndcg_at_10")},
        by_kind={kind: join([one.by_kind[kind] for one in parts if kind in one.by_kind]) for kind in kinds},
        misses=[miss for one in parts for miss in one.misses],
    )
