"""What the gateways are told: the catalogue of models from the settings, and what the database says of workspaces."""

from steelyard.base.clock import now_us
from steelyard.canon.apps import BUILTIN_NAMES
from steelyard.canon.grant import Workspace
from steelyard.canon.model import Model
from steelyard.canon.snapshot import Snapshot
from steelyard.control.catalogue import Declared, build_models
from steelyard.control.providers import Stored
from steelyard.store import apps, changes, keys, plugins, revocations, workspaces
from steelyard.store.database import Database


async def read_models(database: Database, declared: Declared, stored: Stored) -> dict[str, Model]:
    """All names that callers may use now."""
    providers, routes = await stored.read(database)
    return build_models(declared, providers, routes)


async def take_snapshot(database: Database, declared: Declared, stored: Stored) -> Snapshot:
    """One consistent picture."""
    models = await read_models(database, declared, stored)
    async with database.read() as connection:
        version = await changes.get_version(connection)
        known = await workspaces.list_workspaces(connection)
        has_keys = await keys.count_keys(connection) > 0
        revoked = await revocations.list_revoked(connection, now_us())
        published = _by_workspace(await apps.list_published(connection))
        switches = await plugins.list_switches(connection)
    on = _by_workspace([(workspace, name) for workspace, name, is_enabled in switches if is_enabled])
    off = _by_workspace([(workspace, name) for workspace, name, is_enabled in switches if not is_enabled])
    shared = BUILTIN_NAMES | declared.plugins
    return Snapshot(
        version=version,
        models=models,
        workspaces={
            one.name: Workspace(
                name=one.name,
                is_activated=one.activated_us is not None,
                limits=one.policy.limits,
                unknown_price=one.policy.unknown_price,
                step_up=one.policy.step_up,
                inspection=stored.open_inspection(one.policy.inspection),
                models=one.policy.models,
                cache=one.policy.cache,
                downloads=one.policy.downloads,
                tools=one.policy.tools,
                kept_calls=one.policy.kept_calls,
                apps=frozenset(published.get(one.name, ())),
                plugins=(shared | on.get(one.name, set())) - off.get(one.name, set()),
                free_tokens=one.free_tokens_granted if declared.stop_when_exhausted else None,
            )
            for one in known
        },
        has_keys=has_keys,
        revoked=frozenset(revoked),
    )


def _by_workspace(pairs: list[tuple[str, str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for workspace, name in pairs:
        found.setdefault(workspace, set()).add(name)
    return found
