"""Bad set-ups get one clear sentence on standard error and exit code 1."""

import socket
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from installation import ROOT, Installation


def serve(installation: Installation, *words: str) -> subprocess.CompletedProcess[str]:
    return installation.cli("serve", "--port", str(installation.port), *words, check=False)


def told(done: subprocess.CompletedProcess[str], *fragments: str) -> None:
    lines = [line for line in done.stderr.strip().splitlines() if not line.startswith("{")]
    assert done.returncode == 1, done.stderr
    assert len(lines) == 1, done.stderr
    for fragment in fragments:
        assert fragment in lines[0]


def test_port_taken(make_installation: Any) -> None:
    """The sentence names the port and the flag."""
    installation = make_installation()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", installation.port))
        taken.listen()
        told(serve(installation), f"Port {installation.port}", "is taken", "--port")


def test_second_server_on_the_same_data(make_installation: Any) -> None:
    """Two servers never share a data directory."""
    installation = make_installation()
    with installation:
        told(installation.cli("serve", "--port", "1", check=False), "Another server runs")


def test_data_directory_not_writable(make_installation: Any) -> None:
    """A path below a file cannot be made."""
    installation = make_installation()
    (installation.directory / "file").write_text("")
    told(
        serve(installation, "--data-dir", str(installation.directory / "file" / "data")),
        "cannot be written",
        "--data-dir",
    )


def test_data_of_a_newer_version(make_installation: Any) -> None:
    """Data of a newer schema is left alone."""
    installation = make_installation()
    installation.cli("workspaces", "list")
    with sqlite3.connect(installation.data_dir / "steelyard.db") as database:
        database.execute("update meta set value = '999' where name = 'schema_version'")
    database.close()
    told(serve(installation), "newer version", "999")
    told(installation.cli("keys", "list", check=False), "newer version")


def test_unusable_database(make_installation: Any) -> None:
    """A file that is no database is named as such."""
    installation = make_installation()
    installation.data_dir.mkdir()
    (installation.data_dir / "steelyard.db").write_bytes(b"this is not a database" * 100)
    told(serve(installation), "database cannot be used")


FAULTY = [
    ("[server]\nprt = 1\n", "server.prt: unknown key"),
    ("[limits]\nurl = 'redis://x'\n", "redis:// comes later"),
    ("[server]\nport = 'x'\n[database]\nurll = 1\n", "database.urll"),
    ("nonsense = 1\n", "unknown section"),
    ("[providers.a]\nkind = 'openai'\n", "providers.a.base_url: base_url must begin with http"),
    ("[models.m]\ntargets = [{provider = 'nobody'}]\n", "no provider 'nobody'"),
    ("[monitor]\nurl = 'x'\n", "monitor.url, where it is not"),
    ("[monitor.webhooks.a]\nurl = 'http://x'\nkind = 'smoke'\n", "monitor.webhooks.a.kind must be one of generic"),
    ("[monitor.webhooks.a]\nurl = 'env:STEELYARD_TEST_UNSET'\n", "STEELYARD_TEST_UNSET, which is not set"),
    ("[monitor]\nalertmanagers = ['http://a:b@x']\n", "monitor.alertmanagers[0] must not hold a user or a password"),
    ("[monitor.targets.a]\nurl = 'http://a:b@x'\n", "monitor.targets.a.url must not hold a user"),
    ("[monitor.remote_write.a]\nurl = 'x'\n", "monitor.remote_write.a.url must begin with http"),
    ("[monitor]\nalertmanagers = ['x']\n", "monitor.alertmanagers[0] must begin with http"),
    ("[monitor]\nduration_unit = 'h'\n", "monitor.duration_unit must be"),
    ("[monitor]\nexternal_labels = {'1' = 'x'}\n", "monitor.external_labels: '1' is no name"),
    ("[monitor.targets.a]\nurl = 'ftp://x'\n", "monitor.targets.a.url must begin with http"),
    ("[monitor.targets.a]\nurl = 'http://x'\nlabels = {job = 'x'}\n", "monitor.targets.a.labels: 'job' cannot be set"),
    ("[monitor.targets.a]\nurl = 'http://x'\ntimeout_s = 0\n", "monitor.targets.a.timeout_s must lie in"),
    ("[knowledge]\nindex = 'database'\n", "knowledge.index = 'database' needs PostgreSQL"),
    ("[knowledge]\nindex = 'elsewhere'\n", "knowledge.index"),
    ("[objects]\nurl = 'ftp://b'\n", "objects.url must begin with file:// or s3://"),
    (
        "[providers.a]\nbase_url = 'http://x/v1'\napi_key = 'env:STEELYARD_TEST_UNSET'\n",
        "STEELYARD_TEST_UNSET, which is not set",
    ),
    ("[server]\nmaster_key = 'abc'\n", "master key"),
]


