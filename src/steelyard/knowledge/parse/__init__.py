"""Document parsers: one file a format, found by its constant `PARSER`. They run in a limited child process alone.

A parser's own library is imported where it reads, so that a child pays for one format and not for all.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from steelyard.engines.child import JobError
from steelyard.knowledge.blocks import Block


class DocumentError(JobError):
    """A document cannot be read; its text is for people."""

    kind = "document"


@dataclass(frozen=True, slots=True)
class Parser:
    """Reads one family of formats."""

    #: With their dots, in lower case.
    suffixes: tuple[str, ...]
    #: Raises whatever its library does: to the caller all of it means a damaged document.
    read: Callable[[Path], Iterator[Block]]


@cache
def parsers() -> dict[str, Parser]:
    """Every parser, by suffix."""
    found: dict[str, Parser] = {}
    for module in pkgutil.iter_modules(__path__):
        parser = getattr(importlib.import_module(f"{__name__}.{module.name}"), "PARSER", None)
        if parser is not None:
            found |= dict.fromkeys(parser.suffixes, parser)
    return found


def read_document(path: Path, name: str) -> Iterator[Block]:
    """A document's blocks; its name's suffix says what it is.

    Raises:
        DocumentError: the format is not read here, or the document is damaged, locked or without a text.
    """
    suffix = Path(name).suffix.lower()
    parser = parsers().get(suffix)
    if parser is None:
        known = " ".join(sorted(one.removeprefix(".") for one in parsers()))
        raise DocumentError(f"the format {suffix or 'without a suffix'} is not read; read are: {known}")
    is_empty = True
    try:
        for block in parser.read(path):
            if block.text.strip():
                is_empty = False
                yield block
    except (JobError, ModuleNotFoundError, MemoryError):
        raise
    except Exception as exc:
        # libraries fail in many ways, and all of them mean the same here
        raise DocumentError(f"the file is no readable {suffix} document, or it is damaged") from exc
    if is_empty:
        raise DocumentError("the document has no text; of pictures of pages none is read")
