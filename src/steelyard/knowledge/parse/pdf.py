"""PDF."""

import re
from collections.abc import Iterator
from pathlib import Path

from steelyard.knowledge.blocks import Block, Place
from steelyard.knowledge.parse import DocumentError, Parser

MAX_PAGES = 15_000
_BLANK = re.compile(r"\n\s*\n")


def read(path: Path) -> Iterator[Block]:
    """Each page's paragraphs."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as exc:
        if "password" in str(exc).lower():
            raise DocumentError("the document is locked with a password") from None
        raise
    if len(document) > MAX_PAGES:
        raise DocumentError(f"the document has {len(document)} pages, over the limit of {MAX_PAGES}")
    for number in range(len(document)):
        page = document[number]
        text = page.get_textpage().get_text_bounded().replace("\r\n", "\n").replace("\ufffe", "-\n")
        page.close()
        for part in _BLANK.split(text):
            yield Block(part.strip(), place=Place("page", str(number + 1)))


PARSER = Parser((".pdf",), read)
