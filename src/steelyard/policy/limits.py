"""Limits as accounts: what each is called, when it begins anew, and how its end is told. Values in, values out.

Three kinds. A *rate* refills with time, and what is taken is spent. A *pool* is taken and given back. A *budget* is held from
above and settled exactly; its account carries its period, so a new day is a new account.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from steelyard.base.errors import Fault, fault
from steelyard.base.units import MICROS
from steelyard.canon.grant import Grant, Workspace
from steelyard.canon.limits import DAY, MONTH, NO_LIMITS, TOKENS, Budget, Limits

RATE, POOL, BUDGET = "rate", "pool", "budget"
REQUESTS, CALLS, FREE = "requests", "calls", "free"
MINUTE_S = 60
_DAY_US = 86_400 * MICROS


class Line(msgspec.Struct, frozen=True):
    """One limit in force for one caller."""

    #: `SUBJECT|UNIT|PER|START`, such as `key:key_x|tokens|day|1790000000`.
    account: str
    kind: str
    #: "requests", "calls", "tokens" or a currency
    unit: str
    limit: int
    #: Where it is set: "key" or "workspace".
    level: str
    #: How it can be raised.
    command: str
    per: str = "minute"
    starts_us: int = 0
    #: None where it never begins anew
    ends_us: int | None = None


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway gives back to an account, and what it wants of it. A repeated `seq` is answered, and changes nothing."""

    account: str
    kind: str
    limit: int
    seq: int
    #: Below zero where more was taken than was had.
    back: int = 0
    #: 0 wants nothing; less than `need` is of no use.
    need: int = 0
    want: int = 0
    #: Nothing beyond `want` is of use.
    is_exact: bool = False
    starts_us: int = 0
    ends_us: int | None = None


class LeaseReply(msgspec.Struct, frozen=True):
    """What the keeper of an account answers to a wish."""

    granted: int = 0
    #: what is left of the account beside leases, and how much others have on lease
    left: int = 0
    leased: int = 0
    #: seconds until the wish could be met; 0.0 where nobody can say
    reset_s: float = 0.0


def lines_for(grant: Grant, workspace: Workspace, now_us: int) -> tuple[Line, ...]:
    """Every limit that a call of this grant meets now."""
    lines: list[Line] = []
    if grant.limits != NO_LIMITS:
        lines += _lines(
            f"key:{grant.lineage or grant.key_id}", grant.limits, "key", f"keys limit {grant.key_id}", now_us
        )
    if workspace.limits != NO_LIMITS:
        command = f"workspaces limit {workspace.name}"
        lines += _lines(f"workspace:{workspace.name}", workspace.limits, "workspace", command, now_us)
    if workspace.free_tokens is not None:
        account = f"free:{workspace.name}|{FREE}|total|0"
        lines.append(Line(account, BUDGET, FREE, workspace.free_tokens, "workspace", "", "total"))
    if grant.token_id:
        lines += _token_lines(grant)
    if grant.is_inner:
        # the call that it is part of has its place and was counted: a key of one place would wait for itself
        return tuple(line for line in lines if line.unit not in (REQUESTS, CALLS))
    return tuple(lines)


def _token_lines(grant: Grant) -> list[Line]:
    """A token's own budgets. They end with it."""
    budgets = [] if grant.token_calls is None else [Budget(amount=grant.token_calls, unit=REQUESTS)]
    if grant.token_spend is not None:
        budgets.append(grant.token_spend)
    return [
        Line(
            f"token:{grant.token_id}|{budget.unit}|{budget.per}|0", BUDGET, budget.unit, budget.amount, "token",
            "tokens create", budget.per, 0, grant.expires_us,
        )
        for budget in budgets
    ]  # fmt: skip


def _lines(subject: str, limits: Limits, level: str, command: str, now_us: int) -> list[Line]:
    lines = []
    for name, kind, unit, limit in (
        ("rpm", RATE, REQUESTS, limits.rpm),
        ("tpm", RATE, TOKENS, limits.tpm),
        ("concurrency", POOL, CALLS, limits.concurrency),
    ):
        if limit is not None:
            told = f"steelyard {command} --{name} N"
            lines.append(Line(f"{subject}|{unit}|minute|{kind}", kind, unit, limit, level, told))
    if limits.budget is not None:
        lines.append(budget_line(subject, limits.budget, level, f"steelyard {command} --budget-…", now_us))
    return lines


def budget_line(subject: str, budget: Budget, level: str, command: str, now_us: int) -> Line:
    """A budget's account in the period of a time."""
    starts_us, ends_us = period_of(budget.per, now_us)
    account = f"{subject}|{budget.unit}|{budget.per}|{starts_us // MICROS}"
    return Line(account, BUDGET, budget.unit, budget.amount, level, command, budget.per, starts_us, ends_us)


