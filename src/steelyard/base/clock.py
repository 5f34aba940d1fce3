"""The one clock. Rules take times as arguments; only services ask here."""

import time

from steelyard.base.units import MICROS


def now_us() -> int:
    """Wall-clock microseconds since 1970, UTC."""
    return time.time_ns() // 1000


def now_s() -> int:
    """Wall-clock seconds since 1970, UTC."""
    return int(time.time())


monotonic = time.monotonic

__all__ = ["MICROS", "monotonic", "now_s", "now_us"]
