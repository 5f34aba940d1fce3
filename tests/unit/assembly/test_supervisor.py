"""What the supervisor makes of a process that cannot be had."""

import asyncio
import errno
import os
from pathlib import Path

import pytest

from installation import free_port
from steelyard import supervisor
from steelyard.base.errors import SetupFault
from steelyard.config import load_settings


async def test_a_process_that_cannot_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start it is told in one sentence; while the server runs it is tried until there is one."""
    settings = load_settings(data_dir=str(tmp_path / "data"), flags={"server.port": free_port()})
    one = supervisor.Supervisor(settings, lambda: settings)
    left = 3

    async def fork(role: str, _descriptors: object = ()) -> object:
        nonlocal left
        left -= 1
        if left >= 0:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return await forks(role)

    forks = one._fork_server.fork
    monkeypatch.setattr(one._fork_server, "fork", fork)
    monkeypatch.setattr(supervisor, "MAX_BACKOFF_S", 0.01)
    with pytest.raises(SetupFault, match="The process gateway could not be started: Resource temporarily unavailable"):
        await one.run(lambda _: None)
    child = supervisor.Child("worker")
    await one._respawn(child)
    assert left == -1
    assert child.process is not None
    child.process.kill()
    async with asyncio.timeout(10):
        assert await child.process.wait() == -9
    await one._fork_server.close()
