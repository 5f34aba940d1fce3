"""Named statements on knowledge bases, documents and categories. What a workspace has, no statement shows to another."""

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Row, Table, and_, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from steelyard.canon.knowledge import BaseDocument, Category, Document, KnowledgeBase, Mark
from steelyard.store.insertion import insert_if_absent
from steelyard.store.schema import base_document, category, document, knowledge_base, task

T = TypeVar("T", bound=msgspec.Struct)
PORTION = 500
#: Columns that hold JSON.
_JSON = frozenset({"tags", "spec", "cutting", "metadata"})


def _columns(table: Table, kind: type[msgspec.Struct]) -> list[Any]:
    return [table.c[name] for name in kind.__struct_fields__]


def _read(row: Row[Any], kind: type[T]) -> T:
    fields = {
        name: msgspec.json.decode(value) if name in _JSON else value
        for name, value in zip(kind.__struct_fields__, row, strict=True)
    }
    return msgspec.convert(fields, kind)


def _values(record: msgspec.Struct) -> dict[str, Any]:
    return {
        name: msgspec.json.encode(value).decode() if name in _JSON else value
        for name, value in ((name, getattr(record, name)) for name in record.__struct_fields__)
    }


def _after(table: Table, mark: Mark | None, identifier: Any = None) -> list[ColumnElement[bool]]:
    """Older than a mark."""
    if mark is None:
        return []
    created, identifier = table.c.created_us, table.c.id if identifier is None else identifier
    return [or_(created < mark[0], and_(created == mark[0], identifier < mark[1]))]


# categories


async def insert_category(connection: AsyncConnection, record: Category) -> None:
    """Adds one."""
    await connection.execute(insert(category).values(**_values(record)))


async def find_category(connection: AsyncConnection, workspace: str, category_id: str) -> Category | None:
    """One of a workspace."""
    query = select(*_columns(category, Category)).where(category.c.workspace == workspace, category.c.id == category_id)
    row = (await connection.execute(query)).first()
    return None if row is None else _read(row, Category)


async def list_categories(
    connection: AsyncConnection, workspace: str, *, mark: Mark | None = None, limit: int = 100, **filters: str
) -> tuple[list[Category], int]:
    """The newest first, and how many there are."""
    where = [category.c.workspace == workspace, *(category.c[name] == value for name, value in filters.items())]
    total = int(await connection.scalar(select(func.count()).select_from(category).where(*where)) or 0)
    rows = await connection.execute(
        select(*_columns(category, Category))
        .where(*where, *_after(category, mark))
        .order_by(category.c.created_us.desc(), category.c.id.desc())
        .limit(limit)
    )
    return [_read(row, Category) for row in rows], total


async def delete_category(connection: AsyncConnection, workspace: str, category_id: str) -> None:
    """Removes one."""
    await connection.execute(delete(category).where(category.c.workspace == workspace, category.c.id == category_id))


# documents


async def insert_document(connection: AsyncConnection, record: Document) -> bool:
    """Adds one; False where its id is there already."""
    return await insert_if_absent(connection, document, _values(record))


async def find_documents(
    connection: AsyncConnection, workspace: str, document_ids: Sequence[str]
) -> dict[str, Document]:
    """Those of a workspace, by id."""
    found: dict[str, Document] = {}
    for start in range(0, len(document_ids), PORTION):
        query = select(*_columns(document, Document)).where(
            document.c.workspace == workspace, document.c.id.in_(document_ids[start : start + PORTION])
        )
        found |= {row.id: _read(row, Document) for row in await connection.execute(query)}
    return found


async def find_document(connection: AsyncConnection, workspace: str, document_id: str) -> Document | None:
    """One of a workspace."""
    return (await find_documents(connection, workspace, [document_id])).get(document_id)


async def list_documents(
    connection: AsyncConnection,
    workspace: str,
    *,
    categories: Sequence[str] = (),
    name_part: str = "",
    mark: Mark | None = None,
    limit: int = 100,
) -> tuple[list[Document], int]:
    """The newest first, and how many there are."""
    where = [document.c.workspace == workspace]
    if categories:
        where.append(document.c.category_id.in_(categories))
    if name_part:
        where.append(document.c.name.contains(name_part, autoescape=True))
    total = int(await connection.scalar(select(func.count()).select_from(document).where(*where)) or 0)
    rows = await connection.execute(
        select(*_columns(document, Document))
        .where(*where, *_after(document, mark))
        .order_by(document.c.created_us.desc(), document.c.id.desc())
        .limit(limit)
    )
    return [_read(row, Document) for row in rows], total


