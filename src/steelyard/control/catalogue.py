"""The catalogue: every name that callers may use, from the file, from what was added while running, and the embedded models.

What the file declares wins; then a route that was set; then the names that providers bring, each provider another target; a
stand-in comes last, and only while no provider is configured.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from steelyard.canon.model import CAREFUL, LOCAL_PREFIX, WEIGHTED, Model, Price, Target
from steelyard.upstream.providers.addresses import tasks_url_of
from steelyard.upstream.providers.kind import Kind
from steelyard.upstream.providers.kinds import KINDS
from steelyard.upstream.providers.public import find_public_model, get_public_models, price_of

#: What models are called for that are no language models.
OPERATIONS_OF_MODALITY = {
    "embedding": ("embeddings",),
    "rerank": ("rerank",),
    "image": ("images",),
    "video": ("videos",),
    "transcription": ("transcription",),
    "speech": ("speech",),
}
#: Names by which image, video and speech models are known that no list has.
_GUESSES = (
    ("videos", re.compile(r"t2v|i2v|kf2v|r2v|s2v|-video|video-|\bsora|\bveo", re.IGNORECASE)),
    ("transcription", re.compile(r"paraformer|sensevoice|fun-asr|-asr-.*filetrans|\bwhisper", re.IGNORECASE)),
    ("speech", re.compile(r"-tts\b|\btts-|cosyvoice|sambert", re.IGNORECASE)),
    ("images", re.compile(r"t2i|i2i|-image|image-|imageedit|\bwanx|\bflux|stable-diffusion|dall-e", re.IGNORECASE)),
)
FILE, STORED, BROUGHT, EMBEDDED = "file", "set", "provider", "embedded"
ALL_CAPABILITIES = ("tools", "image", "audio", "video", "search", "thinking", "logprobs")


class ProviderSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A provider, whoever declared it. `api_key` is the key itself, and is kept nowhere in this form."""

    name: str
    kind: str = "openai"
    vendor: str = ""
    base_url: str
    api_key: str = ""
    #: our name -> its name there
    models: dict[str, str] = {}
    connect_timeout_s: float = 5.0
    first_byte_timeout_s: float = 300.0
    chunk_timeout_s: float = 120.0
    total_timeout_s: float = 3600.0
    max_concurrency: int | None = None
    has_breaker: bool = True
    obeys_cap: bool = True


class TargetSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One target of a route."""

    provider: str
    #: empty: the route's own name
    model: str = ""
    priority: int = 0
    weight: int = 1


class RouteSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A route, whoever declared it. None leaves it to the public list."""

    targets: tuple[TargetSpec, ...]
    price: Price | None = None
    capabilities: tuple[str, ...] | None = None
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    aliases: tuple[str, ...] = ()
    strategy: str = WEIGHTED
    max_attempts: int = 3
    hedge_after_s: float | None = None
    #: What becomes of fields that a target's API has no place for.
    unsupported: str = CAREFUL
    #: What the model is for, where neither the list nor its name says so: "image", "video", "embedding" …
    modality: str = ""


class EmbeddedEntry(msgspec.Struct, frozen=True):
    """An embedded model whose weights are here."""

    name: str
    target: Target
    #: Vendors' names that it answers for while no provider is configured.
    stand_in_names: tuple[str, ...] = ()


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """What an installation has beside its database."""

    providers: dict[str, ProviderSpec] = {}
    routes: dict[str, RouteSpec] = {}
    embedded: tuple[EmbeddedEntry, ...] = ()
    #: "auto", "on" or "off"
    embedded_names: str = "auto"
    #: Whether the end of a workspace's free tokens is the end of its priced calls.
    stop_when_exhausted: bool = False
    #: Names of the operator's plugins.
    plugins: frozenset[str] = frozenset()


#: Asked again and again: embedded models come and go with their weights.
Catalogue = Callable[[], Declared]


def build_models(
    declared: Declared, stored_providers: Iterable[ProviderSpec] = (), stored_routes: dict[str, RouteSpec] | None = None
) -> dict[str, Model]:
    """All names that callers may use, aliases included."""
    providers = {one.name: one for one in stored_providers} | declared.providers
    models = _embedded(declared, has_providers=bool(providers))
    layers = ((BROUGHT, brought_routes(providers.values())), (STORED, stored_routes or {}), (FILE, declared.routes))
    for origin, routes in layers:
        built = {name: _model(name, spec, providers, origin) for name, spec in routes.items()}
        # a name of one's own beats another's alias
        for name, spec in routes.items():
            model = built[name]
            if model is not None:
                models |= {
                    alias: msgspec.structs.replace(model, name=alias) for alias in spec.aliases if alias not in built
                }
        models |= {name: model for name, model in built.items() if model is not None}
    return models


