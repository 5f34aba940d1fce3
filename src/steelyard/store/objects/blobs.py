"""Bytes by their SHA-256, on local disk or in S3: streamed in through a spool on disk, streamed out by ranges.

A blob appears whole or not at all. It is stored before anything that refers to it is, so nothing acknowledged is ever without it.
"""

import asyncio
import contextlib
import hashlib
import math
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from steelyard.base.clock import now_s
from steelyard.base.errors import Fault, SetupFault, fault

READ_BYTES = 512 * 1024
HEAD_BYTES = 4096
#: How long S3 is tried before its failure is told.
S3_TIMEOUT_S = 30
#: A blob that was stored this long ago at most need not be stored again.
FRESH_S = 1800.0


class Spool:
    """A body on its way in: on disk, hashed and counted as it comes."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / f"{secrets.token_hex(12)}.part"
        self._file: IO[bytes] = self._path.open("xb")
        self._hash = hashlib.sha256()
        self.size_bytes = 0
        #: The first bytes, by which its kind is known.
        self.head = b""

    def __repr__(self) -> str:
        return f"<Spool {self._path.name} [{self.size_bytes} bytes]>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Takes a part.

        Raises:
            Fault: `objects_unavailable`: the disk takes no more.
        """
        try:
            self._file.write(data)
        except OSError as exc:
            raise fault("objects_unavailable", detail=f" ({exc.strerror})") from exc
        self._hash.update(data)
        self.size_bytes += len(data)
        if len(self.head) < HEAD_BYTES:
            self.head += data[: HEAD_BYTES - len(self.head)]

    def finish(self) -> Path:
        """Everything is on disk; where it lies.

        Raises:
            Fault: as `write`.
        """
        try:
            self._file.flush()
        except OSError as exc:
            raise fault("objects_unavailable", detail=f" ({exc.strerror})") from exc
        return self._path

    @property
    def digest(self) -> str:
        """SHA-256 of what was written, in hexadecimal."""
        return self._hash.hexdigest()


