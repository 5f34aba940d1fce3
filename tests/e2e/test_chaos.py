"""Killing processes under load: nothing that was answered is missing from the ledger, or there twice."""

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import time
from typing import Any

import httpx
import pytest

from installation import Installation, Served, Vendor, vendor_config

BACK_WITHIN_S = 3.0


class Load:
    """Clients that call until told to stop, and remember what was answered in full."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.answered: list[str] = []
        self.failed = 0
        self.last_success = 0.0
        self.stopping = False

    async def client(self, is_stream: bool) -> None:
        url = f"{self.served.origin}/v1/chat/completions"
        body = {
            "model": "fake",
            "messages": [{"role": "user", "content": "hi"}],
            "stream": is_stream,
            "script": {"chunks": 3},
        }
        async with httpx.AsyncClient(timeout=10) as client:
            while not self.stopping:
                try:
                    answer = await client.post(url, json=body, headers=self.served.headers())
                except httpx.HTTPError:
                    self.failed += 1
                    await asyncio.sleep(0.02)
                    continue
                if answer.status_code == 200 and (not is_stream or answer.text.endswith("data: [DONE]\n\n")):
                    self.answered.append(answer.headers["x-request-id"])
                    self.last_success = time.monotonic()
                else:
                    self.failed += 1
                    await asyncio.sleep(0.02)


async def back_in_service(load: Load, since: float) -> float:
    while load.last_success <= since + 0.001:
        await asyncio.sleep(0.01)
        if time.monotonic() - since > 20:
            raise AssertionError("no service for 20 s")
    return load.last_success - since


async def victims(installation: Installation, role: str) -> list[int]:
    """The processes of a role; one that was killed again and again is started more slowly, so it may have to be waited for."""
    give_up_at = time.monotonic() + BACK_WITHIN_S + 3
    while not (found := [pid for pid, one in installation.children().items() if one == role]):
        assert time.monotonic() < give_up_at, f"no {role} is started again"
        await asyncio.sleep(0.02)
    return found


async def rampage(installation: Installation, served: Served, kills: int) -> dict[str, Any]:
    """Kills random processes of this installation, each while calls are under way."""
    load = Load(served)
    clients = [asyncio.create_task(load.client(n % 2 == 0)) for n in range(6)]
    await asyncio.sleep(0.5)
    outages: dict[str, list[float]] = {"fork-server": [], "gateway": [], "face": [], "supervisor": []}
    for number in range(kills):
        role = (
            ("fork-server", "gateway", "face", "supervisor")[number % 4]
            if number < 4
            else random.choice(tuple(outages))
        )
        before = time.monotonic()
        if role == "supervisor":
            installation.process.kill()
            installation.process.wait()
            before = time.monotonic()
            await asyncio.to_thread(installation.start)
        else:
            os.kill(random.choice(await victims(installation, role)), signal.SIGKILL)
            before = time.monotonic()
        outages[role].append(await back_in_service(load, before))
        # a killed face is not missed at once: wait until it is back before the next blow
        await asyncio.sleep(random.uniform(0.5, 1.5))
    load.stopping = True
    await asyncio.gather(*clients)
    return {"load": load, "outages": outages}


def check_ledger(installation: Installation, answered: list[str]) -> None:
    give_up_at = time.monotonic() + 5
    while True:
        with contextlib.closing(sqlite3.connect(installation.data_dir / "steelyard.db")) as database:
            rows = [row for (row,) in database.execute("select request_id from receipt where outcome = 'completed'")]
        missing = set(answered) - set(rows)
        if not missing or time.monotonic() > give_up_at:
            break
        time.sleep(0.1)
    assert not missing, f"{len(missing)} of {len(answered)} answered calls are not in the ledger"
    assert len(rows) == len(set(rows))


async def run(make_installation: Any, vendor: Vendor, kills: int) -> None:
    installation = make_installation(vendor_config(vendor), workers=2)
    installation.start()
    served = Served(installation)
    result = await rampage(installation, served, kills)
    load, outages = result["load"], result["outages"]
    check_ledger(installation, load.answered)
    worst = {role: round(max(times), 2) for role, times in outages.items() if times}
    print(f"\n{kills} kills, {len(load.answered)} answered, {load.failed} failed, worst outage by role {worst}")
    assert len(load.answered) > kills * 5
    assert max(worst.values()) < BACK_WITHIN_S


async def test_kill_nine(make_installation: Any, vendor: Vendor) -> None:
    """Five kills of fork server, gateway, face and supervisor."""
    await run(make_installation, vendor, 5)


@pytest.mark.long
async def test_fifty_kills(make_installation: Any, vendor: Vendor) -> None:
    """The acceptance figure: fifty kills."""
    await run(make_installation, vendor, 50)


def test_full_disk_refuses_before_any_upstream_call(vendor: Vendor, tmp_path: Any) -> None:
    """A journal that cannot be written means 503, and service comes back with the space."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root: SKIPPED ALOUD, the full-disk test did not run")
    installation = Installation(disk, vendor_config(vendor))
    try:
        installation.start()
        served = Served(installation)
        url, body = (
            served.origin + "/v1/chat/completions",
            {"model": "fake", "messages": [{"role": "user", "content": "hi"}]},
        )
        assert httpx.post(url, json=body, headers=served.headers()).status_code == 200
        filler = disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(b"x" * 4096)
                file.flush()
        before = vendor.totals()["calls"]
        statuses = [httpx.post(url, json=body, headers=served.headers()).status_code for _ in range(40)]
        assert statuses[-1] == 503
        # the first call to meet the full disk had been sent already; the ones behind it were not
        assert vendor.totals()["calls"] - before <= statuses.count(200) + 2
        # the face dies meanwhile and cannot start: the server goes on, and it is tried again
        face = installation.child("face")
        os.kill(face, signal.SIGKILL)
        time.sleep(2.5)
        assert installation.process.poll() is None
        filler.unlink()
        give_up_at = time.monotonic() + 12
        while (last := httpx.post(url, json=body, headers=served.headers())).status_code != 200:
            assert last.status_code == 503
            assert time.monotonic() < give_up_at
            time.sleep(0.2)
        check_ledger(installation, [last.headers["x-request-id"]])
    finally:
        installation.stop()
        subprocess.run(["umount", "-l", str(disk)], check=False)
