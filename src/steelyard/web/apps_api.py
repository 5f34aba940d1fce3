"""/control/v1/apps and /control/v1/plugins: as `steelyard apps`, `steelyard plugins` and the console use them. An admin names a workspace by
`?workspace=`; an api key does not come here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from steelyard.apps.book import AppBook
from steelyard.apps.memory import Memory
from steelyard.apps.plugin_book import PluginBook, show_plugin
from steelyard.base.units import MICROS
from steelyard.canon.apps import App, AppSpec, AppVersion, Credential, Plugin, PluginSpec
from steelyard.canon.grant import Grant
from steelyard.control import workspaces
from steelyard.control.providers import check_remote_reference
from steelyard.control.records import Records
from steelyard.web.answers import as_struct, json_answer, read_body
from steelyard.web.app_host_api import Called
from steelyard.web.control_api import Operation
from steelyard.web.principal import get_admin
from steelyard.web.queries import read_integer

#: Calls a tool alone: (plugin, tool, arguments, for whom) -> what it said.
CallTool = Callable[[Plugin, str, dict[str, Any], Grant], Awaitable[Called]]


class AppWish(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /apps."""

    name: str
    spec: AppSpec
    publish: bool = False


class AppChange(msgspec.Struct, forbid_unknown_fields=True):
    """Body of PUT /apps/ID; what is left out stays."""

    name: str | None = None
    spec: AppSpec | None = None


