"""The texts of flags as values."""

from pathlib import Path
from typing import Any

import msgspec

from steelyard.base.errors import SetupFault


def split(text: str) -> tuple[str, ...]:
    """Parts between commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def pairs(texts: tuple[str, ...], flag: str) -> dict[str, str]:
    """NAME=VALUE, repeated.

    Raises:
        SetupFault: one is not of that form.
    """
    read = {}
    for text in texts:
        name, mark, value = text.partition("=")
        if not mark or not name:
            raise SetupFault(f"{flag} {text!r} is not NAME=VALUE.")
        read[name] = value
    return read


def json_or_text(text: str) -> Any:
    """What JSON says, or else the text itself."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def text_of(value: str) -> str:
    """A text, or with @FILE what stands in a file.

    Raises:
        SetupFault: the file cannot be read.
    """
    return read_text(Path(value[1:])) if value.startswith("@") else value


def read_text(file: Path) -> str:
    """What stands in a file.

    Raises:
        SetupFault: it cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise SetupFault(f"{file} cannot be read: {exc}.") from None
