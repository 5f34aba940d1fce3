"""Where a provider is and what it brings, as people say it: by vendor and region, or by address."""

from steelyard.base.errors import fault
from steelyard.upstream.pool import parse_origin
from steelyard.upstream.providers.public import get_vendors

#: Kinds of provider, by the wire that they speak. Another steelyard speaks the OpenAI wire too.
KINDS = ("openai", "steelyard")


def base_url_of(vendor: str, region: str, base_url: str) -> str:
    """The address that is meant. An operator's address may be private.

    Raises:
        Fault: no address, an unknown vendor or region, or none of http(s).
    """
    if vendor:
        row = get_vendors().get(vendor)
        if row is None:
            known = ", ".join(sorted(get_vendors()))
            raise fault("parameter_invalid", detail=f"There is no vendor {vendor!r}; known: {known}.", param="vendor")
        found = row.base_url(region)
        if found is None:
            known = ", ".join(row.regions)
            detail = f"{vendor} has no region {region!r}; known: {known}."
            raise fault("parameter_invalid", detail=detail, param="region")
        base_url = base_url or found
    try:
        if not base_url.startswith(("http://", "https://")) or any(character.isspace() for character in base_url):
            raise ValueError
        parse_origin(base_url)
    except ValueError:
        detail = "base_url must begin with http:// or https://, or name a vendor."
        raise fault("parameter_invalid", detail=detail, param="base_url") from None
    return base_url.rstrip("/")


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
