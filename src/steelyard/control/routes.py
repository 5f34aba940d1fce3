"""Routes that are set while running: a model's name, its targets, and how they are chosen."""

from typing import Any

import msgspec

from steelyard.base.clock import MICROS, now_us
from steelyard.base.errors import fault
from steelyard.canon.model import FASTEST, UNSUPPORTED, WEIGHTED, Model, Price
from steelyard.control.catalogue import Declared, RouteSpec, TargetSpec
from steelyard.control.limits import is_currency
from steelyard.store import audit, changes, providers
from steelyard.store.database import Database

MAX_TARGETS = 20
#: For a million tokens, a picture or a second: beyond it is a slip.
MAX_PRICE_MICROS = 1_000_000 * MICROS
MAX_NAME_CHARS = 200


def parse_target(text: str) -> TargetSpec:
    """`provider/model`, then `@priority` and `*weight` where they matter: `deepseek/deepseek-chat@1*3`.

    Raises:
        Fault: `parameter_invalid`.
    """
    rest, _, weight = text.partition("*")
    rest, _, priority = rest.rpartition("@") if "@" in rest else (rest, "", "")
    provider, _, model = rest.partition("/")
    numbers = {"priority": priority or "0", "weight": weight or "1"}
    if not provider or not all(value.isascii() and value.isdigit() for value in numbers.values()):
        detail = f"{text!r} is no target; write PROVIDER/MODEL, then @PRIORITY and *WEIGHT where they matter."
        raise fault("parameter_invalid", detail=detail, param="targets")
    return TargetSpec(provider=provider, model=model, priority=int(numbers["priority"]), weight=int(numbers["weight"]))


def check_route(name: str, spec: RouteSpec, known: set[str]) -> None:
    """Every value in its range, every provider there.

    Raises:
        Fault: naming the field.
    """
    if not name.strip() or len(name) > MAX_NAME_CHARS or name.startswith("local/"):
        raise fault("parameter_invalid", detail="That cannot be a model's name.", param="model")
    if not 1 <= len(spec.targets) <= MAX_TARGETS:
        raise fault("parameter_invalid", detail=f"A route has 1 to {MAX_TARGETS} targets.", param="targets")
    for target in spec.targets:
        if target.provider not in known:
            names = ", ".join(sorted(known)) or "none"
            detail = f"There is no provider {target.provider!r}; there are: {names}."
            raise fault("parameter_invalid", detail=detail, param="targets")
        if not 1 <= target.weight <= 1000 or not 0 <= target.priority <= 1000:
            raise fault("parameter_invalid", detail="weight lies in 1 to 1000, priority in 0 to 1000.", param="targets")
    if spec.strategy not in (WEIGHTED, FASTEST):
        raise fault("parameter_invalid", detail=f"strategy must be {WEIGHTED} or {FASTEST}.", param="strategy")
    if not 1 <= spec.max_attempts <= 10:
        raise fault("parameter_invalid", detail="max_attempts must lie in 1 to 10.", param="max_attempts")
    if spec.hedge_after_s is not None and spec.hedge_after_s <= 0:
        raise fault("parameter_invalid", detail="hedge_after_s must be above 0.", param="hedge_after_s")
    if spec.price is not None:
        _check_price(spec.price)
    if spec.unsupported not in UNSUPPORTED:
        detail = f"unsupported must be one of {', '.join(UNSUPPORTED)}."
        raise fault("parameter_invalid", detail=detail, param="unsupported")


def _check_price(price: Price) -> None:
    named = {
        "input": price.input_micros,
        "output": price.output_micros,
        "cached": price.cached_micros,
        "reasoning": price.reasoning_micros,
        "image": price.image_micros,
        **{f"second {name}".strip(): micros for name, micros in price.second_micros.items()},
    }
    for name, micros in named.items():
        if micros is not None and not 0 <= micros <= MAX_PRICE_MICROS:
            detail = f"A price lies in 0 to {MAX_PRICE_MICROS // MICROS:,}; {name} does not."
            raise fault("parameter_invalid", detail=detail, param="price")
    if not 0 <= price.batch_percent <= 100:
        raise fault("parameter_invalid", detail="batch_percent must lie in 0 to 100.", param="price")
    if not is_currency(price.currency):
        raise fault("parameter_invalid", detail="A currency has three letters, such as CNY.", param="price")


async def set_route(
    database: Database, declared: Declared, name: str, spec: RouteSpec, *, known: set[str], actor: str
) -> None:
    """Adds or replaces a route; it is used in every process within two seconds.

    Raises:
        Fault: a value is out of range, or the file declares that name.
    """
    if name in declared.routes:
        raise fault("name_taken", detail=f"The configuration file declares {name!r}; change it there.")
    check_route(name, spec, known)
    now = now_us()
    text = msgspec.json.encode(spec).decode()
    async with database.write() as connection:
        await providers.put_route(connection, name, text, now)
        await changes.append(connection, changes.PROVIDER, name, now)
        await audit.append(connection, actor=actor, action="routes.set", subject=name, detail=text, now_us=now)


async def remove_route(database: Database, name: str, *, actor: str) -> None:
    """Takes a route away; what providers bring under that name comes back.

    Raises:
        Fault: `resource_not_found`.
    """
    now = now_us()
    async with database.write() as connection:
        if not await providers.delete_route(connection, name):
            raise fault("resource_not_found", detail=f" There is no route {name!r} that was set while running.")
        await changes.append(connection, changes.PROVIDER, name, now)
        await audit.append(connection, actor=actor, action="routes.remove", subject=name, now_us=now)


def show_route(model: Model) -> dict[str, Any]:
    """A route as JSON."""
    return {
        "model": model.name,
        "origin": model.origin,
        "strategy": model.strategy,
        "max_attempts": model.max_attempts,
        "hedge_after_s": model.hedge_after_s,
        "unsupported": model.unsupported,
        "targets": [
            {"target": one.label, "priority": one.priority, "weight": one.weight, "price": one.price.version}
            for one in model.targets
        ],
    }
