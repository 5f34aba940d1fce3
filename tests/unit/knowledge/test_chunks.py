"""Chunks end where sections, paragraphs and sentences do, in Chinese and English; nothing is lost and nothing is too long."""

import random
import re

import pytest

from steelyard.knowledge.blocks import HEADING, TABLE, Block, Place
from steelyard.knowledge.chunks import MAX_SIZE, MODES, ChunkOptions, check_options, cut_chunks, cut_text

ZH = ["限流按业务空间计算。", "超过上限时返回429！", "“请稍后再试。”他说；然后等待。", "预算用尽后，调用会被拒绝。"]
EN = [
    "Limits are counted by workspace. ",
    "Version 2.5 answers with 429! ",
    'He said "wait." Then he did. ',
    "Is it over? Yes; it is. ",
]


def plain(text: str) -> str:
    return re.sub(r"\s+", "", text)


def test_sentences() -> None:
    """Marks belong to their sentences; a point within a number or a name ends none."""
    assert cut_text("".join(ZH), 100) == [*ZH[:2], "“请稍后再试。”", "他说；", "然后等待。", ZH[3]]
    assert cut_text("Version 2.5 is at a.example.org. It runs.", 100) == [
        "Version 2.5 is at a.example.org. ",
        "It runs.",
    ]
    assert "".join(cut_text("".join(ZH + EN), 7)) == "".join(ZH + EN)
    assert max(len(one) for one in cut_text("长" * 50 + "，" + "a" * 50, 20)) == 20


@pytest.mark.parametrize("seed", range(30))
def test_whatever_the_document(seed: int) -> None:
    """All of the text is in the chunks, in order; without overlap exactly once; none is longer than it may be."""
    pick = random.Random(seed)
    blocks = []
    for number in range(pick.randrange(1, 40)):
        kind = pick.random()
        place = Place("page", str(number // 5 + 1))
        if kind < 0.2:
            blocks.append(Block(f"Heading {number}", HEADING, pick.randrange(1, 4), place))
        elif kind < 0.3:
            blocks.append(Block(f"name | value\nrow{number} | {number}", TABLE, 0, place))
        else:
            blocks.append(Block("".join(pick.choices(ZH + EN, k=pick.randrange(1, 12))), place=place))
    for mode in MODES:
        size = pick.choice((40, 120, 500))
        options = ChunkOptions(size=size, overlap=0, mode=mode, separator=r"\n\n" if mode == "regex" else "")
        chunks = cut_chunks(blocks, options)
        wanted = [one.text for one in blocks if one.kind != HEADING or mode in ("length", "page", "regex")]
        told = "".join(one.text for one in chunks if one.text != (one.headings or ("",))[-1])
        if mode in ("", "h1", "h2"):
            assert plain(told) == plain("".join(wanted))
        else:
            assert plain("".join(one.text for one in chunks)) == plain("".join(wanted))
        assert all(len(one.text) <= size or one.is_table for one in chunks)
        overlapping = cut_chunks(
            blocks, ChunkOptions(size=size, overlap=size // 4, mode=mode, separator=options.separator)
        )
        assert all(len(one.text) <= size or one.is_table for one in overlapping)
        assert len(overlapping) >= len(chunks)


def test_no_sentence_is_cut() -> None:
    """Where each fits into a chunk."""
    text = "".join(ZH * 50)
    for chunk in cut_chunks([Block(text)], ChunkOptions(size=60, overlap=15)):
        assert chunk.text[-1] in "。！；”"
        assert chunk.text[0] not in "，。；！"


def test_overlap_is_of_whole_sentences() -> None:
    sentences = [f"这是第{number:02}句话。" for number in range(20)]
    chunks = cut_chunks([Block("".join(sentences))], ChunkOptions(size=40, overlap=16))
    assert chunks[0].text == "".join(sentences[:5])
    assert chunks[1].text.startswith(sentences[3] + sentences[4])


def test_sections_and_places() -> None:
    """A chunk stands under its headings, and says where it begins."""
    page = [Place("page", str(number)) for number in range(3)]
    blocks = [
        Block("Guide", HEADING, 1, page[0]), Block("Start.", place=page[0]), Block("Limits", HEADING, 2, page[1]),
        Block("Counted.", place=page[1]), Block("Empty", HEADING, 2, page[1]), Block("Costs", HEADING, 1, page[2]), Block("Free.", place=page[2]),
    ]  # fmt: skip
    chunks = cut_chunks(blocks, ChunkOptions())
    assert [(one.text, one.headings, one.place) for one in chunks] == [
        ("Start.", ("Guide",), page[0]), ("Counted.", ("Guide", "Limits"), page[1]), ("Empty", ("Guide", "Empty"), page[1]), ("Free.", ("Costs",), page[2]),
    ]  # fmt: skip
    assert [one.text for one in cut_chunks(blocks, ChunkOptions(mode="h1"))] == ["Start.\nCounted.", "Free."]
    assert len(cut_chunks(blocks, ChunkOptions(mode="page"))) == 3
    assert len(cut_chunks(blocks, ChunkOptions(mode="length"))) == 1


def test_tables() -> None:
    """Whole, even if longer than a chunk; a huge one in parts that each begin with its first row."""
    table = "name | value\n" + "\n".join(f"row {number} | {number}" for number in range(100))
    (one,) = cut_chunks([Block(table, TABLE)], ChunkOptions(size=50, overlap=10))
    assert (one.text, one.is_table) == (table, True)
    huge = "name | value\n" + "\n".join(f"row {number} | {number}" for number in range(2000))
    parts = cut_chunks(
        [Block("Before.", "text"), Block(huge, TABLE), Block("After.")], ChunkOptions(size=50, overlap=10)
    )
    assert [parts[0].text, parts[-1].text] == ["Before.", "After."]
    assert all(part.text.startswith("name | value\n") and len(part.text) <= MAX_SIZE for part in parts[1:-1])
    assert sum(part.text.count("row ") for part in parts) == 2000


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"size": 0}, "size"), ({"size": 7000}, "size"), ({"size": 100, "overlap": 100}, "overlap"), ({"overlap": -1}, "overlap"),
        ({"mode": "x"}, "mode"), ({"mode": "regex"}, "separator"),
    ],
)  # fmt: skip
def test_options(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_options(ChunkOptions(**fields))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no pattern"):
        cut_chunks([Block("a")], ChunkOptions(mode="regex", separator="("))
