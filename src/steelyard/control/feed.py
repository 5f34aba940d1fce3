"""The change feed: the database's change log, read twice a second, told to every gateway that waits."""

import asyncio
import contextlib
import logging
from dataclasses import dataclass

from steelyard.base.clock import monotonic, now_us
from steelyard.canon.snapshot import Snapshot
from steelyard.control.catalogue import Catalogue
from steelyard.control.providers import Stored
from steelyard.control.snapshot import take_snapshot
from steelyard.store import changes
from steelyard.store.database import Database

log = logging.getLogger("steelyard.feed")

POLL_S = 0.3
#: A file's times are coarse, so a log that looks the same is read all the same this often.
READ_S = 1.0
#: Without a reading for this long nothing can be said, even where no error was seen: a read may hang.
STALLED_S = 5.0
#: A follower that is further behind than this is told to forget everything.
MAX_BEHIND = 1000


@dataclass(frozen=True, slots=True)
class News:
    """What a follower must do to be up to date."""

    version: int
    key_digests: list[str]
    snapshot: Snapshot | None
    is_reset: bool


class Feed:
    """Follows the change log for as long as `follow` runs."""

    def __init__(self, database: Database, catalogue: Catalogue, stored: Stored) -> None:
        self._database = database
        self._catalogue = catalogue
        self._stored = stored
        self._version = -1
        self._news = asyncio.Event()
        self._declared = catalogue()
        self._snapshot: Snapshot | None = None
        #: Of the snapshot. No two feeds begin alike: what a gateway has of the last face's is never taken for ours.
        self._snapshot_number = now_us()
        self._file_state: tuple[int, ...] | None = None
        self._read_at = float("-inf")
        self._looked_at = float("-inf")

    def __repr__(self) -> str:
        return f"<Feed at {self._version}>"

    async def follow(self) -> None:
        """Runs for the life of the process."""
        while True:
            try:
                await self._look()
                self._looked_at = monotonic()
            except Exception:
                # outermost frame of this task; gateways stop admitting ten seconds after the news dries up
                log.exception("the change log cannot be read")
                self._looked_at = float("-inf")
            await asyncio.sleep(POLL_S)

    @property
    def is_healthy(self) -> bool:
        """Whether what is told here is the log's own word of a moment ago."""
        return monotonic() - self._looked_at < STALLED_S

    async def _look(self) -> None:
        declared = self._catalogue()
        state = self._database.file_state()
        looks_same = state is not None and state == self._file_state and declared == self._declared
        if looks_same and monotonic() - self._read_at < READ_S:
            return
        began = monotonic()
        async with self._database.read() as connection:
            version = await changes.get_version(connection)
        self._file_state, self._read_at = state, began
        if version != self._version or declared != self._declared or self._snapshot is None:
            self._declared = declared
            self._snapshot = await take_snapshot(self._database, declared, self._stored)
            self._snapshot_number += 1
            self._version = version
            self.nudge()

    def nudge(self) -> None:
        """Answers everybody who waits now."""
        self._news.set()
        self._news = asyncio.Event()

    async def wait(self, after: int, seen_snapshot: int, wait_s: float) -> tuple[News, int]:
        """What is new after a version; waits up to `wait_s` where nothing is.

        Returns:
            the news, and the number of the snapshot, to be given back next time.

        Raises:
            RuntimeError: the log cannot be read, so nothing can be said.
        """
        if self._version <= after and seen_snapshot == self._snapshot_number:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._news.wait()
        if not self.is_healthy or self._snapshot is None:
            raise RuntimeError("the change log cannot be read")
        version, snapshot, number = self._version, self._snapshot, self._snapshot_number
        is_reset = after < 0 or after > version or version - after > MAX_BEHIND
        digests: list[str] = []
        if not is_reset and version > after:
            async with self._database.read() as connection:
                entries = await changes.list_after(connection, after, MAX_BEHIND + 1)
            digests = [one.subject for one in entries if one.kind == changes.KEY]
            version = max([version, *(one.id for one in entries)])
        return News(version, digests, snapshot if number != seen_snapshot else None, is_reset), number
