"""Carries receipts from the gateways' journals to the ledger, each exactly once.

A segment is removed only when its writer is done with it (its lock is free) and every record is in the ledger. A last
line without its end was never promised to anybody: the writer died inside the write.
"""

import contextlib
import fcntl
import logging
import os
from pathlib import Path

import msgspec

from steelyard.base.clock import monotonic, now_us
from steelyard.base.segments import SUFFIX, owner_of
from steelyard.canon.receipt import Receipt
from steelyard.store import ledger
from steelyard.store.database import Database

log = logging.getLogger("steelyard.ledger")

#: A transaction's worth, some 400 receipts: leases are written by the same database, and calls may wait for them.
READ_BYTES = 256 * 1024
#: How often a segment that does not grow is asked whether its writer has gone.
ASK_S = 2.0
_decoder = msgspec.json.Decoder(Receipt)
_decode, _decode_lines = _decoder.decode, _decoder.decode_lines


class Carrier:
    """Reads the journal directory. Remembers how far it read; after a restart it reads again, which changes nothing."""

    def __init__(self, directory: Path, database: Database, machine: str = "") -> None:
        self._directory = directory
        self._database = database
        self._machine = machine
        self._offsets: dict[str, int] = {}
        self._ask_at: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<Carrier {self._directory} [{len(self._offsets)} segments open]>"

    async def carry(self) -> int:
        """Carries what is there; returns how many receipts were new."""
        carried = 0
        for path in _segments(self._directory):
            carried += await self._carry_segment(path)
        return carried

    async def _carry_segment(self, path: Path) -> int:
        carried = 0
        now = monotonic()
        if path.stat().st_size == self._offsets.get(path.name, -1) and now < self._ask_at.get(path.name, 0.0):
            return 0
        self._ask_at[path.name] = now + ASK_S
        with path.open("rb") as segment:
            # ask before reading: whoever has let go of the lock writes no more
            is_finished = _is_free(segment.fileno())
            # what comes meanwhile is left for the next time: running after it would end in a transaction for every few receipts
            end = os.fstat(segment.fileno()).st_size
            # a writer on a full disk takes back what it could not write whole
            offset = self._offsets[path.name] = min(self._offsets.get(path.name, 0), end)
            while lines := _whole_lines(os.pread(segment.fileno(), min(end - offset, READ_BYTES), offset)):
                carried += await self._settle(lines, path.name)
                offset += len(lines)
                self._offsets[path.name] = offset
        if is_finished:
            path.unlink(missing_ok=True)
            self._offsets.pop(path.name, None)
            self._ask_at.pop(path.name, None)
        return carried

    async def _settle(self, lines: bytes, name: str) -> int:
        receipts = self._read(lines, name)
        if not receipts:
            return 0
        # read for the first time, so they are new, unless an earlier run carried them and died before it knew
        with contextlib.suppress(ledger.AlreadySettled):
            return await self._insert(receipts, name, are_new=True)
        return await self._insert(receipts, name, are_new=False)

    async def _insert(self, receipts: list[Receipt], name: str, *, are_new: bool) -> int:
        owner = owner_of(self._machine, name.rpartition("-")[0])
        async with self._database.write() as connection:
            return await ledger.insert_receipts(connection, receipts, now_us(), owner=owner, are_new=are_new)

    def is_alive(self, owner: str) -> bool:
        """Whether a gateway lives or has left records that are not carried yet; other machines' are theirs to say."""
        machine, _, stem = owner.partition(".")
        return machine != self._machine or next(self._directory.glob(f"{stem}-*{SUFFIX}"), None) is not None

    def _read(self, lines: bytes, name: str) -> list[Receipt]:
        try:
            return _decode_lines(lines)
        except msgspec.DecodeError:
            return [one for line in lines.splitlines() if (one := self._read_line(line, name)) is not None]

    def _read_line(self, line: bytes, name: str) -> Receipt | None:
        if not line.strip():
            return None
        try:
            return _decode(line)
        except msgspec.DecodeError:
            # never thrown away silently: the line is kept beside the journal for a person to read
            log.error("a journal line of %s cannot be read; it is kept in unreadable.txt", name)
            self._keep_unreadable(line)
            return None

    def _keep_unreadable(self, line: bytes) -> None:
        with (self._directory / "unreadable.txt").open("ab") as file:
            file.write(line + b"\n")


def _segments(directory: Path) -> list[Path]:
    return sorted(directory.glob(f"*{SUFFIX}"))


def _whole_lines(data: bytes) -> bytes:
    return data[: data.rfind(b"\n") + 1]


def _is_free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
