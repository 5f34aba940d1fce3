"""A connection to an MCP server: opened, kept and closed by one task, and asked by any.

The protocol's own client does the talking; what it talks over is the guarded client, or the pipes of a program that the operator declared.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import msgspec

from steelyard.apps.credentials import Credentials
from steelyard.apps.kit import MAX_ANSWER_BYTES, Result, bounded
from steelyard.apps.openapi_kit import told_of
from steelyard.apps.stdio import Program, stdio_transport
from steelyard.base.clock import monotonic
from steelyard.base.errors import Fault, fault
from steelyard.canon.apps import STDIO, Plugin, RemoteServer, ToolSpec
from steelyard.upstream.fetcher import Fetcher, FetchError

if TYPE_CHECKING:
    from mcp import Client

log = logging.getLogger("steelyard.apps")

OPEN_S = 20.0
MAX_PAGES, MAX_TOOLS = 20, 500
#: Tools are listed anew before a call when the list is older: a server may have changed them.
LIST_AGE_S = 10.0
MAX_SCHEMA_BYTES = 100_000
SSE = "sse"

#: What a connection is opened with; it tells what went wrong with requests, which the protocol's client keeps to itself.
Opening = Callable[[Callable[[FetchError], None]], AbstractAsyncContextManager[Any]]


def unreachable(detail: str) -> Fault:
    """The fault of a server that cannot be used."""
    return fault("plugin_unreachable", detail=detail)


class McpLink:
    """A connection.

    Args:
        title: for people.
        open_transport: gives what the protocol's client talks over.
    """

    def __init__(self, title: str, open_transport: Opening, timeout_s: float) -> None:
        self._title = title
        self._open_transport = open_transport
        self._timeout_s = timeout_s
        self._client: Client | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._tools: tuple[ToolSpec, ...] = ()
        self._listed_at = float("-inf")
        self._failure: FetchError | None = None
        self.used_at = monotonic()

    def __repr__(self) -> str:
        return f"<McpLink to {self._title} [{'open' if self.is_open else 'closed'}]>"

    @property
    def is_open(self) -> bool:
        """Whether it can be asked."""
        return self._client is not None and self._keeper is not None and not self._keeper.done()

    async def open(self) -> None:
        """Opens it.

        Raises:
            Fault: `plugin_unreachable`.
        """
        # the protocol takes two seconds to load: not in the loop, and not out of the server's time
        await asyncio.to_thread(importlib.import_module, "mcp")
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._keeper = asyncio.create_task(self._keep(ready))
        try:
            async with asyncio.timeout(min(OPEN_S, self._timeout_s)):
                await asyncio.shield(ready)
        except TimeoutError:
            await self.close()
            raise unreachable(f"{self._title} did not answer in time.") from None
        except BaseException:
            await self.close()
            raise

    async def _keep(self, ready: asyncio.Future[None]) -> None:
        """The task that opens and closes."""
        from mcp import Client

        try:
            async with Client(
                self._open_transport(self._note), cache=None, read_timeout_seconds=self._timeout_s
            ) as client:
                self._client = client
                if not ready.done():
                    ready.set_result(None)
                await self._stop.wait()
        except asyncio.CancelledError:
            raise
        except BaseException as exc:  # noqa: BLE001 - the task's frame; groups of anything may come
            if not ready.done():
                ready.set_exception(unreachable(f"{self._title}: {self._why(exc)}"))
                # nobody may be waiting any more
                ready.exception()
            else:
                log.info("the connection to %s ended: %s", self._title, _why(exc))
        finally:
            self._client = None

    def _note(self, error: FetchError) -> None:
        self._failure = error

    def _why(self, exc: BaseException) -> str:
        """What went wrong: with the request, where that is known."""
        failure, self._failure = self._failure, None
        return _why(exc) if failure is None else told_of(failure)

    async def close(self) -> None:
        """Ends it; what hangs is let go of."""
        self._stop.set()
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        done, _ = await asyncio.wait({keeper}, timeout=5.0)
        if not done:
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await keeper

    async def list_tools(self) -> tuple[ToolSpec, ...]:
        """The server's tools, as they are now or were a few seconds ago.

        Raises:
            Fault: `plugin_unreachable`.
        """
        self.used_at = monotonic()
        if self._listed_at + LIST_AGE_S > monotonic():
            return self._tools
        found: list[ToolSpec] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = await self._ask("tools/list", lambda client, at=cursor: client.list_tools(cursor=at))  # type: ignore[misc]
            found += [_tool_of(one) for one in page.tools]
            if len(found) > MAX_TOOLS:
                raise unreachable(f"{self._title} has more than {MAX_TOOLS} tools.")
            cursor = page.next_cursor
            if not cursor:
                break
        else:
            raise unreachable(f"{self._title} has no end of tools.")
        self._tools, self._listed_at = tuple(found), monotonic()
        return self._tools

    async def call(self, name: str, arguments: dict[str, Any]) -> Result:
        """Calls a tool."""
        self.used_at = monotonic()
        try:
            told = await self._ask("tools/call", lambda client: client.call_tool(name, arguments))
        except Fault as failure:
            return Result(f"The call failed: {failure.message}", is_error=True)
        return Result(bounded(_text_of(told)), is_error=bool(told.is_error))

    async def _ask(self, what: str, ask: Callable[[Client], Any]) -> Any:
        client, keeper, self._failure = self._client, self._keeper, None
        if client is None or keeper is None:
            raise unreachable(f"{self._title} is closed.")
        asking = asyncio.ensure_future(ask(client))
        try:
            # a connection that ends takes the question with it
            await asyncio.wait({asking, keeper}, timeout=self._timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                return asking.result()
            ended = "the connection ended" if keeper.done() else f"no answer within {self._timeout_s:g} s"
            raise unreachable(f"{self._title}: {ended} ({what}).")
        except (Fault, asyncio.CancelledError):
            raise
        except Exception as exc:  # noqa: BLE001 - whatever the protocol's client raises: it is the server's fault
            raise unreachable(f"{self._title}: {self._why(exc)}") from None
        finally:
            if not asking.done():
                asking.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await asking


def _why(exc: BaseException) -> str:
    """What went wrong, for people: the first cause of a group, and nothing of an answer's body."""
    while isinstance(exc, BaseExceptionGroup) and exc.exceptions:
        exc = exc.exceptions[0]
    error = getattr(exc, "error", None)
    if getattr(error, "cause", None) is not None and hasattr(error, "host"):
        return told_of(error)  # type: ignore[arg-type]
    status = getattr(getattr(exc, "response", None), "status_code", None)
    if status is not None:
        return f"it answered {status}"
    return (str(exc) or type(exc).__name__)[:300]


