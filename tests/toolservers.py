"""Starts the servers of `tool_servers`, each a process of its own."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from installation import ROOT, free_port

HERE = Path(__file__).parent / "tool_servers"
CLIENTS = ROOT / ".clients/bin"


@contextlib.contextmanager
def running(program: str, python: str, path: str) -> Iterator[str]:
    """A server's origin."""
    port = free_port()
    process = subprocess.Popen([python, str(HERE / program), str(port)], stdout=subprocess.DEVNULL)
    origin = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            assert process.poll() is None, f"{program} ended"
            with contextlib.suppress(httpx.HTTPError):
                httpx.get(origin + path, timeout=2)
                break
            time.sleep(0.05)
        yield origin
    finally:
        process.kill()
        process.wait()


def mcp_server() -> contextlib.AbstractContextManager[str]:
    return running("mcp_server.py", sys.executable, "/_mode")


def weather_api() -> contextlib.AbstractContextManager[str]:
    return running("weather_api.py", str(CLIENTS / "python"), "/openapi.json")
