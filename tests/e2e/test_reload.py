"""Restarts and changes of configuration under load drop no call."""

import asyncio
import os
import signal
import time
from typing import Any

import httpx

from installation import Installation, Served, Vendor, vendor_config

HI = [{"role": "user", "content": "hi"}]


class Load:
    """Clients on kept-alive connections that call until told to stop; any failure of theirs is remembered."""

    def __init__(self, served: Served, model: str) -> None:
        self.served = served
        self.model = model
        self.answered = 0
        self.failures: list[str] = []
        self.stopping = False

    async def client(self, number: int) -> None:
        url = f"{self.served.origin}/v1/chat/completions"
        is_stream = number % 2 == 0
        body = {"model": self.model, "messages": HI, "stream": is_stream, "script": {"chunks": 5, "gap_s": 0.002}}
        async with httpx.AsyncClient(timeout=30, headers=self.served.headers()) as http:
            while not self.stopping:
                try:
                    answer = await http.post(url, json=body)
                except httpx.HTTPError as exc:
                    self.failures.append(repr(exc))
                    continue
                if answer.status_code != 200 or (is_stream and not answer.text.endswith("data: [DONE]\n\n")):
                    self.failures.append(f"{answer.status_code}: {answer.text[-200:]}")
                self.answered += 1
                await asyncio.sleep(0.01 * (number % 3))


async def under_load(served: Served, model: str, work: Any) -> Load:
    load = Load(served, model)
    clients = [asyncio.create_task(load.client(number)) for number in range(12)]
    await asyncio.sleep(0.5)
    await work()
    await asyncio.sleep(0.5)
    load.stopping = True
    await asyncio.gather(*clients)
    return load


async def test_configuration_change_drops_no_call(make_installation: Any, vendor: Vendor) -> None:
    """SIGHUP replaces every process; the new configuration is in force, and nobody noticed the change."""
    installation: Installation = make_installation(vendor_config(vendor), workers=2)
    installation.start()
    served = Served(installation)

    async def reload() -> None:
        assert installation.process is not None
        for number in range(2):
            before = {pid for pid, role in installation.children().items() if role in ("face", "gateway")}
            extra = f'[models."late{number}"]\ntargets = [{{provider = "fake", model = "fake"}}]\n'
            installation.config.write_text(vendor_config(vendor, extra))
            os.kill(installation.process.pid, signal.SIGHUP)
            give_up_at = time.monotonic() + 30
            while before & set(installation.children()):
                assert time.monotonic() < give_up_at, installation.log_text()[-2000:]
                await asyncio.sleep(0.1)
            give_up_at = time.monotonic() + 5
            async with httpx.AsyncClient(timeout=10, headers=served.headers()) as http:
                body = {"model": f"late{number}", "messages": HI}
                while (await http.post(f"{served.origin}/v1/chat/completions", json=body)).status_code != 200:
                    assert time.monotonic() < give_up_at
                    await asyncio.sleep(0.05)

    load = await under_load(served, "fake", reload)
    print(f"\n{load.answered} answered, {len(load.failures)} failed {load.failures[:3]}")
    assert load.answered > 200
    assert load.failures == []


async def test_long_streams_outlive_a_replacement(make_installation: Any, vendor: Vendor) -> None:
    """A stream that was under way is finished by the gateway that began it, however long it takes."""
    installation: Installation = make_installation(vendor_config(vendor))
    installation.start()
    served = Served(installation)
    body = {"model": "fake", "messages": HI, "stream": True, "script": {"chunks": 140, "gap_s": 0.1}}
    async with httpx.AsyncClient(timeout=60, headers=served.headers()) as http:
        running = asyncio.create_task(http.post(f"{served.origin}/v1/chat/completions", json=body))
        await asyncio.sleep(0.5)
        assert installation.process is not None
        os.kill(installation.process.pid, signal.SIGHUP)
        answer = await running
    assert answer.text.count("piece") == 140
    assert answer.text.endswith("data: [DONE]\n\n")


async def test_invalid_configuration_keeps_the_old(make_installation: Any, vendor: Vendor) -> None:
    """The log says why; the processes stay."""
    installation: Installation = make_installation(vendor_config(vendor))
    installation.start()
    served = Served(installation)
    before = set(installation.children())
    installation.config.write_text("[server]\nnonsense = 1\n")
    assert installation.process is not None
    os.kill(installation.process.pid, signal.SIGHUP)
    await asyncio.sleep(1.0)
    assert set(installation.children()) == before
    assert "the configuration was not reloaded" in installation.log_text()
    answer = httpx.post(
        f"{served.origin}/v1/chat/completions", json={"model": "fake", "messages": HI}, headers=served.headers()
    )
    assert answer.status_code == 200


async def test_hurried_reloads_leave_one_process_of_each(make_installation: Any, vendor: Vendor) -> None:
    """Several SIGHUPs at once are done one after the other: nothing is started twice."""
    installation: Installation = make_installation(vendor_config(vendor))
    installation.start()
    await asyncio.sleep(1.0)
    before = sorted(installation.children().values())
    assert {"face", "gateway", "worker", "monitor"} <= set(before)
    assert installation.process is not None
    for _ in range(3):
        os.kill(installation.process.pid, signal.SIGHUP)
        await asyncio.sleep(0.3)
    give_up_at = time.monotonic() + 40
    while installation.log_text().count("the configuration was reloaded") < 3:
        assert time.monotonic() < give_up_at, installation.log_text()[-2000:]
        await asyncio.sleep(0.1)
    await asyncio.sleep(1.0)
    assert sorted(installation.children().values()) == before


async def test_a_stop_in_the_midst_of_a_reload(make_installation: Any, vendor: Vendor) -> None:
    """A gateway whose successor is starting ends its calls first; nothing is started behind the stop's back."""
    installation: Installation = make_installation(vendor_config(vendor))
    installation.start()
    served = Served(installation)
    assert installation.process is not None
    body = {"model": "fake", "messages": HI, "stream": True, "script": {"chunks": 40, "gap_s": 0.1}}
    async with httpx.AsyncClient(timeout=60, headers=served.headers()) as http:
        running = asyncio.create_task(http.post(f"{served.origin}/v1/chat/completions", json=body))
        await asyncio.sleep(0.5)
        os.kill(installation.process.pid, signal.SIGHUP)
        give_up_at = time.monotonic() + 15
        while list(installation.children().values()).count("gateway") < 2:
            assert time.monotonic() < give_up_at
            await asyncio.sleep(0.005)
        installation.process.terminate()
        answer = await running
    assert answer.text.endswith("data: [DONE]\n\n")
    assert await asyncio.to_thread(installation.process.wait, 15) == 0
    assert not installation.children()
    assert "Traceback" not in installation.log_text()