async def update_document(connection: AsyncConnection, document_id: str, **values: Any) -> bool:
    """Changes fields; False where it is gone."""
    if "tags" in values:
        values["tags"] = msgspec.json.encode(values["tags"]).decode()
    done = await connection.execute(update(document).where(document.c.id == document_id).values(**values))
    return done.rowcount == 1


async def delete_document(connection: AsyncConnection, document_id: str) -> None:
    """Removes one, from every base too."""
    await connection.execute(delete(base_document).where(base_document.c.document_id == document_id))
    await connection.execute(delete(document).where(document.c.id == document_id))


async def list_bases_of(connection: AsyncConnection, workspace: str, document_id: str) -> list[str]:
    """The bases that a document is in."""
    query = select(base_document.c.base_id).where(
        base_document.c.workspace == workspace, base_document.c.document_id == document_id
    )
    return [row.base_id for row in await connection.execute(query)]


# bases


async def insert_base(connection: AsyncConnection, record: KnowledgeBase) -> None:
    """Adds one."""
    await connection.execute(insert(knowledge_base).values(**_values(record)))


async def find_base(connection: AsyncConnection, workspace: str, base_id: str) -> KnowledgeBase | None:
    """One of a workspace."""
    query = select(*_columns(knowledge_base, KnowledgeBase)).where(
        knowledge_base.c.workspace == workspace, knowledge_base.c.id == base_id
    )
    row = (await connection.execute(query)).first()
    return None if row is None else _read(row, KnowledgeBase)


async def list_bases(
    connection: AsyncConnection,
    workspace: str | None,
    *,
    name_part: str = "",
    mark: Mark | None = None,
    offset: int = 0,
    limit: int = 100,
) -> tuple[list[KnowledgeBase], int]:
    """The newest first, and how many there are; None looks into all workspaces."""
    where: list[ColumnElement[bool]] = [] if workspace is None else [knowledge_base.c.workspace == workspace]
    if name_part:
        where.append(knowledge_base.c.name.contains(name_part, autoescape=True))
    total = int(await connection.scalar(select(func.count()).select_from(knowledge_base).where(*where)) or 0)
    rows = await connection.execute(
        select(*_columns(knowledge_base, KnowledgeBase))
        .where(*where, *_after(knowledge_base, mark))
        .order_by(knowledge_base.c.created_us.desc(), knowledge_base.c.id.desc())
        .offset(offset)
        .limit(limit)
    )
    return [_read(row, KnowledgeBase) for row in rows], total


async def update_base(connection: AsyncConnection, record: KnowledgeBase) -> None:
    """Replaces what is said of one."""
    values = _values(record)
    await connection.execute(
        update(knowledge_base)
        .where(knowledge_base.c.id == record.id)
        .values(name=values["name"], spec=values["spec"], modified_us=values["modified_us"])
    )


async def delete_base(connection: AsyncConnection, base_id: str) -> None:
    """Removes one, and what it knows of its documents."""
    await connection.execute(delete(base_document).where(base_document.c.base_id == base_id))
    await connection.execute(delete(knowledge_base).where(knowledge_base.c.id == base_id))


# documents in bases


async def put_base_document(connection: AsyncConnection, record: BaseDocument) -> None:
    """Adds one, or says anew how it is to be taken in; what it was made from before stays known."""
    values = _values(record)
    if not await insert_if_absent(connection, base_document, values):
        kept = ("name", "size_bytes", "status", "code", "message", "cutting", "metadata", "job_id", "modified_us")
        await connection.execute(
            update(base_document)
            .where(base_document.c.base_id == record.base_id, base_document.c.document_id == record.document_id)
            .values(**{name: values[name] for name in kept})
        )


async def update_base_document(connection: AsyncConnection, base_id: str, document_id: str, **values: Any) -> bool:
    """Changes fields; False where it is gone."""
    if "metadata" in values:
        values["metadata"] = msgspec.json.encode(values["metadata"]).decode()
    done = await connection.execute(
        update(base_document)
        .where(base_document.c.base_id == base_id, base_document.c.document_id == document_id)
        .values(**values)
    )
    return done.rowcount == 1


async def find_base_document(connection: AsyncConnection, base_id: str, document_id: str) -> BaseDocument | None:
    """One."""
    found, _ = await list_base_documents(connection, base_id, document_ids=(document_id,), limit=1)
    return found[0] if found else None


