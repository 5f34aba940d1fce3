"""Calls of the three APIs as values: what is sent, and what is made of the answer. No network here, so one text serves both clients."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import msgspec

from steelyard.base.errors import Fault
from steelyard.base.jsondoor import encode
from steelyard.canon.answer import CALLED, SAID, THOUGHT, ChatAnswer, Piece
from steelyard.canon.conversation import ToolCall
from steelyard.canon.embedding import EmbeddingAnswer, EmbeddingAsk, RankAnswer, RankAsk
from steelyard.canon.usage import Usage
from steelyard.client.errors import ApiError
from steelyard.dialects import openai_chat
from steelyard.dialects.codec import StreamReader
from steelyard.dialects.dialect import Dialect, find_upstream
from steelyard.dialects.table import DIALECTS

#: API -> (header of the key, what stands before it, headers of every call)
_KEYS = {
    "openai": ("Authorization", "Bearer ", {}),
    "dashscope": ("Authorization", "Bearer ", {}),
    "anthropic": ("x-api-key", "", {"anthropic-version": "2023-06-01"}),
}


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    text: str
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    #: "stop", "length", "tool_calls" or "content_filter"
    reason: str = "stop"
    usage: Usage | None = None
    request_id: str = ""
    #: What really answered, where the endpoint says so: `provider/model`.
    target: str = ""


@dataclass(frozen=True, slots=True)
class Delta:
    """A part of a streamed answer; each field may be empty."""

    text: str = ""
    reasoning: str = ""
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent."""

    path: str
    body: bytes
    dialect: Dialect
    headers: dict[str, str] = field(default_factory=dict)
    method: str = "POST"


class Calls:
    """Makes requests in one API and reads its answers."""

    def __init__(self, api: str, api_key: str) -> None:
        if api not in _KEYS:
            raise ValueError(f"api must be one of {', '.join(_KEYS)}, not {api!r}")
        self.api = api
        header, prefix, always = _KEYS[api]
        # a header holds bytes: a key with other characters goes as UTF-8, so that the server can say what is wrong
        key = {header: f"{prefix}{api_key}".encode().decode("latin-1")} if api_key else {}
        self._headers = {**key, **always, "Content-Type": "application/json"}

    def chat(
        self, model: str, messages: str | list[dict[str, Any]], is_stream: bool, options: dict[str, Any]
    ) -> Request:
        """A chat call; `messages` and `options` are those of chat completions, whatever the API.

        Raises:
            ValueError: naming the first thing wrong with them.
        """
        asked = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
        body = {"model": model, "messages": asked, **options}
        if is_stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        try:
            request = openai_chat.decode(encode(body), {})
        except Fault as failure:
            raise ValueError(f"{failure.param}: {failure.message}") from None
        dialect = self._dialect("chat", model)
        if request.media_count:
            dialect = next(one for one in DIALECTS if _is_for(one, self.api, "chat") and one.suits(request, model))
        assert dialect.codec is not None
        assert openai_chat.DIALECT.codec is not None
        data = request.raw
        if self.api != "openai":
            ask = openai_chat.DIALECT.codec.read_request(request)
            data = dialect.codec.write_request(ask, model, request.output_cap_tokens, is_stream)
        return self._request(dialect, data, is_stream=is_stream)

    def embed(self, model: str, texts: list[str], text_type: str, dimensions: int | None) -> Request:
        """An embeddings call."""
        ask = EmbeddingAsk(texts=tuple(texts), text_type=text_type, dimensions=dimensions)
        return self._other("embeddings", model, ask)

    def rerank(self, model: str, query: str, documents: list[str], top_n: int | None) -> Request:
        """A rerank call."""
        return self._other("rerank", model, RankAsk(query=query, documents=tuple(documents), top_n=top_n))

    def task(self, task_id: str) -> Request:
        """A question after a task.

        Raises:
            ValueError: the API has no tasks.
        """
        if self.api != "dashscope":
            raise ValueError(f"the {self.api} API has no tasks; use api='dashscope'")
        headers = {name: value for name, value in self._headers.items() if name != "Content-Type"}
        return Request(f"tasks/{quote(task_id, safe='')}", b"", self._dialect("chat", ""), headers, "GET")

    def _other(self, operation: str, model: str, ask: Any) -> Request:
        dialect = self._dialect(operation, model)
        assert dialect.codec is not None
        return self._request(dialect, dialect.codec.write_request(ask, model, None, False))

    def _dialect(self, operation: str, model: str) -> Dialect:
        if not any(_is_for(one, self.api, operation) for one in DIALECTS):
            raise ValueError(f"the {self.api} API has no {operation}")
        return find_upstream(DIALECTS, self.api, operation, model)

    def _request(self, dialect: Dialect, data: bytes, *, is_stream: bool = False) -> Request:
        headers = dict(self._headers)
        if is_stream and self.api == "dashscope":
            headers["X-DashScope-SSE"] = "enable"
        return Request(dialect.upstream_path.lstrip("/"), data, dialect, headers)

    @property
    def headers(self) -> dict[str, str]:
        """Headers of a call without a body of its own."""
        return self._headers


