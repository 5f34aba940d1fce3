"""Documents read into blocks, once: what came of it is an object of the document's workspace, and its state a field of the document."""

import asyncio
import gzip
import secrets
from pathlib import Path

import msgspec

from steelyard.base.clock import now_us
from steelyard.canon.knowledge import PARSE_FAILED, PARSED, PARSING, Document
from steelyard.engines.workshop import WorkshopError
from steelyard.knowledge.blocks import Block
from steelyard.knowledge.reader import Reader
from steelyard.store import knowledge
from steelyard.store.objects import records
from steelyard.tasks.job import Again
from steelyard.tasks.shelf import Shelf

_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(Block).decode
#: Failures of the installation and not of the document: they may pass.
_PASSING = frozenset({"disk", "missing", "weights"})


class Unreadable(Exception):
    """A document cannot be read; the text says why, and goes with the document."""


class Reading:
    """Reads documents."""

    def __init__(self, shelf: Shelf, reader: Reader, work_dir: Path) -> None:
        self._shelf = shelf
        self._database = shelf.database
        self._reader = reader
        self._work_dir = work_dir
        #: One at a time may read a document; whoever comes later finds it read.
        self._locks: dict[str, asyncio.Lock] = {}

    async def read(self, document: Document) -> list[Block]:
        """A document's blocks.

        Raises:
            Unreadable: now, or when it was tried before.
            Again: the installation is at fault.
        """
        lock = self._locks.setdefault(document.id, asyncio.Lock())
        try:
            async with lock:
                return await self._read(document)
        finally:
            if not lock.locked():
                self._locks.pop(document.id, None)

    async def _read(self, document: Document) -> list[Block]:
        async with self._database.read() as connection:
            known = await knowledge.find_document(connection, document.workspace, document.id)
            kept = None if known is None else await records.find_object(connection, known.blocks_id)
        if known is None:
            raise Unreadable("it was deleted")
        if known.status == PARSE_FAILED:
            raise Unreadable(known.message)
        if known.status == PARSED and kept is not None:
            data = await self._shelf.blobs.read_all(kept.digest)
            return await asyncio.to_thread(_unpack, data)
        return await self._parse(known)

    async def _parse(self, document: Document) -> list[Block]:
        await self._set(document, status=PARSING)
        path = self._work_dir / f"document-{secrets.token_hex(8)}.part"
        try:
            await self._shelf.blobs.fetch_to(document.digest, path)
            blocks = await self._reader.read(path, document.name)
        except WorkshopError as failure:
            if failure.kind in _PASSING:
                raise Again(str(failure), 10.0) from None
            code = "DocumentTooLarge" if failure.kind == "limit" else "DocumentUnreadable"
            await self._set(document, status=PARSE_FAILED, code=code, message=str(failure))
            raise Unreadable(str(failure)) from None
        finally:
            path.unlink(missing_ok=True)
        data = await asyncio.to_thread(_pack, blocks)
        stored = await self._shelf.prepare_bytes(data, workspace=document.workspace, name="blocks.jsonl.gz", ttl_s=None)
        async with self._database.write() as connection:
            is_there = await knowledge.update_document(
                connection, document.id, status=PARSED, blocks_id=stored.id, modified_us=now_us()
            )
            if is_there:
                await records.insert_objects(connection, [stored])
        if not is_there:
            raise Unreadable("it was deleted")
        return blocks

    async def _set(self, document: Document, **values: str) -> None:
        async with self._database.write() as connection:
            await knowledge.update_document(connection, document.id, **values, modified_us=now_us())


def _pack(blocks: list[Block]) -> bytes:
    return gzip.compress(b"".join(_encode(one) + b"\n" for one in blocks), 3)


def _unpack(data: bytes) -> list[Block]:
    return [_decode(line) for line in gzip.decompress(data).splitlines()]
