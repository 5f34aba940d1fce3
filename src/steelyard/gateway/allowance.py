"""What calls may take: purses of leased rates, places and budgets, from which the common call takes without asking anybody.

A call takes from every purse that concerns it, or from none. What it holds is given back or spent when it is settled, on every
path. A purse that is short asks the keeper of its account (the face); with the keeper out of reach, calls go on until the
slice is spent and are refused then.
"""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Iterable
from typing import Protocol

import msgspec

from steelyard.base.clock import monotonic, now_us
from steelyard.base.errors import Fault, fault
from steelyard.canon.counting import estimate_prompt_tokens
from steelyard.canon.grant import COUNT, Grant, Workspace
from steelyard.canon.limits import TOKENS
from steelyard.canon.model import Target
from steelyard.canon.receipt import Receipt
from steelyard.canon.request import ModelRequest
from steelyard.policy.limits import (
    BUDGET,
    CALLS,
    FREE,
    POOL,
    RATE,
    REQUESTS,
    LeaseReply,
    Line,
    RateHead,
    Wish,
    lines_for,
    refuse,
)
from steelyard.policy.pricing import hold_for

log = logging.getLogger("steelyard.gateway")

#: A call waits this long for room at most.
FILL_S = 5.0
#: The keeper may be starting again: a wish is repeated for this long.
KEEPER_S = 3.0
RETRY_S = 0.1
#: What a purse has not used for this long goes back; it goes at once where another gateway is short. A caller who comes back sooner
#: need not wait for the database.
IDLE_S = 5.0
FORGET_S = 120.0
SWEEP_S = 0.5
#: A debt of more than this part of a minute's worth is told of at once.
DEBT_SHARE = 20
#: Allowances; tokens come and go.
MAX_CACHED = 20_000
#: An answer of fewer tokens is of no use: the cap is not lowered further.
MIN_ANSWER_TOKENS = 32


class Keeper(Protocol):
    """Who keeps the accounts."""

    async def fulfil(self, wishes: list[Wish]) -> list[LeaseReply]:
        """One reply a wish.

        Raises:
            Fault: `stores_unavailable`; the same wishes may be sent again.
        """
        ...


class Purse:
    """What this process has of one account."""

    __slots__ = (
        "asking",
        "counts_calls",
        "debts",
        "free",
        "held",
        "is_pool",
        "is_used",
        "left",
        "line",
        "used_at",
        "wanted",
    )

    def __init__(self, line: Line, debts: asyncio.Event) -> None:
        self.line = line
        #: Whether every call wants just one of it; and whether that always comes back.
        self.counts_calls = line.unit in (REQUESTS, CALLS)
        self.is_pool = line.unit == CALLS
        #: Set where a debt should be told of at once.
        self.debts = debts
        #: Leased and not taken; below zero where calls took more than they held.
        self.free = 0
        self.held = 0
        #: What the keeper had beside, when it was last asked.
        self.left = line.limit
        #: Since the last sweep.
        self.is_used = True
        self.used_at = monotonic()
        self.asking: asyncio.Future[LeaseReply] | None = None
        #: What those who wait want together.
        self.wanted = 0

    def __repr__(self) -> str:
        return f"<Purse {self.line.account} [{self.free} free, {self.held} held]>"

    def spent(self, receipt: Receipt) -> int:
        """What of tokens or money a settled call really took."""
        unit = self.line.unit
        if unit == FREE and not receipt.cost_micros:
            return 0
        if unit in (TOKENS, FREE):
            return receipt.prompt_tokens + receipt.completion_tokens
        return receipt.cost_micros if receipt.currency == unit else 0

    @property
    def room(self) -> int:
        """What may still be taken now."""
        return max(self.free + self.left, 0)

    def put_back(self, taken: int, spent: int) -> None:
        """Ends a hold."""
        self.held -= taken
        self.free += taken - spent

    @property
    def is_in_debt(self) -> bool:
        """Whether calls took more of a rate than was leased. Others must soon hear of it, or they take it again."""
        return self.free < 0 and self.line.kind == RATE


def _room_of(shown: tuple[Purse, RateHead]) -> int:
    return shown[0].room


