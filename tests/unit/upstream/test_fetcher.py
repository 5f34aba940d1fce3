"""The guarded fetcher against addresses that hide, names that change their mind, and senders that never end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from steelyard.upstream import fetcher as fetching
from steelyard.upstream.fetcher import Fetcher, FetchError, FetchLimits
from steelyard.upstream.guard import HostRules, is_public

#: Every one must be refused before a byte goes out: (link, cause)
REFUSED = [
    *((f"http://{host}/x.png", "private_address") for host in (
        # loopback, this host, in every way of writing
        "127.0.0.1", "127.1", "127.0.1", "127.255.255.254", "0.0.0.0", "0", "2130706433", "0x7f000001", "0x7f.0.0.1", "0x7f.1",
        "017700000001", "0177.0.0.1", "0177.1", "localhost", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]",
        # private networks, in decimal, hexadecimal and octal too
        "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.255.255", "167772161", "3232235777",
        "0xa.0.0.1", "012.0.0.1", "0xc0a80101",
        # link-local and what clouds answer from
        "169.254.0.1", "169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "100.100.100.200", "168.63.129.16",
        # shared address space of carriers, benchmarks, documentation, protocols, reserved, broadcast, multicast
        "100.64.0.1", "100.127.255.255", "198.18.0.1", "198.19.255.255", "192.0.2.1", "198.51.100.7", "203.0.113.9", "192.0.0.1",
        "192.88.99.1", "240.0.0.1", "255.255.255.255", "224.0.0.1", "239.255.255.255",
        # IPv6: unique local, link-local, site-local, multicast, documentation, discard
        "[fc00::1]", "[fd12:3456::1]", "[fe80::1]", "[fec0::1]", "[ff02::1]", "[2001:db8::1]", "[100::1]", "[5f00::1]",
        # IPv4 within IPv6: mapped, compatible, NAT64, its local form, 6to4, Teredo
        "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[::ffff:a9fe:a9fe]", "[::127.0.0.1]", "[64:ff9b::7f00:1]",
        "[64:ff9b::10.0.0.1]", "[64:ff9b:1::a00:1]", "[2002:7f00:1::]", "[2002:a00:1::1]", "[2001:0:1::1]",
        "[fd00:ec2::254]",
    )),
    # user info and other ways of looking like another host
    ("http://example.com@127.0.0.1/x.png", "incomplete_url"),
    ("http://127.0.0.1:80@example.com/x.png", "incomplete_url"),
    ("http://user:secret@example.com/x.png", "incomplete_url"),
    ("http://example.com\\@127.0.0.1/x.png", "incomplete_url"),
    ("http://example.com /x.png", "incomplete_url"),
    ("http://example.com\t@127.0.0.1/", "incomplete_url"),
    ("http://example.com\r\nHost: x/", "incomplete_url"),
    ("http:///x.png", "incomplete_url"),
    ("http://[::1/x.png", "incomplete_url"),
    ("http://127.0.0.1:99999/", "incomplete_url"),
    ("//127.0.0.1/x.png", "incomplete_url"),
    ("example.com/x.png", "incomplete_url"),
    ("", "incomplete_url"),
    ("http://①②⑦.⓪.⓪.①/x.png", "private_address"),
    ("http://127。0。0。1/x.png", "private_address"),
    ("http://LOCALHOST./x.png", "private_address"),
    # other schemes
    ("file:///etc/passwd", "scheme"),
    ("gopher://127.0.0.1:6379/_INFO", "scheme"),
    ("ftp://example.com/x.png", "scheme"),
    ("dict://127.0.0.1:11211/stats", "scheme"),
    ("unix:///run/docker.sock", "scheme"),
]  # fmt: skip


def ignore(_: bytes) -> None:
    pass


def make(
    *answers: list[str], limits: FetchLimits | None = None, rules: HostRules | None = None
) -> tuple[Fetcher, list[str]]:
    """A fetcher whose look-ups answer these, one after the other; and the names that it looked up."""
    asked: list[str] = []

    async def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        return answers[min(len(asked), len(answers)) - 1]

    fetcher = Fetcher(rules or HostRules(), limits or FetchLimits(), **({"resolve": resolve} if answers else {}))
    return fetcher, asked


async def cause_of(fetcher: Fetcher, url: str, **options: object) -> str:
    with pytest.raises(FetchError) as refused:
        await fetcher.fetch(url, ignore, **options)  # type: ignore[arg-type]
    return refused.value.cause


def test_the_table_is_long_enough() -> None:
    assert len({link for link, _ in REFUSED}) >= 60


@pytest.mark.parametrize(("link", "cause"), REFUSED)
async def test_refused(link: str, cause: str) -> None:
    """By the system's own resolver, which knows every way of writing an address."""
    fetcher, _ = make()
    assert await cause_of(fetcher, link) == cause


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "39.156.66.10", "2606:4700::1111", "2400:3200::1", "::ffff:8.8.8.8"]
)
def test_public(address: str) -> None:
    """The guard would notice if it refused everything."""
    assert is_public(address)


async def test_one_private_address_among_public_ones() -> None:
    fetcher, _ = make(["8.8.8.8", "10.0.0.1"])
    assert await cause_of(fetcher, "http://mixed.example/x") == "private_address"


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[int]:
    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await handler(reader, writer)
        writer.close()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def say(head: str, body: bytes = b"") -> Handler:
    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {head}\r\n\r\n".encode() + body)
        await writer.drain()

    return handler


OWN = HostRules(private_hosts=("own.example",))


