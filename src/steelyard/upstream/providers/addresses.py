"""Where a provider is and what it brings, as people say it: by vendor and region, or by address."""

from steelyard.base.errors import fault
from steelyard.upstream.pool import parse_origin
from steelyard.upstream.providers.kinds import KINDS
from steelyard.upstream.providers.public import get_vendors

COMPATIBLE_MODE = "/compatible-mode/v1"


def kind_of(vendor: str, kind: str) -> str:
    """The kind that is meant: the one named, else the vendor's own.

    Raises:
        Fault: there is no such kind.
    """
    if not kind:
        row = get_vendors().get(vendor)
        return "openai" if row is None else row.kind
    if kind not in KINDS:
        raise fault("parameter_invalid", detail=f"kind must be one of {', '.join(KINDS)}.", param="kind")
    return kind


def base_url_of(vendor: str, region: str, base_url: str, kind: str) -> str:
    """The address that is meant. An operator's address may be private.

    Raises:
        Fault: no address, an unknown vendor or region, or none of http(s).
    """
    if vendor:
        row = get_vendors().get(vendor)
        if row is None:
            known = ", ".join(sorted(get_vendors()))
            raise fault("parameter_invalid", detail=f"There is no vendor {vendor!r}; known: {known}.", param="vendor")
        regions = row.regions_of(kind)
        found = regions.get(region or next(iter(regions), ""))
        if found is None and not base_url:
            known = ", ".join(regions)
            detail = f"{vendor} has no region {region!r}; known: {known}."
            if not regions:
                detail = f"{vendor} has no address for kind {kind!r}; name one with base_url."
            raise fault("parameter_invalid", detail=detail, param="region" if regions else "kind")
        base_url = base_url or found or ""
    try:
        if not base_url.startswith(("http://", "https://")) or any(character.isspace() for character in base_url):
            raise ValueError
        parse_origin(base_url)
    except ValueError:
        detail = "base_url must begin with http:// or https://, or name a vendor."
        raise fault("parameter_invalid", detail=detail, param="base_url") from None
    return base_url.rstrip("/")


def tasks_url_of(kind: str, base_url: str) -> str:
    """Where a provider's asynchronous tasks are asked for by the native API; empty where it has none that is known.

    A vendor's compatible-mode address has the native API beside it, and so has another steelyard.
    """
    if kind == "dashscope":
        return base_url
    for ending in (COMPATIBLE_MODE, "/v1") if kind == "steelyard" else (COMPATIBLE_MODE,):
        if base_url.endswith(ending):
            return base_url.removesuffix(ending) + "/api/v1"
    return ""


def split_names(models: tuple[str, ...]) -> dict[str, str]:
    """`name` or `name=name there`, as our names and theirs.

    Raises:
        Fault: `parameter_invalid`.
    """
    names = {}
    for one in models:
        name, _, there = one.partition("=")
        if not name.strip():
            raise fault(
                "parameter_invalid", detail=f"{one!r} is no model; write NAME or NAME=NAME-THERE.", param="models"
            )
        names[name.strip()] = there.strip() or name.strip()
    return names
