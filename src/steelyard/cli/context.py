"""What commands share: settings, records, endpoint, output, and the frame that turns failures into one sentence."""

import asyncio
import contextlib
import getpass
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec

from steelyard.base.errors import Fault, SetupFault
from steelyard.client.endpoint import DEFAULT_ORIGIN, Endpoint, normalise_base_url
from steelyard.client.profiles import load_profiles
from steelyard.config import Settings, get_environment, get_user_config_dir, load_settings

T = TypeVar("T")
EXIT_FAILED = 1
EXIT_USAGE = 2
KEY_VARIABLES = ("STEELYARD_API_KEY", "DASHSCOPE_API_KEY", "OPENAI_API_KEY")


def fail(message: str, code: int = EXIT_FAILED) -> NoReturn:
    """One sentence on standard error, and out."""
    print(message, file=sys.stderr)
    sys.exit(code)


@contextlib.contextmanager
def failures_told() -> Iterator[None]:
    """Set-up faults and refusals become one sentence and exit code 1."""
    try:
        yield
    except SetupFault as failure:
        fail(str(failure))
    except Fault as failure:
        fail(f"{failure.message.strip()} {failure.row.cure[0]}")
    except KeyboardInterrupt:
        fail("Stopped.", 130)


def get_settings(data_dir: Path | None = None, config: Path | None = None, **flags: Any) -> Settings:
    """The settings for a command."""
    dotted = {name.replace("__", "."): value for name, value in flags.items()}
    return load_settings(config_file=config, data_dir=str(data_dir) if data_dir else None, flags=dotted)


def with_records(settings: Settings, action: Callable[[Any], Awaitable[T]]) -> T:
    """Runs a use-case on the installation's records, whether a server runs or not."""
    # imported here: commands that need no database start without one
    from steelyard.assembly.records import open_records

    async def run() -> T:
        async with await open_records(settings) as records:
            return await action(records)

    return asyncio.run(run())


def with_models(settings: Settings, action: Callable[[Any], Awaitable[T]]) -> T:
    """Runs a use-case on the installation's models, providers and routes."""
    from steelyard.base.sealing import Sealer
    from steelyard.config import resolve_secret
    from steelyard.control.model_book import ModelBook
    from steelyard.declared import make_catalogue, make_stored
    from steelyard.supervisor import get_master_key

    async def run(records: Any) -> T:
        master_key = get_master_key(settings)
        stored = make_stored(master_key)
        book = ModelBook(records, make_catalogue(settings), stored, Sealer(master_key), resolve_secret)
        return await action(book)

    return with_records(settings, run)


def with_apps(settings: Settings, action: Callable[[Any], Awaitable[T]]) -> T:
    """Runs a use-case on the installation's apps and plugins (`assembly.app_parts.AppParts`)."""
    from steelyard.assembly.app_parts import open_parts
    from steelyard.supervisor import get_master_key

    async def run(records: Any) -> T:
        async with open_parts(settings, records, get_master_key(settings)) as parts:
            return await action(parts)

    return with_records(settings, run)


def actor() -> str:
    """Who stands in the audit trail: whoever may read the data directory is its admin."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"


def find_endpoint(base_url: str | None, api_key: str | None, profile: str | None) -> Endpoint:
    """Which endpoint and key a command uses; flags, then the profile, then the environment.

    Raises:
        SetupFault: the profile does not exist, or the address is none.
    """
    profiles = load_profiles(get_user_config_dir())
    name = profile or (profiles.active if base_url is None else None)
    chosen = None
    if name is not None:
        chosen = profiles.profiles.get(name)
        if chosen is None:
            raise SetupFault(f"There is no profile {name!r}; `steelyard profile list` shows them.")
    url = normalise_base_url(base_url or (chosen.base_url if chosen else DEFAULT_ORIGIN))
    if api_key is not None:
        return Endpoint(url, api_key, "--api-key", name)
    if chosen is not None:
        return Endpoint(url, chosen.api_key, f"profile {name}", name)
    for variable in KEY_VARIABLES:
        value = get_environment(variable)
        if value is not None:
            return Endpoint(url, value, variable, name)
    return Endpoint(url, "", "none", name)


def print_json(value: Any) -> None:
    """JSON on standard output."""
    print(msgspec.json.format(msgspec.json.encode(value)).decode())


def print_table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table for people; plain columns when piped."""
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(_cell(one) for one in row))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*head, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*(_cell(one) for one in row))
    Console().print(table)


def _cell(value: Any) -> str:
    """A value as people read it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_cell(one) for one in value) or "–"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_cell(one)}" for name, one in value.items() if one is not None) or "–"
    return str(value)


def pick(texts: tuple[str, str], lang: str) -> str:
    """The English or the Chinese text."""
    return texts[1] if lang == "zh" else texts[0]
