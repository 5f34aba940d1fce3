"""Numbers as texts, as Prometheus writes them. Source: prometheus.md 1.5."""

import math
import re

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
UNITS_MS = (
    ("y", 31_536_000_000), ("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1),
)  # fmt: skip
_DURATION = re.compile("".join(rf"(?:(\d+){unit})?" for unit, _ in UNITS_MS), re.ASCII)
#: Between these JSON needs no exponent.
_USUAL_FROM, _USUAL_TO = 1e-4, 1e15


def format_sample(value: float) -> str:
    """A sample's value: the shortest digits, an exponent only below 1e-6 and from 1e21 on."""
    special = _special(value)
    if special is not None:
        return special
    size = abs(value)
    if size != 0 and (size < 1e-6 or size >= 1e21):
        return _exponent(value)
    return format_plain(value)


def format_plain(value: float) -> str:
    """The shortest digits, never with an exponent."""
    special = _special(value)
    if special is not None:
        return special
    text = repr(value)
    if "e" in text:
        from decimal import Decimal

        text = format(Decimal(text), "f")
    return text.removesuffix(".0") if text.endswith(".0") else text


def format_samples(values: Floats) -> list[bytes]:
    """Many samples' values; see `format_sample`. Most are written as JSON would write them, which is done at once."""
    if not len(values):
        return []
    sizes = np.abs(values)
    is_usual = ((sizes >= _USUAL_FROM) & (sizes < _USUAL_TO)) | ((values == 0) & ~np.signbit(values))
    text = msgspec.json.encode(np.where(is_usual, values, 0.0).tolist())
    parts = (text[1:-1] + b",").replace(b".0,", b",").split(b",")[:-1]
    for place in np.flatnonzero(~is_usual).tolist():
        parts[place] = format_sample(float(values[place])).encode()
    return parts


def _special(value: float) -> str | None:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return None


def _exponent(value: float) -> str:
    """Shortest digits with an exponent of at least two."""
    mantissa, _, exponent = f"{value!r}".partition("e")
    if not exponent:
        mantissa, _, exponent = _normal(value)
    sign = "-" if exponent.startswith("-") else "+"
    return f"{mantissa.removesuffix('.0')}e{sign}{exponent.lstrip('+-').zfill(2)}"


def _normal(value: float) -> tuple[str, str, str]:
    """Digits and exponent of a number that Python writes without one."""
    from decimal import Decimal

    text = format(Decimal(repr(value)).normalize(), "E")
    return text.partition("E")


def format_time(ms: int) -> str:
    """A sample's time in seconds: whole, or with three decimals."""
    seconds, rest = divmod(ms, 1000)
    if rest == 0:
        return str(seconds)
    sign = "-" if ms < 0 else ""
    seconds, rest = divmod(abs(ms), 1000)
    return f"{sign}{seconds}.{rest:03}"


def read_duration(text: str) -> int | None:
    """`1h30m` in milliseconds: each unit once, the largest first; None where it is none."""
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        return None
    return sum(int(count) * size for count, (_, size) in zip(found.groups(), UNITS_MS, strict=True) if count)


def format_duration(ms: int) -> str:
    """A duration as Prometheus writes it: `1h30m`, `0s`."""
    if ms == 0:
        return "0s"
    out = "-" if ms < 0 else ""
    left = abs(ms)
    for unit, size in UNITS_MS:
        # years and weeks only where nothing is left
        count = left // size
        if count and (unit not in ("y", "w") or left % size == 0):
            out += f"{count}{unit}"
            left -= count * size
    return out
