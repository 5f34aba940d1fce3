"""`steelyard plugins`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import App, Parameter

from steelyard.apps.credentials import BASIC, BEARER, HEADER, NONE, OAUTH2, QUERY
from steelyard.apps.plugin_book import show_plugin
from steelyard.base import ids
from steelyard.base.errors import SetupFault
from steelyard.canon.apps import MCP, OPENAPI, Credential, PluginSpec
from steelyard.canon.grant import Grant
from steelyard.cli.context import EXIT_FAILED, actor, print_json, print_table, with_apps
from steelyard.cli.home_flags import HOME, HomeFlags
from steelyard.cli.values import pairs, read_text, split

app = App(name="plugins", help="Plugins: tools from OpenAPI descriptions, MCP servers, and built in.")

_AUTH_TOLD = "--auth is bearer, header:NAME, query:NAME, basic:USER or oauth2:CLIENT-ID@TOKEN-URL."


def _credential(text: str) -> Credential:
    kind, _, rest = text.partition(":")
    if kind == OAUTH2:
        user, mark, url = rest.partition("@")
        if mark:
            return Credential(kind=OAUTH2, user=user, token_url=url)
    elif kind == BASIC and rest:
        return Credential(kind=BASIC, user=rest)
    elif kind in (HEADER, QUERY) and rest:
        return Credential(kind=kind, name=rest)
    elif text in (BEARER, NONE, ""):
        return Credential(kind=text or NONE)
    raise SetupFault(_AUTH_TOLD)


@app.command
def add(
    name: str,
    *,
    openapi: Path | None = None,
    mcp: str = "",
    sse: bool = False,
    url: str = "",
    auth: str = "",
    secret: Annotated[str, Parameter(allow_leading_hyphen=True)] = "",
    header: tuple[str, ...] = (),
    only: str = "",
    description: str = "",
    timeout: float = 30.0,
    home: HomeFlags = HOME,
    json: bool = False,
) -> None:
    """Add a plugin with the tools that it has now; adding it approves them.

    Parameters
    ----------
    name
        What it is called: lower-case letters, digits and hyphens. Its tools are known to models as NAME__TOOL.
    openapi
        An OpenAPI 3 description, JSON or YAML.
    mcp
        The address of an MCP server.
    sse
        The MCP server speaks the older transport over server-sent events.
    url
        The server of an OpenAPI description, in place of its own `servers`.
    auth
        How it wants to be asked: bearer, header:NAME, query:NAME, basic:USER or oauth2:CLIENT-ID@TOKEN-URL.
    secret
        env:NAME or file:PATH, which stay references; - reads it from standard input; else the secret itself, which is sealed.
    header
        NAME=VALUE: sent with every call; may be repeated.
    only
        Tools to take, comma separated; default all.
    description
        What it is for.
    timeout
        Seconds that a call of a tool may take.
    home
        Whose.
    json
        Print JSON.
    """
    if (openapi is None) == (not mcp):
        raise SetupFault("Give either --openapi FILE or --mcp URL.")
    document = "" if openapi is None else read_text(openapi)
    if secret == "-":  # noqa: S105 - a sign for standard input
        secret = sys.stdin.readline().strip()
    spec = PluginSpec(
        kind=OPENAPI if openapi is not None else MCP,
        description=description,
        url=mcp or url,
        transport="sse" if sse else "http",
        credential=_credential(auth),
        headers=pairs(header, "--header"),
        only=split(only),
        timeout_s=timeout,
    )

    async def action(parts: Any) -> Any:
        return await parts.plugins.add(home.workspace, name, spec, document, secret, actor=actor())

    made = with_apps(home.settings, action)
    if json:
        print_json(show_plugin(made, with_tools=True))
        return
    print_table(
        ("Tool", ""), [(one.name, one.description.splitlines()[0] if one.description else "") for one in made.tools]
    )
    print(f"Plugin {name} is added with {len(made.tools)} tools; it works within 2 seconds.", file=sys.stderr)


@app.command(name="list")
def list_plugins(*, home: HomeFlags = HOME, json: bool = False) -> None:
    """List plugins: a workspace's own, the operator's, and the built-in ones."""

    async def action(parts: Any) -> Any:
        return await parts.plugins.list_all(home.workspace)

    found = with_apps(home.settings, action)
    if json:
        print_json([show_plugin(one) for one in found])
        return
    rows = [
        (one["name"], one["kind"], one["origin"], one["enabled"], one["tool_count"]) for one in map(show_plugin, found)
    ]
    print_table(("name", "kind", "whose", "on", "tools"), rows)


@app.command
def show(
    name: str,
    *,
    home: HomeFlags = HOME,
    json: bool = False,
) -> None:
    """Show a plugin with its tools and their parameters."""

    async def action(parts: Any) -> Any:
        return await parts.plugins.get(home.workspace, name)

    shown = show_plugin(with_apps(home.settings, action), with_tools=True)
    if json:
        print_json(shown)
        return
    tools = shown.pop("tools")
    print_table(("Field", "Value"), list(shown.items()))
    rows = [
        (one["name"], ", ".join(one["parameters"].get("properties") or {}), one["description"][:100]) for one in tools
    ]
    print_table(("Tool", "Parameters", ""), rows)


@app.command
def enable(name: str, *, home: HomeFlags = HOME) -> None:
    """Switch a plugin on for a workspace."""
    _switch(name, home, is_enabled=True)


@app.command
def disable(name: str, *, home: HomeFlags = HOME) -> None:
    """Switch a plugin off for a workspace."""
    _switch(name, home, is_enabled=False)


def _switch(name: str, home: HomeFlags, *, is_enabled: bool) -> None:
    async def action(parts: Any) -> None:
        await parts.plugins.switch(home.workspace, name, is_enabled=is_enabled, actor=actor())

    with_apps(home.settings, action)
    print(f"Plugin {name} is {'on' if is_enabled else 'off'} in {home.workspace}.")


@app.command
def approve(
    name: str,
    *,
    home: HomeFlags = HOME,
    json: bool = False,
) -> None:
    """Take an MCP server's tools as they are now; shows what has become of them."""

    async def action(parts: Any) -> Any:
        return await parts.plugins.approve(home.workspace, name, actor=actor())

    _, changes = with_apps(home.settings, action)
    _print_changes(changes, json)


