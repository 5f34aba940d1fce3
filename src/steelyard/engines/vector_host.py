"""The vector host: the embedded embedding and rerank models behind the OpenAI wire on a unix socket.

Texts of all callers share batches. One thread computes, so that serving is never stalled; a caller who leaves takes its texts out
of the queue.
"""

import asyncio
import contextlib
import logging
import os
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from steelyard.base import ids
from steelyard.base.clock import now_s
from steelyard.base.errors import Fault, fault
from steelyard.base.metrics import Registry
from steelyard.canon.embedding import DOCUMENT, QUERY, EmbeddingAnswer, EmbeddingAsk, RankAnswer, RankAsk, Ranked
from steelyard.canon.model import LOCAL_PREFIX
from steelyard.canon.request import ModelRequest
from steelyard.canon.usage import Usage
from steelyard.dialects import openai_embeddings, openai_errors, openai_rerank
from steelyard.dialects.dialect import Dialect, Showing
from steelyard.engines.vectors import BATCH, DIMENSIONS, E5, USE, VectorModels, fuse, shared_words

log = logging.getLogger("steelyard.engine")

#: Texts that may wait; beyond, callers are told to come back.
MAX_WAITING = 8192
#: Characters of a text that are read: no model here makes use of more.
MAX_TEXT_CHARS = 8000
#: A batch has no more unless a single text does: whoever asks next waits for it, and larger ones are no faster.
BATCH_CHARS = 1000
#: Questions that may overtake documents before one of those has its turn.
SHORT_IN_A_ROW = 16

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_OPERATIONS: dict[str, Dialect] = {"/v1/embeddings": openai_embeddings.DIALECT, "/v1/rerank": openai_rerank.DIALECT}


@dataclass(slots=True, eq=False)
class _Wish:
    """Texts of one caller for one model."""

    model: str
    text_type: str
    texts: list[str]
    done: asyncio.Future["Embedded"]
    vectors: list[Any] = field(default_factory=list)
    tokens: int = 0

    @property
    def is_short(self) -> bool:
        """Whether somebody waits for it on the line, as for a question: no bulk of documents is this small."""
        return len(self.texts) == 1 and len(self.texts[0]) <= BATCH_CHARS

    @property
    def key(self) -> tuple[str, str]:
        # the second view makes no difference between queries and documents
        return self.model, DOCUMENT if self.model == USE else self.text_type


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors of one caller's texts, and how many tokens those have."""

    vectors: list[Any]
    tokens: int


class Batcher:
    """Shares batches among callers: questions before documents, and else first come first served."""

    def __init__(self, models: VectorModels) -> None:
        self._models = models
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vectors")
        #: Documents are embedded when nobody else wants the processor: whoever waits for an answer does not wait for them.
        self._modest = ThreadPoolExecutor(1, thread_name_prefix="documents", initializer=give_way)
        self._wishes: deque[_Wish] = deque()
        self._runner: asyncio.Task[None] | None = None
        self.waiting = 0
        self._short_ones = 0

    def __repr__(self) -> str:
        return f"<Batcher [{self.waiting} texts waiting]>"

    async def embed(self, model: str, texts: list[str], text_type: str) -> Embedded:
        """The vectors of texts.

        Raises:
            Fault: too many texts wait.
        """
        if self.waiting + len(texts) > MAX_WAITING:
            raise fault("limit_requests", detail=" The queue of the embedded vector models is full.", retry_after_s=2)
        loop = asyncio.get_running_loop()
        wish = _Wish(model, text_type, [text[:MAX_TEXT_CHARS] for text in texts], loop.create_future())
        self._wishes.append(wish)
        self.waiting += len(texts)
        if self._runner is None or self._runner.done():
            self._runner = loop.create_task(self._run())
        return await wish.done

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._wishes:
            batch = self._next_batch()
            if not batch:
                continue
            (model, text_type), texts = batch[0][0].key, [text for _, text in batch]
            thread = self._thread if any(wish.is_short for wish, _ in batch) else self._modest
            try:
                vectors, counts = await loop.run_in_executor(
                    thread, self._models.embed_counted, model, texts, text_type
                )
            except Exception:
                log.exception("embedding failed")
                for wish, _ in batch:
                    self._end(wish, fault("inference_error"))
                continue
            for (wish, _), vector, tokens in zip(batch, vectors, counts, strict=True):
                wish.vectors.append(vector)
                wish.tokens += tokens
                if len(wish.vectors) == len(wish.texts):
                    self._end(wish, None)

    def _next_batch(self) -> list[tuple[_Wish, str]]:
        """Texts of the caller whose turn it is, and of others who want the same of the same model."""
        for wish in [one for one in self._wishes if one.done.done()]:
            self._end(wish, None)
        if not self._wishes:
            return []
        first = self._next_wish()
        batch: list[tuple[_Wish, str]] = []
        room = BATCH_CHARS
        for wish in [first, *(one for one in self._wishes if one is not first and one.key == first.key)]:
            for text in wish.texts[len(wish.vectors) :]:
                if len(batch) >= BATCH or (batch and len(text) > room):
                    return batch
                batch.append((wish, text))
                room -= len(text)
        return batch

    def _next_wish(self) -> _Wish:
        """The oldest question, and now and then the oldest of all."""
        short = next((one for one in self._wishes if one.is_short), None)
        if short is None or self._short_ones >= SHORT_IN_A_ROW:
            self._short_ones = 0
            return self._wishes[0]
        self._short_ones += 1
        return short

    def _end(self, wish: _Wish, failure: Fault | None) -> None:
        if wish not in self._wishes:
            return
        self._wishes.remove(wish)
        self.waiting -= len(wish.texts)
        if wish.done.done():
            return
        if failure is None:
            wish.done.set_result(Embedded(wish.vectors, wish.tokens))
        else:
            wish.done.set_exception(failure)


