"""The control process: control API, pages, the gateways' ports, the ledger's carrier."""

import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette

from steelyard.assembly.app_control import make_app_services, make_apps_api
from steelyard.assembly.embedding_link import EmbeddingLink
from steelyard.assembly.identities import make_identity_provider
from steelyard.assembly.knowledge import KnowledgeHouse, open_index
from steelyard.assembly.media import make_link_checker, make_supplier, open_shelf
from steelyard.assembly.monitor_link import MonitorLink
from steelyard.assembly.orders import FACE_SOCKET, Orders
from steelyard.assembly.process import background, die_with_parent, make_server, repeat
from steelyard.assembly.records import open_records
from steelyard.base.clock import now_us
from steelyard.base.lifetimes import read_ttl_s
from steelyard.base.metrics import Reading, merge
from steelyard.base.sealing import Sealer
from steelyard.base.segments import get_machine_id
from steelyard.base.tokens import Signer
from steelyard.config import Settings, resolve_secret, show_settings
from steelyard.control import kept_calls, replay, responses
from steelyard.control.access_keys import AccessKeys
from steelyard.control.balances import Balances
from steelyard.control.carrier import Carrier
from steelyard.control.exposition import Exposition
from steelyard.control.feed import Feed
from steelyard.control.hygiene import Hygiene
from steelyard.control.leases import Leases
from steelyard.control.members import Members
from steelyard.control.model_book import ModelBook
from steelyard.declared import make_catalogue, make_stored, write_banner
from steelyard.knowledge.index import SearchIndex
from steelyard.store.database import Database
from steelyard.store.objects.blobs import sweep_spool
from steelyard.tasks.caller import Caller
from steelyard.tasks.desk import Desk
from steelyard.tasks.library import Library
from steelyard.tasks.uploads import Policies
from steelyard.upstream.pool import Origin, Pool, PoolError, parse_origin
from steelyard.web.app import build_app
from steelyard.web.batches_api import BatchesApi
from steelyard.web.console.console import Console, ConsoleRules, Links
from steelyard.web.control_api import ControlApi
from steelyard.web.files_api import FilesApi
from steelyard.web.internal_api import InternalApi
from steelyard.web.media_control import MediaControl
from steelyard.web.objects_api import ObjectsApi
from steelyard.web.openapi.openapi_api import OpenapiApi
from steelyard.web.openapi.sheet import Sheet, read_sheets
from steelyard.web.openapi.tables import management_sheet
from steelyard.web.responses_api import ResponsesApi
from steelyard.web.tasks_api import TasksApi
from steelyard.web.tokens_api import TokensApi
from steelyard.web.uploads_api import UploadsApi
from steelyard.web.videos_api import VideosApi

FACE_NICENESS = 5
#: Larger portions cost less per receipt; a receipt is readable after this long.
CARRY_S = 0.5
SWEEP_REPLAY_S = 600.0
SWEEP_BLOBS_S = 1800.0
LOOK_S = 60.0


