"""Pages of the web, read as text through the guarded client."""

from typing import Any

from steelyard.apps.builtin.plugin import BuiltinPlugin, Surroundings
from steelyard.apps.kit import Result, bounded
from steelyard.apps.openapi_kit import told_of
from steelyard.canon.apps import ToolSpec
from steelyard.upstream.fetcher import FetchError

FETCH = ToolSpec(
    name="fetch",
    description="Reads a public web page or text file and gives its text.",
    parameters={
        "type": "object",
        "properties": {"url": {"type": "string", "description": "An http or https address."}},
        "required": ["url"],
        "additionalProperties": False,
    },
)


async def fetch(arguments: dict[str, Any], surroundings: Surroundings) -> Result:
    """The text of a page."""
    try:
        return Result(bounded(await surroundings.read_page(arguments["url"])) or "The page has no text.")
    except FetchError as error:
        return Result(f"The page could not be read: {told_of(error)}.", is_error=True)


PLUGIN = BuiltinPlugin("web", "Reads public web pages.", (FETCH,), {"fetch": fetch})
