"""`steelyard keys`."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from cyclopts import App

from steelyard.base.clock import MICROS
from steelyard.base.errors import SetupFault
from steelyard.base.ids import Sighting, find_credentials
from steelyard.base.sealing import Sealer
from steelyard.base.secrets import digest
from steelyard.cli.context import EXIT_FAILED, actor, get_settings, print_json, print_table, with_records
from steelyard.cli.limit_flags import NO_FLAGS, LimitFlags
from steelyard.cli.values import split
from steelyard.config import Settings
from steelyard.control import keys, keys_lookup, trail
from steelyard.control.limits import show_budget
from steelyard.control.records import Records
from steelyard.web.control_shapes import show_key

app = App(name="keys", help="Keys: create, list, show, limit, disable, enable, delete, rotate, alerts, scan.")

MAX_SCAN_BYTES = 20 * 1024 * 1024
_SKIPPED_DIRS = frozenset({".git", "node_modules", ".venv", "__pycache__"})


@app.command
def create(
    *,
    name: str,
    workspace: str = "default",
    kind: Literal["api", "admin", "access-key"] = "api",
    models: str = "",
    operations: str = "",
    networks: str = "",
    tools: str = "",
    expires: str | None = None,
    limits: LimitFlags = NO_FLAGS,
    data_dir: Path | None = None,
    config: Path | None = None,
    json: bool = False,
) -> None:
    """Make a key. The secret is shown this once.

    Parameters
    ----------
    name
        What people call it.
    workspace
        The workspace it acts in.
    kind
        api for calls, admin for the control API, access-key to sign the knowledge management protocol.
    models
        Models it may use, comma separated; default all.
    operations
        Operations it may use, comma separated; default all.
    networks
        Networks it may be used from, comma separated; default any.
    tools
        Tools of plugins it may use, comma separated: weather for all of a plugin's, weather/forecast for one; default all.
    expires
        How long it is good, such as 30d; default for ever.
    limits
        What may be taken.
    data_dir
        The installation's data directory.
    config
        Configuration file.
    json
        Print JSON.
    """
    settings = get_settings(data_dir, config)

    async def action(records: Records) -> keys.NewKey:
        return await keys.create_key(
            records,
            name=name,
            actor=actor(),
            workspace=workspace,
            kind=kind,
            models=split(models),
            operations=split(operations),
            networks=split(networks),
            tools=split(tools),
            expires_in_s=None if expires is None else keys.parse_duration_s(expires),
            limits=limits.read(),
            sealer=_sealer(settings, kind),
        )

    made = with_records(settings, action)
    _print_new(made, json)


def _print_new(made: keys.NewKey, json: bool) -> None:
    if json:
        print_json(show_key(made.record, made.secret))
        return
    if made.record.grant.kind == keys.ACCESS:
        print(f"access_key_id {made.record.grant.key_id}\naccess_key_secret {made.secret}")
    else:
        print(made.secret)
    print(f"id {made.record.grant.key_id}; shown this once, keep it safe. 仅显示一次，请妥善保存。", file=sys.stderr)


def _sealer(settings: Settings, kind: str = keys.ACCESS) -> Sealer | None:
    """What access keys' secrets are sealed with."""
    # imported here: most commands on keys have nothing to seal
    from steelyard.supervisor import get_master_key

    return Sealer(get_master_key(settings)) if kind == keys.ACCESS else None


def _time(us: int | None) -> str:
    return "never" if us is None else datetime.fromtimestamp(us / MICROS, UTC).strftime("%Y-%m-%d %H:%M")


@app.command(name="list")
def list_keys(
    *, workspace: str | None = None, data_dir: Path | None = None, config: Path | None = None, json: bool = False
) -> None:
    """List keys, masked."""
    found = with_records(get_settings(data_dir, config), lambda records: keys.list_keys(records, workspace))
    if json:
        print_json([show_key(one) for one in found])
        return
    rows = [
        (one.grant.key_id, one.grant.name, one.masked, one.grant.kind, one.grant.workspace, _time(one.grant.expires_us),
         "disabled" if one.grant.is_disabled else "")
        for one in found
    ]  # fmt: skip
    print_table(("Id", "Name", "Key", "Kind", "Workspace", "Expires", ""), rows)


@app.command
def show(key_id: str, *, data_dir: Path | None = None, config: Path | None = None, json: bool = False) -> None:
    """Show a key, masked."""

    async def action(records: Records) -> dict[str, Any]:
        record = await keys.get_key(records, key_id)
        subject = f"key:{record.grant.lineage or record.grant.key_id}"
        return {**show_key(record), "budget": await show_budget(records, subject, record.grant.limits)}

    shown = with_records(get_settings(data_dir, config), action)
    if json:
        print_json(shown)
    else:
        print_table(("Field", "Value"), list(shown.items()))


@app.command
def limit(
    key_id: str,
    *,
    limits: LimitFlags = NO_FLAGS,
    data_dir: Path | None = None,
    config: Path | None = None,
    json: bool = False,
) -> None:
    """Set what a key may take, all of it anew: what is not given is not limited.

    Parameters
    ----------
    key_id
        The key's id.
    limits
        What may be taken.
    data_dir
        The installation's data directory.
    config
        Configuration file.
    json
        Print JSON.
    """

    async def action(records: Records) -> Any:
        return await keys.set_limits(records, key_id, limits.read(), actor=actor())

    record = with_records(get_settings(data_dir, config), action)
    shown = show_key(record)["limits"]
    if json:
        print_json(shown)
    else:
        print_table(("Limit", "Value"), [(name, "none" if value is None else value) for name, value in shown.items()])


