"""What the monitor scrapes: all processes of this machine as one target, and those of the configuration."""

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from steelyard.assembly.orders import FACE_SOCKET
from steelyard.base.jsondoor import encode
from steelyard.config import Settings, resolve_secret
from steelyard.config.monitor import ScrapeTarget
from steelyard.monitor.forwarding import Receiver
from steelyard.monitor.scraper import Fetch, Page, Target
from steelyard.monitor.tenants import OWN_JOB
from steelyard.upstream.pool import Origin, Pool, PoolError, parse_origin

SCRAPE_TIMEOUT_S = 10.0
REMOTE_TIMEOUT_S = 125.0
_ACCEPT = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.8,*/*;q=0.1"


def make_targets(settings: Settings, pool: Pool) -> list[Target]:
    """All of them, our own first.

    Raises:
        SetupFault: a token that is referred to is not there.
    """
    named = settings.monitor.targets.items()
    return [_own_target(settings, pool), *(_target(name, one, settings, pool) for name, one in named)]


def _target(job: str, wish: ScrapeTarget, settings: Settings, pool: Pool) -> Target:
    parts = urlsplit(wish.url)
    origin = parse_origin(f"{parts.scheme}://{parts.netloc}")
    path = (parts.path or "/metrics") + (f"?{parts.query}" if parts.query else "")
    headers = {
        "Accept": _ACCEPT,
        "User-Agent": "steelyard",
        "X-Prometheus-Scrape-Timeout-Seconds": f"{wish.timeout_s:g}",
    }
    if wish.token:
        headers["Authorization"] = "Bearer " + resolve_secret(wish.token, f"monitor.targets.{job}.token")
    return Target(
        job,
        parts.netloc.rpartition("@")[2],
        f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}",
        _fetch(pool, origin, path, headers, wish.timeout_s),
        interval_s=wish.interval_s or settings.monitor.scrape_interval_s,
        timeout_s=wish.timeout_s,
        workspace=wish.workspace,
        labels=wish.labels,
    )


def _own_target(settings: Settings, pool: Pool) -> Target:
    face = Origin("face", 80, unix_path=str(settings.run_dir / FACE_SOCKET))
    return Target(
        OWN_JOB,
        urlsplit(settings.public_url).netloc,
        settings.public_url + "/metrics",
        _fetch(pool, face, "/internal/metrics", {}, SCRAPE_TIMEOUT_S),
        interval_s=settings.monitor.scrape_interval_s,
        timeout_s=SCRAPE_TIMEOUT_S,
        tells_workspaces=True,
    )


def _fetch(pool: Pool, origin: Origin, path: str, headers: dict[str, str], timeout_s: float) -> Fetch:
    async def fetch() -> Page:
        try:
            answer = await pool.fetch(
                origin, "GET", path, headers=headers, timeout_s=timeout_s, connect_timeout_s=timeout_s
            )
        except PoolError as exc:
            raise OSError(str(exc)) from exc
        if answer.status != 200:
            raise OSError(f"server returned HTTP status {answer.status}")
        return Page(answer.body, answer.headers.get(b"content-type", b"").decode("latin-1"))

    return fetch


def make_minute_fetch(settings: Settings, pool: Pool) -> Callable[[int], Awaitable[bytes]]:
    """Asks the face what the ledger says of a minute."""
    face = Origin("face", 80, unix_path=str(settings.run_dir / FACE_SOCKET))
    per_s = 1000 if settings.monitor.duration_unit == "ms" else 1

    async def fetch(end_s: int) -> bytes:
        body = encode({"end_s": end_s, "per_s": per_s})
        try:
            answer = await pool.fetch(face, "POST", "/internal/minute", body, timeout_s=SCRAPE_TIMEOUT_S)
        except PoolError as exc:
            raise OSError(str(exc)) from exc
        if answer.status != 200:
            raise OSError(f"the face answered {answer.status}")
        return answer.body

    return fetch


def make_receivers(settings: Settings) -> list[Receiver]:
    """Those that samples are sent to.

    Raises:
        SetupFault: a token that is referred to is not there.
    """
    return [
        Receiver(
            name,
            one.url,
            tuple(_headers(one.headers, one.token, f"monitor.remote_write.{name}").items()),
            one.workspace,
        )
        for name, one in settings.monitor.remote_write.items()
    ]


def remote_headers(settings: Settings) -> dict[str, str]:
    """What the server that answers in our place is told."""
    return _headers(settings.monitor.remote_headers, settings.monitor.remote_token, "monitor.remote")


def _headers(headers: dict[str, str], token: str, place: str) -> dict[str, str]:
    found = {name: resolve_secret(value, f"{place}.headers") for name, value in headers.items()}
    return found | ({"Authorization": "Bearer " + resolve_secret(token, f"{place}.token")} if token else {})


def make_ask(
    settings: Settings, pool: Pool
) -> Callable[[str, str, dict[str, str], bytes], Awaitable[tuple[int, dict[str, str], bytes]]]:
    """Asks the server that answers queries in our place."""
    origin, own = parse_origin(settings.monitor.url), remote_headers(settings)

    async def ask(method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        try:
            answer = await pool.fetch(origin, method, path, body, headers | own, timeout_s=REMOTE_TIMEOUT_S)
        except PoolError as exc:
            raise OSError(str(exc)) from exc
        told = {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.headers.items()}
        return answer.status, told, answer.body

    return ask