class Allowance:
    """The purses that concern one grant, for as long as no budget begins a new period."""

    __slots__ = ("budgets", "ends_us", "grant", "purses", "rates", "workspace")

    def __init__(self, grant: Grant, workspace: Workspace, purses: tuple[Purse, ...]) -> None:
        self.grant = grant
        self.workspace = workspace
        self.purses = purses
        rates: dict[str, list[tuple[Purse, RateHead]]] = {}
        for purse in purses:
            if purse.line.kind == RATE:
                shown = purse, RateHead(purse.line.unit, purse.line.limit)
                rates.setdefault(purse.line.unit, []).append(shown)
        #: Of each kind of rate the purses, and how they are shown.
        self.rates = tuple(rates.values())
        self.budgets = tuple(purse.line.account for purse in purses if purse.line.kind == BUDGET)
        self.ends_us = min((one.line.ends_us for one in purses if one.line.ends_us is not None), default=2**62)

    def rate_headers(self) -> list[tuple[bytes, bytes]]:
        """`x-ratelimit-…` of an answer: of each kind of rate the one with the least room, as far as this process knows."""
        headers: list[tuple[bytes, bytes]] = []
        for rate in self.rates:
            purse, head = rate[0] if len(rate) == 1 else min(rate, key=_room_of)
            headers += head.of(purse.free + purse.left)
        return headers

    def wants(self, request: ModelRequest, targets: tuple[Target, ...], hold: tuple[int, int]) -> list[int]:
        """What a call wants, purse by purse.

        Args:
            hold: the most that the call may take, in tokens and micro-units.

        Raises:
            Fault: `price_unknown` where a budget in money cannot hold it.
        """
        return [1 if purse.counts_calls else self._want(purse.line, request, targets, hold) for purse in self.purses]

    def leasts(self, request: ModelRequest, targets: tuple[Target, ...], wants: list[int]) -> list[int]:
        """The least that is of use to a call, purse by purse: a budget that is nearly spent lowers the answer's cap."""
        hold = hold_for(request, targets, max_cap=MIN_ANSWER_TOKENS)
        return [
            1 if purse.counts_calls else min(self._want(purse.line, request, targets, hold), want)
            for purse, want in zip(self.purses, wants, strict=True)
        ]

    def _want(self, line: Line, request: ModelRequest, targets: tuple[Target, ...], hold: tuple[int, int]) -> int:
        unit = line.unit
        if line.kind == RATE:
            # a rate protects capacity, so a fair guess does: the real count is settled afterwards
            return min(estimate_prompt_tokens(request.text_bytes), line.limit)
        if unit == TOKENS:
            return hold[0]
        if unit == FREE:
            return hold[0] if any(not one.price.is_free for one in targets) else 0
        for one in targets:
            if not one.is_local and not (one.price.is_known and one.price.currency == unit):
                if self.workspace.unknown_price == COUNT:
                    return 0
                raise fault("price_unknown", model=request.model, currency=unit)
        return hold[1]