def _is_for(dialect: Dialect, api: str, operation: str) -> bool:
    return dialect.api == api and dialect.operation == operation and bool(dialect.upstream_path)


def read_chat(request: Request, body: bytes, headers: dict[str, str]) -> Reply:
    """A whole answer.

    Raises:
        ApiError: it is none.
    """
    answer: ChatAnswer = _read(request, body, headers)
    choice = answer.choices[0]
    return Reply(
        choice.text,
        choice.reasoning,
        choice.tool_calls,
        choice.reason,
        answer.usage,
        headers.get("x-request-id") or headers.get("request-id") or "",
        headers.get("x-steelyard-target", ""),
    )


def read_vectors(request: Request, body: bytes, headers: dict[str, str]) -> EmbeddingAnswer:
    """The vectors of an answer.

    Raises:
        ApiError: it is none.
    """
    answer: EmbeddingAnswer = _read(request, body, headers)
    return answer


def read_ranks(request: Request, body: bytes, headers: dict[str, str]) -> RankAnswer:
    """The places of an answer, best first.

    Raises:
        ApiError: it is none.
    """
    answer: RankAnswer = _read(request, body, headers)
    return answer


def _read(request: Request, body: bytes, headers: dict[str, str]) -> Any:
    assert request.dialect.codec is not None
    try:
        reply = request.dialect.read_reply(body)
        if reply.error is not None:
            raise reply.error
        return request.dialect.codec.read_answer(body)
    except (Fault, KeyError, TypeError, msgspec.DecodeError) as exc:
        message = exc.message.strip() if isinstance(exc, Fault) else "the answer has another form than its API's"
        raise ApiError(200, message, body.decode("utf-8", "replace"), headers.get("x-request-id")) from None


#: States that a task does not leave.
_OVER = frozenset({"SUCCEEDED", "FAILED", "CANCELED", "UNKNOWN"})


def poll_pause_s(asked: int) -> float:
    """Seconds before a task is asked about again: 1, 1, 2, 2, then 5."""
    return (1.0, 1.0, 2.0, 2.0)[asked] if asked < 4 else 5.0


def read_task(body: bytes, task_id: str) -> dict[str, Any] | None:
    """A task's output once it is over; None while it is not.

    Raises:
        ApiError: it failed, was cancelled, or nobody knows it.
    """
    told = msgspec.json.decode(body)
    output: dict[str, Any] = told.get("output") or {}
    state = output.get("task_status")
    if state not in _OVER:
        return None
    if state == "SUCCEEDED":
        return {**output, "usage": told.get("usage") or {}}
    message = output.get("message") or f"task {task_id} is {state}"
    text = encode({"code": output.get("code") or state, "message": message}).decode()
    raise ApiError(200, message, text, told.get("request_id"), should_retry=False)


class Stream:
    """Reads a streamed answer."""

    def __init__(self, request: Request, request_id: str | None) -> None:
        codec = request.dialect.codec
        assert codec is not None
        assert codec.open_reader is not None
        self._reader: StreamReader = codec.open_reader()
        self._request_id = request_id

    def feed(self, chunk: bytes) -> list[Delta]:
        """What a chunk says.

        Raises:
            ApiError: the endpoint told of an error within the stream.
        """
        return self._deltas(self._pieces(chunk))

    def end(self) -> list[Delta]:
        """The last of it, with the usage.

        Raises:
            ApiError: the stream broke off.
        """
        deltas = self._deltas(self._reader.flush())
        if not self._reader.is_done:
            raise ApiError(
                200, "the stream broke off in the middle of the answer", "", self._request_id, should_retry=True
            )
        return [*deltas, Delta(usage=self._reader.usage)]

    def _pieces(self, chunk: bytes) -> list[Piece]:
        try:
            return self._reader.feed(chunk)
        except Fault as failure:
            raise ApiError(200, failure.message, "", self._request_id, should_retry=True) from None

    def _deltas(self, pieces: list[Piece]) -> list[Delta]:
        error = self._reader.error
        if error is not None:
            body = encode({"error": {"message": error.message, "code": error.openai_code}}).decode()
            raise ApiError(error.status, error.message, body, self._request_id)
        return [
            Delta(one.text if one.kind == SAID else "", one.text if one.kind == THOUGHT else "")
            for one in pieces
            if one.kind in (SAID, THOUGHT)
        ]


__all__ = [
    "CALLED",
    "Calls",
    "Delta",
    "Reply",
    "Request",
    "Stream",
    "poll_pause_s",
    "read_chat",
    "read_ranks",
    "read_task",
    "read_vectors",
]
