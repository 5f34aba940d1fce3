"""Forms with files, taken as they come: fields in memory, files on disk. Nothing is read through before it may be refused."""

from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field

from starlette.requests import ClientDisconnect, Request

from steelyard.base.errors import fault
from steelyard.base.multipart import BROKEN, FormParser, Part, read_boundary
from steelyard.tasks.library import Spool

MAX_FIELD_BYTES = 65_536


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


class _Field:
    def __init__(self, form: Form, name: str) -> None:
        self._form = form
        self._name = name
        self._data = bytearray()

    def write(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > MAX_FIELD_BYTES:
            raise fault(
                "parameter_invalid", detail=f"The field '{self._name[:50]}' is longer than {MAX_FIELD_BYTES} bytes."
            )

    def end(self) -> None:
        self._form.fields.setdefault(self._name, []).append(self._data.decode("utf-8", "replace"))


class _File:
    def __init__(self, spool: Spool, limit: int) -> None:
        self._spool = spool
        self._limit = limit

    def write(self, data: bytes) -> None:
        self._spool.write(data)
        if self._spool.size_bytes > self._limit:
            raise fault("file_too_large", limit_bytes=self._limit, size="more")

    def end(self) -> None:
        pass


@asynccontextmanager
async def read_form(request: Request, open_spool: Callable[[], Spool], inspect: Inspect) -> AsyncIterator[Form]:
    """The form of a request; its files are gone from the disk when the context is left.

    Raises:
        Fault: it is none, it breaks off, or `inspect` refuses a file of it.
    """
    boundary = read_boundary(request.headers.get("content-type", ""))
    if not boundary:
        raise fault("parameter_invalid", detail="The body must be multipart/form-data with a boundary.")
    form = Form()
    with ExitStack() as stack:

        def open_part(name: str, file_name: str | None, _kind: str) -> Part:
            if file_name is None:
                return _Field(form, name)
            limit = inspect(form, name, file_name)
            spool = stack.enter_context(open_spool())
            form.files.append(FormFile(name, file_name, spool))
            return _File(spool, limit)

        parser = FormParser(boundary, open_part)
        try:
            async for part in request.stream():
                parser.write(part)
        except ClientDisconnect:
            raise fault("parameter_invalid", detail=BROKEN) from None
        parser.finish()
        yield form
