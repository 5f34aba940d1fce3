"""The only module that knows every concrete class: each role's objects are put together here, and nowhere else.

A role is a process: `python -m steelyard.assembly ROLE`, its orders one line of JSON on standard input. When standard
input ends, the supervisor is gone and the process goes too, at once, so that the port is free for a new start.
"""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import uvloop

from steelyard.base.clock import now_us
from steelyard.base.errors import SetupFault
from steelyard.base.jsondoor import encode
from steelyard.base.lifetimes import read_ttl_s
from steelyard.base.logs import open_log
from steelyard.base.metrics import Registry
from steelyard.base.metrics_port import open_metrics_port
from steelyard.base.segments import get_machine_id, owner_of, stem_of
from steelyard.base.tokens import Signer
from steelyard.config import Settings, resolve_secret
from steelyard.declared import VECTORS, engine_socket, make_catalogue, make_stored, write_banner

if TYPE_CHECKING:
    from steelyard.canon.model import Model
    from steelyard.store.database import Database
    from steelyard.tasks.job import Runner
    from steelyard.tasks.shelf import Shelf
    from steelyard.tasks.supplier import Supplier
    from steelyard.upstream.fetcher import Fetcher

FACE_SOCKET = "face.sock"
DRAIN_S = 10
#: For calls that are under way when a gateway is replaced.
PATIENT_DRAIN_S = 900
FIRST_NEWS_S = 5.0
#: A child that ends with this has told a bad set-up in one sentence: starting it again would not help.
EXIT_SETUP = 78
FACE_NICENESS = 5
WORKER_NICENESS = 5
#: Tasks under way at vendors: each is an entry in a heap and a future.
VENDOR_SLOTS = 10_000
CALLS_SLOTS = 8
#: Larger portions cost less per receipt; a receipt is readable after this long.
CARRY_S = 0.5
SWEEP_REPLAY_S = 600.0
SWEEP_BLOBS_S = 1800.0
LOOK_S = 60.0
#: Documents read at once.
READER_SLOTS = 2
BACKLOG = 2048
ACCEPTS_A_TURN = 16


class Orders(msgspec.Struct, frozen=True):
    """What the supervisor tells a process."""

    settings: Settings
    boot_id: str
    master_key: str
    #: gateway: the inherited listening socket
    listen_fd: int = -1
    #: engine host: which model
    model: str = ""


def read_orders() -> Orders:
    """Waits for the orders; meanwhile the imports above were done."""
    line = sys.stdin.buffer.readline()
    if not line:
        sys.exit(0)
    return msgspec.json.decode(line, type=Orders)


async def _die_with_parent() -> None:
    """Ends the process when the supervisor has gone: journals are written, so nothing answered is lost."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
    os._exit(1)


@contextlib.asynccontextmanager
async def _background(*coroutines: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(one) for one in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _make_server(config: Any) -> Any:
    """A uvicorn server that leaves signals to us: SIGTERM drains, SIGINT is the supervisor's business."""
    import uvicorn

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self):  # type: ignore[no-untyped-def]
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGTERM, lambda: self.handle_exit(signal.SIGTERM, None))
            yield

    return Server(config)


def _listeners(descriptor: int) -> list[socket.socket]:
    """The listening socket under several descriptors, so that a burst of new connections is not kept waiting.

    libuv accepts one connection a descriptor and turn of its loop, and under load a turn takes milliseconds.
    """
    return [
        socket.socket(fileno=descriptor),
        *(socket.socket(fileno=os.dup(descriptor)) for _ in range(ACCEPTS_A_TURN - 1)),
    ]


def _drain_patiently_on(number: signal.Signals, server: Any) -> None:
    """A successor is there already: calls under way may take all the time they need."""

    def drain() -> None:
        server.config.timeout_graceful_shutdown = PATIENT_DRAIN_S
        server.should_exit = True

    asyncio.get_running_loop().add_signal_handler(number, drain)


