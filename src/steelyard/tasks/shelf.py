"""Bytes of a workspace put into the object store, and taken out again."""

import msgspec

from steelyard.base import ids
from steelyard.base.clock import MICROS, now_us
from steelyard.canon.files import StoredObject
from steelyard.policy.media import safe_name, sniff
from steelyard.store.database import AsyncConnection, Database
from steelyard.store.objects import records
from steelyard.store.objects.blobs import Blobs, Spool
from steelyard.tasks.links import Links


class Shelf:
    """Objects of all workspaces."""

    def __init__(self, database: Database, blobs: Blobs, links: Links) -> None:
        self.database = database
        self.blobs = blobs
        self.links = links

    async def prepare(
        self, spool: Spool, *, workspace: str, name: str, ttl_s: int | None, content_type: str = ""
    ) -> StoredObject:
        """Stores the bytes; the object itself is added by whoever refers to it, in one transaction with that.

        Args:
            ttl_s: how long it is kept; None keeps it until it is deleted.
        """
        kind = content_type or sniff(spool.head, name)
        digest = await self.blobs.keep(spool)
        now = now_us()
        return StoredObject(
            id=ids.new_id("obj"),
            workspace=workspace,
            digest=digest,
            size_bytes=spool.size_bytes,
            content_type=kind,
            name=safe_name(name, kind),
            created_us=now,
            keep_until_us=None if ttl_s is None else now + ttl_s * MICROS,
        )

    async def prepare_bytes(self, data: bytes, *, workspace: str, name: str, ttl_s: int | None) -> StoredObject:
        """The same of bytes at hand."""
        with self.blobs.open_spool() as spool:
            spool.write(data)
            return await self.prepare(spool, workspace=workspace, name=name, ttl_s=ttl_s)

    async def join(
        self, object_ids: list[str], *, workspace: str, name: str, ttl_s: int | None, content_type: str = ""
    ) -> StoredObject:
        """Several objects one behind the other as one, to be added by whoever refers to it."""
        with self.blobs.open_spool() as spool:
            for object_id in object_ids:
                async with self.database.read() as connection:
                    stored = await records.find_object(connection, object_id)
                assert stored is not None
                async for part in self.blobs.read(stored.digest):
                    spool.write(part)
            return await self.prepare(spool, workspace=workspace, name=name, ttl_s=ttl_s, content_type=content_type)

    async def add(self, stored: StoredObject) -> StoredObject:
        """Adds an object by itself."""
        async with self.database.write() as connection:
            await records.insert_objects(connection, [stored])
        return stored

    def link(self, stored: StoredObject) -> str:
        """Its public link, good for as long as it is kept."""
        return self.links.sign(stored, stored.keep_until_us)

    async def links_of(self, connection: AsyncConnection, object_ids: list[str]) -> dict[str, str]:
        """The links of several; one whose time is over has none."""
        found = {}
        for object_id in object_ids:
            stored = await records.find_object(connection, object_id)
            if stored is not None:
                found[object_id] = self.link(stored)
        return found


def kept_from(stored: StoredObject, now: int, ttl_s: int | None) -> StoredObject:
    """The object, its time beginning now."""
    return msgspec.structs.replace(stored, keep_until_us=None if ttl_s is None else now + ttl_s * MICROS)
