"""Requests whose heads came before are read as the parser would read them, however the bytes fall."""

import asyncio
import random
from collections.abc import Iterator
from typing import Any, cast

import pytest
import uvicorn
from uvicorn.server import ServerState

from steelyard.base.outbox import Outbox
from steelyard.dialects.dialect import by_path
from steelyard.dialects.table import DIALECTS
from steelyard.gateway.fastlane import FastLane, LaneExchange
from steelyard.gateway.known_head import Fields, KnownHead, bearer_digest_of

MAX_BODY_BYTES = 2000
PATHS = ("/v1/chat/completions", "/v1/embeddings")
KEYS = ("sk-one", "sk-two")


class _Transport:
    """What of a transport a connection uses."""

    def __init__(self) -> None:
        self.written = b""
        self.closing = False

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    abort = close

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else default


class _Meter:
    def refused(self, *_: object) -> None:
        """Counts nothing."""


class _Admission:
    def find_cached(self, headers: dict[bytes, bytes]) -> str | None:
        return bearer_digest_of(headers)


class _Core:
    """Notes what it is handed; answers at once, or with the next turn of the loop."""

    def __init__(self, *, is_prompt: bool = True) -> None:
        self.max_body_bytes = MAX_BODY_BYTES
        self.admission = _Admission()
        self.meter = _Meter()
        self.is_prompt = is_prompt
        self.seen: list[tuple[str, dict[bytes, bytes], bytes]] = []
        self.known = 0

    def handle(self, lane: LaneExchange, _dialect: object) -> None:
        self.known += isinstance(lane.headers, Fields)
        plain = {name: value for name, value in lane.headers.items() if name != b"content-length"}
        self.seen.append((lane.path, plain, lane.body))
        body = b"%d" % len(self.seen)
        if self.is_prompt:
            lane.send(200, [], body)
        else:
            asyncio.get_running_loop().call_soon(lane.send, 200, [], body)


class _Parsed(FastLane):
    """Has the parser read every head."""

    def _read_known(self, data: bytes, known: KnownHead) -> bool:
        return False


def connect(core: _Core, cls: type[FastLane] = FastLane) -> tuple[FastLane, _Transport]:
    """A connection that nobody is behind."""
    config = uvicorn.Config(cast("Any", None), interface="asgi3", log_config=None, lifespan="off")
    config.loaded, config.loaded_app = True, cast("Any", None)
    config.ws_protocol_class = None
    bound = cls.bound_to(cast("Any", core), by_path(DIALECTS), Outbox())
    lane, transport = bound(config, ServerState(), {}), _Transport()
    lane.connection_made(transport)
    return lane, transport


def request(path: str, key: str, body: bytes, *more: str) -> bytes:
    """As a client sends it."""
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {key}", f"Content-Length: {len(body)}", *more]
    return "\r\n".join([*lines, "", ""]).encode() + body


def pieces(data: bytes, draw: random.Random) -> Iterator[bytes]:
    """The bytes as a network may deliver them."""
    while data:
        size = draw.choice((1, 7, 150, 400, len(data), len(data)))
        yield data[:size]
        data = data[size:]


@pytest.mark.parametrize("is_prompt", [True, False])
@pytest.mark.parametrize("seed", range(40))
async def test_known_heads_change_nothing(seed: int, is_prompt: bool) -> None:
    """Heads alike and not alike, one behind the other and all at once: what is handed on is what the parser hands on."""
    draw = random.Random(seed)
    found = []
    requests = []
    kinds = [(path, key, more) for path in PATHS for key in KEYS for more in ((), ("Connection: keep-alive",))]
    kind = kinds[0]
    for _ in range(60):
        kind = draw.choice((*[kind] * 24, *kinds))
        requests.append(request(kind[0], kind[1], draw.randbytes(draw.choice((1, 9, 10, 11, 300))), *kind[2]))
    for cls in (FastLane, _Parsed):
        draw.seed(seed)
        core = _Core(is_prompt=is_prompt)
        lane, transport = connect(core, cls)
        if is_prompt:
            at_once = draw.choice((1, 1, 2, 5))
            for first in range(0, len(requests), at_once):
                for piece in pieces(b"".join(requests[first : first + at_once]), draw):
                    lane.data_received(piece)
        else:
            # a second request that comes while one is being answered is another matter: it goes to ASGI
            for one in requests:
                for piece in pieces(one, draw):
                    lane.data_received(piece)
                await asyncio.sleep(0)
        await asyncio.sleep(0)
        found.append((core.seen, transport.written.count(b"HTTP/1.1 200")))
        assert (core.known > 0) == (cls is FastLane)
    assert len(found[0][0]) == 60
    assert found[0] == found[1]


