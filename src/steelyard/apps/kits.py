"""Opens plugins by name: a workspace's own, the operator's, and the built-in ones, each kind in its way."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from steelyard.apps.builtin import PLUGINS
from steelyard.apps.builtin.plugin import BuiltinKit, Surroundings
from steelyard.apps.credentials import Credentials
from steelyard.apps.kit import Kit
from steelyard.apps.mcp_kit import McpKit, McpLinks
from steelyard.apps.openapi_kit import OpenApiKit
from steelyard.apps.plugin_book import PluginBook
from steelyard.base.errors import fault
from steelyard.canon.apps import BUILTIN, OPENAPI, Plugin, RemoteServer
from steelyard.upstream.fetcher import Fetcher

#: Of a server that a caller names in a call of its own.
VISIT_S = 60.0


class Kits:
    """Opens them.

    Args:
        trusted_hosts: of the operator's own plugins.
    """

    def __init__(
        self,
        book: PluginBook,
        links: McpLinks,
        fetcher: Fetcher,
        credentials: Credentials,
        trusted_hosts: tuple[str, ...],
    ) -> None:
        self._trusted = trusted_hosts
        self._book = book
        self._links = links
        self._fetcher = fetcher
        self._credentials = credentials

    async def open(self, name: str, surroundings: Surroundings) -> Kit:
        """A plugin that is switched on in the caller's workspace.

        Raises:
            Fault: `plugin_not_found`, `plugin_unreachable`.
        """
        plugin = await self._book.get(surroundings.grant.workspace, name)
        if not plugin.is_enabled:
            raise fault("plugin_not_found", name=name[:100])
        return await self.open_plugin(plugin, surroundings)

    async def open_plugin(self, plugin: Plugin, surroundings: Surroundings) -> Kit:
        """A plugin, switched on or not.

        Raises:
            Fault: `plugin_unreachable`.
        """
        if plugin.spec.kind == BUILTIN:
            return BuiltinKit(PLUGINS[plugin.name], surroundings)
        if plugin.spec.kind == OPENAPI:
            trusted = () if plugin.workspace else self._trusted
            return OpenApiKit(plugin, self._fetcher, self._credentials, trusted)
        return await self._links.open(plugin)

    def visit(self, server: RemoteServer) -> AbstractAsyncContextManager[McpKit]:
        """A caller's own server, for one call.

        Raises:
            Fault: `plugin_unreachable`.
        """
        return self._links.visit(server, VISIT_S)
