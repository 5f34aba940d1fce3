"""Objects, files and uploads as records. A blob is free once no object refers to it."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Select, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from steelyard.canon.files import StoredFile, StoredObject
from steelyard.store.schema import file, object_, upload

_OBJECT = [object_.c[name] for name in StoredObject.__struct_fields__]
_OBJECT_SIZE = len(_OBJECT)


def _object(row: Row[Any], start: int = 0) -> StoredObject:
    return StoredObject(**dict(zip(StoredObject.__struct_fields__, row[start : start + _OBJECT_SIZE], strict=True)))


async def insert_objects(connection: AsyncConnection, objects: Sequence[StoredObject]) -> None:
    """Adds objects; their blobs are there already."""
    if objects:
        rows = [{name: getattr(one, name) for name in StoredObject.__struct_fields__} for one in objects]
        await connection.execute(insert(object_), rows)


async def find_object(connection: AsyncConnection, object_id: str) -> StoredObject | None:
    """One object, whoever owns it."""
    row = (await connection.execute(select(*_OBJECT).where(object_.c.id == object_id))).first()
    return None if row is None else _object(row)


async def list_objects(connection: AsyncConnection, workspace: str, limit: int) -> list[StoredObject]:
    """The newest first."""
    query = select(*_OBJECT).where(object_.c.workspace == workspace).order_by(object_.c.created_us.desc()).limit(limit)
    return [_object(row) for row in await connection.execute(query)]


async def set_keeping(connection: AsyncConnection, object_id: str, keep_until_us: int | None) -> None:
    """How long an object is kept."""
    await connection.execute(update(object_).where(object_.c.id == object_id).values(keep_until_us=keep_until_us))


async def revoke_links(connection: AsyncConnection, object_id: str) -> None:
    """Makes every link to an object void."""
    raised = update(object_).where(object_.c.id == object_id).values(link_epoch=object_.c.link_epoch + 1)
    await connection.execute(raised)


async def delete_object(connection: AsyncConnection, object_id: str) -> None:
    """Removes an object."""
    await connection.execute(delete(object_).where(object_.c.id == object_id))


async def forget_objects(connection: AsyncConnection, now_us: int) -> None:
    """Forgets objects whose time is over."""
    await connection.execute(delete(object_).where(object_.c.keep_until_us < now_us))


async def list_referred(connection: AsyncConnection, digests: Sequence[str]) -> set[str]:
    """Which of these blobs any object has."""
    return set(await connection.scalars(select(object_.c.digest).where(object_.c.digest.in_(digests)).distinct()))


async def sum_sizes(connection: AsyncConnection, workspace: str) -> tuple[int, int]:
    """How many objects a workspace has, and their bytes."""
    query = select(func.count(), func.coalesce(func.sum(object_.c.size_bytes), 0)).where(
        object_.c.workspace == workspace
    )
    row = (await connection.execute(query)).one()
    return int(row[0]), int(row[1])


# files

_FILE = [file.c[name] for name in ("id", "workspace", "key_id", "purpose", "description", "status")]


def _files() -> Select[Any]:
    return select(*_FILE, *_OBJECT).join(object_, object_.c.id == file.c.object_id)


def _file(row: Row[Any]) -> StoredFile:
    return StoredFile(**dict(zip((one.name for one in _FILE), row, strict=False)), object=_object(row, len(_FILE)))


async def insert_file(connection: AsyncConnection, one: StoredFile) -> None:
    """Adds a file and its object."""
    await insert_objects(connection, [one.object])
    values = {column.name: getattr(one, column.name) for column in _FILE}
    await connection.execute(insert(file).values(**values, object_id=one.object.id, created_us=one.object.created_us))


async def find_file(connection: AsyncConnection, workspace: str, file_id: str) -> StoredFile | None:
    """One file of a workspace."""
    row = (await connection.execute(_files().where(file.c.id == file_id, file.c.workspace == workspace))).first()
    return None if row is None else _file(row)


async def list_files(
    connection: AsyncConnection,
    workspace: str,
    *,
    purpose: str | None = None,
    before: tuple[int, str] | None = None,
    offset: int = 0,
    limit: int,
) -> list[StoredFile]:
    """The newest first.

    Args:
        before: (created_us, id) of the file after which the page begins.
    """
    query = _files().where(file.c.workspace == workspace)
    if purpose is not None:
        query = query.where(file.c.purpose == purpose)
    if before is not None:
        created_us, file_id = before
        is_older = (file.c.created_us < created_us) | ((file.c.created_us == created_us) & (file.c.id < file_id))
        query = query.where(is_older)
    query = query.order_by(file.c.created_us.desc(), file.c.id.desc()).offset(offset).limit(limit)
    return [_file(row) for row in await connection.execute(query)]


async def count_files(connection: AsyncConnection, workspace: str) -> int:
    """How many files a workspace has."""
    return int(await connection.scalar(select(func.count()).where(file.c.workspace == workspace)) or 0)


async def delete_file(connection: AsyncConnection, one: StoredFile) -> None:
    """Removes a file and its object."""
    await connection.execute(delete(file).where(file.c.id == one.id))
    await delete_object(connection, one.object.id)


# uploads


async def insert_upload(
    connection: AsyncConnection, key: str, model: str, stored: StoredObject, expires_us: int
) -> None:
    """Adds what was uploaded under an address."""
    await insert_objects(connection, [stored])
    await connection.execute(
        insert(upload).values(
            key=key, workspace=stored.workspace, model=model, object_id=stored.id, expires_us=expires_us
        )
    )


async def find_upload(connection: AsyncConnection, workspace: str, key: str, now_us: int) -> StoredObject | None:
    """What lies under an `oss://` address of a workspace, until its time is over."""
    query = (
        select(*_OBJECT)
        .join(upload, object_.c.id == upload.c.object_id)
        .where(upload.c.key == key, upload.c.workspace == workspace, upload.c.expires_us > now_us)
    )
    row = (await connection.execute(query)).first()
    return None if row is None else _object(row)


async def has_upload(connection: AsyncConnection, key: str) -> bool:
    """Whether an address is taken."""
    return await connection.scalar(select(upload.c.key).where(upload.c.key == key)) is not None


async def forget_uploads(connection: AsyncConnection, now_us: int) -> None:
    """Forgets addresses whose time is over; their objects go with theirs."""
    await connection.execute(delete(upload).where(upload.c.expires_us <= now_us))


async def find_named_upload(
    connection: AsyncConnection, workspace: str, key: str, now_us: int
) -> tuple[str, StoredObject] | None:
    """What lies under an address of a workspace, and what was said with it."""
    found = await find_upload(connection, workspace, key, now_us)
    if found is None:
        return None
    said = await connection.scalar(select(upload.c.model).where(upload.c.key == key))
    return str(said), found


async def forget_upload(connection: AsyncConnection, key: str) -> None:
    """Forgets an address, and what lies under it."""
    of_it = select(upload.c.object_id).where(upload.c.key == key)
    await connection.execute(delete(object_).where(object_.c.id.in_(of_it)))
    await connection.execute(delete(upload).where(upload.c.key == key))


async def release_upload(connection: AsyncConnection, key: str) -> None:
    """Forgets an address; what lay under it is somebody's by now."""
    await connection.execute(delete(upload).where(upload.c.key == key))
