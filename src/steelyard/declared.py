"""What an installation declares: its file's providers and models, and the embedded models whose weights are here."""

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from steelyard.base.errors import Fault, SetupFault
from steelyard.base.jsondoor import encode
from steelyard.canon.model import Model, Price, Target
from steelyard.config import Settings, resolve_secret
from steelyard.config.prices import price_micros, second_micros
from steelyard.config.sections import Diffusion, PriceSettings

if TYPE_CHECKING:
    from steelyard.canon.apps import Plugin, ToolSpec
    from steelyard.control.catalogue import Catalogue, EmbeddedEntry, ProviderSpec, RouteSpec
    from steelyard.control.providers import Stored

#: What the start-up banner says of the models.
BANNER_FILE = "models.json"
#: The host of the embedding and rerank models, as `engine_socket` knows it.
VECTORS = "vectors"


def engine_socket(settings: Settings, name: str) -> Path:
    """Where an engine host listens."""
    return settings.run_dir / f"engine-{name}.sock"


def make_catalogue(settings: Settings) -> "Catalogue":
    """A function that gives what is declared as it is now: the file's part is read once, weights come and go."""
    from steelyard.control.catalogue import Declared, EmbeddedEntry
    from steelyard.engines.catalogue import DEFAULT_CHAT, MODELS, STAND_IN_NAMES
    from steelyard.engines.weights import is_present

    file_part = Declared(
        providers=declared_providers(settings),
        routes=declared_routes(settings),
        embedded_names=settings.embedded_names,
        stop_when_exhausted=settings.quota.stop_when_exhausted,
        plugins=frozenset(settings.plugins),
    )
    models_dir = Path(settings.models_dir)

    def catalogue() -> Declared:
        entries = []
        for name in settings.engines.load:
            model = MODELS.get(name)
            if model is None or not is_present(models_dir, model):
                continue
            target = Target(
                provider="local",
                model=model.name,
                base_url=f"unix:{engine_socket(settings, model.name)}:/v1",
                operations=("chat", "completions", "tokenize"),
                capabilities=model.capabilities,
                context_tokens=model.context_tokens,
                max_output_tokens=model.context_tokens,
                default_output_tokens=model.default_output_tokens,
                is_local=True,
                first_byte_timeout_s=1800.0,
                chunk_timeout_s=300.0,
                has_breaker=False,
            )
            names = STAND_IN_NAMES if model.name == DEFAULT_CHAT else ()
            entries.append(EmbeddedEntry(model.name, target, names))
        entries += _vector_entries(settings)
        entries += _media_entries(models_dir, settings.engines.diffusion)
        return msgspec.structs.replace(file_part, embedded=tuple(entries))

    return catalogue


def _vector_entries(settings: Settings) -> "list[EmbeddedEntry]":
    """The embedded embedding and rerank models."""
    from steelyard.control.catalogue import EmbeddedEntry
    from steelyard.engines.catalogue import EMBEDDING_STAND_IN_NAMES, RERANK_STAND_IN_NAMES
    from steelyard.engines.vectors import DIMENSIONS, E5, FUSION, MAX_TOKENS, is_installed

    if not settings.engines.vectors or not is_installed():
        return []
    stand_ins = {E5: EMBEDDING_STAND_IN_NAMES, FUSION: RERANK_STAND_IN_NAMES}
    return [
        EmbeddedEntry(
            name,
            Target(
                provider="local",
                model=name,
                base_url=f"unix:{engine_socket(settings, VECTORS)}:/v1",
                operations=("rerank",) if name == FUSION else ("embeddings",),
                context_tokens=MAX_TOKENS,
                is_local=True,
                first_byte_timeout_s=1800.0,
                has_breaker=False,
            ),
            stand_ins.get(name, ()),
        )
        for name in (*DIMENSIONS, FUSION)
    ]


def _media_entries(models_dir: Path, diffusion: Diffusion) -> "list[EmbeddedEntry]":
    """The embedded image, video and speech engines: they have no host, tasks run them."""
    from steelyard.control.catalogue import EmbeddedEntry
    from steelyard.engines.catalogue import (
        IMAGE_STAND_IN_NAMES,
        PIPER_JOE,
        SPEECH_STAND_IN_NAMES,
        TRANSCRIPTION_STAND_IN_NAMES,
        VIDEO_STAND_IN_NAMES,
        WHISPER_BASE,
    )
    from steelyard.engines.weights import is_bundle_present
    from steelyard.engines.workshop import (
        CAMERA,
        DIFFUSION,
        PIPER,
        POSTER,
        WHISPER,
        is_diffusion_possible,
        is_film_possible,
        is_hearing_possible,
        is_speech_possible,
    )

    def entry(name: str, operation: str, stand_ins: tuple[str, ...]) -> EmbeddedEntry:
        target = Target(
            provider="local",
            model=name,
            base_url="unix:none:/",
            operations=(operation,),
            is_local=True,
            has_breaker=False,
        )
        return EmbeddedEntry(name, target, stand_ins)

    # a real model takes the vendors' names, where there is one
    has_model = bool(diffusion.parts) and is_diffusion_possible()
    entries = [entry(POSTER, "images", () if has_model else IMAGE_STAND_IN_NAMES)]
    if has_model:
        entries.append(entry(DIFFUSION, "images", IMAGE_STAND_IN_NAMES))
    if is_film_possible():
        entries.append(entry(CAMERA, "videos", VIDEO_STAND_IN_NAMES))
    if is_speech_possible() and is_bundle_present(models_dir, PIPER_JOE):
        entries.append(entry(PIPER, "speech", SPEECH_STAND_IN_NAMES))
    if is_hearing_possible() and is_bundle_present(models_dir, WHISPER_BASE):
        entries.append(entry(WHISPER, "transcription", TRANSCRIPTION_STAND_IN_NAMES))
    return entries


