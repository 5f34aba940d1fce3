"""`steelyard config`."""

from pathlib import Path

from cyclopts import App

from steelyard.cli.context import get_settings, print_json
from steelyard.cli.serve import check_rules, check_secrets
from steelyard.config import show_settings

app = App(name="config", help="Configuration: check, show.")


@app.command
def check(config: Path | None = None) -> None:
    """Read the configuration and tell all its faults."""
    settings = get_settings(config=config)
    check_secrets(settings)
    check_rules(settings)
    print("The configuration is good.")


@app.command
def show(*, config: Path | None = None, data_dir: Path | None = None) -> None:
    """Show the settings in force, secrets masked."""
    print_json(show_settings(get_settings(data_dir, config)))
