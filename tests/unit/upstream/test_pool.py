"""The pool against a scripted peer: reuse, limits, and everything that can break."""

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable

import pytest

from steelyard.base.outbox import Outbox
from steelyard.upstream import pool as module
from steelyard.upstream.pool import Broken, ConnectError, Connection, Flight, Pool, PoolError, TimedOut, parse_origin

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def serve(handler: Handler) -> tuple[asyncio.Server, str]:
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def answering(*answers: bytes) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for answer in answers:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
                await writer.drain()
            await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        writer.close()

    return handler


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\nhi"


async def fetch(handler: Handler, times: int = 1) -> list[bytes]:
    server, url = await serve(handler)
    async with server, Pool() as pool:
        return [(await pool.fetch(parse_origin(url), "GET", "/", timeout_s=2)).body for _ in range(times)]


async def test_connection_is_reused() -> None:
    """Two calls, one connection."""
    assert await fetch(answering(OK, OK), 2) == [b"hi", b"hi"]


async def test_chunked_close_delimited_and_interim() -> None:
    """Every way to end a body, and a 100 before it."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n1\r\n!\r\n0\r\n\r\n"
    assert await fetch(answering(chunked)) == [b"hi!"]
    assert await fetch(answering(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)) == [b"hi"]

    async def until_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        await writer.drain()
        writer.close()

    assert await fetch(until_close) == [b"all of it"]


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort",
        b"",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_broken_answers(answer: bytes) -> None:
    """Garbage, a cut body, nothing, bad chunks: `Broken`, never a half answer."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    with pytest.raises(Broken):
        await fetch(handler)


async def test_nobody_listens() -> None:
    """A refused connection and a missing socket are `ConnectError`: nothing was sent."""
    async with Pool() as pool:
        for url in ("http://127.0.0.1:1", "unix:/nonexistent/x.sock"):
            with pytest.raises(ConnectError) as caught:
                await pool.fetch(parse_origin(url), "GET", "/")
            assert caught.value.is_sent is False


async def test_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent upstream is given up."""
    monkeypatch.setattr(module, "SWEEP_S", 0.02)
    server, url = await serve(answering())
    async with server, Pool() as pool:
        with pytest.raises(TimedOut):
            await pool.fetch(parse_origin(url), "GET", "/", timeout_s=0.1)


async def test_unasked_bytes_end_a_connection() -> None:
    """A second answer behind the first must not become the next caller's."""
    server, url = await serve(answering(OK + OK.replace(b"hi", b"no"), OK))
    async with server, Pool() as pool:
        origin = parse_origin(url)
        assert (await pool.fetch(origin, "GET", "/")).body == b"hi"
        await asyncio.sleep(0.05)
        assert pool.origin(origin).take_idle() is None


async def test_connection_limit_and_waiters() -> None:
    """At the limit callers wait for a connection, and time out with a clear error."""
    server, url = await serve(answering(OK, OK, OK))
    async with server:
        from steelyard.upstream.pool import OriginPool

        pool = OriginPool(parse_origin(url), None, Outbox(), max_connections=1)
        first = await pool.acquire(1)
        with pytest.raises(ConnectError, match="busy"):
            await pool.acquire(0.05)
        waiter = asyncio.create_task(pool.acquire(1))
        await asyncio.sleep(0.01)
        pool.give_back(first)
        assert await waiter is first
        pool.close()


async def test_many_callers_never_share_an_answer() -> None:
    """Each caller sees the echo of its own path."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ")[1]
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path))
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()

    server, url = await serve(echo)
    async with server, Pool() as pool:
        origin = parse_origin(url)
        answers = await asyncio.gather(*(pool.fetch(origin, "GET", f"/{n}") for n in range(200)))
        assert [answer.body for answer in answers] == [b"/%d" % n for n in range(200)]


async def test_aborted_call_closes_its_connection() -> None:
    """The upstream sees that nobody waits any more."""
    gone = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        gone.set()
        writer.close()

    server, url = await serve(handler)
    async with server, Pool() as pool:
        connection = await pool.origin(parse_origin(url)).acquire(1)
        ends: list[PoolError | None] = []
        connection.start(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", Flight(ends.append, 1e12))
        await asyncio.sleep(0.02)
        connection.abort()
        async with asyncio.timeout(1):
            await gone.wait()
        assert ends == []


@pytest.mark.parametrize("url", ["ftp://x", "localhost:80", "", "http://"])
def test_addresses(url: str) -> None:
    """Only http, https and unix."""
    with pytest.raises(ValueError, match="base_url"):
        parse_origin(url)


def test_unix_addresses() -> None:
    """Path and prefix."""
    origin = parse_origin("unix:/a/b.sock:/v1")
    assert (origin.unix_path, origin.prefix) == ("/a/b.sock", "/v1")


def _reply(body: bytes, *more: bytes, status: bytes = b"200 OK") -> bytes:
    return b"\r\n".join((b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *more, b"", body))


@pytest.mark.parametrize("cuts", [(), (20,), (45,), (60, 100)], ids=str)
async def test_answers_alike_are_read_as_the_parser_reads_them(
    cuts: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heads that came before, others, interim ones, in one piece or in several: each caller gets its own answer."""
    answers = [
        _reply(b"one"),
        _reply(b"twelve bytes"),
        _reply(b""),
        _reply(b"no", status=b"404 No"),
        _reply(b"no again", status=b"404 No"),
        b"HTTP/1.1 100 Continue\r\n\r\n" + _reply(b"after"),
        _reply(b"one more"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nparts\r\n0\r\n\r\n",
        *(_reply(b"x" * number, b"X-Id: %d" % number) for number in range(12)),
        _reply(b"last"),
        _reply(b"\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"),
    ]

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            for start, end in itertools.pairwise((0, *cuts, len(answer))):
                writer.write(answer[start:end])
                await writer.drain()
                if cuts:
                    await asyncio.sleep(0.002)
        writer.close()

    known = []
    take = Connection._take_known
    monkeypatch.setattr(Connection, "_take_known", lambda *args: known.append(take(*args)) or known[-1])
    server, url = await serve(handler)
    async with server, Pool() as pool:
        origin = parse_origin(url)
        found = [await pool.fetch(origin, "GET", "/") for _ in answers]
    # an answer in one piece is known by its head; most of those that are cut go to the parser
    assert any(known) or cuts
    assert [one.status for one in found] == [404 if b"404" in answer[:20] else 200 for answer in answers]
    bodies = [b"parts" if b"chunked" in answer else answer.rpartition(b"\r\n\r\n")[2] for answer in answers]
    assert [one.body for one in found[:-1]] == bodies[:-1]
    assert found[-1].body.startswith(b"\r\n\r\nHTTP")
    assert [one.headers.get(b"x-id") for one in found[8:20]] == [b"%d" % number for number in range(12)]
