"""What a key or a workspace may take: rates, concurrency, and a budget."""

import msgspec

TOKENS = "tokens"
DAY, MONTH, TOTAL = "day", "month", "total"


class Budget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An amount that is never overspent. Days and months begin at midnight UTC."""

    amount: int
    #: "tokens", or a currency's code; then the amount is in micro-units.
    unit: str = TOKENS
    per: str = TOTAL


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """None sets no limit."""

    #: requests and tokens a minute
    rpm: int | None = None
    tpm: int | None = None
    #: calls under way at once
    concurrency: int | None = None
    budget: Budget | None = None


NO_LIMITS = Limits()
