"""Prometheus' own scripts: every eval of the core tier, with series apart and with series that share their times together."""

from pathlib import Path

import pytest

from .acceptance import run_folder

FOLDER = Path(__file__).parents[3] / "shared" / "promqltest"
#: Evals of that tier in the folder's index.
COUNT = 533


@pytest.mark.skipif(not FOLDER.is_dir(), reason="the scripts lie in ../shared, which is not here")
@pytest.mark.parametrize("together", [False, True], ids=["apart", "together"])
def test_core(together: bool) -> None:
    """Every one of them passes."""
    outcomes = run_folder(FOLDER / "core", "core", together=together)
    assert [f"{one.file}:{one.line}: {one.text}: {one.problem}" for one in outcomes if one.problem is not None] == []
    assert len(outcomes) == COUNT
