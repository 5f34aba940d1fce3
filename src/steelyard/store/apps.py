"""Named statements on apps, their versions, and the turns of sessions. Every one names the workspace."""

from typing import Any

import msgspec
from sqlalchemy import Row, delete, exists, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from steelyard.canon.apps import App, AppSpec, AppVersion
from steelyard.store.insertion import insert_if_absent
from steelyard.store.schema import app, app_version, session_turn


def _spec(text: str) -> AppSpec:
    return msgspec.json.decode(text, type=AppSpec)


def _text(spec: AppSpec) -> str:
    return msgspec.json.encode(spec).decode()


def _app(row: Row[Any]) -> App:
    return App(**{**row._mapping, "draft": _spec(row.draft)})


async def insert_app(connection: AsyncConnection, one: App) -> None:
    """Adds an app."""
    await connection.execute(insert(app).values(**{**msgspec.structs.asdict(one), "draft": _text(one.draft)}))


async def find_app(connection: AsyncConnection, workspace: str, app_id: str) -> App | None:
    """An app of a workspace."""
    row = (await connection.execute(select(app).where(app.c.id == app_id, app.c.workspace == workspace))).first()
    return None if row is None else _app(row)


async def list_apps(connection: AsyncConnection, workspace: str, *, offset: int, limit: int) -> tuple[list[App], int]:
    """A page of a workspace's apps, newest first, and how many there are."""
    where = app.c.workspace == workspace
    total = int(await connection.scalar(select(func.count()).select_from(app).where(where)) or 0)
    rows = await connection.execute(
        select(app).where(where).order_by(app.c.created_us.desc(), app.c.id).offset(offset).limit(limit)
    )
    return [_app(row) for row in rows], total


async def list_published(connection: AsyncConnection) -> list[tuple[str, str]]:
    """(workspace, id) of every app that callers meet."""
    rows = await connection.execute(select(app.c.workspace, app.c.id).where(app.c.published > 0))
    return [(row.workspace, row.id) for row in rows]


async def change_app(connection: AsyncConnection, one: App) -> None:
    """Writes name, draft and published version."""
    values = {"name": one.name, "draft": _text(one.draft), "published": one.published, "modified_us": one.modified_us}
    await connection.execute(update(app).where(app.c.id == one.id).values(**values))


async def delete_app(connection: AsyncConnection, workspace: str, app_id: str) -> bool:
    """Deletes an app with its versions and sessions; False where there is none."""
    done = await connection.execute(delete(app).where(app.c.id == app_id, app.c.workspace == workspace))
    if not done.rowcount:
        return False
    await connection.execute(delete(app_version).where(app_version.c.app_id == app_id))
    await connection.execute(delete(session_turn).where(session_turn.c.app_id == app_id))
    return True


# versions


async def insert_version(connection: AsyncConnection, one: AppVersion) -> None:
    """Adds a version."""
    values = {**msgspec.structs.asdict(one), "spec": _text(one.spec)}
    await connection.execute(insert(app_version).values(**values))


async def find_version(connection: AsyncConnection, app_id: str, version: int) -> AppVersion | None:
    """A version of an app."""
    where = (app_version.c.app_id == app_id, app_version.c.version == version)
    row = (await connection.execute(select(app_version).where(*where))).first()
    return None if row is None else AppVersion(**{**row._mapping, "spec": _spec(row.spec)})


async def list_versions(connection: AsyncConnection, app_id: str) -> list[AppVersion]:
    """An app's versions, newest first."""
    rows = await connection.execute(
        select(app_version).where(app_version.c.app_id == app_id).order_by(app_version.c.version.desc())
    )
    return [AppVersion(**{**row._mapping, "spec": _spec(row.spec)}) for row in rows]


# sessions


async def insert_turn(connection: AsyncConnection, turn_id: str, **values: Any) -> None:
    """Adds a turn; the same one a second time changes nothing. See `session_turn`."""
    await insert_if_absent(connection, session_turn, {"id": turn_id, **values})


async def list_turns(
    connection: AsyncConnection, workspace: str, app_id: str, session_id: str, *, now_us: int, limit: int
) -> list[str]:
    """What was said last in a session, oldest first; nothing where it has expired."""
    of_session = (
        session_turn.c.workspace == workspace,
        session_turn.c.app_id == app_id,
        session_turn.c.session_id == session_id,
    )
    newest = await connection.scalar(select(func.max(session_turn.c.expires_us)).where(*of_session))
    if newest is None or newest <= now_us:
        return []
    rows = await connection.scalars(
        select(session_turn.c.messages)
        .where(*of_session)
        .order_by(session_turn.c.created_us.desc(), session_turn.c.id.desc())
        .limit(limit)
    )
    return list(rows)[::-1]


async def list_sessions(
    connection: AsyncConnection, workspace: str, app_id: str, *, now_us: int, offset: int, limit: int
) -> list[dict[str, Any]]:
    """Sessions that go on: id, number of turns, first and last time."""
    rows = await connection.execute(
        select(
            session_turn.c.session_id,
            func.count().label("turns"),
            func.min(session_turn.c.created_us).label("created_us"),
            func.max(session_turn.c.created_us).label("modified_us"),
            func.max(session_turn.c.expires_us).label("expires_us"),
        )
        .where(session_turn.c.workspace == workspace, session_turn.c.app_id == app_id)
        .group_by(session_turn.c.session_id)
        .having(func.max(session_turn.c.expires_us) > now_us)
        .order_by(func.max(session_turn.c.created_us).desc())
        .offset(offset)
        .limit(limit)
    )
    return [dict(row._mapping) for row in rows]


async def delete_session(connection: AsyncConnection, workspace: str, app_id: str, session_id: str) -> bool:
    """Forgets a session; False where there is none."""
    done = await connection.execute(
        delete(session_turn).where(
            session_turn.c.workspace == workspace,
            session_turn.c.app_id == app_id,
            session_turn.c.session_id == session_id,
        )
    )
    return done.rowcount > 0


async def forget_expired(connection: AsyncConnection, now_us: int) -> None:
    """Forgets sessions that nobody went on with: all of a session's turns, or none."""
    newer = session_turn.alias("newer")
    goes_on = exists().where(
        newer.c.workspace == session_turn.c.workspace,
        newer.c.app_id == session_turn.c.app_id,
        newer.c.session_id == session_turn.c.session_id,
        newer.c.expires_us > now_us,
    )
    await connection.execute(delete(session_turn).where(session_turn.c.expires_us <= now_us, ~goes_on))