def brought_routes(providers: Iterable[ProviderSpec]) -> dict[str, RouteSpec]:
    """The routes that providers bring by themselves: a name that several bring has them all as targets."""
    targets: dict[str, list[TargetSpec]] = {}
    aliases: dict[str, tuple[str, ...]] = {}
    for one in providers:
        for name, there in one.models.items():
            targets.setdefault(name, []).append(TargetSpec(provider=one.name, model=there))
            known = find_public_model(one.vendor, there)
            if known is not None and name == known.name:
                aliases[name] = known.aliases
    return {name: RouteSpec(targets=tuple(found), aliases=aliases.get(name, ())) for name, found in targets.items()}


def brought_names(vendor: str, listed: Iterable[str] | None) -> dict[str, str]:
    """Which names a provider would bring: those of the public list that it has, or all it lists where it is not known there.

    Args:
        listed: what its own list of models says; None where it has none.
    """
    public = {one.name: one.on[vendor] for one in get_public_models() if vendor in one.on}
    if listed is None:
        return public
    names = set(listed)
    found = {name: there for name, there in public.items() if there in names}
    return found or {name: name for name in sorted(names)}


def _embedded(declared: Declared, *, has_providers: bool) -> dict[str, Model]:
    models: dict[str, Model] = {}
    names = declared.embedded_names
    if names == "off" and has_providers:
        return models
    answers = names == "on" or (names == "auto" and not has_providers)
    for entry in declared.embedded:
        # an engine that fails says so at once: its queue is bounded, and a crashed host comes back by itself
        fields: dict[str, Any] = {
            "targets": (entry.target,),
            "owned_by": "local",
            "max_attempts": 1,
            "origin": EMBEDDED,
        }
        name = LOCAL_PREFIX + entry.name
        models[name] = Model(name=name, **fields)
        if answers:
            models |= {one: Model(name=one, is_stand_in=True, **fields) for one in entry.stand_in_names}
    return models


def _model(name: str, spec: RouteSpec, providers: dict[str, ProviderSpec], origin: str) -> Model | None:
    """None where none of its providers is there any more."""
    targets = tuple(
        _target(providers[one.provider], one, name, spec) for one in spec.targets if one.provider in providers
    )
    if not targets:
        return None
    return Model(
        name=name,
        targets=targets,
        owned_by=targets[0].provider,
        strategy=spec.strategy,
        max_attempts=spec.max_attempts,
        hedge_after_s=spec.hedge_after_s,
        unsupported=spec.unsupported,
        origin=origin,
    )


def _operations(kind: Kind, modality: str, name: str) -> tuple[str, ...]:
    """What a model is called for."""
    if modality:
        return OPERATIONS_OF_MODALITY.get(modality, kind.operations)
    return next(((operation,) for operation, pattern in _GUESSES if pattern.search(name)), kind.operations)


def _target(provider: ProviderSpec, one: TargetSpec, name: str, spec: RouteSpec) -> Target:
    there = one.model or provider.models.get(name) or name
    known = find_public_model(provider.vendor, there)
    capabilities = spec.capabilities
    if capabilities is None:
        capabilities = ALL_CAPABILITIES if known is None else known.capabilities
    max_output_tokens = spec.max_output_tokens
    if max_output_tokens is None and known is not None:
        max_output_tokens = known.max_output_tokens
    context_tokens = spec.context_tokens
    if context_tokens is None and known is not None:
        context_tokens = known.context_tokens
    kind = KINDS[provider.kind]
    default_output_tokens = None
    if kind.default_output_tokens is not None:
        default_output_tokens = max_output_tokens or kind.default_output_tokens
    return Target(
        provider=provider.name,
        model=there,
        api=kind.api,
        operations=_operations(kind, spec.modality or ("" if known is None else known.modality), there),
        default_output_tokens=default_output_tokens,
        base_url=provider.base_url,
        tasks_url=tasks_url_of(provider.kind, provider.base_url),
        api_key=provider.api_key,
        capabilities=capabilities,
        context_tokens=context_tokens,
        max_output_tokens=max_output_tokens,
        price=price_of(known, provider.vendor) if spec.price is None else spec.price,
        priority=one.priority,
        weight=one.weight,
        max_concurrency=provider.max_concurrency,
        has_breaker=provider.has_breaker,
        obeys_cap=provider.obeys_cap,
        connect_timeout_s=provider.connect_timeout_s,
        first_byte_timeout_s=provider.first_byte_timeout_s,
        chunk_timeout_s=provider.chunk_timeout_s,
        total_timeout_s=provider.total_timeout_s,
    )
