"""What time it is."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from steelyard.apps.builtin.plugin import BuiltinPlugin, Surroundings
from steelyard.apps.kit import Result
from steelyard.canon.apps import ToolSpec

NOW = ToolSpec(
    name="now",
    description="The current date and time, with the day of the week.",
    parameters={
        "type": "object",
        "properties": {
            "timezone": {
                "type": "string",
                "description": "An IANA time zone such as Asia/Shanghai; UTC where it is left out.",
            }
        },
        "additionalProperties": False,
    },
)


async def now(arguments: dict[str, Any], _: Surroundings) -> Result:
    """The time in a zone."""
    name = arguments.get("timezone") or "UTC"
    try:
        zone = UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return Result(f"There is no time zone {name!r}; give one such as Asia/Shanghai.", is_error=True)
    return Result(datetime.now(zone).strftime(f"%Y-%m-%d %H:%M:%S %A ({name}, UTC%z)"))


PLUGIN = BuiltinPlugin("time", "The current time in any time zone.", (NOW,), {"now": now})
