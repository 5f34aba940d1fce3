"""`steelyard routes`."""

from pathlib import Path
from typing import Literal

from cyclopts import App

from steelyard.canon.model import Model, Price
from steelyard.cli.context import actor, get_settings, print_json, print_table, with_models
from steelyard.cli.values import split
from steelyard.control.catalogue import RouteSpec
from steelyard.control.limits import parse_money_micros
from steelyard.control.routes import parse_target, show_route

app = App(name="routes", help="Routes: list, set, remove.")


@app.command(name="list")
def list_routes(*, data_dir: Path | None = None, config: Path | None = None, json: bool = False) -> None:
    """List every model name with its targets, and who declared it."""
    models = with_models(get_settings(data_dir, config), lambda book: book.read())
    shown = [models[name] for name in sorted(models)]
    if json:
        print_json([show_route(one) for one in shown])
    else:
        print_table(("Model", "Declared by", "Strategy", "Targets"), [_row(one) for one in shown])


def _row(model: Model) -> tuple[str, str, str, str]:
    targets = ", ".join(f"{one.label}@{one.priority}*{one.weight}" for one in model.targets)
    return model.name, model.origin, model.strategy, targets


@app.command(name="set")
def set_route(
    model: str,
    *targets: str,
    strategy: Literal["weighted", "fastest"] = "weighted",
    max_attempts: int = 3,
    hedge_after_s: float | None = None,
    unsupported: Literal["careful", "refuse", "drop", "pass"] = "careful",
    aliases: str = "",
    price_input: str | None = None,
    price_output: str | None = None,
    price_cached: str | None = None,
    currency: str = "CNY",
    data_dir: Path | None = None,
    config: Path | None = None,
    json: bool = False,
) -> None:
    """Set a model's route: PROVIDER/MODEL, then @PRIORITY and *WEIGHT where they matter.

    Parameters
    ----------
    model
        The name that callers use.
    targets
        Such as deepseek/deepseek-chat bailian/deepseek-v3@1; lower priorities are tried first.
    strategy
        How targets of one priority share the calls.
    max_attempts
        Attempts upstream for one call.
    hedge_after_s
        Ask a second target after so many seconds without a first byte.
    unsupported
        What becomes of fields that a target's API has no place for: refuse those that change what the answer is and drop the
        rest (careful), refuse, drop, or pass them all.
    aliases
        Other names that lead here, comma separated.
    price_input
        Price of 1,000,000 input tokens; default the public list's.
    price_output
        Price of 1,000,000 output tokens.
    price_cached
        Price of 1,000,000 cached input tokens.
    currency
        The prices' currency.
    data_dir
        The installation's data directory.
    config
        Configuration file.
    json
        Print JSON.
    """
    price = None
    if price_input is not None or price_output is not None:
        price = Price(
            version="set",
            currency=currency.upper(),
            input_micros=parse_money_micros(price_input or "0"),
            output_micros=parse_money_micros(price_output or "0"),
            cached_micros=None if price_cached is None else parse_money_micros(price_cached),
        )
    spec = RouteSpec(
        targets=tuple(parse_target(one) for one in targets),
        price=price,
        aliases=split(aliases),
        strategy=strategy,
        max_attempts=max_attempts,
        hedge_after_s=hedge_after_s,
        unsupported=unsupported,
    )
    made = with_models(get_settings(data_dir, config), lambda book: book.set_route(model, spec, actor=actor()))
    if json:
        print_json(show_route(made))
    else:
        print_table(("Model", "Declared by", "Strategy", "Targets"), [_row(made)])


@app.command
def remove(model: str, *, data_dir: Path | None = None, config: Path | None = None) -> None:
    """Take a route away that was set while running; what providers bring under its name comes back."""
    with_models(get_settings(data_dir, config), lambda book: book.remove_route(model, actor=actor()))
    print(f"The route of {model} is removed.")
