"""Running a wish on a loaded engine: slots, the queue before them, and the pieces that come back."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from steelyard.base.errors import fault
from steelyard.canon.tokens import TokenAnswer
from steelyard.canon.usage import Usage
from steelyard.engines.catalogue import EmbeddedModel
from steelyard.engines.llama_wire import Wish, engine_fault, logprobs_of
from steelyard.engines.tool_calls import may_be_call, parse_calls
from steelyard.upstream.pool import Flight, Origin, Pool, PoolError

#: Calls that may wait for a slot; beyond, callers are told to come back.
MAX_QUEUE = 256
#: A call may take this long, however long the answer.
CALL_TIMEOUT_S = 1800.0


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of one choice's answer."""

    index: int
    text: str = ""
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str | None = None
    usage: Usage | None = None


class Generator:
    """The slots of one engine."""

    def __init__(self, pool: Pool, origin: Origin, secret: str, model: EmbeddedModel, slots: int) -> None:
        self._pool_of_all = pool
        self._pool = pool.origin(origin)
        self._origin = origin
        self._secret = secret
        self._model = model
        self._slots = asyncio.Semaphore(slots)
        self._size = slots
        self.waiting = 0
        self.running = 0

    def __repr__(self) -> str:
        return f"<Generator {self._model.name} [{self.running}/{self._size} slots, {self.waiting} waiting]>"

    async def run(self, wish: Wish) -> AsyncIterator[Piece]:
        """The pieces of all choices, interleaved as they come.

        Raises:
            Fault: the queue is full, or the engine refused or failed.
        """
        if self.waiting + wish.n > MAX_QUEUE:
            raise fault("limit_requests", detail=" The queue of the embedded model is full.", retry_after_s=2)
        if wish.n == 1:
            async for piece in self._choice(wish, 0):
                yield piece
            return
        queue: asyncio.Queue[Piece | Exception | None] = asyncio.Queue()
        tasks = [asyncio.create_task(self._feed(queue, wish, index)) for index in range(wish.n)]
        try:
            open_count = wish.n
            while open_count:
                item = await queue.get()
                if isinstance(item, Exception):
                    raise item
                if item is None:
                    open_count -= 1
                else:
                    yield item
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _feed(self, queue: "asyncio.Queue[Piece | Exception | None]", wish: Wish, index: int) -> None:
        try:
            async for piece in self._choice(wish, index):
                queue.put_nowait(piece)
        except Exception as exc:  # noqa: BLE001
            # carried to the consumer, which raises it
            queue.put_nowait(exc)
        queue.put_nowait(None)

    async def tokenize(self, messages: list[dict[str, Any]]) -> TokenAnswer:
        """What the model reads of a conversation, its template's marks included.

        Raises:
            Fault: the engine refused or failed.
        """
        prompt = await self._ask("/apply-template", {"messages": messages})
        asked = {"content": prompt["prompt"], "add_special": True, "parse_special": True, "with_pieces": True}
        tokens = (await self._ask("/tokenize", asked))["tokens"]
        texts = tuple(_text_of(one["piece"]) for one in tokens)
        return TokenAnswer(count=len(tokens), ids=tuple(one["id"] for one in tokens), texts=texts)

    async def _ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {
            "Authorization": f"Bearer {self._secret}",
            "Content-Type": "application/json",
            "Connection": "close",
        }
        try:
            answer = await self._pool_of_all.fetch(self._origin, "POST", path, msgspec.json.encode(body), headers)
        except PoolError as exc:
            raise fault("model_unavailable", detail=" (Its engine stopped.)") from exc
        value: dict[str, Any] = msgspec.json.decode(answer.body)
        self._check(value)
        return value

    async def _choice(self, wish: Wish, index: int) -> AsyncIterator[Piece]:
        body = dict(wish.body)
        if index and body.get("seed") is not None:
            body["seed"] = int(body["seed"]) + index
        pieces = self._slot_run(wish.path, body, index)
        async for piece in _with_calls(pieces, wish) if wish.tools else pieces:
            yield piece

    async def _slot_run(self, path: str, body: dict[str, Any], index: int) -> AsyncIterator[Piece]:
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        try:
            async for event in self._events(path, body):
                if (piece := _piece(event, index)) is not None:
                    yield piece
        finally:
            self.running -= 1
            self._slots.release()

    async def _events(self, path: str, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """The engine's events. Leaving early closes the connection, which frees the slot."""
        loop = asyncio.get_running_loop()
        try:
            connection = await self._pool.acquire(5.0)
        except PoolError as exc:
            raise fault("model_unavailable") from exc
        data = msgspec.json.encode(body)
        head = (
            # the listener ends kept connections when it pleases; a new one over a unix socket costs next to nothing
            f"POST {path} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\nAuthorization: Bearer {self._secret}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        failures: list[PoolError] = []

        def on_end(error: PoolError | None) -> None:
            if error is not None:
                failures.append(error)
            chunks.put_nowait(None)

        flight = Flight(on_end, loop.time() + CALL_TIMEOUT_S)
        flight.on_body = chunks.put_nowait
        flight.chunk_timeout_s = CALL_TIMEOUT_S
        connection.start(head.encode() + data, flight)
        buffer = b""
        try:
            while (chunk := await chunks.get()) is not None:
                buffer += chunk
                *events, buffer = buffer.split(b"\n\n")
                for event in events:
                    if (value := _decode_event(event)) is not None:
                        self._check(value)
                        yield value
            if failures:
                raise fault("model_unavailable", detail=" (Its engine stopped.)")
            if flight.status != 200:
                self._check(msgspec.json.decode(buffer) if buffer else {"error": {}})
        finally:
            if connection.flight is flight:
                connection.abort()

    def _check(self, value: dict[str, Any]) -> None:
        if isinstance(value.get("error"), dict):
            raise engine_fault(value["error"], self._model)


def _text_of(piece: str | list[int]) -> str:
    """A token's text; one that is a part of a character comes as bytes."""
    return piece if isinstance(piece, str) else bytes(piece).decode("utf-8", "replace")


def _decode_event(event: bytes) -> dict[str, Any] | None:
    data = event.strip()
    if not data.startswith((b"data:", b"error:")) or data.endswith(b"[DONE]"):
        return None
    kind, _, text = data.partition(b":")
    value = msgspec.json.decode(text)
    return {"error": value} if kind == b"error" else value


def _piece(event: dict[str, Any], index: int) -> Piece | None:
    usage = None
    if counts := event.get("usage"):
        details = counts.get("prompt_tokens_details") or {}
        usage = Usage(
            prompt_tokens=counts["prompt_tokens"],
            completion_tokens=counts["completion_tokens"],
            cached_tokens=details.get("cached_tokens") or 0,
        )
    choice = (event.get("choices") or [{}])[0]
    text = choice.get("text") or (choice.get("delta") or {}).get("content") or ""
    reason = choice.get("finish_reason")
    if not text and reason is None and usage is None:
        return None
    return Piece(index, text, logprobs_of(choice.get("logprobs")), finish_reason=reason, usage=usage)


async def _with_calls(pieces: AsyncIterator[Piece], wish: Wish) -> AsyncIterator[Piece]:
    """Holds text back while it may be a tool call; what turns out to be one is told as `tool_calls`."""
    held: list[Piece] = []
    text = ""
    is_plain = False
    found: list[dict[str, Any]] = []
    async for piece in pieces:
        if is_plain or (piece.usage is not None and piece.finish_reason is None and not piece.text):
            yield piece
            continue
        text += piece.text
        if piece.finish_reason is None:
            held.append(piece)
            if not wish.is_constrained and not may_be_call(text):
                is_plain = True
                for one in held:
                    yield one
            continue
        found = parse_calls(text, wish.tools, many=wish.many_calls)
        if found and piece.finish_reason in ("stop", "tool_calls"):
            yield replace(piece, text="", logprobs=[], tool_calls=found, finish_reason="tool_calls")
        else:
            for one in (*held, piece):
                yield one
        is_plain = True
