"""Spreadsheets."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from steelyard.knowledge.blocks import TABLE, Block, Place, table_text
from steelyard.knowledge.parse import Parser
from steelyard.knowledge.parse.csvs import ROWS


def read(path: Path) -> Iterator[Block]:
    """Each sheet in tables of up to a hundred rows, each under the sheet's first row."""
    from python_calamine import CalamineWorkbook

    book = CalamineWorkbook.from_path(str(path))
    for name in book.sheet_names:
        place = Place("sheet", name)
        rows = (tuple(_cell(cell) for cell in row) for row in book.get_sheet_by_name(name).iter_rows())
        rows = (row for row in rows if any(row))
        head = next(rows, ())
        is_alone = True
        while portion := list(islice(rows, ROWS)):
            is_alone = False
            yield Block(table_text([head, *portion]), TABLE, place=place)
        if is_alone and head:
            yield Block(table_text([head]), TABLE, place=place)


def _cell(value: object) -> str:
    """Numbers as people write them: 3, not 3.0."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return "" if value is None else str(value)


PARSER = Parser((".xlsx", ".xls", ".xlsb", ".ods"), read)
