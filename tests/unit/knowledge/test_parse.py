"""Documents of every format are read: their words, headings, tables and places."""

from pathlib import Path

import pytest

from knowledge_papers import EN, ZH, write
from steelyard.engines.workshop import WorkshopError
from steelyard.knowledge.blocks import HEADING, TABLE, Block, Place, join_blocks
from steelyard.knowledge.parse import DocumentError, read_document
from steelyard.knowledge.parse.text import decode_text
from steelyard.knowledge.reader import Reader


def blocks(directory: Path, name: str) -> list[Block]:
    return list(read_document(write(directory, name), name))


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.csv", "a.json", "a.jsonl", "a.html", "a.docx", "a.pptx", "a.xlsx", "a.epub"])  # fmt: skip
def test_every_word_is_read(tmp_path: Path, name: str) -> None:
    """Once each, in Chinese and English, in the document's order."""
    text = join_blocks(blocks(tmp_path, name))
    assert text.count(ZH) == 1
    assert text.count(EN) == 1
    assert text.index(ZH) < text.index(EN)
    assert "no = 1" not in text


def test_pages_of_a_pdf(tmp_path: Path) -> None:
    """Each with its number."""
    found = blocks(tmp_path, "a.PDF".lower())
    assert [(one.text, str(one.place)) for one in found] == [(EN, "page 1"), ("Second page.", "page 2")]
    assert join_blocks(found) == f"[page 1]\n\n{EN}\n\n[page 2]\n\nSecond page."


def test_structure(tmp_path: Path) -> None:
    """Headings and tables are told as such."""
    for name in ("a.html", "a.docx"):
        found = blocks(tmp_path, name)
        assert found[0] == Block("衡器", HEADING, 1)
        assert found[-1] == Block("weight | 7 kg", TABLE)
    assert [one.text for one in blocks(tmp_path, "a.md") if one.kind == HEADING] == ["衡器", "Scales"]
    slides = blocks(tmp_path, "a.pptx")
    assert [str(one.place) for one in slides if one.kind == HEADING] == ["slide 1", "slide 2"]
    sheets = blocks(tmp_path, "a.xlsx")
    assert sheets[0] == Block(f"name | weight\n{ZH} | 7\nother | 7.5", TABLE, place=Place("sheet", "衡器"))
    assert [str(one.place) for one in blocks(tmp_path, "a.epub")] == ["chapter 1", "chapter 1", "chapter 2"]


def test_long_tables_keep_their_head(tmp_path: Path) -> None:
    """Each block of a table can be read by itself."""
    path = tmp_path / "a.csv"
    path.write_text("name;weight\n" + "".join(f"n{n};{n}\n" for n in range(250)))
    found = list(read_document(path, "a.csv"))
    assert [one.text.splitlines()[0] for one in found] == ["name | weight"] * 3
    assert [len(one.text.splitlines()) for one in found] == [101, 101, 51]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030", "gbk"])
def test_encodings(encoding: str) -> None:
    """Chinese text is read in whatever it was written."""
    text = ZH * 3 + "\n" + EN
    assert decode_text(text.encode(encoding)) == text


def test_western_encodings() -> None:
    """And text that is not Chinese does not become so."""
    text = "Größe und Gewicht der Waage: zwölf Kilogramm. Das Maß ist geprüft, die Schüssel gefüllt."
    assert decode_text(text.encode("cp1252")) == text


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("a.bin", b"x", "format .bin is not read"),
        ("noname", b"x", "format without a suffix"),
        ("a.pdf", b"%PDF-1.4 nothing more", "damaged"),
        ("a.docx", b"PK\x03\x04 nothing more", "damaged"),
        ("a.pptx", b"", "damaged"),
        ("a.xlsx", b"\x00" * 100, "damaged"),
        ("a.epub", b"PK", "damaged"),
        ("a.txt", b"", "no text"),
        ("a.txt", b"a\x00b", "is no text"),
        ("a.html", b"<script>x</script>", "no text"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, name: str, data: bytes, what: str) -> None:
    """Is told in a sentence."""
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(DocumentError, match=what):
        list(read_document(path, name))


def test_deep_pages(tmp_path: Path) -> None:
    """Nesting does not exhaust anything."""
    path = tmp_path / "a.html"
    path.write_text("<div>" * 1_000_000 + "deep" + "<p>shallow")
    with pytest.raises(DocumentError, match="nested deeper"):
        list(read_document(path, "a.html"))
    path.write_text("<ul>" + "<li><p>item<br>" * 10_000 + "</ul>" + "<b>x</b>" * 10_000)
    assert sum(one.text.count("item") for one in read_document(path, "a.html")) == 10_000


async def test_in_a_child(tmp_path: Path) -> None:
    """Where a document's fault does no harm, and nothing stays behind."""
    reader = Reader(1, tmp_path / "work")
    assert (await reader.read(write(tmp_path, "a.docx"), "报告.docx"))[0] == Block("衡器", HEADING, 1)
    damaged = tmp_path / "b.pdf"
    damaged.write_bytes(b"%PDF-")
    with pytest.raises(WorkshopError, match="damaged") as caught:
        await reader.read(damaged, "b.pdf")
    assert caught.value.kind == "document"
    assert list((tmp_path / "work").iterdir()) == []


async def test_a_bomb_in_a_child(tmp_path: Path) -> None:
    """A spreadsheet that unpacks to gigabytes is refused, by the limits if by nothing else."""
    import zipfile

    path = tmp_path / "bomb.epub"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("META-INF/container.xml", '<container><rootfile full-path="b.opf"/></container>')
        out.writestr("b.opf", '<package><item id="a" href="a.xhtml"/><itemref idref="a"/></package>')
        with out.open("a.xhtml", "w", force_zip64=True) as file:
            for _ in range(200):
                file.write(b"<p>a</p>" * 131_072)
    with pytest.raises(WorkshopError, match="larger than it may"):
        await Reader(1, tmp_path / "work").read(path, "bomb.epub")
