"""Messages between the monitor and the processes that evaluate for it: a head, and arrays behind it as they are."""

import struct
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from steelyard.promql.labels import Labels
from steelyard.promql.values import Cohort

_SIZE = struct.Struct("<I")
#: Samples that a query may hold.
MAX_SAMPLES = 20_000_000


class Wish(msgspec.Struct, kw_only=True):
    """What is to be evaluated. Times in milliseconds; `step_ms` is 0 for one time."""

    query: str
    #: empty sees all
    workspace: str | None
    start_ms: int
    end_ms: int
    step_ms: int
    lookback_ms: int
    limit: int
    give_up_in_s: float


class Pick(msgspec.Struct, kw_only=True):
    """Samples that an evaluation needs: (name, op, value, is imposed) of each matcher, and the time."""

    matchers: list[tuple[str, str, str, bool]]
    start_ms: int
    end_ms: int


class Shown(msgspec.Struct, kw_only=True):
    """An answer: its JSON stands in the frame's first blob."""

    is_cut: bool
    warnings: list[str]
    infos: list[str]
    samples: int


class Failed(msgspec.Struct, kw_only=True):
    """Why there is none."""

    kind: str
    text: str


class Given(msgspec.Struct, kw_only=True):
    """Cohorts: labels and how many samples; times, values and presence of each are blobs."""

    cohorts: list[tuple[list[list[tuple[str, str]]], int, bool]]


class Head(msgspec.Struct, kw_only=True):
    """What stands before the blobs."""

    wish: Wish | None = None
    pick: Pick | None = None
    given: Given | None = None
    shown: Shown | None = None
    failed: Failed | None = None
    blobs: list[int] = []


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Head).decode

#: Reads exactly so many bytes.
Read = Callable[[int], bytes]


def pack(head: Head, blobs: list[bytes | memoryview] | None = None) -> list[bytes | memoryview]:
    """A frame's pieces."""
    head.blobs = [len(one) if isinstance(one, bytes) else one.nbytes for one in blobs or []]
    body = _encode(head)
    return [_SIZE.pack(len(body)), body, *(blobs or [])]


def head_size(data: bytes) -> int:
    """How long the head is that begins so."""
    size: int = _SIZE.unpack(data)[0]
    return size


SIZE_BYTES = _SIZE.size


def read_head(data: bytes) -> Head:
    """A frame's head."""
    return _decode(data)


def read_frame(read: Read) -> tuple[Head, list[bytes]]:
    """A whole frame."""
    head = read_head(read(head_size(read(SIZE_BYTES))))
    return head, [read(size) for size in head.blobs]


def pack_cohorts(cohorts: list[Cohort]) -> tuple[Given, list[bytes | memoryview]]:
    """Samples on their way."""
    told: list[tuple[Any, int, bool]] = []
    blobs: list[bytes | memoryview] = []
    for one in cohorts:
        told.append(([list(labels) for labels in one.labels], len(one.times), one.present is not None))
        blobs += [_bytes_of(one.times), _bytes_of(one.values)]
        if one.present is not None:
            blobs.append(np.packbits(one.present, axis=None).tobytes())
    return Given(cohorts=told), blobs


def _bytes_of(array: NDArray[Any]) -> bytes | memoryview:
    """An array's bytes, as they are in memory."""
    return np.ascontiguousarray(array).data.cast("B") if array.size else b""


def unpack_cohorts(given: Given, blobs: list[bytes]) -> list[Cohort]:
    """Samples that came."""
    found, place = [], 0
    for labels, count, has_gaps in given.cohorts:
        times = np.frombuffer(blobs[place], dtype=np.int64)
        values = np.frombuffer(blobs[place + 1], dtype=np.float64).reshape(len(labels), count)
        place += 2
        present = None
        if has_gaps:
            bits = np.frombuffer(blobs[place], dtype=np.uint8)
            present = np.unpackbits(bits, count=len(labels) * count).reshape(len(labels), count).astype(bool)
            place += 1
        made: tuple[Labels, ...] = tuple(tuple((name, value) for name, value in one) for one in labels)
        found.append(Cohort(made, times, values, present))
    return found
