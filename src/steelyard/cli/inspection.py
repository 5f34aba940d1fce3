"""`steelyard inspection`."""

import sys
from pathlib import Path

from cyclopts import App

from steelyard.base.errors import SetupFault
from steelyard.canon.inspection import CheckPolicy, InspectionPolicy
from steelyard.cli.context import actor, get_settings, print_json, print_table, with_records
from steelyard.cli.values import split
from steelyard.control import inspection, workspaces

app = App(name="inspection", help="Content inspection: set, show, try.")


@app.command(name="set")
def set_inspection(
    workspace: str = workspaces.DEFAULT,
    *,
    words_file: Path | None = None,
    pattern: tuple[str, ...] = (),
    mask: str = "",
    stages: str = "input,output",
    may_disable: bool = False,
    check_url: str = "",
    check_model: str = "",
    check_key: str = "",
    check_timeout_s: float = 5.0,
    pass_unchecked: bool = False,
    data_dir: Path | None = None,
    config: Path | None = None,
    json: bool = False,
) -> None:
    """Set what a workspace looks for in texts, all of it anew; without options nothing is looked for.

    Parameters
    ----------
    workspace
        The workspace.
    words_file
        Words that refuse a call, one a line, in any case.
    pattern
        A regular expression (RE2) that refuses a call; may be given several times.
    mask
        Kinds of numbers to mask, comma separated: phone, id_card, bank_card, key.
    stages
        input, output, or both.
    may_disable
        Let callers switch it off with X-DashScope-DataInspection.
    check_url
        An endpoint that is asked about texts, on the OpenAI moderations wire (its whole address).
    check_model
        The model that it is asked to judge by.
    check_key
        Its key: env:NAME or file:PATH.
    check_timeout_s
        How long it is waited for.
    pass_unchecked
        Let texts pass that nobody could be asked about; else such calls are refused.
    data_dir
        The installation's data directory.
    config
        Configuration file.
    json
        Print JSON.
    """
    words: tuple[str, ...] = ()
    if words_file is not None:
        try:
            lines = words_file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as exc:
            raise SetupFault(f"{words_file} cannot be read: {exc}.") from None
        words = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    check = None
    if check_url:
        check = CheckPolicy(
            url=check_url,
            model=check_model,
            api_key=check_key,
            timeout_s=check_timeout_s,
            passes_unchecked=pass_unchecked,
        )
    policy = InspectionPolicy(
        words=words,
        patterns=pattern,
        mask=split(mask),
        stages=split(stages),
        may_disable=may_disable,
        check=check,
    )
    settings = get_settings(data_dir, config)
    with_records(settings, lambda records: inspection.set_inspection(records, workspace, policy, actor=actor()))
    _print(policy, json)


@app.command
def show(
    workspace: str = workspaces.DEFAULT, *, data_dir: Path | None = None, config: Path | None = None, json: bool = False
) -> None:
    """Show what a workspace looks for; words are counted, not shown."""
    settings = get_settings(data_dir, config)
    record = with_records(settings, lambda records: workspaces.get_workspace(records, workspace))
    _print(record.policy.inspection, json)


@app.command(name="try")
def try_text(
    text: str, *, workspace: str = workspaces.DEFAULT, data_dir: Path | None = None, config: Path | None = None
) -> None:
    """Say what becomes of a text (`-` reads standard input). Exit code 1 where it is refused."""
    settings = get_settings(data_dir, config)
    record = with_records(settings, lambda records: workspaces.get_workspace(records, workspace))
    print(inspection.try_text(record.policy.inspection, sys.stdin.read() if text == "-" else text))


def _print(policy: InspectionPolicy, json: bool) -> None:
    shown = inspection.show_inspection(policy)
    if json:
        print_json(shown)
    else:
        print_table(("What", "Value"), list(shown.items()))