def _settle_heap() -> None:
    """What is loaded by now stays for good: the collector need not look at it again, nor run every few calls."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def prepare_data_dir(settings: Settings) -> None:
    """Makes the data directory.

    Raises:
        SetupFault: it cannot be written.
    """
    path = Path(settings.data_dir)
    try:
        for one in (path, settings.run_dir, settings.journal_dir):
            one.mkdir(parents=True, exist_ok=True, mode=0o700)
            if one == settings.run_dir and (one.is_symlink() or one.stat().st_uid != os.getuid()):
                raise SetupFault(f"The directory {one} belongs to somebody else; remove it or use another --data-dir.")
            one.chmod(0o700)
        probe = path / ".probe"
        probe.write_bytes(b"x" * 4096)
        probe.unlink()
    except OSError as exc:
        raise SetupFault(
            f"The data directory {path} cannot be written: {exc.strerror}; choose another with --data-dir."
        ) from None


async def open_records(settings: Settings) -> "Database":
    """Opens the database with its schema brought up to date and workspace `default` in place.

    Raises:
        SetupFault: it cannot be used, or is newer than this program.
    """
    from steelyard.control import workspaces
    from steelyard.store.database import explain_failure, open_database
    from steelyard.store.migrations import migrate

    prepare_data_dir(settings)
    database = open_database(settings.database.url, Path(settings.data_dir))
    try:
        await migrate(database)
        await workspaces.ensure_default(database)
    except SetupFault:
        await database.close()
        raise
    except Exception as exc:
        await database.close()
        raise SetupFault(f"The database cannot be used: {explain_failure(exc)}.") from exc
    return database


# gateway


async def run_gateway(orders: Orders) -> None:
    """A data-plane process. Imports neither Starlette nor SQLAlchemy."""
    import uvicorn

    from steelyard.dialects.crossing import Wires
    from steelyard.dialects.dialect import by_path
    from steelyard.dialects.links import OwnLinks
    from steelyard.dialects.table import DIALECTS, TASK_OPERATIONS
    from steelyard.gateway.admission import STALE_S, Admission
    from steelyard.gateway.allowance import Allowances
    from steelyard.gateway.answer_cache import AnswerCache
    from steelyard.gateway.asgi import App
    from steelyard.gateway.checking import Checker
    from steelyard.gateway.contents import Contents
    from steelyard.gateway.core import Core
    from steelyard.gateway.face_link import FaceLink
    from steelyard.gateway.fastlane import FastLane, sweep_connections
    from steelyard.gateway.journal import Journal
    from steelyard.gateway.meter import Meter
    from steelyard.gateway.relay import Relay
    from steelyard.gateway.tasks import Counter
    from steelyard.upstream.pool import Origin, Pool

    settings = orders.settings
    registry = Registry()
    meter = Meter(registry)
    loop = asyncio.get_running_loop()
    journal = Journal(settings.journal_dir, orders.boot_id)
    operations = by_path((*DIALECTS, *TASK_OPERATIONS))
    async with Pool() as pool:
        owner = owner_of(get_machine_id(Path(settings.data_dir)), stem_of(orders.boot_id, os.getpid()))
        face = FaceLink(pool, Origin("face", 80, unix_path=str(settings.run_dir / FACE_SOCKET)), owner)
        allowances = Allowances(face)
        admission = Admission(face, Signer(bytes.fromhex(orders.master_key)), settings.server.trusted_proxies)
        core = Core(
            admission,
            allowances,
            Relay(pool, meter, Wires(DIALECTS)),
            journal,
            meter,
            face,
            face,
            AnswerCache(face),
            Checker(pool),
            face,
            Counter(face),
            Contents(face, OwnLinks(settings.link_origin, relays=settings.outbound.relay == "always")),
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
            http=FastLane.bound_to(core, operations),
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
        server = _make_server(config)
        name = f"gateway-{orders.boot_id}-{os.getpid()}"
        async with _background(
            _die_with_parent(),
            face.follow_changes(admission, allowances),
            allowances.keep_swept(),
            journal.keep_synced(),
            sweep_connections(server.server_state.connections, lambda count: meter.connections.set((), count)),
        ):
            # nobody is accepted who could only be refused; the supervisor takes the port below for our being ready
            await admission.wait_first_news(FIRST_NEWS_S)
            async with await open_metrics_port(settings.run_dir, name, registry):
                _settle_heap()
                _drain_patiently_on(signal.SIGUSR1, server)
                await server.serve(_listeners(orders.listen_fd))
    journal.close()


# face


async def run_face(orders: Orders) -> None:
    """The control process: control API, pages, the gateways' ports, the ledger's carrier."""
    import uvicorn

    from steelyard.base.sealing import Sealer
    from steelyard.control import replay, responses
    from steelyard.control.carrier import Carrier
    from steelyard.control.exposition import Exposition
    from steelyard.control.feed import Feed
    from steelyard.control.hygiene import Hygiene
    from steelyard.control.leases import Leases
    from steelyard.control.model_book import ModelBook
    from steelyard.control.tickets import Tickets
    from steelyard.store.objects.blobs import sweep_spool
    from steelyard.tasks.desk import Desk
    from steelyard.tasks.library import Library
    from steelyard.tasks.uploads import Policies
    from steelyard.upstream.pool import Origin, Pool, PoolError
    from steelyard.web.app import build_app
    from steelyard.web.batches_api import BatchesApi
    from steelyard.web.control_api import ControlApi
    from steelyard.web.files_api import FilesApi
    from steelyard.web.internal_api import InternalApi
    from steelyard.web.media_control import MediaControl
    from steelyard.web.objects_api import ObjectsApi
    from steelyard.web.responses_api import ResponsesApi
    from steelyard.web.status_page import StatusPage
    from steelyard.web.tasks_api import TasksApi
    from steelyard.web.tokens_api import TokensApi
    from steelyard.web.uploads_api import UploadsApi
    from steelyard.web.videos_api import VideosApi

    settings = orders.settings
    # answers come before bookkeeping: where cores are short, the gateways get them
    os.nice(FACE_NICENESS)
    catalogue = make_catalogue(settings)
    async with await open_records(settings) as database, Pool() as pool:

        async def ask(path: Path) -> bytes:
            try:
                answer = await pool.fetch(Origin("process", 80, unix_path=str(path)), "GET", "/", timeout_s=3.0)
            except PoolError as exc:
                raise OSError(str(exc)) from exc
            return answer.body

        master_key = bytes.fromhex(orders.master_key)
        stored = make_stored(master_key)
        models = ModelBook(database, catalogue, stored, Sealer(master_key), resolve_secret)
        feed = Feed(database, catalogue, stored)
        carrier = Carrier(settings.journal_dir, database, get_machine_id(Path(settings.data_dir)))
        hygiene = Hygiene(database)
        leases = Leases(database, carrier.is_alive, feed.nudge)
        # what the last run answered is in the ledger before anything new is
        await carrier.carry()
        tickets = Tickets(master_key)
        shelf = open_shelf(settings, database, master_key)
        desk = Desk(
            shelf, leases, result_ttl_s=read_ttl_s(settings.objects.result_ttl), deadline_s=settings.tasks.deadline_s
        )
        library = Library(shelf, master_key)
        app = build_app(
            ControlApi(database, models, settings.quota.free_tokens, MediaControl(desk, library).operations),
            InternalApi(database, feed, leases, hygiene, desk, make_supplier(settings, shelf)),
            TokensApi(database, Signer(master_key)),
            ResponsesApi(database),
            StatusPage(database, models, tickets),
            Exposition(settings.run_dir, ask),
            TasksApi(desk),
            ObjectsApi(library),
            FilesApi(library),
            BatchesApi(desk, library),
            VideosApi(desk, library),
            UploadsApi(library, Policies(master_key, settings.link_origin)),
        )
        write_banner(settings, await models.read())
        path = settings.run_dir / FACE_SOCKET
        path.unlink(missing_ok=True)
        config = uvicorn.Config(
            app, uds=str(path), ws="none", lifespan="off", log_config=None, access_log=False, timeout_keep_alive=75,
            timeout_graceful_shutdown=2,
        )  # fmt: skip

        # what was not carried stays in the journal and is carried next time
        async def carry() -> None:
            await carrier.carry()
            await leases.reclaim()

        carrying = _repeat("carrying receipts", CARRY_S, carry)

        async def sweep() -> None:
            await replay.sweep(database)
            await responses.sweep(database)
            await leases.forget_old(now_us())
            await desk.sweep()

        async def sweep_blobs() -> None:
            sweep_spool(Path(settings.data_dir))
            await desk.sweep_blobs()

        sweeping = _repeat("forgetting what is old", SWEEP_REPLAY_S, sweep)
        watching = _repeat("looking at what keys spend", LOOK_S, hygiene.look_at_spending)
        tidying = _repeat("removing blobs that nobody refers to", SWEEP_BLOBS_S, sweep_blobs)
        async with _background(_die_with_parent(), feed.follow(), carrying, sweeping, watching, tidying):
            await _make_server(config).serve()
        await carrier.carry()


def open_shelf(settings: Settings, database: "Database", master_key: bytes) -> "Shelf":
    """The object store with its records and links.

    Raises:
        SetupFault: its address is none, or a credential's reference leads nowhere.
    """
    from steelyard.store.objects.blobs import open_blobs
    from steelyard.tasks.links import Links
    from steelyard.tasks.shelf import Shelf

    given = {"access_key_id": settings.objects.access_key_id, "secret_access_key": settings.objects.secret_access_key}
    credentials = {name: resolve_secret(value, f"objects.{name}") for name, value in given.items() if value}
    blobs = open_blobs(settings.objects.url, Path(settings.data_dir), credentials)
    return Shelf(database, blobs, Links(master_key, settings.link_origin))


def make_fetcher(settings: Settings) -> "Fetcher":
    """The guarded client for links of callers."""
    from steelyard.upstream.fetcher import Fetcher, FetchLimits
    from steelyard.upstream.guard import HostRules

    outbound = settings.outbound
    rules = HostRules(outbound.only_hosts, outbound.deny_hosts, outbound.private_hosts)
    proxies = [tuple(one.split("=", 1)) for one in outbound.proxies]
    return Fetcher(
        rules, FetchLimits(outbound.max_bytes, outbound.download_timeout_s), proxies=[(a, b) for a, b in proxies]
    )


def make_supplier(settings: Settings, shelf: "Shelf") -> "Supplier":
    """What calls refer to, looked up and read."""
    from steelyard.engines.workshop import WorkshopError
    from steelyard.knowledge.blocks import join_blocks
    from steelyard.knowledge.reader import Reader
    from steelyard.tasks.contents import Contents
    from steelyard.tasks.supplier import Supplier, Unreadable

    work_dir = Path(settings.data_dir) / "spool"
    reader = Reader(READER_SLOTS, work_dir)

    async def read_text(path: Path, name: str) -> str:
        try:
            return join_blocks(await reader.read(path, name))
        except WorkshopError as exc:
            raise Unreadable(str(exc)) from None

    return Supplier(Contents(shelf, make_fetcher(settings)), read_text, work_dir)


def check_link(settings: Settings, url: str) -> dict[str, Any]:
    """What a task would make of a link; see `LinkChecker`."""
    from steelyard.engines.workshop import Workshop
    from steelyard.tasks.link_check import LinkChecker

    work_dir = Path(settings.data_dir) / "spool"
    prepare_data_dir(settings)
    work_dir.mkdir(exist_ok=True)
    return asyncio.run(LinkChecker(make_fetcher(settings), Workshop(1), work_dir).check(url))


async def run_worker(orders: Orders) -> None:
    """The task queue's hands: pictures, films, batches, questions to vendors, notices."""
    from steelyard.base.sealing import Sealer
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
    from steelyard.control.model_book import ModelBook
    from steelyard.engines.workshop import Workshop
    from steelyard.store.database import open_database
    from steelyard.tasks.batches import BatchRunner
    from steelyard.tasks.caller import Caller
    from steelyard.tasks.contents import Contents
    from steelyard.tasks.embedding_file import EmbeddingFileRunner
    from steelyard.tasks.local import LocalRunner
    from steelyard.tasks.media import MediaRunner
    from steelyard.tasks.messenger import Messenger
    from steelyard.tasks.openai_media import OpenaiRunner
    from steelyard.tasks.poller import Poller
    from steelyard.tasks.vendor import VendorRunner
    from steelyard.tasks.worker import Worker
    from steelyard.upstream.pool import Pool, parse_origin

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
            LocalRunner(shelf, contents, Workshop(settings.tasks.local_slots), work_dir, Path(settings.models_dir)),
            VendorRunner(shelf, contents, fetcher, pool, poller, settings.outbound.relay),
            OpenaiRunner(shelf, fetcher, pool),
        )

        caller = Caller(database, pool, parse_origin(settings.public_url), Signer(master_key))
        concurrency = settings.tasks.batch_concurrency
        runners: dict[str, Runner] = {
            IMAGE: media,
            VIDEO: media,
            TRANSCRIPTION: media,
            SPEECH: media,
            BATCH: BatchRunner(shelf, caller, work_dir, concurrency=concurrency),
            EMBEDDINGS: EmbeddingFileRunner(shelf, contents, caller, concurrency=concurrency),
        }

        async def find_model(name: str) -> "Model | None":
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
            result_ttl_s=read_ttl_s(settings.objects.result_ttl),
        )
        await worker.take_over()
        name = f"worker-{orders.boot_id}-{os.getpid()}"
        async with (
            await open_metrics_port(settings.run_dir, name, registry),
            _background(
                _die_with_parent(),
                poller.run(),
                worker.run(),
                Messenger(database, fetcher, master_key, registry).run(),
            ),
        ):
            await stop.wait()
        await worker.close()


