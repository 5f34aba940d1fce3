"""`steelyard workspaces` and `steelyard activate`."""

from pathlib import Path
from typing import Any, Literal

from cyclopts import App

from steelyard.canon.cache import CachePolicy
from steelyard.canon.downloads import DownloadBounds
from steelyard.cli.context import actor, get_settings, print_json, print_table, with_records
from steelyard.cli.limit_flags import NO_FLAGS, LimitFlags
from steelyard.cli.values import split
from steelyard.control import workspaces
from steelyard.control.keys import parse_duration_s
from steelyard.control.limits import show_budget
from steelyard.control.records import Records
from steelyard.web.control_shapes import show_workspace

app = App(name="workspaces", help="Workspaces: create, list, show, limit.")


@app.command
def create(name: str, *, data_dir: Path | None = None, config: Path | None = None, json: bool = False) -> None:
    """Make a workspace; `steelyard activate --workspace NAME` activates it."""
    settings = get_settings(data_dir, config)
    made = with_records(settings, lambda records: workspaces.create_workspace(records, name, actor=actor()))
    if json:
        print_json(show_workspace(made))
    else:
        print(f"Workspace {made.name} is made; activate it with `steelyard activate --workspace {made.name}`.")


@app.command(name="list")
def list_workspaces(*, data_dir: Path | None = None, config: Path | None = None, json: bool = False) -> None:
    """List workspaces with their free tokens."""
    found = with_records(get_settings(data_dir, config), workspaces.list_workspaces)
    if json:
        print_json([show_workspace(one) for one in found])
        return
    rows = [(one.name, "yes" if one.activated_us else "no", f"{one.free_tokens_left:,}") for one in found]
    print_table(("Name", "Activated", "Free tokens left"), rows)


@app.command
def show(name: str, *, data_dir: Path | None = None, config: Path | None = None, json: bool = False) -> None:
    """Show a workspace with its limits and what is left of its budget."""

    async def action(records: Records) -> dict[str, Any]:
        record = await workspaces.get_workspace(records, name)
        budget = await show_budget(records, f"workspace:{name}", record.policy.limits)
        return {**show_workspace(record), "budget": budget}

    shown = with_records(get_settings(data_dir, config), action)
    if json:
        print_json(shown)
    else:
        print_table(("Field", "Value"), list(shown.items()))


@app.command
def limit(
    name: str,
    *,
    limits: LimitFlags = NO_FLAGS,
    unknown_price: Literal["refuse", "count"] = "refuse",
    step_up: str = "",
    hygiene: Literal["off", "alert", "disable"] = "alert",
    data_dir: Path | None = None,
    config: Path | None = None,
    json: bool = False,
) -> None:
    """Set what all keys of a workspace together may take, all of it anew: what is not given is not limited.

    Parameters
    ----------
    name
        The workspace.
    limits
        What may be taken.
    unknown_price
        With a budget in money: refuse models without a price, or count their tokens only.
    hygiene
        A key that is used from a new network, or whose spending jumps: nothing, an alert, or an alert and its end.
    step_up
        Operations that take a temporary token in place of an admin key, comma separated, such as keys.delete.
    data_dir
        The installation's data directory.
    config
        Configuration file.
    json
        Print JSON.
    """

    async def action(records: Records) -> Any:
        named = split(step_up)
        return await workspaces.set_limits(
            records,
            name,
            limits=limits.read(),
            unknown_price=unknown_price,
            step_up=named,
            hygiene=hygiene,
            actor=actor(),
        )

    shown = show_workspace(with_records(get_settings(data_dir, config), action))["limits"]
    if json:
        print_json(shown)
    else:
        print_table(("Limit", "Value"), [(title, "none" if value is None else value) for title, value in shown.items()])


@app.command
def models(
    name: str, *models: str, data_dir: Path | None = None, config: Path | None = None, json: bool = False
) -> None:
    """Open certain models to a workspace and close all others; without names all are open."""
    settings = get_settings(data_dir, config)
    record = with_records(settings, lambda records: workspaces.set_models(records, name, models, actor=actor()))
    _print_field(record, "models", ", ".join(record.policy.models) or "all", json)


@app.command
def cache(
    name: str,
    *,
    ttl: str = "",
    price_percent: int = 0,
    data_dir: Path | None = None,
    config: Path | None = None,
    json: bool = False,
) -> None:
    """Keep answers for calls that are exactly the same; without --ttl nothing is kept.

    Parameters
    ----------
    name
        The workspace.
    ttl
        How long an answer is good for, such as 1h; a day at most.
    price_percent
        What a kept answer costs, as a share of its first price.
    data_dir
        The installation's data directory.
    config
        Configuration file.
    json
        Print JSON.
    """
    policy = CachePolicy(ttl_s=parse_duration_s(ttl) if ttl else 0, price_percent=price_percent)
    settings = get_settings(data_dir, config)
    record = with_records(settings, lambda records: workspaces.set_cache(records, name, policy, actor=actor()))
    shown = f"{policy.ttl_s} s at {policy.price_percent} % of the price" if policy.ttl_s else "off"
    _print_field(record, "cache", shown, json)


@app.command
def downloads(
    name: str,
    *,
    timeout: str = "",
    max_bytes: int | None = None,
    data_dir: Path | None = None,
    config: Path | None = None,
    json: bool = False,
) -> None:
    """Bound how much of their links a workspace's calls follow; without flags the operator's bounds hold.

    Parameters
    ----------
    name
        The workspace.
    timeout
        How long a download may take, such as 30s or 5m.
    max_bytes
        How large it may be.
    data_dir
        The installation's data directory.
    config
        Configuration file.
    json
        Print JSON.
    """
    bounds = DownloadBounds(timeout_s=parse_duration_s(timeout) if timeout else None, max_bytes=max_bytes)
    settings = get_settings(data_dir, config)
    record = with_records(settings, lambda records: workspaces.set_downloads(records, name, bounds, actor=actor()))
    parts = [f"{bounds.timeout_s:g} s"] if bounds.timeout_s else []
    parts += [f"{bounds.max_bytes:,} bytes"] if bounds.max_bytes else []
    _print_field(record, "downloads", " and ".join(parts) or "as the operator says", json)


def _print_field(record: Any, title: str, value: str, json: bool) -> None:
    if json:
        print_json(show_workspace(record))
    else:
        print_table(("Workspace", title.capitalize()), [(record.name, value)])


def activate(
    *models: str,
    workspace: str = workspaces.DEFAULT,
    data_dir: Path | None = None,
    config: Path | None = None,
    json: bool = False,
) -> None:
    """Activate a workspace: its keys work, and it gets its free tokens once. MODELs open these alone; else all are open."""
    settings = get_settings(data_dir, config)

    async def action(records: Records) -> Any:
        if models:
            await workspaces.set_models(records, workspace, models, actor=actor())
        return await workspaces.activate_workspace(records, workspace, settings.quota.free_tokens, actor=actor())

    record, is_new = with_records(settings, action)
    if json:
        print_json(show_workspace(record))
    elif is_new:
        print(f"Workspace {record.name} is activated with {record.free_tokens_left:,} free tokens.")
    else:
        print(f"Workspace {record.name} was activated before; {record.free_tokens_left:,} free tokens are left.")
