"""`steelyard apps`."""

import sys
from pathlib import Path
from typing import Any

import msgspec
from cyclopts import App

from steelyard.base.errors import SetupFault
from steelyard.canon.apps import AppSpec
from steelyard.cli.context import actor, print_json, print_table, with_apps
from steelyard.cli.home_flags import HOME, HomeFlags
from steelyard.cli.media_flags import HERE, EndpointFlags, calling
from steelyard.cli.values import json_or_text, pairs, split, text_of
from steelyard.web.apps_api import show_app, show_version

app = App(name="apps", help="Apps: a model with a prompt, knowledge and tools behind one id.")


def _read_spec(file: Path) -> AppSpec:
    try:
        decode = msgspec.toml.decode if file.suffix == ".toml" else msgspec.json.decode
        return decode(file.read_bytes(), type=AppSpec)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise SetupFault(f"{file} is no app: {exc}.") from None


@app.command
def create(
    name: str,
    *,
    model: str = "",
    instructions: str = "",
    description: str = "",
    variable: tuple[str, ...] = (),
    parameter: tuple[str, ...] = (),
    kb: str = "",
    tools: str = "",
    file: Path | None = None,
    mcp: bool = False,
    publish: bool = True,
    home: HomeFlags = HOME,
    json: bool = False,
) -> None:
    """Make an app; prints its id.

    Parameters
    ----------
    name
        What people call it.
    model
        The model that it asks.
    instructions
        What the model is told first; @FILE reads a file. ${name} stands for a variable.
    description
        What it is for.
    variable
        NAME=VALUE: a variable's value where a caller says nothing; may be repeated.
    parameter
        NAME=VALUE: temperature, top_p, max_tokens and the like; may be repeated.
    kb
        Ids of knowledge bases, comma separated.
    tools
        Plugins or single tools (weather/forecast), comma separated.
    file
        All of it from a TOML or JSON file, in place of the flags above.
    mcp
        Publish it as an MCP server under /mcp/apps/ID too.
    publish
        Publish it at once.
    home
        Whose.
    json
        Print JSON.
    """
    if file is not None:
        spec = _read_spec(file)
    elif not model:
        raise SetupFault("Give a --model, or a --file with everything.")
    else:
        spec = AppSpec(
            model=model,
            instructions=text_of(instructions),
            description=description,
            variables=pairs(variable, "--variable"),
            parameters={key: json_or_text(value) for key, value in pairs(parameter, "--parameter").items()},
            knowledge_bases=split(kb),
            tools=split(tools),
            is_mcp=mcp,
        )

    async def action(parts: Any) -> Any:
        made = await parts.book.create(home.workspace, name, spec, actor=actor())
        return await parts.book.publish(home.workspace, made.id, actor=actor()) if publish else made

    made = with_apps(home.settings, action)
    if json:
        print_json(show_app(made))
        return
    print(made.id)
    if not publish:
        print(f"It is a draft; `steelyard apps publish {made.id}` publishes it.", file=sys.stderr)


@app.command(name="list")
def list_apps(*, home: HomeFlags = HOME, json: bool = False) -> None:
    """List apps, the newest first."""

    async def action(parts: Any) -> Any:
        return await parts.book.list_page(home.workspace, offset=0, limit=1000)

    found, _ = with_apps(home.settings, action)
    if json:
        print_json([show_app(one) for one in found])
        return
    rows = [(one.id, one.name, one.draft.model, one.published or "draft", one.draft.tools) for one in found]
    print_table(("id", "name", "model", "published", "tools"), rows)


@app.command
def show(
    app_id: str,
    *,
    home: HomeFlags = HOME,
    json: bool = False,
) -> None:
    """Show an app with its draft and versions."""

    async def action(parts: Any) -> Any:
        return await parts.book.get(home.workspace, app_id), await parts.book.list_versions(home.workspace, app_id)

    one, versions = with_apps(home.settings, action)
    shown = show_app(one)
    if json:
        print_json({**shown, "versions": [show_version(each) for each in versions]})
        return
    draft = shown.pop("draft")
    rows = [*shown.items(), *((f"draft.{name}", value) for name, value in draft.items())]
    print_table(("Field", "Value"), [*rows, ("versions", [each.version for each in versions])])