@pytest.mark.parametrize(("config", "fragment"), FAULTY)
def test_faulty_configuration(make_installation: Any, config: str, fragment: str) -> None:
    """The path of the fault is told; several faults are told together."""
    installation = make_installation(config)
    told(serve(installation), fragment)


def test_all_faults_together_and_missing_file(make_installation: Any) -> None:
    """Every fault in one text; a named file that does not exist."""
    installation = make_installation("[server]\nport = 'x'\nworkers = 0\n[database]\nurll = 1\n")
    done = installation.cli("config", "check", check=False)
    assert "server.port" in done.stderr
    assert "database.urll" in done.stderr
    told(serve(installation, "--config", "/nonexistent.toml"), "does not exist")


def test_settings_from_environment_and_flags(make_installation: Any) -> None:
    """Later wins: file, environment, flags."""
    import json

    installation = make_installation("[server]\nport = 1111\nworkers = 3\n")
    shown = json.loads(installation.cli("config", "show", STEELYARD_SERVER__PORT="2222").stdout)
    assert (shown["server"]["port"], shown["server"]["workers"]) == (2222, 3)


def test_wrong_python(tmp_path: Path) -> None:
    """An old interpreter is told so by make, before anything is installed."""
    old = tmp_path / "python3.9"
    pretend = "import sys; sys.version_info = (3, 9, 2); sys.version = '3.9.2 (old)'; exec(sys.argv[1])"
    old.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{pretend}" "$2"\n')
    old.chmod(0o755)
    command = ["make", "-s", f"PYTHON={old}", f"VENV={tmp_path}/venv", f"{tmp_path}/venv/bin/uv"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode != 0
    assert "needs Python 3.11 or newer; this is 3.9.2" in done.stderr


def test_wrong_usage_is_exit_2(make_installation: Any) -> None:
    """Unknown flags and missing arguments exit with 2."""
    installation = make_installation()
    assert installation.cli("keys", "create", check=False).returncode == 2
    assert installation.cli("serve", "--nonsense", check=False).returncode == 2
    assert installation.cli("nonsense", check=False).returncode == 2


def test_reload_replaces_processes_and_keeps_the_old_settings_on_a_fault(make_installation: Any, vendor: Any) -> None:
    """SIGHUP with a faulty file changes nothing; with a good one new models appear."""
    import signal
    import time

    import httpx

    from installation import Served, vendor_config

    installation = make_installation(vendor_config(vendor))
    with installation:
        served = Served(installation)

        def names() -> set[str]:
            answer = httpx.get(served.origin + "/v1/models", headers=served.headers())
            return {one["id"] for one in answer.json().get("data", [])}

        installation.config.write_text("[server]\nprt = 1\n")
        installation.process.send_signal(signal.SIGHUP)
        time.sleep(1)
        assert "fake" in names()
        extra = '[models."added"]\ntargets = [{provider = "fake"}]\n'
        installation.config.write_text(vendor_config(vendor, extra))
        installation.process.send_signal(signal.SIGHUP)
        give_up_at = time.monotonic() + 10
        while "added" not in names() and time.monotonic() < give_up_at:
            time.sleep(0.1)
        assert "added" in names()
