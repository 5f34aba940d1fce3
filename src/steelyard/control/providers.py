"""Adding, testing and removing providers while running. A key is kept as a reference or sealed, and never shown again."""

import logging
import re
from typing import Any

import msgspec

from steelyard.base.clock import monotonic, now_us
from steelyard.base.errors import Fault, SetupFault, fault
from steelyard.base.sealing import PREFIX as SEALED
from steelyard.base.sealing import Sealer
from steelyard.canon.conversation import USER, Conversation, Message, Part
from steelyard.canon.inspection import InspectionPolicy
from steelyard.control.catalogue import Declared, ProviderSpec, RouteSpec, brought_names
from steelyard.dialects.dialect import Dialect, find_upstream
from steelyard.dialects.table import DIALECTS
from steelyard.store import audit, changes, providers
from steelyard.store.database import Database
from steelyard.store.providers import ProviderRecord
from steelyard.upstream.pool import Answer, Pool, PoolError, parse_origin
from steelyard.upstream.providers.addresses import base_url_of, kind_of, split_names
from steelyard.upstream.providers.kinds import KINDS
from steelyard.upstream.providers.public import get_vendors

log = logging.getLogger("steelyard.face")

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
REFERENCES = ("env:", "file:")
PROBE_TIMEOUT_S = 30.0
MAX_MODELS = 1000
_PLACE = "providers.{}.api_key"


class ProviderWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody wants to add."""

    name: str
    vendor: str = ""
    region: str = ""
    #: empty: the vendor's own
    kind: str = ""
    base_url: str = ""
    #: `env:NAME`, `file:PATH`, or the key itself
    api_key: str = ""
    #: Names to bring, `name` or `name=name there`; empty takes what the public list and the provider's own list say.
    models: tuple[str, ...] = ()
    max_concurrency: int | None = None


class Probe(msgspec.Struct, frozen=True):
    """One thing that was tried."""

    name: str
    is_ok: bool
    detail: str
    took_s: float = 0.0


class Preview(msgspec.Struct, frozen=True):
    """What adding would do."""

    provider: ProviderSpec
    probes: list[Probe]
    #: name -> what becomes of it: "new", "joins …", "taken by the file"
    names: dict[str, str]


def resolve(wish: ProviderWish, resolve_secret: Any) -> ProviderSpec:
    """The provider that a wish describes, its key read.

    Raises:
        Fault: naming the field at fault.
    """
    if not NAME.fullmatch(wish.name) or wish.name == "local":
        raise fault(
            "parameter_invalid",
            detail="A provider's name has lower-case letters, digits, '.', '_' and '-'.",
            param="name",
        )
    kind = kind_of(wish.vendor, wish.kind)
    base_url = base_url_of(wish.vendor, wish.region, wish.base_url, kind)
    try:
        key = resolve_secret(wish.api_key, "api_key") if wish.api_key else ""
    except SetupFault as exc:
        raise fault("parameter_invalid", detail=str(exc), param="api_key") from None
    if any(character in key for character in "\r\n") or not key.isascii():
        raise fault(
            "parameter_invalid", detail="The key holds a line break or a character that no header may.", param="api_key"
        )
    if wish.max_concurrency is not None and wish.max_concurrency < 1:
        raise fault("parameter_invalid", detail="max_concurrency must be 1 or more.", param="max_concurrency")
    return ProviderSpec(
        name=wish.name,
        kind=kind,
        vendor=wish.vendor,
        base_url=base_url,
        api_key=key,
        models=split_names(wish.models),
        max_concurrency=wish.max_concurrency,
    )


def check_remote_reference(reference: str) -> None:
    """What a key's reference may be where it comes over the network.

    Raises:
        Fault: a file, or a variable that is not named like a key.
    """
    kind, _, rest = reference.partition(":")
    if kind == "file" or (kind == "env" and not rest.endswith(("_KEY", "_TOKEN"))):
        detail = "Over the network a key is given itself, or as env:NAME with a NAME that ends in _KEY or _TOKEN; "
        raise fault("parameter_invalid", detail=f"{detail}`steelyard providers add` takes file: too.", param="api_key")


async def preview(declared: Declared, database: Database, spec: ProviderSpec) -> Preview:
    """Tries a provider and shows which names it would bring; nothing takes effect."""
    if spec.name in declared.providers:
        raise fault("name_taken", detail=f"The configuration file declares provider {spec.name!r}.")
    async with database.read() as connection:
        if await providers.find_provider(connection, spec.name) is not None:
            raise fault("name_taken", detail=f"Provider {spec.name!r} exists already.")
        routes = await providers.list_routes(connection)
        others = [msgspec.json.decode(one.spec, type=_Kept) for one in await providers.list_providers(connection)]
    async with Pool() as pool:
        listing, listed = await _probe_models(pool, spec)
        names = spec.models or brought_names(spec.vendor, listed)
        spec = msgspec.structs.replace(spec, models=dict(list(names.items())[:MAX_MODELS]))
        probes = [listing, *await _probe_chat(pool, spec)]
    fates = {}
    for name in spec.models:
        joined = [one.name for one in others if name in one.models]
        if name in declared.routes:
            fates[name] = "taken by the file"
        elif name in routes:
            fates[name] = "taken by a route that was set"
        else:
            fates[name] = f"joins {', '.join(joined)}" if joined else "new"
    return Preview(spec, probes, fates)


async def probe(spec: ProviderSpec) -> list[Probe]:
    """Tries a provider as it is."""
    async with Pool() as pool:
        listing, listed = await _probe_models(pool, spec)
        if not spec.models:
            spec = msgspec.structs.replace(spec, models=brought_names(spec.vendor, listed))
        return [listing, *await _probe_chat(pool, spec)]


async def _probe_models(pool: Pool, spec: ProviderSpec) -> tuple[Probe, list[str] | None]:
    began = monotonic()
    kind = KINDS[spec.kind]
    if kind.models_path is None:
        return Probe("models", False, "this kind of provider has no list"), None
    try:
        answer = await _ask(pool, spec, "GET", kind.models_path)
        rows = msgspec.json.decode(answer.body)
        for member in kind.models_at:
            rows = rows[member]
        listed = [str(one[kind.model_member]) for one in rows]
    except PoolError as exc:
        return Probe("models", False, str(exc), monotonic() - began), None
    except Fault as failure:
        return Probe("models", False, failure.message.strip(), monotonic() - began), None
    except (msgspec.DecodeError, KeyError, TypeError):
        return Probe("models", False, "what came is no list of models", monotonic() - began), None
    return Probe("models", True, f"{len(listed)} listed", monotonic() - began), listed


_GREETING = Conversation(messages=(Message(role=USER, parts=(Part(text="hi"),)),))
PROBE_CAP_TOKENS = 16


async def _probe_chat(pool: Pool, spec: ProviderSpec) -> list[Probe]:
    """A tiny call, plain and streamed, on the first name, in whatever API the provider speaks."""
    if not spec.models:
        return [Probe("chat", False, "no model is known to try")]
    model = next(iter(spec.models.values()))
    dialect = find_upstream(DIALECTS, KINDS[spec.kind].api, "chat", model)
    probes = []
    for name, is_stream in (("chat", False), ("stream", True)):
        began = monotonic()
        try:
            detail = await _greet(pool, spec, dialect, model, is_stream=is_stream)
            probes.append(Probe(name, True, f"{model} answered{detail}", monotonic() - began))
        except (PoolError, Fault) as exc:
            text = exc.message.strip() if isinstance(exc, Fault) else str(exc)
            probes.append(Probe(name, False, f"{model}: {text}", monotonic() - began))
    return probes


async def _greet(pool: Pool, spec: ProviderSpec, dialect: Dialect, model: str, *, is_stream: bool) -> str:
    """Says hello; returns what is worth a remark.

    Raises:
        Fault: what came is no answer.
    """
    codec = dialect.codec
    assert codec is not None
    assert codec.open_reader is not None
    body = codec.write_request(_GREETING, model, PROBE_CAP_TOKENS, is_stream)
    answer = await _ask(pool, spec, "POST", dialect.upstream_path, body, is_stream=is_stream)
    if not is_stream:
        reply = dialect.read_reply(answer.body)
        if reply.error is not None:
            raise reply.error
        return "" if reply.usage is not None else ", without usage"
    reader = codec.open_reader()
    pieces = reader.feed(answer.body) + reader.flush()
    if reader.error is not None:
        raise reader.error
    if not pieces or not reader.is_done:
        raise fault("bad_gateway", detail=" (What came is no whole stream.)")
    return "" if reader.usage is not None else ", without usage"


async def _ask(
    pool: Pool, spec: ProviderSpec, method: str, path: str, data: bytes = b"", *, is_stream: bool = False
) -> Answer:
    origin, kind = parse_origin(spec.base_url), KINDS[spec.kind]
    lines = [*kind.key_lines(spec.api_key), *(kind.stream_lines if is_stream else ())]
    headers = {"Accept": "application/json", "User-Agent": "steelyard"}
    headers |= {one.shown.decode(): one.default.decode() for one in kind.forwards if one.default}
    headers |= dict(line.split(": ", 1) for line in lines)
    if data:
        headers["Content-Type"] = "application/json"
    answer = await pool.fetch(origin, method, origin.prefix + path, data, headers, timeout_s=PROBE_TIMEOUT_S)
    if answer.status == 200:
        return answer
    if answer.status in (401, 403):
        raise fault("provider_refused_key", provider=spec.name)
    raise fault("bad_gateway", detail=f" ({spec.name} answered {answer.status}.)")


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a provider beside its key."""

    name: str
    kind: str = "openai"
    vendor: str = ""
    base_url: str
    models: dict[str, str] = {}
    max_concurrency: int | None = None


