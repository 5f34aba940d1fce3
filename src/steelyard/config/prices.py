"""Prices as they are written in the settings, in micro-units."""

from decimal import Decimal, InvalidOperation

from steelyard.base.clock import MICROS
from steelyard.config.sections import PriceSettings


def price_micros(price: PriceSettings | None) -> dict[str, int | None]:
    """Micro-units: per 1,000,000 tokens of input, output, cached, reasoning; and per image.

    Raises:
        ValueError: not a sum of money.
    """
    if price is None:
        return {"input": 0, "output": 0, "cached": None, "reasoning": None, "image": 0}
    amounts = {name: getattr(price, name) for name in ("input", "output", "cached", "reasoning", "image")}
    return {name: None if amount is None else _micros(amount) for name, amount in amounts.items()}


def second_micros(price: PriceSettings | None) -> dict[str, int]:
    """Micro-units for a second of video, by resolution.

    Raises:
        ValueError: not a sum of money.
    """
    if price is None or not price.second:
        return {}
    prices = price.second if isinstance(price.second, dict) else {"": price.second}
    return {name.upper(): _micros(amount) for name, amount in prices.items()}


def _micros(amount: str | float) -> int:
    try:
        value = Decimal(str(amount)) * MICROS
    except InvalidOperation:
        raise ValueError(f"{amount!r} is no amount") from None
    if not value.is_finite() or value < 0:
        raise ValueError(f"{amount!r} is no amount")
    return int(value.to_integral_value())
