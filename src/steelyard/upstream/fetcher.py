"""The one client for links that a caller supplies: guarded, bounded, patient, and able to say what went wrong.

The host is resolved once and the connection made to an address that was looked at, so an answer that changes between look and use
changes nothing. Redirects are looked at like first links. Never follow a caller's link by anything else.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpcore

from steelyard.base.clock import monotonic
from steelyard.canon.downloads import DownloadBounds
from steelyard.upstream.guard import HostRules, is_public, matches

MAX_REDIRECTS = 5
MAX_URL_CHARS = 8192
CONNECT_TIMEOUT_S = 10.0
#: A sender that is silent for longer than this, or slower than the other figure after the first seconds, is given up.
SILENCE_S = 20.0
SLOW_BYTES_S = 1024
SLOW_AFTER_S = 10.0
#: A transfer that broke is gone on with where it broke.
MAX_RESUMES = 3
READ_BYTES = 65_536
USER_AGENT = "steelyard"

#: What went wrong.
INCOMPLETE, SCHEME, DENIED, PRIVATE, DNS, REFUSED, TLS, UNAUTHORIZED, NOT_FOUND, STATUS, TOO_BIG, TIMED_OUT, BROKEN, REDIRECTS = (
    "incomplete_url", "scheme", "host_denied", "private_address", "dns", "refused", "tls", "unauthorized", "not_found", "status",
    "too_big", "timed_out", "broken", "redirects",
)  # fmt: skip


class FetchError(Exception):
    """A link could not be followed. Nothing in it comes from the answer's body."""

    def __init__(
        self, cause: str, host: str = "", *, status: int = 0, size_bytes: int = 0, seconds: float = 0.0
    ) -> None:
        super().__init__(f"{cause} {host}".strip())
        self.cause = cause
        self.host = host
        self.status = status
        self.size_bytes = size_bytes
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """How much of a link is followed."""

    max_bytes: int = 200 * 1024 * 1024
    total_s: float = 60.0
    #: The longest that anybody may ask for.
    ceiling_s: float = 600.0

    def within(self, bounds: DownloadBounds) -> "FetchLimits":
        """What a call gets that asks for bounds: no more bytes, and no more time than the longest."""
        return FetchLimits(
            min(self.max_bytes, bounds.max_bytes or self.max_bytes),
            min(self.ceiling_s, bounds.timeout_s or self.total_s),
            self.ceiling_s,
        )


@dataclass(slots=True)
class Fetched:
    """An answer whose body went to the sink."""

    url: str
    status: int
    content_type: str
    size_bytes: int
    seconds: float
    #: Links that led here, the first one first.
    hops: list[str] = field(default_factory=list)
    address: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """A link taken apart."""

    url: str
    scheme: str
    host: str
    port: int


def read_link(url: str) -> Place:
    """A link's parts.

    Raises:
        FetchError: it is incomplete, of another scheme, or carries credentials.
    """
    if len(url) > MAX_URL_CHARS or any(ord(one) <= 32 or one == "\\" for one in url):
        raise FetchError(INCOMPLETE)
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (
            (parts.hostname or "").encode("idna").decode() if not _is_literal(parts.hostname) else parts.hostname or ""
        )
    except (ValueError, UnicodeError):
        raise FetchError(INCOMPLETE) from None
    if parts.scheme not in ("http", "https"):
        raise FetchError(SCHEME if parts.scheme and "://" in url else INCOMPLETE)
    if not host or "@" in parts.netloc:
        # credentials in a link are a trick: they make one host look like another
        raise FetchError(INCOMPLETE)
    return Place(url, parts.scheme, host.rstrip(".").lower(), port or (443 if parts.scheme == "https" else 80))


def _is_literal(host: str | None) -> bool:
    return bool(host) and ":" in str(host)


Resolve = Callable[[str, int], Any]


async def _resolve(host: str, port: int) -> list[str]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(one[4][0]) for one in found]


