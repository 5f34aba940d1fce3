"""The shape of a built-in plugin."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from steelyard.apps.kit import Result
from steelyard.canon.apps import ToolSpec
from steelyard.canon.grant import Grant
from steelyard.canon.knowledge import FoundPassages, KnowledgeWish


class Surroundings(Protocol):
    """What built-in tools may use of the platform, for whoever calls."""

    @property
    def grant(self) -> Grant:
        """Who calls."""
        ...

    @property
    def bases(self) -> tuple[str, ...]:
        """The knowledge bases that may be searched; empty stands for those of the workspace."""
        ...

    async def find_passages(self, wish: KnowledgeWish) -> FoundPassages:
        """Passages of knowledge bases."""
        ...

    async def list_bases(self) -> list[tuple[str, str]]:
        """(id, name) of the workspace's bases."""
        ...

    async def read_page(self, url: str) -> str:
        """A page of the web, as text; guarded and bounded."""
        ...


Run = Callable[[dict[str, Any], Surroundings], Awaitable[Result]]


@dataclass(frozen=True, slots=True)
class BuiltinPlugin:
    """A plugin and what its tools do, by name."""

    name: str
    description: str
    tools: tuple[ToolSpec, ...]
    runs: dict[str, Run]


class BuiltinKit:
    """Implements `Kit`."""

    def __init__(self, plugin: BuiltinPlugin, surroundings: Surroundings) -> None:
        self._plugin = plugin
        self._surroundings = surroundings
        self.tools = plugin.tools

    async def call(self, tool: ToolSpec, arguments: dict[str, Any]) -> Result:
        """See `Kit`."""
        return await self._plugin.runs[tool.name](arguments, self._surroundings)
