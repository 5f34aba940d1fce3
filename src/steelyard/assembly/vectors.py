"""The host of the embedded embedding and rerank models, behind the OpenAI wire."""

import os

import uvicorn

from steelyard.assembly.orders import Orders
from steelyard.assembly.process import DRAIN_S, background, die_with_parent, make_server
from steelyard.base.metrics import Registry
from steelyard.base.metrics_port import open_metrics_port
from steelyard.declared import VECTORS, engine_socket
from steelyard.engines import llama
from steelyard.engines.vector_host import VectorHost
from steelyard.engines.vectors import VectorModels

VECTORS_NICENESS = 15


async def run_vectors(orders: Orders) -> None:
    """The embedded embedding and rerank models behind the OpenAI wire. Nothing is loaded before it is asked for."""
    settings = orders.settings
    # documents are embedded by the thousand: whoever calls a vendor's model meanwhile goes first
    os.nice(VECTORS_NICENESS)
    registry = Registry()
    path = engine_socket(settings, VECTORS)
    path.unlink(missing_ok=True)
    # half of the cores: the other half answers while documents come in
    host = VectorHost(VectorModels(settings.engines.threads or max(llama.default_threads() // 2, 1)), registry)
    config = uvicorn.Config(
        host, uds=str(path), ws="none", lifespan="off", log_config=None, access_log=False, timeout_keep_alive=75,
        timeout_graceful_shutdown=DRAIN_S,
    )  # fmt: skip
    name = f"vectors-{orders.boot_id}-{os.getpid()}"
    async with (
        await open_metrics_port(settings.run_dir, name, registry, host.refresh),
        background(die_with_parent()),
    ):
        await make_server(config).serve()
    os._exit(0)
