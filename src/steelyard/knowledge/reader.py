"""Reads documents: each in a child process of its own, under limits of time and memory."""

import secrets
import shutil
from pathlib import Path

import msgspec

from steelyard.engines.workshop import Workshop
from steelyard.knowledge.blocks import Block

TIMEOUT_S = 60.0
_decode_block = msgspec.json.Decoder(Block).decode


class Reader:
    """Turns documents into blocks.

    Args:
        slots: how many at once.
        work_dir: for what a child writes; nothing of it stays.
    """

    def __init__(self, slots: int, work_dir: Path) -> None:
        self._workshop = Workshop(slots, "steelyard.knowledge.parse_child", TIMEOUT_S)
        self._work_dir = work_dir

    async def read(self, path: Path, name: str) -> list[Block]:
        """A document's blocks.

        Args:
            name: its suffix says what the document is.

        Raises:
            WorkshopError: of the kind "document" where the document is at fault.
        """
        out = self._work_dir / f"read-{secrets.token_hex(8)}.part"
        out.mkdir(parents=True)
        try:
            await self._workshop.run("read", {"path": str(path.absolute()), "name": name}, out.absolute())
            with (out / "blocks.jsonl").open("rb") as lines:
                return [_decode_block(line) for line in lines]
        finally:
            shutil.rmtree(out, ignore_errors=True)
