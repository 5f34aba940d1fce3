"""What runs use of the platform beside models: knowledge bases by way of the face, pages of the web by the guarded client."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from steelyard.apps.kit import MAX_ANSWER_BYTES
from steelyard.canon.apps import Errand
from steelyard.canon.grant import Grant
from steelyard.canon.knowledge import FoundPassages, KnowledgeWish
from steelyard.engines.workshop import WorkshopError
from steelyard.knowledge.blocks import join_blocks
from steelyard.knowledge.reader import Reader
from steelyard.store import knowledge
from steelyard.store.database import Database
from steelyard.upstream.fetcher import Fetcher, FetchError, FetchLimits

PAGE_S = 20.0
PAGE_LIMITS = FetchLimits(MAX_ANSWER_BYTES, PAGE_S, PAGE_S)
MAX_LISTED_BASES = 20


class Knowledge(Protocol):
    """Who answers for knowledge bases."""

    async def find_passages(self, grant: Grant, wish: KnowledgeWish) -> FoundPassages:
        """See `gateway.ports.Knowledge`."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Implements `builtin.plugin.Surroundings` for one call."""

    grant: Grant
    bases: tuple[str, ...]
    _platform: Platform

    async def find_passages(self, wish: KnowledgeWish) -> FoundPassages:
        """See `gateway.ports.Knowledge`."""
        return await self._platform.knowledge.find_passages(self.grant, wish)

    async def list_bases(self) -> list[tuple[str, str]]:
        """(id, name) of the workspace's bases."""
        return await self._platform.list_bases(self.grant.workspace)

    async def read_page(self, url: str) -> str:
        """See `Platform`."""
        return await self._platform.read_page(url)


class Platform:
    """What all runs of this process share."""

    def __init__(self, database: Database, asked: Knowledge, fetcher: Fetcher, reader: Reader, work_dir: Path) -> None:
        self._database = database
        self.knowledge = asked
        self._fetcher = fetcher
        self._reader = reader
        self._work_dir = work_dir

    def for_call(self, errand: Errand, bases: tuple[str, ...]) -> Surroundings:
        """What one call may use."""
        return Surroundings(errand.grant, bases, self)

    async def list_bases(self, workspace: str) -> list[tuple[str, str]]:
        """(id, name) of a workspace's bases."""
        async with self._database.read() as connection:
            found, _ = await knowledge.list_bases(connection, workspace, name_part="", offset=0, limit=MAX_LISTED_BASES)
        return [(one.id, one.name) for one in found]

    async def read_page(self, url: str) -> str:
        """A page's text. HTML is read in a child process, like any stranger's file.

        Raises:
            FetchError: it may not be read, or cannot be.
        """
        parts: list[bytes] = []
        fetched = await self._fetcher.fetch(url, parts.append, limits=PAGE_LIMITS)
        kind = fetched.content_type.partition(";")[0].strip().lower()
        suffix = {
            "text/html": ".html",
            "application/xhtml+xml": ".html",
            "application/json": ".json",
            "text/csv": ".csv",
        }.get(kind)
        if suffix is None and not kind.startswith("text/"):
            suffix = Path(urlsplit(url).path).suffix or ".txt"
        path = self._work_dir / f"page-{secrets.token_hex(8)}.part"
        path.write_bytes(b"".join(parts))
        try:
            return join_blocks(await self._reader.read(path, f"page{suffix or '.txt'}"))
        except WorkshopError:
            raise FetchError("broken", urlsplit(url).hostname or "") from None
        finally:
            path.unlink(missing_ok=True)
