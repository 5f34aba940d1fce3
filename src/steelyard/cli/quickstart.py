"""`steelyard quickstart`: from nothing to a curl line that works."""

from pathlib import Path

from steelyard.cli.context import actor, get_settings, with_records
from steelyard.cli.models import pull_with_progress
from steelyard.cli.serve import run_server, stand_in_lines
from steelyard.config import Settings
from steelyard.control import keys, workspaces
from steelyard.control.records import Records
from steelyard.control.tickets import Tickets
from steelyard.engines.catalogue import DEFAULT_CHAT, MODELS
from steelyard.engines.weights import is_present
from steelyard.supervisor import get_master_key

KEY_NAME = "quickstart"


def quickstart(
    *,
    host: str | None = None,
    port: int | None = None,
    data_dir: Path | None = None,
    config: Path | None = None,
    workers: int | None = None,
) -> None:
    """Get the embedded model, activate the default workspace, make a key, run the server and print a working curl line."""
    flags = {"server__host": host, "server__port": port, "server__workers": workers}
    settings = get_settings(data_dir, config, **flags)
    model = MODELS[DEFAULT_CHAT]
    if not settings.providers and not is_present(Path(settings.models_dir), model):
        pull_with_progress(Path(settings.models_dir), model)
    secret, notes = with_records(settings, lambda records: _prepare(records, settings))
    # told before the server starts: the key is shown once, whatever happens next
    print("\n".join(["", *notes]), flush=True)

    def on_ready(ready: Settings) -> None:
        tickets = Tickets(get_master_key(ready))
        print(_banner(ready, secret, tickets.issue()), flush=True)

    run_server(on_ready, host=host, port=port, data_dir=data_dir, config=config, workers=workers)


async def _prepare(records: Records, settings: Settings) -> tuple[str | None, list[str]]:
    """Activates the workspace and makes the key, both visibly and once."""
    notes = []
    workspace, is_new = await workspaces.activate_workspace(
        records, workspaces.DEFAULT, settings.quota.free_tokens, actor=actor()
    )
    if is_new:
        notes.append(f"$ steelyard activate          # workspace default: {workspace.free_tokens_left:,} free tokens")
    known = await keys.find_key_named(records, workspaces.DEFAULT, KEY_NAME)
    if known is not None:
        notes.append(f"key `{KEY_NAME}` exists: {known.masked}   (a new one: steelyard keys create --name NAME)")
        return None, notes
    made = await keys.create_key(records, name=KEY_NAME, actor=actor())
    notes.append(f"$ steelyard keys create --name {KEY_NAME}")
    notes.append(f"{made.secret}   (shown this once; valid until deleted 仅显示一次，删除前一直有效)")
    return made.secret, notes


def _banner(settings: Settings, secret: str | None, ticket: str) -> str:
    url = settings.public_url
    key = secret or "$STEELYARD_API_KEY"
    quote = '"' if secret is None else "'"
    body = '{"model":"qwen-plus","messages":[{"role":"system","content":"你是一个编程专家"},{"role":"user","content":"用js写一个1-100的随机函数"}]}'
    lines = [
        "",
        f"steelyard is ready   base URL  {url}/compatible-mode/v1   (or {url}/v1)",
        f"                     console   {url}/console/login?ticket={ticket}   (one use, 15 minutes)",
        *(f"                  {line}" for line in stand_in_lines(settings)),
        "",
        "Try it 试一试:",
        "",
        f"curl {url}/compatible-mode/v1/chat/completions -H {quote}Authorization: Bearer {key}{quote} "
        f"-H 'Content-Type: application/json' -d '{body}'",
        "",
    ]
    return "\n".join(lines)
