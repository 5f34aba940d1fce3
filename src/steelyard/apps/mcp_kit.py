"""Tools of MCP servers: those that were approved, as long as they are what they were."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from steelyard.apps.kit import Result
from steelyard.apps.mcp_link import McpLink, Openings
from steelyard.base.clock import monotonic
from steelyard.canon.apps import Plugin, RemoteServer, ToolSpec

#: Connections that nobody has used for this long are closed; more than so many are not kept.
IDLE_S = 120.0
MAX_LINKS = 64


def is_same(one: ToolSpec, other: ToolSpec) -> bool:
    """Whether two say the same to a model: what was approved is what it reads."""
    return (one.name, one.description, one.parameters) == (other.name, other.description, other.parameters)


class McpKit:
    """Implements `Kit`.

    Args:
        approved: the tools as they were approved; None takes them as they are, for a server that the caller chose for the call.
    """

    def __init__(
        self, title: str, link: McpLink, approved: tuple[ToolSpec, ...] | None, now: tuple[ToolSpec, ...]
    ) -> None:
        self._title = title
        self._link = link
        self._approved = approved
        by_name = {one.name: one for one in now}
        self.tools = now if approved is None else tuple(one for one in approved if one.name in by_name)
        #: Approved, and something else by now.
        self.changed = frozenset(one.name for one in self.tools if not is_same(one, by_name[one.name]))

    async def call(self, tool: ToolSpec, arguments: dict[str, Any]) -> Result:
        """See `Kit`."""
        now = {one.name: one for one in await self._link.list_tools()}
        current = now.get(tool.name)
        if current is None:
            return Result(f"The server of {self._title} does not have the tool {tool.name} any more.", is_error=True)
        if not is_same(tool, current):
            told = f"The server of {self._title} has changed the tool {tool.name} since it was approved; an admin must approve it anew."
            return Result(told, is_error=True)
        return await self._link.call(tool.name, arguments)


class McpLinks:
    """Connections to plugins' servers, kept while they are used."""

    def __init__(self, openings: Openings, trusted_hosts: tuple[str, ...] = ()) -> None:
        self._openings = openings
        self._trusted = trusted_hosts
        self._links: dict[tuple[str, str, int], McpLink] = {}
        self._opening: dict[tuple[str, str, int], asyncio.Lock] = {}
        #: Of the operator's own servers: the tools that they had when they were first met.
        self._first: dict[str, tuple[ToolSpec, ...]] = {}

    def __repr__(self) -> str:
        return f"<McpLinks [{len(self._links)}]>"

    async def open(self, plugin: Plugin) -> McpKit:
        """A plugin's tools.

        Raises:
            Fault: `plugin_unreachable`.
        """
        link = await self._link_to(plugin)
        now = await link.list_tools()
        approved = plugin.tools if plugin.workspace else self._first.setdefault(plugin.name, _chosen(plugin, now))
        return McpKit(plugin.name, link, approved, now)

    async def _link_to(self, plugin: Plugin) -> McpLink:
        key = (plugin.workspace, plugin.name, plugin.modified_us)
        async with self._opening.setdefault(key, asyncio.Lock()):
            link = self._links.get(key)
            if link is not None and link.is_open:
                return link
            if link is not None:
                await link.close()
            link = self._openings.of_plugin(plugin, trusted_hosts=() if plugin.workspace else self._trusted)
            await link.open()
            self._links[key] = link
        if len(self._links) > MAX_LINKS:
            await self._drop(min(self._links, key=lambda one: self._links[one].used_at))
        return link

    async def look(self, plugin: Plugin) -> tuple[ToolSpec, ...]:
        """A server's tools as they are now, over a connection of their own.

        Raises:
            Fault: `plugin_unreachable`.
        """
        link = self._openings.of_plugin(plugin)
        await link.open()
        try:
            return _chosen(plugin, await link.list_tools())
        finally:
            await link.close()

    @contextlib.asynccontextmanager
    async def visit(self, server: RemoteServer, timeout_s: float) -> Any:
        """A caller's own server, for one call."""
        link = self._openings.of_server(server, timeout_s)
        await link.open()
        try:
            now = await link.list_tools()
            chosen = now if server.allowed is None else tuple(one for one in now if one.name in server.allowed)
            yield McpKit(server.label, link, None, chosen)
        finally:
            await link.close()

    async def _drop(self, key: tuple[str, str, int]) -> None:
        link = self._links.pop(key, None)
        self._opening.pop(key, None)
        if link is not None:
            await link.close()

    async def sweep(self) -> None:
        """Closes what nobody uses."""
        now = monotonic()
        for key in [key for key, link in self._links.items() if link.used_at + IDLE_S < now or not link.is_open]:
            await self._drop(key)

    async def close(self) -> None:
        """Closes all."""
        for key in list(self._links):
            await self._drop(key)


def _chosen(plugin: Plugin, tools: tuple[ToolSpec, ...]) -> tuple[ToolSpec, ...]:
    only = plugin.spec.only
    return tuple(one for one in tools if not only or one.name in only)


def show_difference(approved: tuple[ToolSpec, ...], now: tuple[ToolSpec, ...]) -> dict[str, list[str]]:
    """What has become of a server's tools, by name."""
    before, after = {one.name: one for one in approved}, {one.name: one for one in now}
    return {
        "new": sorted(after.keys() - before.keys()),
        "gone": sorted(before.keys() - after.keys()),
        "changed": sorted(name for name in before.keys() & after.keys() if not is_same(before[name], after[name])),
    }
