"""What processes of all roles have in common: the parent's death, work in the background, servers and sockets."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

DRAIN_S = 10
#: For calls that are under way when a gateway is replaced.
PATIENT_DRAIN_S = 900
BACKLOG = 2048
ACCEPTS_A_TURN = 16


async def die_with_parent() -> None:
    """Ends the process when the supervisor has gone: journals are written, so nothing answered is lost."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
    os._exit(1)


@contextlib.asynccontextmanager
async def background(*coroutines: Any) -> AsyncIterator[None]:
    """Runs coroutines beside the body, and ends them with it."""
    tasks = [asyncio.create_task(one) for one in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def make_server(config: Any, before_drain: Callable[[], None] = lambda: None) -> Any:
    """A uvicorn server that leaves signals to us: SIGTERM drains, SIGINT is the supervisor's business.

    `before_drain` answers those who only wait for news, so that they are not waited for.
    """
    # imported here: the supervisor imports this module, and stays small
    import uvicorn

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self):  # type: ignore[no-untyped-def]
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGTERM, lambda: self.handle_exit(signal.SIGTERM, None))
            yield

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            before_drain()
            await super().shutdown(sockets)

    return Server(config)


def listeners(descriptor: int) -> list[socket.socket]:
    """The listening socket under several descriptors, so that a burst of new connections is not kept waiting.

    libuv accepts one connection a descriptor and turn of its loop, and under load a turn takes milliseconds.
    """
    return [
        socket.socket(fileno=descriptor),
        *(socket.socket(fileno=os.dup(descriptor)) for _ in range(ACCEPTS_A_TURN - 1)),
    ]


def drain_patiently_on(number: signal.Signals, server: Any) -> None:
    """A successor is there already: calls under way may take all the time they need."""

    def drain() -> None:
        server.config.timeout_graceful_shutdown = PATIENT_DRAIN_S
        server.should_exit = True

    asyncio.get_running_loop().add_signal_handler(number, drain)


def settle_heap() -> None:
    """What is loaded by now stays for good: the collector need not look at it again, nor run every few calls."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


async def repeat(title: str, every_s: float, work: Callable[[], Awaitable[object]]) -> None:
    """Runs for the life of the process; a round that fails is told, and the next one comes all the same."""
    log = logging.getLogger("steelyard.face")
    while True:
        await asyncio.sleep(every_s)
        try:
            await work()
        except Exception:
            log.exception("%s failed", title)
