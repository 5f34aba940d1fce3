"""What is in the hub: a provider or a model, with what is known of it, from the public lists and the embedded models."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from steelyard.base.errors import fault
from steelyard.canon.model import LOCAL_PREFIX, Price
from steelyard.engines.catalogue import MODELS
from steelyard.engines.vectors import DIMENSIONS, FUSION
from steelyard.engines.workshop import CAMERA, PIPER, POSTER, WHISPER
from steelyard.upstream.providers.public import get_public_models, get_vendors, price_of

PROVIDER, MODEL = "provider", "model"
LOCAL = "local"
#: Vendors whose models are made for Chinese first.
CHINESE = frozenset({"dashscope", "deepseek", "moonshot", "zhipu", "siliconflow", "volcengine"})


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Words in both languages; the first of each is what is shown."""

    en: tuple[str, ...]
    zh: tuple[str, ...]

    def shown(self, language: str) -> str:
        """The one that is shown."""
        words = self.zh if language == "zh" and self.zh else self.en
        return words[0]


class WordList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`words.toml`."""

    modalities: dict[str, Words]
    parts: dict[str, Words]
    capabilities: dict[str, Words]
    providers: dict[str, Words]
    wishes: dict[str, Words]


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A model at one provider."""

    provider: str
    #: The model's name there.
    name: str
    price: Price


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A provider or a model.

    Args:
        name: unique among its kind.
        offers: of a model, where it can be had; of a provider, none.
        models: of a provider, what it offers of the public list.
    """

    kind: str
    name: str
    title: str
    site: str = ""
    key: tuple[str, str] = ("", "")
    env: str = ""
    regions: dict[str, str] = {}
    apis: tuple[str, ...] = ()
    modality: str = ""
    capabilities: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    offers: tuple[Offer, ...] = ()
    models: tuple[str, ...] = ()

    @property
    def cheapest(self) -> Offer | None:
        """The offer with the lowest price that is known, in yuan or dollars alike."""
        known = [one for one in self.offers if one.price.is_known]
        return min(known, key=lambda one: cost_of(one.price), default=None)

    @property
    def is_free(self) -> bool:
        """Whether it can be had without an account."""
        return any(one.provider == LOCAL for one in self.offers) or self.name == LOCAL


#: For comparing alone: money is never converted in the ledger.
_YUAN = {"CNY": 1.0, "USD": 7.2}


def cost_of(price: Price) -> float:
    """What 3,000,000 input and 1,000,000 output tokens cost, or a hundred pictures, or seconds: to rank by, in yuan."""
    tokens = 3 * price.input_micros + price.output_micros
    media = 100 * (price.image_micros + min(price.second_micros.values(), default=0))
    return (tokens + media) / 1e6 * _YUAN.get(price.currency, 1.0)


@cache
def read_words() -> WordList:
    """The words people look by."""
    text = (files(__package__) / "words.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), WordList)


@cache
def list_entries() -> tuple[Entry, ...]:
    """Everything, providers first."""
    return (*_providers(), *_models(), *_embedded())


def find_entry(name: str) -> Entry | None:
    """An entry by its name, title or an alias; models before providers of the same name."""
    wanted = name.strip().lower()
    ordered = sorted(list_entries(), key=lambda one: one.kind != MODEL)
    for one in ordered:
        if wanted in (one.name.lower(), one.title.lower(), *(alias.lower() for alias in one.aliases)):
            return one
    return None


def get_entry(name: str, kind: str | None = None) -> Entry:
    """An entry.

    Raises:
        Fault: `resource_not_found`.
    """
    found = next((one for one in list_entries() if one.name == name and one.kind == kind), None) or find_entry(name)
    if found is None or (kind is not None and found.kind != kind):
        raise fault("resource_not_found", detail=f" The hub has no entry {name[:100]!r}; `steelyard hub search` finds.")
    return found


def alternatives(entry: Entry, limit: int = 5) -> tuple[Entry, ...]:
    """Models for the same, the cheapest first."""
    same = [
        one
        for one in list_entries()
        if one.kind == MODEL and one.name != entry.name and _purpose(one) == _purpose(entry) and not one.is_free
    ]
    return tuple(sorted(same, key=lambda one: (one.cheapest is None, _cost(one)))[:limit])


def _purpose(entry: Entry) -> tuple[str, str]:
    part = next((name for name in ("i2v", "kf2v", "t2v", "edit") if name in entry.name), "")
    return entry.modality, part


def _cost(entry: Entry) -> float:
    return cost_of(entry.cheapest.price) if entry.cheapest else 0.0


def _providers() -> list[Entry]:
    offered: dict[str, list[str]] = {}
    for model in get_public_models():
        for vendor in model.on:
            offered.setdefault(vendor, []).append(model.name)
    return [
        Entry(
            kind=PROVIDER,
            name=name,
            title=one.title,
            site=one.site,
            key=one.key,
            env=one.env,
            regions=one.regions,
            apis=tuple(dict.fromkeys((one.kind, *one.kinds))),
            models=tuple(offered.get(name, ())),
        )
        for name, one in get_vendors().items()
    ]


def _models() -> list[Entry]:
    return [
        Entry(
            kind=MODEL,
            name=one.name,
            title=one.name,
            modality=one.modality,
            capabilities=one.capabilities,
            aliases=one.aliases,
            context_tokens=one.context_tokens,
            max_output_tokens=one.max_output_tokens,
            offers=tuple(
                Offer(provider=vendor, name=name, price=price_of(one, vendor)) for vendor, name in one.on.items()
            ),
        )
        for one in get_public_models()
    ]


#: Embedded models beside those that chat, with their modalities. The diffusion engine is none of them: its weights are the operator's.
_EMBEDDED = {
    **dict.fromkeys(DIMENSIONS, "embedding"),
    FUSION: "rerank",
    POSTER: "image",
    CAMERA: "video",
    WHISPER: "transcription",
    PIPER: "speech",
}


def _embedded() -> list[Entry]:
    chat = [(name, one.title[0], "text", ("tools",)) for name, one in MODELS.items()]
    others: list[tuple[str, str, str, tuple[str, ...]]] = [
        (name, name, modality, ()) for name, modality in _EMBEDDED.items()
    ]
    return [
        Entry(
            kind=MODEL,
            name=LOCAL_PREFIX + name,
            title=title,
            modality=modality,
            capabilities=capabilities,
            offers=(Offer(provider=LOCAL, name=name, price=Price()),),
        )
        for name, title, modality, capabilities in (*chat, *others)
    ]


def show_entry(entry: Entry) -> dict[str, Any]:
    """An entry as JSON."""
    shown: dict[str, Any] = {"kind": entry.kind, "name": entry.name, "title": entry.title}
    if entry.kind == PROVIDER:
        return {
            **shown,
            "site": entry.site,
            "how_to_get_a_key": {"en": entry.key[0], "zh": entry.key[1]},
            "environment": entry.env,
            "base_urls": entry.regions,
            "apis": entry.apis,
            "models": entry.models,
        }
    return {
        **shown,
        "modality": entry.modality,
        "capabilities": entry.capabilities,
        "aliases": entry.aliases,
        "context_tokens": entry.context_tokens,
        "max_output_tokens": entry.max_output_tokens,
        "offers": [
            {"provider": one.provider, "model": one.name, "price": show_price(one.price)} for one in entry.offers
        ],
    }


def show_price(price: Price) -> dict[str, Any] | None:
    """A list price in micro-units; None where nobody knows it."""
    if not price.is_known:
        return None
    return {
        "currency": price.currency,
        "input_micros": price.input_micros,
        "output_micros": price.output_micros,
        "cached_micros": price.cached_micros,
        "image_micros": price.image_micros,
        "second_micros": price.second_micros,
        "version": price.version,
    }
