"""What bases ask of models: vectors of texts and an order of passages, through the gateway like any other call, and metered so."""

import asyncio
import base64
import importlib
import struct
from collections.abc import Sequence
from typing import Any

from steelyard.base.clock import monotonic
from steelyard.base.errors import Fault, fault
from steelyard.canon.model import LOCAL_PREFIX
from steelyard.engines.vectors import E5, FUSION, USE
from steelyard.tasks.caller import Caller, Reply, Rights
from steelyard.tasks.job import Failed

EMBEDDINGS_PATH, RERANK_PATH = "/v1/embeddings", "/v1/rerank"
#: Both embedded views: what a base is embedded by unless another model is chosen.
FIRST_VIEW, SECOND_VIEW = LOCAL_PREFIX + E5, LOCAL_PREFIX + USE
EMBEDDED = (FIRST_VIEW, SECOND_VIEW)
#: The embedded model that puts passages in order.
FUSION_MODEL = LOCAL_PREFIX + FUSION
#: Texts in one call, the most that every embedding model takes.
TEXTS = 10
QUERY, DOCUMENT = "query", "document"
#: Models that make a difference between questions and documents, by the beginnings of their names.
_ASYMMETRIC = (FIRST_VIEW, "text-embedding-v")
#: What models read of a text; the rest is cut.
MAX_TEXT_CHARS = 8000
#: Of a question more would not make it clearer, and the embedded model takes two milliseconds a character.
MAX_QUERY_CHARS = 600
MAX_RERANKED_CHARS = 4000

Vectors = Any


class Models:
    """Asks them.

    Args:
        concurrency: calls of one document at once.
    """

    def __init__(self, caller: Caller, concurrency: int = 4) -> None:
        self._caller = caller
        self._concurrency = concurrency

    async def embed(
        self, rights: Rights, model: str, texts: Sequence[str], purpose: str, *, within_s: float
    ) -> Vectors:
        """Vectors of length 1, one a text: float32 of (texts, dimensions).

        Raises:
            Fault: `embedding_unusable`, or what the platform has refused the call with.
        """
        # imported where it is used, and not in the loop: the process that starts first does not wait for it
        np = await asyncio.to_thread(importlib.import_module, "numpy")
        slots = asyncio.Semaphore(self._concurrency)
        most = MAX_QUERY_CHARS if purpose == QUERY else MAX_TEXT_CHARS
        give_up_at = monotonic() + within_s

        async def one(start: int) -> list[Any]:
            portion = [text[:most] for text in texts[start : start + TEXTS]]
            body: dict[str, Any] = {"model": model, "input": portion, "encoding_format": "base64"}
            if model.startswith(_ASYMMETRIC):
                body["text_type"] = purpose
            async with slots:
                reply = await self._call(rights, EMBEDDINGS_PATH, body, give_up_at)
            rows = reply.body.get("data") or []
            if len(rows) != len(portion):
                raise fault("embedding_unusable", detail=f"it gave {len(rows)} vectors for {len(portion)} texts.")
            return [_vector(row["embedding"]) for row in rows]

        tasks = [asyncio.create_task(one(start)) for start in range(0, len(texts), TEXTS)]
        try:
            portions = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        found = np.array([row for portion in portions for row in portion], dtype=np.float32)
        norms = np.linalg.norm(found, axis=1, keepdims=True)
        return found / np.maximum(norms, 1e-12)

    async def rerank(
        self, rights: Rights, model: str, query: str, texts: Sequence[str], instruct: str, *, within_s: float
    ) -> list[float]:
        """How well each passage answers a question, 0 to 1.

        Raises:
            Fault: what the platform has refused the call with.
        """
        body: dict[str, Any] = {
            "model": model,
            "query": query[:MAX_RERANKED_CHARS],
            "documents": [text[:MAX_RERANKED_CHARS] for text in texts],
        }
        if instruct:
            body["instruct"] = instruct
        reply = await self._call(rights, RERANK_PATH, body, monotonic() + within_s)
        scores = [0.0] * len(texts)
        for one in reply.body.get("results") or ():
            scores[one["index"]] = float(one["relevance_score"])
        return scores

    async def _call(self, rights: Rights, path: str, body: Any, give_up_at: float) -> Reply:
        try:
            reply = await self._caller.call(rights, path, body, give_up_at=give_up_at)
        except Failed as failed:
            raise fault("api_key_invalid", detail=failed.failure.message) from None
        if reply.status != 200:
            raise _refused(reply)
        return reply


def _vector(value: Any) -> Any:
    if isinstance(value, str):
        data = base64.b64decode(value)
        return struct.unpack(f"<{len(data) // 4}f", data)
    return value


#: What a refusal of an inner call is told as: status -> slug.
_SLUGS = {401: "api_key_invalid", 403: "model_not_granted", 429: "limit_requests", 503: "overloaded"}


def _refused(reply: Reply) -> Fault:
    """A refusal of a call that another call is made of, as that one tells it: the platform's own words."""
    told = reply.body.get("error") if isinstance(reply.body, dict) else None
    message = (told or {}).get("message") or f"HTTP {reply.status}"
    failure = fault(_SLUGS.get(reply.status, "embedding_unusable"), detail=message)
    if failure.slug != "embedding_unusable":
        failure.message = message
    return failure
