"""Books."""

import posixpath
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from steelyard.knowledge.blocks import Block, Place
from steelyard.knowledge.parse import DocumentError, Parser

#: A chapter larger than this is none.
MAX_CHAPTER_BYTES = 50_000_000


def read(path: Path) -> Iterator[Block]:
    """Each chapter, in the order of reading."""
    from selectolax.lexbor import LexborHTMLParser

    from steelyard.knowledge.parse.html import read_html

    with zipfile.ZipFile(path) as book:
        container = LexborHTMLParser(_text(book, "META-INF/container.xml"))
        root = container.css_first("rootfile")
        if root is None:
            raise DocumentError("the book has no table of contents")
        place = root.attributes["full-path"] or ""
        package = LexborHTMLParser(_text(book, place))
        items = {one.attributes.get("id"): one.attributes.get("href") for one in package.css("item")}
        for number, entry in enumerate(package.css("itemref"), start=1):
            href = items.get(entry.attributes.get("idref"))
            if href:
                name = posixpath.normpath(posixpath.join(posixpath.dirname(place), unquote(href)))
                yield from read_html(_text(book, name), Place("chapter", str(number)))


def _text(book: zipfile.ZipFile, name: str) -> str:
    with book.open(name) as file:
        data = file.read(MAX_CHAPTER_BYTES + 1)
    if len(data) > MAX_CHAPTER_BYTES:
        raise DocumentError("a chapter is larger than it may be")
    return data.decode("utf-8", "replace")


PARSER = Parser((".epub",), read)
