"""The parent of all processes: binds the port, starts the roles and keeps them running.

It opens no database, so that it starts quickly and stays small: the face, of which there is one, migrates and carries
what the last run left in its journals before it answers anybody, and no gateway is ready before that.
"""

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from steelyard.assembly.data_dir import prepare_data_dir
from steelyard.assembly.fork_server import ForkServer, Process, can_fork
from steelyard.assembly.orders import EXIT_SETUP, FACE_SOCKET, Orders, encode_orders
from steelyard.assembly.process import BACKLOG
from steelyard.base.clock import monotonic
from steelyard.base.errors import SetupFault
from steelyard.base.metrics_port import SUFFIX
from steelyard.base.secrets import load_master_key, parse_master_key
from steelyard.config import Settings, resolve_secret
from steelyard.engines import vectors
from steelyard.engines.catalogue import MODELS
from steelyard.engines.llama import PROCESS_ENVIRONMENT
from steelyard.engines.weights import is_present

log = logging.getLogger("steelyard.supervisor")

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
REPLACE_TIMEOUT_S = 10.0
#: A child that ends within this time of its start is restarted more slowly.
QUICK_DEATH_S = 2.0
MAX_BACKOFF_S = 2.0
#: Their native libraries are told at their start what they may do, and need not be in anybody else's memory.
PROGRAMS = ("engine", "vectors")


@dataclass(slots=True)
class Child:
    """A process of a role."""

    role: str
    model: str = ""
    process: Process | None = None
    started_at: float = 0.0
    quick_deaths: int = 0
    watcher: asyncio.Task[None] | None = None
    is_stopping: bool = False
    #: (role, model) for people
    title: str = field(init=False)

    def __post_init__(self) -> None:
        self.title = f"{self.role} {self.model}".strip()


def get_master_key(settings: Settings) -> bytes:
    """The installation's master key: from the settings, else from `secret.key`, made on the first start."""
    if settings.server.master_key:
        return parse_master_key(resolve_secret(settings.server.master_key, "server.master_key"), "server.master_key")
    return load_master_key(Path(settings.data_dir) / "secret.key")


def bind(settings: Settings) -> socket.socket:
    """The listening socket that all gateways share.

    Raises:
        SetupFault: the port is taken or the address is not ours.
    """
    host, port = settings.server.host, settings.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as exc:
        listener.close()
        if exc.errno == errno.EADDRINUSE:
            raise SetupFault(
                f"Port {port} on {host} is taken; stop what uses it or choose another with --port."
            ) from None
        raise SetupFault(f"Cannot listen on {host}:{port}: {exc.strerror}.") from None
    except OverflowError:
        listener.close()
        raise SetupFault(f"Port {port} does not exist; choose one in 1 to 65535.") from None
    listener.setblocking(False)
    return listener


