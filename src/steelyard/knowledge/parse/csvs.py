"""Tables in text."""

import csv
import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from steelyard.knowledge.blocks import TABLE, Block, Place, table_text
from steelyard.knowledge.parse import Parser
from steelyard.knowledge.parse.text import decode_text

#: Rows of one block; each block begins with the head.
ROWS = 100


def read(path: Path) -> Iterator[Block]:
    """Tables of up to a hundred rows, each under the head."""
    csv.field_size_limit(10_000_000)
    text = decode_text(path.read_bytes())
    rows = csv.reader(io.StringIO(text), delimiter=_delimiter(text))
    head = next(rows, [])
    number = 1
    while portion := list(islice(rows, ROWS)):
        yield Block(table_text([head, *portion]), TABLE, place=Place("row", str(number)))
        number += len(portion)
    if number == 1:
        yield Block(table_text([head]), TABLE)


def _delimiter(text: str) -> str:
    try:
        return csv.Sniffer().sniff(text[:8192], ",;\t|").delimiter
    except csv.Error:
        return ","


PARSER = Parser((".csv", ".tsv"), read)
