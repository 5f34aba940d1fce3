"""A data-plane process. Imports neither Starlette nor SQLAlchemy."""

import asyncio
import os
import signal
from pathlib import Path

import uvicorn

from steelyard.assembly.orders import APPS_SOCKET, FACE_SOCKET, MONITOR_SOCKET, Orders
from steelyard.assembly.process import (
    BACKLOG,
    DRAIN_S,
    background,
    die_with_parent,
    drain_patiently_on,
    listeners,
    make_server,
    settle_heap,
)
from steelyard.base.metrics import Registry
from steelyard.base.metrics_port import open_metrics_port
from steelyard.base.outbox import Outbox
from steelyard.base.segments import get_machine_id, owner_of, stem_of
from steelyard.base.tokens import Signer
from steelyard.dialects.crossing import Wires
from steelyard.dialects.dialect import by_path
from steelyard.dialects.links import OwnLinks
from steelyard.dialects.table import DIALECTS, INNER, TASK_OPERATIONS
from steelyard.gateway.admission import STALE_S, Admission
from steelyard.gateway.allowance import Allowances
from steelyard.gateway.answer_cache import AnswerCache
from steelyard.gateway.asgi import App
from steelyard.gateway.checking import Checker
from steelyard.gateway.contents import Contents
from steelyard.gateway.core import Core
from steelyard.gateway.errands import Errands
from steelyard.gateway.face_link import FaceLink
from steelyard.gateway.fastlane import FastLane, sweep_connections
from steelyard.gateway.journal import Journal
from steelyard.gateway.passages import Passages
from steelyard.gateway.relay import Relay
from steelyard.gateway.tasks import Counter
from steelyard.policy.meter import Meter
from steelyard.upstream.pool import Origin, Pool

FIRST_NEWS_S = 5.0


async def run_gateway(orders: Orders) -> None:
    """A data-plane process. Imports neither Starlette nor SQLAlchemy."""
    settings = orders.settings
    registry = Registry()
    meter = Meter(registry)
    loop = asyncio.get_running_loop()
    journal = Journal(settings.journal_dir, orders.boot_id)
    operations = by_path((*DIALECTS, *TASK_OPERATIONS))
    outbox = Outbox()
    outbox.keep_records = journal.keep_enlisted
    async with Pool(outbox) as pool:
        owner = owner_of(get_machine_id(Path(settings.data_dir)), stem_of(orders.boot_id, os.getpid()))
        face = FaceLink(
            pool,
            Origin("face", 80, unix_path=str(settings.run_dir / FACE_SOCKET)),
            Origin("monitor", 80, unix_path=str(settings.run_dir / MONITOR_SOCKET)),
            Origin("apps", 80, unix_path=str(settings.run_dir / APPS_SOCKET)),
            owner,
        )
        allowances = Allowances(face)
        admission = Admission(face, Signer(bytes.fromhex(orders.master_key)), settings.server.trusted_proxies)
        core = Core(
            admission,
            allowances,
            Relay(pool, meter, Wires((*DIALECTS, *INNER))),
            journal,
            meter,
            face,
            face,
            AnswerCache(face),
            Checker(pool),
            face,
            face,
            Counter(face),
            Passages(face),
            Contents(face, OwnLinks(settings.link_origin, relays=settings.outbound.relay == "always")),
            Errands(settings.run_dir / APPS_SOCKET),
            max_body_bytes=settings.server.max_body_bytes,
        )
        app = App(
            core,
            operations,
            face,
            lambda: loop.time() - admission.fresh_at < STALE_S,
            max_file_bytes=settings.objects.max_file_bytes,
        )
        config = uvicorn.Config(
            app,
            http=FastLane.bound_to(core, operations, outbox),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=DRAIN_S,
            backlog=BACKLOG,
        )
        server = make_server(config)
        name = f"gateway-{orders.boot_id}-{os.getpid()}"
        async with background(
            die_with_parent(),
            face.follow_changes(admission, allowances),
            allowances.keep_swept(),
            journal.keep_synced(),
            sweep_connections(server.server_state.connections, lambda count: meter.connections.set((), count)),
        ):
            # nobody is accepted who could only be refused; the supervisor takes the port below for our being ready
            await admission.wait_first_news(FIRST_NEWS_S)
            async with await open_metrics_port(settings.run_dir, name, registry):
                settle_heap()
                drain_patiently_on(signal.SIGUSR1, server)
                await server.serve(listeners(orders.listen_fd))
    journal.close()
