"""/mcp/NAME and /mcp/apps/ID: plugins and published apps as MCP servers, for whoever has a key of the workspace.

The protocol is its own library's; a request stands for itself, so any process may answer it. The gateway has admitted the caller.
"""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from steelyard.apps.book import AppBook
from steelyard.apps.kits import Kits
from steelyard.apps.runner import Runner
from steelyard.apps.surroundings import Platform
from steelyard.apps.toolbox import Tool, Toolbox, tools_of
from steelyard.base.errors import Fault, fault
from steelyard.canon.answer import SAID, Piece
from steelyard.canon.apps import APP_PREFIX, Errand
from steelyard.canon.conversation import USER, Conversation, Message, Part, ToolCall
from steelyard.dialects.app_host import AppAsk
from steelyard.gateway.ports import Sink
from steelyard.web.principal import get_principal

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

PREFIX, APPS = "/mcp/", "apps/"
VERSION = "1"
ASK = "ask"
_ASK_SCHEMA = {
    "type": "object",
    "properties": {
        "prompt": {"type": "string", "description": "What is asked."},
        "session_id": {"type": "string", "description": "To go on from an earlier answer."},
    },
    "required": ["prompt"],
    "additionalProperties": False,
}


class McpApi:
    """An ASGI application."""

    def __init__(self, kits: Kits, book: AppBook, runner: Runner, platform: Platform, sink: Sink) -> None:
        self._kits = kits
        self._book = book
        self._runner = runner
        self._platform = platform
        self._sink = sink
        self._manager: StreamableHTTPSessionManager | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._lock = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        manager = await self._opened()
        await manager.handle_request(scope, receive, send)

    async def _opened(self) -> StreamableHTTPSessionManager:
        """The protocol's own server, from the first request on: it takes two seconds and 30 MB to load."""
        async with self._lock:
            if self._manager is None:
                await asyncio.to_thread(importlib.import_module, "mcp.server.streamable_http_manager")
                ready: asyncio.Future[StreamableHTTPSessionManager] = asyncio.get_running_loop().create_future()
                self._keeper = asyncio.create_task(self._keep(ready))
                self._manager = await ready
            return self._manager

    async def _keep(self, ready: asyncio.Future[StreamableHTTPSessionManager]) -> None:
        """The task that opens and closes it."""
        from mcp.server.lowlevel import Server
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

        server: Any = Server("steelyard", version=VERSION, on_list_tools=self._list, on_call_tool=self._call)
        # whom a call reaches is decided by the gateway; a foreign Host is accepted there
        manager = StreamableHTTPSessionManager(server, json_response=True, stateless=True)
        async with manager.run():
            ready.set_result(manager)
            await self._stop.wait()

    async def close(self) -> None:
        """Nothing is answered any more."""
        self._stop.set()
        if self._keeper is not None:
            await self._keeper

    # handlers

    async def _list(self, context: Any, _: Any) -> Any:
        import mcp_types as types

        request: Request = context.request
        name = request.url.path.removeprefix(PREFIX)
        try:
            if name.startswith(APPS):
                found = [await self._app_tool(request, name.removeprefix(APPS))]
            else:
                found = [
                    (one.spec.name, one.spec.description, one.spec.parameters)
                    for one in await self._tools(request, name)
                ]
        except Fault as failure:
            raise _protocol_error(failure) from None
        tools = [
            types.Tool(name=title, description=text, input_schema=schema or {"type": "object"})
            for title, text, schema in found
        ]
        return types.ListToolsResult(tools=tools)

    async def _call(self, context: Any, params: Any) -> Any:
        request: Request = context.request
        name = request.url.path.removeprefix(PREFIX)
        arguments = params.arguments or {}
        try:
            if name.startswith(APPS):
                return await self._ask_app(request, name.removeprefix(APPS), params.name, arguments)
            return await self._call_tool(request, name, params.name, arguments)
        except Fault as failure:
            raise _protocol_error(failure) from None

    # plugins

    async def _tools(self, request: Request, name: str) -> list[Tool]:
        grant = get_principal(request)
        kit = await self._kits.open(name, self._platform.for_call(_errand(request), ()))
        return tools_of(kit, name, (), grant.tools)

    async def _call_tool(self, request: Request, name: str, tool_name: str, arguments: dict[str, Any]) -> Any:
        tools = await self._tools(request, name)
        found = next((one for one in tools if one.spec.name == tool_name), None)
        if found is None:
            raise fault("tool_not_found", plugin=name[:100], name=tool_name[:100])
        toolbox = Toolbox([found], get_principal(request), _id_of(request), self._sink)
        outcome = await toolbox.call(ToolCall("", found.name, msgspec.json.encode(arguments).decode()))
        return _result(outcome.step.output, is_error=outcome.step.is_error)

    # apps

    async def _app_tool(self, request: Request, app_id: str) -> tuple[str, str, dict[str, Any]]:
        grant = get_principal(request)
        spec = await self._book.get_published(grant.workspace, app_id)
        if not spec.is_mcp or (grant.models and APP_PREFIX + app_id not in grant.models):
            raise fault("app_not_found", id=app_id[:100])
        app = await self._book.get(grant.workspace, app_id)
        return ASK, spec.description or f"Asks the app {app.name}.", _ASK_SCHEMA

    async def _ask_app(self, request: Request, app_id: str, tool_name: str, arguments: dict[str, Any]) -> Any:
        await self._app_tool(request, app_id)
        prompt = arguments.get("prompt")
        if tool_name != ASK or not isinstance(prompt, str) or not prompt.strip():
            return _result("Call `ask` with a prompt.", is_error=True)
        session = arguments.get("session_id")
        errand = msgspec.structs.replace(_errand(request), app=app_id)
        errand = msgspec.structs.replace(
            errand, session=session if isinstance(session, str) and session else _session(errand)
        )
        call = Conversation(messages=(Message(role=USER, parts=(Part(text=prompt),)),), errand=errand)
        said: list[str] = []

        async def tell(piece: Piece) -> None:
            if piece.kind == SAID:
                said.append(piece.text)

        try:
            await self._runner.run(AppAsk(call=call, model=APP_PREFIX + app_id), tell)
        except Fault as failure:
            return _result(failure.message, is_error=True)
        return _result("".join(said), structured={"session_id": errand.session})


def _id_of(request: Request) -> str:
    return request.headers.get("x-request-id", "")


def _errand(request: Request) -> Errand:
    return Errand(request_id=_id_of(request), grant=get_principal(request))


def _session(errand: Errand) -> str:
    return errand.request_id.replace("-", "")


def _result(text: str, *, is_error: bool = False, structured: dict[str, Any] | None = None) -> Any:
    import mcp_types as types

    return types.CallToolResult(
        content=[types.TextContent(text=text)], is_error=is_error, structured_content=structured
    )


def _protocol_error(failure: Fault) -> Exception:
    """A fault as the protocol tells of it."""
    from mcp.shared.exceptions import MCPError
    from mcp_types import INVALID_PARAMS

    return MCPError(INVALID_PARAMS, failure.message, {"code": failure.slug, "cure": failure.row.cure[0]})
