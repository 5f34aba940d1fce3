"""`steelyard workspaces` and `steelyard activate`."""

from pathlib import Path

from cyclopts import App

from steelyard.cli.context import actor, get_settings, print_json, print_table, with_records
from steelyard.control import workspaces
from steelyard.web.control_api import show_workspace

app = App(name="workspaces", help="Workspaces: create, list.")


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


def activate(
    *, workspace: str = workspaces.DEFAULT, data_dir: Path | None = None, config: Path | None = None, json: bool = False
) -> None:
    """Activate a workspace: its keys work, and it gets its free tokens once."""
    settings = get_settings(data_dir, config)

    record, is_new = with_records(
        settings,
        lambda records: workspaces.activate_workspace(records, workspace, settings.quota.free_tokens, actor=actor()),
    )
    if json:
        print_json(show_workspace(record))
    elif is_new:
        print(f"Workspace {record.name} is activated with {record.free_tokens_left:,} free tokens.")
    else:
        print(f"Workspace {record.name} was activated before; {record.free_tokens_left:,} free tokens are left.")
