"""Making, showing and ending keys. The secret is returned once, by the function that makes it, and kept nowhere."""

import ipaddress
import re
from dataclasses import dataclass

import msgspec

from steelyard.base import ids
from steelyard.base.clock import MICROS, now_us
from steelyard.base.errors import fault
from steelyard.base.sealing import Sealer
from steelyard.base.secrets import digest
from steelyard.canon.grant import Grant
from steelyard.canon.limits import NO_LIMITS, Limits
from steelyard.control.limits import check_limits
from steelyard.store import audit, changes, keys, workspaces
from steelyard.store.database import Database
from steelyard.store.keys import KeyRecord as KeyRecord

API, ADMIN, ACCESS = "api", "admin", "access-key"
KINDS = (API, ADMIN, ACCESS)
OPERATIONS = (
    "apps",
    "batches",
    "chat",
    "completions",
    "embeddings",
    "files",
    "images",
    "knowledge",
    "mcp",
    "metrics",
    "models",
    "rerank",
    "speech",
    "tokenize",
    "tokens",
    "transcription",
    "videos",
)
_DURATION = re.compile(r"(\d+)([smhdw])")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
MAX_NAME_CHARS = 100
_PREFIXES = {API: ids.KEY_PREFIX, ADMIN: ids.ADMIN_PREFIX, ACCESS: ids.ACCESS_PREFIX}


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made, with its secret."""

    record: KeyRecord
    secret: str


def parse_duration_s(text: str) -> int:
    """`30d`, `1h`, `90s` as seconds.

    Raises:
        Fault: `parameter_invalid`.
    """
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise fault("parameter_invalid", detail=f"{text!r} is no duration; write 30d, 12h, 15m or 90s.")
    return int(found[1]) * _UNIT_S[found[2]]


_TOOL = re.compile(r"[a-z][a-z0-9-]{0,23}(/[^/\s]{1,200})?")


def _check(
    name: str, kind: str, operations: tuple[str, ...], networks: tuple[str, ...], tools: tuple[str, ...]
) -> None:
    if not name.strip() or len(name) > MAX_NAME_CHARS:
        raise fault(
            "parameter_invalid", detail=f"The key's name must have 1 to {MAX_NAME_CHARS} characters.", param="name"
        )
    if kind not in KINDS:
        raise fault("parameter_invalid", detail=f"kind must be one of {', '.join(KINDS)}.", param="kind")
    for operation in operations:
        if operation not in OPERATIONS:
            known = ", ".join(OPERATIONS)
            raise fault(
                "parameter_invalid", detail=f"unknown operation {operation!r}; known: {known}.", param="operations"
            )
    for tool in tools:
        if not _TOOL.fullmatch(tool):
            detail = f"{tool[:50]!r} is no tool; write weather for a plugin, weather/forecast for one tool of it."
            raise fault("parameter_invalid", detail=detail, param="tools")
    for network in networks:
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            detail = f"{network!r} is no network; write 10.0.0.0/8 or 192.168.1.7."
            raise fault("parameter_invalid", detail=detail, param="networks") from None


async def create_key(
    database: Database,
    *,
    name: str,
    actor: str,
    workspace: str = "default",
    kind: str = API,
    models: tuple[str, ...] = (),
    operations: tuple[str, ...] = (),
    networks: tuple[str, ...] = (),
    tools: tuple[str, ...] = (),
    expires_in_s: int | None = None,
    limits: Limits = NO_LIMITS,
    sealer: Sealer | None = None,
) -> NewKey:
    """Makes a key.

    Args:
        sealer: seals the secret of an access key, which must be readable again to check signatures.

    Raises:
        Fault: a value is out of range, or the workspace does not exist.
    """
    _check(name, kind, operations, networks, tools)
    check_limits(limits)
    now = now_us()
    secret = ids.new_credential(_PREFIXES[kind])
    key_id = ids.new_access_key_id() if kind == ACCESS else ids.new_id("key")
    grant = Grant(
        key_id=key_id,
        workspace=workspace,
        kind=kind,
        name=name.strip(),
        models=models,
        operations=operations,
        networks=networks,
        tools=tools,
        expires_us=None if expires_in_s is None else now + expires_in_s * MICROS,
        limits=limits,
    )
    record = KeyRecord(ids.mask(secret), now, digest(secret), grant, _sealed(secret, grant, sealer))
    async with database.write() as connection:
        if await workspaces.find_workspace(connection, workspace) is None:
            raise fault("workspace_not_found", detail=f" There is no workspace {workspace!r}.")
        await keys.insert_key(connection, record)
        await changes.append(connection, changes.KEY, record.digest, now)
        await audit.append(connection, actor=actor, action="keys.create", subject=grant.key_id, detail=kind, now_us=now)
    return NewKey(record, secret)


async def list_keys(database: Database, workspace: str | None = None) -> list[KeyRecord]:
    """All keys, or one workspace's."""
    async with database.read() as connection:
        return await keys.list_keys(connection, workspace)


