"""What a gateway knows: swapped whole, never changed in place."""

import msgspec

from steelyard.canon.grant import Workspace
from steelyard.canon.model import Model


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Routes, models, prices and workspaces at one version of the change log."""

    version: int = 0
    models: dict[str, Model] = {}
    workspaces: dict[str, Workspace] = {}
    has_keys: bool = False
    #: Temporary tokens that were revoked before their time.
    revoked: frozenset[str] = frozenset()