class Face:
    """The services behind the control process's paths, and what it does by itself."""

    def __init__(
        self, settings: Settings, master_key: bytes, database: Database, pool: Pool, index: SearchIndex
    ) -> None:
        self._settings = settings
        self._master_key = master_key
        self._database = database
        self._pool = pool
        stored, catalogue = make_stored(master_key), make_catalogue(settings)
        self._sealer = Sealer(master_key)
        self.models = ModelBook(database, catalogue, stored, self._sealer, resolve_secret)
        self.feed = Feed(database, catalogue, stored)
        self.carrier = Carrier(settings.journal_dir, database, get_machine_id(Path(settings.data_dir)))
        self._hygiene = Hygiene(database)
        self._members = Members(database)
        self._balances = Balances(database)
        self._leases = Leases(database, self.carrier.is_alive, self.feed.nudge)
        self._shelf = open_shelf(settings, database, master_key)
        self._desk = Desk(
            self._shelf,
            self._leases,
            result_ttl_s=read_ttl_s(settings.objects.result_ttl),
            deadline_s=settings.tasks.deadline_s,
        )
        caller = Caller(database, pool, parse_origin(settings.local_url), Signer(master_key))
        self._app_services = make_app_services(settings, database, self._sealer, pool)
        self._apps = make_apps_api(database, self._app_services)
        self._knowledge = KnowledgeHouse(settings, master_key, self._shelf, self._desk, index, caller, self.models)

    def app(self) -> Starlette:
        """Every path that gateways relay here, and their own."""
        database, desk, settings = self._database, self._desk, self._settings
        library = Library(self._shelf, self._master_key)
        media = MediaControl(desk, library, make_link_checker(settings))
        control = ControlApi(
            database,
            self.models,
            settings.quota.free_tokens,
            self._sealer,
            settings.public_url,
            (*media.operations, *self._knowledge.control.operations, *self._apps.operations),
        )

        exposition = Exposition(settings.run_dir, self._ask, self._measure)

        def sheets() -> dict[str, Sheet]:
            return {**read_sheets(), "bailian": management_sheet(), "control": control.sheet()}

        return build_app(
            control,
            InternalApi(
                database,
                AccessKeys(database, self._sealer),
                self.feed,
                self._leases,
                self._hygiene,
                desk,
                make_supplier(settings, self._shelf),
                self._knowledge.answering,
                self._sealer,
            ),
            TokensApi(database, Signer(self._master_key)),
            ResponsesApi(database),
            exposition,
            TasksApi(desk),
            ObjectsApi(library),
            FilesApi(library, self._knowledge.documents.forget_file),
            BatchesApi(desk, library),
            VideosApi(desk, library),
            UploadsApi(library, Policies(self._master_key, settings.link_origin)),
            *self._knowledge.faces(),
            OpenapiApi(sheets, settings.public_url),
            self._console(library, exposition, sheets),
        )

    def _console(self, library: Library, exposition: Exposition, sheets: Callable[[], dict[str, Sheet]]) -> Console:
        settings = self._settings
        rules = ConsoleRules(
            registration=settings.console.registration,
            register_as=settings.console.register_as,
            sign_on=settings.console.oidc.title,
            sign_on_as=settings.console.oidc.register_as,
            is_development=settings.console.development,
            free_tokens=settings.quota.free_tokens,
            public_url=settings.public_url,
            settings=show_settings(settings),
            data_dir=Path(settings.data_dir),
            read_documents=lambda: {name: one.title for name, one in sheets().items()},
        )
        return Console(
            self._database,
            self.models,
            self._members,
            self._desk,
            library,
            self._knowledge,
            self._app_services,
            Links(
                MonitorLink(self._pool, settings.run_dir),
                EmbeddingLink(self._pool, self.models).embed,
                exposition.list_processes,
                make_identity_provider(settings),
            ),
            self._master_key,
            rules,
        )

    async def _measure(self) -> dict[str, Reading]:
        """What the database tells."""
        return merge([await self._desk.measure(), await self._balances.measure()])

    async def _ask(self, path: Path) -> bytes:
        """A process's own readings."""
        try:
            answer = await self._pool.fetch(Origin("process", 80, unix_path=str(path)), "GET", "/", timeout_s=3.0)
        except PoolError as exc:
            raise OSError(str(exc)) from exc
        return answer.body

    def chores(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """What runs for the life of the process."""
        return (
            self.feed.follow(),
            repeat("carrying receipts", CARRY_S, self._carry),
            repeat("forgetting what is old", SWEEP_REPLAY_S, self._sweep),
            repeat("looking at what keys spend", LOOK_S, self._hygiene.look_at_spending),
            repeat("looking after documents of jobs that ended", LOOK_S, self._knowledge.bases.refuse_abandoned),
            repeat("looking after documents that wait to be read", LOOK_S, self._knowledge.documents.resume_lost),
            repeat("removing chunks that nobody owns", SWEEP_BLOBS_S, self._knowledge.bases.sweep_index),
            repeat("removing blobs that nobody refers to", SWEEP_BLOBS_S, self._sweep_blobs),
        )

    async def _carry(self) -> None:
        # what was not carried stays in the journal and is carried next time
        await self.carrier.carry()
        await self._leases.reclaim()

    async def _sweep(self) -> None:
        await replay.sweep(self._database)
        await responses.sweep(self._database)
        await kept_calls.sweep(self._database)
        await self._leases.forget_old(now_us())
        await self._desk.sweep()
        await self._members.sweep()

    async def _sweep_blobs(self) -> None:
        sweep_spool(Path(self._settings.data_dir))
        await self._desk.sweep_blobs()


async def run_face(orders: Orders) -> None:
    """Runs the role."""
    settings = orders.settings
    async with await open_records(settings) as database, Pool() as pool:
        index = await open_index(settings, database)
        face = Face(settings, bytes.fromhex(orders.master_key), database, pool, index)
        # what the last run answered is in the ledger before anything new is
        await face.carrier.carry()
        write_banner(settings, await face.models.read())
        path = settings.run_dir / FACE_SOCKET
        path.unlink(missing_ok=True)
        config = uvicorn.Config(
            face.app(), uds=str(path), ws="none", lifespan="off", log_config=None, access_log=False,
            timeout_keep_alive=75, timeout_graceful_shutdown=2,
        )  # fmt: skip
        # answers come before bookkeeping: where cores are short, the gateways get them; until it serves, they wait for it
        os.nice(FACE_NICENESS)
        async with background(die_with_parent(), *face.chores()):
            await make_server(config, face.feed.nudge).serve()
        await face.carrier.carry()
        index.close()
