"""The child process that reads documents."""

from pathlib import Path
from typing import Any

import msgspec

from steelyard.engines.child import ChildJob, serve
from steelyard.knowledge.parse import DocumentError, read_document

#: Of text, in all.
MAX_CHARS = 40_000_000


def _read(asked: dict[str, Any], out: Path) -> dict[str, Any]:
    count = chars = 0
    with (out / "blocks.jsonl").open("wb") as file:
        for block in read_document(Path(asked["path"]), asked["name"]):
            chars += len(block.text)
            if chars > MAX_CHARS:
                raise DocumentError(f"the document has more than {MAX_CHARS:,} characters")
            file.write(msgspec.json.encode(block) + b"\n")
            count += 1
    return {"blocks": count, "chars": chars}


JOBS: dict[str, ChildJob] = {"read": _read}


if __name__ == "__main__":
    serve(JOBS)
