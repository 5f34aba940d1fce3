"""Debian's own Prometheus and Alertmanager as test peers: each in a directory and at a port of its own."""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from debian import PEERS, fetch, find
from installation import free_port


def wait_for(is_so: Callable[[], object], within_s: float = 20) -> None:
    """Until something is so; errors of the connection are not yet."""
    give_up_at = time.monotonic() + within_s
    while True:
        with contextlib.suppress(httpx.HTTPError):
            if is_so():
                return
        assert time.monotonic() < give_up_at, "it did not come"
        time.sleep(0.2)


@contextlib.contextmanager
def run_prometheus(directory: Path, config: str, *flags: str, port: int | None = None) -> Iterator[str]:
    """Its origin, once it is ready."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "prometheus.yml").write_text(config)
    words = [f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/data", *flags]
    fetch("prometheus")
    program = find("prometheus", "prometheus")
    assert program is not None
    with _run(program, directory, words, port) as origin:
        yield origin


@contextlib.contextmanager
def run_alertmanager(directory: Path, config: str) -> Iterator[str]:
    """Its origin, once it is ready."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "alertmanager.yml").write_text(config)
    words = [
        f"--config.file={directory}/alertmanager.yml",
        f"--storage.path={directory}/data",
        "--cluster.listen-address=",
    ]
    fetch("prometheus-alertmanager")
    unpacked = PEERS / "prometheus-alertmanager"
    program = find("prometheus-alertmanager", "prometheus-alertmanager")
    assert program is not None
    if unpacked in program.parents:
        program = _relocated(program, unpacked, directory)
    with _run(program, directory, words) as origin:
        yield origin


#: Where Debian's Alertmanager looks for its templates.
TEMPLATES = "/usr/share/prometheus/alertmanager"


def _relocated(program: Path, unpacked: Path, directory: Path) -> Path:
    """A copy that looks for its templates in its working directory: it was unpacked and not installed, since that takes root."""
    for one in (unpacked / TEMPLATES.strip("/")).glob("*.tmpl"):
        shutil.copy(one, directory)
    # of the same length, as texts in a program must be
    nearby = ("./" * len(TEMPLATES))[: len(TEMPLATES)]
    copy = directory / "alertmanager"
    copy.write_bytes(program.read_bytes().replace(TEMPLATES.encode(), nearby.encode()))
    copy.chmod(0o755)
    return copy


@contextlib.contextmanager
def _run(program: Path, directory: Path, words: list[str], port: int | None = None) -> Iterator[str]:
    port = port or free_port()
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(
            [str(program), f"--web.listen-address=127.0.0.1:{port}", *words], cwd=directory, stderr=log, stdout=log
        )
        try:
            origin = f"http://127.0.0.1:{port}"
            wait_for(lambda: httpx.get(f"{origin}/-/ready").status_code == 200, 30)
            yield origin
        finally:
            process.terminate()
            process.wait(30)