class VectorHost:
    """Answers embeddings and rerank calls."""

    def __init__(self, models: VectorModels, registry: Registry) -> None:
        self._batcher = Batcher(models)
        self._depth = registry.gauge("llm_queue_depth", "Calls waiting for a slot.", ("workspace_id", "model"))

    def refresh(self) -> None:
        """Brings the gauges up to date, before they are read."""
        self._depth.set(("", "vectors"), self._batcher.waiting)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """ASGI entry."""
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        request_id = headers.get(b"x-request-id", b"").decode("latin-1") or ids.new_request_id()
        body = await read_body(receive)
        if body is None:
            return
        work = asyncio.create_task(self._answer(scope["path"], body, request_id, send))
        watch = asyncio.create_task(_disconnect(receive))
        await asyncio.wait((work, watch), return_when=asyncio.FIRST_COMPLETED)
        for task in (work, watch):
            task.cancel()
        await asyncio.gather(work, watch, return_exceptions=True)

    async def _answer(self, path: str, body: bytes, request_id: str, send: Send) -> None:
        status, kind = 200, [(b"content-type", b"application/json")]
        try:
            dialect = _OPERATIONS.get(path)
            if dialect is None or dialect.codec is None:
                raise fault("path_not_found")
            request = dialect.decode(body, {})
            ask = dialect.codec.read_request(request)
            found = await (self._embed(request, ask) if isinstance(ask, EmbeddingAsk) else self._rank(ask))
            answer = dialect.codec.write_answer(found, Showing(request, request_id, now_s()))
        except Fault as failure:
            status = failure.status
            kind, answer = openai_errors.render(failure, request_id)
        except Exception:
            log.exception("call failed", extra={"request_id": request_id})
            status = 500
            kind, answer = openai_errors.render(fault("inference_error"), request_id)
        headers = [*kind, (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer, "more_body": False})

    async def _embed(self, request: ModelRequest, ask: EmbeddingAsk) -> EmbeddingAnswer:
        # whatever name the caller used: a stand-in's leads to the first model
        model = request.model.removeprefix(LOCAL_PREFIX)
        model = model if model in DIMENSIONS else E5
        dimensions = DIMENSIONS[model]
        if ask.dimensions not in (None, dimensions):
            detail = f" local/{model} has {dimensions} dimensions and no others."
            raise fault("dimensions_range", detail=detail, param="dimensions")
        made = await self._batcher.embed(model, list(ask.texts), ask.text_type)
        vectors = tuple(one.tolist() for one in made.vectors)
        return EmbeddingAnswer(vectors=vectors, usage=Usage(prompt_tokens=made.tokens))

    async def _rank(self, ask: RankAsk) -> RankAnswer:
        documents = list(ask.documents)
        first, query, second = await asyncio.gather(
            self._batcher.embed(E5, documents, DOCUMENT),
            self._batcher.embed(E5, [ask.query], QUERY),
            self._batcher.embed(USE, [ask.query, *documents], DOCUMENT),
        )
        (query_e5,), query_use = query.vectors, second.vectors[0]
        results = [
            Ranked(index, fuse(float(one @ query_e5), float(other @ query_use), shared_words(ask.query, text)))
            for index, (one, other, text) in enumerate(zip(first.vectors, second.vectors[1:], documents, strict=True))
        ]
        results.sort(key=lambda one: -one.score)
        tokens = first.tokens + query.tokens * len(documents)
        return RankAnswer(results=tuple(results[: ask.top_n]), usage=Usage(prompt_tokens=tokens))


def give_way() -> None:
    """The calling thread runs only where no other wants to. Where the system has no such thing, its niceness must do."""
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


async def read_body(receive: Receive) -> bytes | None:
    """The request's body; None where its client left."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
