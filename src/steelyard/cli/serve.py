"""`steelyard serve`."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec

from steelyard.base.errors import SetupFault
from steelyard.base.logs import open_log
from steelyard.cli.context import get_settings
from steelyard.config import Settings
from steelyard.supervisor import Supervisor


def serve(
    *,
    host: str | None = None,
    port: int | None = None,
    data_dir: Path | None = None,
    config: Path | None = None,
    workers: int | None = None,
    role: Literal["all"] = "all",  # noqa: ARG001
) -> None:
    """Run the server until it is stopped.

    Parameters
    ----------
    host
        Address to listen on; default 127.0.0.1.
    port
        Port to listen on; default 8090.
    data_dir
        Where keys, ledger and journals are kept; default $STEELYARD_DATA_DIR, then ./steelyard-data.
    config
        Configuration file; default ./steelyard.toml if it exists.
    workers
        Number of gateway processes; default 1.
    role
        Which processes to run; this version runs all of them on one machine.
    """
    run_server(print_banner, host=host, port=port, data_dir=data_dir, config=config, workers=workers)


def run_server(
    on_ready: Callable[[Settings], None],
    *,
    host: str | None,
    port: int | None,
    data_dir: Path | None,
    config: Path | None,
    workers: int | None,
) -> None:
    """Runs the supervisor in this process."""
    flags: dict[str, Any] = {"server__host": host, "server__port": port, "server__workers": workers}

    def read() -> Settings:
        settings = get_settings(data_dir, config, **flags)
        check_rules(settings)
        return settings

    settings = read()
    check_secrets(settings)
    open_log("supervisor")

    async def run() -> None:
        await Supervisor(settings, read).run(on_ready)

    asyncio.run(run())


def check_rules(settings: Settings) -> None:
    """Finds faulty rules and receivers before any process starts, or is replaced.

    Raises:
        SetupFault: all faults in one text.
    """
    monitor = settings.monitor
    if monitor.rules or monitor.webhooks or monitor.targets or monitor.remote_write or monitor.remote_token:
        # the evaluator is heavy: whoever has none of these starts without it
        from steelyard.assembly.alerting import check_monitor

        check_monitor(settings)


def check_secrets(settings: Settings) -> None:
    """Finds a reference that leads nowhere before any process starts.

    Raises:
        SetupFault: naming it.
    """
    from steelyard.declared import declared_providers

    declared_providers(settings)
    for name, provider in settings.providers.items():
        if "\n" in provider.base_url:
            raise SetupFault(f"providers.{name}.base_url holds a line break.")


def print_banner(settings: Settings) -> None:
    """Says where the server is and what answers."""
    url = settings.public_url
    lines = [f"steelyard is ready at {url}", f"  base URL  {url}/compatible-mode/v1  (or {url}/v1)"]
    lines += stand_in_lines(settings)
    print("\n".join(lines), file=sys.stderr, flush=True)


def stand_in_lines(settings: Settings) -> list[str]:
    """What a person must know of the embedded models."""
    from steelyard.declared import BANNER_FILE

    try:
        known = msgspec.json.decode((settings.run_dir / BANNER_FILE).read_bytes())
    except (OSError, msgspec.DecodeError):
        return []
    if known["stand_ins"]:
        lines = [f"  stand-in  {target} answers for {', '.join(names)}" for target, names in known["stand_ins"].items()]
        return [
            *lines,
            "            while no provider is configured. 替身：未配置提供方时，由内置小模型代答以上模型名。",
        ]
    if not known["count"]:
        return ["  no model  `steelyard models pull` gets the embedded one; `steelyard providers add` adds a vendor's."]
    return []
