"""The keeper of limits: hands slices of rates, concurrency and budgets to gateways, so that N of them are not N times as generous.

Budgets are kept in the database, and never more is on lease than is left. Rates and pools live in this process: a new face begins
with full rates, and is told by the gateways which places they have taken.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from steelyard.base.clock import MICROS, monotonic
from steelyard.policy.limits import MINUTE_S, POOL, RATE, LeaseReply, Wish
from steelyard.store import accounts
from steelyard.store.accounts import LeaseRecord
from steelyard.store.database import AsyncConnection, Database

#: Above what is asked for, this share of what is left goes along, so that not every call asks.
SLICE = 64
#: How long a wish waits for what other gateways are asked to give back.
RECALL_S = 1.0
#: A gateway that hears of a recall twice gives back what it has; that does no harm.
RECALL_TOLD_S = 1.5


class Holding(msgspec.Struct, frozen=True):
    """Places of a pool that a gateway has taken, told to a face that does not know of them."""

    account: str
    amount: int


@dataclass(slots=True)
class Bucket:
    """A rate: refilled evenly, up to a minute's worth."""

    limit: int
    level: float
    at: float

    def refill(self, limit: int, now: float) -> None:
        """Brings the level up to date."""
        self.limit = limit
        self.level = min(self.level + (now - self.at) * limit / MINUTE_S, limit)
        self.at = now


@dataclass(slots=True)
class Last:
    """An owner's last wish on a rate or a pool."""

    amount: int = 0
    seq: int = -1
    reply: LeaseReply = field(default_factory=LeaseReply)


