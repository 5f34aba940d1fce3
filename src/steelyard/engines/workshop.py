"""Where embedded media engines work, and where what callers send is decoded: each job in a child process of its own, under limits."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: The embedded engines by their model names.
POSTER, DIFFUSION, CAMERA, WHISPER, PIPER = (
    "poster", "stable-diffusion", "camera-motion", "whisper-base", "piper-joe",
)  # fmt: skip
TIMEOUT_S = 900.0
MAX_LINE_BYTES = 1_048_576


class WorkshopError(Exception):
    """A job failed.

    Args:
        kind: "picture", "recording", "text", "document" (what was sent is at fault), "weights" (the operator's), "missing" (an extra is not installed), "limit", "disk" or "crash".
    """

    def __init__(self, text: str, kind: str) -> None:
        super().__init__(text)
        self.kind = kind


class Workshop:
    """Runs jobs.

    Args:
        slots: how many at once.
        program: the module that the child runs; see `engines.child`.
    """

    def __init__(
        self, slots: int, program: str = "steelyard.engines.workshop_child", timeout_s: float = TIMEOUT_S
    ) -> None:
        self._program = program
        self._timeout_s = timeout_s
        self._slots = asyncio.Semaphore(slots)

    async def run(
        self, job: str, asked: dict[str, Any], out: Path, *, tell: Callable[[float], None] | None = None
    ) -> dict[str, Any]:
        """Does a job; its files lie in `out`.

        Raises:
            WorkshopError: it failed.
        """
        async with self._slots:
            return await self._run({**asked, "job": job, "out": str(out)}, tell)

    async def _run(self, order: dict[str, Any], tell: Callable[[float], None] | None) -> dict[str, Any]:
        # of the environment only what a Python needs: no secret goes into a process that decodes strangers' files
        kept = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONPATH", "TMPDIR", "SYSTEMROOT")
        environment = {name: os.environ[name] for name in kept if name in os.environ}
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", self._program,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env=environment, start_new_session=True, limit=MAX_LINE_BYTES,
        )  # fmt: skip
        assert process.stdin is not None
        try:
            async with asyncio.timeout(order.get("timeout_s", self._timeout_s)):
                process.stdin.write(json.dumps(order).encode() + b"\n")
                with contextlib.suppress(ConnectionError):
                    await process.stdin.drain()
                process.stdin.close()
                return await self._listen(process, tell)
        except TimeoutError:
            raise WorkshopError("the job took longer than it may", "limit") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    @staticmethod
    async def _listen(process: asyncio.subprocess.Process, tell: Callable[[float], None] | None) -> dict[str, Any]:
        assert process.stdout is not None
        async for line in process.stdout:
            said = json.loads(line)
            if "done" in said:
                done: dict[str, Any] = said["done"]
                return done
            if "error" in said:
                raise WorkshopError(said["error"], said["kind"])
            if tell is not None:
                tell(said["progress"])
        code = await process.wait()
        if code in (-signal.SIGXCPU, -signal.SIGKILL, -signal.SIGXFSZ):
            raise WorkshopError("the job took more than it may", "limit")
        raise WorkshopError(f"the job's process ended with {code}", "crash")


def is_film_possible() -> bool:
    """Whether the extra for films is installed."""
    return _is_installed("av")


def is_diffusion_possible() -> bool:
    """Whether the extra for a diffusion model is installed."""
    return _is_installed("stable_diffusion_cpp")


def is_hearing_possible() -> bool:
    """Whether the extra for texts of speech is installed."""
    return _is_installed("faster_whisper")


def is_speech_possible() -> bool:
    """Whether the extra for speech of texts is installed."""
    return _is_installed("piper")


def _is_installed(module: str) -> bool:
    """Whether a module is there. It is not imported for that."""
    from importlib.util import find_spec

    return find_spec(module) is not None
