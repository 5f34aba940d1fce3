"""A process that has imported what roles need, and forks them: a start or a restart costs milliseconds instead of a second of imports.

The standard library's fork server would import the parent's `__main__` into each child, runs one process more, and imports
everything before its first fork; here a role's modules are imported when the first process of it is asked for.

Supervisor and server talk by a pair of Unix sockets that keep messages apart, each message one JSON object:

- to the server: `{"role": "gateway", "descriptors": [0, 7]}`, with as many descriptors, which the child has under those numbers;
- from it: `{"pid": 12}` for each of these in their order, or `{"failed": "…"}`, and `{"pid": 12, "code": -9}` when a child has ended.
"""

import asyncio
import contextlib
import gc
import logging
import os
import select
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from steelyard.base.jsondoor import encode

log = logging.getLogger("steelyard.supervisor")

#: What the server is called on its command line.
FORK_SERVER = "fork-server"
MAX_MESSAGE = 4096
#: How a child ended that nobody was left to ask about.
CODE_UNKNOWN = 255
#: One that was killed is started again after this, so that whoever dies next need not wait for its imports.
RESTART_S = 0.5
_HELD_BACK = (signal.SIGINT, signal.SIGTERM)


def can_fork() -> bool:
    """Whether roles are forked here. Elsewhere a process that has used the system's frameworks must not fork, or a lost child could
    not be watched; roles are started as programs there.
    """
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return sys.platform == "linux"


class _Request(msgspec.Struct):
    role: str
    descriptors: list[int]


class _Report(msgspec.Struct, omit_defaults=True):
    pid: int = 0
    code: int | None = None
    failed: str = ""


class Writable(Protocol):
    """Takes bytes without waiting."""

    def write(self, data: bytes) -> None: ...


class Process(Protocol):
    """What the supervisor knows of a child, forked or started as a program."""

    pid: int

    @property
    def returncode(self) -> int | None: ...

    @property
    def stdin(self) -> Writable | None: ...

    async def wait(self) -> int: ...

    def send_signal(self, number: int) -> None: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


# the server


def serve(control: socket.socket, load: Callable[[str], object], roles: Sequence[str]) -> str:
    """Forks until the supervisor has gone, and never returns but in a child: there with the role that it plays.

    Args:
        load: imports what a role needs.
        roles: to be loaded before anybody asks.
    """
    woken, wake = socket.socketpair()
    for end in (woken, wake):
        end.setblocking(False)
    # the supervisor says when to end, not the terminal or whoever signals a whole group; a child's own must wait till it can be heard
    signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    for role in roles:
        _try_load(role, load)
    with contextlib.suppress(ConnectionError):
        while True:
            readable, _, _ = select.select([control, woken], [], [])
            if woken in readable:
                with contextlib.suppress(BlockingIOError):
                    woken.recv(MAX_MESSAGE)
                _report_ended(control)
            if control in readable:
                data, descriptors, _, _ = socket.recv_fds(control, MAX_MESSAGE, 4)
                if not data:
                    break
                request = msgspec.json.decode(data, type=_Request)
                if _fork(control, request.role, load):
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for end in (control, woken, wake):
                        end.close()
                    _take(descriptors, request.descriptors)
                    signal.signal(signal.SIGINT, signal.SIG_IGN)
                    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)
                    return request.role
                for descriptor in descriptors:
                    os.close(descriptor)
    # nothing is to be tidied up: what was imported has opened nothing
    os._exit(0)


def _try_load(role: str, load: Callable[[str], object]) -> None:
    # a module that cannot be imported ends the child, with its traceback, and not the server
    with contextlib.suppress(Exception):
        load(role)


def _fork(control: socket.socket, role: str, load: Callable[[str], object]) -> bool:
    """Whether this is the child."""
    _try_load(role, load)
    # the collector must not write to pages that children could share
    gc.freeze()
    try:
        pid = os.fork()
    except OSError as exc:
        control.send(encode(_Report(failed=exc.strerror or str(exc))))
        return False
    if pid:
        control.send(encode(_Report(pid=pid)))
    return pid == 0


def _take(descriptors: Sequence[int], numbers: Sequence[int]) -> None:
    """Gives what was sent the numbers that the child's orders speak of."""
    for descriptor, number in zip(descriptors, numbers, strict=True):
        if descriptor != number:
            os.dup2(descriptor, number, inheritable=number == 0)
            os.close(descriptor)


