"""The models and what is behind them, for faces: read, added to, taken from. It holds no secret that it does not need."""

from collections.abc import Callable
from typing import Any

from steelyard.base.errors import SetupFault, fault
from steelyard.base.sealing import Sealer
from steelyard.canon.model import Model
from steelyard.control import providers, routes
from steelyard.control.catalogue import FILE, STORED, Catalogue, ProviderSpec, RouteSpec
from steelyard.control.providers import Preview, Probe, ProviderWish, Stored
from steelyard.control.snapshot import read_models
from steelyard.store.database import Database


class ModelBook:
    """One installation's models, providers and routes."""

    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        stored: Stored,
        sealer: Sealer,
        resolve_secret: Callable[[str, str], str],
    ) -> None:
        self._database = database
        self._catalogue = catalogue
        self._stored = stored
        self._sealer = sealer
        self._resolve_secret = resolve_secret

    async def read(self) -> dict[str, Model]:
        """Every name that callers may use."""
        return await read_models(self._database, self._catalogue(), self._stored)

    async def list_providers(self) -> list[dict[str, Any]]:
        """All providers, without their keys; one whose key cannot be read says so."""
        stored, _ = await self._stored.read(self._database)
        shown = [providers.show_provider(one, FILE) for one in self._catalogue().providers.values()]
        shown += [providers.show_provider(one, STORED) for one in stored]
        shown += [
            {"name": name, "origin": STORED, "problem": problem} for name, problem in self._stored.problems.items()
        ]
        return shown

    async def preview(self, wish: ProviderWish, *, is_local: bool) -> Preview:
        """Tries what somebody wants to add, and shows what it would bring.

        Args:
            is_local: they sit at this machine, and may read its files anyway. An admin key from afar must not make the
                server send a file of its own, or any variable, to an address of the caller's choosing.

        Raises:
            Fault: naming the field at fault.
        """
        if not is_local:
            providers.check_remote_reference(wish.api_key)
        spec = providers.resolve(wish, self._resolve_secret)
        return await providers.preview(self._catalogue(), self._database, spec)

    async def add(self, wish: ProviderWish, found: Preview, *, actor: str) -> None:
        """Keeps what was previewed."""
        await providers.add_provider(self._database, self._sealer, found.provider, wish.api_key, actor=actor)

    async def test(self, name: str) -> list[Probe]:
        """Tries a provider that is there.

        Raises:
            Fault: `resource_not_found`.
        """
        return await providers.probe(await self._get(name))

    async def _get(self, name: str) -> ProviderSpec:
        declared = self._catalogue().providers
        stored, _ = await self._stored.read(self._database)
        found = {one.name: one for one in stored} | declared
        if name in self._stored.problems:
            raise SetupFault(self._stored.problems[name])
        if name not in found:
            raise fault("resource_not_found", detail=f" There is no provider {name!r}.")
        return found[name]

    async def remove(self, name: str, *, actor: str) -> None:
        """Takes a provider away.

        Raises:
            Fault: it is not there, or the file declares it.
        """
        if name in self._catalogue().providers:
            raise fault("name_taken", detail=f"The configuration file declares provider {name!r}; take it away there.")
        await providers.remove_provider(self._database, name, actor=actor)

    async def set_route(self, name: str, spec: RouteSpec, *, actor: str) -> Model:
        """Adds or replaces a route."""
        declared = self._catalogue()
        stored, _ = await self._stored.read(self._database)
        known = {one.name for one in stored} | set(declared.providers)
        await routes.set_route(self._database, declared, name, spec, known=known, actor=actor)
        return (await self.read())[name]

    async def find_route(self, name: str) -> RouteSpec | None:
        """A route as it was set; None where none was."""
        _, found = await self._stored.read(self._database)
        return found.get(name)

    async def remove_route(self, name: str, *, actor: str) -> None:
        """Takes a route away."""
        await routes.remove_route(self._database, name, actor=actor)
