"""The engine host: one loaded model behind the OpenAI wire on a unix socket. An ASGI application of two paths."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from steelyard.base import ids
from steelyard.base.clock import now_s
from steelyard.base.errors import Fault, fault
from steelyard.base.jsondoor import decode_object, encode
from steelyard.base.metrics import Registry
from steelyard.canon.usage import Usage
from steelyard.dialects import openai_errors
from steelyard.engines.answers import DONE, ChatShape, CompletionShape, add_usage
from steelyard.engines.catalogue import EmbeddedModel
from steelyard.engines.generation import Generator, Piece
from steelyard.engines.llama_wire import Wish, chat_wish, completion_wish, messages_of
from steelyard.engines.tool_answers import in_words, wants_words
from steelyard.engines.tool_choice import choice_wish, chosen, is_free

log = logging.getLogger("steelyard.engine")

#: A call that comes while the model loads waits this long.
LOAD_WAIT_S = 30.0

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

#: path -> (the engine's wish, the answer's shape)
_OPERATIONS: dict[str, tuple[Callable[[dict[str, Any], EmbeddedModel], Wish], type[ChatShape]]] = {
    "/v1/chat/completions": (chat_wish, ChatShape),
    "/v1/completions": (completion_wish, CompletionShape),
}


TOKENIZE_PATH = "/v1/tokenize"


class HostApp:
    """Answers calls once `ready` is given a generator."""

    def __init__(self, model: EmbeddedModel, registry: Registry) -> None:
        self._model = model
        self._busy = registry.gauge("llm_slots_busy", "Slots that generate.", ("model",))
        #: Whatever must live as long as the host does: the engine itself.
        self.keep: object = None
        self._up = registry.gauge("llm_backend_up", "Whether the embedded model is loaded.", ("model", "backend"))
        self._depth = registry.gauge("llm_queue_depth", "Calls waiting for a slot.", ("workspace_id", "model"))
        self._generator: asyncio.Future[Generator] = asyncio.get_running_loop().create_future()
        self._up.set((model.name, "local"), 0)

    def ready(self, generator: Generator) -> None:
        """The model is loaded."""
        self._generator.set_result(generator)
        self._up.set((self._model.name, "local"), 1)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """ASGI entry."""
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        request_id = headers.get(b"x-request-id", b"").decode("latin-1") or ids.new_request_id()
        body = await _read(receive)
        if body is None:
            return
        work = asyncio.create_task(self._answer(scope["path"], body, request_id, send))
        watch = asyncio.create_task(_disconnect(receive))
        # whichever ends first ends the other: a client that leaves frees its slot at once
        await asyncio.wait((work, watch), return_when=asyncio.FIRST_COMPLETED)
        for task in (work, watch):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def refresh(self) -> None:
        """Brings the gauges up to date, before they are read."""
        if self._generator.done():
            generator = self._generator.result()
            self._depth.set(("", self._model.name), generator.waiting)
            self._busy.set((self._model.name,), generator.running)

    async def _answer(self, path: str, body: bytes, request_id: str, send: Send) -> None:
        answer = _Answer(send)
        try:
            if path == TOKENIZE_PATH:
                found = await (await self._loaded()).tokenize(messages_of(decode_object(body)))
                answered = encode({"count": found.count, "tokens": found.ids, "token_strs": found.texts})
                await answer.whole(200, [(b"content-type", b"application/json")], answered)
                return
            operation = _OPERATIONS.get(path)
            if operation is None:
                raise fault("path_not_found")
            make_wish, shape_type = operation
            asked = decode_object(body)
            if make_wish is chat_wish and wants_words(asked):
                asked = in_words(asked)
            elif make_wish is chat_wish and is_free(asked):
                asked = await self._choose(asked)
            wish = make_wish(asked, self._model)
            with_logprobs = bool(wish.body.get("logprobs"))
            shape = shape_type(request_id, now_s(), str(asked.get("model", "")), with_logprobs=with_logprobs)
            pieces = (await self._loaded()).run(wish)
            if asked.get("stream"):
                await _stream(answer, pieces, shape)
            else:
                collected = [piece async for piece in pieces]
                await answer.whole(200, [(b"content-type", b"application/json")], shape.whole(collected))
        except Fault as failure:
            await answer.fail(failure, request_id)
        except Exception:
            log.exception("call failed", extra={"request_id": request_id})
            await answer.fail(fault("inference_error"), request_id)

    async def _choose(self, asked: dict[str, Any]) -> dict[str, Any]:
        """A call that leaves it to the model whether a tool is called, decided."""
        generator = await self._loaded()
        pieces = [piece async for piece in generator.run(choice_wish(asked, self._model))]
        return chosen(asked, "".join(piece.text for piece in pieces))

    async def _loaded(self) -> Generator:
        try:
            async with asyncio.timeout(LOAD_WAIT_S):
                return await asyncio.shield(self._generator)
        except TimeoutError:
            raise fault("model_unavailable", detail=" (It is still loading.)") from None


class _Answer:
    """One answer over ASGI; knows whether it has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._is_started = False

    async def whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self._is_started = True
        await _send(self._send, status, headers, body)

    async def part(self, data: bytes) -> None:
        if not self._is_started:
            self._is_started = True
            headers = [(b"content-type", b"text/event-stream;charset=UTF-8")]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    async def fail(self, failure: Fault, request_id: str) -> None:
        if self._is_started:
            await self.end(openai_errors.render_event(failure, request_id))
        else:
            headers, body = openai_errors.render(failure, request_id)
            await self.whole(failure.status, headers, body)


async def _stream(answer: _Answer, pieces: AsyncIterator[Piece], shape: ChatShape) -> None:
    usage: Usage | None = None
    opened: set[int] = set()
    async for piece in pieces:
        if piece.usage is not None:
            usage = add_usage(usage, piece.usage)
        frames = shape.frames(piece)
        if frames and piece.index not in opened:
            opened.add(piece.index)
            frames = shape.opening(piece.index) + frames
        if frames:
            await answer.part(frames)
    await answer.end(shape.usage_frame(usage or Usage()) + DONE)


async def _read(receive: Receive) -> bytes | None:
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


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
