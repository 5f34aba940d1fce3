"""What a wire operation provides, and the table of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from steelyard.base.errors import Fault
from steelyard.canon.request import ModelRequest
from steelyard.canon.task import Task, TaskAsk
from steelyard.canon.usage import Usage

if TYPE_CHECKING:
    from steelyard.dialects.codec import Codec

Headers = list[tuple[bytes, bytes]]


class Reply(msgspec.Struct, frozen=True):
    """What matters of a whole answer."""

    usage: Usage | None
    #: An upstream may answer 200 with an error in the body.
    error: Fault | None = None
    #: Our own rough count, used where the upstream gives no usage.
    answer_bytes: int = 0


class StreamTap(Protocol):
    """Reads a stream on its way through. `feed` returns what may go downstream."""

    usage: Usage | None
    error: Fault | None
    #: Events with content so far, about one token each.
    pieces: int
    is_done: bool

    def feed(self, chunk: bytes) -> bytes:
        """Takes upstream bytes, returns downstream bytes (often the same object)."""
        ...

    def flush(self) -> bytes:
        """What was held back when the upstream ended; `is_done` says afterwards whether the answer is whole."""
        ...

    def fail(self, failure: Fault) -> bytes:
        """The event that takes the place of the rest of the answer."""
        ...


Rewrite = Callable[[str], str]


class Cutter(Protocol):
    """Looks at a streamed text; see `policy.inspection.Inspector`."""

    def cut(self, text: str, *, is_last: bool) -> tuple[str, str]:
        """What may go on, and what must wait."""
        ...


class Showing(msgspec.Struct, frozen=True):
    """How an answer is shown to the one who asked."""

    request: ModelRequest
    request_id: str
    created_s: int
    #: The name to write into the answer; None where the upstream's own is the caller's.
    model: str | None = None
    #: What looks at streamed texts.
    cutter: Cutter | None = None


class Wire(Protocol):
    """How a call of one dialect is carried to a target and its answer back: the dialect itself, or a crossing to another one."""

    @property
    def upstream_path(self) -> str:
        """Path below an upstream's base URL."""
        ...

    def encode(self, request: ModelRequest, model: str, cap_tokens: int | None, /) -> bytes:
        """The body for the upstream: the target's name for the model, and a cap in place of the caller's."""
        ...

    def read_reply(self, body: bytes, /) -> Reply:
        """What matters of a whole answer."""
        ...

    def show_reply(self, body: bytes, showing: Showing, /) -> bytes:
        """A whole answer as the caller gets it."""
        ...

    def open_tap(self, showing: Showing, /) -> StreamTap:
        """Reads a streamed answer and gives the caller's."""
        ...

    def read_refusal(self, status: int, headers: dict[bytes, bytes], body: Any, provider: str, /) -> Fault:
        """An upstream's error answer as our fault."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation of one API, as far as admission needs to know it: what follows is the relay's business or the task queue's."""

    #: "openai", "dashscope", "anthropic": targets of that kind take its bodies as they are.
    api: str
    operation: str
    #: Paths that clients use.
    paths: tuple[str, ...]
    #: (body, headers) -> the call
    decode: Callable[[bytes, dict[bytes, bytes]], ModelRequest]
    #: Requests with every text of theirs rewritten.
    rewrite_request: Callable[[ModelRequest, Rewrite], ModelRequest]
    render_error: Callable[[Fault, str], tuple[Headers, bytes]]
    #: Headers that carry the request id.
    id_headers: tuple[bytes, ...] = (b"x-request-id",)
    #: Of an API whose calls go on from earlier ones: (call, the items of what was said before) -> the call with them.
    with_context: Callable[[ModelRequest, list[dict[str, Any]]], ModelRequest] | None = None
    #: Whether its calls may refer to documents and media that we have: they are put in before it is decoded.
    takes_links: bool = False
    #: The commonest calls by one look, None for others: such a call refers to nothing but by links in its texts.
    decode_plain: Callable[[bytes], ModelRequest | None] | None = None
    #: Whether its bodies may be multipart forms.
    takes_forms: bool = False
    #: Where a path has several operations: (body, headers, what a model is called for) -> the one that is meant.
    diverts: Callable[[bytes, dict[bytes, bytes], OperationsOf], Operation | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect(Operation):
    """One operation of one API that targets answer at once, in both roles."""

    upstream_path: str
    encode: Callable[[ModelRequest, str, int | None], bytes]
    read_reply: Callable[[bytes], Reply]
    show_reply: Callable[[bytes, Showing], bytes]
    open_tap: Callable[[Showing], StreamTap]
    read_refusal: Callable[[int, dict[bytes, bytes], Any, str], Fault]
    #: Whole answers with every text of theirs rewritten.
    rewrite_reply: Callable[[bytes, Rewrite], bytes]
    #: What it takes to cross from and to other APIs; None where it cannot.
    codec: Codec | None = None
    #: Whether a call for this model (its name there) goes this way, where an API has several for one operation.
    suits: Callable[[ModelRequest, str], bool] = lambda _request, _model: True


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOperation(Operation):
    """One operation of one API that becomes a task."""

    #: (call, headers) -> what the task is to do
    ask: Callable[[ModelRequest, dict[bytes, bytes]], TaskAsk]
    #: Whether the caller wants the task itself; else its end is waited for. Raises where only one of them is to be had.
    is_async: Callable[[dict[bytes, bytes]], bool]
    #: (task, links of its objects) -> status and body of the answer to the call that submitted it
    show: Callable[[Task, Links], tuple[int, bytes]]


#: The name of a model -> the operations that it is called for; empty where there is no such model.
OperationsOf = Callable[[str], tuple[str, ...]]
#: An object's id and name -> its public link.
Links = Callable[[str], str]


def by_path(dialects: Iterable[Operation]) -> dict[str, Operation]:
    """The operation table's first column."""
    return {path: dialect for dialect in dialects for path in dialect.paths}


def find_upstream(dialects: Iterable[Dialect], api: str, operation: str, model: str) -> Dialect:
    """The dialect by which a model (its name there) is asked in an API, for a call of texts alone."""
    plain = ModelRequest(operation=operation, model=model, raw=b"", decoded={})
    return next(one for one in dialects if one.api == api and one.operation == operation and one.suits(plain, model))
