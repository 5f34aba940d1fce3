"""Bodies that come as JSON or as a multipart form: the openai SDK sends the latter wherever a file may be part of a call."""

import base64
from typing import Any

from steelyard.base.jsondoor import decode_object
from steelyard.base.multipart import FormParser, Part, read_boundary


class _Bytes:
    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self.kind = kind
        self.data = bytearray()

    def write(self, data: bytes) -> None:
        self.data += data

    def end(self) -> None:
        pass


def read_fields(
    raw: bytes, headers: dict[bytes, bytes], *, files: tuple[str, ...], whole: tuple[str, ...]
) -> dict[str, Any]:
    """The fields of a body; of a form, files become `data:` links.

    Args:
        files: fields that hold files; several of one name make a list, under the name without `[]`.
        whole: fields that hold whole numbers, which a form sends as text.

    Raises:
        Fault: the body is neither.
    """
    boundary = read_boundary(headers.get(b"content-type", b"").decode("latin-1"))
    if not boundary:
        return decode_object(raw)
    parts: list[_Bytes] = []

    def open_part(name: str, _file_name: str | None, kind: str) -> Part:
        parts.append(_Bytes(name.removesuffix("[]"), kind))
        return parts[-1]

    parser = FormParser(boundary, open_part)
    parser.write(raw)
    parser.finish()
    fields: dict[str, Any] = {}
    for part in parts:
        if part.name in files:
            link = f"data:{part.kind};base64,{base64.b64encode(part.data).decode()}"
            fields.setdefault(part.name, []).append(link)
            continue
        text = part.data.decode("utf-8", "replace")
        fields[part.name] = int(text) if part.name in whole and text.isdecimal() else text
    return fields
