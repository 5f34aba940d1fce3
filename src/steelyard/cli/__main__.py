"""Entry of the `steelyard` command. Nouns are loaded when they are used, so that the command starts quickly."""

import sys

MIN_PYTHON = (3, 11)

#: noun -> where its command or group is
COMMANDS: dict[str, str] = {
    "serve": "steelyard.cli.serve:serve",
    "quickstart": "steelyard.cli.quickstart:quickstart",
    "activate": "steelyard.cli.workspaces:activate",
    "check": "steelyard.cli.check:check",
    "explain": "steelyard.cli.explain:explain_command",
    "chat": "steelyard.cli.chat:chat",
    "profile": "steelyard.cli.profile:app",
    "keys": "steelyard.cli.keys:app",
    "inspection": "steelyard.cli.inspection:app",
    "providers": "steelyard.cli.providers:app",
    "routes": "steelyard.cli.routes:app",
    "tokens": "steelyard.cli.tokens:app",
    "workspaces": "steelyard.cli.workspaces:app",
    "models": "steelyard.cli.models:app",
    "images": "steelyard.cli.images:app",
    "videos": "steelyard.cli.videos:app",
    "speech": "steelyard.cli.speech:app",
    "files": "steelyard.cli.files:app",
    "kb": "steelyard.cli.kb:app",
    "hub": "steelyard.cli.hub:app",
    "apps": "steelyard.cli.apps:app",
    "plugins": "steelyard.cli.plugins:app",
    "tasks": "steelyard.cli.tasks:app",
    "media": "steelyard.cli.media:app",
    "promql": "steelyard.cli.promql:promql",
    "rules": "steelyard.cli.rules:app",
    "monitor": "steelyard.cli.monitor:app",
    "usage": "steelyard.cli.usage:app",
    "support-bundle": "steelyard.cli.support:support_bundle",
    "config": "steelyard.cli.config:app",
}


def main() -> None:
    """Runs the command line."""
    if sys.version_info < MIN_PYTHON:
        sys.exit("steelyard needs Python 3.11 or newer; this is " + sys.version.split()[0] + ".")
    from cyclopts import App

    from steelyard import __version__

    app = App(
        name="steelyard",
        help="One self-hosted server that speaks the APIs of Alibaba Cloud Model Studio in front of any model.",
        version=__version__,
        exit_on_error=False,
        print_error=True,
    )
    for name, place in COMMANDS.items():
        app.command(place, name=name)
    _run(app)


def _run(app: object) -> None:
    from cyclopts import CycloptsError

    from steelyard.cli.context import EXIT_USAGE, failures_told

    try:
        with failures_told():
            app()  # type: ignore[operator]
    except CycloptsError:
        # cyclopts has said what is wrong already
        sys.exit(EXIT_USAGE)


if __name__ == "__main__":
    main()
