"""Small documents of every format, made here, each with the same words in it."""

import io
import zipfile
from pathlib import Path

ZH = "杆秤是一种古老的衡器，秤杆上刻着星点。"
EN = "A steelyard weighs heavy loads with a small counterweight."


def pdf(path: Path) -> None:
    """Two pages, written by hand."""
    contents = [f"BT /F1 12 Tf 72 700 Td ({line}) Tj ET".encode() for line in (EN, "Second page.")]
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R 4 0 R] /Count 2 >>"]
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 5 0 R >> >> /Contents %d 0 R >>"
    objects += [page % number for number in (6, 7)]
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    objects += [b"<< /Length %d >>\nstream\n%s\nendstream" % (len(one), one) for one in contents]
    out, places = io.BytesIO(b""), []
    out.write(b"%PDF-1.4\n")
    for number, one in enumerate(objects, start=1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, one))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    out.write(b"".join(b"%010d 00000 n \n" % place for place in places))
    out.write(b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, start))
    path.write_bytes(out.getvalue())


_TYPES = '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/><Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>'
_RELATIONS = '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/></Relationships>'


def docx(path: Path) -> None:
    """A heading, two paragraphs and a table."""

    def paragraph(text: str, style: str = "") -> str:
        kind = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
        return f"<w:p>{kind}<w:r><w:t>{text}</w:t></w:r></w:p>"

    cells = "".join(f"<w:tc>{paragraph(one)}</w:tc>" for one in ("weight", "7 kg"))
    body = paragraph("衡器", "Heading1") + paragraph(ZH) + paragraph(EN) + f"<w:tbl><w:tr>{cells}</w:tr></w:tbl>"
    document = f'<?xml version="1.0"?><w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>{body}</w:body></w:document>'
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("[Content_Types].xml", _TYPES)
        out.writestr("_rels/.rels", _RELATIONS)
        out.writestr("word/document.xml", document)


def pptx(path: Path) -> None:
    """Two slides."""
    from pptx import Presentation
    from pptx.util import Inches

    deck = Presentation()
    for title, text in (("衡器", ZH), ("Scales", EN)):
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = text
    table = slide.shapes.add_table(1, 2, Inches(1), Inches(5), Inches(4), Inches(1)).table
    table.cell(0, 0).text, table.cell(0, 1).text = "weight", "7 kg"
    deck.save(str(path))


def xlsx(path: Path) -> None:
    """Two sheets."""
    import xlsxwriter

    book = xlsxwriter.Workbook(str(path))
    for name, text in (("衡器", ZH), ("Scales", EN)):
        sheet = book.add_worksheet(name)
        for row, cells in enumerate([("name", "weight"), (text, 7), (None, None), ("other", 7.5)]):
            for column, cell in enumerate(cells):
                sheet.write(row, column, cell)
    book.close()


HTML = f"""<html><head><title>no</title><script>var no = 1</script><style>p {{}}</style></head>
<body><nav>no</nav><h1>衡器</h1><p>{ZH}<b> bold</b></p><div>{EN}<br>next</div>
<table><tr><th>weight</th><td>7 kg</td></tr></table><!-- no --></body></html>"""


def epub(path: Path) -> None:
    """Two chapters, listed out of order."""
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("META-INF/container.xml", '<container><rootfiles><rootfile full-path="OEBPS/book.opf"/></rootfiles></container>')  # fmt: skip
        out.writestr("OEBPS/book.opf", '<package><manifest><item id="b" href="two.xhtml"/><item id="a" href="one%20.xhtml"/></manifest><spine><itemref idref="a"/><itemref idref="b"/></spine></package>')  # fmt: skip
        out.writestr("OEBPS/one .xhtml", f"<html><body><h1>衡器</h1><p>{ZH}</p></body></html>")
        out.writestr("OEBPS/two.xhtml", f"<html><body><p>{EN}</p></body></html>")


def write(directory: Path, name: str) -> Path:
    """The document of a name's suffix."""
    path = directory / name
    suffix = path.suffix
    makers = {".pdf": pdf, ".docx": docx, ".pptx": pptx, ".xlsx": xlsx, ".epub": epub}
    if suffix in makers:
        makers[suffix](path)
    else:
        texts = {
            ".txt": f"{ZH}\n\n{EN}",
            ".md": f"# 衡器\n\n{ZH}\n\n```\n# no heading\n\n```\n\n## Scales\n{EN}",
            ".csv": f'name,weight\n"{ZH}",7\n"{EN}",8\n',
            ".json": f'[{{"name": "{ZH}"}}, {{"name": "{EN}"}}]',
            ".jsonl": f'{{"name": "{ZH}"}}\n{{"name": "{EN}"}}\n',
            ".html": HTML,
        }
        path.write_text(texts[suffix], "utf-8")
    return path
