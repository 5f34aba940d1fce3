"""Parts that several roles need for media: the object store, the guarded client, what calls refer to."""

import asyncio
from pathlib import Path
from typing import Any

from steelyard.assembly.data_dir import prepare_data_dir
from steelyard.config import Settings, resolve_secret
from steelyard.engines.workshop import Workshop, WorkshopError
from steelyard.knowledge.blocks import join_blocks
from steelyard.knowledge.reader import Reader
from steelyard.store.database import Database
from steelyard.store.objects.blobs import open_blobs
from steelyard.tasks.contents import Contents
from steelyard.tasks.link_check import LinkChecker
from steelyard.tasks.links import Links
from steelyard.tasks.shelf import Shelf
from steelyard.tasks.supplier import Supplier, Unreadable
from steelyard.upstream.fetcher import Fetcher, FetchLimits
from steelyard.upstream.guard import HostRules

#: Documents read at once.
READER_SLOTS = 2
#: Pictures behind links decoded at once, for those who test them.
CHECK_SLOTS = 2


def open_shelf(settings: Settings, database: Database, master_key: bytes) -> Shelf:
    """The object store with its records and links.

    Raises:
        SetupFault: its address is none, or a credential's reference leads nowhere.
    """

    given = {"access_key_id": settings.objects.access_key_id, "secret_access_key": settings.objects.secret_access_key}
    credentials = {name: resolve_secret(value, f"objects.{name}") for name, value in given.items() if value}
    blobs = open_blobs(settings.objects.url, Path(settings.data_dir), credentials)
    return Shelf(database, blobs, Links(master_key, settings.link_origin))


def make_fetcher(settings: Settings) -> Fetcher:
    """The guarded client for links of callers."""
    outbound = settings.outbound
    proxies = [tuple(one.split("=", 1)) for one in outbound.proxies]
    return Fetcher(
        make_rules(settings),
        FetchLimits(outbound.max_bytes, outbound.download_timeout_s, outbound.max_download_timeout_s),
        proxies=[(a, b) for a, b in proxies],
    )


def make_rules(settings: Settings) -> HostRules:
    """Which hosts links and plugins of callers may lead to."""
    outbound = settings.outbound
    return HostRules(outbound.only_hosts, outbound.deny_hosts, outbound.private_hosts)


def make_supplier(settings: Settings, shelf: Shelf) -> Supplier:
    """What calls refer to, looked up and read."""
    work_dir = Path(settings.data_dir) / "spool"
    reader = Reader(READER_SLOTS, work_dir)

    async def read_text(path: Path, name: str) -> str:
        try:
            return join_blocks(await reader.read(path, name))
        except WorkshopError as exc:
            raise Unreadable(str(exc)) from None

    return Supplier(
        Contents(shelf, make_fetcher(settings)), read_text, work_dir, max_bytes=settings.server.max_body_bytes
    )


def make_link_checker(settings: Settings) -> LinkChecker:
    """Tests links as a task would follow them."""
    work_dir = Path(settings.data_dir) / "spool"
    work_dir.mkdir(exist_ok=True)
    return LinkChecker(make_fetcher(settings), Workshop(CHECK_SLOTS), work_dir)


def check_link(settings: Settings, url: str) -> dict[str, Any]:
    """What a task would make of a link, without a server; see `LinkChecker`."""
    prepare_data_dir(settings)
    return asyncio.run(make_link_checker(settings).check(url))