async def list_base_documents(
    connection: AsyncConnection,
    base_id: str,
    *,
    document_ids: Sequence[str] | None = None,
    job_id: str = "",
    status: str = "",
    name_part: str = "",
    name: str = "",
    mark: Mark | None = None,
    offset: int = 0,
    limit: int = 100,
) -> tuple[list[BaseDocument], int]:
    """The newest first, and how many there are."""
    where = [base_document.c.base_id == base_id]
    if document_ids is not None:
        where.append(base_document.c.document_id.in_(document_ids))
    where += [
        base_document.c[column] == value
        for column, value in (("job_id", job_id), ("status", status), ("name", name))
        if value
    ]
    if name_part:
        where.append(base_document.c.name.contains(name_part, autoescape=True))
    total = int(await connection.scalar(select(func.count()).select_from(base_document).where(*where)) or 0)
    rows = await connection.execute(
        select(*_columns(base_document, BaseDocument))
        .where(*where, *_after(base_document, mark, base_document.c.document_id))
        .order_by(base_document.c.created_us.desc(), base_document.c.document_id.desc())
        .offset(offset)
        .limit(limit)
    )
    return [_read(row, BaseDocument) for row in rows], total


async def count_base_documents(connection: AsyncConnection, base_id: str, job_id: str = "") -> dict[str, int]:
    """How many there are, by status."""
    where = [base_document.c.base_id == base_id]
    if job_id:
        where.append(base_document.c.job_id == job_id)
    query = select(base_document.c.status, func.count()).where(*where).group_by(base_document.c.status)
    return {status: int(count) for status, count in await connection.execute(query)}


async def sum_base_bytes(connection: AsyncConnection, base_id: str) -> int:
    """The size of a base's documents."""
    query = select(func.sum(base_document.c.size_bytes)).where(base_document.c.base_id == base_id)
    return int(await connection.scalar(query) or 0)


async def delete_base_document(connection: AsyncConnection, base_id: str, document_id: str) -> bool:
    """Takes one out of a base; False where it was not in it."""
    done = await connection.execute(
        delete(base_document).where(base_document.c.base_id == base_id, base_document.c.document_id == document_id)
    )
    return done.rowcount == 1


async def find_same(connection: AsyncConnection, base_id: str, digest: str, but: str) -> BaseDocument | None:
    """A document in a base that is found and has the same bytes as another."""
    query = (
        select(*_columns(base_document, BaseDocument))
        .join(document, document.c.id == base_document.c.document_id)
        .where(
            base_document.c.base_id == base_id,
            base_document.c.document_id != but,
            base_document.c.status == "FINISH",
            document.c.digest == digest,
        )
        .limit(1)
    )
    row = (await connection.execute(query)).first()
    return None if row is None else _read(row, BaseDocument)


async def list_tagged(connection: AsyncConnection, base_id: str, tags: Sequence[str]) -> list[str]:
    """Documents of a base that have one of these tags."""
    query = (
        select(document.c.id, document.c.tags)
        .join(base_document, base_document.c.document_id == document.c.id)
        .where(base_document.c.base_id == base_id, document.c.tags != "[]")
    )
    wanted = set(tags)
    return [row.id for row in await connection.execute(query) if wanted & set(msgspec.json.decode(row.tags))]


async def refuse_abandoned(connection: AsyncConnection, now_us: int, older_than_us: int) -> int:
    """What waits for a task that is over, or that never came to be, waits no longer; how much."""
    alive = select(task.c.id).where(task.c.owner != "-")
    done = await connection.execute(
        update(base_document)
        .where(
            base_document.c.status == "RUNNING",
            base_document.c.modified_us < older_than_us,
            base_document.c.job_id.not_in(alive),
        )
        .values(
            status="INSERT_ERROR",
            code="JobEnded",
            message="the job ended before it came to this document; submit it again",
            modified_us=now_us,
        )
    )
    return done.rowcount


async def list_attributes(connection: AsyncConnection, base_id: str) -> dict[str, dict[str, Any]]:
    """What is said of each document of a base."""
    query = select(base_document.c.document_id, base_document.c.metadata).where(base_document.c.base_id == base_id)
    return {row.document_id: msgspec.json.decode(row.metadata) for row in await connection.execute(query)}


async def list_unparsed(connection: AsyncConnection, older_than_us: int, but_category: str) -> list[Document]:
    """Documents of all workspaces that have waited to be parsed since a time; those of one category are parsed when they are asked for."""
    query = (
        select(*_columns(document, Document))
        .where(
            document.c.status.in_(("IN_PARSE_QUEUE", "PARSING")),
            document.c.modified_us < older_than_us,
            document.c.category_id != but_category,
        )
        .limit(PORTION)
    )
    return [_read(row, Document) for row in await connection.execute(query)]


async def list_document_ids(connection: AsyncConnection, base_id: str) -> frozenset[str]:
    """The documents of a base."""
    query = select(base_document.c.document_id).where(base_document.c.base_id == base_id)
    return frozenset(await connection.scalars(query))
