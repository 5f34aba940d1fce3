"""The one small port between the core and any HTTP server: a request in, an answer out."""

from collections.abc import Callable
from typing import Protocol

Headers = list[tuple[bytes, bytes]]


class Exchange(Protocol):
    """One request and its answer. The body is whole before the core sees it."""

    path: str
    #: Whether its answers leave through the outbox, as soon as they are given.
    is_posted: bool
    #: lower-case names
    headers: dict[bytes, bytes]
    client: str | None
    #: Called once when the client goes away.
    on_disconnect: Callable[[], None] | None
    #: Called with True when the client reads too slowly, with False when it has caught up.
    on_pressure: Callable[[bool], None] | None

    @property
    def is_disconnected(self) -> bool:
        """Whether the client has gone."""
        ...

    @property
    def body(self) -> bytes:
        """The whole request body."""
        ...

    def send(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer, in one write."""
        ...

    def start(self, status: int, headers: Headers) -> None:
        """The head of a streamed answer."""
        ...

    def write(self, data: bytes) -> None:
        """A part of a streamed answer."""
        ...

    def end(self, data: bytes = b"") -> None:
        """The last part and the end mark."""
        ...

    def break_off(self, data: bytes) -> None:
        """The last part of an answer that is not whole: an error event in place of the rest."""
        ...

    def abort(self) -> None:
        """Cuts the connection: the only honest end of a streamed answer that cannot be finished."""
        ...