class VersionWish(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /apps/ID/rollback; version 0 takes the app out of callers' reach."""

    version: Annotated[int, msgspec.Meta(ge=0)]


class PluginWish(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /plugins. `document` is an OpenAPI description as text; `secret` the credential's, or a reference."""

    name: str
    kind: str
    description: str = ""
    url: str = ""
    transport: str = "http"
    credential: Credential = Credential()
    secret: str = ""
    headers: dict[str, str] = {}
    only: tuple[str, ...] = ()
    timeout_s: float = 30.0
    document: str = ""


class SwitchWish(msgspec.Struct, forbid_unknown_fields=True):
    """Body of PUT /plugins/NAME."""

    enabled: bool


class TestWish(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /plugins/NAME/test."""

    tool: str
    arguments: dict[str, Any] = {}


class ToolsWish(msgspec.Struct, forbid_unknown_fields=True):
    """Body of PUT /workspaces/NAME/tools; an empty list gives chat calls none."""

    tools: Annotated[tuple[str, ...], msgspec.Meta(max_length=50)] = ()


def show_app(one: App) -> dict[str, Any]:
    """An app as JSON."""
    return {
        "id": one.id,
        "name": one.name,
        "workspace": one.workspace,
        "published_version": one.published,
        "draft": msgspec.to_builtins(one.draft),
        "created_at": one.created_us // MICROS,
        "modified_at": one.modified_us // MICROS,
    }


def show_version(one: AppVersion) -> dict[str, Any]:
    """A version as JSON."""
    return {"version": one.version, "spec": msgspec.to_builtins(one.spec), "created_at": one.created_us // MICROS}


class AppsApi:
    """The handlers."""

    def __init__(
        self, records: Records, book: AppBook, memory: Memory, plugins: PluginBook, call_tool: CallTool
    ) -> None:
        self._records = records
        self._book = book
        self._memory = memory
        self._plugins = plugins
        self._call_tool = call_tool
        app, plugin = "/apps/{app}", "/plugins/{plugin}"
        self.operations = (
            Operation("GET", "/apps", "List apps", self.list, query=("workspace", "page_no", "page_size")),
            Operation("POST", "/apps", "Make an app", self.create, AppWish, "apps.create"),
            Operation("GET", app, "Show an app with its draft", self.get),
            Operation("PUT", app, "Change an app's draft or name", self.change, AppChange),
            Operation("DELETE", app, "Delete an app with its versions and sessions", self.delete, action="apps.delete"),
            Operation("GET", app + "/versions", "List an app's published versions", self.versions),
            Operation("POST", app + "/publish", "Publish the draft as a new version", self.publish),
            Operation(
                "POST", app + "/rollback", "Go back to a version, or take the app back", self.roll_back, VersionWish
            ),
            Operation(
                "GET",
                app + "/sessions",
                "List an app's sessions",
                self.sessions,
                query=("workspace", "page_no", "page_size"),
            ),
            Operation("DELETE", app + "/sessions/{session}", "Forget a session", self.forget),
            Operation("GET", "/plugins", "List plugins", self.list_plugins, query=("workspace",)),
            Operation(
                "POST",
                "/plugins",
                "Add a plugin with the tools that it has now",
                self.add_plugin,
                PluginWish,
                "plugins.add",
            ),
            Operation("GET", plugin, "Show a plugin with its tools", self.get_plugin),
            Operation("PUT", plugin, "Switch a plugin on or off", self.switch, SwitchWish),
            Operation("DELETE", plugin, "Remove a plugin", self.remove_plugin, action="plugins.remove"),
            Operation(
                "GET", plugin + "/changes", "What became of a server's tools since they were approved", self.compare
            ),
            Operation("POST", plugin + "/approve", "Take a server's tools as they are now", self.approve),
            Operation("POST", plugin + "/test", "Call a tool alone", self.test, TestWish),
            Operation(
                "PUT", "/workspaces/{name}/tools", "Give a workspace's chat calls tools", self.set_tools, ToolsWish
            ),
        )

    # apps

    async def list(self, request: Request) -> Response:
        _, workspace = _who(request)
        query = request.query_params
        page, size = read_integer(query, "page_no", 1, 1, 10**6), read_integer(query, "page_size", 50, 1, 200)
        found, total = await self._book.list_page(workspace, offset=(page - 1) * size, limit=size)
        return json_answer({"data": [show_app(one) for one in found], "total": total, "page_no": page})

    async def create(self, request: Request) -> Response:
        actor, workspace = _who(request)
        wish = await read_body(request, AppWish)
        await workspaces.get_workspace(self._records, workspace)
        made = await self._book.create(workspace, wish.name, wish.spec, actor=actor)
        if wish.publish:
            made = await self._book.publish(workspace, made.id, actor=actor)
        return json_answer(show_app(made), 201)

    async def get(self, request: Request) -> Response:
        _, workspace = _who(request)
        return json_answer(show_app(await self._book.get(workspace, _app(request))))

    async def change(self, request: Request) -> Response:
        actor, workspace = _who(request)
        wish = await read_body(request, AppChange)
        changed = await self._book.change(workspace, _app(request), name=wish.name, spec=wish.spec, actor=actor)
        return json_answer(show_app(changed))

    async def delete(self, request: Request) -> Response:
        actor, workspace = _who(request)
        await self._book.delete(workspace, _app(request), actor=actor)
        return json_answer({"id": _app(request), "deleted": True})

    async def versions(self, request: Request) -> Response:
        _, workspace = _who(request)
        found = await self._book.list_versions(workspace, _app(request))
        return json_answer({"data": [show_version(one) for one in found]})

    async def publish(self, request: Request) -> Response:
        actor, workspace = _who(request)
        return json_answer(show_app(await self._book.publish(workspace, _app(request), actor=actor)))

    async def roll_back(self, request: Request) -> Response:
        actor, workspace = _who(request)
        wish = await read_body(request, VersionWish)
        changed = await self._book.roll_back(workspace, _app(request), wish.version, actor=actor)
        return json_answer(show_app(changed))

    async def sessions(self, request: Request) -> Response:
        _, workspace = _who(request)
        await self._book.get(workspace, _app(request))
        query = request.query_params
        page, size = read_integer(query, "page_no", 1, 1, 10**6), read_integer(query, "page_size", 50, 1, 200)
        found = await self._memory.list(workspace, _app(request), offset=(page - 1) * size, limit=size)
        shown = [
            {
                "session_id": one["session_id"],
                "turns": one["turns"],
                "created_at": one["created_us"] // MICROS,
                "modified_at": one["modified_us"] // MICROS,
                "expires_at": one["expires_us"] // MICROS,
            }
            for one in found
        ]
        return json_answer({"data": shown, "page_no": page})

    async def forget(self, request: Request) -> Response:
        actor, workspace = _who(request)
        session = request.path_params["session"]
        await self._book.delete_session(workspace, _app(request), session, actor=actor)
        return json_answer({"session_id": session, "deleted": True})

    # plugins

    async def list_plugins(self, request: Request) -> Response:
        _, workspace = _who(request)
        return json_answer({"data": [show_plugin(one) for one in await self._plugins.list_all(workspace)]})

    async def add_plugin(self, request: Request) -> Response:
        actor, workspace = _who(request)
        wish = await read_body(request, PluginWish)
        check_remote_reference(wish.secret)
        await workspaces.get_workspace(self._records, workspace)
        fields = {
            name: getattr(wish, name) for name in wish.__struct_fields__ if name not in ("name", "secret", "document")
        }
        spec = as_struct(fields, PluginSpec)
        made = await self._plugins.add(workspace, wish.name, spec, wish.document, wish.secret, actor=actor)
        return json_answer(show_plugin(made, with_tools=True), 201)

    async def get_plugin(self, request: Request) -> Response:
        _, workspace = _who(request)
        return json_answer(show_plugin(await self._plugins.get(workspace, _plugin(request)), with_tools=True))

    async def switch(self, request: Request) -> Response:
        actor, workspace = _who(request)
        wish = await read_body(request, SwitchWish)
        changed = await self._plugins.switch(workspace, _plugin(request), is_enabled=wish.enabled, actor=actor)
        return json_answer(show_plugin(changed))

    async def remove_plugin(self, request: Request) -> Response:
        actor, workspace = _who(request)
        await self._plugins.remove(workspace, _plugin(request), actor=actor)
        return json_answer({"name": _plugin(request), "deleted": True})

    async def compare(self, request: Request) -> Response:
        _, workspace = _who(request)
        return json_answer(await self._plugins.compare(workspace, _plugin(request)))

    async def approve(self, request: Request) -> Response:
        actor, workspace = _who(request)
        changed, difference = await self._plugins.approve(workspace, _plugin(request), actor=actor)
        return json_answer({**show_plugin(changed, with_tools=True), "changes": difference})

    async def test(self, request: Request) -> Response:
        _, workspace = _who(request)
        wish = await read_body(request, TestWish)
        plugin = await self._plugins.get(workspace, _plugin(request))
        grant = msgspec.structs.replace(get_admin(request), workspace=workspace, tools=())
        called = await self._call_tool(plugin, wish.tool, wish.arguments, grant)
        if called.fault is not None:
            raise called.fault.to_fault()
        return json_answer({"tool": wish.tool, "output": called.text, "is_error": called.is_error})

    async def set_tools(self, request: Request) -> Response:
        actor, wish = get_admin(request).key_id, await read_body(request, ToolsWish)
        name = request.path_params["name"]
        for tool in wish.tools:
            await self._plugins.get(name, tool.partition("/")[0])
        record = await workspaces.set_tools(self._records, name, wish.tools, actor=actor)
        return json_answer({"name": record.name, "tools": record.policy.tools})


def _who(request: Request) -> tuple[str, str]:
    """Who asks, and whose apps and plugins are meant."""
    grant = get_admin(request)
    return grant.key_id, request.query_params.get("workspace") or grant.workspace


def _app(request: Request) -> str:
    return str(request.path_params["app"])


def _plugin(request: Request) -> str:
    return str(request.path_params["plugin"])