async def list_key_page(
    database: Database, workspace: str, *, text: str = "", before: tuple[int, str] | None = None, limit: int = 50
) -> list[KeyRecord]:
    """Keys of a workspace, newest first, from before a place on."""
    async with database.read() as connection:
        return await keys.list_page(connection, workspace, text=text, before=before, limit=limit)


async def find_key_named(database: Database, workspace: str, name: str) -> KeyRecord | None:
    """The newest key of a name."""
    async with database.read() as connection:
        return await keys.find_by_name(connection, workspace, name)


async def get_key(database: Database, key_id: str) -> KeyRecord:
    """One key.

    Raises:
        Fault: `resource_not_found`.
    """
    async with database.read() as connection:
        record = await keys.find_by_id(connection, key_id)
    if record is None:
        raise fault("resource_not_found", detail=f" There is no key {key_id!r}.")
    return record


async def set_disabled(database: Database, key_id: str, is_disabled: bool, *, actor: str) -> KeyRecord:
    """Switches a key off or on; every process follows within two seconds."""
    record = await get_key(database, key_id)
    now = now_us()
    async with database.write() as connection:
        await keys.set_disabled(connection, key_id, is_disabled)
        await changes.append(connection, changes.KEY, record.digest, now)
        action = "keys.disable" if is_disabled else "keys.enable"
        await audit.append(connection, actor=actor, action=action, subject=key_id, now_us=now)
    return await get_key(database, key_id)


async def set_limits(database: Database, key_id: str, limits: Limits, *, actor: str) -> KeyRecord:
    """Replaces what a key may take; every process follows within two seconds."""
    check_limits(limits)
    record = await get_key(database, key_id)
    now = now_us()
    async with database.write() as connection:
        await keys.set_limits(connection, key_id, limits)
        await changes.append(connection, changes.KEY, record.digest, now)
        detail = msgspec.json.encode(limits).decode()
        await audit.append(connection, actor=actor, action="keys.limit", subject=key_id, detail=detail, now_us=now)
    return await get_key(database, key_id)


async def delete_key(database: Database, key_id: str, *, actor: str) -> KeyRecord:
    """Ends a key for good; every process follows within two seconds."""
    record = await get_key(database, key_id)
    now = now_us()
    async with database.write() as connection:
        await keys.delete_key(connection, key_id)
        await changes.append(connection, changes.KEY, record.digest, now)
        await audit.append(connection, actor=actor, action="keys.delete", subject=key_id, now_us=now)
    return record


def _sealed(secret: str, grant: Grant, sealer: Sealer | None) -> str | None:
    if grant.kind != ACCESS:
        return None
    assert sealer is not None
    return sealer.seal(secret, f"access key {grant.key_id}")


async def rotate_key(
    database: Database, key_id: str, grace_s: int, *, actor: str, sealer: Sealer | None = None
) -> NewKey:
    """A new key with the same rights; the old one ends after the grace time."""
    old = await get_key(database, key_id)
    now = now_us()
    secret = ids.new_credential(_PREFIXES[old.grant.kind])
    fields = {name: getattr(old.grant, name) for name in old.grant.__struct_fields__}
    # both draw on the budget of the first of the line, or a rotation would double it
    lineage = old.grant.lineage or old.grant.key_id
    new_id = ids.new_access_key_id() if old.grant.kind == ACCESS else ids.new_id("key")
    grant = Grant(**{**fields, "key_id": new_id, "lineage": lineage})
    record = KeyRecord(ids.mask(secret), now, digest(secret), grant, _sealed(secret, grant, sealer))
    ends_us = now + grace_s * MICROS
    if old.grant.expires_us is not None:
        ends_us = min(ends_us, old.grant.expires_us)
    async with database.write() as connection:
        await keys.insert_key(connection, record)
        await keys.set_expiry(connection, key_id, ends_us)
        for changed in (record, old):
            await changes.append(connection, changes.KEY, changed.digest, now)
        detail = f"replaced by {grant.key_id}"
        await audit.append(connection, actor=actor, action="keys.rotate", subject=key_id, detail=detail, now_us=now)
    return NewKey(record, secret)
