"""Higher limits, asked for and decided on. What is granted takes effect in the transaction that grants it."""

from typing import Any

import msgspec

from steelyard.base import ids
from steelyard.base.clock import now_us
from steelyard.base.errors import fault
from steelyard.canon.limits import Limits
from steelyard.canon.quota import DECLINED, GRANTED, QuotaWish
from steelyard.control.limits import check_limits
from steelyard.store import audit, changes, quota_wishes, workspaces
from steelyard.store.database import Database

MAX_OPEN, MAX_SHOWN = 10, 100
MAX_TEXT_CHARS = 1000


async def ask(database: Database, workspace: str, limits: Limits, reason: str, *, actor: str) -> QuotaWish:
    """Asks for limits of a workspace.

    Raises:
        Fault: they are out of range, nothing says why, or too many wishes wait already.
    """
    check_limits(limits)
    if not reason.strip() or len(reason) > MAX_TEXT_CHARS:
        detail = f"Say in 1 to {MAX_TEXT_CHARS} characters what the limits are needed for."
        raise fault("parameter_invalid", detail=detail, param="reason")
    wish = QuotaWish(
        id=ids.new_id("quota"),
        workspace=workspace,
        limits=limits,
        reason=reason.strip(),
        asked_by=actor,
        asked_us=now_us(),
    )
    async with database.write() as connection:
        if await quota_wishes.count_open(connection, workspace) >= MAX_OPEN:
            detail = f"{MAX_OPEN} wishes of this workspace wait already; they are decided first."
            raise fault("parameter_invalid", detail=detail, param="workspace")
        await quota_wishes.insert_wish(connection, wish)
        await _note(connection, "quotas.ask", wish, actor)
    return wish


async def list_wishes(database: Database, names: tuple[str, ...]) -> list[QuotaWish]:
    """Wishes of some workspaces, the newest first."""
    async with database.read() as connection:
        return await quota_wishes.list_wishes(connection, names, MAX_SHOWN)


async def get_wish(database: Database, wish_id: str) -> QuotaWish:
    """A wish.

    Raises:
        Fault: there is none.
    """
    async with database.read() as connection:
        found = await quota_wishes.find_wish(connection, wish_id)
    if found is None:
        raise fault("resource_not_found", detail=" There is no such wish.")
    return found


async def decide(database: Database, wish_id: str, *, is_granted: bool, answer: str, actor: str) -> QuotaWish:
    """Grants or declines a wish, once.

    Raises:
        Fault: there is none, or it was decided already.
    """
    wish, now = await get_wish(database, wish_id), now_us()
    state = GRANTED if is_granted else DECLINED
    async with database.write() as connection:
        told = answer.strip()[:MAX_TEXT_CHARS]
        if not await quota_wishes.decide(connection, wish_id, state, decided_by=actor, decided_us=now, answer=told):
            raise fault("parameter_invalid", detail="This wish was decided already.", param="wish")
        if is_granted:
            record = await workspaces.find_workspace(connection, wish.workspace)
            if record is None:
                raise fault("workspace_not_found", workspace=wish.workspace)
            policy = msgspec.structs.replace(record.policy, limits=wish.limits)
            await workspaces.set_policy(connection, wish.workspace, policy)
            await changes.append(connection, changes.WORKSPACE, wish.workspace, now)
        await _note(connection, f"quotas.{'grant' if is_granted else 'decline'}", wish, actor)
    return await get_wish(database, wish_id)


async def _note(connection: Any, action: str, wish: QuotaWish, actor: str) -> None:
    text = msgspec.json.encode(wish.limits).decode()
    await audit.append(connection, actor=actor, action=action, subject=wish.workspace, detail=text, now_us=now_us())
