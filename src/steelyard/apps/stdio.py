"""MCP servers that are programs on this machine: declared in the operator's file, each in a process group of its own, with nothing of our
environment and under limits.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import anyio

#: A line of the protocol may not be longer.
MAX_LINE_BYTES = 1_048_576
STOP_S = 3.0
#: What a program finds in its environment, beside what the operator declares.
PATH = "/usr/local/bin:/usr/bin:/bin"
MEMORY_BYTES, CPU_S, FILE_BYTES, OPEN_FILES = 2 * 1024**3, 600, 64 * 1024**2, 256
#: Runs in the child before the program takes its place.
_LIMIT = (
    "import os, resource, sys\n"
    "for what, most in (('AS', {memory}), ('CPU', {cpu}), ('FSIZE', {size}), ('NOFILE', {files}), ('CORE', 0)):\n"
    "    resource.setrlimit(getattr(resource, 'RLIMIT_' + what), (most, most))\n"
    "os.nice(5)\n"
    "os.execvpe(sys.argv[1], sys.argv[1:], dict(os.environ))\n"
)


@dataclass(frozen=True, slots=True)
class Program:
    """A program and what it is started with."""

    command: str
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


@contextlib.asynccontextmanager
async def stdio_transport(program: Program) -> AsyncIterator[Any]:
    """Starts a program, and gives the streams that the protocol's client talks over. It ends with its group when this is left.

    Raises:
        OSError: it cannot be started.
    """
    from mcp.shared.message import SessionMessage
    from mcp_types import jsonrpc_message_adapter

    process = await _start(program)
    to_us, read_stream = anyio.create_memory_object_stream[Any](0)
    write_stream, from_us = anyio.create_memory_object_stream[Any](0)

    async def read() -> None:
        assert process.stdout is not None
        async with to_us:
            with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError, ValueError):
                # a line that is too long is a ValueError: the program is not fit to be talked to
                while line := await process.stdout.readline():
                    try:
                        message: Any = SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
                    except ValueError as exc:
                        message = exc
                    await to_us.send(message)

    async def write() -> None:
        assert process.stdin is not None
        with contextlib.suppress(ConnectionError, anyio.ClosedResourceError):
            async with from_us:
                async for message in from_us:
                    process.stdin.write(
                        message.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
                    )
                    await process.stdin.drain()

    tasks = [asyncio.create_task(read()), asyncio.create_task(write())]
    try:
        yield read_stream, write_stream
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for stream in (to_us, read_stream, write_stream, from_us):
            stream.close()
        await asyncio.shield(_stop(process))


async def _start(program: Program) -> asyncio.subprocess.Process:
    limits = _LIMIT.format(memory=MEMORY_BYTES, cpu=CPU_S, size=FILE_BYTES, files=OPEN_FILES)
    return await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-c", limits, program.command, *program.arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        env={"PATH": PATH, "LANG": "C.UTF-8", **program.environment}, cwd="/", start_new_session=True, limit=MAX_LINE_BYTES,
    )  # fmt: skip


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Its input ends, and so should it; its whole group is ended where it does not."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        pass
    finally:
        # the group, for what the program may have started; it is gone where nothing is left of it
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
