"""A process's private door for its metric readings: a unix socket that answers any request with them."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from steelyard.base.metrics import Registry

SUFFIX = ".metrics.sock"


async def open_metrics_port(
    directory: Path, process: str, registry: Registry, refresh: Callable[[], None] = lambda: None
) -> asyncio.Server:
    """Serves `registry` at `directory/process.metrics.sock`; the caller closes it."""
    path = directory / f"{process}{SUFFIX}"
    path.unlink(missing_ok=True)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await reader.readuntil(b"\r\n\r\n")
            refresh()
            body = msgspec.json.encode(registry.read())
            head = (
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
            )
            writer.write(head % len(body) + body)
            await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(answer, path)
    path.chmod(0o600)
    return server