def _tool_of(one: Any) -> ToolSpec:
    schema = one.input_schema or {}
    if len(msgspec.json.encode(schema)) > MAX_SCHEMA_BYTES:
        raise unreachable(f"its tool {one.name[:60]!r} has a schema of more than {MAX_SCHEMA_BYTES // 1000} KB.")
    return ToolSpec(name=one.name, description=(one.description or "")[:4000], parameters=schema)


def _text_of(told: Any) -> str:
    """A result as text: what is no text is named."""
    parts = []
    for one in told.content:
        if one.type == "text":
            parts.append(one.text)
        elif one.type == "resource_link":
            parts.append(str(one.uri))
        elif one.type == "resource":
            parts.append(getattr(one.resource, "text", f"[resource {one.resource.uri}]"))
        else:
            parts.append(f"[{one.type}]")
    if not parts and told.structured_content is not None:
        parts.append(msgspec.json.encode(told.structured_content).decode())
    return "\n".join(parts)


# what they are opened with


class Openings:
    """Ways to servers."""

    def __init__(self, fetcher: Fetcher, credentials: Credentials) -> None:
        self._fetcher = fetcher
        self._credentials = credentials

    def of_plugin(self, plugin: Plugin, *, trusted_hosts: tuple[str, ...] = ()) -> McpLink:
        """The way to a plugin's server."""
        spec = plugin.spec
        if spec.kind == STDIO:
            program = Program(spec.command, spec.arguments, spec.environment)
            return McpLink(plugin.name, lambda _: stdio_transport(program), spec.timeout_s)

        def opening(tell: Callable[[FetchError], None]) -> AbstractAsyncContextManager[Any]:
            return self._http(tell, spec.url, spec.transport, spec.headers, spec.timeout_s, trusted_hosts, plugin)

        return McpLink(plugin.name, opening, spec.timeout_s)

    def of_server(self, server: RemoteServer, timeout_s: float) -> McpLink:
        """The way to a server that a caller names."""
        transport = SSE if server.url.rstrip("/").endswith("/sse") else "http"

        def opening(tell: Callable[[FetchError], None]) -> AbstractAsyncContextManager[Any]:
            return self._http(tell, server.url, transport, server.headers, timeout_s, (), None)

        return McpLink(server.label, opening, timeout_s)

    @contextlib.asynccontextmanager
    async def _http(
        self,
        tell: Callable[[FetchError], None],
        url: str,
        transport: str,
        headers: dict[str, str],
        timeout_s: float,
        trusted_hosts: tuple[str, ...],
        plugin: Plugin | None,
    ) -> AsyncIterator[Any]:
        """Over HTTP, guarded at every request."""
        # imported where they are used: they take a second
        from mcp.client.sse import sse_client
        from mcp.client.streamable_http import streamable_http_client

        from steelyard.upstream.guarded import open_client

        def make(more: dict[str, str] | None = None) -> Any:
            return open_client(
                self._fetcher,
                max_bytes=MAX_ANSWER_BYTES,
                timeout_s=timeout_s,
                headers={**headers, **(more or {})},
                trusted_hosts=trusted_hosts,
                tell=tell,
            )

        async with make() as client:
            if plugin is not None:
                lines, query = await self._credentials.lines_for(plugin, client)
                if query:
                    raise unreachable("an MCP server takes its key in a header, not in the query.")
                client.headers.update(lines)
            if transport == SSE:
                shown = dict(client.headers)

                def make_own(*_: Any, **__: Any) -> Any:
                    return make(shown)

                async with sse_client(url, timeout=timeout_s, httpx_client_factory=make_own) as streams:
                    yield streams
            else:
                async with streamable_http_client(url, http_client=client) as streams:
                    yield streams
