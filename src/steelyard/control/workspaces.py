"""Making and activating workspaces."""

import re
from typing import Any

import msgspec

from steelyard.base.clock import now_us
from steelyard.base.errors import fault
from steelyard.canon.cache import CachePolicy
from steelyard.canon.downloads import DownloadBounds
from steelyard.canon.grant import ALERT, COUNT, DISABLE, OFF, REFUSE
from steelyard.canon.limits import Limits
from steelyard.control.limits import check_limits
from steelyard.dialects.bailian_wire import RESERVED
from steelyard.store import audit, changes, workspaces
from steelyard.store.database import Database
from steelyard.store.workspaces import WorkspaceRecord

DEFAULT = "default"
#: Kept answers are forgotten after a day.
MAX_CACHE_S = 86_400
#: Operations of the control API that a workspace may demand a temporary token for.
STEP_UP_ACTIONS = (
    "apps.create",
    "apps.delete",
    "inspection.set",
    "keys.create",
    "keys.delete",
    "keys.limit",
    "keys.rotate",
    "plugins.add",
    "plugins.remove",
    "providers.add",
    "providers.remove",
    "routes.set",
    "workspaces.limit",
)
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


async def ensure_default(database: Database) -> None:
    """Workspace `default` exists from the first start."""
    async with database.write() as connection:
        if await workspaces.find_workspace(connection, DEFAULT) is None:
            await workspaces.insert_workspace(connection, DEFAULT, now_us())


async def create_workspace(database: Database, name: str, *, actor: str) -> WorkspaceRecord:
    """Makes a workspace, not activated.

    Raises:
        Fault: the name is unusable or taken.
    """
    if not _NAME.fullmatch(name) or name in RESERVED:
        raise fault(
            "parameter_invalid",
            detail="A workspace's name has lower-case letters, digits and hyphens, and is not reserved.",
        )
    now = now_us()
    async with database.write() as connection:
        if await workspaces.find_workspace(connection, name) is not None:
            raise fault("name_taken", detail=f"Workspace {name!r} exists already.")
        await workspaces.insert_workspace(connection, name, now)
        await changes.append(connection, changes.WORKSPACE, name, now)
        await audit.append(connection, actor=actor, action="workspaces.create", subject=name, now_us=now)
    return await get_workspace(database, name)


async def activate_workspace(
    database: Database, name: str, free_tokens: int, *, actor: str
) -> tuple[WorkspaceRecord, bool]:
    """Activates a workspace and grants the free tokens, once; the second value says whether it was done now."""
    await get_workspace(database, name)
    now = now_us()
    async with database.write() as connection:
        is_new = await workspaces.activate(connection, name, free_tokens, now)
        if is_new:
            await changes.append(connection, changes.WORKSPACE, name, now)
            await audit.append(connection, actor=actor, action="workspaces.activate", subject=name, now_us=now)
    return await get_workspace(database, name), is_new


async def set_limits(
    database: Database,
    name: str,
    *,
    limits: Limits,
    unknown_price: str = REFUSE,
    step_up: tuple[str, ...] = (),
    hygiene: str = ALERT,
    actor: str,
) -> WorkspaceRecord:
    """Replaces what all keys of a workspace together may take; every process follows within two seconds.

    Raises:
        Fault: a value is out of range, or there is no such workspace.
    """
    check_limits(limits)
    if unknown_price not in (REFUSE, COUNT):
        detail = f"unknown_price must be {REFUSE} or {COUNT}."
        raise fault("parameter_invalid", detail=detail, param="unknown_price")
    for action in step_up:
        if action not in STEP_UP_ACTIONS:
            detail = f"unknown operation {action!r}; known: {', '.join(STEP_UP_ACTIONS)}."
            raise fault("parameter_invalid", detail=detail, param="step_up")
    if hygiene not in (OFF, ALERT, DISABLE):
        raise fault("parameter_invalid", detail=f"hygiene must be {OFF}, {ALERT} or {DISABLE}.", param="hygiene")
    fields = {"limits": limits, "unknown_price": unknown_price, "step_up": step_up, "hygiene": hygiene}
    return await change_policy(database, name, actor=actor, action="workspaces.limit", **fields)


