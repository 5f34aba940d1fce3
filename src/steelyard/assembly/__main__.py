"""Entry of a child process."""

import gc
import importlib
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop
from setproctitle import setproctitle

from steelyard.assembly.fork_server import FORK_SERVER, serve
from steelyard.assembly.orders import EXIT_SETUP, Orders, read_orders
from steelyard.base.errors import SetupFault
from steelyard.base.logs import open_log

ROLES = ("gateway", "face", "worker", "monitor", "apps", "engine", "vectors")
#: Imported later by what the role's own module imports, and needed at once.
_ALSO = {
    "gateway": ("uvicorn.protocols.http.httptools_impl",),
    "face": ("uvicorn.protocols.http.httptools_impl", "sqlalchemy.dialects.sqlite.aiosqlite"),
    "monitor": ("uvicorn.protocols.http.httptools_impl",),
    "apps": ("uvicorn.protocols.http.httptools_impl", "sqlalchemy.dialects.sqlite.aiosqlite"),
    "worker": ("sqlalchemy.dialects.sqlite.aiosqlite",),
    "engine": ("uvicorn.protocols.http.httptools_impl",),
    "vectors": ("uvicorn.protocols.http.httptools_impl",),
}


def load(role: str) -> Callable[[Orders], Coroutine[Any, Any, None]]:
    """Imports all that a role needs at once; what runs it."""
    for module in _ALSO[role]:
        importlib.import_module(module)
    run: Callable[[Orders], Coroutine[Any, Any, None]] = getattr(
        importlib.import_module(f"steelyard.assembly.{role}"), f"run_{role}"
    )
    return run


def main() -> None:
    """Runs a role, or the server that forks them."""
    role = sys.argv[1]
    setproctitle(f"steelyard: {role}")
    # nothing that is imported ever goes away: looking for garbage in it would take a sixth of the start
    gc.disable()
    if role == FORK_SERVER:
        role = serve(socket.socket(fileno=int(sys.argv[2])), load, sys.argv[3:])
        setproctitle(f"steelyard: {role}")
    run = load(role)
    gc.freeze()
    gc.enable()
    orders = read_orders()
    if orders.model:
        setproctitle(f"steelyard: {role} {orders.model}")
    open_log(role)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        uvloop.run(run(orders))
    except SetupFault as failure:
        print(failure, file=sys.stderr, flush=True)  # noqa: T201
        sys.exit(EXIT_SETUP)


if __name__ == "__main__":
    main()
