"""Plain text, Markdown and source files, in any encoding that is found out."""

import re
from collections.abc import Iterator
from pathlib import Path

from steelyard.knowledge.blocks import HEADING, TEXT, Block
from steelyard.knowledge.parse import DocumentError, Parser

_HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*#*$")
_FENCE = re.compile(r"^\s*(```|~~~)")


def decode_text(data: bytes) -> str:
    """Bytes as text: UTF-8, UTF-16 by its mark, GB18030, or what is most likely.

    Raises:
        DocumentError: it is no text.
    """
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    if b"\x00" in data:
        raise DocumentError("the file is no text")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return _guess(data)


def _guess(data: bytes) -> str:
    # what decodes as GB18030 to Chinese characters in the main is GB18030: that guess beats any detector's
    try:
        text = data.decode("gb18030")
    except UnicodeDecodeError:
        text = ""
    wide = [one for one in text[:20_000] if ord(one) > 127]
    if wide and sum(
        "\u4e00" <= one <= "\u9fff" or "\u3000" <= one <= "\u303f" or "\uff00" <= one <= "\uffef" for one in wide
    ) > 0.8 * len(wide):
        return text
    from charset_normalizer import from_bytes

    found = from_bytes(data[:500_000]).best()
    if found is None:
        raise DocumentError("the file is no text")
    return data.decode(found.encoding, "replace")


def read(path: Path) -> Iterator[Block]:
    """Paragraphs, at blank lines; Markdown's headings are told as such."""
    paragraph: list[str] = []
    is_fenced = False
    for line in decode_text(path.read_bytes()).splitlines():
        heading = None if is_fenced else _HEADING.match(line)
        if _FENCE.match(line):
            is_fenced = not is_fenced
        if heading is None and (line.strip() or is_fenced):
            paragraph.append(line.rstrip())
            continue
        if paragraph:
            yield Block("\n".join(paragraph), TEXT)
            paragraph = []
        if heading is not None:
            yield Block(heading[2], HEADING, len(heading[1]))
    if paragraph:
        yield Block("\n".join(paragraph), TEXT)


PARSER = Parser((".txt", ".md", ".markdown", ".log", ".rst", ".py", ".js", ".ts", ".java", ".go", ".c", ".cpp", ".h", ".sql", ".sh", ".yaml", ".yml", ".toml", ".ini", ".xml"), read)  # fmt: skip
