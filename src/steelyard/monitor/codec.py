"""Blocks of samples as bytes: times by the change of their distance, values by their difference, as arrays and never one by one.

A block is a cohort: k series at n times. Values that are whole numbers, or are so a few digits on, are told by their differences, others by which bits changed (XOR);
of each the bytes of one rank stand together, so that what hardly changes packs to nearly nothing. Every bit comes back, NaN's included.
"""

import struct
import zlib
from dataclasses import dataclass

import numpy as np

from steelyard.promql.values import Floats, Times

_HEAD = struct.Struct("<4sIIII")
MAGIC = b"sty1"
#: Larger whole numbers are not told from their neighbours by a float.
MAX_WHOLE = 2.0**53
LEVEL = 6
#: Values with so many digits behind the point are whole numbers too, once they are raised.
MAX_POWER = 4
#: How rows are told: differences in so many bytes (and, four bits up, the power of ten), or XOR.
_XOR = 0
_WIDTHS = (1, 2, 4, 8)


class DamagedBlock(ValueError):
    """Bytes that are no whole block."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Shapes: `times` (n), `values` (k, n)."""

    times: Times
    values: Floats


def encode(times: Times, values: Floats) -> bytes:
    """A block's bytes, with a check sum."""
    values = np.ascontiguousarray(values)
    kinds, parts = _encode_rows(values)
    body = zlib.compress(_encode_times(times) + kinds.tobytes() + b"".join(parts), LEVEL)
    return _HEAD.pack(MAGIC, values.shape[0], values.shape[1], len(body), zlib.crc32(body)) + body


def decode(data: bytes) -> Block:
    """A block of bytes.

    Raises:
        DamagedBlock: they are cut off, changed or none.
    """
    if len(data) < _HEAD.size:
        raise DamagedBlock("shorter than a head")
    magic, count, length, size, check = _HEAD.unpack_from(data)
    body = data[_HEAD.size :]
    if magic != MAGIC or len(body) != size or zlib.crc32(body) != check:
        raise DamagedBlock("the check sum is another")
    plain = zlib.decompress(body)
    times = _decode_times(plain, length)
    start = 8 * length
    kinds = np.frombuffer(plain, dtype=np.uint8, count=count, offset=start)
    return Block(times, _decode_rows(plain, start + count, kinds, length))


def _encode_times(times: Times) -> bytes:
    changes: Times = np.diff(np.diff(times.astype(np.int64), prepend=0), prepend=0).astype(np.int64)
    return _planes(_zigzag(changes)[None, :], 8)


def _decode_times(data: bytes, length: int) -> Times:
    changes = _unzigzag(_unplanes(data, 0, 1, length, 8)[0])
    return np.cumsum(np.cumsum(changes))


def _zigzag(numbers: Times) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint64]]":
    """Signed numbers as unsigned ones, the small ones small."""
    return ((numbers << 1) ^ (numbers >> 63)).view(np.uint64)


def _unzigzag(numbers: "np.ndarray[tuple[int, ...], np.dtype[np.uint64]]") -> Times:
    halves = (numbers >> np.uint64(1)).view(np.int64)
    return halves ^ -(numbers & np.uint64(1)).view(np.int64)


def _planes(numbers: "np.ndarray[tuple[int, ...], np.dtype[np.uint64]]", width: int) -> bytes:
    """Rows of numbers in `width` bytes each, the bytes of one rank together."""
    small = numbers.astype(f"<u{width}") if width < 8 else np.ascontiguousarray(numbers, dtype="<u8")
    ranks = np.ascontiguousarray(small).view(np.uint8).reshape(*numbers.shape, width)
    return ranks.transpose(0, 2, 1).tobytes()


def _unplanes(
    data: bytes, start: int, rows: int, length: int, width: int
) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint64]]":
    ranks = np.frombuffer(data, dtype=np.uint8, count=rows * width * length, offset=start)
    small = np.ascontiguousarray(ranks.reshape(rows, width, length).transpose(0, 2, 1))
    return small.view(f"<u{width}").reshape(rows, length).astype(np.uint64)


def _whole_numbers(values: Floats) -> tuple[Times, "np.ndarray[tuple[int, ...], np.dtype[np.int8]]"]:
    """(rows as whole numbers, by which power of ten they were raised; -1 where no power makes them whole without a loss)."""
    powers = np.full(len(values), -1, dtype=np.int8)
    numbers = np.zeros(values.shape, dtype=np.int64)
    # minus zero is no whole number: its sign would be lost
    open_rows = np.flatnonzero((np.isfinite(values) & ~((values == 0) & np.signbit(values))).all(axis=1))
    for power in range(MAX_POWER + 1):
        if not len(open_rows):
            break
        rows = values[open_rows]
        raised = np.rint(rows * 10.0**power)
        fits = ((np.abs(raised) < MAX_WHOLE) & (raised / 10.0**power == rows)).all(axis=1)
        numbers[open_rows[fits]] = raised[fits].astype(np.int64)
        powers[open_rows[fits]] = power
        open_rows = open_rows[~fits]
    return numbers, powers


def _encode_rows(values: Floats) -> tuple["np.ndarray[tuple[int, ...], np.dtype[np.uint8]]", list[bytes]]:
    count, length = values.shape
    kinds = np.zeros(count, dtype=np.uint8)
    if not length:
        return kinds, []
    with np.errstate(all="ignore"):
        numbers, powers = _whole_numbers(values)
    zigzag = _zigzag(np.diff(numbers, prepend=0, axis=1))
    # the first is large where the others are small: it stands apart
    firsts = zigzag[:, 0].copy()
    zigzag[:, 0] = 0
    widest = zigzag.max(axis=1)
    widths = np.select([widest < np.uint64(2) ** np.uint64(8 * width) for width in _WIDTHS[:-1]], _WIDTHS[:-1], 8)
    is_whole = powers >= 0
    kinds[is_whole] = (widths[is_whole] | powers[is_whole].astype(np.int64) << 4).astype(np.uint8)
    parts = [_planes(firsts[None, :], 8)]
    for width in _WIDTHS:
        rows = is_whole & (widths == width)
        if rows.any():
            parts.append(_planes(zigzag[rows], width))
    if not is_whole.all():
        bits = values[~is_whole].view(np.uint64)
        changed = bits.copy()
        changed[:, 1:] ^= bits[:, :-1]
        parts.append(_planes(changed, 8))
    return kinds, parts


def _decode_rows(
    data: bytes, start: int, kinds: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]", length: int
) -> Floats:
    count = len(kinds)
    values = np.empty((count, length))
    if not length:
        return values
    firsts = _unplanes(data, start, 1, count, 8)[0]
    start += 8 * count
    for width in _WIDTHS:
        rows = np.flatnonzero((kinds & 15) == width)
        if len(rows):
            zigzag = _unplanes(data, start, len(rows), length, width)
            zigzag[:, 0] = firsts[rows]
            values[rows] = np.cumsum(_unzigzag(zigzag), axis=1) / 10.0 ** (kinds[rows] >> 4)[:, None]
            start += len(rows) * width * length
    rows = np.flatnonzero(kinds == _XOR)
    if len(rows):
        changed = _unplanes(data, start, len(rows), length, 8)
        values[rows] = np.bitwise_xor.accumulate(changed, axis=1).view(np.float64)
    return values
