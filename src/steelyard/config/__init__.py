"""The settings tree: file, then environment, then flags; later wins. The only module that reads the environment.

Unknown keys are errors, and all faults are told together, each with its path.
"""

import hashlib
import os
import re
import tempfile
import tomllib
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args

import msgspec

from steelyard.base.clock import MICROS
from steelyard.base.errors import Fault, SetupFault
from steelyard.base.jsondoor import encode
from steelyard.base.lifetimes import read_ttl_s
from steelyard.canon.apps import Credential
from steelyard.canon.model import FASTEST, UNSUPPORTED, WEIGHTED
from steelyard.config.monitor import Monitor, check_monitor
from steelyard.upstream.providers.addresses import base_url_of, kind_of

ENV_PREFIX = "STEELYARD_"
DEFAULT_FILE = "steelyard.toml"
#: Environment names that are not settings of the tree.
_OTHER_ENV = frozenset({"STEELYARD_DATA_DIR", "STEELYARD_MODELS_DIR", "STEELYARD_API_KEY", "STEELYARD_WITHOUT", "STEELYARD_CONFIG",
                        "STEELYARD_PROFILES"})  # fmt: skip


class Server(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[server]"""

    host: str = "127.0.0.1"
    port: int = 8090
    public_url: str = ""
    workers: int = 1
    max_body_bytes: int = 16 * 1024 * 1024
    trusted_proxies: tuple[str, ...] = ()
    master_key: str = ""


class DatabaseSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[database]"""

    url: str = "sqlite:///steelyard.db"


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[limits]"""

    url: str = "database"


class Quota(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[quota]"""

    free_tokens: int = 1_000_000
    #: Whether their end is the end of priced calls; else calls go on and are charged.
    stop_when_exhausted: bool = False


class KnowledgeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[knowledge]"""

    #: Where chunks are indexed: a file in the data directory, the database (PostgreSQL with pgvector), or `auto`: the database where it can.
    index: Literal["auto", "embedded", "database"] = "auto"


class Diffusion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[engines.diffusion]: `local/stable-diffusion`, by stable-diffusion.cpp (extra `diffusion`), where weights are named."""

    #: The weights: a whole model as `model_path`, or its parts by the library's names (`diffusion_model_path`, `vae_path`, `t5xxl_path` …).
    parts: dict[str, str] = {}
    steps: int = 20
    #: How closely it keeps to the prompt.
    guidance: float = 7.0
    memory_gb: float = 16.0
    #: Seconds that a task may take.
    timeout_s: float = 3600.0


class Engines(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[engines]: the embedded models."""

    load: tuple[str, ...] = ("qwen2.5-coder-0.5b-instruct",)
    slots: int = 4
    threads: int = 0
    #: Whether the embedded embedding and rerank models are there; they are loaded when first asked for.
    vectors: bool = True
    diffusion: Diffusion = Diffusion()


class Provider(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[providers.NAME]"""

    #: A row of the public list of vendors gives the address, and the names that the provider brings.
    vendor: str = ""
    region: str = ""
    base_url: str = ""
    kind: str = ""
    api_key: str = ""
    #: Names that it brings, `name` or `name=name there`; default what the public list has of its vendor.
    models: tuple[str, ...] | None = None
    connect_timeout_s: float = 5.0
    first_byte_timeout_s: float = 300.0
    chunk_timeout_s: float = 120.0
    total_timeout_s: float = 3600.0
    #: Calls under way at once, per gateway process.
    max_concurrency: int | None = None
    #: Whether it is left alone for a while when it keeps failing.
    breaker: bool = True
    #: Whether it obeys max_tokens.
    obeys_cap: bool = True


class TargetSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry of `targets`."""

    provider: str
    model: str = ""
    #: Lower numbers are tried first; equal ones share the calls by weight.
    priority: int = 0
    weight: int = 1


class PriceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Units of the currency per 1,000,000 tokens."""

    input: str | float = 0
    output: str | float = 0
    cached: str | float | None = None
    reasoning: str | float | None = None
    #: For each picture.
    image: str | float = 0
    #: For each second of video or sound; or by resolution, as in `{"720P" = "0.6"}`.
    second: str | float | dict[str, str | float] = 0
    #: What calls in batches pay of it, in per cent.
    batch_percent: int = 50
    currency: str = "CNY"
    version: str = "file"


class ModelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[models."NAME"]"""

    targets: tuple[TargetSettings, ...]
    #: None leaves these to the public list.
    capabilities: tuple[str, ...] | None = None
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    price: PriceSettings | None = None
    aliases: tuple[str, ...] = ()
    strategy: str = "weighted"
    max_attempts: int = 3
    hedge_after_s: float | None = None
    #: What becomes of fields that a target's API has no place for: "careful", "refuse", "drop" or "pass".
    unsupported: str = "careful"
    #: What it is for, where neither the public list nor its name says so: "image", "video", "embedding", "transcription", "speech" …
    modality: str = ""


class Objects(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[objects]: files, results of tasks, and their public links."""

    #: `file:///DIRECTORY` or `s3://BUCKET?endpoint=URL&region=NAME`; default `objects` in the data directory.
    url: str = ""
    #: Of S3: references such as `env:NAME`.
    access_key_id: str = ""
    secret_access_key: str = ""
    #: The one origin of all public links, to be put on whitelists; default the server's own.
    public_url: str = ""
    #: How long links of results are good: `24h`, `7d` or `forever`.
    result_ttl: str = "24h"
    max_file_bytes: int = 1024 * 1024 * 1024


class Outbound(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[outbound]: fetching what callers give links to."""

    #: Where these are set, no other host is asked; `*.example.com` stands for all below it.
    only_hosts: tuple[str, ...] = ()
    deny_hosts: tuple[str, ...] = ()
    #: Hosts that may lie in private networks.
    private_hosts: tuple[str, ...] = ()
    download_timeout_s: float = 60.0
    #: The longest that a workspace or a call may ask for.
    max_download_timeout_s: float = 600.0
    max_bytes: int = 200 * 1024 * 1024
    #: "HOST=http://proxy:port", the first that fits; "*=…" for all.
    proxies: tuple[str, ...] = ()
    #: Whether media behind public links are carried to vendors by value: "auto" (only what they could not reach), "always", "never".
    relay: str = "auto"


class Tasks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[tasks]: the queue."""

    #: How many processes work on it.
    workers: int = 1
    #: Tasks of one kind that a workspace may have under way at once.
    per_workspace: int = 10_000
    #: Tasks of a kind under way at once in all, such as `{video = 4}`; kinds that are not named are not bounded.
    per_kind: dict[str, int] = {}
    #: Pictures and videos that the embedded engines make at once.
    local_slots: int = 2
    #: Seconds between two questions to a vendor about one task.
    poll_s: float = 15.0
    #: A task that is not over after this long has failed.
    deadline_s: int = 10_800
    #: Calls of a batch under way at once.
    batch_concurrency: int = 8


class PluginSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[plugins.NAME], for all workspaces. Its servers may lie in private networks, as the operator's own do.

    Args:
        document: the path of an OpenAPI description.
        command, arguments, environment: of kind "stdio": a program that speaks MCP on its pipes. It finds nothing of our environment.
    """

    kind: Literal["openapi", "mcp", "stdio"]
    description: str = ""
    url: str = ""
    transport: Literal["http", "sse"] = "http"
    credential: Credential = Credential()
    headers: dict[str, str] = {}
    only: tuple[str, ...] = ()
    timeout_s: float = 30.0
    document: str = ""
    command: str = ""
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = {}


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


_SECTIONS: dict[str, type[msgspec.Struct]] = {
    "server": Server,
    "database": DatabaseSettings,
    "limits": Limits,
    "quota": Quota,
    "knowledge": KnowledgeSettings,
    "engines": Engines,
    "objects": Objects,
    "outbound": Outbound,
    "tasks": Tasks,
    "monitor": Monitor,
}
#: A unix socket's path has at most 107 bytes; our longest names have some 40.
MAX_RUN_DIR_CHARS = 64
MODALITIES = ("text", "vision", "embedding", "rerank", "image", "video", "transcription", "speech")
_EMBEDDED_NAMES = ("auto", "on", "off")


def load_settings(
    *,
    config_file: Path | None = None,
    data_dir: str | None = None,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Reads the settings.

    Args:
        config_file: `--config`; else `$STEELYARD_CONFIG`, else `./steelyard.toml` if it exists.
        flags: dotted paths to values, as in `{"server.port": 9000}`; None values are left out.

    Raises:
        SetupFault: all faults in one text.
    """
    env = os.environ if environment is None else environment
    tree = _read_file(config_file, env)
    faults: list[str] = []
    _overlay_environment(tree, env)
    for path, value in (flags or {}).items():
        if value is not None:
            _put(tree, path.split("."), value)
    values = _build(tree, faults)
    settings = Settings(data_dir=str(_data_dir(data_dir, env)), models_dir=str(_models_dir(env)), **values)
    faults += _cross_check(settings)
    if faults:
        raise SetupFault("The configuration has faults: " + "; ".join(faults) + ".")
    return settings


def get_environment(name: str) -> str | None:
    """One variable, for the commands that document it."""
    return os.environ.get(name)


def get_user_config_dir() -> Path:
    """Where profiles are kept."""
    if explicit := os.environ.get("STEELYARD_PROFILES"):
        return Path(explicit)
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "steelyard"


def _data_dir(explicit: str | None, env: Mapping[str, str]) -> Path:
    return Path(explicit or env.get("STEELYARD_DATA_DIR") or "steelyard-data").expanduser().absolute()


def _models_dir(env: Mapping[str, str]) -> Path:
    if explicit := env.get("STEELYARD_MODELS_DIR"):
        return Path(explicit).expanduser().absolute()
    return Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "steelyard" / "models"


def _read_file(config_file: Path | None, env: Mapping[str, str]) -> dict[str, Any]:
    is_named = config_file is not None or bool(env.get("STEELYARD_CONFIG"))
    path = config_file or Path(env.get("STEELYARD_CONFIG") or DEFAULT_FILE)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if is_named:
            raise SetupFault(f"The configuration file {path} does not exist.") from None
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise SetupFault(f"{path} is not valid TOML: {exc}.") from None
    except OSError as exc:
        raise SetupFault(f"{path} cannot be read: {exc.strerror}.") from None


def _overlay_environment(tree: dict[str, Any], env: Mapping[str, str]) -> None:
    for name, value in env.items():
        if name.startswith(ENV_PREFIX) and name not in _OTHER_ENV and "__" in name:
            _put(tree, name[len(ENV_PREFIX) :].lower().split("__"), value)


def _put(tree: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        inner = tree.setdefault(part, {})
        if not isinstance(inner, dict):
            return
        tree = inner
    tree[path[-1]] = value


def _build(tree: dict[str, Any], faults: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, content in tree.items():
        if name in _SECTIONS:
            values[name] = _section(_SECTIONS[name], content, name, faults)
        elif name == "providers":
            values[name] = _named(Provider, content, name, faults)
        elif name == "plugins":
            values[name] = _named(PluginSettings, content, name, faults)
        elif name == "models":
            rest = dict(content) if isinstance(content, dict) else content
            if isinstance(rest, dict) and "embedded_names" in rest:
                values["embedded_names"] = rest.pop("embedded_names")
            values[name] = _named(ModelSettings, rest, name, faults)
        else:
            faults.append(f"{name}: unknown section")
    return {name: value for name, value in values.items() if value is not None}


def _named(kind: type[msgspec.Struct], content: Any, path: str, faults: list[str]) -> dict[str, Any]:
    if not isinstance(content, dict):
        faults.append(f"[{path}] must be a table")
        return {}
    built = {name: _section(kind, inner, f"{path}.{name}", faults) for name, inner in content.items()}
    return {name: value for name, value in built.items() if value is not None}


def _section(kind: type[msgspec.Struct], content: Any, path: str, faults: list[str]) -> Any:
    """Builds a struct field by field, so that every fault is found."""
    if not isinstance(content, dict):
        faults.append(f"{path} must be a table")
        return None
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    values, before = {}, len(faults)
    for name, value in content.items():
        if name not in fields:
            known = ", ".join(sorted(fields))
            faults.append(f"{path}.{name}: unknown key (known: {known})")
            continue
        try:
            values[name] = msgspec.convert(_from_text(value, fields[name].type), fields[name].type, strict=False)
        except msgspec.ValidationError as exc:
            faults.append(f"{path}.{name}: {exc}")
    for name, field in fields.items():
        if field.required and name not in content:
            faults.append(f"{path}.{name} is missing")
    return kind(**values) if len(faults) == before else None


def _from_text(value: Any, kind: Any) -> Any:
    """A list may come from the environment as `a,b`."""
    is_list = getattr(kind, "__origin__", None) is tuple
    if is_list and isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(kind, UnionType) and value == "" and type(None) in get_args(kind):
        return None
    return value


def _cross_check(settings: Settings) -> list[str]:
    faults = []
    server = settings.server
    if not 0 <= server.port <= 65535:
        faults.append("server.port must lie in 0 to 65535")
    if settings.knowledge.index == "database" and settings.database.url.startswith("sqlite"):
        faults.append("knowledge.index = 'database' needs PostgreSQL in database.url")
    if not 1 <= server.workers <= 64:
        faults.append("server.workers must lie in 1 to 64")
    if not 1024 <= server.max_body_bytes <= 64 * 1024 * 1024:
        faults.append("server.max_body_bytes must lie in 1024 to 67108864")
    if settings.limits.url != "database":
        faults.append('limits.url: only "database" is delivered in this version; redis:// comes later')
    if settings.embedded_names not in _EMBEDDED_NAMES:
        faults.append('models.embedded_names must be "auto", "on" or "off"')
    if not 1 <= settings.engines.slots <= 64:
        faults.append("engines.slots must lie in 1 to 64")
    return (
        faults
        + _check_media(settings)
        + check_monitor(settings.monitor)
        + _check_catalogue(settings)
        + _check_plugins(settings)
    )


def _check_plugins(settings: Settings) -> list[str]:
    faults = []
    for name, plugin in settings.plugins.items():
        where = f"plugins.{name}"
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,23}", name) or name == "apps":
            faults.append(f"{where}: a name has at most 24 lower-case letters, digits and hyphens, and is not reserved")
        wanted = {"openapi": "document", "mcp": "url", "stdio": "command"}[plugin.kind]
        if not getattr(plugin, wanted):
            faults.append(f"{where}.{wanted} is missing")
        if plugin.url and not plugin.url.startswith(("http://", "https://")):
            faults.append(f"{where}.url must begin with http:// or https://")
        if not 0 < plugin.timeout_s <= 300:
            faults.append(f"{where}.timeout_s must lie in 0 to 300")
    return faults


def _check_media(settings: Settings) -> list[str]:
    faults = []
    try:
        read_ttl_s(settings.objects.result_ttl)
    except Fault:
        faults.append("objects.result_ttl must be a lifetime such as 24h, 7d or forever")
    if settings.objects.url and not settings.objects.url.startswith(("file://", "s3://")):
        faults.append("objects.url must begin with file:// or s3://")
    if settings.objects.public_url and not settings.objects.public_url.startswith(("http://", "https://")):
        faults.append("objects.public_url must begin with http:// or https://")
    if not 1 <= settings.tasks.workers <= 16:
        faults.append("tasks.workers must lie in 1 to 16")
    if not 1 <= settings.tasks.local_slots <= 64:
        faults.append("tasks.local_slots must lie in 1 to 64")
    if settings.tasks.per_workspace < 1:
        faults.append("tasks.per_workspace must be at least 1")
    if not 0.05 <= settings.tasks.poll_s <= 600:
        faults.append("tasks.poll_s must lie in 0.05 to 600")
    if settings.tasks.deadline_s < 1:
        faults.append("tasks.deadline_s must be at least 1")
    if not 1 <= settings.tasks.batch_concurrency <= 256:
        faults.append("tasks.batch_concurrency must lie in 1 to 256")
    if settings.outbound.relay not in ("auto", "always", "never"):
        faults.append('outbound.relay must be "auto", "always" or "never"')
    faults += [
        f"outbound.proxies: {one!r} is not HOST=http://proxy:port"
        for one in settings.outbound.proxies
        if "=http://" not in one and "=https://" not in one
    ]
    return faults


def _check_catalogue(settings: Settings) -> list[str]:
    faults = []
    for name, provider in settings.providers.items():
        try:
            kind = kind_of(provider.vendor, provider.kind)
            base_url_of(provider.vendor, provider.region, provider.base_url, kind)
        except Fault as failure:
            faults.append(f"providers.{name}.{failure.param}: {failure.message.strip().removesuffix('.')}")
    for name, model in settings.models.items():
        if not model.targets:
            faults.append(f"models.{name}.targets must name at least one target")
        faults += [
            f"models.{name}.targets: there is no provider {target.provider!r}"
            for target in model.targets
            if target.provider not in settings.providers
        ]
        faults += _check_route(name, model)
        try:
            price_micros(model.price)
            second_micros(model.price)
        except ValueError as exc:
            faults.append(f"models.{name}.price: {exc}")
    return faults


def _check_route(name: str, model: ModelSettings) -> list[str]:
    faults = []
    if model.strategy not in (WEIGHTED, FASTEST):
        faults.append(f'models.{name}.strategy must be "{WEIGHTED}" or "{FASTEST}"')
    if not 1 <= model.max_attempts <= 10:
        faults.append(f"models.{name}.max_attempts must lie in 1 to 10")
    if model.hedge_after_s is not None and model.hedge_after_s <= 0:
        faults.append(f"models.{name}.hedge_after_s must be above 0")
    if model.unsupported not in UNSUPPORTED:
        faults.append(f"models.{name}.unsupported must be one of {', '.join(UNSUPPORTED)}")
    if model.modality and model.modality not in MODALITIES:
        faults.append(f"models.{name}.modality must be one of {', '.join(MODALITIES)}")
    if model.price is not None and not 0 <= model.price.batch_percent <= 100:
        faults.append(f"models.{name}.price.batch_percent must lie in 0 to 100")
    if any(not 1 <= target.weight <= 1000 for target in model.targets):
        faults.append(f"models.{name}.targets: weight must lie in 1 to 1000")
    return faults


def price_micros(price: PriceSettings | None) -> dict[str, int | None]:
    """Micro-units: per 1,000,000 tokens of input, output, cached, reasoning; and per image.

    Raises:
        ValueError: not a sum of money.
    """
    if price is None:
        return {"input": 0, "output": 0, "cached": None, "reasoning": None, "image": 0}
    amounts = {name: getattr(price, name) for name in ("input", "output", "cached", "reasoning", "image")}
    return {name: None if amount is None else _micros(amount) for name, amount in amounts.items()}


def second_micros(price: PriceSettings | None) -> dict[str, int]:
    """Micro-units for a second of video, by resolution.

    Raises:
        ValueError: not a sum of money.
    """
    if price is None or not price.second:
        return {}
    prices = price.second if isinstance(price.second, dict) else {"": price.second}
    return {name.upper(): _micros(amount) for name, amount in prices.items()}


def _micros(amount: str | float) -> int:
    try:
        value = Decimal(str(amount)) * MICROS
    except InvalidOperation:
        raise ValueError(f"{amount!r} is no amount") from None
    if not value.is_finite() or value < 0:
        raise ValueError(f"{amount!r} is no amount")
    return int(value.to_integral_value())


def resolve_secret(reference: str, path: str) -> str:
    """`env:NAME`, `file:PATH` or the value itself.

    Raises:
        SetupFault: what is referred to is not there.
    """
    kind, _, rest = reference.partition(":")
    if kind == "env":
        value = os.environ.get(rest)
        if not value:
            raise SetupFault(f"{path} refers to the environment variable {rest}, which is not set.")
        return value
    if kind == "file":
        try:
            return Path(rest).read_text(encoding="utf-8").strip()
        except OSError as exc:
            raise SetupFault(f"{path} refers to the file {rest}, which cannot be read: {exc.strerror}.") from None
    return reference


def show_settings(settings: Settings) -> dict[str, Any]:
    """The settings as they stand, secrets masked."""
    tree: dict[str, Any] = msgspec.json.decode(encode(settings))
    for plugin in tree["plugins"].values():
        if not plugin["credential"]["secret"].startswith(("env:", "file:")):
            _mask(plugin["credential"], "secret")
        for name in ("environment", "headers"):
            plugin[name] = dict.fromkeys(plugin[name], "***")
    for provider in tree["providers"].values():
        key = provider["api_key"]
        if key and not key.startswith(("env:", "file:")):
            provider["api_key"] = "***"
    _mask(tree["monitor"], "remote_token")
    for one in (tree["monitor"], *tree["monitor"]["remote_write"].values()):
        headers = one.get("remote_headers", one.get("headers", {}))
        headers.update(dict.fromkeys(headers, "***"))
        _mask(one, "token")
    for target in tree["monitor"]["targets"].values():
        _mask(target, "token")
    for webhook in tree["monitor"]["webhooks"].values():
        _mask(webhook, "url")
        _mask(webhook, "secret")
    if tree["server"]["master_key"] and not tree["server"]["master_key"].startswith(("env:", "file:")):
        tree["server"]["master_key"] = "***"
    if "@" in tree["database"]["url"]:
        scheme, _, rest = tree["database"]["url"].partition("://")
        tree["database"]["url"] = f"{scheme}://***@{rest.rpartition('@')[2]}"
    return tree


def _mask(tree: dict[str, Any], name: str) -> None:
    """Hides a secret that is there itself; a reference stays."""
    if tree.get(name) and not tree[name].startswith(("env:", "file:")):
        tree[name] = "***"
