"""`steelyard hub`: vendors and models, found by what people call them or mean. It needs no server and no network, but for figures."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from steelyard.base.errors import SetupFault
from steelyard.canon.embedding import QUERY
from steelyard.canon.model import LOCAL_PREFIX
from steelyard.cli.context import print_json, print_table
from steelyard.cli.promql import ask, find_monitor
from steelyard.control.hub.entries import MODEL, PROVIDER, Entry, Offer, alternatives, get_entry, show_entry
from steelyard.control.hub.figures import (
    ANSWERS,
    ERRORS,
    FIRST,
    SPEED,
    Figures,
    get_queries,
    read_figures,
)
from steelyard.control.hub.meaning import Meaning, MeaningSearch
from steelyard.control.hub.search import search as find
from steelyard.control.limits import show_amount

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
    found, meaning = asyncio.run(_find(query, kind=kind, modality=modality, limit=limit))
    if json:
        print_json([show_entry(one) for one in found])
        return
    if meaning is not None:
        print(f"Nothing is called so; by its meaning this is about: {meaning.en} ({meaning.zh}).")
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
def compare(
    names: Annotated[list[str], Parameter(consume_multiple=True)],
    /,
    *,
    figures: bool = False,
    window: str = "7d",
    url: str | None = None,
    api_key: str | None = None,
    json: bool = False,
) -> None:
    """Compare models: price, context and abilities, side by side.

    Parameters
    ----------
    names
        Two models or more.
    figures
        Add what the profile's server measured of its own calls.
    window
        How far back: 1h, 1d, 7d or 30d.
    url
        Where the figures' Prometheus is, as for `steelyard promql`; it implies --figures.
    api_key
        A bearer token for it.
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
    if figures or url is not None:
        lines += _figure_lines([one.name for one in found], window, url, api_key)
    print_table(("", *(one.name for one in found)), [(name, *cells) for name, cells in lines])


async def _find(query: str, *, kind: str, modality: str, limit: int) -> tuple[list[Entry], Meaning | None]:
    """By words, then by meaning where the embedded models' packages are here."""
    found = find(query, kind=kind, modality=modality, limit=limit)
    # imported where it is needed: few questions are, and the models take a second to load
    from steelyard.engines.vectors import VectorModels, is_installed

    if found or not query.strip() or not is_installed():
        return found, None
    models = VectorModels(threads=2)

    async def embed(model: str, texts: list[str]) -> list[Sequence[float]]:
        vectors: list[Sequence[float]] = models.embed(model.removeprefix(LOCAL_PREFIX), texts, QUERY).tolist()
        return vectors

    return await MeaningSearch(embed).find(query, kind=kind, modality=modality, limit=limit)


def _figure_lines(names: list[str], window: str, url: str | None, key: str | None) -> list[tuple[str, Any]]:
    """What a server measured of its own traffic, by the queries that its console shows."""
    if url is None:
        url, key = find_monitor(key)
    answers = {name: ask(url, {"query": query}, key, None)["data"] for name, query in get_queries(window).items()}
    by_model = read_figures(answers)
    found = [by_model.get(name, Figures(model=name)) for name in names]
    shown: tuple[tuple[str, str, str], ...] = (
        ("answers", ANSWERS, "{:.0f}"),
        ("to first token", FIRST, "{:.3f} s"),
        ("errors", ERRORS, "{:.1%}"),
        ("tokens/s", SPEED, "{:.1f}"),
    )
    lines = [
        (title, ["–" if (value := one.of(name)) is None else form.format(value) for one in found])
        for title, name, form in shown
    ]
    prices = [", ".join(f"{value:.6f} {currency}" for currency, value in one.price.items()) or "–" for one in found]
    return [*lines, ("per answer", prices)]


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
        parts.append(f"{show_amount(price.input_micros)} in, {show_amount(price.output_micros)} out per 1M tokens")
    if price.image_micros:
        parts.append(f"{show_amount(price.image_micros)} a picture")
    if price.second_micros:
        parts.append(f"{show_amount(min(price.second_micros.values()))} a second")
    return f"{price.currency} {'; '.join(parts)}"