async def test_a_name_that_changes_between_check_and_use() -> None:
    """It is looked up once, and that address is connected to: the second answer is never asked for."""
    async with serving(say("200 OK\r\ncontent-length: 2", b"ok")) as port:
        fetcher, asked = make(["127.0.0.1"], ["10.0.0.1"], rules=OWN)
        parts: list[bytes] = []
        found = await fetcher.fetch(f"http://own.example:{port}/x", parts.append)
        assert (b"".join(parts), found.address, asked) == (b"ok", "127.0.0.1", ["own.example"])


@pytest.mark.parametrize(
    ("target", "cause"),
    [
        ("http://inside.example/x", "private_address"),
        ("http://169.254.169.254/latest/meta-data/", "private_address"),
        ("file:///etc/passwd", "scheme"),
        ("http://a@127.0.0.1/", "incomplete_url"),
    ],
)
async def test_a_redirect_that_leads_inside(target: str, cause: str) -> None:
    async with serving(say(f"302 Found\r\nlocation: {target}\r\ncontent-length: 0")) as port:
        host = target.split("/")[2]
        fetcher, _ = make(["127.0.0.1"], [host if host[:1].isdigit() else "10.9.9.9"], rules=OWN)
        assert await cause_of(fetcher, f"http://own.example:{port}/x") == cause


async def test_a_chain_without_end() -> None:
    async with serving(say("302 Found\r\nlocation: /again\r\ncontent-length: 0")) as port:
        fetcher, asked = make(["127.0.0.1"], rules=OWN)
        assert await cause_of(fetcher, f"http://own.example:{port}/x") == "redirects"
        assert len(asked) == fetching.MAX_REDIRECTS + 1


async def test_a_body_announced_as_ten_gigabytes() -> None:
    """Refused by its head."""
    async with serving(say("200 OK\r\ncontent-length: 10737418240", b"x" * 1000)) as port:
        fetcher, _ = make(["127.0.0.1"], rules=OWN)
        assert await cause_of(fetcher, f"http://own.example:{port}/x") == "too_big"


async def test_a_body_without_end() -> None:
    """Ten gigabytes that nobody announced: given up at the limit."""
    sent = 0

    async def endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
        while sent < 10 * 2**30:
            writer.write(b"x" * 65536)
            sent += 65536
            await writer.drain()

    async with serving(endless) as port:
        fetcher, _ = make(["127.0.0.1"], limits=FetchLimits(max_bytes=2**20), rules=OWN)
        assert await cause_of(fetcher, f"http://own.example:{port}/x") == "too_big"
    assert sent < 64 * 2**20


async def test_a_byte_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """The silence between two bytes is what counts; the whole time is bounded too."""

    async def dripping(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(60)

    async with serving(dripping) as port:
        monkeypatch.setattr(fetching, "SILENCE_S", 0.3)
        fetcher, _ = make(["127.0.0.1"], rules=OWN)
        assert await cause_of(fetcher, f"http://own.example:{port}/x") == "timed_out"
        monkeypatch.setattr(fetching, "SILENCE_S", 60.0)
        fetcher, _ = make(["127.0.0.1"], limits=FetchLimits(total_s=0.3), rules=OWN)
        assert await cause_of(fetcher, f"http://own.example:{port}/x") == "timed_out"


async def test_a_sender_below_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    monkeypatch.setattr(fetching, "SLOW_AFTER_S", 0.2)
    async with serving(slow) as port:
        fetcher, _ = make(["127.0.0.1"], rules=OWN)
        assert await cause_of(fetcher, f"http://own.example:{port}/x") == "timed_out"


@pytest.mark.parametrize(
    ("head", "cause"),
    [
        ("401 No", "unauthorized"),
        ("403 No", "unauthorized"),
        ("404 No", "not_found"),
        ("410 No", "not_found"),
        ("500 No", "status"),
    ],
)
async def test_statuses(head: str, cause: str) -> None:
    async with serving(say(f"{head}\r\ncontent-length: 0")) as port:
        fetcher, _ = make(["127.0.0.1"], rules=OWN)
        assert await cause_of(fetcher, f"http://own.example:{port}/x") == cause


async def test_a_transfer_that_breaks_is_gone_on_with() -> None:
    data = bytes(range(256)) * 400
    calls: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        calls.append(head)
        start = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"range: bytes="):
                start = int(line.split(b"=")[1].rstrip(b"-"))
        size = len(data) - start
        status = b"206 Partial Content" if start else b"200 OK"
        writer.write(
            b"HTTP/1.1 " + status + b'\r\naccept-ranges: bytes\r\netag: "a"\r\ncontent-length: %d\r\n\r\n' % size
        )
        writer.write(data[start : start + (size if len(calls) == 3 else 30_000)])
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        fetcher, _ = make(["127.0.0.1"], rules=OWN)
        parts: list[bytes] = []
        found = await fetcher.fetch(f"http://own.example:{server.sockets[0].getsockname()[1]}/x", parts.append)
    assert b"".join(parts) == data
    assert (found.size_bytes, len(calls)) == (len(data), 3)


async def test_hosts_that_the_operator_allows_or_denies() -> None:
    fetcher, asked = make(["8.8.8.8"], rules=HostRules(only_hosts=("*.example.com",), deny_hosts=("bad.example.com",)))
    for host in ("example.org", "bad.example.com", "BAD.example.com."):
        assert await cause_of(fetcher, f"http://{host}/x") == "host_denied"
    assert not asked
