"""The texts of flags as values."""

from pathlib import Path

import pytest

from steelyard.base.errors import SetupFault
from steelyard.cli.values import json_or_text, pairs, split, text_of


def test_parts_between_commas() -> None:
    assert split(" a, b ,,c ") == ("a", "b", "c")
    assert split("") == ()


def test_pairs() -> None:
    assert pairs(("a=1", "b=x=y", "c="), "--header") == {"a": "1", "b": "x=y", "c": ""}
    for broken in ("a", "=1", ""):
        with pytest.raises(SetupFault, match=r"--header .* is not NAME=VALUE"):
            pairs((broken,), "--header")


def test_json_or_text() -> None:
    assert json_or_text("0.5") == 0.5
    assert json_or_text("[1]") == [1]
    assert json_or_text("high") == "high"


def test_a_text_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "rule.txt"
    file.write_text("be brief", encoding="utf-8")
    assert text_of("a@b") == "a@b"
    assert text_of(f"@{file}") == "be brief"
    with pytest.raises(SetupFault, match="cannot be read"):
        text_of(f"@{tmp_path}/none")
    file.write_bytes(b"\xff")
    with pytest.raises(SetupFault, match="cannot be read"):
        text_of(f"@{file}")
