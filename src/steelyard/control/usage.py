"""What was used and what it cost, from the ledger alone."""

import csv
import io
from datetime import UTC, datetime
from typing import Any

import msgspec

from steelyard.base.clock import MICROS, now_us
from steelyard.base.errors import fault
from steelyard.canon.receipt import FAILED
from steelyard.store import accounts, keys, ledger, used_sums, workspaces
from steelyard.store.database import AsyncConnection, Database
from steelyard.store.ledger import CallFilter
from steelyard.store.used_sums import DAY_US


async def get_usage(
    database: Database,
    *,
    workspace: str | None,
    since_s: float | None = None,
    until_s: float | None = None,
    group_by: tuple[str, ...] = ("model",),
) -> list[dict[str, Any]]:
    """Sums by group.

    Raises:
        Fault: an unknown group.
    """
    for name in group_by:
        if name not in ledger.GROUPS:
            known = ", ".join(ledger.GROUPS)
            raise fault("parameter_invalid", detail=f"group_by: {name!r} is unknown; known: {known}.", param="group_by")
    until_us = now_us() + MICROS if until_s is None else int(until_s * MICROS)
    async with database.read() as connection:
        rows = await ledger.sum_usage(
            connection,
            workspace=workspace,
            since_us=int((since_s or 0) * MICROS),
            until_us=until_us,
            group_by=group_by,
        )
    return [_shown(row) for row in rows]


_CSV_SUMS = (
    "calls", "failed_calls", "prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens",
    "free_tokens_used", "cost_micros", "charged_micros", "currency",
)  # fmt: skip


def as_csv(rows: list[dict[str, Any]], group_by: tuple[str, ...]) -> str:
    """Usage as CSV, money in micro-units."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = (*group_by, *_CSV_SUMS)
    writer.writerow(names)
    writer.writerows([row[name] for name in names] for row in rows)
    return text.getvalue()


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    if "day" in row:
        row["day"] = datetime.fromtimestamp(row["day"] / MICROS, UTC).date().isoformat()
    row["total_tokens"] = row["prompt_tokens"] + row["completion_tokens"]
    return row


#: Steps of a call that are shown.
MAX_PARTS = 500


def _step(row: dict[str, Any]) -> dict[str, Any]:
    """A call that another one is made of, as a line of its receipt."""
    return {
        "request_id": row["request_id"],
        "operation": row["operation"],
        "model": row["model"],
        "target": row["target"],
        "status": row["status"],
        "error": row["error"],
        "started_at": datetime.fromtimestamp(row["started_us"] / MICROS, UTC).isoformat(),
        "duration_s": row["duration_us"] / MICROS,
        "prompt_tokens": row["prompt_tokens"],
        "completion_tokens": row["completion_tokens"],
        "currency": row["currency"],
        "charged_micros": row["charged_micros"],
    }


async def get_receipt(database: Database, request_id: str, workspace: str | None) -> dict[str, Any]:
    """One call's record: hold, attempts, upstream usage, our own count, price version, settlement.

    Raises:
        Fault: `resource_not_found`, also for a call of another workspace.
    """
    async with database.read() as connection:
        row = await ledger.find_receipt(connection, request_id)
        parts = await ledger.list_parts(connection, request_id, MAX_PARTS)
    if row is None or (workspace is not None and row["workspace"] != workspace):
        raise fault(
            "resource_not_found", detail=" No receipt has this request id; a record takes up to a second to arrive."
        )
    return {
        "request_id": row["request_id"],
        "client_request_id": row["client_request_id"],
        "workspace": row["workspace"],
        "key_id": row["key_id"],
        "operation": row["operation"],
        "model": row["model"],
        "stream": row["is_stream"],
        "status": row["status"],
        "error": row["error"],
        "outcome": row["outcome"],
        "started_at": datetime.fromtimestamp(row["started_us"] / MICROS, UTC).isoformat(),
        "duration_s": row["duration_us"] / MICROS,
        "first_token_s": None if row["first_token_us"] is None else row["first_token_us"] / MICROS,
        "hold": {"tokens": row["hold_tokens"], "micros": row["hold_micros"]},
        "attempts": _attempts(row),
        "parent": row["parent"],
        "steps": [_step(one) for one in parts],
        "usage": {
            "prompt_tokens": row["prompt_tokens"],
            "completion_tokens": row["completion_tokens"],
            "total_tokens": row["prompt_tokens"] + row["completion_tokens"],
            "cached_tokens": row["cached_tokens"],
            "reasoning_tokens": row["reasoning_tokens"],
            "image_count": row["image_count"],
            "video_seconds": row["video_seconds"],
            "audio_seconds": row["audio_seconds"],
            "estimated": row["is_estimated"],
        },
        "own_count": {"completion_tokens": row["counted_tokens"]},
        "price": {"version": row["price_version"], "currency": row["currency"]},
        "settlement": {
            "cost_micros": row["cost_micros"],
            "free_tokens_used": row["free_tokens_used"],
            "charged_micros": row["charged_micros"],
            "released_tokens": row["hold_tokens"] - row["prompt_tokens"] - row["completion_tokens"],
            "settled_at": datetime.fromtimestamp(row["settled_us"] / MICROS, UTC).isoformat(),
        },
    }


def _attempts(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Every attempt, oldest first; the last is the one whose outcome the receipt tells."""
    failed = msgspec.json.decode(row["failed_attempts"]) if row["failed_attempts"] else []
    shown = [{**one, "duration_s": one.pop("duration_us") / MICROS} for one in failed]
    if row["outcome"] != FAILED or not shown:
        shown.append({"target": row["target"], "status": row["status"], "error": row["error"]})
    return shown