async def add_provider(database: Database, sealer: Sealer, spec: ProviderSpec, reference: str, *, actor: str) -> None:
    """Keeps a provider; its names work in every process within two seconds.

    Args:
        reference: the key as it was given: a reference stays one, a plain key is sealed.
    """
    kept = _Kept(
        name=spec.name,
        kind=spec.kind,
        vendor=spec.vendor,
        base_url=spec.base_url,
        models=spec.models,
        max_concurrency=spec.max_concurrency,
    )
    key = reference
    if reference and not reference.startswith(REFERENCES):
        key = sealer.seal(reference, _PLACE.format(spec.name))
    now = now_us()
    record = ProviderRecord(spec.name, msgspec.json.encode(kept).decode(), key, now)
    async with database.write() as connection:
        if await providers.find_provider(connection, spec.name) is not None:
            raise fault("name_taken", detail=f"Provider {spec.name!r} exists already.")
        await providers.insert_provider(connection, record)
        await changes.append(connection, changes.PROVIDER, spec.name, now)
        detail = f"{spec.base_url}: {', '.join(spec.models)}"[:2000]
        await audit.append(
            connection, actor=actor, action="providers.add", subject=spec.name, detail=detail, now_us=now
        )


async def remove_provider(database: Database, name: str, *, actor: str) -> None:
    """Takes a provider away; calls that are under way end as they began.

    Raises:
        Fault: `resource_not_found`.
    """
    now = now_us()
    async with database.write() as connection:
        if await providers.find_provider(connection, name) is None:
            raise fault("resource_not_found", detail=f" There is no provider {name!r} that was added while running.")
        await providers.delete_provider(connection, name)
        await changes.append(connection, changes.PROVIDER, name, now)
        await audit.append(connection, actor=actor, action="providers.remove", subject=name, now_us=now)


class Stored:
    """Reads what was added while running, with the keys opened."""

    def __init__(self, sealer: Sealer, resolve_secret: Any) -> None:
        self._sealer = sealer
        self._resolve_secret = resolve_secret
        #: Providers whose key cannot be read, with the reason.
        self.problems: dict[str, str] = {}

    async def read(self, database: Database) -> tuple[list[ProviderSpec], dict[str, RouteSpec]]:
        """Providers, oldest first, and routes by name. One whose key cannot be read is left out, and told of."""
        async with database.read() as connection:
            records = await providers.list_providers(connection)
            routes = await providers.list_routes(connection)
        found = []
        self.problems = {}
        for record in records:
            try:
                found.append(self._open(record))
            except SetupFault as exc:
                self.problems[record.name] = str(exc)
        return found, {name: msgspec.json.decode(spec, type=RouteSpec) for name, spec in routes.items()}

    def open_inspection(self, policy: InspectionPolicy) -> InspectionPolicy:
        """A policy with the key of its endpoint read. One that cannot be read is told by the endpoint's refusals."""
        check = policy.check
        if check is None or not check.api_key:
            return policy
        try:
            key = self._resolve_secret(check.api_key, "inspection.check.api_key")
        except SetupFault as exc:
            log.warning("%s", exc)
            key = ""
        return msgspec.structs.replace(policy, check=msgspec.structs.replace(check, api_key=key))

    def _open(self, record: ProviderRecord) -> ProviderSpec:
        kept = msgspec.json.decode(record.spec, type=_Kept)
        place = _PLACE.format(record.name)
        key = record.api_key
        if key.startswith(SEALED):
            key = self._sealer.unseal(key, place)
        elif key:
            key = self._resolve_secret(key, place)
        return ProviderSpec(**msgspec.structs.asdict(kept), api_key=key)


def show_provider(spec: ProviderSpec, origin: str, problem: str = "") -> dict[str, Any]:
    """A provider as JSON, without its key."""
    return {
        "name": spec.name,
        "origin": origin,
        "vendor": spec.vendor,
        "kind": spec.kind,
        "base_url": spec.base_url,
        "has_key": bool(spec.api_key),
        "models": spec.models,
        "max_concurrency": spec.max_concurrency,
        "problem": problem,
    }


def show_preview(found: Preview) -> dict[str, Any]:
    """A preview as JSON."""
    return {
        "provider": show_provider(found.provider, "preview"),
        "probes": show_probes(found.probes),
        "names": found.names,
    }


def show_probes(probes: list[Probe]) -> list[dict[str, Any]]:
    """Probes as JSON."""
    return [
        {"probe": one.name, "ok": one.is_ok, "detail": one.detail, "took_s": round(one.took_s, 3)} for one in probes
    ]


def list_vendors() -> list[dict[str, Any]]:
    """The vendors that are known by name."""
    return [
        {
            "vendor": name,
            "title": one.title,
            "site": one.site,
            "regions": one.regions,
            "kind": one.kind,
            "kinds": one.kinds,
            "env": one.env,
            "key": one.key,
        }
        for name, one in get_vendors().items()
    ]
