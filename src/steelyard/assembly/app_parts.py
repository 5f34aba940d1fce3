"""Parts that apps and plugins are made of, in the app host and on the command line."""

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from steelyard.apps.book import AppBook
from steelyard.apps.credentials import Credentials
from steelyard.apps.kit import Result
from steelyard.apps.kits import Kits
from steelyard.apps.mcp_kit import McpLinks
from steelyard.apps.mcp_link import Openings
from steelyard.apps.memory import Memory
from steelyard.apps.surroundings import Platform
from steelyard.apps.toolbox import make_check
from steelyard.assembly.app_control import make_plugin_book
from steelyard.assembly.media import READER_SLOTS, make_fetcher
from steelyard.assembly.orders import APPS_SOCKET, FACE_SOCKET, MONITOR_SOCKET
from steelyard.base.errors import fault
from steelyard.base.sealing import Sealer
from steelyard.base.segments import get_machine_id, owner_of, stem_of
from steelyard.canon.apps import Errand, Plugin
from steelyard.canon.grant import Grant
from steelyard.config import Settings, resolve_secret
from steelyard.declared import trusted_hosts
from steelyard.gateway.face_link import FaceLink
from steelyard.knowledge.reader import Reader
from steelyard.store.database import Database
from steelyard.upstream.pool import Origin, Pool


class AppParts:
    """What opens plugins and keeps apps. Whoever makes it closes it."""

    def __init__(
        self, settings: Settings, database: Database, pool: Pool, master_key: bytes, *, boot_id: str = "cli"
    ) -> None:
        owner = owner_of(get_machine_id(Path(settings.data_dir)), stem_of(boot_id, os.getpid()))
        face, monitor, apps = (
            Origin(name, 80, unix_path=str(settings.run_dir / socket))
            for name, socket in (("face", FACE_SOCKET), ("monitor", MONITOR_SOCKET), ("apps", APPS_SOCKET))
        )
        fetcher, sealer = make_fetcher(settings), Sealer(master_key)
        work_dir = Path(settings.data_dir) / "spool"
        work_dir.mkdir(exist_ok=True)
        trusted = trusted_hosts(settings)
        credentials = Credentials(sealer, resolve_secret)
        self.links = McpLinks(Openings(fetcher, credentials), trusted)
        self.book = AppBook(database)
        self.memory = Memory(database)
        self.plugins = make_plugin_book(settings, database, sealer, self.links.look)
        self.kits = Kits(self.plugins, self.links, fetcher, credentials, trusted)
        link = FaceLink(pool, face, monitor, apps, owner)
        self.platform = Platform(database, link, fetcher, Reader(READER_SLOTS, work_dir), work_dir)

    async def call(
        self, plugin: Plugin, tool_name: str, arguments: dict[str, Any], grant: Grant, request_id: str
    ) -> Result:
        """Calls a tool alone.

        Raises:
            Fault: there is no such tool, its arguments are wrong, or the plugin cannot be used.
        """
        errand = Errand(request_id=request_id, grant=grant)
        kit = await self.kits.open_plugin(plugin, self.platform.for_call(errand, ()))
        tool = next((one for one in kit.tools if one.name == tool_name), None)
        if tool is None:
            raise fault("tool_not_found", plugin=plugin.name, name=tool_name[:100])
        wrong = make_check(tool.parameters)(arguments)
        if wrong:
            detail = f"The arguments are not what the tool takes: {wrong}"
            raise fault("parameter_invalid", detail=detail, param="arguments")
        return await kit.call(tool, arguments)

    async def close(self) -> None:
        """Closes connections to plugins' servers."""
        await self.links.close()


@contextlib.asynccontextmanager
async def open_parts(settings: Settings, database: Database, master_key: bytes) -> AsyncIterator[AppParts]:
    """The parts for a command."""
    async with Pool() as pool:
        parts = AppParts(settings, database, pool, master_key)
        try:
            yield parts
        finally:
            await parts.close()
