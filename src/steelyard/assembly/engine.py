"""The host of one embedded chat model, behind the OpenAI wire."""

import asyncio
import logging
import os
from pathlib import Path

import uvicorn

from steelyard.assembly.orders import Orders
from steelyard.assembly.process import DRAIN_S, background, die_with_parent, make_server
from steelyard.base.errors import SetupFault
from steelyard.base.metrics import Registry
from steelyard.base.metrics_port import open_metrics_port
from steelyard.declared import engine_socket
from steelyard.engines import llama
from steelyard.engines.catalogue import MODELS
from steelyard.engines.generation import Generator
from steelyard.engines.host import HostApp
from steelyard.engines.weights import is_intact, pull, weights_path
from steelyard.upstream.pool import Origin, Pool


async def run_engine(orders: Orders) -> None:
    """One embedded model behind the OpenAI wire."""
    settings = orders.settings
    model = MODELS[orders.model]
    registry = Registry()
    path = engine_socket(settings, model.name)
    path.unlink(missing_ok=True)
    loop = asyncio.get_running_loop()
    async with Pool() as pool:
        host = HostApp(model, registry)
        config = uvicorn.Config(
            host, uds=str(path), ws="none", lifespan="off", log_config=None, access_log=False, timeout_keep_alive=75,
            timeout_graceful_shutdown=DRAIN_S,
        )  # fmt: skip

        async def load() -> None:
            listener = settings.run_dir / f"llama-{model.name}.sock"
            slots = min(settings.engines.slots, model.slots) if settings.engines.slots else model.slots
            threads = settings.engines.threads or llama.default_threads()
            log = logging.getLogger("steelyard.engine")

            def verify_and_load() -> llama.Loaded:
                # damage is never answered from: the hash is checked at every start, and mended by a new pull
                models_dir = Path(settings.models_dir)
                if not is_intact(models_dir, model):
                    log.error("the weights of %s are corrupt and are pulled again", model.name)
                    pull(models_dir, model, lambda *_: None)
                return llama.load(model, weights_path(models_dir, model), listener, slots=slots, threads=threads)

            try:
                loaded = await loop.run_in_executor(None, verify_and_load)
            except SetupFault as failure:
                log.error("%s", failure)
                os._exit(3)
            origin = Origin("engine", 80, unix_path=str(loaded.socket_path))
            host.keep = loaded
            host.ready(Generator(pool, origin, loaded.secret, model, slots))

        name = f"engine-{orders.boot_id}-{os.getpid()}"
        async with (
            await open_metrics_port(settings.run_dir, name, registry, host.refresh),
            background(die_with_parent(), load()),
        ):
            await make_server(config).serve()
    # the engine's threads would hold the process up for seconds; everything of ours is closed
    os._exit(0)
