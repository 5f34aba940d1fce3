"""How what a call refers to is asked for between gateway and face. Values in, values out."""

import msgspec

from steelyard.canon.contents import Want
from steelyard.canon.downloads import NO_BOUNDS, DownloadBounds
from steelyard.canon.faults import ToldFault


class ContentsAsk(msgspec.Struct, frozen=True, kw_only=True):
    """What a workspace's call refers to."""

    workspace: str
    wants: tuple[Want, ...]
    #: Whether `oss://` links may be resolved.
    resolves_oss: bool = False
    #: How much of public links is followed.
    downloads: DownloadBounds = NO_BOUNDS


class Supplied(msgspec.Struct, frozen=True):
    """What was found, in the order of the wants; or why not."""

    values: tuple[str, ...] = ()
    fault: ToldFault | None = None
