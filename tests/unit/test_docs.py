"""The documents tell the truth: reference pages are made from the code, links lead somewhere, both languages are there."""

import re
import runpy

import pytest

from installation import ROOT
from steelyard.cli.__main__ import COMMANDS

GENERATED = runpy.run_path(str(ROOT / "docs/generate.py"))["render"]()
PAGES = sorted(path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")] if ".venv" not in path.parts)


@pytest.mark.parametrize("name", GENERATED)
def test_reference_pages_are_current(name: str) -> None:
    """`make docs` would change nothing."""
    assert (ROOT / "docs/reference" / name).read_text(encoding="utf-8") == GENERATED[name]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page) -> None:
    """Every relative link and every path named as a test exists."""
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)", text):
        if not target.startswith(("http", "mailto")):
            assert (page.parent / target).exists(), target
    for path in re.findall(r"`((?:tests|docs|src|bench)/[\w./-]+)`", text):
        assert (ROOT / path).exists(), path


def first_table(text: str) -> list[str]:
    blocks = (block.splitlines() for block in text.split("\n\n"))
    return next([line for line in block if not line.startswith("|-")] for block in blocks if block[0].startswith("| "))


def test_both_readmes_open_with_the_same_table() -> None:
    """What a user wants, the command, where it is tested: as many rows in both languages, the same commands."""
    rows = [
        [line.split("|")[2].strip() for line in first_table((ROOT / name).read_text(encoding="utf-8"))]
        for name in ("README.md", "README.zh-CN.md")
    ]
    assert rows[0][1:] == rows[1][1:]
    assert len(rows[0]) > 8


def test_every_command_is_in_a_guide() -> None:
    """No noun of the command line is left out of the README."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"steelyard {name}" not in text] == []