async def _repeat(title: str, every_s: float, work: Callable[[], Awaitable[object]]) -> None:
    """Runs for the life of the process; a round that fails is told, and the next one comes all the same."""
    import logging

    log = logging.getLogger("steelyard.face")
    while True:
        await asyncio.sleep(every_s)
        try:
            await work()
        except Exception:
            log.exception("%s failed", title)


# engine host


async def run_engine(orders: Orders) -> None:
    """One embedded model behind the OpenAI wire."""
    import logging

    import uvicorn

    from steelyard.engines import llama
    from steelyard.engines.catalogue import MODELS
    from steelyard.engines.generation import Generator
    from steelyard.engines.host import HostApp
    from steelyard.engines.weights import is_intact, pull, weights_path
    from steelyard.upstream.pool import Origin, Pool

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
            _background(_die_with_parent(), load()),
        ):
            await _make_server(config).serve()
    # the engine's threads would hold the process up for seconds; everything of ours is closed
    os._exit(0)


async def run_vectors(orders: Orders) -> None:
    """The embedded embedding and rerank models behind the OpenAI wire. Nothing is loaded before it is asked for."""
    import uvicorn

    from steelyard.engines import llama
    from steelyard.engines.vector_host import VectorHost
    from steelyard.engines.vectors import VectorModels

    settings = orders.settings
    registry = Registry()
    path = engine_socket(settings, VECTORS)
    path.unlink(missing_ok=True)
    host = VectorHost(VectorModels(settings.engines.threads or llama.default_threads()), registry)
    config = uvicorn.Config(
        host, uds=str(path), ws="none", lifespan="off", log_config=None, access_log=False, timeout_keep_alive=75,
        timeout_graceful_shutdown=DRAIN_S,
    )  # fmt: skip
    name = f"vectors-{orders.boot_id}-{os.getpid()}"
    async with (
        await open_metrics_port(settings.run_dir, name, registry, host.refresh),
        _background(_die_with_parent()),
    ):
        await _make_server(config).serve()
    os._exit(0)


