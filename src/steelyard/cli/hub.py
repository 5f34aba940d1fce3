"""`steelyard hub`: vendors and models, found by what people call them. It needs no server and no network."""

from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from steelyard.base.errors import SetupFault
from steelyard.base.units import MICROS
from steelyard.cli.context import print_json, print_table
from steelyard.control.hub.entries import MODEL, PROVIDER, Entry, Offer, alternatives, get_entry, show_entry
from steelyard.control.hub.search import search as find

app = App(name="hub", help="The API hub: vendors and models, searched, shown and compared.")


@app.command
def search(
    query: str = "",
    *,
    kind: Literal["", "provider", "model"] = "",
    modality: str = "",
    limit: int = 10,
    json: bool = False,
) -> None:
    """Find vendors and models, such as "便宜的中文长文本模型" or "text to image".

    Parameters
    ----------
    query
        What is looked for; nothing lists all.
    kind
        Providers or models alone.
    modality
        text, vision, embedding, rerank, image, video, transcription or speech.
    limit
        How many at most.
    json
        Print JSON.
    """
    found = find(query, kind=kind, modality=modality, limit=limit)
    if json:
        print_json([show_entry(one) for one in found])
        return
    if not found:
        raise SetupFault(f"Nothing in the hub fits {query!r}; try a vendor, a model's name, or what it should do.")
    print_table(("", "Name", "What", "At", "Price"), [_line(one) for one in found])


@app.command
def show(name: str, *, json: bool = False) -> None:
    """Show a vendor with how to get a key, or a model with where it can be had.

    Parameters
    ----------
    name
        A vendor or a model, by any of its names.
    json
        Print JSON.
    """
    entry = get_entry(name)
    others = alternatives(entry) if entry.kind == MODEL else ()
    if json:
        print_json({**show_entry(entry), "alternatives": [one.name for one in others]})
        return
    if entry.kind == PROVIDER:
        rows = [("title", entry.title), ("site", entry.site), ("key", " ".join(entry.key)), ("variable", entry.env)]
        rows += [(f"base URL {region}", url) for region, url in entry.regions.items()]
        print_table(("Field", "Value"), [*rows, ("models", ", ".join(entry.models))])
        return
    rows = [("modality", entry.modality), ("abilities", ", ".join(entry.capabilities) or "–")]
    rows += [("context", _count(entry.context_tokens)), ("answer at most", _count(entry.max_output_tokens))]
    rows += [(f"at {one.provider}", f"{one.name}  {_price(one)}") for one in entry.offers]
    print_table(("Field", "Value"), [*rows, ("alternatives", ", ".join(one.name for one in others) or "–")])


@app.command
def compare(names: Annotated[list[str], Parameter(consume_multiple=True)], /, *, json: bool = False) -> None:
    """Compare models: price, context and abilities, side by side.

    Parameters
    ----------
    names
        Two models or more.
    json
        Print JSON.
    """
    if len(names) < 2:
        raise SetupFault("Name two models or more; `steelyard hub search` finds them.")
    found = [get_entry(name, MODEL) for name in names]
    if json:
        print_json([show_entry(one) for one in found])
        return
    lines: list[tuple[str, Any]] = [
        ("modality", [one.modality for one in found]),
        ("context", [_count(one.context_tokens) for one in found]),
        ("answer at most", [_count(one.max_output_tokens) for one in found]),
        ("abilities", [", ".join(one.capabilities) or "–" for one in found]),
        ("at", [", ".join(offer.provider for offer in one.offers) for one in found]),
        ("lowest price", [_price(one.cheapest) for one in found]),
    ]
    print_table(("", *(one.name for one in found)), [(name, *cells) for name, cells in lines])


def _line(one: Entry) -> tuple[str, ...]:
    if one.kind == PROVIDER:
        return (one.kind, one.name, one.title, one.site, "")
    return (one.kind, one.name, one.modality, ", ".join(offer.provider for offer in one.offers), _price(one.cheapest))


def _count(tokens: int | None) -> str:
    return "–" if tokens is None else f"{tokens:,}"


def _price(offer: Offer | None) -> str:
    """A list price in a line."""
    if offer is None or not offer.price.is_known:
        return "unknown"
    price = offer.price
    if price.is_free:
        return "free"
    parts = []
    if price.input_micros or price.output_micros:
        parts.append(f"{_amount(price.input_micros)} in, {_amount(price.output_micros)} out per 1M tokens")
    if price.image_micros:
        parts.append(f"{_amount(price.image_micros)} a picture")
    if price.second_micros:
        parts.append(f"{_amount(min(price.second_micros.values()))} a second")
    return f"{price.currency} {'; '.join(parts)}"


def _amount(micros: int) -> str:
    return f"{micros / MICROS:.6f}".rstrip("0").rstrip(".")
