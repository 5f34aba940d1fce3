"""What image and video services have in common: how sizes, seeds and links are written. Source: dashscope.md 6, 9 and 10."""

import re
from typing import Any

import msgspec

from steelyard.base.errors import fault
from steelyard.base.lifetimes import read_ttl_s
from steelyard.canon.downloads import NO_BOUNDS, DownloadBounds
from steelyard.dialects.openai_fields import Check, boolean, integer
from steelyard.dialects.openai_messages import MAX_DATA_URI_BYTES

MAX_SEED = 2**31 - 1
MAX_SIDE = 4096
MIN_SIDE = 64
MAX_DURATION_S = 60
RESOLUTIONS = ("480P", "720P", "1080P")
_SIZE = re.compile(r"\s*(\d{1,5})\s*[*xX×]\s*(\d{1,5})\s*")
TTL_HEADER = b"x-steelyard-result-ttl"
WEBHOOK_HEADER = b"x-steelyard-webhook"
OSS_HEADER = b"x-dashscope-ossresourceresolve"
#: Bounds of downloads by their names.
BOUND_HEADERS = {"timeout_s": b"x-steelyard-download-timeout", "max_bytes": b"x-steelyard-download-max-bytes"}


def read_size(value: Any) -> tuple[int, int] | None:
    """`1024*1024` (or with an x) as (width, height).

    Raises:
        Fault: `size_invalid`.
    """
    if value is None:
        return None
    found = _SIZE.fullmatch(value) if type(value) is str else None
    size = (int(found[1]), int(found[2])) if found else (0, 0)
    if not all(MIN_SIDE <= side <= MAX_SIDE for side in size):
        raise fault("size_invalid", range=f"[{MIN_SIDE}*{MIN_SIDE}, {MAX_SIDE}*{MAX_SIDE}]", param="size")
    return size


def _resolution(value: Any) -> None:
    if type(value) is not str or value.upper() not in RESOLUTIONS:
        raise fault("resolution_invalid", param="resolution")


def _size(value: Any) -> None:
    read_size(value)


#: The checks of image services' parameters, and of video services'.
IMAGE_FIELDS: dict[str, Check] = {
    "n": integer("n", "n_range", lambda v: 1 <= v <= 4),
    "seed": integer("seed", "seed_range_media", lambda v: 0 <= v <= MAX_SEED),
    "size": _size,
    "prompt_extend": boolean("prompt_extend"),
    "watermark": boolean("watermark"),
}
VIDEO_FIELDS: dict[str, Check] = {
    "seed": integer("seed", "seed_range_media", lambda v: 0 <= v <= MAX_SEED),
    "size": _size,
    "resolution": _resolution,
    "duration": integer("duration", "duration_range", lambda v: 1 <= v <= MAX_DURATION_S, MAX_DURATION_S),
    "fps": integer("fps", "duration_range", lambda v: 1 <= v <= MAX_DURATION_S, MAX_DURATION_S),
    "prompt_extend": boolean("prompt_extend"),
    "watermark": boolean("watermark"),
}


def text_of(asked: dict[str, Any], name: str) -> str:
    """A text of `input`; absent and null are empty.

    Raises:
        Fault: `parameter_type`.
    """
    value = asked.get(name)
    if value is None:
        return ""
    if type(value) is not str:
        raise fault("parameter_type", field=f"input.{name}", type="String", param=f"input.{name}")
    return value


def check_link(link: Any, where: str) -> None:
    """A link to media. Whether it leads anywhere shows when the task is done: a wrong one fails the task, not the call.

    Raises:
        Fault: `parameter_type`, or `media_too_large` for data within the call.
    """
    if type(link) is not str:
        raise fault("parameter_type", field=where, type="String", param=where)
    if link.startswith("data:") and len(link) > MAX_DATA_URI_BYTES:
        raise fault("media_too_large", param=where)


def link_of(asked: dict[str, Any], *names: str) -> str:
    """The first of these links that is there.

    Raises:
        Fault: it is no link.
    """
    for name in names:
        value = asked.get(name)
        if value:
            check_link(value, f"input.{name}")
            return str(value)
    return ""


def links_of(asked: dict[str, Any], name: str) -> tuple[str, ...]:
    """A list of links.

    Raises:
        Fault: it is none.
    """
    value = asked.get(name) or []
    if type(value) is not list:
        raise fault("parameter_type", field=f"input.{name}", type="Array", param=f"input.{name}")
    for link in value:
        check_link(link, f"input.{name}")
    return tuple(value)


def wishes_of(headers: dict[bytes, bytes]) -> dict[str, Any]:
    """What headers say of any task: its links' lifetime, a webhook, whether `oss://` links may be resolved.

    Raises:
        Fault: `parameter_invalid`.
    """
    wishes: dict[str, Any] = {}
    ttl, webhook = headers.get(TTL_HEADER), headers.get(WEBHOOK_HEADER)
    if ttl is not None:
        wishes["ttl_s"] = read_ttl_s(ttl.decode("latin-1"))
    if webhook is not None:
        url = webhook.decode("latin-1").strip()
        if not url.startswith(("http://", "https://")):
            raise fault("media_url_invalid", param="X-Steelyard-Webhook")
        wishes["webhook"] = url
    if resolves_oss(headers):
        wishes["resolves_oss"] = True
    bounds = bounds_of(headers)
    if bounds is not NO_BOUNDS:
        wishes["downloads"] = bounds
    return wishes


def resolves_oss(headers: dict[bytes, bytes]) -> bool:
    """Whether `oss://` links may be resolved."""
    return headers.get(OSS_HEADER, b"").lower() == b"enable"


def bounds_of(headers: dict[bytes, bytes]) -> DownloadBounds:
    """How much of its links a call wants followed.

    Raises:
        Fault: `parameter_invalid`.
    """
    found = {name: headers.get(header) for name, header in BOUND_HEADERS.items()}
    if not any(found.values()):
        return NO_BOUNDS
    try:
        bounds = msgspec.convert(
            {name: value.decode("latin-1") for name, value in found.items() if value}, DownloadBounds, strict=False
        )
        bounds.check()
    except msgspec.ValidationError:
        names = ", ".join(header.decode() for header in BOUND_HEADERS.values())
        raise fault("parameter_invalid", detail=f"{names} take numbers above 0.") from None
    return bounds
