"""JSON: as it stands, a line or a member at a time."""

import json
from collections.abc import Iterator
from pathlib import Path

from steelyard.knowledge.blocks import Block
from steelyard.knowledge.parse import Parser
from steelyard.knowledge.parse.text import decode_text


def read(path: Path) -> Iterator[Block]:
    """The members of a list, the lines of JSON lines, or the whole."""
    text = decode_text(path.read_bytes())
    try:
        value = json.loads(text)
    except ValueError:
        # JSON lines; a line that is none is a text all the same
        yield from (Block(line) for line in text.splitlines())
        return
    for one in value if isinstance(value, list) else [value]:
        yield Block(json.dumps(one, ensure_ascii=False, indent=1))


PARSER = Parser((".json", ".jsonl"), read)
