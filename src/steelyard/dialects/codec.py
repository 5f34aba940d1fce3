"""Between an operation's wire and canon: what it takes to cross from one API to another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from steelyard.base.errors import Fault
from steelyard.canon.answer import Piece
from steelyard.canon.request import ModelRequest
from steelyard.canon.usage import Usage
from steelyard.dialects.dialect import Showing


class StreamReader(Protocol):
    """An upstream's stream as pieces."""

    usage: Usage | None
    error: Fault | None
    is_done: bool

    def feed(self, chunk: bytes) -> list[Piece]:
        """Takes upstream bytes."""
        ...

    def flush(self) -> list[Piece]:
        """The upstream ended; `is_done` says afterwards whether the answer is whole."""
        ...


class StreamWriter(Protocol):
    """Pieces as a caller's stream."""

    def write(self, pieces: list[Piece]) -> bytes:
        """The events of some pieces."""
        ...

    def end(self, usage: Usage) -> bytes:
        """The last events."""
        ...

    def fail(self, failure: Fault) -> bytes:
        """The event that takes the place of the rest."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """Both directions of requests, whole answers and streams of one operation of one API. `Any` is the operation's canon."""

    #: client role: what was asked
    read_request: Callable[[ModelRequest], Any]
    #: client role: an answer as the caller's body
    write_answer: Callable[[Any, Showing], bytes]
    #: upstream role: (what is asked, the target's name for the model, cap, whether as a stream) -> body
    write_request: Callable[[Any, str, int | None, bool], bytes]
    #: upstream role: a whole answer
    read_answer: Callable[[bytes], Any]
    #: None where the operation has no streams
    open_reader: Callable[[], StreamReader] | None = None
    open_writer: Callable[[Showing], StreamWriter] | None = None
    #: Fields of a call, under their OpenAI names, that have a place on this wire.
    carries: frozenset[str] = frozenset()
    #: What a call may need that has no place on this wire: it would change what the answer is.
    lacks: frozenset[str] = frozenset()
    #: client role: whether it tells what was done on the way to an answer
    tells_steps: bool = False