class Supervisor:
    """Runs until told to stop."""

    def __init__(self, settings: Settings, reload_settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self._reload_settings = reload_settings
        self._boot_id = secrets.token_hex(4)
        self._fork_server = ForkServer()
        self._forks = can_fork()
        self._children: list[Child] = []
        #: Replaced gateways and app hosts that still have calls.
        self._draining: list[Process] = []
        self._drain_tasks: set[asyncio.Task[int]] = set()
        self._stop = asyncio.Event()
        self._reloads: set[asyncio.Task[None]] = set()
        self._reloading = asyncio.Lock()
        self._master_key = b""
        self._setup_failed = False
        #: From then on a child that cannot start is tried again: a full disk today is no reason to stop answering.
        self._is_ready = False
        self._listener: socket.socket

    async def run(self, on_ready: Callable[[Settings], None]) -> None:
        """Starts everything, calls `on_ready` when calls are answered, returns when stopped."""
        settings = self._settings
        prepare_data_dir(settings)
        lock = self._lock_data_dir()
        self._master_key = get_master_key(settings)
        self._listener = bind(settings)
        self._clean_run_dir()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._begin_reload)
        try:
            # gateways are soon imported, and begin while the face is; engines load behind a server that answers already
            for role in (*["gateway"] * settings.server.workers, "face"):
                await self._add(Child(role))
            await self._wait_ready()
            if not self._stop.is_set():
                self._is_ready = True
                on_ready(settings)
                for _ in range(settings.tasks.workers):
                    await self._add(Child("worker"))
                await self._add(Child("apps"))
                if settings.monitor.url != "off":
                    await self._add(Child("monitor"))
            follower = asyncio.create_task(self._follow_weights())
            await self._stop.wait()
            follower.cancel()
        finally:
            await self._stop_all()
            await self._fork_server.close()
            self._listener.close()
            lock.close()
        if self._setup_failed:
            # the face has said why, in one sentence
            sys.exit(1)

    async def _add(self, child: Child) -> None:
        try:
            await self._spawn(child)
        except OSError as exc:
            raise SetupFault(f"The process {child.title} could not be started: {exc.strerror or exc}.") from None
        child.watcher = asyncio.create_task(self._watch(child))
        self._children.append(child)

    # starting

    def _lock_data_dir(self) -> IO[str]:
        lock = (Path(self._settings.data_dir) / ".lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise SetupFault(
                f"Another server runs on the data directory {self._settings.data_dir}; stop it or use another --data-dir."
            ) from None
        return lock

    def _clean_run_dir(self) -> None:
        for path in self._settings.run_dir.glob("*.sock"):
            path.unlink(missing_ok=True)
        for path in self._settings.journal_dir.glob("*.new"):
            path.unlink(missing_ok=True)

    def _installed_models(self) -> list[str]:
        settings = self._settings
        if settings.embedded_names == "off" and settings.providers:
            return []
        models_dir = Path(settings.models_dir)
        return [name for name in settings.engines.load if name in MODELS and is_present(models_dir, MODELS[name])]

    def _has_vectors(self) -> bool:
        settings = self._settings
        is_off = settings.embedded_names == "off" and settings.providers
        return settings.engines.vectors and not is_off and vectors.is_installed()

    async def _spawn(self, child: Child) -> None:
        """Starts a process of the child's role and gives it its orders."""
        listener = self._listener.fileno() if child.role == "gateway" else -1
        descriptors = (listener,) if child.role == "gateway" else ()
        if self._forks and child.role not in PROGRAMS:
            child.process = await self._fork_server.fork(child.role, descriptors)
        else:
            child.process = await _start_program(child.role, descriptors)
        child.started_at = monotonic()
        orders = Orders(
            settings=self._settings,
            boot_id=self._boot_id,
            master_key=self._master_key.hex(),
            listen_fd=listener,
            model=child.model,
        )
        assert child.process.stdin is not None
        # the pipe stays open: its end tells the child that we are gone
        child.process.stdin.write(encode_orders(orders))

    async def _watch(self, child: Child) -> None:
        """Restarts a child that ends."""
        while True:
            assert child.process is not None
            code = await child.process.wait()
            if child.is_stopping or self._stop.is_set():
                return
            if code == EXIT_SETUP and not self._is_ready:
                self._setup_failed = True
                self._stop.set()
                return
            lived_s = monotonic() - child.started_at
            child.quick_deaths = child.quick_deaths + 1 if lived_s < QUICK_DEATH_S else 0
            delay_s = min(0.1 * 2**child.quick_deaths, MAX_BACKOFF_S) if child.quick_deaths > 1 else 0.0
            log.warning("%s ended with %s and is started again", child.title, code)
            await asyncio.sleep(delay_s)
            await self._respawn(child)

    async def _respawn(self, child: Child) -> None:
        """Tries until there is a process: memory that is short today is no reason to do without one tomorrow."""
        while True:
            try:
                return await self._spawn(child)
            except OSError as exc:
                log.error("%s cannot be started: %s", child.title, exc)
                await asyncio.sleep(MAX_BACKOFF_S)

    async def _wait_ready(self) -> None:
        give_up_at = monotonic() + READY_TIMEOUT_S
        host, port = self._listener.getsockname()[:2]
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
        while monotonic() < give_up_at and not self._stop.is_set():
            if await _is_ready(host, port):
                return
            await asyncio.sleep(0.02)
        if not self._stop.is_set():
            raise SetupFault("The server did not become ready within 30 s; its log above says why.")

    # while running

    async def _follow_weights(self) -> None:
        """Each embedded model whose weights are there has an engine host, also when they are pulled while we run."""
        while True:
            try:
                await self._add_engines()
            except SetupFault as failure:
                log.error("%s", failure)
            await asyncio.sleep(1.0)

    async def _add_engines(self) -> None:
        running = {child.model for child in self._children if child.role == "engine"}
        for name in self._installed_models():
            if name not in running:
                await self._add(Child("engine", name))
        if self._has_vectors() and not any(child.role == "vectors" for child in self._children):
            await self._add(Child("vectors"))

    def _begin_reload(self) -> None:
        task = asyncio.create_task(self._reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload(self) -> None:
        """One reload after the other: two at once would each start a successor of the same process."""
        async with self._reloading:
            await self._reload_alone()

    async def _reload_alone(self) -> None:
        """SIGHUP: an invalid file keeps the old settings; a valid one replaces the processes one by one."""
        try:
            settings = self._reload_settings()
        except SetupFault as failure:
            log.error("the configuration was not reloaded: %s", failure)
            return
        fixed = (self._settings.server.host, self._settings.server.port, self._settings.server.workers)
        if (settings.server.host, settings.server.port, settings.server.workers) != fixed:
            log.warning("host, port and workers take effect at the next start")
        self._settings = settings
        for role in ("face", "gateway", "worker", "apps", "monitor"):
            for child in [one for one in self._children if one.role == role]:
                await self._replace(child)
        log.info("the configuration was reloaded")

    async def _replace(self, child: Child) -> None:
        """Starts the successor first: a gateway's port is never without a reader."""
        old, watcher = child.process, child.watcher
        if watcher is not None:
            watcher.cancel()
        drains = child.role in ("gateway", "apps")
        if drains and old is not None:
            self._note_leaving(old)
        elif old is not None:
            # a named socket or a store has one owner, a worker gives back what it has: the successor must come after
            await _terminate(old, STOP_TIMEOUT_S)
        await self._respawn(child)
        child.watcher = asyncio.create_task(self._watch(child))
        if child.role == "face":
            # gateways wait for it: it has the processors to itself until it is back
            await self._wait_face()
        if drains and old is not None:
            await self._wait_listening(child)
            with contextlib.suppress(ProcessLookupError):
                old.send_signal(signal.SIGUSR1)

    async def _wait_face(self) -> None:
        """Returns when the face answers, or has had time enough to."""
        give_up_at = monotonic() + REPLACE_TIMEOUT_S
        while monotonic() < give_up_at:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_unix_connection(self._settings.run_dir / FACE_SOCKET)
                writer.close()
                return
            await asyncio.sleep(0.02)

    async def _wait_listening(self, child: Child) -> None:
        """Returns when a gateway or the app host takes calls, or has had time enough to."""
        give_up_at = monotonic() + REPLACE_TIMEOUT_S
        while monotonic() < give_up_at:
            assert child.process is not None
            if (self._settings.run_dir / f"{child.role}-{self._boot_id}-{child.process.pid}{SUFFIX}").exists():
                # it listens a moment after
                await asyncio.sleep(0.1)
                return
            await asyncio.sleep(0.02)

    def _note_leaving(self, process: Process) -> None:
        """A replaced process ends when its last call has, or with the supervisor."""
        self._draining.append(process)
        task = asyncio.create_task(process.wait())
        self._drain_tasks.add(task)

        def gone(done: "asyncio.Task[int]") -> None:
            self._drain_tasks.discard(done)
            self._draining.remove(process)

        task.add_done_callback(gone)

    # stopping

    async def _stop_all(self) -> None:
        # a reload would go on starting successors
        for task in self._reloads:
            task.cancel()
        await asyncio.gather(*self._reloads, return_exceptions=True)
        children = self._children
        # gateways first: the face still takes their last receipts
        for group in (("gateway",), ("engine", "vectors", "worker", "monitor", "apps", "face")):
            chosen = [child for child in children if child.role in group]
            for child in chosen:
                child.is_stopping = True
                if child.watcher is not None:
                    child.watcher.cancel()
            ending = [one.process for one in chosen if one.process]
            if "gateway" in group:
                ending += self._draining
            await asyncio.gather(*(_terminate(one, STOP_TIMEOUT_S) for one in ending))


async def _start_program(role: str, descriptors: Sequence[int]) -> Process:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", **(PROCESS_ENVIRONMENT if role in PROGRAMS else {})}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "steelyard.assembly", role,
        stdin=asyncio.subprocess.PIPE, pass_fds=descriptors, env=environment,
    )  # fmt: skip


async def _terminate(process: Process, timeout_s: float) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(timeout_s):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _is_ready(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(2.0):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            line = await reader.readline()
            writer.close()
    except (OSError, TimeoutError):
        return False
    return b" 200 " in line
