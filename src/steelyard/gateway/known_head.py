"""A request head that the parser has read once, by which the next one like it is known without being parsed again.

A client sends the same head over and over on a connection, but for the length of its body. Byte for byte the same means the
same to the parser, so nothing is taken on trust; a head that differs anywhere else goes to the parser.
"""

from __future__ import annotations

import hashlib
import re
from hmac import compare_digest

from steelyard.dialects.dialect import Operation

_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ?([0-9]{1,8})\r\n")
_MAX_DIGITS = 8
#: What each request must have looked at anew.
_UNIQUE = (b"expect", b"transfer-encoding", b"upgrade", b"connection")
_KEEP_ALIVE = b"keep-alive"


class Fields(dict[bytes, bytes]):
    """The header fields of a known head, lower-case names, but for the length. They never change."""

    __slots__ = ("bearer_digest",)

    #: Of the credential; None where it is no bearer's.
    bearer_digest: str | None


def bearer_digest_of(fields: dict[bytes, bytes]) -> str | None:
    """The digest under which a bearer's credential is known; None where there is none."""
    if type(fields) is Fields:
        return fields.bearer_digest
    authorization = fields.get(b"authorization")
    if authorization is None or authorization[:7].lower() != b"bearer ":
        return None
    return hashlib.sha256(authorization[7:]).hexdigest()


class KnownHead:
    """What a head said, and its bytes on both sides of the body's length."""

    __slots__ = ("_after", "_after_size", "_before", "_before_size", "dialect", "fields", "path")

    def __init__(self, before: bytes, after: bytes, dialect: Operation, path: str, fields: dict[bytes, bytes]) -> None:
        self._before, self._before_size = before, len(before)
        self._after, self._after_size = after, len(after)
        self.dialect = dialect
        self.path = path
        known = self.fields = Fields(fields)
        known.pop(b"content-length", None)
        known.bearer_digest = bearer_digest_of(fields)

    def __repr__(self) -> str:
        # the bytes hold a credential
        return f"<KnownHead of {self.path} [{self._before_size + self._after_size} bytes]>"

    @classmethod
    def of(cls, data: bytes, dialect: Operation, path: str, fields: dict[bytes, bytes]) -> KnownHead | None:
        """What bytes begin with that the parser has read; None where such a head must be read each time.

        Args:
            data: as it came, from the first byte of a request.
        """
        end = data.find(b"\r\n\r\n") + 4
        length = _LENGTH.search(data, 0, end - 2)
        if length is None or length[1] != fields.get(b"content-length"):
            return None
        if any(name in fields and fields[name].lower() != _KEEP_ALIVE for name in _UNIQUE):
            return None
        return cls(data[: length.start(1)], data[length.end(1) : end], dialect, path, fields)

    def read(self, data: bytes) -> tuple[int, int] | None:
        """The length of the body and where it begins, if this is how the bytes begin.

        Compared in constant time: behind a proxy, connections may carry other people's credentials.
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
