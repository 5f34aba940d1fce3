"""Slides."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from steelyard.knowledge.blocks import HEADING, TABLE, TEXT, Block, Place, table_text
from steelyard.knowledge.parse import Parser


def read(path: Path) -> Iterator[Block]:
    """Each slide's title, texts, tables and notes."""
    from pptx import Presentation

    for number, slide in enumerate(Presentation(str(path)).slides, start=1):
        place = Place("slide", str(number))
        title = slide.shapes.title
        for shape in _flat(slide.shapes):
            if shape.has_text_frame and shape.text_frame.text.strip():
                is_title = title is not None and shape.shape_id == title.shape_id
                yield Block(
                    shape.text_frame.text.strip(), HEADING if is_title else TEXT, 2 if is_title else 0, place=place
                )
            elif getattr(shape, "has_table", False):
                rows = ([cell.text for cell in row.cells] for row in shape.table.rows)
                yield Block(table_text(rows), TABLE, place=place)
        if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
            yield Block(slide.notes_slide.notes_text_frame.text.strip(), TEXT, place=place)


def _flat(shapes: Iterable[Any]) -> Iterator[Any]:
    """Groups opened."""
    for shape in shapes:
        if hasattr(shape, "shapes"):
            yield from _flat(shape.shapes)
        else:
            yield shape


PARSER = Parser((".pptx",), read)
