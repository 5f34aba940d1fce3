"""Accounts of budgets, and what of them is on lease. Never more is on lease than is left: the database is the arbiter."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from steelyard.store.insertion import insert_if_absent
from steelyard.store.schema import account, lease, receipt

#: Parameters of one statement are limited.
PORTION = 500


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """What an owner has of an account. `seq` and `granted` are its last wish's, so that a repeated wish changes nothing."""

    amount: int
    seq: int
    granted: int


async def find_settled(connection: AsyncConnection, name: str) -> int | None:
    """What was spent of an account; None where it is not open. Locks it until the transaction ends."""
    query = select(account.c.settled).where(account.c.name == name).with_for_update()
    return await connection.scalar(query)


async def open_account(connection: AsyncConnection, name: str, settled: int, ends_us: int | None) -> None:
    """Opens an account with what was spent before; one that is open stays as it is."""
    values = {"name": name, "opened_with": settled, "settled": settled, "ends_us": ends_us}
    await insert_if_absent(connection, account, values)


async def sum_receipts(
    connection: AsyncConnection, *, subject: str, unit: str, starts_us: int, ends_us: int | None
) -> int:
    """What a subject (`key:ID` or `workspace:NAME`) spent in a period, by its receipts."""
    level, _, name = subject.partition(":")
    if level == "token":
        # it was opened with the token's first call
        return 0
    if level == "free":
        free = select(func.coalesce(func.sum(receipt.c.free_tokens_used), 0)).where(receipt.c.workspace == name)
        return int(await connection.scalar(free) or 0)
    amount = receipt.c.prompt_tokens + receipt.c.completion_tokens if unit == "tokens" else receipt.c.charged_micros
    query = select(func.coalesce(func.sum(amount), 0)).where(
        (receipt.c.key_id if level == "key" else receipt.c.workspace) == name, receipt.c.started_us >= starts_us
    )
    if unit != "tokens":
        query = query.where(receipt.c.currency == unit)
    if ends_us is not None:
        query = query.where(receipt.c.started_us < ends_us)
    return int(await connection.scalar(query) or 0)


async def find_lease(connection: AsyncConnection, name: str, owner: str) -> LeaseRecord | None:
    """What an owner has."""
    query = select(lease.c.amount, lease.c.seq, lease.c.granted).where(lease.c.account == name, lease.c.owner == owner)
    row = (await connection.execute(query)).first()
    return None if row is None else LeaseRecord(*row)


async def sum_leases(connection: AsyncConnection, name: str) -> int:
    """What is on lease, over all owners."""
    query = select(func.coalesce(func.sum(lease.c.amount), 0)).where(lease.c.account == name)
    return int(await connection.scalar(query) or 0)


async def put_lease(connection: AsyncConnection, name: str, owner: str, record: LeaseRecord, *, is_new: bool) -> None:
    """Writes what an owner has."""
    values: dict[str, Any] = {"amount": record.amount, "seq": record.seq, "granted": record.granted}
    if is_new:
        await connection.execute(insert(lease).values(account=name, owner=owner, **values))
    else:
        await connection.execute(update(lease).where(lease.c.account == name, lease.c.owner == owner).values(**values))


async def settle(connection: AsyncConnection, name: str, owner: str, *, spent: int, released: int) -> None:
    """Moves what calls took from their owner's lease to the account."""
    await connection.execute(update(account).where(account.c.name == name).values(settled=account.c.settled + spent))
    where = (lease.c.account == name, lease.c.owner == owner)
    await connection.execute(update(lease).where(*where).values(amount=lease.c.amount - released))


async def list_owners(connection: AsyncConnection) -> list[str]:
    """Everybody who has something on lease."""
    return list(await connection.scalars(select(lease.c.owner).distinct()))


async def drop_owner(connection: AsyncConnection, owner: str) -> None:
    """Takes back what a dead owner had."""
    await connection.execute(delete(lease).where(lease.c.owner == owner))


async def list_accounts(connection: AsyncConnection) -> dict[str, tuple[int, int]]:
    """What was spent, by account: before it was opened, and in all."""
    rows = await connection.execute(select(account.c.name, account.c.opened_with, account.c.settled))
    return {row.name: (row.opened_with, row.settled) for row in rows}


async def get_settled(connection: AsyncConnection, name: str) -> int:
    """What was spent of an account, 0 where it is not open."""
    return int(await connection.scalar(select(account.c.settled).where(account.c.name == name)) or 0)


async def list_settled(connection: AsyncConnection, names: list[str]) -> dict[str, int]:
    """What was spent of accounts; one that is not open is left out."""
    found: dict[str, int] = {}
    for start in range(0, len(names), PORTION):
        some = account.c.name.in_(names[start : start + PORTION])
        rows = await connection.execute(select(account.c.name, account.c.settled).where(some))
        found |= {row.name: int(row.settled) for row in rows}
    return found


async def forget_before(connection: AsyncConnection, time_us: int) -> None:
    """Closes accounts whose period has long ended."""
    old = select(account.c.name).where(account.c.ends_us < time_us)
    await connection.execute(delete(lease).where(lease.c.account.in_(old)))
    await connection.execute(delete(account).where(account.c.ends_us < time_us))
