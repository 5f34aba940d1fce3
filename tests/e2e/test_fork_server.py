"""Roles are forked from one process: it may be killed, its children play on, and no two of them mint the same ids."""

import os
import signal
import subprocess
import sys
import time
from typing import Any

import httpx

from installation import Installation, Served, Vendor, vendor_config

WITHIN_S = 10


def call(served: Served) -> httpx.Response:
    body = {"model": "fake", "messages": [{"role": "user", "content": "hi"}]}
    return httpx.post(f"{served.origin}/v1/chat/completions", json=body, headers=served.headers())


def pids(installation: Installation, role: str) -> list[int]:
    return [pid for pid, one in installation.children().items() if one == role]


def wait_other(installation: Installation, role: str, killed: list[int]) -> list[int]:
    give_up_at = time.monotonic() + WITHIN_S
    while not (found := pids(installation, role)) or set(found) & set(killed):
        assert time.monotonic() < give_up_at, f"no other {role}"
        time.sleep(0.02)
    return found


def wait_answered(served: Served) -> None:
    give_up_at = time.monotonic() + WITHIN_S
    while call(served).status_code != 200:
        assert time.monotonic() < give_up_at, "not answered"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def test_its_children_outlive_it(make_installation: Any, vendor: Vendor) -> None:
    """Calls are answered without it; whoever dies then is noticed and started again, from another; a stop is clean."""
    installation = make_installation(vendor_config(vendor))
    with installation:
        served = Served(installation)
        assert call(served).status_code == 200
        (server,) = pids(installation, "fork-server")
        gateways = pids(installation, "gateway")
        orphans = {pid for pid, role in installation.children().items() if role != "fork-server"}
        os.kill(server, signal.SIGKILL)
        while is_running(server):
            time.sleep(0.01)
        assert all(call(served).status_code == 200 for _ in range(20))
        os.kill(gateways[0], signal.SIGKILL)
        wait_other(installation, "gateway", gateways)
        wait_answered(served)
        wait_other(installation, "fork-server", [server])
    assert "Traceback" not in installation.log_text()
    assert not [pid for pid in orphans if is_running(pid)]


def test_a_restart_costs_no_imports(make_installation: Any, vendor: Vendor) -> None:
    """The face, which would take longest, is another soon; all of them are named in lists of processes."""
    installation = make_installation(vendor_config(vendor))
    with installation:
        faces = pids(installation, "face")
        os.kill(faces[0], signal.SIGKILL)
        (face,) = wait_other(installation, "face", faces)
        wait_answered(Served(installation))
        with open(f"/proc/{face}/stat") as file:
            ticks = file.read().rsplit(")", 1)[1].split()
        used_s = (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")
        imports = [sys.executable, "-c", "import time, steelyard.assembly.face; print(time.process_time())"]
        assert used_s < float(subprocess.run(imports, capture_output=True, check=True, text=True).stdout)
        assert {"fork-server", "gateway", "face", "worker", "apps", "monitor"} <= set(installation.children().values())


def test_none_is_left_behind_a_killed_supervisor(make_installation: Any, vendor: Vendor) -> None:
    """`kill -9` of the supervisor takes all with it, the fork server too, so that the port is free."""
    installation = make_installation(vendor_config(vendor))
    installation.start()
    wait_other(installation, "monitor", [])
    children = list(installation.children())
    installation.process.kill()
    installation.process.wait()
    give_up_at = time.monotonic() + WITHIN_S
    while any(is_running(pid) for pid in children):
        assert time.monotonic() < give_up_at
        time.sleep(0.02)
    installation.start()


def test_gateways_mint_ids_of_their_own(make_installation: Any, vendor: Vendor) -> None:
    """Two gateways forked from the same state answer under ids that differ, also after they are forked again."""
    installation = make_installation(vendor_config(vendor), workers=2)
    with installation:
        served = Served(installation)
        seen: list[str] = []
        for _ in range(2):
            seen += [call(served).headers["x-request-id"][-20:] for _ in range(30)]
            killed = pids(installation, "gateway")
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
            wait_other(installation, "gateway", killed)
            wait_answered(served)
        assert len(set(seen)) == len(seen) == 60
