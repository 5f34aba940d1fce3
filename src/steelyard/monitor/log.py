"""The append log: what was taken is written before it is in memory alone, and read again after a crash.

A record is its length, its check sum and its bytes; what is cut off at the end was never acknowledged. Each segment can be read by itself.
"""

import errno
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec
import numpy as np

from steelyard.promql.labels import Labels
from steelyard.promql.values import Floats

_HEAD = struct.Struct("<II")
SUFFIX = ".samples"


#: Sets of series of one source that are told once; a writer's shards bring a few in turn.
MAX_SETS = 64


class Record(msgspec.Struct, array_like=True):
    """Samples of one cohort at one time. `labels` is empty where the set of this number has been told before."""

    source: str
    at_ms: int
    values: bytes
    labels: tuple[tuple[tuple[str, str], ...], ...] = ()
    number: int = 0
    is_whole: bool = True


class Told:
    """The sets of series that a segment has of one source."""

    __slots__ = ("_last", "_numbers")

    def __init__(self) -> None:
        self._numbers: dict[tuple[Labels, ...], int] = {}
        self._last: tuple[tuple[Labels, ...], int] | None = None

    def number(self, labels: tuple[Labels, ...]) -> tuple[int, bool]:
        """(a set's number, whether it is new)"""
        if self._last is not None and self._last[0] is labels:
            return self._last[1], False
        found = self._numbers.get(labels)
        is_new = found is None
        if found is None:
            if len(self._numbers) >= MAX_SETS:
                self._numbers.clear()
            found = self._numbers[labels] = len(self._numbers)
        self._last = (labels, found)
        return found, is_new


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode


class Log:
    """Segments in a directory, one after the other."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file: IO[bytes] | None = None
        self._told: dict[str, Told] = {}
        #: Bytes of the segment, whole records all.
        self._size = 0
        self._is_dirty = False

    def append(
        self, source: str, labels: tuple[Labels, ...], at_ms: int, values: Floats, *, is_whole: bool = True
    ) -> None:
        """Writes samples; they survive this process.

        Args:
            is_whole: whether these are all of the source's series at that time, or some of them.

        Raises:
            OSError: the disk takes no more.
        """
        # first: a segment that begins now has been told nothing
        file = self._open()
        told = self._told.get(source)
        if told is None:
            told = self._told[source] = Told()
        number, is_new = told.number(labels)
        record = Record(
            source, at_ms, np.ascontiguousarray(values).tobytes(), labels if is_new else (), number, is_whole
        )
        body = _encode(record)
        try:
            self._write(file, _HEAD.pack(len(body), zlib.crc32(body)) + body)
        except OSError:
            # the set may not have been told
            del self._told[source]
            raise

    def _write(self, file: IO[bytes], record: bytes) -> None:
        """All of a record or none of it: what stands behind half a one could not be read again."""
        try:
            taken = file.write(record)
            if taken != len(record):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.ftruncate(file.fileno(), self._size)
            raise
        self._size += len(record)
        self._is_dirty = True

    def flush(self) -> None:
        """Everything written is on the disk."""
        if self._file is not None and self._is_dirty:
            os.fsync(self._file.fileno())
            self._is_dirty = False

    def _open(self) -> IO[bytes]:
        if self._file is None:
            number = max((int(path.stem) for path in self.segments()), default=0) + 1
            self._file = (self._directory / f"{number:08}{SUFFIX}").open("ab", buffering=0)
            self._told.clear()
            self._size = 0
        return self._file

    def roll(self) -> list[Path]:
        """Begins a new segment; the ones before it, the oldest first."""
        before = self.segments()
        if self._file is not None:
            self.flush()
            self._file.close()
            self._file = None
        return before

    def segments(self) -> list[Path]:
        """The oldest first."""
        return sorted(self._directory.glob(f"*{SUFFIX}"))

    def replay(self) -> Iterator[tuple[Record, tuple[Labels, ...], Floats]]:
        """What was written, in order: the record, its series and their values."""
        for path in self.segments():
            told: dict[tuple[str, int], tuple[Labels, ...]] = {}
            for record in _records(path):
                if record.labels:
                    told[record.source, record.number] = record.labels
                labels = told.get((record.source, record.number), ())
                values = np.frombuffer(record.values, dtype=np.float64)
                if len(labels) == len(values):
                    yield record, labels, values

    def close(self) -> None:
        """Flushes and lets go."""
        if self._file is not None:
            self.flush()
            self._file.close()
            self._file = None


def _records(path: Path) -> Iterator[Record]:
    data = path.read_bytes()
    position = 0
    while position + _HEAD.size <= len(data):
        size, check = _HEAD.unpack_from(data, position)
        body = data[position + _HEAD.size : position + _HEAD.size + size]
        if len(body) < size or zlib.crc32(body) != check:
            # the process ended while it wrote this: nobody was told that it was taken
            return
        yield _decode(body)
        position += _HEAD.size + size
