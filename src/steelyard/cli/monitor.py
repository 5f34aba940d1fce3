"""`steelyard monitor`."""

from pathlib import Path
from typing import Literal

from cyclopts import App

from steelyard.base.errors import SetupFault
from steelyard.cli.context import get_settings

app = App(name="monitor", help="Monitoring: init.")


@app.command
def init(
    directory: Path = Path("monitoring"),
    *,
    url: str | None = None,
    lang: Literal["en", "zh"] = "en",
    force: bool = False,
) -> None:
    """Write starter rules, dashboards for Grafana and its provisioning.

    Parameters
    ----------
    directory
        Where to.
    url
        Of the server, as Grafana reaches it; default the configuration's.
    lang
        Language of the dashboards.
    force
        Write over files that are there.
    """
    from steelyard.monitor.starters import list_starters

    files = list_starters((url or get_settings().public_url).rstrip("/"), lang)
    there = [name for name in files if (directory / name).exists()]
    if there and not force:
        raise SetupFault(f"{directory / there[0]} is there already; --force writes over it.")
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        print(path)
    print(
        f'\nRules: put into steelyard.toml\n\n[monitor]\nready_rules = false\n\n[monitor.rules.own]\nfiles = ["{directory}/rules/*.yml"]'
    )
    print(f"\nGrafana: copy {directory}/grafana/provisioning to its provisioning folder and the dashboards to")
    print("/var/lib/grafana/dashboards/steelyard; STEELYARD_KEY in its environment is a key of the kind api or admin.")