def _report_ended(control: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        control.send(encode(_Report(pid=pid, code=os.waitstatus_to_exitcode(status))))


# the supervisor's side


class Forked:
    """A child of the server's; its standard input is a pipe of ours."""

    def __init__(self, pid: int, stdin: asyncio.WriteTransport) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdin = stdin
        self._ended = asyncio.Event()

    async def wait(self) -> int:
        """Its exit status, a signal's number below nothing."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Raises nothing where it has ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Asks it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it."""
        self.send_signal(signal.SIGKILL)

    def end(self, code: int) -> None:
        """It has ended so."""
        if self.returncode is None:
            self.returncode = code
            if not self.stdin.is_closing():
                self.stdin.abort()
            self._ended.set()


class ForkServer:
    """The server's owner: starts it, again where it was killed, and knows what became of its children."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._control: socket.socket | None = None
        #: In the order of the requests, each with the pipe that is the child's standard input.
        self._asked: deque[tuple[asyncio.Future[Forked], asyncio.WriteTransport]] = deque()
        self._forked: dict[int, Forked] = {}
        self._starting = asyncio.Lock()
        #: Roles that were asked for; a new server imports them before anybody asks again.
        self._roles: dict[str, None] = {}
        self._restart: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Starts it where it does not run."""
        async with self._starting:
            if self._control is not None:
                return
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.setblocking(False)
            with theirs:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "steelyard.assembly", FORK_SERVER, str(theirs.fileno()), *self._roles,
                    stdin=asyncio.subprocess.DEVNULL, pass_fds=(theirs.fileno(),),
                    env={**os.environ, "PYTHONUNBUFFERED": "1"},
                )  # fmt: skip
            self._control = ours
            asyncio.get_running_loop().add_reader(ours.fileno(), self._hear)

    async def fork(self, role: str, descriptors: Sequence[int] = ()) -> Forked:
        """A process that plays a role; it has `descriptors` under the numbers that they have here, and a pipe for its orders.

        Raises:
            OSError: it could not be had.
        """
        loop = asyncio.get_running_loop()
        inner, outer = os.pipe()
        try:
            pipe, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(outer, "wb", 0))
            asked: asyncio.Future[Forked] = loop.create_future()
            try:
                await self.start()
                assert self._control is not None
                self._roles[role] = None
                socket.send_fds(self._control, [encode(_Request(role, [0, *descriptors]))], [inner, *descriptors])
                self._asked.append((asked, pipe))
                return await asked
            except BaseException:
                # whoever was forked all the same reads the end of its orders, and goes
                pipe.abort()
                raise
        finally:
            os.close(inner)

    def _hear(self) -> None:
        assert self._control is not None
        while True:
            try:
                data = self._control.recv(MAX_MESSAGE)
            except BlockingIOError:
                return
            except ConnectionError:
                data = b""
            if not data:
                self._lose()
                return
            self._take_report(msgspec.json.decode(data, type=_Report))

    def _take_report(self, report: _Report) -> None:
        if report.code is not None:
            self._end(report.pid, report.code)
            return
        asked, pipe = self._asked.popleft()
        if asked.done():
            return
        if report.failed:
            asked.set_exception(OSError(report.failed))
        else:
            # known from here on: the next message may tell of its end
            forked = self._forked[report.pid] = Forked(report.pid, pipe)
            asked.set_result(forked)

    def _end(self, pid: int, code: int) -> None:
        forked = self._forked.pop(pid, None)
        if forked is not None:
            forked.end(code)

    def _lose(self) -> None:
        """The server has gone: its children live on, and are watched one by one."""
        self._let_go()
        while self._asked:
            asked, _ = self._asked.popleft()
            if not asked.done():
                asked.set_exception(OSError("the fork server ended"))
        for pid in list(self._forked):
            self._adopt(pid)
        log.warning("the fork server ended and is started again")
        self._restart = asyncio.get_running_loop().create_task(self._start_again())

    async def _start_again(self) -> None:
        await asyncio.sleep(RESTART_S)
        # where it cannot be had now, the next child asks for it
        with contextlib.suppress(OSError):
            await self.start()

    def _adopt(self, pid: int) -> None:
        try:
            watched = os.pidfd_open(pid)
        except ProcessLookupError:
            self._end(pid, CODE_UNKNOWN)
            return
        loop = asyncio.get_running_loop()

        def ended() -> None:
            loop.remove_reader(watched)
            os.close(watched)
            # it is ours to bury where we are the first process, as in a container
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            self._end(pid, CODE_UNKNOWN)

        loop.add_reader(watched, ended)

    def _let_go(self) -> None:
        if self._control is not None:
            asyncio.get_running_loop().remove_reader(self._control.fileno())
            self._control.close()
            self._control = None

    async def close(self) -> None:
        """Ends the server; its children have ended, or live on."""
        if self._restart is not None:
            self._restart.cancel()
            await asyncio.gather(self._restart, return_exceptions=True)
        self._let_go()
        if self._process is not None:
            await self._process.wait()
