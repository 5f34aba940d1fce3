"""Limits as people set them, and what was spent of a budget."""

from decimal import Decimal, InvalidOperation
from typing import Any

from steelyard.base.clock import MICROS, now_us
from steelyard.base.errors import fault
from steelyard.canon.limits import DAY, MONTH, TOKENS, TOTAL, Budget, Limits
from steelyard.policy.limits import budget_line
from steelyard.store import accounts
from steelyard.store.database import Database

PERIODS = (DAY, MONTH, TOTAL)
MAX_AMOUNT = 10**15


def check_limits(limits: Limits) -> None:
    """Every value in its range.

    Raises:
        Fault: `parameter_invalid`, naming the field.
    """
    for name in ("rpm", "tpm", "concurrency"):
        value = getattr(limits, name)
        if value is not None and not 1 <= value <= MAX_AMOUNT:
            raise fault("parameter_invalid", detail=f"{name} must be 1 or more.", param=f"limits.{name}")
    budget = limits.budget
    if budget is None:
        return
    if not 1 <= budget.amount <= MAX_AMOUNT:
        raise fault("parameter_invalid", detail="The budget's amount must be above 0.", param="limits.budget.amount")
    if budget.per not in PERIODS:
        known = ", ".join(PERIODS)
        raise fault("parameter_invalid", detail=f"per must be one of {known}.", param="limits.budget.per")
    if budget.unit != TOKENS and not is_currency(budget.unit):
        detail = "unit must be tokens or a currency such as CNY."
        raise fault("parameter_invalid", detail=detail, param="limits.budget.unit")


def is_currency(text: str) -> bool:
    """Whether a text is a currency's three letters, such as CNY."""
    return len(text) == 3 and text.isascii() and text.isalpha() and text.isupper()


def make_limits(
    *,
    rpm: int | None = None,
    tpm: int | None = None,
    concurrency: int | None = None,
    budget_tokens: int | None = None,
    budget_money: str | None = None,
    currency: str = "CNY",
    per: str = TOTAL,
) -> Limits:
    """Limits from flags; money as people write it.

    Raises:
        Fault: two budgets, or no amount of money.
    """
    if budget_tokens is not None and budget_money is not None:
        raise fault("parameter_invalid", detail="A budget is in tokens or in money, not in both.")
    budget = None
    if budget_tokens is not None:
        budget = Budget(amount=budget_tokens, per=per)
    elif budget_money is not None:
        budget = Budget(amount=parse_money_micros(budget_money), unit=currency.upper(), per=per)
    return Limits(rpm=rpm, tpm=tpm, concurrency=concurrency, budget=budget)


def parse_money_micros(text: str) -> int:
    """`12.50` in micro-units.

    Raises:
        Fault: `parameter_invalid`.
    """
    try:
        value = Decimal(text) * MICROS
    except InvalidOperation:
        raise fault("parameter_invalid", detail=f"{text!r} is no amount of money; write 12.50.") from None
    if not value.is_finite() or value != value.to_integral_value():
        raise fault("parameter_invalid", detail=f"{text!r} is no amount of money; write 12.50.")
    return int(value)


def show_amount(micros: int) -> str:
    """Micro-units as `parse_money_micros` reads them: every place that counts, and no more."""
    return f"{Decimal(micros) / MICROS:f}"


async def show_budget(database: Database, subject: str, limits: Limits) -> dict[str, Any] | None:
    """A budget with what was settled of it in the present period; None where there is none.

    Args:
        subject: `key:ID` or `workspace:NAME`.
    """
    if limits.budget is None:
        return None
    line = budget_line(subject, limits.budget, "", "", now_us())
    async with database.read() as connection:
        spent = await accounts.get_settled(connection, line.account)
        leased = await accounts.sum_leases(connection, line.account)
    return {
        "unit": line.unit,
        "amount": line.limit,
        "per": line.per,
        "spent": spent,
        "on_lease": leased,
        "left": line.limit - spent - leased,
        "resets_at": None if line.ends_us is None else line.ends_us // MICROS,
    }