class Blobs:
    """The store of an installation."""

    def __init__(self, store: LocalStore | S3Store, spool_dir: Path) -> None:
        self._store = store
        self._spool_dir = spool_dir

    def __repr__(self) -> str:
        return f"<Blobs {type(self._store).__name__}>"

    def open_spool(self) -> Spool:
        """A spool, to be used as a context.

        Raises:
            Fault: `objects_unavailable`.
        """
        try:
            return Spool(self._spool_dir)
        except OSError as exc:
            raise fault("objects_unavailable", detail=f" ({exc.strerror})") from exc

    async def keep(self, spool: Spool) -> str:
        """Stores what was spooled; its digest. The same bytes are stored once.

        Raises:
            Fault: `objects_unavailable`; nothing of it is there.
        """
        path, digest = spool.finish(), spool.digest
        with _told():
            # an old one is stored again, which dates it anew: the sweep leaves it alone until it is referred to
            if await self._age_s(digest) > FRESH_S:
                await obstore.put_async(self._store, _key(digest), path)
        return digest

    async def keep_bytes(self, data: bytes) -> str:
        """Stores bytes; their digest.

        Raises:
            Fault: `objects_unavailable`.
        """
        with self.open_spool() as spool:
            spool.write(data)
            return await self.keep(spool)

    async def _age_s(self, digest: str) -> float:
        """Seconds since a blob was stored; endless where it is not there."""
        try:
            found = await obstore.head_async(self._store, _key(digest))
        except FileNotFoundError:
            return math.inf
        return (datetime.now(UTC) - found["last_modified"]).total_seconds()

    async def has(self, digest: str) -> bool:
        """Whether a blob is there."""
        with _told():
            return await self._age_s(digest) < math.inf

    async def list_old(self, min_age_s: float = 2 * FRESH_S) -> AsyncIterator[list[str]]:
        """Digests of blobs that were stored a while ago, in portions."""
        with _told():
            async for portion in obstore.list(self._store, prefix="blobs", chunk_size=500):
                now = datetime.now(UTC)
                yield [
                    one["path"].rpartition("/")[2]
                    for one in portion
                    if (now - one["last_modified"]).total_seconds() > min_age_s
                ]

    async def read(self, digest: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """A blob's bytes from `start` to before `end`, in parts.

        Raises:
            Fault: `objects_unavailable`, also in the middle.
        """
        with _told():
            options: Any = {}
            if end is not None:
                options["range"] = (start, end)
            elif start:
                options["range"] = {"offset": start}
            found = await obstore.get_async(self._store, _key(digest), options=options or None)
            async for part in found.stream(min_chunk_size=READ_BYTES):
                yield bytes(part)

    async def read_all(self, digest: str) -> bytes:
        """A blob's bytes.

        Raises:
            Fault: `objects_unavailable`.
        """
        return b"".join([part async for part in self.read(digest)])

    async def fetch_to(self, digest: str, path: Path) -> None:
        """Writes a blob to a file."""
        with path.open("wb") as file:
            async for part in self.read(digest):
                await asyncio.to_thread(file.write, part)

    async def delete(self, digest: str) -> None:
        """Forgets a blob that nothing refers to any more."""
        with _told(), contextlib.suppress(FileNotFoundError):
            await obstore.delete_async(self._store, _key(digest))


def _key(digest: str) -> str:
    return f"blobs/{digest[:2]}/{digest}"


@contextlib.contextmanager
def _told() -> Any:
    """The store's failures as ours."""
    try:
        yield
    except Fault:
        raise
    except FileNotFoundError as exc:
        raise fault("object_not_found") from exc
    except (BaseError, OSError) as exc:
        first = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        raise fault("objects_unavailable", detail=f" ({_short(first)})") from exc


def _short(text: str) -> str:
    for word in ("No space left", "503", "SlowDown", "Permission denied", "timed out", "Connection refused"):
        if word in text:
            return word
    return "the object store failed"


def open_blobs(url: str, data_dir: Path, credentials: dict[str, str]) -> Blobs:
    """Opens `file:///path` (empty: `objects` in the data directory) or `s3://bucket?endpoint=…&region=…`.

    Raises:
        SetupFault: the address is of neither form, or the directory cannot be made.
    """
    spool_dir = data_dir / "spool"
    try:
        spool_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        parts = urlsplit(url or (data_dir / "objects").as_uri())
        if parts.scheme == "file":
            return Blobs(LocalStore(unquote(parts.path), mkdir=True), spool_dir)
    except (OSError, BaseError) as exc:
        raise SetupFault(f"[objects] url: the directory cannot be used: {_short(str(exc))}.") from None
    if parts.scheme != "s3" or not parts.netloc:
        raise SetupFault("[objects] url is not an address; use file:///DIRECTORY or s3://BUCKET?endpoint=URL.")
    query = dict(parse_qsl(parts.query))
    config: Any = {"region": query.get("region", "us-east-1"), **credentials}
    if "endpoint" in query:
        config["endpoint"] = query["endpoint"]
    if query.get("virtual_hosted") == "true":
        config["virtual_hosted_style_request"] = True
    options: Any = {"timeout": f"{S3_TIMEOUT_S}s", "allow_http": query.get("endpoint", "").startswith("http://")}
    retry: Any = {"max_retries": 3, "retry_timeout": timedelta(seconds=S3_TIMEOUT_S)}
    store = S3Store(parts.netloc, prefix=parts.path.strip("/") or None, config=config, client_options=options, retry_config=retry)  # fmt: skip
    return Blobs(store, spool_dir)


def sweep_spool(data_dir: Path) -> None:
    """Removes what a killed process left half-written."""
    for path in (data_dir / "spool").glob("*.part"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < now_s() - FRESH_S:
                path.unlink()


__all__ = ["Blobs", "Spool", "open_blobs", "sweep_spool"]
