"""The task queue's hands: pictures, films, speech, batches, questions to vendors, notices."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from steelyard.assembly.knowledge import knowledge_runners, open_index
from steelyard.assembly.media import make_fetcher, open_shelf
from steelyard.assembly.orders import Orders
from steelyard.assembly.process import background, die_with_parent
from steelyard.base.lifetimes import read_ttl_s
from steelyard.base.metrics import Registry
from steelyard.base.metrics_port import open_metrics_port
from steelyard.base.sealing import Sealer
from steelyard.base.segments import get_machine_id, owner_of, stem_of
from steelyard.base.tokens import Signer
from steelyard.canon.model import Model
from steelyard.canon.task import (
    BATCH,
    CALLS_LANE,
    EMBEDDINGS,
    IMAGE,
    LOCAL_LANE,
    SPEECH,
    TRANSCRIPTION,
    VENDOR_LANE,
    VIDEO,
)
from steelyard.config import Settings, resolve_secret
from steelyard.control.model_book import ModelBook
from steelyard.declared import make_catalogue, make_stored
from steelyard.engines.workshop import Workshop
from steelyard.store.database import open_database
from steelyard.tasks.batches import BatchRunner
from steelyard.tasks.caller import Caller
from steelyard.tasks.contents import Contents
from steelyard.tasks.embedding_file import EmbeddingFileRunner
from steelyard.tasks.job import Runner
from steelyard.tasks.local import LocalRunner
from steelyard.tasks.media import MediaRunner
from steelyard.tasks.messenger import Messenger
from steelyard.tasks.openai_media import OpenaiRunner
from steelyard.tasks.poller import Poller
from steelyard.tasks.vendor import VendorRunner
from steelyard.tasks.worker import Worker
from steelyard.upstream.pool import Pool, parse_origin

WORKER_NICENESS = 15
#: Tasks under way at vendors: each is an entry in a heap and a future.
VENDOR_SLOTS = 10_000
CALLS_SLOTS = 8


def diffusion_of(settings: Settings) -> dict[str, Any]:
    """What the diffusion engine is asked with, beside the call's own."""
    wishes = settings.engines.diffusion
    return {
        "parts": wishes.parts,
        "steps": wishes.steps,
        "guidance": wishes.guidance,
        "threads": settings.engines.threads or os.cpu_count() or 1,
        "memory_bytes": int(wishes.memory_gb * 1024**3),
        "timeout_s": wishes.timeout_s,
        "cpu_s": int(wishes.timeout_s * (os.cpu_count() or 1)),
    }


async def run_worker(orders: Orders) -> None:
    """The task queue's hands: pictures, films, batches, questions to vendors, notices."""
    settings = orders.settings
    os.nice(WORKER_NICENESS)
    registry = Registry()
    master_key = bytes.fromhex(orders.master_key)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    work_dir = Path(settings.data_dir) / "spool"
    async with open_database(settings.database.url, Path(settings.data_dir)) as database, Pool() as pool:
        shelf = open_shelf(settings, database, master_key)
        book = ModelBook(
            database, make_catalogue(settings), make_stored(master_key), Sealer(master_key), resolve_secret
        )
        fetcher = make_fetcher(settings)
        contents = Contents(shelf, fetcher)
        poller = Poller(settings.tasks.poll_s)
        media = MediaRunner(
            LocalRunner(
                shelf,
                contents,
                Workshop(settings.tasks.local_slots),
                work_dir,
                Path(settings.models_dir),
                diffusion_of(settings),
            ),
            VendorRunner(shelf, contents, fetcher, pool, poller, settings.outbound.relay),
            OpenaiRunner(shelf, fetcher, pool),
        )

        index = await open_index(settings, database)
        caller = Caller(database, pool, parse_origin(settings.local_url), Signer(master_key))
        concurrency = settings.tasks.batch_concurrency
        runners: dict[str, Runner] = {
            IMAGE: media,
            VIDEO: media,
            TRANSCRIPTION: media,
            SPEECH: media,
            BATCH: BatchRunner(shelf, caller, work_dir, concurrency=concurrency),
            EMBEDDINGS: EmbeddingFileRunner(shelf, contents, caller, concurrency=concurrency),
            **knowledge_runners(settings, shelf, caller, index),
        }

        async def find_model(name: str) -> Model | None:
            return (await book.read()).get(name)

        worker = Worker(
            database,
            runners,
            find_model,
            registry,
            name=owner_of(get_machine_id(Path(settings.data_dir)), stem_of(orders.boot_id, os.getpid())),
            run_dir=settings.run_dir,
            slots={LOCAL_LANE: settings.tasks.local_slots, VENDOR_LANE: VENDOR_SLOTS, CALLS_LANE: CALLS_SLOTS},
            per_workspace=settings.tasks.per_workspace,
            per_kind=settings.tasks.per_kind,
            result_ttl_s=read_ttl_s(settings.objects.result_ttl),
        )
        await worker.take_over()
        name = f"worker-{orders.boot_id}-{os.getpid()}"
        async with (
            await open_metrics_port(settings.run_dir, name, registry),
            background(
                die_with_parent(),
                poller.run(),
                worker.run(),
                Messenger(database, fetcher, master_key, registry).run(),
            ),
        ):
            await stop.wait()
        await worker.close()
        index.close()
