"""The app host: runs apps and calls tools of plugins. What plugins' servers do to it, it does to no other process."""

import contextlib
import logging
import os
import signal

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from steelyard.apps.asking import Asking
from steelyard.apps.runner import Runner
from steelyard.assembly.app_parts import AppParts
from steelyard.assembly.orders import APPS_SOCKET, Orders
from steelyard.assembly.process import background, die_with_parent, drain_patiently_on, make_server, repeat
from steelyard.assembly.records import open_records
from steelyard.base.metrics import Registry
from steelyard.base.metrics_port import open_metrics_port
from steelyard.base.tokens import Signer
from steelyard.gateway.journal import Journal
from steelyard.tasks.caller import Caller
from steelyard.upstream.pool import Pool, parse_origin
from steelyard.web.app_host_api import AppHostApi
from steelyard.web.mcp_api import PREFIX, McpApi

APPS_NICENESS = 2
SWEEP_LINKS_S = 15.0
SWEEP_SESSIONS_S = 300.0


async def run_apps(orders: Orders) -> None:
    """Runs the role."""
    for name in ("mcp", "httpx2"):
        # a line for every request says nothing to an operator
        logging.getLogger(name).setLevel(logging.WARNING)
    settings = orders.settings
    os.nice(APPS_NICENESS)
    master_key = bytes.fromhex(orders.master_key)
    registry = Registry()
    journal = Journal(settings.journal_dir, orders.boot_id)
    async with await open_records(settings) as database, Pool() as pool, contextlib.AsyncExitStack() as stack:
        parts = AppParts(settings, database, pool, master_key, boot_id=orders.boot_id)
        stack.push_async_callback(parts.close)
        origin = parse_origin(settings.local_url)
        asking = Asking(Caller(database, pool, origin, Signer(master_key)), pool, origin)
        runner = Runner(parts.book, parts.kits, parts.memory, asking, parts.platform, journal)
        api = AppHostApi(runner, parts.links.look, parts.call)
        mcp = McpApi(parts.kits, parts.book, runner, parts.platform, journal)
        stack.push_async_callback(mcp.close)
        runs = registry.gauge("llm_app_runs", "Runs of apps and of calls with tools under way.", ())
        app = Starlette(routes=[*api.routes(), Mount(PREFIX.rstrip("/"), mcp)])
        app.router.redirect_slashes = False
        path = settings.run_dir / APPS_SOCKET
        path.unlink(missing_ok=True)
        config = uvicorn.Config(
            app, uds=str(path), ws="none", lifespan="off", log_config=None, access_log=False,
            timeout_keep_alive=75, timeout_graceful_shutdown=5,
        )  # fmt: skip
        name = f"apps-{orders.boot_id}-{os.getpid()}"
        async with (
            background(
                die_with_parent(),
                journal.keep_synced(),
                repeat("closing connections to plugins", SWEEP_LINKS_S, parts.links.sweep),
                repeat("forgetting sessions", SWEEP_SESSIONS_S, parts.memory.sweep),
            ),
            # the supervisor takes this port for our being ready
            await open_metrics_port(settings.run_dir, name, registry, lambda: runs.set((), api.running)),
        ):
            server = make_server(config)
            drain_patiently_on(signal.SIGUSR1, server)
            await server.serve()
    journal.close()
