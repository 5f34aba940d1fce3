"""Multipart bodies, part by part as their bytes come. Source: RFC 7578."""

from collections.abc import Callable
from typing import Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from steelyard.base.errors import fault

MULTIPART = "multipart/form-data"
MAX_PARTS = 200
BROKEN = "The multipart body is malformed or breaks off."


class Part(Protocol):
    """Takes a part's bytes."""

    def write(self, data: bytes, /) -> None:
        """The next bytes."""
        ...

    def end(self) -> None:
        """There are no more."""
        ...


#: (field, file name or None for a plain field, content type) -> what takes its bytes
OpenPart = Callable[[str, str | None, str], Part]


def read_boundary(content_type: str) -> bytes | None:
    """The boundary of a form; None where the body is none."""
    kind, options = parse_options_header(content_type.encode("latin-1"))
    return options.get(b"boundary") if kind == MULTIPART.encode() else None


class FormParser:
    """Reads one form."""

    def __init__(self, boundary: bytes, open_part: OpenPart) -> None:
        self._open_part = open_part
        self._count = 0
        self._name, self._value = bytearray(), bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._part: Part
        self._is_whole = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._headers.clear,
                "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._header_ended,
                "on_headers_finished": self._headers_ended,
                "on_part_data": lambda data, start, end: self._part.write(data[start:end]),
                "on_part_end": lambda: self._part.end(),
                "on_end": self._ended,
            },
        )

    def write(self, data: bytes) -> None:
        """Takes the next bytes of the body.

        Raises:
            Fault: they are no form, or `open_part` or a part refuses.
        """
        try:
            self._parser.write(data)
        except FormParserError:
            raise fault("parameter_invalid", detail=BROKEN) from None

    def finish(self) -> None:
        """The body has ended.

        Raises:
            Fault: before its time.
        """
        if not self._is_whole:
            raise fault("parameter_invalid", detail=BROKEN)

    def _header_ended(self) -> None:
        self._headers[bytes(self._name).lower()] = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _headers_ended(self) -> None:
        self._count += 1
        if self._count > MAX_PARTS:
            raise fault("parameter_invalid", detail=f"A form has at most {MAX_PARTS} parts.")
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        file_name = options.get(b"filename")
        kind = self._headers.get(b"content-type", b"application/octet-stream").partition(b";")[0].decode("latin-1")
        self._part = self._open_part(
            options.get(b"name", b"").decode("utf-8", "replace"),
            None if file_name is None else file_name.decode("utf-8", "replace"),
            kind,
        )

    def _ended(self) -> None:
        self._is_whole = True