def declared_providers(settings: Settings) -> "dict[str, ProviderSpec]":
    """The providers of the file, their keys read.

    Raises:
        SetupFault: a key's reference leads nowhere.
    """
    from steelyard.control.catalogue import ProviderSpec, brought_names
    from steelyard.upstream.providers.addresses import base_url_of, kind_of, split_names

    return {
        name: ProviderSpec(
            name=name,
            kind=kind_of(one.vendor, one.kind),
            vendor=one.vendor,
            base_url=base_url_of(one.vendor, one.region, one.base_url, kind_of(one.vendor, one.kind)),
            api_key=resolve_secret(one.api_key, f"providers.{name}.api_key"),
            models=brought_names(one.vendor, None) if one.models is None else split_names(one.models),
            connect_timeout_s=one.connect_timeout_s,
            first_byte_timeout_s=one.first_byte_timeout_s,
            chunk_timeout_s=one.chunk_timeout_s,
            total_timeout_s=one.total_timeout_s,
            max_concurrency=one.max_concurrency,
            has_breaker=one.breaker,
            obeys_cap=one.obeys_cap,
        )
        for name, one in settings.providers.items()
    }


def declared_routes(settings: Settings) -> "dict[str, RouteSpec]":
    """The models of the file."""
    from steelyard.control.catalogue import RouteSpec, TargetSpec

    return {
        name: RouteSpec(
            targets=tuple(
                TargetSpec(provider=one.provider, model=one.model, priority=one.priority, weight=one.weight)
                for one in model.targets
            ),
            price=_declared_price(model.price),
            capabilities=model.capabilities,
            context_tokens=model.context_tokens,
            max_output_tokens=model.max_output_tokens,
            aliases=model.aliases,
            strategy=model.strategy,
            max_attempts=model.max_attempts,
            hedge_after_s=model.hedge_after_s,
            unsupported=model.unsupported,
            modality=model.modality,
        )
        for name, model in settings.models.items()
    }


def _declared_price(price: PriceSettings | None) -> Price | None:
    if price is None:
        return None
    amounts = price_micros(price)
    return Price(
        version=price.version,
        currency=price.currency,
        input_micros=amounts["input"] or 0,
        output_micros=amounts["output"] or 0,
        cached_micros=amounts["cached"],
        reasoning_micros=amounts["reasoning"],
        image_micros=amounts["image"] or 0,
        second_micros=second_micros(price),
        batch_percent=price.batch_percent,
    )


def make_stored(master_key: bytes) -> "Stored":
    """Reads what was added while running."""
    from steelyard.base.sealing import Sealer
    from steelyard.control.providers import Stored

    return Stored(Sealer(master_key), resolve_secret)


def declared_plugins(settings: Settings) -> "dict[str, Plugin]":
    """The operator's plugins.

    Raises:
        SetupFault: a description cannot be read, or is none.
    """
    from steelyard.apps import openapi
    from steelyard.canon.apps import OPENAPI, Plugin, PluginSpec

    found = {}
    for name, one in settings.plugins.items():
        fields = {key: getattr(one, key) for key in PluginSpec.__struct_fields__ if hasattr(one, key)}
        spec = PluginSpec(**fields)
        tools: tuple[ToolSpec, ...] = ()
        if one.kind == OPENAPI:
            try:
                read = openapi.read_description(openapi.read_text(Path(one.document).read_text(encoding="utf-8")))
            except (OSError, UnicodeDecodeError) as exc:
                raise SetupFault(f"plugins.{name}.document: {one.document} cannot be read: {exc}.") from None
            except Fault as failure:
                raise SetupFault(f"plugins.{name}.document: {failure.message}") from None
            tools = tuple(tool for tool in read.tools if not one.only or tool.name in one.only)
            spec = msgspec.structs.replace(spec, url=one.url or next(iter(read.servers), ""))
        found[name] = Plugin(name=name, spec=spec, tools=tools)
    return found


def trusted_hosts(settings: Settings) -> tuple[str, ...]:
    """The hosts of the operator's own plugins: they may lie in private networks."""
    urls = [url for one in settings.plugins.values() for url in (one.url, one.credential.token_url) if url]
    return tuple(host for url in urls if (host := urlsplit(url).hostname))


def link_origin_of(settings: Settings) -> str:
    """Where links lead: as configured, else as the server that ran last was told by its flags."""
    if settings.objects.public_url:
        return settings.link_origin
    try:
        known = msgspec.json.decode((settings.run_dir / BANNER_FILE).read_bytes())
    except (OSError, msgspec.DecodeError):
        return settings.link_origin
    return str(known.get("origin") or settings.link_origin)


def write_banner(settings: Settings, models: dict[str, Model]) -> None:
    """Leaves for whoever started us what a person must know: of the models, and where links lead."""
    stand_ins: dict[str, list[str]] = {}
    for name, model in sorted(models.items()):
        if model.is_stand_in:
            stand_ins.setdefault(model.targets[0].label, []).append(name)
    (settings.run_dir / BANNER_FILE).write_bytes(
        encode({"count": len(models), "stand_ins": stand_ins, "origin": settings.link_origin})
    )
