"""What a request's head said that came before on its connection: who calls what."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from steelyard.base.head_pattern import HeadPattern
from steelyard.dialects.dialect import Operation

if TYPE_CHECKING:
    from steelyard.gateway.standing import Standing

#: What each request must have looked at anew.
_UNIQUE = (b"expect", b"transfer-encoding", b"upgrade", b"connection")
_KEEP_ALIVE = b"keep-alive"


class Fields(dict[bytes, bytes]):
    """The header fields of a known head, lower-case names, but for the length. They never change."""

    __slots__ = ("bearer_digest", "standing")

    def __init__(self, fields: dict[bytes, bytes]) -> None:
        super().__init__(fields)
        self.pop(b"content-length", None)
        #: Of the credential; None where it is no bearer's.
        self.bearer_digest = bearer_digest_of(fields)
        #: What was decided of the last call with this head; None as long as there was none.
        self.standing: Standing | None = None


def bearer_digest_of(fields: dict[bytes, bytes]) -> str | None:
    """The digest under which a bearer's credential is known; None where there is none."""
    if type(fields) is Fields:
        return fields.bearer_digest
    authorization = fields.get(b"authorization")
    if authorization is None or authorization[:7].lower() != b"bearer ":
        return None
    return hashlib.sha256(authorization[7:]).hexdigest()


class KnownHead:
    """A head that was read, and the pattern by which it is known again."""

    __slots__ = ("dialect", "fields", "path", "pattern")

    def __init__(self, pattern: HeadPattern, dialect: Operation, path: str, fields: dict[bytes, bytes]) -> None:
        self.pattern = pattern
        self.dialect = dialect
        self.path = path
        self.fields = Fields(fields)

    def __repr__(self) -> str:
        return f"<KnownHead of {self.path}>"

    @classmethod
    def of(cls, data: bytes, dialect: Operation, path: str, fields: dict[bytes, bytes]) -> KnownHead | None:
        """What bytes begin with that the parser has read; None where such a head must be read each time.

        Args:
            data: as it came, from the first byte of a request.
        """
        if any(name in fields and fields[name].lower() != _KEEP_ALIVE for name in _UNIQUE):
            return None
        pattern = HeadPattern.of(data, fields.get(b"content-length"))
        return None if pattern is None else cls(pattern, dialect, path, fields)