@app.command
def changes(
    name: str,
    *,
    home: HomeFlags = HOME,
    json: bool = False,
) -> None:
    """Show what has become of an MCP server's tools since they were approved."""

    async def action(parts: Any) -> Any:
        return await parts.plugins.compare(home.workspace, name)

    _print_changes(with_apps(home.settings, action), json)


def _print_changes(found: dict[str, list[str]], json: bool) -> None:
    if json:
        print_json(found)
    elif any(found.values()):
        print_table(("", "Tools"), [(kind, names) for kind, names in found.items() if names])
    else:
        print("Nothing has changed.")


@app.command
def remove(name: str, *, home: HomeFlags = HOME) -> None:
    """Remove a workspace's own plugin."""

    async def action(parts: Any) -> None:
        await parts.plugins.remove(home.workspace, name, actor=actor())

    with_apps(home.settings, action)
    print(f"Plugin {name} is removed.")


@app.command(name="test")
def call_tool(
    name: str,
    tool: str,
    arguments: str = "{}",
    *,
    home: HomeFlags = HOME,
    json: bool = False,
) -> None:
    """Call a tool alone, and show what it says.

    Parameters
    ----------
    name
        The plugin.
    tool
        Its tool.
    arguments
        A JSON object.
    home
        Whose.
    json
        Print JSON.
    """
    try:
        asked = msgspec.json.decode(arguments, type=dict[str, Any])
    except msgspec.DecodeError as exc:
        raise SetupFault(f"The arguments are no JSON object: {exc}.") from None

    async def action(parts: Any) -> Any:
        plugin = await parts.plugins.get(home.workspace, name)
        return await parts.call(
            plugin, tool, asked, Grant(key_id="cli", workspace=home.workspace), ids.new_request_id()
        )

    result = with_apps(home.settings, action)
    if json:
        print_json({"tool": tool, "output": result.text, "is_error": result.is_error})
    else:
        print(result.text, file=sys.stderr if result.is_error else sys.stdout)
    if result.is_error:
        sys.exit(EXIT_FAILED)
