"""Word documents."""

from collections.abc import Iterator
from pathlib import Path

from steelyard.knowledge.blocks import Block
from steelyard.knowledge.parse import Parser


def read(path: Path) -> Iterator[Block]:
    """By way of HTML, whose headings and tables are the document's; pictures are left out."""
    import mammoth

    from steelyard.knowledge.parse.html import read_html

    with path.open("rb") as file:
        made = mammoth.convert_to_html(file, convert_image=mammoth.images.img_element(lambda _image: {"src": ""}))
    yield from read_html(made.value)


PARSER = Parser((".docx",), read)
