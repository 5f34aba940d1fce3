"""The sink: a file of this process, into which records are written before the last bytes of their answers leave.

The records of a turn of the event loop are written together, just before the outbox sends their answers; what does not leave
through the outbox is written by itself.

The face carries the records to the ledger and removes what it has carried; the supervisor does so at the next start.
A writer holds a lock on its current segment, so a reader knows a dead or finished segment from a live one.
"""

import asyncio
import contextlib
import fcntl
import os
from pathlib import Path

import msgspec

from steelyard.base.clock import monotonic
from steelyard.base.errors import fault
from steelyard.base.segments import segment_name, stem_of
from steelyard.canon.receipt import Receipt

SEGMENT_BYTES = 4 * 1024 * 1024
SYNC_S = 0.1
RETRY_S = 1.0

_encode_lines = msgspec.json.Encoder().encode_lines


class Journal:
    """An append-only file of receipts, one JSON object a line."""

    def __init__(self, directory: Path, boot_id: str) -> None:
        self._directory = directory
        self._stem = stem_of(boot_id, os.getpid())
        self._segment = 0
        self._descriptor = -1
        self._size = 0
        self._is_dirty = False
        self._retry_at = 0.0
        self._problem = ""
        self._full: list[int] = []
        #: Records whose answers wait in the outbox, and whether some of them were lost.
        self._enlisted: list[Receipt] = []
        self._is_lost = False
        self._open_segment()

    def __repr__(self) -> str:
        return (
            f"<Journal {self._stem} segment {self._segment} [{self._size} bytes{', failing' if self._problem else ''}]>"
        )

    def _open_segment(self) -> None:
        self._segment += 1
        path = self._directory / segment_name(self._stem, self._segment)
        unborn = path.with_suffix(".new")
        descriptor = os.open(unborn, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        # locked before it has its name: a reader takes an unlocked segment for a finished one and removes it
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        unborn.rename(path)
        old, self._descriptor, self._size = self._descriptor, descriptor, 0
        if old >= 0:
            # synced and closed by the thread that syncs: waiting for the disk here would hold up every call
            self._full.append(old)

    def check(self) -> None:
        """Refuses calls while records cannot be kept; tries again once a second."""
        if not self._problem:
            return
        now = monotonic()
        if now >= self._retry_at:
            self._retry_at = now + RETRY_S
            self._probe()
        if self._problem:
            raise fault("stores_unavailable", detail=f" ({self._problem})")

    def _probe(self) -> None:
        """Whether a record of ordinary size would fit again."""
        try:
            self._append(b" " * 4096 + b"\n")
            self._problem = ""
        except OSError as exc:
            self._problem = exc.strerror or str(exc)

    def record(self, receipt: Receipt) -> None:
        """Appends one record.

        Raises:
            Fault: `stores_unavailable`; the record is not kept, so the answer must not be finished.
        """
        try:
            self._append(_encode_lines((receipt,)))
        except OSError as exc:
            self._fail(exc)
            raise fault("stores_unavailable", detail=f" ({self._problem})") from exc

    def _fail(self, exc: OSError) -> None:
        self._problem = exc.strerror or str(exc)
        self._retry_at = monotonic() + RETRY_S

    def enlist(self, receipt: Receipt) -> None:
        """Appends one record with those of this turn; see `keep_enlisted`."""
        self._enlisted.append(receipt)

    def keep_enlisted(self) -> bool:
        """Appends what was enlisted; False where any of it since the last time was lost, so that no answer may be finished."""
        self._write_enlisted()
        is_lost, self._is_lost = self._is_lost, False
        return not is_lost

    def _write_enlisted(self) -> None:
        receipts = self._enlisted
        if receipts:
            self._enlisted = []
            try:
                self._append(_encode_lines(receipts))
            except OSError as exc:
                self._fail(exc)
                self._is_lost = True

    def _append(self, line: bytes) -> None:
        written = os.write(self._descriptor, line)
        if written != len(line):
            # a full disk takes a part: give it back, so that the next line starts clean
            os.ftruncate(self._descriptor, self._size)
            raise OSError(28, "No space left on device")
        self._size += written
        self._is_dirty = True
        if self._size > SEGMENT_BYTES:
            # what is written is written: where no new segment can be had, this one grows until one can
            with contextlib.suppress(OSError):
                self._open_segment()

    async def keep_synced(self) -> None:
        """Runs for the life of the process: fdatasync every 100 ms while there is something new."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SYNC_S)
            # of a caller who left there is no answer to send
            self._write_enlisted()
            if self._is_dirty:
                self._is_dirty = False
                full, self._full = self._full, []
                try:
                    await loop.run_in_executor(None, _sync, self._descriptor, full)
                except OSError as exc:
                    self._problem = exc.strerror or str(exc)

    def close(self) -> None:
        """Ends the segments; the reader then removes them once they are carried."""
        self._write_enlisted()
        for descriptor in self._full:
            os.close(descriptor)
        self._full.clear()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _sync(current: int, full: list[int]) -> None:
    """Makes the segments durable; full ones are closed, which tells the reader that they are finished."""
    for descriptor in full:
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
    os.fdatasync(current)
