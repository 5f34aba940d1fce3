"""Files and objects as the face serves them: links opened, files kept and listed, uploads taken, links revoked."""

from collections.abc import AsyncIterator

from steelyard.base import ids
from steelyard.base.clock import MICROS, now_us
from steelyard.base.errors import fault
from steelyard.base.lifetimes import FOREVER
from steelyard.canon.files import PREFIXES, StoredFile, StoredObject
from steelyard.canon.grant import Grant
from steelyard.store import audit, deliveries
from steelyard.store.deliveries import Delivery
from steelyard.store.objects import records
from steelyard.store.objects.blobs import Spool
from steelyard.tasks.notices import get_secret
from steelyard.tasks.shelf import Shelf

#: Uploads by the native policy live this long.
UPLOAD_TTL_S = 48 * 3600
MAX_FILES = 10_000
MAX_TOTAL_BYTES = 100 * 1024**3


class Library:
    """The use-cases."""

    def __init__(self, shelf: Shelf, master_key: bytes) -> None:
        self._shelf = shelf
        self._master_key = master_key
        self._database = shelf.database

    def open_spool(self) -> Spool:
        """Where a body goes on its way in."""
        return self._shelf.blobs.open_spool()

    # objects

    async def open_link(self, object_id: str, name: str, expires: str, signature: str) -> StoredObject:
        """What a signed link leads to.

        Raises:
            Fault: `link_not_valid`, or `object_not_found` where the link is good and the object is gone.
        """
        async with self._database.read() as connection:
            stored = await records.find_object(connection, object_id)
        if stored is None:
            # a forged link must not tell what exists: its signature cannot be looked at without the object
            raise fault("link_not_valid", reason="expired, or forged")
        self._shelf.links.check(stored, name, expires, signature, now_us())
        if stored.keep_until_us is not None and stored.keep_until_us < now_us():
            raise fault("link_not_valid", reason="expired")
        return stored

    def read(self, stored: StoredObject, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """An object's bytes."""
        return self._shelf.blobs.read(stored.digest, start, end)

    async def get_object(self, workspace: str | None, object_id: str) -> StoredObject:
        """An object of a workspace.

        Raises:
            Fault: `object_not_found`.
        """
        async with self._database.read() as connection:
            stored = await records.find_object(connection, object_id)
        if stored is None or (workspace is not None and stored.workspace != workspace):
            raise fault("object_not_found")
        return stored

    async def list_objects(self, workspace: str, limit: int) -> list[StoredObject]:
        """The newest first."""
        async with self._database.read() as connection:
            return await records.list_objects(connection, workspace, limit)

    async def publish(
        self, spool: Spool, *, workspace: str, name: str, ttl_s: int, actor: str
    ) -> tuple[StoredObject, str]:
        """Keeps a file behind a public link; the object and the link."""
        stored = await self._shelf.prepare(spool, workspace=workspace, name=name, ttl_s=ttl_s or None)
        async with self._database.write() as connection:
            await records.insert_objects(connection, [stored])
            await audit.append(connection, actor=actor, action="objects.publish", subject=stored.id, now_us=now_us())
        return stored, self._shelf.link(stored)

    def link(self, stored: StoredObject) -> str:
        """An object's public link."""
        return self._shelf.link(stored)

    def link_for(self, stored: StoredObject, ttl_s: int) -> str:
        """A link to an object for so long from now, 0 for ever, however long the object itself is kept."""
        return self._shelf.links.sign(stored, None if ttl_s == FOREVER else now_us() + ttl_s * MICROS)

    async def set_keeping(
        self, workspace: str | None, object_id: str, ttl_s: int, *, actor: str
    ) -> tuple[StoredObject, str]:
        """Keeps an object for so long from now, 0 for ever; its new link."""
        stored = await self.get_object(workspace, object_id)
        until_us = None if ttl_s == FOREVER else now_us() + ttl_s * MICROS
        async with self._database.write() as connection:
            await records.set_keeping(connection, stored.id, until_us)
            await audit.append(connection, actor=actor, action="objects.keep", subject=stored.id, now_us=now_us())
        stored = await self.get_object(workspace, object_id)
        return stored, self._shelf.link(stored)

    async def revoke_links(self, workspace: str | None, object_id: str, *, actor: str) -> StoredObject:
        """Makes every link to an object void that was told before."""
        stored = await self.get_object(workspace, object_id)
        async with self._database.write() as connection:
            await records.revoke_links(connection, stored.id)
            await audit.append(connection, actor=actor, action="objects.revoke", subject=stored.id, now_us=now_us())
        return await self.get_object(workspace, object_id)

    async def delete_object(self, workspace: str | None, object_id: str, *, actor: str) -> None:
        """Removes an object and with it every link."""
        stored = await self.get_object(workspace, object_id)
        async with self._database.write() as connection:
            await records.delete_object(connection, stored.id)
            await audit.append(connection, actor=actor, action="objects.delete", subject=stored.id, now_us=now_us())

    def domains(self) -> list[str]:
        """What a firewall or mini-program must let through to open any link of ours."""
        return [self._shelf.links.origin]

    # webhooks

    async def list_deliveries(self, task_id: str) -> list[Delivery]:
        """What a task's webhook was told."""
        async with self._database.read() as connection:
            return await deliveries.list_of(connection, None, task_id)

    async def redeliver(self, delivery_id: str, *, actor: str) -> Delivery:
        """Tells a webhook again, whatever came of it before.

        Raises:
            Fault: `resource_not_found`.
        """
        now = now_us()
        async with self._database.write() as connection:
            found = await deliveries.find(connection, delivery_id)
            if found is None:
                raise fault("resource_not_found", detail=" No delivery has this id.")
            await deliveries.set_result(connection, delivery_id, state=deliveries.WAITING, attempts=0, next_us=now)
            await audit.append(connection, actor=actor, action="webhooks.redeliver", subject=delivery_id, now_us=now)
            again = await deliveries.find(connection, delivery_id)
        assert again is not None
        return again

    async def get_webhook_secret(self, workspace: str, *, actor: str) -> str:
        """The secret that a workspace's notices are signed with."""
        async with self._database.write() as connection:
            await audit.append(connection, actor=actor, action="webhooks.secret", subject=workspace, now_us=now_us())
        return get_secret(self._master_key, workspace)

    # files

    async def add_file(
        self, spool: Spool, grant: Grant, *, purpose: str, name: str, description: str = ""
    ) -> StoredFile:
        """Keeps an uploaded file.

        Raises:
            Fault: `storage_full`.
        """
        async with self._database.read() as connection:
            count = await records.count_files(connection, grant.workspace)
            _, size_bytes = await records.sum_sizes(connection, grant.workspace)
        if count >= MAX_FILES or size_bytes + spool.size_bytes > MAX_TOTAL_BYTES:
            raise fault("storage_full")
        stored = await self._shelf.prepare(spool, workspace=grant.workspace, name=name, ttl_s=None)
        made = StoredFile(
            id=f"{PREFIXES.get(purpose, 'file')}-{ids.new_id('x')[2:]}",
            workspace=grant.workspace,
            key_id=grant.key_id,
            purpose=purpose,
            description=description,
            object=stored,
        )
        async with self._database.write() as connection:
            await records.insert_file(connection, made)
        return made

    async def get_file(self, workspace: str, file_id: str) -> StoredFile:
        """A file of a workspace.

        Raises:
            Fault: `file_not_found`.
        """
        async with self._database.read() as connection:
            found = await records.find_file(connection, workspace, file_id)
        if found is None:
            raise fault("file_not_found", id=file_id[:100])
        return found

    async def list_files(
        self, workspace: str, *, purpose: str | None, after: str, limit: int
    ) -> tuple[list[StoredFile], bool]:
        """Up to `limit` files older than `after`, and whether there are more.

        Raises:
            Fault: `file_not_found`: there is no such file to begin after.
        """
        before = None
        if after:
            last = await self.get_file(workspace, after)
            before = (last.object.created_us, last.id)
        async with self._database.read() as connection:
            found = await records.list_files(connection, workspace, purpose=purpose, before=before, limit=limit + 1)
        return found[:limit], len(found) > limit

    async def list_page(self, workspace: str, page_no: int, page_size: int) -> tuple[list[StoredFile], int]:
        """A page, and how many files there are."""
        async with self._database.read() as connection:
            total = await records.count_files(connection, workspace)
            offset = (page_no - 1) * page_size
            return await records.list_files(connection, workspace, offset=offset, limit=page_size), total

    async def delete_file(self, workspace: str, file_id: str) -> StoredFile:
        """Removes a file.

        Raises:
            Fault: `file_not_found`.
        """
        found = await self.get_file(workspace, file_id)
        async with self._database.write() as connection:
            await records.delete_file(connection, found)
        return found

    # uploads

    async def add_upload(self, spool: Spool, *, key: str, workspace: str, model: str) -> StoredObject:
        """Keeps what was uploaded under an `oss://` address.

        Raises:
            Fault: `upload_policy_invalid`: the address is taken.
        """
        async with self._database.read() as connection:
            if await records.has_upload(connection, key):
                raise fault("upload_policy_invalid", reason="the key is taken.")
        name = key.rpartition("/")[2]
        stored = await self._shelf.prepare(spool, workspace=workspace, name=name, ttl_s=UPLOAD_TTL_S)
        async with self._database.write() as connection:
            await records.insert_upload(connection, key, model, stored, now_us() + UPLOAD_TTL_S * MICROS)
        return stored


__all__ = ["Delivery", "Library", "Spool"]
