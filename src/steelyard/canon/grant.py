"""Who calls: what a key allows."""

import msgspec


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """The rights of one key. Empty lists allow everything."""

    key_id: str
    workspace: str
    kind: str = "api"
    name: str = ""
    models: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    expires_us: int | None = None
    is_disabled: bool = False


class Workspace(msgspec.Struct, frozen=True, kw_only=True):
    """What admission needs to know of a workspace."""

    name: str
    is_activated: bool = False
