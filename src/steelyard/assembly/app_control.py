"""The control of apps and plugins, in the face and on the command line: who looks at plugins' servers is the app host where it runs."""

from typing import Any, TypeVar

import msgspec

from steelyard.apps.book import AppBook
from steelyard.apps.memory import Memory
from steelyard.apps.plugin_book import Look, PluginBook
from steelyard.assembly.media import make_rules
from steelyard.assembly.orders import APPS_SOCKET
from steelyard.base.errors import fault
from steelyard.base.jsondoor import encode
from steelyard.base.sealing import Sealer
from steelyard.canon.apps import Plugin, ToolSpec
from steelyard.canon.grant import Grant
from steelyard.config import Settings
from steelyard.declared import declared_plugins
from steelyard.store.database import Database
from steelyard.upstream.pool import Origin, Pool, PoolError
from steelyard.web.app_host_api import CALL_PATH, LOOK_PATH, CallAsk, Called, LookAsk, Looked
from steelyard.web.apps_api import AppsApi
from steelyard.web.console.apps_room import AppServices

ASK_S = 320.0
T = TypeVar("T")


class AppHostLink:
    """The face's way to the app host."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self._pool = pool
        self._origin = Origin("apps", 80, unix_path=str(settings.run_dir / APPS_SOCKET))

    async def _ask(self, path: str, asked: Any, kind: type[T]) -> T:
        headers = {"Content-Type": "application/json"}
        try:
            answer = await self._pool.fetch(self._origin, "POST", path, encode(asked), headers, timeout_s=ASK_S)
        except PoolError as exc:
            raise fault("stores_unavailable", detail=" (The app host does not answer.)") from exc
        if answer.status != 200:
            raise fault("internal_error")
        return msgspec.json.decode(answer.body, type=kind)

    async def look(self, plugin: Plugin) -> tuple[ToolSpec, ...]:
        """See `plugin_book.Look`."""
        looked = await self._ask(LOOK_PATH, LookAsk(plugin), Looked)
        if looked.fault is not None:
            raise looked.fault.to_fault()
        return looked.tools

    async def call(self, plugin: Plugin, tool: str, arguments: dict[str, Any], grant: Grant) -> Called:
        """See `apps_api.CallTool`."""
        return await self._ask(CALL_PATH, CallAsk(plugin, tool, arguments, grant), Called)


def make_plugin_book(settings: Settings, database: Database, sealer: Sealer, look: Look) -> PluginBook:
    """The plugins of an installation."""
    return PluginBook(database, declared_plugins(settings), sealer, make_rules(settings), look)


def make_app_services(settings: Settings, database: Database, sealer: Sealer, pool: Pool) -> AppServices:
    """What is done with apps and plugins in the face."""
    link = AppHostLink(settings, pool)
    return AppServices(AppBook(database), make_plugin_book(settings, database, sealer, link.look), link.call)


def make_apps_api(database: Database, services: AppServices) -> AppsApi:
    """What the control API has of apps and plugins."""
    return AppsApi(database, services.book, Memory(database), services.plugins, services.call_tool)
