"""The one door through which JSON comes in: bounded before it is built, so a small body cannot become a large heap."""

from typing import Any

import msgspec

from steelyard.base.errors import fault

#: Bodies up to this size are decoded without counting; they cannot grow into much.
SMALL_BODY_BYTES = 262_144
#: Separators and brackets allowed in a larger body. Each may cost some 60 bytes once decoded.
MAX_ELEMENTS = 400_000

encode = msgspec.json.encode
_decode = msgspec.json.Decoder().decode


def decode_object(body: bytes) -> dict[str, Any]:
    """Decodes a JSON object.

    Raises:
        Fault: `body_invalid` with the position, `body_too_complex` for nesting or too many elements.
    """
    if len(body) > SMALL_BODY_BYTES and _elements(body) > MAX_ELEMENTS:
        raise fault("body_too_complex")
    try:
        value = _decode(body)
    except RecursionError:
        raise fault("body_too_complex") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise fault("body_invalid", detail=f" ({_where(body, exc)})") from exc
    if type(value) is not dict:
        raise fault("body_invalid", detail=" (The top level must be an object.)")
    return value


def _elements(body: bytes) -> int:
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def _where(body: bytes, exc: Exception) -> str:
    if not body.strip():
        return "The body is empty."
    text = str(exc)
    return text if text.endswith(".") else f"{text}."
