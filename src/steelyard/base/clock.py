"""The one clock. Rules take times as arguments; only services ask here."""

import time

MICROS = 1_000_000


def now_us() -> int:
    """Wall-clock microseconds since 1970, UTC."""
    return time.time_ns() // 1000


def now_s() -> int:
    """Wall-clock seconds since 1970, UTC."""
    return int(time.time())


monotonic = time.monotonic