class _Pinned(httpcore.AsyncNetworkBackend):
    """Connects to one address that was looked at, whatever the name says by now."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(self, host: str, port: int, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:  # noqa: ARG002
        return await self._inner.connect_tcp(self._address, port, *args, **options)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Fetcher:
    """Follows links."""

    def __init__(
        self,
        rules: HostRules,
        limits: FetchLimits,
        *,
        proxies: Iterable[tuple[str, str]] = (),
        resolve: Resolve = _resolve,
    ) -> None:
        self._rules = rules
        self._limits = limits
        self._proxies = tuple(proxies)
        self._resolve = resolve
        self._tls: ssl.SSLContext | None = None

    def __repr__(self) -> str:
        return f"<Fetcher up to {self._limits.max_bytes} bytes in {self._limits.total_s:g} s>"

    @property
    def limits(self) -> FetchLimits:
        """How much of a link is followed where nothing else is said."""
        return self._limits

    async def fetch(
        self,
        url: str,
        sink: Callable[[bytes], object],
        *,
        limits: FetchLimits | None = None,
        trusted_hosts: Iterable[str] = (),
        method: str = "GET",
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        follows: bool = True,
    ) -> Fetched:
        """Follows a link; the body goes to the sink, part by part.

        Args:
            trusted_hosts: may lie in private networks, as the operator's own endpoints do.

        Raises:
            FetchError: saying what went wrong, where, after how many bytes and seconds.
        """
        began = monotonic()
        transfer = _Transfer(limits or self._limits, sink, began, tuple(trusted_hosts))
        hops: list[str] = []
        try:
            async with asyncio.timeout(transfer.limits.total_s):
                while True:
                    place = read_link(url)
                    found = await self._ask(place, transfer, method, body, headers or {})
                    if found.status not in (301, 302, 303, 307, 308) or not follows:
                        found.hops = hops
                        return found
                    hops.append(url)
                    if len(hops) > MAX_REDIRECTS or not transfer.location:
                        raise FetchError(REDIRECTS, place.host)
                    url = urljoin(url, transfer.location)
        except TimeoutError:
            raise self._late(url, transfer, began) from None

    @staticmethod
    def _late(url: str, transfer: "_Transfer", began: float) -> FetchError:
        host = urlsplit(url).hostname or ""
        return FetchError(TIMED_OUT, host, size_bytes=transfer.size_bytes, seconds=monotonic() - began)

    async def _ask(
        self, place: Place, transfer: "_Transfer", method: str, body: bytes, headers: dict[str, str]
    ) -> Fetched:
        address, proxy = await self.look_at(place, transfer.trusted)
        resumes = 0
        while True:
            try:
                return await self._ask_once(place, address, proxy, transfer, method, body, headers)
            except FetchError as error:
                can_resume = error.cause == BROKEN and transfer.size_bytes and transfer.resumable and method == "GET"
                if not can_resume or resumes == MAX_RESUMES:
                    raise
                resumes += 1
                await asyncio.sleep(0.2 * 2**resumes)

    async def look_at(self, place: Place, trusted: tuple[str, ...] = ()) -> tuple[str, str]:
        """The address to connect to, or the proxy that does.

        Raises:
            FetchError: the host may not be asked, or has no address that may be.
        """
        if not self._rules.is_open(place.host):
            raise FetchError(DENIED, place.host)
        proxy = next((url for pattern, url in self._proxies if matches(place.host, (pattern,))), "")
        try:
            addresses = await self._resolve(place.host, place.port)
        except (OSError, UnicodeError):
            if proxy:
                # the proxy may know names that we do not; it is the operator's, and guards its own network
                return "", proxy
            raise FetchError(DNS, place.host) from None
        if not addresses:
            raise FetchError(DNS, place.host)
        if not self._rules.may_be_private(place.host, trusted) and not all(is_public(one) for one in addresses):
            # one private address among public ones is how a name is made to change its mind
            raise FetchError(PRIVATE, place.host)
        return addresses[0], proxy

    def _pool(self, address: str, proxy: str) -> Any:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        if proxy:
            return httpcore.AsyncHTTPProxy(proxy_url=proxy, ssl_context=self._tls)
        return httpcore.AsyncConnectionPool(ssl_context=self._tls, network_backend=_Pinned(address))

    async def _ask_once(
        self,
        place: Place,
        address: str,
        proxy: str,
        transfer: "_Transfer",
        method: str,
        body: bytes,
        headers: dict[str, str],
    ) -> Fetched:
        sent = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity", **headers}
        if transfer.size_bytes:
            sent["Range"] = f"bytes={transfer.size_bytes}-"
            if transfer.tag:
                sent["If-Range"] = transfer.tag
        timeouts = {"connect": CONNECT_TIMEOUT_S, "read": SILENCE_S, "write": SILENCE_S, "pool": CONNECT_TIMEOUT_S}
        try:
            async with (
                self._pool(address, proxy) as pool,
                pool.stream(
                    method,
                    place.url.partition("#")[0],
                    headers=[(name.encode(), value.encode("latin-1", "replace")) for name, value in sent.items()],
                    content=body or None,
                    extensions={"timeout": timeouts},
                ) as answer,
            ):
                return await transfer.take(place, answer, address)
        except (httpcore.ConnectTimeout, httpcore.PoolTimeout, httpcore.ReadTimeout, httpcore.WriteTimeout):
            raise self._late(place.url, transfer, transfer.began) from None
        except httpcore.ConnectError as exc:
            cause = TLS if isinstance(exc.__cause__ or exc.__context__, ssl.SSLError) or "SSL" in str(exc) else REFUSED
            raise FetchError(cause, place.host) from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError, httpcore.UnsupportedProtocol):
            seconds = monotonic() - transfer.began
            raise FetchError(BROKEN, place.host, size_bytes=transfer.size_bytes, seconds=seconds) from None


class _Transfer:
    """A body on its way, over one connection or several."""

    def __init__(
        self, limits: FetchLimits, sink: Callable[[bytes], object], began: float, trusted: tuple[str, ...]
    ) -> None:
        self.limits = limits
        self.sink = sink
        self.began = began
        self.trusted = trusted
        self.size_bytes = 0
        self.location = ""
        self.tag = ""
        self.resumable = False

    async def take(self, place: Place, answer: httpcore.Response, address: str) -> Fetched:
        """Reads an answer."""
        headers = {name.lower(): value.decode("latin-1") for name, value in answer.headers}
        status = answer.status
        self.location = headers.get(b"location", "")
        if 300 <= status < 400:
            return self._fetched(place, status, headers, address)
        self._check_status(place, status)
        if status != 206:
            # what came before a break is sent again from the start: that cannot be joined
            if self.size_bytes:
                raise FetchError(BROKEN, place.host, size_bytes=self.size_bytes, seconds=monotonic() - self.began)
            self.tag = headers.get(b"etag", "")
            self.resumable = headers.get(b"accept-ranges", "") == "bytes"
        announced = headers.get(b"content-length", "")
        if announced.isdecimal() and self.size_bytes + int(announced) > self.limits.max_bytes:
            raise FetchError(TOO_BIG, place.host, size_bytes=self.size_bytes + int(announced))
        async for part in answer.aiter_stream():
            self.size_bytes += len(part)
            if self.size_bytes > self.limits.max_bytes:
                raise FetchError(TOO_BIG, place.host, size_bytes=self.size_bytes)
            self.sink(part)
            self._check_pace(place)
        return self._fetched(place, 200 if status == 206 else status, headers, address)

    def _check_pace(self, place: Place) -> None:
        seconds = monotonic() - self.began
        if seconds > SLOW_AFTER_S and self.size_bytes < seconds * SLOW_BYTES_S:
            raise FetchError(TIMED_OUT, place.host, size_bytes=self.size_bytes, seconds=seconds)

    def _check_status(self, place: Place, status: int) -> None:
        if status in (401, 403, 407):
            raise FetchError(UNAUTHORIZED, place.host, status=status)
        if status in (404, 410):
            raise FetchError(NOT_FOUND, place.host, status=status)
        if status == 206 and not self.size_bytes:
            return
        if not 200 <= status < 300:
            raise FetchError(STATUS, place.host, status=status)

    def _fetched(self, place: Place, status: int, headers: dict[bytes, str], address: str) -> Fetched:
        kind = headers.get(b"content-type", "")
        return Fetched(place.url, status, kind, self.size_bytes, monotonic() - self.began, [], address)
