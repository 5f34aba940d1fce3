"""A real installation for tests: the server's own processes on a free port, its own data directory, and its command line."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any, Self

import httpx

from command_line import COMMANDS

ROOT = Path(__file__).parent.parent
READY_S = 30
#: An installation's embedded models cost more at its start than all else together: where a vendor answers, they stay away.
NO_ENGINES = """
[engines]
load = []
vectors = false
"""
VECTORS_ALONE = """
[engines]
load = []
"""
ALL_ENGINES = ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Installation:
    """One data directory and, while started, the server on it."""

    def __init__(self, directory: Path, config: str = "", *, workers: int = 1, models_dir: Path | None = None) -> None:
        self.directory = directory
        self.data_dir = directory / "data"
        self.port = free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self.config = directory / "steelyard.toml"
        self.config.write_text(config)
        tomllib.loads(config)
        self.workers = workers
        self.process: subprocess.Popen[bytes] | None = None
        self.log: Any = None
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("STEELYARD_")},
            "STEELYARD_DATA_DIR": str(self.data_dir),
            "STEELYARD_CONFIG": str(self.config),
            "STEELYARD_PROFILES": str(directory / "profiles"),
        }
        if models_dir is not None:
            self.environment["STEELYARD_MODELS_DIR"] = str(models_dir)
        for name in ("DASHSCOPE_API_KEY", "OPENAI_API_KEY"):
            self.environment.pop(name, None)

    def start(self, *, timeout_s: float = READY_S) -> "Installation":
        if self.log is not None:
            self.log.close()
        self.log = (self.directory / "server.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "steelyard.cli", "serve", "--port", str(self.port), "--workers", str(self.workers)],
            env=self.environment,
            stdout=self.log,
            stderr=self.log,
            cwd=self.directory,
        )
        self.wait_ready(timeout_s)
        return self

    def wait_ready(self, timeout_s: float = READY_S) -> None:
        give_up_at = time.monotonic() + timeout_s
        while time.monotonic() < give_up_at:
            if self.process is not None and self.process.poll() is not None:
                raise AssertionError(f"the server ended:\n{self.log_text()}")
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.origin}/readyz", timeout=2).status_code == 200:
                    return
            time.sleep(0.02)
        raise AssertionError(f"not ready:\n{self.log_text()}")

    def log_text(self) -> str:
        return (self.directory / "server.log").read_text()

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(25)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None
        self.log.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def cli(
        self, *words: str, input_text: str | None = None, check: bool = True, **extra: str
    ) -> subprocess.CompletedProcess[str]:
        done: subprocess.CompletedProcess[str] = COMMANDS.run(
            list(words), {**self.environment, **extra}, self.directory, input_text
        )
        if check and done.returncode != 0:
            raise AssertionError(f"steelyard {' '.join(words)} exited {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def create_key(self, *flags: str, name: str = "test") -> dict[str, Any]:
        return json.loads(self.cli("keys", "create", "--name", name, "--json", *flags).stdout)

    def child(self, role: str) -> int:
        """The process id of one of a role; some roles start when calls are answered already."""
        give_up_at = time.monotonic() + 20
        while not (found := [pid for pid, one in self.children().items() if one == role]):
            assert time.monotonic() < give_up_at, f"there is no {role}"
            time.sleep(0.05)
        return found[0]

    def children(self) -> dict[int, str]:
        """Process ids of this installation's own processes, with their roles; `fork-server` is one, and the parent of most.

        They are known by their title and directory, for they outlive a fork server that is killed.
        """
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                title = (process / "cmdline").read_bytes().rstrip(b"\0").decode()
                if title.startswith("steelyard: ") and (process / "cwd").samefile(self.directory):
                    found[int(process.name)] = title.split()[1]
        return found


class Vendor:
    """The fake vendor as a process of its own."""

    def __init__(self, *flags: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "upstream.server", *flags],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT / "tests",
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        self.base_url = f"http://127.0.0.1:{self.port}/v1"

    def seen(self) -> dict[str, Any]:
        return httpx.get(f"http://127.0.0.1:{self.port}/_seen").json()

    def totals(self) -> dict[str, Any]:
        return httpx.get(f"http://127.0.0.1:{self.port}/_totals", timeout=30).json()

    def set_fail_rate(self, rate: float) -> None:
        httpx.post(f"http://127.0.0.1:{self.port}/_rate", content=str(rate))

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def vendor_config(vendor: Vendor, extra: str = "", *, engines: str = NO_ENGINES) -> str:
    """A configuration whose models `fake` and `priced` are answered by the fake vendor."""
    return f"""
[providers.fake]
kind = "openai"
base_url = "{vendor.base_url}"
api_key = "vendor-secret"
first_byte_timeout_s = 3
chunk_timeout_s = 3
breaker = false

[providers.fake-native]
kind = "dashscope"
base_url = "http://127.0.0.1:{vendor.port}/api/v1"
api_key = "vendor-secret"
first_byte_timeout_s = 3
chunk_timeout_s = 3
breaker = false
models = []

[providers.fake-messages]
kind = "anthropic"
base_url = "http://127.0.0.1:{vendor.port}"
api_key = "vendor-secret"
first_byte_timeout_s = 3
chunk_timeout_s = 3
breaker = false
models = []

[models."fake"]
targets = [{{provider = "fake"}}]
max_attempts = 1
unsupported = "pass"

[models."fake-native"]
targets = [{{provider = "fake-native"}}]
max_attempts = 1
unsupported = "pass"

[models."fake-messages"]
targets = [{{provider = "fake-messages"}}]
max_attempts = 1
unsupported = "pass"

[models."priced"]
targets = [{{provider = "fake", model = "vendor-model"}}]
price = {{input = "2.00", output = "8.00", cached = "0.40", currency = "CNY"}}
aliases = ["priced-alias"]
max_output_tokens = 4096
max_attempts = 1
capabilities = ["tools"]
{engines}
{extra}
"""


class Served:
    """A running installation with an activated workspace and keys."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.origin = installation.origin
        installation.cli("activate")
        self.key: str = installation.create_key(name="suite")["key"]
        self.admin_key: str = installation.create_key("--kind", "admin", name="suite-admin")["key"]

    def headers(self, key: str | None = None) -> dict[str, str]:
        return {"Authorization": f"Bearer {key or self.key}"}


def read_events(text: str) -> list[dict[str, Any] | str]:
    """The events of an SSE text."""
    data = [line[5:].strip() for line in text.splitlines() if line.startswith("data:")]
    return [one if one == "[DONE]" else json.loads(one) for one in data]
