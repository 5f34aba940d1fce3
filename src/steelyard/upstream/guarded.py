"""The guarded client for calls that are more than a link: tools of plugins, MCP servers. One look with `fetcher`'s rules at each request.

An httpx2 transport, since that is what MCP's own client takes. Every request goes to an address that was looked at, over a connection of
its own, and its answer is bounded; redirects are new requests, and looked at like first ones.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import httpcore2
import httpx2
from httpcore2 import AnyIOBackend

from steelyard.upstream.fetcher import (
    BROKEN,
    CONNECT_TIMEOUT_S,
    REFUSED,
    TIMED_OUT,
    TLS,
    TOO_BIG,
    USER_AGENT,
    Fetcher,
    FetchError,
    read_link,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


class Refused(httpx2.TransportError):
    """A request that was not made, or an answer that was not read to its end. `cause` is the fetcher's."""

    def __init__(self, error: FetchError) -> None:
        super().__init__(str(error))
        self.error = error


class _Pinned(httpcore2.AsyncNetworkBackend):
    """Connects to one address that was looked at, whatever the name says by now."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._inner = AnyIOBackend()

    async def connect_tcp(self, host: str, port: int, *args: Any, **options: Any) -> httpcore2.AsyncNetworkStream:  # noqa: ARG002
        return await self._inner.connect_tcp(self._address, port, *args, **options)

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


class _Bounded(httpx2.AsyncByteStream):
    """An answer's body, up to a size; the connection ends with it."""

    def __init__(
        self,
        inner: Any,
        pool: httpcore2.AsyncConnectionPool,
        host: str,
        max_bytes: int,
        tell: Callable[[FetchError], None],
    ) -> None:
        self._tell = tell
        self._inner = inner
        self._pool = pool
        self._host = host
        self._left = max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _mapped(self._host, self._tell):
            async for part in self._inner:
                self._left -= len(part)
                if self._left < 0:
                    error = FetchError(TOO_BIG, self._host)
                    self._tell(error)
                    raise Refused(error)
                yield part

    async def aclose(self) -> None:
        await self._inner.aclose()
        await self._pool.aclose()


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Makes requests that a tenant has a say in.

    Args:
        max_bytes: of one answer.
        trusted_hosts: may lie in private networks, as the operator's own do.
        tell: hears of what went wrong, for clients that keep it to themselves.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        *,
        max_bytes: int,
        trusted_hosts: Iterable[str] = (),
        tell: Callable[[FetchError], None] | None = None,
    ) -> None:
        self._tell = tell or (lambda _: None)
        self._fetcher = fetcher
        self._max_bytes = max_bytes
        self._trusted = tuple(trusted_hosts)
        self._tls: ssl.SSLContext | None = None

    def _pool(self, address: str, proxy: str) -> httpcore2.AsyncConnectionPool:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        if proxy:
            return httpcore2.AsyncHTTPProxy(proxy_url=proxy, ssl_context=self._tls)
        return httpcore2.AsyncConnectionPool(ssl_context=self._tls, network_backend=_Pinned(address))

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See httpx2.

        Raises:
            Refused: the address may not be asked, does not answer, or answers too much.
        """
        url = request.url
        try:
            place = read_link(str(url))
            address, proxy = await self._fetcher.look_at(place, self._trusted)
        except FetchError as error:
            self._tell(error)
            raise Refused(error) from None
        pool = self._pool(address, proxy)
        sent = httpcore2.Request(
            method=request.method,
            url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        try:
            with _mapped(place.host, self._tell):
                answer = await pool.handle_async_request(sent)
        except BaseException:
            await pool.aclose()
            raise
        return httpx2.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_Bounded(answer.stream, pool, place.host, self._max_bytes, self._tell),
            extensions=answer.extensions,
        )


class _mapped:  # noqa: N801 - reads as a function
    """Faults of the connection in the fetcher's words."""

    def __init__(self, host: str, tell: Callable[[FetchError], None]) -> None:
        self._host = host
        self._tell = tell

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, exc: BaseException | None, trace: object) -> None:
        cause = _cause_of(exc)
        if cause:
            error = FetchError(cause, self._host)
            self._tell(error)
            raise Refused(error) from None


def _cause_of(exc: BaseException | None) -> str:
    """The fetcher's word for a connection's fault; '' for anything else."""
    if isinstance(exc, httpcore2.TimeoutException):
        return TIMED_OUT
    if isinstance(exc, httpcore2.ConnectError):
        return TLS if isinstance(exc.__cause__ or exc.__context__, ssl.SSLError) or "SSL" in str(exc) else REFUSED
    is_broken = isinstance(exc, httpcore2.NetworkError | httpcore2.ProtocolError | httpcore2.ProxyError)
    return BROKEN if is_broken else ""


def open_client(
    fetcher: Fetcher,
    *,
    max_bytes: int,
    timeout_s: float,
    headers: dict[str, str] | None = None,
    trusted_hosts: Iterable[str] = (),
    tell: Callable[[FetchError], None] | None = None,
) -> httpx2.AsyncClient:
    """A client whose every request is guarded. It follows no redirects, has no cookies of others and asks nobody's environment."""
    return httpx2.AsyncClient(
        transport=GuardedTransport(fetcher, max_bytes=max_bytes, trusted_hosts=trusted_hosts, tell=tell),
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **(headers or {})},
        timeout=httpx2.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
        follow_redirects=False,
        trust_env=False,
    )
