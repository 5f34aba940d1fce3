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


class Scrape(msgspec.Struct, array_like=True):
    """Samples of one cohort at one time. `labels` is empty where they are those of the record before."""

    source: str
    at_ms: int
    values: bytes
    labels: tuple[tuple[tuple[str, str], ...], ...] = ()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Scrape).decode


class Log:
    """Segments in a directory, one after the other."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file: IO[bytes] | None = None
        self._told: dict[str, tuple[Labels, ...]] = {}
        #: Bytes of the segment, whole records all.
        self._size = 0

    def append(self, source: str, labels: tuple[Labels, ...], at_ms: int, values: Floats) -> None:
        """Writes samples; they survive this process.

        Raises:
            OSError: the disk takes no more.
        """
        # first: a segment that begins now has been told nothing
        file = self._open()
        told = self._told.get(source)
        is_new = told is not labels and told != labels
        body = _encode(Scrape(source, at_ms, np.ascontiguousarray(values).tobytes(), labels if is_new else ()))
        self._write(file, _HEAD.pack(len(body), zlib.crc32(body)) + body)
        self._told[source] = labels

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

    def flush(self) -> None:
        """Everything written is on the disk."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())

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

    def replay(self) -> Iterator[tuple[str, tuple[Labels, ...], int, Floats]]:
        """What was written, in order."""
        for path in self.segments():
            told: dict[str, tuple[Labels, ...]] = {}
            for scrape in _records(path):
                if scrape.labels:
                    told[scrape.source] = scrape.labels
                labels = told.get(scrape.source, ())
                values = np.frombuffer(scrape.values, dtype=np.float64)
                if len(labels) == len(values):
                    yield scrape.source, labels, scrape.at_ms, values

    def close(self) -> None:
        """Flushes and lets go."""
        if self._file is not None:
            self.flush()
            self._file.close()
            self._file = None


def _records(path: Path) -> Iterator[Scrape]:
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
