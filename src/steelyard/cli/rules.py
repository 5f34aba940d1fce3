"""`steelyard rules`."""

import sys
from pathlib import Path

from cyclopts import App

from steelyard.cli.context import EXIT_FAILED

app = App(name="rules", help="Rules and alerts: check.")


@app.command
def check(*files: Path) -> None:
    """Read rule files in Prometheus' format and tell all their faults.

    Parameters
    ----------
    files
        Paths of YAML files.
    """
    # the evaluator is heavy, and no other command of this group needs it
    from steelyard.monitor.rules import read_files

    if not files:
        raise SystemExit("Name at least one file: steelyard rules check FILE")
    found = read_files(list(files))
    for fault in found.faults:
        print(fault, file=sys.stderr)
    if found.faults:
        sys.exit(EXIT_FAILED)
    count = sum(len(one.rules) for one in found.groups)
    print(f"{len(found.groups)} groups, {count} rules: good.")
