"""The sections of the settings tree, each with its defaults."""

from typing import Literal

import msgspec

from steelyard.canon.apps import Credential


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


class IdentityProviderSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[console.oidc]: an OpenID Connect provider that people may sign in at."""

    #: Such as https://id.example.com; nothing: there is none.
    issuer: str = ""
    client_id: str = ""
    #: A reference (env:NAME, file:PATH), or the secret itself.
    client_secret: str = ""
    #: What members are called after.
    claim: str = "preferred_username"
    #: What the button says.
    title: str = "SSO"
    #: What who comes for the first time becomes.
    register_as: Literal["viewer", "developer"] = "viewer"


class ConsoleSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[console]"""

    #: "closed": by the one-time link and owners' invitations; "open": anybody who reaches the server may register as `register_as`.
    registration: Literal["closed", "open"] = "closed"
    register_as: Literal["viewer", "developer"] = "developer"
    #: Shows the design system's parts at /console/_parts.
    development: bool = False
    oidc: IdentityProviderSettings = IdentityProviderSettings()