def _switch(key_id: str, data_dir: Path | None, config: Path | None, *, is_disabled: bool) -> None:
    def action(records: Records) -> Any:
        return keys.set_disabled(records, key_id, is_disabled, actor=actor())

    record = with_records(get_settings(data_dir, config), action)
    print(f"{record.masked} is {'disabled' if is_disabled else 'enabled'}.")


@app.command
def disable(key_id: str, *, data_dir: Path | None = None, config: Path | None = None) -> None:
    """Switch a key off; every process follows within 2 seconds."""
    _switch(key_id, data_dir, config, is_disabled=True)


@app.command
def enable(key_id: str, *, data_dir: Path | None = None, config: Path | None = None) -> None:
    """Switch a key on again."""
    _switch(key_id, data_dir, config, is_disabled=False)


@app.command
def delete(key_id: str, *, data_dir: Path | None = None, config: Path | None = None) -> None:
    """Delete a key for good; every process follows within 2 seconds."""
    settings = get_settings(data_dir, config)
    record = with_records(settings, lambda records: keys.delete_key(records, key_id, actor=actor()))
    print(f"{record.masked} is deleted.")


@app.command
def rotate(
    key_id: str, *, grace: str = "0s", data_dir: Path | None = None, config: Path | None = None, json: bool = False
) -> None:
    """Make a successor with the same rights; the old key ends after the grace time."""
    settings = get_settings(data_dir, config)
    grace_s = keys.parse_duration_s(grace)
    made = with_records(
        settings, lambda records: keys.rotate_key(records, key_id, grace_s, actor=actor(), sealer=_sealer(settings))
    )
    _print_new(made, json)


@app.command
def alerts(*, limit: int = 20, data_dir: Path | None = None, config: Path | None = None, json: bool = False) -> None:
    """List alerts on keys, newest first: used from a new network, or spending far more than before."""
    settings = get_settings(data_dir, config)
    found = with_records(settings, lambda records: trail.list_entries(records, limit, "alert."))
    if json:
        print_json(found)
    else:
        rows = [(_time(one["at_us"]), one["action"], one["subject"], one["detail"]) for one in found]
        print_table(("When", "Alert", "Key", ""), rows)


@app.command
def scan(
    path: Path | None = None,
    *,
    git_history: bool = False,
    stdin: bool = False,
    data_dir: Path | None = None,
    config: Path | None = None,
    json: bool = False,
) -> None:
    """Find leaked keys of ours; the checksum keeps look-alikes out. Exit code 1 when any is found.

    Parameters
    ----------
    path
        File or directory to read.
    git_history
        Read every version in the git history of the directory (default: this one).
    stdin
        Read standard input.
    data_dir
        The installation whose keys are told by name.
    config
        Configuration file.
    json
        Print JSON.
    """
    if stdin:
        found = [("-", one) for one in find_credentials(sys.stdin.read())]
    elif git_history:
        found = _scan_history(path or Path())
    elif path is not None:
        found = _scan_path(path)
    else:
        raise SetupFault("Say what to scan: a PATH, --git-history or --stdin.")
    known = _known(found, data_dir, config)
    rows = [
        {"place": place, "line": one.line, "column": one.column, "masked": one.masked, "key": known.get(one.credential)}
        for place, one in found
    ]
    if json:
        print_json(rows)
    else:
        for row in rows:
            print(
                f"{row['place']}:{row['line']}:{row['column']}: {row['masked']}  {row['key'] or 'not a key of this installation'}"
            )
    if rows:
        print(f"{len(rows)} found. `steelyard keys delete ID` ends a leaked key.", file=sys.stderr)
        sys.exit(EXIT_FAILED)


def _scan_path(root: Path) -> list[tuple[str, Sighting]]:
    if not root.exists():
        raise SetupFault(f"{root} does not exist.")
    files = [root] if root.is_file() else [one for one in root.rglob("*") if one.is_file()]
    found = []
    for file in sorted(files):
        if _SKIPPED_DIRS & set(file.parts) or file.stat().st_size > MAX_SCAN_BYTES:
            continue
        text = file.read_bytes().decode("utf-8", "replace")
        found += [(str(file), one) for one in find_credentials(text)]
    return found


def _scan_history(root: Path) -> list[tuple[str, Sighting]]:
    command = ["git", "-C", str(root), "log", "--all", "-p", "--no-color", "--unified=0", "--format=commit %h"]
    try:
        done = subprocess.run(command, capture_output=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        raise SetupFault(f"{root.absolute()} has no git history that can be read.") from None
    found, commit = [], ""
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        if line.startswith("commit "):
            commit = line[7:]
        elif line.startswith("+"):
            found += [(f"commit {commit}", one) for one in find_credentials(line)]
    return found


def _known(found: list[tuple[str, Sighting]], data_dir: Path | None, config: Path | None) -> dict[str, str]:
    """Which of them are keys of this installation, by id."""
    settings = get_settings(data_dir, config)
    if not found or not Path(settings.data_dir).exists():
        return {}

    async def action(records: Records) -> dict[str, str]:
        named = {}
        for _, one in found:
            grant = await keys_lookup.find_grant(records, digest(one.credential))
            if grant is not None:
                named[one.credential] = f"{grant.key_id} ({grant.name})"
        return named

    return with_records(settings, action)
