"""The settings as one value, and what follows from them."""

import hashlib
import os
import tempfile
from pathlib import Path

import msgspec

from steelyard.config.monitor import Monitor
from steelyard.config.sections import (
    ConsoleSettings,
    DatabaseSettings,
    Engines,
    KnowledgeSettings,
    Limits,
    ModelSettings,
    Objects,
    Outbound,
    PluginSettings,
    Provider,
    Quota,
    Server,
    Tasks,
)

#: A unix socket's path has at most 107 bytes; our longest names have some 40.
MAX_RUN_DIR_CHARS = 64


class Settings(msgspec.Struct, frozen=True):
    """Everything."""

    data_dir: str
    models_dir: str
    server: Server = Server()
    database: DatabaseSettings = DatabaseSettings()
    limits: Limits = Limits()
    quota: Quota = Quota()
    knowledge: KnowledgeSettings = KnowledgeSettings()
    engines: Engines = Engines()
    objects: Objects = Objects()
    outbound: Outbound = Outbound()
    tasks: Tasks = Tasks()
    monitor: Monitor = Monitor()
    console: ConsoleSettings = ConsoleSettings()
    embedded_names: str = "auto"
    providers: dict[str, Provider] = {}
    models: dict[str, ModelSettings] = {}
    plugins: dict[str, PluginSettings] = {}

    @property
    def run_dir(self) -> Path:
        """Sockets of the running processes: in the data directory, unless its path is too long for a socket's name."""
        directory = Path(self.data_dir) / "run"
        if len(str(directory)) <= MAX_RUN_DIR_CHARS:
            return directory
        short = hashlib.sha256(self.data_dir.encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"steelyard-{os.getuid()}-{short}"

    @property
    def journal_dir(self) -> Path:
        """Journals that are not carried yet."""
        return Path(self.data_dir) / "journal"

    @property
    def link_origin(self) -> str:
        """The origin of public links to objects."""
        return self.objects.public_url.rstrip("/") or self.public_url

    @property
    def public_url(self) -> str:
        """The origin of every link; never taken from a request's Host."""
        return (self.server.public_url or self.local_url).rstrip("/")

    @property
    def local_url(self) -> str:
        """The origin by which processes of this machine reach the gateways."""
        host = "127.0.0.1" if self.server.host in ("0.0.0.0", "::") else self.server.host  # noqa: S104
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.server.port}"
