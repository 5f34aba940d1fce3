"""Lifetimes as people write them."""

import re

from steelyard.base.errors import fault

#: Stands for no end.
FOREVER = 0
_TTL = re.compile(r"(\d{1,9})([smhdw]?)")
_UNIT_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def read_ttl_s(text: str) -> int:
    """`24h`, `7d` or `forever` as seconds, forever as 0.

    Raises:
        Fault: `parameter_invalid`.
    """
    if text.strip().lower() == "forever":
        return FOREVER
    found = _TTL.fullmatch(text.strip())
    if not found or not int(found[1]):
        raise fault("parameter_invalid", detail=f"{text[:40]!r} is no lifetime; write 24h, 7d or forever.", param="ttl")
    return int(found[1]) * _UNIT_S[found[2]]
