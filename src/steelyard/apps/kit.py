"""What a plugin is once it is opened: tools, and a way to call them."""

from dataclasses import dataclass
from typing import Any, Protocol

from steelyard.canon.apps import ToolSpec
from steelyard.canon.knowledge import FoundPassages

#: Of what a tool says, more is cut: the model reads all of it.
MAX_RESULT_CHARS = 20_000
#: Of an answer of a plugin's server, more is refused.
MAX_ANSWER_BYTES = 1_048_576


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool said.

    Args:
        found: passages of knowledge bases, to be cited.
    """

    text: str
    is_error: bool = False
    found: FoundPassages | None = None


class Kit(Protocol):
    """An opened plugin."""

    @property
    def tools(self) -> tuple[ToolSpec, ...]:
        """The tools that may be called."""
        ...

    async def call(self, tool: ToolSpec, arguments: dict[str, Any]) -> Result:
        """Calls a tool. What goes wrong there is a result that says so.

        Raises:
            Fault: `plugin_unreachable`: the plugin cannot be used at all.
        """
        ...


def bounded(text: str) -> str:
    """A text as a model may read it."""
    if len(text) <= MAX_RESULT_CHARS:
        return text
    return f"{text[:MAX_RESULT_CHARS]}\n[cut here: {len(text) - MAX_RESULT_CHARS} more characters]"