@app.command
def edit(
    app_id: str,
    *,
    file: Path | None = None,
    name: str | None = None,
    model: str | None = None,
    instructions: str | None = None,
    kb: str | None = None,
    tools: str | None = None,
    home: HomeFlags = HOME,
    json: bool = False,
) -> None:
    """Change an app's draft; what is published stays until `apps publish`.

    Parameters
    ----------
    app_id
        Which one.
    file
        All of the draft from a TOML or JSON file.
    name
        What people call it.
    model
        The model that it asks.
    instructions
        What the model is told first; @FILE reads a file.
    kb
        Ids of knowledge bases, comma separated; "" takes all away.
    tools
        Plugins or single tools, comma separated; "" takes all away.
    home
        Whose.
    json
        Print JSON.
    """
    fields: dict[str, Any] = {}
    if model is not None:
        fields["model"] = model
    if instructions is not None:
        fields["instructions"] = text_of(instructions)
    if kb is not None:
        fields["knowledge_bases"] = split(kb)
    if tools is not None:
        fields["tools"] = split(tools)

    async def action(parts: Any) -> Any:
        draft = (await parts.book.get(home.workspace, app_id)).draft if file is None else _read_spec(file)
        spec = msgspec.structs.replace(draft, **fields)
        return await parts.book.change(home.workspace, app_id, name=name, spec=spec, actor=actor())

    changed = with_apps(home.settings, action)
    if json:
        print_json(show_app(changed))
    else:
        print(f"The draft of {app_id} is changed; `steelyard apps publish {app_id}` publishes it.")


@app.command
def publish(
    app_id: str,
    *,
    home: HomeFlags = HOME,
    json: bool = False,
) -> None:
    """Publish the draft as a new version."""

    async def action(parts: Any) -> Any:
        return await parts.book.publish(home.workspace, app_id, actor=actor())

    _published(with_apps(home.settings, action), json)


@app.command
def rollback(
    app_id: str,
    version: int,
    *,
    home: HomeFlags = HOME,
    json: bool = False,
) -> None:
    """Go back to a version; 0 takes the app out of callers' reach."""

    async def action(parts: Any) -> Any:
        return await parts.book.roll_back(home.workspace, app_id, version, actor=actor())

    _published(with_apps(home.settings, action), json)


def _published(one: Any, json: bool) -> None:
    if json:
        print_json(show_app(one))
    elif one.published:
        print(f"{one.id} answers with version {one.published} within 2 seconds.")
    else:
        print(f"{one.id} is not published any more.")


@app.command
def delete(app_id: str, *, home: HomeFlags = HOME) -> None:
    """Delete an app with its versions and sessions."""

    async def action(parts: Any) -> None:
        await parts.book.delete(home.workspace, app_id, actor=actor())

    with_apps(home.settings, action)
    print(f"{app_id} is deleted.")


@app.command
def sessions(
    app_id: str,
    *,
    home: HomeFlags = HOME,
    json: bool = False,
) -> None:
    """List an app's sessions."""

    async def action(parts: Any) -> Any:
        await parts.book.get(home.workspace, app_id)
        return await parts.memory.list(home.workspace, app_id, offset=0, limit=1000)

    found = with_apps(home.settings, action)
    if json:
        print_json(found)
    else:
        print_table(("session", "turns"), [(one["session_id"], one["turns"]) for one in found])


@app.command
def forget(app_id: str, session: str, *, home: HomeFlags = HOME) -> None:
    """Forget a session."""

    async def action(parts: Any) -> None:
        await parts.book.delete_session(home.workspace, app_id, session, actor=actor())

    with_apps(home.settings, action)
    print(f"{session} is forgotten.")


@app.command
def run(
    app_id: str,
    prompt: str,
    *,
    session: str = "",
    variable: tuple[str, ...] = (),
    thoughts: bool = False,
    endpoint: EndpointFlags = HERE,
    json: bool = False,
) -> None:
    """Ask an app, as its callers do.

    Parameters
    ----------
    app_id
        Which one.
    prompt
        What is asked.
    session
        The session to go on with; an answer tells its own.
    variable
        NAME=VALUE for the instructions; may be repeated.
    thoughts
        Show what was done on the way.
    endpoint
        Whose.
    json
        Print JSON.
    """
    asked: dict[str, Any] = {"prompt": prompt}
    if session:
        asked["session_id"] = session
    if variable:
        asked["biz_params"] = {"user_prompt_params": pairs(variable, "--variable")}
    with calling(endpoint) as client:
        body = {"input": asked, "parameters": {"has_thoughts": thoughts}}
        told = client.post(f"/api/v1/apps/{app_id}/completion", body).json()
    if json:
        print_json(told)
        return
    output = told["output"]
    for one in output.get("thoughts") or ():
        print(
            f"· {one['action_name']}/{one['action']} {one['action_input_stream']}\n  {one['observation'][:500]}",
            file=sys.stderr,
        )
    print(output["text"])
    print(f"session {output['session_id']}", file=sys.stderr)
