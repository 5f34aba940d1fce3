"""The ledger: one row per call, keyed by the request id, so that a journal read twice changes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import msgspec
from sqlalchemy import BigInteger, ColumnElement, bindparam, case, cast, func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from steelyard.canon.limits import TOKENS
from steelyard.canon.receipt import Receipt
from steelyard.policy.limits import FREE, REQUESTS, unit_of
from steelyard.store import accounts, used_sums, workspaces
from steelyard.store.schema import receipt

DAY_US = 86_400 * 1_000_000
#: Parameters of one statement are limited; ids are looked up in portions.
PORTION = 500


class AlreadySettled(Exception):
    """A receipt said to be new is in the ledger already. Nothing was written."""


async def insert_receipts(
    connection: AsyncConnection, receipts: Sequence[Receipt], now_us: int, *, owner: str = "", are_new: bool = False
) -> int:
    """Settles receipts that are not settled yet; returns how many were new.

    Free tokens are spent first, in the order of the receipts; a call that costs nothing uses none.

    Args:
        owner: whose leases their budgets were held in.
        are_new: whoever read them has not read them before, so the ledger need not be asked for each.

    Raises:
        AlreadySettled: `are_new` was not true; the transaction must be rolled back.
    """
    known = set() if are_new else await _known_ids(connection, [one.request_id for one in receipts])
    fresh = {one.request_id: one for one in receipts if one.request_id not in known}
    if not fresh:
        return 0
    free_left = await _free_tokens(connection, {one.workspace for one in fresh.values() if one.cost_micros})
    before = dict(free_left)
    rows = [_settled(one, free_left, now_us) for one in fresh.values()]
    await _insert(connection, rows)
    await _settle_accounts(connection, list(fresh.values()), rows, owner)
    settled = [(one, row[_FREE], row[_CHARGED]) for one, row in zip(fresh.values(), rows, strict=True)]
    await used_sums.add(connection, settled)
    for name, tokens in free_left.items():
        if tokens != before[name]:
            await workspaces.set_free_tokens_left(connection, name, tokens)
    return len(fresh)


async def _settle_accounts(
    connection: AsyncConnection, receipts: list[Receipt], rows: list[tuple[Any, ...]], owner: str
) -> None:
    """Charges budgets, each once for all receipts of the portion."""
    sums: dict[str, list[int]] = {}
    for one, row in zip(receipts, rows, strict=True):
        for name in one.accounts:
            tokens = one.prompt_tokens + one.completion_tokens
            # a gateway takes the whole cost from its lease; free tokens make what is charged less
            unit = unit_of(name)
            if unit == REQUESTS:
                spent, released = 1, 1
            elif unit == FREE:
                spent, released = (tokens, tokens) if one.cost_micros else (0, 0)
            elif unit == TOKENS:
                spent, released = tokens, tokens
            elif unit == one.currency:
                spent, released = row[_CHARGED], one.cost_micros
            else:
                continue
            total = sums.setdefault(name, [0, 0])
            total[0] += spent
            total[1] += released
    for name, (spent, released) in sorted(sums.items()):
        await accounts.settle(connection, name, owner, spent=spent, released=released)


#: A row's columns: the receipt's fields in their order, then what settling adds.
_COLUMNS = (*Receipt.__struct_fields__, "free_tokens_used", "charged_micros", "settled_us")
_CHARGED, _FREE = _COLUMNS.index("charged_micros"), _COLUMNS.index("free_tokens_used")
#: The last fields are lists, kept as JSON, null where empty.
_LISTS = 2
assert Receipt.__struct_fields__[-_LISTS:] == ("failed_attempts", "accounts")
_INSERT = insert(receipt).values({name: bindparam(name) for name in _COLUMNS})


async def _insert(connection: AsyncConnection, rows: list[tuple[Any, ...]]) -> None:
    """Rows as plain tuples under the statement that Core compiles: a third of the cost of handing it dicts."""
    compiled = _INSERT.compile(dialect=connection.dialect)
    places = [_COLUMNS.index(name) for name in compiled.positiontup or ()]
    pick = itemgetter(*places)
    try:
        await connection.exec_driver_sql(str(compiled), list(map(pick, rows)))
    except IntegrityError as exc:
        raise AlreadySettled from exc


async def _known_ids(connection: AsyncConnection, request_ids: list[str]) -> set[str]:
    known: set[str] = set()
    for start in range(0, len(request_ids), PORTION):
        portion = request_ids[start : start + PORTION]
        rows = await connection.scalars(select(receipt.c.request_id).where(receipt.c.request_id.in_(portion)))
        known.update(rows)
    return known


async def _free_tokens(connection: AsyncConnection, names: set[str]) -> dict[str, int]:
    found = [await workspaces.find_workspace(connection, name) for name in names]
    return {one.name: one.free_tokens_left for one in found if one is not None}


def _settled(one: Receipt, free_left: dict[str, int], now_us: int) -> tuple[Any, ...]:
    """The row of a receipt, with what it takes of the free tokens and what is left to pay."""
    total = one.prompt_tokens + one.completion_tokens
    free = min(free_left.get(one.workspace, 0), total) if one.cost_micros else 0
    if free:
        free_left[one.workspace] -= free
    charged = -(-one.cost_micros * (total - free) // total) if total else one.cost_micros
    *plain, failed, accounts_ = msgspec.structs.astuple(one)
    return (*plain, _text(failed), _text(accounts_), free, charged, now_us)


def _text(values: tuple[Any, ...]) -> str | None:
    return msgspec.json.encode(values).decode() if values else None


async def find_receipt(connection: AsyncConnection, request_id: str) -> dict[str, Any] | None:
    """One row, as it is."""
    row = (await connection.execute(select(receipt).where(receipt.c.request_id == request_id))).first()
    return None if row is None else dict(row._mapping)


async def list_parts(connection: AsyncConnection, request_id: str, limit: int) -> list[dict[str, Any]]:
    """The rows of calls that a call is made of, oldest first."""
    query = select(receipt).where(receipt.c.parent == request_id).order_by(receipt.c.started_us).limit(limit)
    return [dict(row._mapping) for row in await connection.execute(query)]


async def list_receipts(connection: AsyncConnection, workspace: str | None, limit: int) -> list[dict[str, Any]]:
    """The newest rows first."""
    query = select(receipt).order_by(receipt.c.started_us.desc()).limit(limit)
    if workspace is not None:
        query = query.where(receipt.c.workspace == workspace)
    return [dict(row._mapping) for row in await connection.execute(query)]


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Which calls are looked for; '' asks for any."""

    model: str = ""
    key_id: str = ""
    #: "failed": everything that was not answered in full
    outcome: str = ""


