"""The public lists: vendors with their addresses, and models with their names, abilities and prices. Data in two TOML files."""

import functools
import tomllib
from decimal import Decimal
from importlib import resources

import msgspec

from steelyard.base.units import MICROS
from steelyard.canon.model import Price


class Vendor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A vendor's row."""

    title: str
    key: tuple[str, str]
    """How to get one (English, Chinese)."""
    #: name -> base URL, the default first
    regions: dict[str, str]
    site: str = ""
    env: str = ""
    #: The kind that `regions` are for.
    kind: str = "openai"
    #: Other kinds that it can be asked by: kind -> regions.
    kinds: dict[str, dict[str, str]] = {}

    def regions_of(self, kind: str) -> dict[str, str]:
        """Its addresses for a kind; empty where it has none."""
        return self.regions if kind == self.kind else self.kinds.get(kind, {})


class ListPrice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Units of the currency per 1,000,000 tokens, as published."""

    currency: str
    input: str = "0"
    output: str = "0"
    cached: str | None = None
    reasoning: str | None = None
    #: For each picture.
    image: str = "0"
    #: For each second of video, by resolution.
    second: dict[str, str] = {}


class PublicModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model's row."""

    name: str
    #: vendor -> the model's name there
    on: dict[str, str]
    aliases: tuple[str, ...] = ()
    modality: str = "text"
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    capabilities: tuple[str, ...] = ()
    price: dict[str, ListPrice] = {}


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: str
    models: tuple[PublicModel, ...]


def _read(name: str) -> dict[str, object]:
    return tomllib.loads((resources.files(__package__) / name).read_text(encoding="utf-8"))


@functools.cache
def get_vendors() -> dict[str, Vendor]:
    """The vendors by name."""
    return msgspec.convert(_read("vendors.toml"), dict[str, Vendor])


@functools.cache
def _get_file() -> _File:
    return msgspec.convert(_read("models.toml"), _File)


def get_public_models() -> tuple[PublicModel, ...]:
    """The models in the file's order."""
    return _get_file().models


@functools.cache
def find_public_model(vendor: str, upstream_name: str) -> PublicModel | None:
    """What is known of a vendor's model."""
    return next((one for one in get_public_models() if one.on.get(vendor) == upstream_name), None)


def price_of(model: PublicModel | None, vendor: str) -> Price:
    """The list price, or that nobody knows it."""
    listed = None if model is None else model.price.get(vendor)
    if listed is None:
        return Price(version="unknown", is_known=False)
    return Price(
        version=f"list-{_get_file().version}",
        currency=listed.currency,
        input_micros=_micros(listed.input),
        output_micros=_micros(listed.output),
        cached_micros=None if listed.cached is None else _micros(listed.cached),
        reasoning_micros=None if listed.reasoning is None else _micros(listed.reasoning),
        image_micros=_micros(listed.image),
        second_micros={name: _micros(amount) for name, amount in listed.second.items()},
    )


def _micros(amount: str) -> int:
    return int(Decimal(amount) * MICROS)