async def set_cache(database: Database, name: str, policy: CachePolicy, *, actor: str) -> WorkspaceRecord:
    """Says whether answers are kept for calls that are exactly the same; every process follows within two seconds.

    Raises:
        Fault: a value is out of range, or there is no such workspace.
    """
    if not 0 <= policy.ttl_s <= MAX_CACHE_S:
        detail = f"ttl_s lies in 0 (off) to {MAX_CACHE_S} seconds."
        raise fault("parameter_invalid", detail=detail, param="ttl_s")
    if not 0 <= policy.price_percent <= 100:
        raise fault("parameter_invalid", detail="price_percent lies in 0 to 100.", param="price_percent")
    return await change_policy(database, name, actor=actor, action="workspaces.cache", cache=policy)


async def set_downloads(database: Database, name: str, bounds: DownloadBounds, *, actor: str) -> WorkspaceRecord:
    """Bounds how much of their links a workspace's calls follow, within what the operator allows.

    Raises:
        Fault: a value is out of range, or there is no such workspace.
    """
    bounds.check()
    return await change_policy(database, name, actor=actor, action="workspaces.downloads", downloads=bounds)


async def set_models(database: Database, name: str, models: tuple[str, ...], *, actor: str) -> WorkspaceRecord:
    """Opens certain models to a workspace and closes all others; none named opens all.

    Raises:
        Fault: an empty name, or there is no such workspace.
    """
    if any(not one.strip() for one in models):
        raise fault("parameter_invalid", detail="A model's name is empty.", param="models")
    named = tuple(dict.fromkeys(models))
    return await change_policy(database, name, actor=actor, action="workspaces.models", models=named)


async def set_tools(database: Database, name: str, tools: tuple[str, ...], *, actor: str) -> WorkspaceRecord:
    """Gives a workspace's chat calls tools, unless they say otherwise; none named gives none.

    Raises:
        Fault: there is no such workspace.
    """
    named = tuple(dict.fromkeys(tools))
    return await change_policy(database, name, actor=actor, action="workspaces.tools", tools=named)


async def change_policy(database: Database, name: str, *, actor: str, action: str, **fields: Any) -> WorkspaceRecord:
    """Replaces some of what was decided for a workspace; the rest stays.

    Raises:
        Fault: `workspace_not_found`.
    """
    now = now_us()
    async with database.write() as connection:
        record = await workspaces.find_workspace(connection, name)
        if record is None:
            raise fault("workspace_not_found", detail=f" There is no workspace {name!r}.")
        policy = msgspec.structs.replace(record.policy, **fields)
        await workspaces.set_policy(connection, name, policy)
        await changes.append(connection, changes.WORKSPACE, name, now)
        detail = ", ".join(fields)
        await audit.append(connection, actor=actor, action=action, subject=name, detail=detail, now_us=now)
    return await get_workspace(database, name)


async def get_workspace(database: Database, name: str) -> WorkspaceRecord:
    """One workspace.

    Raises:
        Fault: `workspace_not_found`.
    """
    async with database.read() as connection:
        record = await workspaces.find_workspace(connection, name)
    if record is None:
        raise fault("workspace_not_found", detail=f" There is no workspace {name!r}.")
    return record


async def list_workspaces(database: Database) -> list[WorkspaceRecord]:
    """All workspaces."""
    async with database.read() as connection:
        return await workspaces.list_workspaces(connection)


__all__ = [
    "DEFAULT",
    "RESERVED",
    "STEP_UP_ACTIONS",
    "activate_workspace",
    "change_policy",
    "create_workspace",
    "ensure_default",
    "get_workspace",
    "list_workspaces",
    "set_cache",
    "set_downloads",
    "set_limits",
    "set_models",
]
