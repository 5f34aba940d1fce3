"""What was used by day, by model and by key: sums kept beside the ledger, so that no page adds a million receipts up."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from steelyard.canon.receipt import COMPLETED, Receipt
from steelyard.store.schema import day_sum

DAY_US = 86_400 * 1_000_000
MODEL, KEY = "model", "key"
SUMS = ("calls", "failed_calls", "prompt_tokens", "completion_tokens", "free_tokens_used", "charged_micros")


async def add(connection: AsyncConnection, settled: Sequence[tuple[Receipt, int, int]]) -> None:
    """Adds receipts that have just been settled: each with the free tokens that it used and what it was charged."""
    sums: dict[tuple[str, str, int, str, str], list[int]] = {}
    for one, free, charged in settled:
        day = one.started_us - one.started_us % DAY_US
        amounts = (1, int(one.outcome != COMPLETED), one.prompt_tokens, one.completion_tokens, free, charged)
        for kind, name in ((MODEL, one.model), (KEY, one.key_id)):
            total = sums.setdefault((one.workspace, kind, day, name, one.currency), [0] * len(SUMS))
            for place, amount in enumerate(amounts):
                total[place] += amount
    rows = [
        {"workspace": workspace, "kind": kind, "day_us": day, "name": name, "currency": currency}
        | dict(zip(SUMS, total, strict=True))
        for (workspace, kind, day, name, currency), total in sorted(sums.items())
    ]
    insert = (postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert)(day_sum)
    added = {name: day_sum.c[name] + insert.excluded[name] for name in SUMS}
    await connection.execute(
        insert.on_conflict_do_update(index_elements=list(day_sum.primary_key.columns), set_=added), rows
    )


async def sum_by_name(
    connection: AsyncConnection, workspace: str, kind: str, since_us: int, until_us: int, limit: int
) -> list[dict[str, Any]]:
    """Sums by name and currency over days, the most tokens first."""
    tokens = func.sum(day_sum.c.prompt_tokens + day_sum.c.completion_tokens)
    query = (
        select(day_sum.c.name, day_sum.c.currency, *(func.sum(day_sum.c[name]).label(name) for name in SUMS))
        .where(*_range(workspace, kind, since_us, until_us))
        .group_by(day_sum.c.name, day_sum.c.currency)
        .order_by(tokens.desc(), day_sum.c.name)
        .limit(limit)
    )
    return [_whole(row._mapping) for row in await connection.execute(query)]


async def sum_by_day(connection: AsyncConnection, workspace: str, since_us: int, until_us: int) -> list[dict[str, Any]]:
    """Sums by day, model and currency, oldest first."""
    query = (
        select(day_sum.c.day_us, day_sum.c.name, day_sum.c.currency, *(day_sum.c[name] for name in SUMS))
        .where(*_range(workspace, MODEL, since_us, until_us))
        .order_by(day_sum.c.day_us, day_sum.c.name)
    )
    return [_whole(row._mapping) for row in await connection.execute(query)]


async def sum_all(connection: AsyncConnection, kind: str) -> dict[tuple[str, str], tuple[int, ...]]:
    """Everything by workspace and currency, for the audit of the books."""
    query = (
        select(day_sum.c.workspace, day_sum.c.currency, *(func.sum(day_sum.c[name]) for name in SUMS))
        .where(day_sum.c.kind == kind)
        .group_by(day_sum.c.workspace, day_sum.c.currency)
    )
    return {(row[0], row[1]): tuple(int(one) for one in row[2:]) for row in await connection.execute(query)}


def _range(workspace: str, kind: str, since_us: int, until_us: int) -> tuple[Any, ...]:
    return (
        day_sum.c.workspace == workspace,
        day_sum.c.kind == kind,
        day_sum.c.day_us >= since_us,
        day_sum.c.day_us < until_us,
    )


def _whole(row: Any) -> dict[str, Any]:
    return {name: int(value) if name in SUMS else value for name, value in row.items()}
