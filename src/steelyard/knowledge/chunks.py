"""Documents in chunks: pieces that are embedded and found by themselves. Values in, values out.

A chunk ends where a section, a paragraph or a sentence does, in Chinese and English alike; only a sentence that is longer than a chunk is cut.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

import msgspec

from steelyard.knowledge.blocks import HEADING, TABLE, Block, Place

MAX_SIZE = 6_000
#: How documents are cut: by sections, by length alone, by page, by headings of the first or second level, by a pattern.
SMART, LENGTH, PAGE, FIRST, SECOND, PATTERN = "", "length", "page", "h1", "h2", "regex"
MODES = (SMART, LENGTH, PAGE, FIRST, SECOND, PATTERN)
_LEVELS = {FIRST: 1, SECOND: 2}
#: Where sentences end: a Chinese one with its mark, an English one where a blank follows; closing quotes belong to it.
_ENDS = re.compile(r"[。！？；]+[”』」）】》\"']*|[!?;.]+[\"')\]]*(?:\s+|$)|\n+")
_CLAUSE = re.compile(r"[^，、：,:\s]*(?:[，、：,:\s]+|$)")


class ChunkOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How long chunks are, in characters.

    Args:
        size: of a chunk, at most; a table may have `MAX_SIZE`.
        overlap: what of a chunk's end the next one begins with, at most.
        separator: the pattern of the mode `regex`.
    """

    size: int = 500
    overlap: int = 100
    mode: str = SMART
    separator: str = ""


class Chunk(msgspec.Struct, frozen=True):
    """A piece of a document, with the headings that it stands under and where it begins."""

    text: str
    headings: tuple[str, ...] = ()
    place: Place | None = None
    is_table: bool = False


class _Unit(msgspec.Struct, frozen=True):
    """What belongs together: a paragraph or a table, with where it stands."""

    text: str
    headings: tuple[str, ...]
    place: Place | None
    is_table: bool


def cut_chunks(blocks: Iterable[Block], options: ChunkOptions) -> list[Chunk]:
    """A document's chunks, in its order.

    Raises:
        ValueError: the options contradict each other.
    """
    check_options(options)
    units = list(_units(blocks, keeps_headings=options.mode in (LENGTH, PAGE, PATTERN)))
    if options.mode == PATTERN:
        units = list(_split_by_pattern(units, options.separator))
    return [
        chunk
        for _, section in groupby(units, key=lambda one: _section_of(one, options.mode))
        for chunk in _pack(list(section), options)
    ]


def check_options(options: ChunkOptions) -> None:
    """Whether documents can be cut so.

    Raises:
        ValueError: naming the field.
    """
    if not 1 <= options.size <= MAX_SIZE:
        raise ValueError(f"size must lie in 1 to {MAX_SIZE}")
    if not 0 <= options.overlap < options.size:
        raise ValueError("overlap must be 0 or more, and less than size")
    if options.mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(repr(one) for one in MODES)}")
    if options.mode == PATTERN and not options.separator:
        raise ValueError("separator: the mode regex needs a pattern")


def _units(blocks: Iterable[Block], *, keeps_headings: bool) -> Iterator[_Unit]:
    path: list[tuple[int, str]] = []
    for block in blocks:
        text = block.text.strip()
        if not text:
            continue
        if block.kind == HEADING:
            path = [one for one in path if one[0] < block.level] + [(block.level, text)]
            if not keeps_headings:
                # a section without a text of its own is still one
                yield _Unit("", tuple(title for _, title in path), block.place, is_table=False)
                continue
        yield _Unit(text, tuple(title for _, title in path), block.place, block.kind == TABLE)


def _section_of(unit: _Unit, mode: str) -> object:
    """What chunks never reach across."""
    if mode in (LENGTH, PATTERN):
        return unit.text if mode == PATTERN else None
    if mode == PAGE:
        return unit.place
    level = _LEVELS.get(mode)
    return unit.headings if level is None else unit.headings[:level]


def _split_by_pattern(units: list[_Unit], pattern: str) -> Iterator[_Unit]:
    import re2

    try:
        compiled = re2.compile(pattern)
    except re2.error as exc:
        raise ValueError(f"separator: no pattern: {exc}") from None
    whole = "\n\n".join(one.text for one in units)
    for part in compiled.split(whole):
        if part and part.strip():
            yield _Unit(part.strip(), (), None, is_table=False)


def _pack(units: list[_Unit], options: ChunkOptions) -> Iterator[Chunk]:
    """Paragraphs of a section in chunks; a chunk begins with the end of the one before it."""
    held: list[str] = []
    first: _Unit | None = None
    is_fresh = False
    told = False
    for unit in units:
        if not unit.text:
            first = first or unit
            continue
        if unit.is_table:
            if is_fresh and first is not None:
                yield _chunk(held, first)
            held, is_fresh, first, told = [], False, None, True
            yield from _cut_table(unit)
            continue
        for piece in cut_text(unit.text, options.size):
            if held and _length(held) + len(piece) > options.size:
                assert first is not None
                if is_fresh:
                    yield _chunk(held, first)
                    told = True
                held, first = _tail(held, min(options.overlap, options.size - len(piece))), unit
            held.append(piece)
            is_fresh, first = True, first or unit
        held.append("\n")
    if first is not None and is_fresh:
        yield _chunk(held, first)
    elif first is not None and not told and first.headings:
        yield Chunk(first.headings[-1], first.headings, first.place)


def _chunk(pieces: list[str], first: _Unit) -> Chunk:
    text = re.sub(r"\n{2,}", "\n", "".join(pieces)).strip()
    return Chunk(text, first.headings, first.place)


def _length(pieces: list[str]) -> int:
    return sum(len(one) for one in pieces)


def _tail(pieces: list[str], most: int) -> list[str]:
    """The last sentences that are no longer together than `most`."""
    kept: list[str] = []
    for piece in reversed(pieces):
        if _length(kept) + len(piece) > most:
            break
        kept.insert(0, piece)
    return kept if any(one.strip() for one in kept) else []


def cut_text(text: str, size: int) -> list[str]:
    """A text's sentences, each no longer than a size; together they are the text."""
    found = []
    for sentence in _sentences(text):
        if len(sentence) <= size:
            found.append(sentence)
            continue
        held = ""
        for clause in (one[0] for one in _CLAUSE.finditer(sentence) if one[0]):
            if held and len(held) + len(clause) > size:
                found.append(held)
                held = ""
            held += clause
            while len(held) > size:
                found.append(held[:size])
                held = held[size:]
        if held:
            found.append(held)
    return found


def _sentences(text: str) -> Iterator[str]:
    start = 0
    for end in _ENDS.finditer(text):
        yield text[start : end.end()]
        start = end.end()
    if start < len(text):
        yield text[start:]


def _cut_table(unit: _Unit) -> Iterator[Chunk]:
    """A table whole, or its rows in parts that each begin with its first."""
    if len(unit.text) <= MAX_SIZE:
        yield Chunk(unit.text, unit.headings, unit.place, is_table=True)
        return
    head, *rows = unit.text.split("\n")
    head = head[: MAX_SIZE // 4]
    held: list[str] = []
    for row in rows:
        for part in cut_text(row, MAX_SIZE // 2):
            if held and len(head) + sum(len(one) + 1 for one in held) + len(part) > MAX_SIZE:
                yield Chunk("\n".join([head, *held]), unit.headings, unit.place, is_table=True)
                held = []
            held.append(part)
    if held:
        yield Chunk("\n".join([head, *held]), unit.headings, unit.place, is_table=True)