async def verify(database: Database) -> list[str]:
    """Checks the books: each receipt's arithmetic, and free tokens granted = used + left. Empty when they agree."""
    problems = []
    async with database.read() as connection:
        by_workspace = await ledger.sum_usage(
            connection, workspace=None, since_us=0, until_us=2**62, group_by=("workspace",)
        )
        used: dict[str, int] = {}
        for row in by_workspace:
            used[row["workspace"]] = used.get(row["workspace"], 0) + row["free_tokens_used"]
            if row["charged_micros"] > row["cost_micros"]:
                problems.append(f"{row['workspace']}: charged more than the cost")
        problems += [
            f"{one.name}: free tokens granted, left and used do not add up"
            for one in await workspaces.list_workspaces(connection)
            if one.free_tokens_granted - one.free_tokens_left != used.get(one.name, 0)
        ]
        problems += await _check_accounts(connection)
        problems += await _check_sums(connection, by_workspace)
    return problems


async def _check_accounts(connection: AsyncConnection) -> list[str]:
    """An account's balance is what was spent before it was opened, and the sum of the receipts settled in it."""
    sums = await ledger.sum_by_account(connection)
    return [
        f"{name}: {settled} are settled, but its receipts make {opened_with + sums.get(name, 0)}"
        for name, (opened_with, settled) in (await accounts.list_accounts(connection)).items()
        if settled != opened_with + sums.get(name, 0)
    ]


async def _check_sums(connection: AsyncConnection, by_workspace: list[dict[str, Any]]) -> list[str]:
    """What was summed by model and by key is what the receipts make."""
    receipts = {
        (row["workspace"], row["currency"]): tuple(row[name] for name in used_sums.SUMS) for row in by_workspace
    }
    problems = []
    for kind in (used_sums.MODEL, used_sums.KEY):
        summed = await used_sums.sum_all(connection, kind)
        problems += [
            f"{workspace}: the sums by {kind} are not what the receipts make"
            for workspace, currency in sorted(receipts | summed)
            if receipts.get((workspace, currency)) != summed.get((workspace, currency))
        ]
    return problems


async def list_models(
    database: Database, workspace: str, since_us: int, until_us: int, limit: int = 50
) -> list[dict[str, Any]]:
    """Sums by model over days, the most tokens first."""
    async with database.read() as connection:
        return await used_sums.sum_by_model(connection, workspace, since_us, until_us, limit)


async def list_keys(database: Database, workspace: str, at_us: int, limit: int = 50) -> list[dict[str, Any]]:
    """The keys that used the most in a time's month, with what they are called, as `title`."""
    month = used_sums.month_us(at_us - at_us % DAY_US)
    async with database.read() as connection:
        rows = await used_sums.list_keys(connection, workspace, month, limit)
        names = await keys.find_names(connection, [row["name"] for row in rows])
    return [{**row, "title": names.get(row["name"], row["name"])} for row in rows]


async def list_days(database: Database, workspace: str, since_us: int, until_us: int) -> list[dict[str, Any]]:
    """Sums by day and model, oldest first."""
    async with database.read() as connection:
        return await used_sums.sum_by_day(connection, workspace, since_us, until_us)


_DAY_SUMS = ("day", "model", "currency", *used_sums.SUMS)


def days_as_csv(rows: list[dict[str, Any]]) -> str:
    """`list_days` as CSV, money in micro-units."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_DAY_SUMS)
    for row in rows:
        day = datetime.fromtimestamp(row["day_us"] / MICROS, UTC).date().isoformat()
        # a name that a spreadsheet would take for a formula is shown as a text
        name = f"'{row['name']}" if row["name"][:1] in tuple("=+-@") else row["name"]
        writer.writerow([day, name, row["currency"], *(row[name] for name in used_sums.SUMS)])
    return text.getvalue()


#: Calls looked at for a page of them.
REACH = 4_000


async def list_calls(
    database: Database, workspace: str, wanted: CallFilter, *, before_us: int | None = None, limit: int = 50
) -> tuple[list[dict[str, Any]], int | None]:
    """Calls newest first, and the time to go on from; None where there are no more."""
    before_us = now_us() + MICROS if before_us is None else before_us
    async with database.read() as connection:
        return await ledger.list_calls(connection, workspace, wanted, before_us=before_us, limit=limit, reach=REACH)


__all__ = [
    "DAY_US", "CallFilter", "as_csv", "days_as_csv", "get_receipt", "get_usage", "list_calls", "list_days", "list_keys", "list_models",
    "verify",
]  # fmt: skip
