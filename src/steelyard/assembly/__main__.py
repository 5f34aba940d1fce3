"""Entry of a child process."""

import gc
import importlib
import signal
import sys

import uvloop

from steelyard.assembly.orders import EXIT_SETUP, read_orders
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


def main() -> None:
    """Runs a role."""
    role = sys.argv[1]
    # nothing that is imported ever goes away: looking for garbage in it would take a sixth of the start
    gc.disable()
    for module in _ALSO[role]:
        importlib.import_module(module)
    run = getattr(importlib.import_module(f"steelyard.assembly.{role}"), f"run_{role}")
    gc.freeze()
    gc.enable()
    orders = read_orders()
    open_log(role)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        uvloop.run(run(orders))
    except SetupFault as failure:
        print(failure, file=sys.stderr, flush=True)  # noqa: T201
        sys.exit(EXIT_SETUP)


if __name__ == "__main__":
    main()
