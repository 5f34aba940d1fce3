"""What a document is made of, whatever its format. Frozen; values in, values out."""

from collections.abc import Iterable

import msgspec

TEXT, HEADING, TABLE = "text", "heading", "table"


class Place(msgspec.Struct, frozen=True):
    """Where in its document a block stands, as a reader would look for it: page 3, slide 2, sheet "Q1"."""

    unit: str
    name: str

    def __str__(self) -> str:
        return f"{self.unit} {self.name}"


class Block(msgspec.Struct, frozen=True):
    """A piece of a document that belongs together: a paragraph, a heading, a table."""

    text: str
    kind: str = TEXT
    #: 1 for the outermost heading; 0 for what is none.
    level: int = 0
    place: Place | None = None


def join_blocks(blocks: Iterable[Block]) -> str:
    """A document as one text: headings marked as in Markdown, its places named where they change."""
    lines: list[str] = []
    place: Place | None = None
    for block in blocks:
        if block.place != place and block.place is not None:
            place = block.place
            lines.append(f"[{place}]")
        lines.append(f"{'#' * block.level} {block.text}" if block.kind == HEADING else block.text)
    return "\n\n".join(lines)


def table_text(rows: Iterable[Iterable[object]]) -> str:
    """Rows as lines, cells between bars; empty rows left out."""
    lines = []
    for row in rows:
        cells = [" ".join(str("" if cell is None else cell).split()) for cell in row]
        if any(cells):
            lines.append(" | ".join(cells).rstrip(" |"))
    return "\n".join(lines)
