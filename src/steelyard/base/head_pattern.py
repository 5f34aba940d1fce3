"""The bytes of an HTTP head that was parsed once, by which the next one like it is known without being parsed again.

A client sends the same head over and over on a connection, and a server too, but for the length of the body. Byte for byte the
same means the same to the parser, so nothing is taken on trust; a head that differs anywhere else goes to the parser.
"""

from __future__ import annotations

import re
from hmac import compare_digest

_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ?([0-9]{1,8})\r\n")
_MAX_DIGITS = 8
#: A connection whose heads differ each time, by an id or a time in them, is not tried any longer than this.
MAX_MISSES = 8


class HeadPattern:
    """A head's bytes on both sides of the body's length."""

    __slots__ = ("_after", "_after_size", "_before", "_before_size")

    def __init__(self, before: bytes, after: bytes) -> None:
        self._before, self._before_size = before, len(before)
        self._after, self._after_size = after, len(after)

    def __repr__(self) -> str:
        # the bytes may hold a credential
        return f"<HeadPattern [{self._before_size + self._after_size} bytes]>"

    @classmethod
    def of(cls, data: bytes, length: bytes | None) -> HeadPattern | None:
        """The pattern of the head that bytes begin with; None where it is not whole, or no length stands plainly in it.

        Args:
            data: as it came, from the first byte of a message.
            length: what the parser found to be the body's.
        """
        end = data.find(b"\r\n\r\n") + 4
        found = _LENGTH.search(data, 0, end - 2)
        if found is None or found[1] != length:
            return None
        return cls(data[: found.start(1)], data[found.end(1) : end])

    def read(self, data: bytes) -> tuple[int, int] | None:
        """The length of the body and where it begins, if this is how the bytes begin.

        Compared in constant time: behind a proxy, a connection may carry other people's credentials.
        """
        size = self._before_size
        if not compare_digest(data[:size], self._before):
            return None
        end = data.find(b"\r", size, size + _MAX_DIGITS + 1)
        digits = data[size:end]
        start = end + self._after_size
        if end < 0 or not digits.isdigit() or not compare_digest(data[end:start], self._after):
            return None
        return int(digits), start