class Allowances:
    """Finds the allowance of a grant, fills purses, and gives back what is not used."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        #: Numbers wishes. Never begins anew in a process, or a wish would be taken for an old one.
        self._numbers = itertools.count(1)
        self._purses: dict[str, Purse] = {}
        self._debts = asyncio.Event()
        self._cache: dict[str, Allowance] = {}

    def __repr__(self) -> str:
        return f"<Allowances [{len(self._purses)} purses]>"

    def find(self, grant: Grant, workspace: Workspace, started_us: int) -> Allowance | None:
        """The allowance of a grant; None where nothing limits it."""
        name = grant.token_id or grant.key_id
        found = self._cache.get(name)
        if found is None or found.grant is not grant or found.workspace is not workspace or started_us >= found.ends_us:
            found = self._make(grant, workspace, started_us)
            if len(self._cache) >= MAX_CACHED:
                self._cache.clear()
            self._cache[name] = found
        return found if found.purses else None

    def _make(self, grant: Grant, workspace: Workspace, started_us: int) -> Allowance:
        purses = []
        for line in lines_for(grant, workspace, started_us):
            purse = self._purses.get(line.account)
            if purse is None:
                purse = self._purses[line.account] = Purse(line, self._debts)
            # its value may have been changed
            purse.line = line
            purses.append(purse)
        return Allowance(grant, workspace, tuple(purses))

    # taking

    @staticmethod
    def take(allowance: Allowance, wants: list[int]) -> bool:
        """Takes what a call wants of every purse, or nothing and says False."""
        purses = allowance.purses
        for purse, want in zip(purses, wants, strict=True):
            if purse.free < want:
                break
            purse.free -= want
            purse.held += want
            purse.is_used = True
        else:
            return True
        for taken, want in zip(purses[: purses.index(purse)], wants, strict=False):
            taken.put_back(want, 0)
        return False

    async def acquire(self, allowance: Allowance, wants: list[int], leasts: list[int]) -> list[int]:
        """Takes what a call wants, asking for it; of a budget that is nearly spent less than wanted.

        Returns:
            what was taken, purse by purse.

        Raises:
            Fault: the limit that is met; nothing is held then.
        """
        taken: list[int] = []
        try:
            for purse, want, least in zip(allowance.purses, wants, leasts, strict=True):
                amount = await self._fill(purse, want, least)
                purse.free -= amount
                purse.held += amount
                taken.append(amount)
        except Fault:
            for purse, amount in zip(allowance.purses, taken, strict=False):
                purse.put_back(amount, 0)
            raise
        return taken

    async def _fill(self, purse: Purse, want: int, least: int) -> int:
        """How much of the purse may be taken now, at least what is of use.

        Raises:
            Fault: the limit is met, or its keeper cannot be reached.
        """
        give_up_at = monotonic() + FILL_S
        purse.wanted += want
        purse.is_used = True
        try:
            while purse.free < want:
                is_own = purse.asking is None
                # one wish at a time, for all who wait
                reply = await (self._ask(purse, want, least) if purse.asking is None else asyncio.shield(purse.asking))
                if purse.free >= want:
                    break
                is_late = monotonic() > give_up_at
                if not is_own and not is_late and least - purse.free <= reply.left:
                    # what was refused to somebody who needs more may still do for this one
                    continue
                is_short = reply.granted == 0 or is_late
                if purse.free >= least and (is_short or reply.left == 0):
                    return purse.free
                if is_short:
                    # what lies idle here is left, not held by anybody
                    idle = max(purse.free, 0)
                    told = msgspec.structs.replace(reply, left=reply.left + idle, leased=reply.leased - idle)
                    raise refuse(purse.line, told, now_us())
            return want
        finally:
            purse.wanted -= want

    async def _ask(self, purse: Purse, want: int, least: int) -> LeaseReply:
        asking = purse.asking = asyncio.get_running_loop().create_future()
        # a rate's debt is paid first; a budget's stays with the lease that it was made in
        debt = min(purse.free, 0) if purse.line.kind == RATE else 0
        needed = max(least - purse.free + debt, 1)
        # room for all who wait is asked for together, though less than that will do for this one
        wanted = max(max(purse.wanted, want) - purse.free + debt, needed)
        try:
            reply = await self._exchange(purse, back=debt, need=needed, want=wanted)
        except BaseException as exc:
            purse.asking = None
            asking.set_exception(exc if isinstance(exc, Fault) else fault("stores_unavailable"))
            asking.exception()
            raise
        purse.asking = None
        asking.set_result(reply)
        return reply

    async def _exchange(self, purse: Purse, *, back: int = 0, need: int = 0, want: int = 0) -> LeaseReply:
        """One exchange with the keeper, repeated until it is answered: a wish has a number and counts once."""
        line = purse.line
        purse.free -= back
        wish = Wish(
            account=line.account,
            kind=line.kind,
            limit=line.limit,
            seq=next(self._numbers),
            back=back,
            need=need,
            want=want,
            starts_us=line.starts_us,
            ends_us=line.ends_us,
        )
        give_up_at = monotonic() + KEEPER_S
        while True:
            try:
                (reply,) = await self._keeper.fulfil([wish])
            except Fault:
                if monotonic() > give_up_at:
                    raise
                await asyncio.sleep(RETRY_S)
                continue
            purse.free += reply.granted
            purse.left = reply.left
            return reply

    # giving back

    @staticmethod
    def settle(allowance: Allowance, taken: Iterable[int], receipt: Receipt | None) -> None:
        """Ends the holds of a call: what it took is spent, the rest is free. Without a receipt nothing was taken."""
        for purse, amount in zip(allowance.purses, taken, strict=True):
            purse.held -= amount
            if purse.is_pool:
                purse.free += amount
            elif purse.counts_calls:
                # a call without a record was asked all the same, so it counts in a rate
                if receipt is None and purse.line.kind != RATE:
                    purse.free += amount
            else:
                free = purse.free = purse.free + amount - (0 if receipt is None else purse.spent(receipt))
                if free < 0 and purse.is_in_debt and -free * DEBT_SHARE > purse.line.limit:
                    purse.debts.set()

    async def return_unused(self, purse: Purse) -> None:
        """Gives back what is free, or tells of a debt."""
        if (purse.free > 0 or purse.is_in_debt) and purse.asking is None:
            asking = purse.asking = asyncio.get_running_loop().create_future()
            reply = LeaseReply()
            try:
                reply = await self._exchange(purse, back=purse.free)
            except Fault as failure:
                # heard or not, the keeper takes the rest back when this process ends
                log.warning("what is left of %s could not be given back: %s", purse.line.account, failure)
            finally:
                purse.asking = None
                asking.set_result(reply)

    async def recall(self, names: Iterable[str]) -> None:
        """Other gateways are short of these accounts."""
        short = [purse for name in names if (purse := self._purses.get(name)) is not None]
        await asyncio.gather(*(self.return_unused(purse) for purse in short))

    def holdings(self) -> list[tuple[str, int]]:
        """What is taken of pools, for a keeper that has just begun."""
        return [
            (name, purse.free + purse.held)
            for name, purse in self._purses.items()
            if purse.line.kind == POOL and purse.free + purse.held > 0
        ]

    async def keep_swept(self) -> None:
        """Runs for the life of the process: gives back what is not used, and forgets purses that nobody uses."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_S):
                    await self._debts.wait()
            has_debts = self._debts.is_set()
            self._debts.clear()
            now = monotonic()
            for name, purse in list(self._purses.items()):
                if purse.is_in_debt:
                    await self.return_unused(purse)
                elif has_debts:
                    continue
                elif purse.is_used:
                    purse.is_used, purse.used_at = False, now
                elif purse.free > 0 and now - purse.used_at > IDLE_S:
                    await self.return_unused(purse)
                elif not purse.free and not purse.held and purse.asking is None and now - purse.used_at > FORGET_S:
                    del self._purses[name]
                    self._cache.clear()
