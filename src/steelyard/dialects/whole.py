"""What operations without streams have in common."""

from typing import Any, NoReturn

import msgspec

from steelyard.base.errors import fault
from steelyard.dialects.dialect import Showing


def no_stream(_showing: Showing) -> NoReturn:
    """For `Dialect.open_tap`: decoding never lets a stream through.

    Raises:
        Fault: always.
    """
    raise fault("bad_gateway", detail=" (A stream came where none was asked for.)")


def read_object(body: bytes) -> dict[str, Any]:
    """An upstream's answer as an object.

    Raises:
        Fault: `bad_gateway`.
    """
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise fault("bad_gateway", detail=" (The answer is not valid JSON.)") from exc
    if not isinstance(answer, dict):
        raise fault("bad_gateway", detail=" (The answer is no object.)")
    return answer


def whole_number(holder: Any, name: str) -> int:
    """A count; 0 where there is none."""
    value = holder.get(name) if isinstance(holder, dict) else None
    return value if isinstance(value, int) and value > 0 else 0