async def test_a_head_of_two_requests_at_once_is_kept_for_the_first_alone() -> None:
    """The bytes of one caller's head must never stand for what another one's said."""
    core = _Core()
    lane, _ = connect(core)
    one, two = request(PATHS[0], KEYS[0], b"first"), request(PATHS[1], KEYS[1], b"second")
    for data in (one + two, one, two, two, one + one + two):
        lane.data_received(data)
    kinds = [(path, fields[b"authorization"][-3:], body) for path, fields, body in core.seen]
    first, second = (PATHS[0], b"one", b"first"), (PATHS[1], b"two", b"second")
    assert kinds == [first, second, first, second, second, first, first, second]


@pytest.mark.parametrize("length", [b"+5", b"5 ", b"-1", b"0x5", b"5, 5", b"", b"5\nX: 1", b"\xb2"], ids=repr)
async def test_a_length_that_is_no_number_goes_to_the_parser(length: bytes) -> None:
    """What the parser refuses is refused, whatever came before."""
    core = _Core()
    lane, transport = connect(core)
    lane.data_received(request(PATHS[0], KEYS[0], b"first"))
    lane.data_received(request(PATHS[0], KEYS[0], b"first").replace(b"Length: 5", b"Length: " + length))
    await asyncio.sleep(0)
    assert core.known == 0
    assert (transport.written.count(b"HTTP/1.1 200"), transport.closing) in [(1, True), (2, False)]


async def test_a_known_head_with_too_large_a_body_is_refused_and_read_to_its_end() -> None:
    """The refusal is the parser's way's too, and the rest of the body is thrown away."""
    core = _Core()
    lane, transport = connect(core)
    lane.data_received(request(PATHS[0], KEYS[0], b"first"))
    data = request(PATHS[0], KEYS[0], b"x" * (MAX_BODY_BYTES + 1))
    lane.data_received(data[:500])
    await asyncio.sleep(0)
    assert b"HTTP/1.1 413" in transport.written
    assert not transport.closing
    lane.data_received(data[500:])
    assert transport.closing
    assert len(core.seen) == 1


def test_what_must_be_looked_at_each_time_is_not_kept() -> None:
    """A head that asks for something beside its body is read anew."""
    dialect = by_path(DIALECTS)[PATHS[0]]
    data = request(PATHS[0], KEYS[0], b"hi")
    fields = {b"content-length": b"2", b"authorization": b"Bearer sk-one"}
    known = KnownHead.of(data, dialect, PATHS[0], fields)
    assert known is not None
    assert known.pattern.read(data) == (2, len(data) - 2)
    assert "sk-one" not in repr(known) + repr(known.pattern)
    for name, value in ((b"expect", b"100-continue"), (b"connection", b"close"), (b"upgrade", b"h2c")):
        assert KnownHead.of(data, dialect, PATHS[0], {**fields, name: value}) is None
    assert KnownHead.of(data, dialect, PATHS[0], {**fields, b"content-length": b"3"}) is None
    assert KnownHead.of(data[:30], dialect, PATHS[0], fields) is None


async def test_answers_whose_records_are_lost_are_revoked() -> None:
    """A whole answer becomes a refusal, a stream ends without its end mark."""
    core = _Core(is_prompt=False)
    lanes = [connect(core) for _ in range(2)]
    for lane, _ in lanes:
        lane.data_received(request(PATHS[0], KEYS[0], b"body"))
    (whole, answered), (streaming, cut) = lanes
    whole.outbox.keep_records = streaming.outbox.keep_records = lambda: False
    assert streaming.lane is not None
    streaming.lane.start(200, [])
    streaming.lane.write(b"data: 1")
    streaming.outbox.send()
    streaming.lane.end(b"data: [DONE]")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    head, _, body = answered.written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"x-request-id: " in head
    assert b"content-length: %d" % len(body) in head
    assert not answered.closing
    assert cut.closing
    assert cut.written.endswith(b"data: 1\r\n")
