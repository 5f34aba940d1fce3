"""`steelyard usage`."""

import sys
from pathlib import Path

from cyclopts import App

from steelyard.base.clock import now_s
from steelyard.cli.context import EXIT_FAILED, get_settings, print_json, print_table, with_records
from steelyard.cli.values import split
from steelyard.control import usage
from steelyard.control.keys import parse_duration_s

app = App(name="usage", help="Usage and cost, from the ledger.")


@app.default
def show(
    *,
    workspace: str | None = None,
    by: str = "model",
    since: str | None = None,
    csv: bool = False,
    data_dir: Path | None = None,
    config: Path | None = None,
    json: bool = False,
) -> None:
    """Sum usage.

    Parameters
    ----------
    workspace
        One workspace; default all.
    by
        Groups, comma separated: model, key, workspace, target, day.
    since
        Calls of this long, such as 7d; default all.
    csv
        Print CSV.
    data_dir
        The installation's data directory.
    config
        Configuration file.
    json
        Print JSON.
    """
    groups = split(by)
    since_s = None if since is None else now_s() - parse_duration_s(since)
    rows = with_records(
        get_settings(data_dir, config),
        lambda records: usage.get_usage(records, workspace=workspace, group_by=groups, since_s=since_s),
    )
    if csv:
        print(usage.as_csv(rows, groups), end="")
        return
    if json:
        print_json(rows)
        return
    head = (*groups, "Calls", "Input", "Output", "Total", "Free", "Charged")
    lines = [
        (
            *(row[name] for name in groups),
            row["calls"],
            row["prompt_tokens"],
            row["completion_tokens"],
            row["total_tokens"],
            row["free_tokens_used"],
            f"{row['charged_micros'] / 1e6:.6f} {row['currency']}",
        )
        for row in rows
    ]
    print_table(head, lines)


@app.command
def verify(*, data_dir: Path | None = None, config: Path | None = None) -> None:
    """Check the books: sums of receipts against balances. Exit code 1 where they disagree."""
    problems = with_records(get_settings(data_dir, config), usage.verify)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        sys.exit(EXIT_FAILED)
    print("The books agree.")
