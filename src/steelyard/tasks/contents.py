"""What links in calls lead to: our own are read from the object store after a look at signature and workspace, never by HTTP; strangers'
go through the guarded fetcher.
"""

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from steelyard.base.clock import monotonic, now_us
from steelyard.base.errors import Fault
from steelyard.canon.contents import FILE_SCHEME, OSS_SCHEME
from steelyard.canon.downloads import NO_BOUNDS, DownloadBounds
from steelyard.canon.files import StoredObject
from steelyard.canon.task import Task, TaskFailure
from steelyard.policy.downloads import failure_of
from steelyard.policy.media import sniff
from steelyard.store.objects import records
from steelyard.tasks.desk import OBJECT_SCHEME, read_data_uri
from steelyard.tasks.shelf import Shelf
from steelyard.upstream.fetcher import TOO_BIG, Fetcher, FetchError, FetchLimits

#: What was fetched is good for other tasks for this long.
CACHE_S = 600.0
MAX_CACHED = 512


class ContentFailed(Exception):
    """A link leads to nothing that can be used."""

    def __init__(self, failure: TaskFailure) -> None:
        super().__init__(failure.message)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Content:
    """What a link leads to."""

    digest: str
    content_type: str
    size_bytes: int
    name: str


class Contents:
    """Resolves links of a workspace's calls."""

    def __init__(self, shelf: Shelf, fetcher: Fetcher) -> None:
        self._shelf = shelf
        self._fetcher = fetcher
        self._cache: OrderedDict[str, tuple[float, Content]] = OrderedDict()

    async def resolve_for(self, task: Task, link: str) -> Content:
        """What a link of a task leads to.

        Raises:
            ContentFailed, Fault: see `resolve`.
        """
        ask = task.ask
        return await self.resolve(link, task.workspace, resolves_oss=ask.resolves_oss, bounds=ask.downloads)

    async def resolve(
        self, link: str, workspace: str, *, resolves_oss: bool = False, bounds: DownloadBounds = NO_BOUNDS
    ) -> Content:
        """What a link leads to.

        Raises:
            ContentFailed: nothing usable.
            Fault: `objects_unavailable`.
        """
        if link.startswith("data:"):
            return await self._from_data(link)
        own = await self._find_own(link, workspace, resolves_oss=resolves_oss)
        if own is not None:
            return Content(own.digest, own.content_type, own.size_bytes, own.name)
        return await self._fetch(link, self._fetcher.limits.within(bounds))

    def is_own(self, link: str) -> bool:
        """Whether a link leads into our own store."""
        return (
            link.startswith((OBJECT_SCHEME, OSS_SCHEME, FILE_SCHEME)) or self._shelf.links.parse_own(link) is not None
        )

    async def _find_own(self, link: str, workspace: str, *, resolves_oss: bool) -> StoredObject | None:
        parsed = self._shelf.links.parse_own(link)
        if parsed is None and not link.startswith((OBJECT_SCHEME, OSS_SCHEME, FILE_SCHEME)):
            return None
        if link.startswith(OSS_SCHEME) and not resolves_oss:
            raise ContentFailed(failure_of("not_resolved"))
        async with self._shelf.database.read() as connection:
            found = None
            if parsed is not None:
                object_id, name, expires, signature = parsed
                found = await records.find_object(connection, object_id)
                if found is not None:
                    self._check(found, name, expires, signature)
            elif link.startswith(OSS_SCHEME):
                found = await records.find_upload(connection, workspace, link[len(OSS_SCHEME) :], now_us())
            elif link.startswith(FILE_SCHEME):
                file = await records.find_file(connection, workspace, link[len(FILE_SCHEME) :])
                found = None if file is None else file.object
            else:
                found = await records.find_object(connection, link[len(OBJECT_SCHEME) :])
        if found is None or found.workspace != workspace:
            raise ContentFailed(failure_of("not_yours"))
        return found

    def _check(self, found: StoredObject, name: str, expires: str, signature: str) -> None:
        try:
            self._shelf.links.check(found, name, expires, signature, now_us())
        except Fault:
            raise ContentFailed(failure_of("not_yours")) from None

    async def _from_data(self, link: str) -> Content:
        try:
            data = read_data_uri(link)
        except Fault:
            raise ContentFailed(failure_of("incomplete_url")) from None
        digest = await self._shelf.blobs.keep_bytes(data)
        return Content(digest, sniff(data[:4096]), len(data), "input")

    async def _fetch(self, link: str, limits: FetchLimits) -> Content:
        known = self._cache.get(link)
        if known is not None and known[0] > monotonic():
            size = known[1].size_bytes
            if size > limits.max_bytes:
                host = urlsplit(link).hostname or ""
                raise ContentFailed(failure_of(TOO_BIG, host=host, bytes=size, limit=limits.max_bytes))
            return known[1]
        with self._shelf.blobs.open_spool() as spool:
            try:
                await self._fetcher.fetch(link, spool.write, limits=limits)
            except FetchError as error:
                raise ContentFailed(explained(error, limits.max_bytes)) from None
            digest = await self._shelf.blobs.keep(spool)
            name = link.partition("?")[0].rpartition("/")[2] or "input"
            content = Content(digest, sniff(spool.head, name), spool.size_bytes, name)
        self._cache[link] = (monotonic() + CACHE_S, content)
        if len(self._cache) > MAX_CACHED:
            self._cache.popitem(last=False)
        return content

    async def put(self, content: Content, path: Path) -> Path:
        """Writes content to a file for a child process.

        Raises:
            Fault: `objects_unavailable`.
        """
        await self._shelf.blobs.fetch_to(content.digest, path)
        return path

    async def read(self, content: Content) -> bytes:
        """The bytes."""
        return await self._shelf.blobs.read_all(content.digest)


def explained(error: FetchError, max_bytes: int) -> TaskFailure:
    """A link's failure as a task tells it."""
    return failure_of(
        error.cause,
        host=error.host,
        status=error.status,
        bytes=error.size_bytes,
        seconds=error.seconds,
        limit=max_bytes,
    )