class Leases:
    """Answers wishes."""

    def __init__(self, database: Database, is_alive: Callable[[str], bool], nudge: Callable[[], None]) -> None:
        self._database = database
        self._is_alive = is_alive
        self._nudge = nudge
        self._buckets: dict[str, Bucket] = {}
        #: by account and owner
        self._pools: dict[str, dict[str, Last]] = {}
        self._rates: dict[tuple[str, str], Last] = {}
        self._recalled: dict[str, float] = {}
        self._returned = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Leases of {len(self._buckets)} rates and {len(self._pools)} pools>"

    async def fulfil(self, owner: str, wishes: list[Wish]) -> list[LeaseReply]:
        """One reply a wish; what is short is waited for a little, while other gateways give back what they do not use."""
        return [await self._fulfil(owner, wish) for wish in wishes]

    async def _fulfil(self, owner: str, wish: Wish) -> LeaseReply:
        if wish.kind == RATE:
            return self._take_rate(owner, wish)
        take = self._take_pool if wish.kind == POOL else self._take_budget
        give_up_at = monotonic() + RECALL_S
        while True:
            returned = self._returned
            reply, others = await take(owner, wish)
            if wish.back:
                self._tell_returned()
            if reply.granted or not wish.need or not others or monotonic() >= give_up_at:
                return reply
            # others have some of it: ask them to give back what they do not use, and try again with the same wish
            self._recalled[wish.account] = monotonic()
            self._nudge()
            wish = msgspec.structs.replace(wish, seq=wish.seq, back=0)
            try:
                async with asyncio.timeout(max(give_up_at - monotonic(), 0.01)):
                    await returned.wait()
            except TimeoutError:
                continue

    def _tell_returned(self) -> None:
        self._returned.set()
        self._returned = asyncio.Event()

    def recalls(self) -> list[str]:
        """Accounts of which gateways should give back what they do not use."""
        now = monotonic()
        self._recalled = {name: at for name, at in self._recalled.items() if now - at < RECALL_TOLD_S}
        return list(self._recalled)

    # rates

    def _take_rate(self, owner: str, wish: Wish) -> LeaseReply:
        last = self._rates.setdefault((wish.account, owner), Last())
        if wish.seq == last.seq:
            return last.reply
        now = monotonic()
        bucket = self._buckets.get(wish.account)
        if bucket is None:
            bucket = self._buckets[wish.account] = Bucket(wish.limit, float(wish.limit), now)
        bucket.refill(wish.limit, now)
        bucket.level = min(bucket.level + wish.back, wish.limit)
        granted, reset_s = 0, 0.0
        level = int(bucket.level)
        if wish.need and level >= wish.need:
            granted = min(level, wish.want + level // SLICE)
            bucket.level -= granted
        elif wish.need:
            reset_s = (wish.need - bucket.level) * MINUTE_S / wish.limit
        last.seq, last.reply = wish.seq, LeaseReply(granted, int(bucket.level), 0, reset_s)
        return last.reply

    # pools

    async def _take_pool(self, owner: str, wish: Wish) -> tuple[LeaseReply, bool]:
        pool = self._pools.setdefault(wish.account, {})
        last = pool.setdefault(owner, Last())
        if wish.seq != last.seq:
            last.amount = max(last.amount - wish.back, 0)
        elif last.reply.granted:
            return last.reply, False
        taken = sum(one.amount for one in pool.values())
        left = wish.limit - taken
        spare = 0 if wish.is_exact else left // SLICE
        granted = min(left, wish.want + spare) if wish.need and left >= wish.need else 0
        last.amount += granted
        last.seq, last.reply = wish.seq, LeaseReply(granted, left - granted, taken)
        return last.reply, taken > last.amount

    def announce(self, owner: str, holdings: list[Holding]) -> None:
        """A gateway tells a new face what it has of pools."""
        for one in holdings:
            last = self._pools.setdefault(one.account, {}).setdefault(owner, Last())
            last.amount = max(last.amount, one.amount)

    # budgets

    async def _take_budget(self, owner: str, wish: Wish) -> tuple[LeaseReply, bool]:
        async with self._database.write() as connection:
            settled = await accounts.find_settled(connection, wish.account)
            if settled is None:
                settled = await self._open_account(connection, wish)
            found = await accounts.find_lease(connection, wish.account, owner)
            record = found or LeaseRecord(0, -1, 0)
            all_leased = await accounts.sum_leases(connection, wish.account)
            is_repeated = wish.seq == record.seq
            if is_repeated and record.granted:
                left = wish.limit - settled - all_leased
                return LeaseReply(record.granted, max(left, 0), all_leased), False
            back = 0 if is_repeated else wish.back
            left = wish.limit - settled - all_leased + back
            spare = 0 if wish.is_exact else left // SLICE
            granted = min(left, wish.want + spare) if wish.need and left >= wish.need else 0
            kept = LeaseRecord(record.amount - back + granted, wish.seq, granted)
            await accounts.put_lease(connection, wish.account, owner, kept, is_new=found is None)
        leased = all_leased - back + granted
        return LeaseReply(granted, max(left - granted, 0), leased), leased > kept.amount

    @staticmethod
    async def _open_account(connection: AsyncConnection, wish: Wish) -> int:
        subject, unit, *_ = wish.account.split("|")
        spent = await accounts.sum_receipts(
            connection, subject=subject, unit=unit, starts_us=wish.starts_us, ends_us=wish.ends_us
        )
        await accounts.open_account(connection, wish.account, spent, wish.ends_us)
        # read again, under its lock: another gateway's wish may have opened it a moment ago
        return await accounts.find_settled(connection, wish.account) or 0

    async def release(self, owner: str) -> None:
        """Gives back all that an owner has of budgets."""
        async with self._database.write() as connection:
            await accounts.drop_owner(connection, owner)
        self._tell_returned()

    async def reclaim(self) -> None:
        """Takes back what dead gateways had, once their records are carried: their holds are free again."""
        for pool in self._pools.values():
            for owner in [one for one in pool if not self._is_alive(one)]:
                del pool[owner]
        for name, owner in [one for one in self._rates if not self._is_alive(one[1])]:
            del self._rates[name, owner]
        async with self._database.read() as connection:
            dead = [one for one in await accounts.list_owners(connection) if not self._is_alive(one)]
        if not dead:
            return
        async with self._database.write() as connection:
            for owner in dead:
                await accounts.drop_owner(connection, owner)
        self._tell_returned()

    async def forget_old(self, now_us: int) -> None:
        """Closes accounts whose period ended a week ago."""
        async with self._database.write() as connection:
            await accounts.forget_before(connection, now_us - 7 * 86_400 * MICROS)
