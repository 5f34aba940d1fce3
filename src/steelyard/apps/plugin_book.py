"""The plugins of workspaces: what was approved, what is switched on, and whose they are."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from steelyard.apps import openapi
from steelyard.apps.builtin import PLUGINS
from steelyard.apps.credentials import BASIC, HEADER, KINDS, OAUTH2, QUERY, place_of
from steelyard.apps.mcp_kit import show_difference
from steelyard.base.clock import now_us
from steelyard.base.errors import Fault, fault
from steelyard.base.sealing import PREFIX, Sealer
from steelyard.canon.apps import BUILTIN, MCP, OPENAPI, STDIO, Plugin, PluginSpec, ToolSpec
from steelyard.store import audit, changes, plugins
from steelyard.store.database import Database
from steelyard.upstream.fetcher import FetchError, read_link
from steelyard.upstream.guard import HostRules, is_public

NAME = re.compile(r"[a-z][a-z0-9-]{0,23}")
#: "apps" is where published apps are.
RESERVED = frozenset({"apps"})
MAX_PLUGINS = 500
TRANSPORTS = ("http", "sse")

#: A server's tools as they are now.
Look = Callable[[Plugin], Awaitable[tuple[ToolSpec, ...]]]


def _invalid(detail: str, param: str) -> Fault:
    return fault("plugin_invalid", detail=detail, param=param)


class PluginBook:
    """The use-cases.

    Args:
        declared: the operator's, from the configuration file.
        rules: which hosts may be asked; what can be told beforehand is told when a plugin is added.
        look: lists a server's tools.
    """

    def __init__(
        self, database: Database, declared: Mapping[str, Plugin], sealer: Sealer, rules: HostRules, look: Look
    ) -> None:
        self._database = database
        self._declared = declared
        self._sealer = sealer
        self._rules = rules
        self._look = look

    async def get(self, workspace: str, name: str) -> Plugin:
        """A plugin as a workspace has it: its own, the operator's, or a built-in one.

        Raises:
            Fault: `plugin_not_found`.
        """
        async with self._database.read() as connection:
            stored = await plugins.find_plugin(connection, workspace, name)
        found = self._shared(name)
        if found is not None:
            # of these a workspace keeps the switch alone
            return found if stored is None else msgspec.structs.replace(found, is_enabled=stored.is_enabled)
        if stored is None:
            raise fault("plugin_not_found", name=name[:100])
        return stored

    def _shared(self, name: str) -> Plugin | None:
        if name in self._declared:
            return self._declared[name]
        one = PLUGINS.get(name)
        if one is None:
            return None
        return Plugin(name=name, spec=PluginSpec(kind=BUILTIN, description=one.description), tools=one.tools)

    async def list_all(self, workspace: str) -> list[Plugin]:
        """All that a workspace may switch on, by name."""
        async with self._database.read() as connection:
            stored = {one.name: one for one in await plugins.list_plugins(connection, workspace)}
        names = {*self._declared, *PLUGINS, *stored}
        return [await self.get(workspace, name) for name in sorted(names)]

    async def add(
        self, workspace: str, name: str, spec: PluginSpec, document: str, secret: str, *, actor: str
    ) -> Plugin:
        """Adds a plugin with the tools that it has now: whoever adds it approves them.

        Args:
            document: an OpenAPI description; JSON or YAML.
            secret: of the credential: itself, or a reference.

        Raises:
            Fault: naming the field at fault.
        """
        if not NAME.fullmatch(name) or name in RESERVED:
            raise _invalid(
                "its name has at most 24 lower-case letters, digits and hyphens, and is not reserved.", "name"
            )
        if self._shared(name) is not None:
            raise fault("name_taken", detail=f"There is a plugin {name!r} for all workspaces.")
        now = now_us()
        plugin = Plugin(name=name, workspace=workspace, spec=spec, created_us=now, modified_us=now)
        plugin = self._with_secret(plugin, secret)
        plugin = await self._with_tools(plugin, document)
        async with self._database.write() as connection:
            if await plugins.find_plugin(connection, workspace, name) is not None:
                raise fault("name_taken", detail=f"Plugin {name!r} exists already.")
            if len(await plugins.list_plugins(connection, workspace)) >= MAX_PLUGINS:
                raise _invalid(f"a workspace has at most {MAX_PLUGINS}.", "name")
            await plugins.insert_plugin(connection, plugin)
            await changes.append(connection, changes.WORKSPACE, workspace, now)
            detail = f"{spec.kind}, {len(plugin.tools)} tools"
            await audit.append(connection, actor=actor, action="plugins.add", subject=name, detail=detail, now_us=now)
        return plugin

    def _with_secret(self, plugin: Plugin, secret: str) -> Plugin:
        credential = plugin.spec.credential
        if credential.kind not in KINDS:
            raise _invalid(f"credential.kind is one of {', '.join(KINDS)}.", "credential.kind")
        if credential.kind in (HEADER, QUERY) and not re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", credential.name):
            raise _invalid("credential.name is the header's or the parameter's.", "credential.name")
        if credential.kind in (BASIC, OAUTH2) and not credential.user:
            raise _invalid("credential.user is missing.", "credential.user")
        if credential.kind == OAUTH2:
            self._check_url(credential.token_url, "credential.token_url")
        if "\n" in secret or "\r" in secret:
            raise _invalid("the secret has line breaks.", "secret")
        is_reference = secret.startswith(("env:", "file:"))
        kept = (
            secret if is_reference or not secret else self._sealer.seal(secret, place_of(plugin.workspace, plugin.name))
        )
        if credential.secret.startswith(PREFIX):
            raise _invalid("a secret is given by itself, never sealed.", "credential.secret")
        spec = msgspec.structs.replace(plugin.spec, credential=msgspec.structs.replace(credential, secret=kept))
        return msgspec.structs.replace(plugin, spec=spec)

    async def _with_tools(self, plugin: Plugin, document: str) -> Plugin:
        spec = plugin.spec
        for name, value in spec.headers.items():
            if not re.fullmatch(r"[A-Za-z0-9-]{1,100}", name) or any(one in value for one in "\r\n\0"):
                raise _invalid(f"{name[:50]!r} is no header.", "headers")
        if spec.kind == STDIO:
            raise fault("stdio_refused", param="kind")
        if spec.kind == OPENAPI:
            return self._described(plugin, document)
        if spec.kind != MCP:
            raise _invalid(f"kind is {OPENAPI} or {MCP}.", "kind")
        if spec.transport not in TRANSPORTS:
            raise _invalid(f"transport is one of {', '.join(TRANSPORTS)}.", "transport")
        self._check_url(spec.url, "url")
        tools = await self._look(plugin)
        _check_only(spec, tools)
        return msgspec.structs.replace(plugin, tools=tools)

    def _described(self, plugin: Plugin, document: str) -> Plugin:
        found = openapi.read_description(openapi.read_text(document))
        spec = plugin.spec
        url = spec.url or next(iter(found.servers), "")
        if not url.startswith(("http://", "https://")):
            raise _invalid("its `servers` has no http(s) address; give one with `url`.", "url")
        self._check_url(url, "url")
        _check_only(spec, found.tools)
        tools = tuple(one for one in found.tools if not spec.only or one.name in spec.only)
        spec = msgspec.structs.replace(spec, url=url, description=spec.description or found.summary or found.title)
        return msgspec.structs.replace(plugin, spec=spec, tools=tools)

    def _check_url(self, url: str, param: str) -> None:
        """What can be said of an address before it is asked; every request is looked at again."""
        try:
            place = read_link(url)
        except FetchError:
            raise _invalid(f"{url[:100]!r} is no http(s) address.", param) from None
        if not self._rules.is_open(place.host):
            raise _invalid(f"the operator does not allow the host {place.host}.", param)
        if self._rules.may_be_private(place.host):
            return
        try:
            is_literal = bool(ipaddress.ip_address(place.host))
        except ValueError:
            is_literal = False
        is_local = place.host == "localhost" or place.host.endswith((".localhost", ".local", ".internal"))
        if is_local or (is_literal and not is_public(place.host)):
            raise _invalid(
                f"the host {place.host} is in a private network; the operator may list it in [outbound] private_hosts.",
                param,
            )

    async def approve(self, workspace: str, name: str, *, actor: str) -> tuple[Plugin, dict[str, list[str]]]:
        """Takes a server's tools as they are now; returns what was new, gone and changed.

        Raises:
            Fault: `plugin_not_found`, `plugin_unreachable`, or it has no server that could change them.
        """
        plugin = await self.get(workspace, name)
        if plugin.spec.kind != MCP or not plugin.workspace:
            raise _invalid("only tools of a workspace's MCP servers are approved.", "name")
        tools = await self._look(plugin)
        now = now_us()
        changed = msgspec.structs.replace(plugin, tools=tools, modified_us=now)
        async with self._database.write() as connection:
            await plugins.change_plugin(connection, changed)
            difference = show_difference(plugin.tools, tools)
            detail = ", ".join(f"{len(names)} {kind}" for kind, names in difference.items())
            await audit.append(
                connection, actor=actor, action="plugins.approve", subject=name, detail=detail, now_us=now
            )
        return changed, difference

    async def compare(self, workspace: str, name: str) -> dict[str, list[str]]:
        """What has become of a server's tools since they were approved.

        Raises:
            Fault: `plugin_not_found`, `plugin_unreachable`.
        """
        plugin = await self.get(workspace, name)
        if plugin.spec.kind != MCP or not plugin.workspace:
            return show_difference((), ())
        return show_difference(plugin.tools, await self._look(plugin))

    async def switch(self, workspace: str, name: str, *, is_enabled: bool, actor: str) -> Plugin:
        """Switches a plugin on or off for a workspace; every process follows within two seconds.

        Raises:
            Fault: `plugin_not_found`.
        """
        plugin = await self.get(workspace, name)
        now = now_us()
        changed = msgspec.structs.replace(plugin, is_enabled=is_enabled)
        row = changed
        if not plugin.workspace:
            row = Plugin(
                name=name, workspace=workspace, spec=PluginSpec(kind=plugin.spec.kind), is_enabled=is_enabled,
                created_us=now, modified_us=now,
            )  # fmt: skip
        async with self._database.write() as connection:
            if await plugins.find_plugin(connection, workspace, name) is None:
                await plugins.insert_plugin(connection, row)
            else:
                await plugins.change_plugin(connection, row)
            await changes.append(connection, changes.WORKSPACE, workspace, now)
            action = "plugins.enable" if is_enabled else "plugins.disable"
            await audit.append(connection, actor=actor, action=action, subject=name, now_us=now)
        return changed

    async def remove(self, workspace: str, name: str, *, actor: str) -> None:
        """Removes a workspace's own plugin.

        Raises:
            Fault: `plugin_not_found`, or it is for all workspaces.
        """
        if self._shared(name) is not None:
            raise _invalid("it is for all workspaces: switch it off instead.", "name")
        now = now_us()
        async with self._database.write() as connection:
            if not await plugins.delete_plugin(connection, workspace, name):
                raise fault("plugin_not_found", name=name[:100])
            await changes.append(connection, changes.WORKSPACE, workspace, now)
            await audit.append(connection, actor=actor, action="plugins.remove", subject=name, now_us=now)


def _check_only(spec: PluginSpec, tools: tuple[ToolSpec, ...]) -> None:
    known = {one.name for one in tools}
    unknown = [one for one in spec.only if one not in known]
    if unknown:
        raise _invalid(f"it has no tool {unknown[0][:100]!r}.", "only")


def show_plugin(plugin: Plugin, *, with_tools: bool = False) -> dict[str, Any]:
    """A plugin as JSON, its secret hidden."""
    spec, credential = plugin.spec, plugin.spec.credential
    shown: dict[str, Any] = {
        "name": plugin.name,
        "kind": spec.kind,
        "origin": "workspace" if plugin.workspace else "built-in" if spec.kind == BUILTIN else "operator",
        "description": spec.description,
        "enabled": plugin.is_enabled,
        "url": spec.url,
        "transport": spec.transport if spec.kind == MCP else "",
        "credential": credential.kind,
        "secret": credential.secret
        if credential.secret.startswith(("env:", "file:"))
        else "…"
        if credential.secret
        else "",
        "only": spec.only,
        "tool_count": len(plugin.tools),
    }
    if with_tools:
        shown["tools"] = [
            {"name": one.name, "description": one.description, "parameters": one.parameters} for one in plugin.tools
        ]
    return shown