async def list_calls(
    connection: AsyncConnection, workspace: str, wanted: CallFilter, *, before_us: int, limit: int, reach: int
) -> tuple[list[dict[str, Any]], int | None]:
    """Calls before a time, newest first, and the time to go on from; None where there are no more.

    Args:
        reach: how many calls are looked at for them at most, so that a rare kind costs no more than a common one.
    """
    is_any = wanted == CallFilter()
    newest = (
        select(receipt)
        .where(receipt.c.workspace == workspace, receipt.c.started_us < before_us)
        .order_by(receipt.c.started_us.desc())
        .limit(limit if is_any else reach)
        .subquery()
    )
    where: list[ColumnElement[bool]] = []
    if wanted.model:
        where.append(newest.c.model == wanted.model)
    if wanted.key_id:
        where.append(newest.c.key_id == wanted.key_id)
    if wanted.outcome:
        where.append(newest.c.outcome != "completed")
    query = select(newest).where(*where).order_by(newest.c.started_us.desc()).limit(limit)
    rows = [dict(row._mapping) for row in await connection.execute(query)]
    if len(rows) == limit:
        return rows, rows[-1]["started_us"]
    if is_any:
        return rows, None
    oldest, count = (await connection.execute(select(func.min(newest.c.started_us), func.count()))).one()
    return rows, oldest if count == reach else None


async def sum_by_account(connection: AsyncConnection) -> dict[str, int]:
    """What the receipts say was spent, by the accounts that they were settled in."""
    tokens = func.sum(receipt.c.prompt_tokens + receipt.c.completion_tokens)
    query = (
        select(
            receipt.c.accounts,
            receipt.c.currency,
            func.count(),
            tokens,
            func.sum(case((receipt.c.cost_micros > 0, receipt.c.prompt_tokens + receipt.c.completion_tokens), else_=0)),
            func.sum(receipt.c.charged_micros),
        )
        .where(receipt.c.accounts.is_not(None))
        .group_by(receipt.c.accounts, receipt.c.currency)
    )
    sums: dict[str, int] = {}
    for names, currency, calls, all_tokens, priced_tokens, charged in await connection.execute(query):
        for name in msgspec.json.decode(names, type=list[str]):
            unit = unit_of(name)
            spent = {REQUESTS: calls, TOKENS: all_tokens, FREE: priced_tokens, currency: charged}.get(unit, 0)
            sums[name] = sums.get(name, 0) + int(spent)
    return sums


#: What usage can be told apart by.
GROUPS = {
    "model": receipt.c.model,
    "key": receipt.c.key_id,
    "workspace": receipt.c.workspace,
    "target": receipt.c.target,
    "day": cast(receipt.c.started_us - receipt.c.started_us % DAY_US, BigInteger),
}


async def sum_usage(
    connection: AsyncConnection, *, workspace: str | None, since_us: int, until_us: int, group_by: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Calls, tokens and money by group and currency. `day` is the microsecond at which the day (UTC) began."""
    groups = [GROUPS[name].label(name) for name in group_by]
    sums = [
        func.count().label("calls"),
        func.sum(case((receipt.c.outcome == "completed", 0), else_=1)).label("failed_calls"),
        *(
            func.sum(receipt.c[name]).label(name)
            for name in (
                "prompt_tokens",
                "completion_tokens",
                "cached_tokens",
                "reasoning_tokens",
                "free_tokens_used",
                "cost_micros",
                "charged_micros",
            )
        ),
    ]
    query = (
        select(*groups, receipt.c.currency, *sums)
        .where(receipt.c.started_us >= since_us, receipt.c.started_us < until_us)
        .group_by(*(GROUPS[name] for name in group_by), receipt.c.currency)
        .order_by(*(GROUPS[name] for name in group_by), receipt.c.currency)
    )
    if workspace is not None:
        query = query.where(receipt.c.workspace == workspace)
    return [
        {name: int(value) if name not in (*group_by, "currency") else value for name, value in row._mapping.items()}
        for row in await connection.execute(query)
    ]


#: What `list_settled` reads of a receipt, in this order.
MINUTE_COLUMNS = (
    "workspace", "key_id", "operation", "model", "target", "is_stream", "status", "error", "duration_us", "first_token_us",
    "prompt_tokens", "completion_tokens", "cached_tokens", "image_count", "video_seconds", "audio_seconds", "charged_micros", "currency",
)  # fmt: skip


async def list_settled(connection: AsyncConnection, since_us: int, until_us: int) -> list[tuple[Any, ...]]:
    """`MINUTE_COLUMNS` of the receipts that were settled in a time, its end left out."""
    query = select(*(receipt.c[name] for name in MINUTE_COLUMNS)).where(
        receipt.c.settled_us >= since_us, receipt.c.settled_us < until_us
    )
    return [tuple(row) for row in await connection.execute(query)]
