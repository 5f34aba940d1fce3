"""Web pages; other formats that can be turned into them come this way too."""

import re
from collections.abc import Iterator
from pathlib import Path

from selectolax.lexbor import LexborHTMLParser, LexborNode

from steelyard.knowledge.blocks import HEADING, TABLE, TEXT, Block, Place, table_text
from steelyard.knowledge.parse import DocumentError, Parser
from steelyard.knowledge.parse.text import decode_text

_HEADINGS = {f"h{level}": level for level in range(1, 7)}
#: What holds no text of the page's own.
_LEFT_OUT = frozenset({"script", "style", "noscript", "template", "nav", "svg", "head", "iframe", "button", "form"})
_BREAKS = frozenset(
    {"p", "div", "section", "article", "main", "ul", "ol", "li", "dl", "dt", "dd", "blockquote", "pre", "figure", "header",
     "footer", "aside", "hr", "body", "html", "details", "summary", "figcaption", "address"}
)  # fmt: skip
MAX_DEPTH = 400
MAX_NESTING = 2_000
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
#: Elements that need not be closed.
_UNCLOSED = frozenset(
    {"p", "li", "dt", "dd", "tr", "td", "th", "thead", "tbody", "tfoot", "option", "optgroup", "colgroup", "br", "img", "hr", "input",
     "meta", "link", "area", "base", "col", "embed", "source", "track", "wbr", "param"}
)  # fmt: skip


def read_html(text: str, place: Place | None = None) -> Iterator[Block]:
    """A page's headings, paragraphs and tables."""
    _check_nesting(text)
    body = LexborHTMLParser(text).body
    if body is None:
        return
    inline: list[str] = []
    yield from _walk(body, inline, 0, place)
    yield from _flush(inline, place)


def _check_nesting(text: str) -> None:
    """Deep nesting costs the parser its depth squared.

    Raises:
        DocumentError: it is nested deeper than any page is.
    """
    depth = 0
    for found in _TAG.finditer(text):
        if found[2].lower() in _UNCLOSED:
            continue
        depth = max(depth - 1, 0) if found[1] else depth + 1
        if depth > MAX_NESTING:
            raise DocumentError(f"the page is nested deeper than {MAX_NESTING}")


def _flush(inline: list[str], place: Place | None) -> Iterator[Block]:
    text = " ".join("".join(inline).split())
    inline.clear()
    if text:
        yield Block(text, TEXT, place=place)


def _walk(node: LexborNode, inline: list[str], depth: int, place: Place | None) -> Iterator[Block]:
    child = node.child
    while child is not None:
        tag = child.tag
        if tag == "-text":
            inline.append(child.text_content or "")
        elif tag in _HEADINGS:
            yield from _flush(inline, place)
            yield Block(" ".join(child.text(separator=" ").split()), HEADING, _HEADINGS[tag], place)
        elif tag == "table":
            yield from _flush(inline, place)
            yield Block(table_text(_rows(child)), TABLE, place=place)
        elif tag == "br":
            inline.append(" ")
        elif tag in _LEFT_OUT or (tag or "").startswith(("-", "_", "!")) or depth > MAX_DEPTH:
            pass
        elif tag in _BREAKS:
            yield from _flush(inline, place)
            yield from _walk(child, inline, depth + 1, place)
            yield from _flush(inline, place)
        else:
            yield from _walk(child, inline, depth + 1, place)
        child = child.next


def _rows(table: LexborNode) -> Iterator[list[str]]:
    for row in table.css("tr"):
        yield [cell.text(separator=" ") for cell in row.css("th, td")]


def read(path: Path) -> Iterator[Block]:
    """See `read_html`."""
    yield from read_html(decode_text(path.read_bytes()))


PARSER = Parser((".html", ".htm", ".xhtml"), read)
