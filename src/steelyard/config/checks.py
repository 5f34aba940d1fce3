"""What may be wrong with settings that are well formed."""

import re
from urllib.parse import urlsplit

from steelyard.base.errors import Fault
from steelyard.base.lifetimes import read_ttl_s
from steelyard.canon.model import FASTEST, UNSUPPORTED, WEIGHTED
from steelyard.config.monitor import check_monitor
from steelyard.config.prices import price_micros, second_micros
from steelyard.config.sections import ModelSettings
from steelyard.config.settings import Settings
from steelyard.upstream.providers.addresses import base_url_of, kind_of

MODALITIES = ("text", "vision", "embedding", "rerank", "image", "video", "transcription", "speech")
_EMBEDDED_NAMES = ("auto", "on", "off")


def check_settings(settings: Settings) -> list[str]:
    """What is wrong with the settings together, each with its path."""
    faults = []
    server = settings.server
    if not 0 <= server.port <= 65535:
        faults.append("server.port must lie in 0 to 65535")
    if settings.knowledge.index == "database" and settings.database.url.startswith("sqlite"):
        faults.append("knowledge.index = 'database' needs PostgreSQL in database.url")
    if not 1 <= server.workers <= 64:
        faults.append("server.workers must lie in 1 to 64")
    if not 1024 <= server.max_body_bytes <= 64 * 1024 * 1024:
        faults.append("server.max_body_bytes must lie in 1024 to 67108864")
    if settings.limits.url != "database":
        faults.append('limits.url: only "database" is delivered in this version; redis:// comes later')
    if settings.embedded_names not in _EMBEDDED_NAMES:
        faults.append('models.embedded_names must be "auto", "on" or "off"')
    if not 1 <= settings.engines.slots <= 64:
        faults.append("engines.slots must lie in 1 to 64")
    return (
        faults
        + _check_media(settings)
        + check_monitor(settings.monitor)
        + _check_catalogue(settings)
        + _check_plugins(settings)
        + _check_oidc(settings)
    )


def _check_oidc(settings: Settings) -> list[str]:
    oidc = settings.console.oidc
    if not oidc.issuer:
        return []
    faults = []
    parts = urlsplit(oidc.issuer)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost"):
        faults.append("console.oidc.issuer must begin with https://")
    faults += [f"console.oidc.{name} is missing" for name in ("client_id", "client_secret") if not getattr(oidc, name)]
    return faults


def _check_plugins(settings: Settings) -> list[str]:
    faults = []
    for name, plugin in settings.plugins.items():
        where = f"plugins.{name}"
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,23}", name) or name == "apps":
            faults.append(f"{where}: a name has at most 24 lower-case letters, digits and hyphens, and is not reserved")
        wanted = {"openapi": "document", "mcp": "url", "stdio": "command"}[plugin.kind]
        if not getattr(plugin, wanted):
            faults.append(f"{where}.{wanted} is missing")
        if plugin.url and not plugin.url.startswith(("http://", "https://")):
            faults.append(f"{where}.url must begin with http:// or https://")
        if not 0 < plugin.timeout_s <= 300:
            faults.append(f"{where}.timeout_s must lie in 0 to 300")
    return faults


def _check_media(settings: Settings) -> list[str]:
    faults = []
    try:
        read_ttl_s(settings.objects.result_ttl)
    except Fault:
        faults.append("objects.result_ttl must be a lifetime such as 24h, 7d or forever")
    if settings.objects.url and not settings.objects.url.startswith(("file://", "s3://")):
        faults.append("objects.url must begin with file:// or s3://")
    if settings.objects.public_url and not settings.objects.public_url.startswith(("http://", "https://")):
        faults.append("objects.public_url must begin with http:// or https://")
    if not 1 <= settings.tasks.workers <= 16:
        faults.append("tasks.workers must lie in 1 to 16")
    if not 1 <= settings.tasks.local_slots <= 64:
        faults.append("tasks.local_slots must lie in 1 to 64")
    if settings.tasks.per_workspace < 1:
        faults.append("tasks.per_workspace must be at least 1")
    if not 0.05 <= settings.tasks.poll_s <= 600:
        faults.append("tasks.poll_s must lie in 0.05 to 600")
    if settings.tasks.deadline_s < 1:
        faults.append("tasks.deadline_s must be at least 1")
    if not 1 <= settings.tasks.batch_concurrency <= 256:
        faults.append("tasks.batch_concurrency must lie in 1 to 256")
    if settings.outbound.relay not in ("auto", "always", "never"):
        faults.append('outbound.relay must be "auto", "always" or "never"')
    faults += [
        f"outbound.proxies: {one!r} is not HOST=http://proxy:port"
        for one in settings.outbound.proxies
        if "=http://" not in one and "=https://" not in one
    ]
    return faults


def _check_catalogue(settings: Settings) -> list[str]:
    faults = []
    for name, provider in settings.providers.items():
        try:
            kind = kind_of(provider.vendor, provider.kind)
            base_url_of(provider.vendor, provider.region, provider.base_url, kind)
        except Fault as failure:
            faults.append(f"providers.{name}.{failure.param}: {failure.message.strip().removesuffix('.')}")
    for name, model in settings.models.items():
        if not model.targets:
            faults.append(f"models.{name}.targets must name at least one target")
        faults += [
            f"models.{name}.targets: there is no provider {target.provider!r}"
            for target in model.targets
            if target.provider not in settings.providers
        ]
        faults += _check_route(name, model)
        try:
            price_micros(model.price)
            second_micros(model.price)
        except ValueError as exc:
            faults.append(f"models.{name}.price: {exc}")
    return faults


def _check_route(name: str, model: ModelSettings) -> list[str]:
    faults = []
    if model.strategy not in (WEIGHTED, FASTEST):
        faults.append(f'models.{name}.strategy must be "{WEIGHTED}" or "{FASTEST}"')
    if not 1 <= model.max_attempts <= 10:
        faults.append(f"models.{name}.max_attempts must lie in 1 to 10")
    if model.hedge_after_s is not None and model.hedge_after_s <= 0:
        faults.append(f"models.{name}.hedge_after_s must be above 0")
    if model.unsupported not in UNSUPPORTED:
        faults.append(f"models.{name}.unsupported must be one of {', '.join(UNSUPPORTED)}")
    if model.modality and model.modality not in MODALITIES:
        faults.append(f"models.{name}.modality must be one of {', '.join(MODALITIES)}")
    if model.price is not None and not 0 <= model.price.batch_percent <= 100:
        faults.append(f"models.{name}.price.batch_percent must lie in 0 to 100")
    if any(not 1 <= target.weight <= 1000 for target in model.targets):
        faults.append(f"models.{name}.targets: weight must lie in 1 to 1000")
    return faults
