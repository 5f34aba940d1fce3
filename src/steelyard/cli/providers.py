"""`steelyard providers`."""

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from steelyard.base.errors import SetupFault
from steelyard.cli.context import EXIT_FAILED, actor, get_settings, pick, print_json, print_table, with_models
from steelyard.cli.values import split
from steelyard.control.model_book import ModelBook
from steelyard.control.providers import Preview, ProviderWish, list_vendors, show_preview, show_probes

app = App(name="providers", help="Providers: vendors, add, list, test, remove.")


@app.command
def vendors(*, lang: str = "en", json: bool = False) -> None:
    """List the vendors that are known by name: addresses, site, how to get a key."""
    rows = list_vendors()
    if json:
        print_json(rows)
        return
    lines = [
        (
            one["vendor"],
            one["title"],
            ", ".join((one["kind"], *one["kinds"])),
            ", ".join(one["regions"]),
            one["site"],
            pick(tuple(one["key"]), lang),
        )
        for one in rows
    ]
    print_table(("Vendor", "Name", "Kinds", "Regions", "Site", "Key"), lines)


@app.command
def add(
    name: str,
    *,
    vendor: str = "",
    region: str = "",
    base_url: str = "",
    kind: str = "",
    api_key: Annotated[str, Parameter(allow_leading_hyphen=True)] = "",
    models: str = "",
    max_concurrency: int | None = None,
    yes: bool = False,
    data_dir: Path | None = None,
    config: Path | None = None,
    json: bool = False,
) -> None:
    """Add a provider: it is tried first, and the names it brings are shown before they take effect.

    Parameters
    ----------
    name
        What it is called here.
    vendor
        A vendor that is known by name (`providers vendors`): gives the address, and what its models can do and cost.
    region
        The vendor's region; default its first.
    base_url
        The address, where no vendor gives it or another is meant. It may be private.
    kind
        The wire that it speaks: openai, or steelyard for another one of these.
    api_key
        env:NAME or file:PATH, which stay references; - reads it from standard input; else the key itself, which is sealed.
    models
        Names to bring, comma separated, NAME or NAME=NAME-THERE; default what the public list and its own list say.
    max_concurrency
        Calls under way at once, per gateway process.
    yes
        Do not ask.
    data_dir
        The installation's data directory.
    config
        Configuration file.
    json
        Print JSON.
    """
    if api_key == "-":
        api_key = sys.stdin.readline().strip()
    names = split(models)
    wish = ProviderWish(
        name=name, vendor=vendor, region=region, kind=kind, base_url=base_url, api_key=api_key, models=names,
        max_concurrency=max_concurrency,
    )  # fmt: skip
    settings = get_settings(data_dir, config)

    async def action(book: ModelBook) -> tuple[Preview, bool]:
        found = await book.preview(wish, is_local=True)
        if not json:
            _print_preview(found)
        is_wanted = yes or _is_confirmed()
        if is_wanted:
            await book.add(wish, found, actor=actor())
        return found, is_wanted

    found, is_added = with_models(settings, action)
    if json:
        print_json({**show_preview(found), "added": is_added})
    elif is_added:
        print(f"Provider {name} is added; its names work within 2 seconds.")
    else:
        print("Nothing was added.", file=sys.stderr)
        sys.exit(EXIT_FAILED)


def _print_preview(found: Preview) -> None:
    rows: list[tuple[Any, ...]] = [
        ("ok" if one.is_ok else "FAILED", one.name, one.detail, f"{one.took_s:.2f} s") for one in found.probes
    ]
    print_table(("", "Tried", "", "Took"), rows)
    print_table(("Name", "There", ""), [(one, found.provider.models[one], fate) for one, fate in found.names.items()])


def _is_confirmed() -> bool:
    if not sys.stdin.isatty():
        raise SetupFault("Nobody is there to confirm; --yes adds the provider without asking.")
    return input("Add it? 确认添加？[y/N] ").strip().lower() in ("y", "yes", "是")


@app.command(name="list")
def list_providers(*, data_dir: Path | None = None, config: Path | None = None, json: bool = False) -> None:
    """List providers: the file's, which are read-only here, and those added while running."""
    found = with_models(get_settings(data_dir, config), lambda book: book.list_providers())
    if json:
        print_json(found)
        return
    rows = [
        (one["name"], one["origin"], one.get("base_url", ""), "yes" if one.get("has_key") else "no",
         len(one.get("models", ())), one["problem"])
        for one in found
    ]  # fmt: skip
    print_table(("Name", "Declared by", "Address", "Key", "Names", ""), rows)


@app.command(name="test")
def try_provider(name: str, *, data_dir: Path | None = None, config: Path | None = None, json: bool = False) -> None:
    """Try a provider and say what works. Exit code 1 where something does not."""
    probes = with_models(get_settings(data_dir, config), lambda book: book.test(name))
    if json:
        print_json(show_probes(probes))
    else:
        rows = [("ok" if one.is_ok else "FAILED", one.name, one.detail, f"{one.took_s:.2f} s") for one in probes]
        print_table(("", "Tried", "", "Took"), rows)
    if not all(one.is_ok for one in probes):
        sys.exit(EXIT_FAILED)


@app.command
def remove(name: str, *, data_dir: Path | None = None, config: Path | None = None) -> None:
    """Take a provider away that was added while running."""
    with_models(get_settings(data_dir, config), lambda book: book.remove(name, actor=actor()))
    print(f"Provider {name} is removed.")