def period_of(per: str, now_us: int) -> tuple[int, int | None]:
    """Beginning and end of the period that a time lies in, in microseconds; no end for `total`."""
    if per == DAY:
        starts_us = now_us - now_us % _DAY_US
        return starts_us, starts_us + _DAY_US
    if per == MONTH:
        day = datetime.fromtimestamp(now_us // MICROS, UTC)
        first = datetime(day.year, day.month, 1, tzinfo=UTC)
        following = datetime(day.year + day.month // 12, day.month % 12 + 1, 1, tzinfo=UTC)
        return int(first.timestamp()) * MICROS, int(following.timestamp()) * MICROS
    return 0, None


def unit_of(account: str) -> str:
    """What an account counts."""
    return account.split("|")[1]


def refuse(line: Line, reply: LeaseReply, now_us: int) -> Fault:
    """Tells which limit it is, its value, when it resets and who can raise it."""
    failure = _REFUSALS[line.kind](line, reply, now_us)
    failure.limit_name = _NAMES.get((line.kind, line.unit), BUDGET)
    return failure


def _refuse_rate(line: Line, reply: LeaseReply, _now_us: int) -> Fault:
    wait_s = max(math.ceil(reply.reset_s), 1)
    slug = "limit_requests" if line.unit == REQUESTS else "token_rate"
    detail = (
        f"Limit of this {line.level}: {line.limit:,} {line.unit} a minute; room again in {wait_s} s. {_raise(line)}"
    )
    failure = fault(slug, retry_after_s=min(wait_s, MINUTE_S), detail=f" {detail}")
    failure.limit_headers = _headers(line, max(reply.left, 0), wait_s)
    return failure


def _refuse_pool(line: Line, reply: LeaseReply, _now_us: int) -> Fault:
    detail = f"Limit of this {line.level}: {line.limit:,} calls at once. {_raise(line)}"
    failure = fault("limit_requests", retry_after_s=1, detail=f" {detail}")
    failure.limit_headers = _headers(line, max(reply.left, 0), 1)
    return failure


def _refuse_budget(line: Line, reply: LeaseReply, now_us: int) -> Fault:
    if line.unit == FREE:
        failure = fault("free_tier_only")
        if reply.leased > 0:
            # held by calls under way, and may come back
            failure.is_retryable, failure.retry_after_s = True, 1
        return failure
    is_counted = line.unit in (TOKENS, REQUESTS)
    amount = f"{line.limit:,} {line.unit}" if is_counted else f"{line.limit / MICROS:,.2f} {line.unit}"
    left = f"{max(reply.left, 0):,}" if is_counted else f"{max(reply.left, 0) / MICROS:,.6f}"
    if reply.leased > 0:
        # what others hold comes back unless they use it up: this is worth another try
        detail = (
            f"Budget of this {line.level}: {amount} per {line.per}; {left} left, the rest is held by calls under way."
        )
        failure = fault("budget_spent", retry_after_s=1, detail=f"{detail} {_raise(line)}")
        failure.is_retryable = True
        failure.limit_headers = _headers(line, max(reply.left, 0), 1)
        return failure
    resets = "it does not reset" if line.ends_us is None else f"it resets at {_time(line.ends_us)}"
    detail = f"Budget of this {line.level}: {amount} per {line.per}; {left} left, {resets}. {_raise(line)}"
    failure = fault("budget_spent", detail=detail)
    wait_s = 0 if line.ends_us is None else max((line.ends_us - now_us) // MICROS, 1)
    failure.limit_headers = _headers(line, max(reply.left, 0), wait_s)
    return failure


_NAMES = {(RATE, REQUESTS): "rpm", (RATE, TOKENS): "tpm", (POOL, CALLS): "concurrency"}
_REFUSALS = {RATE: _refuse_rate, POOL: _refuse_pool, BUDGET: _refuse_budget}


def _raise(line: Line) -> str:
    return f"An admin can raise it: `{line.command}`."


def _headers(line: Line, left: int, reset_s: int) -> list[tuple[bytes, bytes]]:
    unit = line.unit if line.unit in (REQUESTS, TOKENS) else REQUESTS if line.unit == CALLS else "money"
    pairs = {"limit": str(line.limit), "remaining": str(left), "reset": f"{reset_s}s"}
    return [(f"x-ratelimit-{name}-{unit}".encode(), value.encode()) for name, value in pairs.items()]


class RateHead:
    """`x-ratelimit-…` of a rate: what is left of a minute's worth, and when all of it is there again."""

    __slots__ = ("_all", "_first", "_limit", "_second", "_third")

    def __init__(self, unit: str, limit: int) -> None:
        first, self._second, self._third = (
            f"x-ratelimit-{name}-{unit}".encode() for name in ("limit", "remaining", "reset")
        )
        self._limit = limit
        self._first = (first, b"%d" % limit)
        self._all = self._of(limit)

    def __repr__(self) -> str:
        return f"<RateHead {self._first[0].decode()}: {self._limit}>"

    def of(self, left: int) -> Sequence[tuple[bytes, bytes]]:
        """The lines; what processes hold for each other may come to more than the limit."""
        return self._all if left >= self._limit else self._of(max(left, 0))

    def _of(self, left: int) -> Sequence[tuple[bytes, bytes]]:
        limit = self._limit
        reset_s = -((left - limit) * MINUTE_S // limit) if limit else MINUTE_S
        return self._first, (self._second, b"%d" % left), (self._third, b"%ds" % reset_s)


def _time(us: int) -> str:
    return datetime.fromtimestamp(us // MICROS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