_ROLES = {
    "gateway": run_gateway, "face": run_face, "worker": run_worker, "engine": run_engine, "vectors": run_vectors
}  # fmt: skip
#: Imported while the supervisor still migrates, so that starting is quick.
_EARLY = {
    "gateway": ("uvicorn", "uvicorn.protocols.http.httptools_impl", "steelyard.gateway.fastlane", "steelyard.gateway.asgi"),
    "face": ("uvicorn", "uvicorn.protocols.http.httptools_impl", "steelyard.store.database", "steelyard.store.migrations", "sqlalchemy.dialects.sqlite.aiosqlite", "steelyard.web.app"),
    "engine": ("uvicorn", "uvicorn.protocols.http.httptools_impl", "steelyard.engines.host"),
    "worker": ("steelyard.store.database", "sqlalchemy.dialects.sqlite.aiosqlite", "steelyard.tasks.worker"),
    "vectors": ("uvicorn", "uvicorn.protocols.http.httptools_impl", "steelyard.engines.vector_host"),
}  # fmt: skip


def main() -> None:
    """Entry of a child process."""
    import importlib

    role = sys.argv[1]
    # nothing that is imported ever goes away: looking for garbage in it would take a sixth of the start
    gc.disable()
    for module in _EARLY[role]:
        importlib.import_module(module)
    gc.freeze()
    gc.enable()
    orders = read_orders()
    open_log(role)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        uvloop.run(_ROLES[role](orders))
    except SetupFault as failure:
        print(failure, file=sys.stderr, flush=True)  # noqa: T201
        sys.exit(EXIT_SETUP)


def encode_orders(orders: Orders) -> bytes:
    """The line that a child reads."""
    return encode(orders) + b"\n"


if __name__ == "__main__":
    main()
