"""The app host: runs apps and calls tools of plugins. What plugins' servers do to it, it does to no other process."""

import contextlib
import logging
import os
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from steelyard.apps.asking import Asking
from steelyard.apps.book import AppBook
from steelyard.apps.credentials import Credentials
from steelyard.apps.kits import Kits
from steelyard.apps.mcp_kit import McpLinks
from steelyard.apps.mcp_link import Openings
from steelyard.apps.memory import Memory
from steelyard.apps.runner import Runner
from steelyard.apps.surroundings import Platform
from steelyard.assembly.app_control import make_plugin_book
from steelyard.assembly.media import READER_SLOTS, make_fetcher
from steelyard.assembly.orders import APPS_SOCKET, FACE_SOCKET, MONITOR_SOCKET, Orders
from steelyard.assembly.process import background, die_with_parent, make_server, repeat
from steelyard.assembly.records import open_records
from steelyard.base.metrics import Registry
from steelyard.base.metrics_port import open_metrics_port
from steelyard.base.sealing import Sealer
from steelyard.base.segments import get_machine_id, owner_of, stem_of
from steelyard.base.tokens import Signer
from steelyard.config import resolve_secret
from steelyard.declared import trusted_hosts
from steelyard.gateway.face_link import FaceLink
from steelyard.gateway.journal import Journal
from steelyard.knowledge.reader import Reader
from steelyard.tasks.caller import Caller
from steelyard.upstream.pool import Origin, Pool, parse_origin
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
        owner = owner_of(get_machine_id(Path(settings.data_dir)), stem_of(orders.boot_id, os.getpid()))
        face = FaceLink(
            pool,
            Origin("face", 80, unix_path=str(settings.run_dir / FACE_SOCKET)),
            Origin("monitor", 80, unix_path=str(settings.run_dir / MONITOR_SOCKET)),
            Origin("apps", 80, unix_path=str(settings.run_dir / APPS_SOCKET)),
            owner,
        )
        fetcher = make_fetcher(settings)
        work_dir = Path(settings.data_dir) / "spool"
        work_dir.mkdir(exist_ok=True)
        sealer = Sealer(master_key)
        credentials = Credentials(sealer, resolve_secret)
        links = McpLinks(Openings(fetcher, credentials), trusted_hosts(settings))
        stack.push_async_callback(links.close)
        book = AppBook(database)
        plugins = make_plugin_book(settings, database, sealer, links.look)
        kits = Kits(plugins, links, fetcher, credentials, trusted_hosts(settings))
        platform = Platform(database, face, fetcher, Reader(READER_SLOTS, work_dir), work_dir)
        memory = Memory(database)
        origin = parse_origin(settings.local_url)
        asking = Asking(Caller(database, pool, origin, Signer(master_key)), pool, origin)
        runner = Runner(book, kits, memory, asking, platform, journal)
        api, mcp = AppHostApi(runner, links, kits, platform), McpApi(kits, book, runner, platform, journal)
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

        def refresh() -> None:
            runs.set((), api.running)

        async with (
            background(
                die_with_parent(),
                journal.keep_synced(),
                repeat("closing connections to plugins", SWEEP_LINKS_S, links.sweep),
                repeat("forgetting sessions", SWEEP_SESSIONS_S, memory.sweep),
            ),
            await open_metrics_port(settings.run_dir, name, registry, refresh),
            mcp.open(),
        ):
            await make_server(config).serve()
    journal.close()
