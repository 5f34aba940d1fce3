"""The apps of workspaces: drafts that are edited, versions that are published and can be gone back to."""

from __future__ import annotations

import msgspec

from steelyard.base import ids
from steelyard.base.clock import now_us
from steelyard.base.errors import Fault, fault
from steelyard.canon.apps import APP_PREFIX, App, AppSpec, AppVersion
from steelyard.store import apps, audit, changes
from steelyard.store.database import Database

MAX_APPS, MAX_VERSIONS, MAX_NAME_CHARS = 1000, 1000, 100


def check_spec(spec: AppSpec) -> None:
    """What an app may be.

    Raises:
        Fault: naming the field.
    """
    if spec.model.startswith(APP_PREFIX):
        raise fault("parameter_invalid", detail="An app's model is a model, not another app.", param="model")
    if any(not isinstance(value, str) for value in spec.variables.values()):
        raise fault("parameter_invalid", detail="variables are texts by name.", param="variables")
    for name in spec.parameters:
        if name in ("model", "messages", "stream", "stream_options", "tools", "tool_choice", "n"):
            raise fault("parameter_invalid", detail=f"{name} is not a parameter of an app.", param=f"parameters.{name}")


def _check_name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > MAX_NAME_CHARS:
        raise fault("parameter_invalid", detail=f"An app's name has 1 to {MAX_NAME_CHARS} characters.", param="name")
    return name


def _no_app(app_id: str) -> Fault:
    return fault("resource_not_found", detail=f" There is no app {app_id[:100]!r} in this workspace.")


class AppBook:
    """The use-cases."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, workspace: str, name: str, spec: AppSpec, *, actor: str) -> App:
        """Makes an app, not published.

        Raises:
            Fault: a field is unusable, or there are too many.
        """
        check_spec(spec)
        now = now_us()
        one = App(
            id=ids.new_id("app"),
            workspace=workspace,
            name=_check_name(name),
            draft=spec,
            created_us=now,
            modified_us=now,
        )
        async with self._database.write() as connection:
            _, total = await apps.list_apps(connection, workspace, offset=0, limit=1)
            if total >= MAX_APPS:
                raise fault("parameter_invalid", detail=f"A workspace has at most {MAX_APPS} apps.", param="name")
            await apps.insert_app(connection, one)
            await audit.append(connection, actor=actor, action="apps.create", subject=one.id, now_us=now)
        return one

    async def get(self, workspace: str, app_id: str) -> App:
        """An app.

        Raises:
            Fault: `resource_not_found`.
        """
        async with self._database.read() as connection:
            found = await apps.find_app(connection, workspace, app_id)
        if found is None:
            raise _no_app(app_id)
        return found

    async def get_published(self, workspace: str, app_id: str) -> AppSpec:
        """What callers of an app meet.

        Raises:
            Fault: `app_not_found`; also where it is not published.
        """
        async with self._database.read() as connection:
            found = await apps.find_app(connection, workspace, app_id)
            version = None if found is None else await apps.find_version(connection, app_id, found.published)
        if version is None:
            raise fault("app_not_found", id=app_id[:100])
        return version.spec

    async def list_page(self, workspace: str, *, offset: int, limit: int) -> tuple[list[App], int]:
        """The newest first, and how many there are."""
        async with self._database.read() as connection:
            return await apps.list_apps(connection, workspace, offset=offset, limit=limit)

    async def change(self, workspace: str, app_id: str, *, name: str | None, spec: AppSpec | None, actor: str) -> App:
        """Changes the name, the draft, or both. What is published stays as it is.

        Raises:
            Fault: `resource_not_found`, or a field is unusable.
        """
        if spec is not None:
            check_spec(spec)
        found = await self.get(workspace, app_id)
        changed = msgspec.structs.replace(
            found,
            name=found.name if name is None else _check_name(name),
            draft=found.draft if spec is None else spec,
            modified_us=now_us(),
        )
        async with self._database.write() as connection:
            await apps.change_app(connection, changed)
            await audit.append(
                connection, actor=actor, action="apps.change", subject=app_id, now_us=changed.modified_us
            )
        return changed

    async def publish(self, workspace: str, app_id: str, *, actor: str) -> App:
        """Makes the draft what callers meet, as a new version.

        Raises:
            Fault: `resource_not_found`.
        """
        now = now_us()
        async with self._database.write() as connection:
            found = await apps.find_app(connection, workspace, app_id)
            if found is None:
                raise _no_app(app_id)
            known = await apps.list_versions(connection, app_id)
            if len(known) >= MAX_VERSIONS:
                raise fault("parameter_invalid", detail=f"An app has at most {MAX_VERSIONS} versions.", param="version")
            number = known[0].version + 1 if known else 1
            await apps.insert_version(
                connection, AppVersion(app_id=app_id, version=number, spec=found.draft, created_us=now)
            )
            changed = msgspec.structs.replace(found, published=number, modified_us=now)
            await apps.change_app(connection, changed)
            await changes.append(connection, changes.WORKSPACE, workspace, now)
            detail = f"version {number}"
            await audit.append(
                connection, actor=actor, action="apps.publish", subject=app_id, detail=detail, now_us=now
            )
        return changed

    async def roll_back(self, workspace: str, app_id: str, version: int, *, actor: str) -> App:
        """Makes an earlier version what callers meet; 0 takes the app out of their reach. The draft stays.

        Raises:
            Fault: `resource_not_found`, or there is no such version.
        """
        now = now_us()
        async with self._database.write() as connection:
            found = await apps.find_app(connection, workspace, app_id)
            if found is None:
                raise _no_app(app_id)
            if version and await apps.find_version(connection, app_id, version) is None:
                raise fault("resource_not_found", detail=f" The app has no version {version}.")
            changed = msgspec.structs.replace(found, published=version, modified_us=now)
            await apps.change_app(connection, changed)
            await changes.append(connection, changes.WORKSPACE, workspace, now)
            detail = f"version {version}"
            await audit.append(
                connection, actor=actor, action="apps.roll_back", subject=app_id, detail=detail, now_us=now
            )
        return changed

    async def list_versions(self, workspace: str, app_id: str) -> list[AppVersion]:
        """An app's versions, newest first.

        Raises:
            Fault: `resource_not_found`.
        """
        await self.get(workspace, app_id)
        async with self._database.read() as connection:
            return await apps.list_versions(connection, app_id)

    async def delete(self, workspace: str, app_id: str, *, actor: str) -> None:
        """Deletes an app with its versions and sessions.

        Raises:
            Fault: `resource_not_found`.
        """
        now = now_us()
        async with self._database.write() as connection:
            if not await apps.delete_app(connection, workspace, app_id):
                raise _no_app(app_id)
            await changes.append(connection, changes.WORKSPACE, workspace, now)
            await audit.append(connection, actor=actor, action="apps.delete", subject=app_id, now_us=now)

    async def delete_session(self, workspace: str, app_id: str, session_id: str, *, actor: str) -> None:
        """Forgets a session.

        Raises:
            Fault: `session_not_found`.
        """
        now = now_us()
        async with self._database.write() as connection:
            if not await apps.delete_session(connection, workspace, app_id, session_id):
                raise fault("session_not_found", id=session_id[:100])
            await audit.append(connection, actor=actor, action="apps.forget_session", subject=app_id, now_us=now)
