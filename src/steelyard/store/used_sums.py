"""What was used, by model a day and by key a month: sums kept beside the ledger, so that no page adds a million receipts up."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from steelyard.base.units import MICROS
from steelyard.canon.receipt import COMPLETED, Receipt
from steelyard.store.schema import used_sum

DAY_US = 86_400 * 1_000_000
MODEL, KEY = "model", "key"
SUMS = ("calls", "failed_calls", "prompt_tokens", "completion_tokens", "free_tokens_used", "charged_micros")
_ALL = (*SUMS, "tokens")


async def add(connection: AsyncConnection, settled: Sequence[tuple[Receipt, int, int]]) -> None:
    """Adds receipts that have just been settled: each with the free tokens that it used and what it was charged."""
    sums: dict[tuple[str, str, int, str, str], list[int]] = {}
    for one, free, charged in settled:
        day_us = one.started_us - one.started_us % DAY_US
        tokens = one.prompt_tokens + one.completion_tokens
        amounts = (1, int(one.outcome != COMPLETED), one.prompt_tokens, one.completion_tokens, free, charged, tokens)
        for kind, since_us, name in ((MODEL, day_us, one.model), (KEY, month_us(day_us), one.key_id)):
            total = sums.setdefault((one.workspace, kind, since_us, name, one.currency), [0] * len(_ALL))
            for place, amount in enumerate(amounts):
                total[place] += amount
    rows = [
        {"workspace": workspace, "kind": kind, "since_us": since_us, "name": name, "currency": currency}
        | dict(zip(_ALL, total, strict=True))
        for (workspace, kind, since_us, name, currency), total in sorted(sums.items())
    ]
    insert = (postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert)(used_sum)
    added = {name: used_sum.c[name] + insert.excluded[name] for name in _ALL}
    await connection.execute(
        insert.on_conflict_do_update(index_elements=list(used_sum.primary_key.columns), set_=added), rows
    )


@cache
def month_us(day_us: int) -> int:
    """When the month of a day began."""
    return int(datetime.fromtimestamp(day_us / MICROS, UTC).replace(day=1).timestamp()) * MICROS


async def sum_by_model(
    connection: AsyncConnection, workspace: str, since_us: int, until_us: int, limit: int
) -> list[dict[str, Any]]:
    """Sums by model and currency over days, the most tokens first."""
    query = (
        select(used_sum.c.name, used_sum.c.currency, *(func.sum(used_sum.c[name]).label(name) for name in SUMS))
        .where(*_range(workspace, since_us, until_us))
        .group_by(used_sum.c.name, used_sum.c.currency)
        .order_by(func.sum(used_sum.c.tokens).desc(), used_sum.c.name)
        .limit(limit)
    )
    return [_whole(row._mapping) for row in await connection.execute(query)]


async def list_keys(connection: AsyncConnection, workspace: str, month: int, limit: int) -> list[dict[str, Any]]:
    """The keys that used the most in the month that began then."""
    query = (
        select(used_sum.c.name, used_sum.c.currency, *(used_sum.c[name] for name in SUMS))
        .where(used_sum.c.workspace == workspace, used_sum.c.kind == KEY, used_sum.c.since_us == month)
        .order_by(used_sum.c.tokens.desc())
        .limit(limit)
    )
    return [dict(row._mapping) for row in await connection.execute(query)]


async def sum_by_day(connection: AsyncConnection, workspace: str, since_us: int, until_us: int) -> list[dict[str, Any]]:
    """Sums by day, model and currency, oldest first."""
    query = (
        select(
            used_sum.c.since_us.label("day_us"),
            used_sum.c.name,
            used_sum.c.currency,
            *(used_sum.c[name] for name in SUMS),
        )
        .where(*_range(workspace, since_us, until_us))
        .order_by(used_sum.c.since_us, used_sum.c.name)
    )
    return [dict(row._mapping) for row in await connection.execute(query)]


async def sum_all(connection: AsyncConnection, kind: str) -> dict[tuple[str, str], tuple[int, ...]]:
    """Everything by workspace and currency, for the audit of the books."""
    query = (
        select(used_sum.c.workspace, used_sum.c.currency, *(func.sum(used_sum.c[name]) for name in SUMS))
        .where(used_sum.c.kind == kind)
        .group_by(used_sum.c.workspace, used_sum.c.currency)
    )
    return {(row[0], row[1]): tuple(int(one) for one in row[2:]) for row in await connection.execute(query)}


def _range(workspace: str, since_us: int, until_us: int) -> tuple[Any, ...]:
    return (
        used_sum.c.workspace == workspace,
        used_sum.c.kind == MODEL,
        used_sum.c.since_us >= since_us,
        used_sum.c.since_us < until_us,
    )


def _whole(row: Any) -> dict[str, Any]:
    return {name: int(value) if name in SUMS else value for name, value in row.items()}
