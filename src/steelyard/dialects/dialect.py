"""What a wire operation provides, and the table of them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from steelyard.base.errors import Fault
from steelyard.canon.request import ModelRequest
from steelyard.canon.usage import Usage

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
        """What was held back when the upstream ended."""
        ...


Rewrite = Callable[[str], str]


class Cutter(Protocol):
    """Looks at a streamed text; see `policy.inspection.Inspector`."""

    def cut(self, text: str, *, is_last: bool) -> tuple[str, str]:
        """What may go on, and what must wait."""
        ...


@dataclass(frozen=True, slots=True)
class Dialect:
    """One operation of one API, in both roles."""

    operation: str
    #: Paths that clients use.
    paths: tuple[str, ...]
    #: Path below an upstream's base URL.
    upstream_path: str
    decode: Callable[[bytes], ModelRequest]
    #: (request, the target's model name, cap in place of the caller's or None) -> body for the upstream
    encode: Callable[[ModelRequest, str, int | None], bytes]
    read_reply: Callable[[bytes], Reply]
    rename_reply: Callable[[bytes, str], bytes]
    #: (hide usage, name to show or None, what looks at its texts or None) -> tap
    open_tap: Callable[[bool, str | None, Cutter | None], StreamTap]
    #: Requests and whole answers with every text of theirs rewritten.
    rewrite_request: Callable[[ModelRequest, Rewrite], ModelRequest]
    rewrite_reply: Callable[[bytes, Rewrite], bytes]
    render_error: Callable[[Fault, str], tuple[Headers, bytes]]
    render_stream_error: Callable[[Fault, str], bytes]


def by_path(dialects: Iterable[Dialect]) -> dict[str, Dialect]:
    """The operation table's first column."""
    return {path: dialect for dialect in dialects for path in dialect.paths}
