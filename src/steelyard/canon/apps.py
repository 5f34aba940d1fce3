"""Apps and plugins: what is said of them, and what a call that is made of calls carries."""

from typing import Annotated, Any

import msgspec

from steelyard.canon.grant import Grant

#: What the name of an app begins with where a model is asked for.
APP_PREFIX = "app/"
#: Kinds of plugin.
OPENAPI, MCP, STDIO, BUILTIN = "openapi", "mcp", "stdio", "builtin"
#: Plugins that every workspace has.
BUILTIN_NAMES = frozenset({"calculator", "knowledge", "time", "web"})

_Ids = Annotated[tuple[str, ...], msgspec.Meta(max_length=20)]


class AppSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an app is.

    Args:
        instructions: `${name}` stands for a variable.
        variables: their values where a caller says nothing.
        parameters: temperature, top_p, max_tokens … under their OpenAI names.
        tools: "weather" for all tools of a plugin, "weather/forecast" for one.
        memory_turns: of a session, how many turns the model is told again.
        session_ttl_s: a session nobody has gone on with for this long is forgotten.
        max_steps: how often the model is asked for one answer.
        is_mcp: whether it is published under /mcp/apps/ID too.
    """

    model: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    instructions: Annotated[str, msgspec.Meta(max_length=50_000)] = ""
    description: Annotated[str, msgspec.Meta(max_length=2000)] = ""
    variables: dict[str, str] = {}
    parameters: dict[str, Any] = {}
    knowledge_bases: _Ids = ()
    passages: Annotated[int, msgspec.Meta(ge=1, le=50)] = 5
    min_score: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    tools: Annotated[tuple[str, ...], msgspec.Meta(max_length=50)] = ()
    memory_turns: Annotated[int, msgspec.Meta(ge=0, le=50)] = 20
    session_ttl_s: Annotated[int, msgspec.Meta(ge=60, le=30 * 86_400)] = 3600
    max_steps: Annotated[int, msgspec.Meta(ge=1, le=30)] = 8
    deadline_s: Annotated[int, msgspec.Meta(ge=1, le=600)] = 120
    is_mcp: bool = False


class App(msgspec.Struct, frozen=True, kw_only=True):
    """An app of a workspace. The draft is what is edited, the published version what callers meet; 0 before the first."""

    id: str
    workspace: str
    name: str
    draft: AppSpec
    published: int = 0
    created_us: int
    modified_us: int


class AppVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version as it was published."""

    app_id: str
    version: int
    spec: AppSpec
    created_us: int


class ToolSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A tool of a plugin, under its own name there.

    Args:
        origin: what the plugin's kind needs to call it, such as method and path.
    """

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}
    origin: dict[str, Any] = {}


class Credential(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a plugin's server wants to be asked. Secrets are references (`env:`, `file:`) or sealed, and never shown.

    Args:
        kind: "none", "bearer", "basic", "header", "query" or "oauth2".
        name: of the header or of the query's parameter.
        user: of "basic"; of "oauth2" the client's id.
        token_url: of "oauth2" (client credentials).
    """

    kind: str = "none"
    name: str = ""
    user: str = ""
    secret: str = ""
    token_url: str = ""
    scope: str = ""


class PluginSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a plugin's tools come from.

    Args:
        url: of an MCP server; of an OpenAPI description the server that is asked, in place of its own `servers`.
        transport: of an MCP server "http" (streamable) or "sse".
        only: the tools that are taken; empty takes all.
        command, arguments, environment: of a stdio server, from the operator's file alone.
    """

    kind: str
    description: Annotated[str, msgspec.Meta(max_length=2000)] = ""
    url: Annotated[str, msgspec.Meta(max_length=2000)] = ""
    transport: str = "http"
    credential: Credential = Credential()
    headers: dict[str, str] = {}
    only: Annotated[tuple[str, ...], msgspec.Meta(max_length=500)] = ()
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=300)] = 30.0
    command: str = ""
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = {}


class Plugin(msgspec.Struct, frozen=True, kw_only=True):
    """A plugin of a workspace; `workspace` is empty for the operator's and for built-in ones, which all may use.

    Args:
        tools: as they were approved. A server that has others by now is told of, not asked.
    """

    name: str
    workspace: str = ""
    spec: PluginSpec
    tools: tuple[ToolSpec, ...] = ()
    is_enabled: bool = True
    created_us: int = 0
    modified_us: int = 0


class RemoteServer(msgspec.Struct, frozen=True, kw_only=True):
    """An MCP server that a caller names in a call of its own.

    Args:
        allowed: the tools that may be called; None allows all.
    """

    label: str
    url: str
    headers: dict[str, str] = {}
    allowed: tuple[str, ...] | None = None


class Errand(msgspec.Struct, frozen=True, kw_only=True):
    """What a call that is made of calls carries beside the conversation.

    Args:
        app: the id of an app; empty where a plain chat call has tools of plugins.
        session: of the conversation; empty where nothing is remembered.
        tools: as in `AppSpec`.
    """

    request_id: str
    grant: Grant
    app: str = ""
    session: str = ""
    tools: tuple[str, ...] = ()
    servers: tuple[RemoteServer, ...] = ()
