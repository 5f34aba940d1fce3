"""Making and activating workspaces."""

import re

import msgspec

from steelyard.base.clock import now_us
from steelyard.base.errors import fault
from steelyard.canon.grant import COUNT, REFUSE
from steelyard.control.limits import check_limits
from steelyard.store import audit, changes, workspaces
from steelyard.store.database import Database
from steelyard.store.workspaces import Policy, WorkspaceRecord

DEFAULT = "default"
#: Operations of the control API that a workspace may demand a temporary token for.
STEP_UP_ACTIONS = (
    "keys.create",
    "keys.delete",
    "keys.rotate",
    "keys.limit",
    "workspaces.limit",
    "providers.add",
    "providers.remove",
    "routes.set",
)
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
#: First path parts of this server; a workspace of that name could not be addressed.
RESERVED = frozenset(
    {"api", "apps", "compatible-api", "compatible-mode", "console", "control", "errors", "healthz", "hub", "mcp", "metrics",
     "o", "prometheus", "readyz", "static", "v1"}
)  # fmt: skip


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


async def set_policy(database: Database, name: str, policy: Policy, *, actor: str) -> WorkspaceRecord:
    """Replaces what was decided for a workspace; every process follows within two seconds.

    Raises:
        Fault: a value is out of range, or there is no such workspace.
    """
    check_limits(policy.limits)
    if policy.unknown_price not in (REFUSE, COUNT):
        detail = f"unknown_price must be {REFUSE} or {COUNT}."
        raise fault("parameter_invalid", detail=detail, param="unknown_price")
    for action in policy.step_up:
        if action not in STEP_UP_ACTIONS:
            detail = f"unknown operation {action!r}; known: {', '.join(STEP_UP_ACTIONS)}."
            raise fault("parameter_invalid", detail=detail, param="step_up")
    await get_workspace(database, name)
    now = now_us()
    async with database.write() as connection:
        await workspaces.set_policy(connection, name, policy)
        await changes.append(connection, changes.WORKSPACE, name, now)
        detail = msgspec.json.encode(policy).decode()
        await audit.append(connection, actor=actor, action="workspaces.limit", subject=name, detail=detail, now_us=now)
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
    "Policy",
    "activate_workspace",
    "create_workspace",
    "ensure_default",
    "get_workspace",
    "list_workspaces",
    "set_policy",
]
