"""Multipart forms taken as they come: fields in memory, files on disk. Nothing is read through before it may be refused."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from steelyard.base.errors import fault
from steelyard.tasks.library import Spool

MAX_FIELD_BYTES = 65_536
MAX_PARTS = 200


@dataclass(frozen=True, slots=True)
class FormFile:
    """A file of a form."""

    field: str
    name: str
    spool: Spool


@dataclass(slots=True)
class Form:
    """What a form holds."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    files: list[FormFile] = field(default_factory=list)

    def first(self, name: str) -> str | None:
        """A field's first value."""
        values = self.fields.get(name)
        return values[0] if values else None


#: Looks at a file before its first byte is kept: (the form so far, field, file name) -> the most bytes it may have.
Inspect = Callable[[Form, str, str], int]


class FormReader:
    """Builds a form from the parser's events."""

    def __init__(self, boundary: bytes, open_spool: Callable[[], Spool], inspect: Inspect) -> None:
        self.form = Form()
        self._open_spool = open_spool
        self._inspect = inspect
        self._parts = 0
        self._header = self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._name = ""
        self._data = b""
        self._file: FormFile | None = None
        self._limit = 0
        self.is_whole = False
        callbacks = {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_end,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }
        self.parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise fault("parameter_invalid", detail=f"A form has at most {MAX_PARTS} parts.")
        self._headers, self._data, self._file = {}, b"", None

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header = self._value = b""

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        file_name = options.get(b"filename")
        if file_name is not None:
            name = file_name.decode("utf-8", "replace")
            self._limit = self._inspect(self.form, self._name, name)
            self._file = FormFile(self._name, name, self._open_spool())
            self.form.files.append(self._file)

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._file is None:
            self._data += data[start:end]
            if len(self._data) > MAX_FIELD_BYTES:
                raise fault(
                    "parameter_invalid", detail=f"The field '{self._name}' is longer than {MAX_FIELD_BYTES} bytes."
                )
            return
        self._file.spool.write(data[start:end])
        if self._file.spool.size_bytes > self._limit:
            raise fault("file_too_large", limit_bytes=self._limit, size="more")

    def _part_end(self) -> None:
        if self._file is None:
            self.form.fields.setdefault(self._name, []).append(self._data.decode("utf-8", "replace"))

    def _end(self) -> None:
        self.is_whole = True


@asynccontextmanager
async def read_form(request: Request, open_spool: Callable[[], Spool], inspect: Inspect) -> AsyncIterator[Form]:
    """The form of a request; its files are gone from the disk when the context is left.

    Raises:
        Fault: it is none, it breaks off, or `inspect` refuses a file of it.
    """
    kind, options = parse_options_header(request.headers.get("content-type", "").encode("latin-1"))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise fault("parameter_invalid", detail="The body must be multipart/form-data with a boundary.")
    reader = FormReader(boundary, open_spool, inspect)
    async with AsyncExitStack() as stack:
        # pushed first, so that it sees whatever the reader has opened by then
        stack.callback(_close, reader.form)
        try:
            async for part in request.stream():
                reader.parser.write(part)
            reader.parser.finalize()
        except (FormParserError, ClientDisconnect) as exc:
            raise fault("parameter_invalid", detail="The multipart body is malformed or breaks off.") from exc
        if not reader.is_whole:
            raise fault("parameter_invalid", detail="The multipart body is malformed or breaks off.")
        yield reader.form


def _close(form: Form) -> None:
    for one in form.files:
        one.spool.__exit__()
