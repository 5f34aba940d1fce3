"""Bodies that come as JSON or as a multipart form: the openai SDK sends the latter wherever a file may be part of a call."""

import base64
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from steelyard.base.errors import fault
from steelyard.base.jsondoor import decode_object

MULTIPART = b"multipart/form-data"
MAX_PARTS = 64


def read_fields(
    raw: bytes, headers: dict[bytes, bytes], *, files: tuple[str, ...], whole: tuple[str, ...]
) -> dict[str, Any]:
    """The fields of a body; of a form, files become `data:` links.

    Args:
        files: fields that hold files; several of one name make a list under the name without `[]`.
        whole: fields that hold whole numbers, which a form sends as text.

    Raises:
        Fault: the body is neither.
    """
    kind, options = parse_options_header(headers.get(b"content-type", b""))
    if kind != MULTIPART:
        return decode_object(raw)
    boundary = options.get(b"boundary")
    if not boundary:
        raise fault("parameter_invalid", detail="The multipart body has no boundary.")
    fields: dict[str, Any] = {}
    for name, data, content_type in _parts(raw, boundary):
        name = name.removesuffix("[]")
        if name in files:
            link = f"data:{content_type};base64,{base64.b64encode(data).decode()}"
            fields.setdefault(name, []).append(link)
            continue
        text = data.decode("utf-8", "replace")
        fields[name] = int(text) if name in whole and text.isdecimal() else text
    return fields


def _parts(raw: bytes, boundary: bytes) -> list[tuple[str, bytes, str]]:
    found: list[tuple[str, bytes, str]] = []
    headers: dict[bytes, bytes] = {}
    state = {"name": b"", "value": b"", "data": bytearray()}
    is_whole = False

    def begin() -> None:
        headers.clear()
        state["data"] = bytearray()

    def header_field(data: bytes, start: int, end: int) -> None:
        state["name"] += data[start:end]  # type: ignore[operator]

    def header_value(data: bytes, start: int, end: int) -> None:
        state["value"] += data[start:end]  # type: ignore[operator]

    def header_end() -> None:
        headers[bytes(state["name"]).lower()] = bytes(state["value"])
        state["name"] = state["value"] = b""

    def part_data(data: bytes, start: int, end: int) -> None:
        state["data"] += data[start:end]  # type: ignore[operator]

    def part_end() -> None:
        _, options = parse_options_header(headers.get(b"content-disposition", b""))
        kind = headers.get(b"content-type", b"application/octet-stream").decode("latin-1")
        found.append(
            (options.get(b"name", b"").decode("utf-8", "replace"), bytes(state["data"]), kind.partition(";")[0])
        )
        if len(found) > MAX_PARTS:
            raise fault("parameter_invalid", detail=f"A form has at most {MAX_PARTS} parts.")

    def end() -> None:
        nonlocal is_whole
        is_whole = True

    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": begin,
            "on_header_field": header_field,
            "on_header_value": header_value,
            "on_header_end": header_end,
            "on_part_data": part_data,
            "on_part_end": part_end,
            "on_end": end,
        },
    )
    try:
        parser.write(raw)
        parser.finalize()
    except FormParserError:
        is_whole = False
    if not is_whole:
        raise fault("parameter_invalid", detail="The multipart body is malformed or breaks off.")
    return found
