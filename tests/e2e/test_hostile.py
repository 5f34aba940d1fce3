"""What a careless or hostile client can send: a clear error or a closed connection, bounded memory, others unharmed."""

import contextlib
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from installation import Served

HI = [{"role": "user", "content": "hi"}]
MEMORY_MB = 50


def gateway_mb(served: Served) -> float:
    pid = served.installation.child("gateway")
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def connect(served: Served) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", served.installation.port), 10)
    made.settimeout(30)
    return made


def read_all(client: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(OSError):
        while part := client.recv(65536):
            data += part
    return data


def refusal(client: socket.socket) -> bytes:
    """What has come by now; nothing where the server still waits."""
    client.settimeout(0.05)
    try:
        return client.recv(65536)
    except TimeoutError:
        return b""


HEAD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nContent-Type: application/json\r\n"
)


def head(served: Served) -> bytes:
    return HEAD % served.key.encode()


def test_garbage_gets_400(served: Served) -> None:
    """What is no HTTP gets 400 in our envelope and a closed connection."""
    for garbage in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", b"\x00" * 100):
        with connect(served) as client:
            client.sendall(garbage + b"\r\n\r\n")
            answer = read_all(client)
        assert answer.startswith(b"HTTP/1.1 400"), garbage
        assert b'"error":{"message"' in answer


def test_huge_head_is_refused(served: Served) -> None:
    """A head beyond 256 KiB is refused, however it is cut."""
    with connect(served) as client:
        with contextlib.suppress(OSError):
            client.sendall(b"GET /v1/models HTTP/1.1\r\n")
            for number in range(3000):
                client.sendall(b"X-Pad-%d: " % number + b"y" * 100 + b"\r\n")
        assert read_all(client)[:12] in (b"HTTP/1.1 431", b"")


def test_unfinished_heads_are_bounded_together(served: Served) -> None:
    """Many long heads that never end: beyond the budget 503 with Retry-After, and none of it is kept afterwards."""
    with contextlib.ExitStack() as opened:
        clients = [opened.enter_context(connect(served)) for _ in range(240)]
        for client in clients:
            with contextlib.suppress(OSError):
                client.sendall(b"GET /v1/models HTTP/1.1\r\nX-Pad: " + b"y" * 200_000)
        time.sleep(1)
        answers = [refusal(client) for client in clients]
        refused = [answer for answer in answers if answer]
        assert 0 < len(refused) < len(clients)
        assert all(answer.startswith(b"HTTP/1.1 503") and b"retry-after" in answer.lower() for answer in refused)
    time.sleep(0.5)
    with connect(served) as client:
        client.sendall(b"GET /v1/models?q=" + b"y" * 100_000)
        time.sleep(0.2)
        client.sendall(b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert read_all(client).startswith(b"HTTP/1.1 401")


def test_hundred_megabytes_are_413_without_being_kept(served: Served) -> None:
    """Announced or chunked: refused at the limit, the client gets to read why, memory stays."""
    before = gateway_mb(served)
    announced = httpx.post(
        served.origin + "/v1/chat/completions",
        content=b"x" * 100_000_000,
        headers={**served.headers(), "content-type": "application/json"},
        timeout=60,
    )
    assert announced.status_code == 413

    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 1_000_000

    chunked = httpx.post(
        served.origin + "/v1/chat/completions",
        content=chunks(),
        headers={**served.headers(), "content-type": "application/json"},
        timeout=60,
    )
    assert chunked.status_code == 413
    assert "File is too large" in chunked.json()["error"]["message"]
    assert gateway_mb(served) - before < MEMORY_MB


def test_bombs_of_elements(served: Served) -> None:
    """A body within the size limit that would decode into gigabytes is refused before it is decoded."""
    before = gateway_mb(served)
    bomb = b'{"model":"fake","messages":[' + b"[]," * 5_000_000 + b"[]]}"
    headers = {**served.headers(), "content-type": "application/json"}
    for _ in range(3):
        answer = httpx.post(served.origin + "/v1/chat/completions", content=bomb, headers=headers, timeout=60)
        assert answer.status_code == 400
    assert gateway_mb(served) - before < MEMORY_MB


def test_cut_off_requests_leave_nothing_behind(served: Served) -> None:
    """Clients that vanish in the middle of a head or a body."""
    before = gateway_mb(served)
    for number in range(300):
        with connect(served) as client:
            client.sendall(head(served) + b"Content-Length: 1000000\r\n\r\n" + b"x" * (number * 300))
    assert gateway_mb(served) - before < MEMORY_MB
    assert httpx.get(served.origin + "/healthz").status_code == 200


def test_pipelined_requests_are_answered_in_order(served: Served) -> None:
    """Two requests in one packet: two answers, in order."""
    bodies = [b'{"model":"fake","messages":[{"role":"user","content":"x"}],"script":{"text":"first","delay_s":0.2}}',
              b'{"model":"fake","messages":[{"role":"user","content":"x"}],"script":{"text":"second"}}']  # fmt: skip
    with connect(served) as client:
        request = b"".join(head(served) + b"Content-Length: %d\r\n\r\n" % len(body) + body for body in bodies)
        client.sendall(request)
        data = b""
        while data.count(b"HTTP/1.1 200") < 2 or not data.endswith(b"}"):
            data += client.recv(65536)
    assert data.index(b"first") < data.index(b"second")


def test_http_1_0_and_connection_close(served: Served) -> None:
    """Old clients are answered and their connection is closed."""
    body = b'{"model":"fake","messages":[{"role":"user","content":"x"}]}'
    for version, extra in ((b"1.0", b""), (b"1.1", b"Connection: close\r\n")):
        with connect(served) as client:
            client.sendall(
                head(served).replace(b"HTTP/1.1", b"HTTP/" + version)
                + extra
                + b"Content-Length: %d\r\n\r\n" % len(body)
                + body
            )
            assert b"Hello from the fake vendor" in read_all(client)


def test_expect_continue(served: Served) -> None:
    """curl waits for 100 before it sends a large body."""
    body = b'{"model":"fake","messages":[{"role":"user","content":"' + b"x" * 2_000_000 + b'"}]}'
    with connect(served) as client:
        client.sendall(head(served) + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        assert client.recv(100).startswith(b"HTTP/1.1 100")
        client.sendall(body)
        assert client.recv(100).startswith(b"HTTP/1.1 200")


def test_slow_senders_do_not_harm_others(served: Served) -> None:
    """A hundred half-open requests: other clients' p99 stays within twice, and the slow ones are closed in the end."""
    client = httpx.Client(headers=served.headers())

    def p99() -> float:
        times = []
        for _ in range(300):
            began = time.perf_counter()
            assert (
                client.post(served.origin + "/v1/chat/completions", json={"model": "fake", "messages": HI}).status_code
                == 200
            )
            times.append(time.perf_counter() - began)
        return statistics.quantiles(times, n=100)[-1]

    p99()
    calm = p99()
    slow = [connect(served) for _ in range(100)]
    for one in slow:
        one.sendall(head(served)[:40])
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(0.2):
            for one in slow:
                with contextlib.suppress(OSError):
                    one.sendall(b"X")

    dripper = threading.Thread(target=drip)
    dripper.start()
    stormy = p99()
    # a head must be whole within 15 s, however it drips in
    slow[0].settimeout(25)
    assert read_all(slow[0]) == b""
    stop.set()
    dripper.join()
    for one in slow:
        one.close()
    client.close()
    assert stormy < max(2 * calm, calm + 0.01)


def test_bodies_without_a_key_cannot_starve_those_with_one(served: Served) -> None:
    """Strangers who send large bodies slowly fill their own small room; a large call under a key is still answered."""
    httpx.post(served.origin + "/v1/chat/completions", json={"model": "fake", "messages": HI}, headers=served.headers())
    strangers = []
    for _ in range(8):
        one = connect(served)
        one.sendall((HEAD % b"sk-nobody") + b"Content-Length: 15000000\r\n\r\n" + b"x" * 9_000_000)
        strangers.append(one)
    time.sleep(0.5)
    large = {"model": "fake", "messages": [{"role": "user", "content": "x" * 8_000_000}]}
    answers = [
        httpx.post(served.origin + "/v1/chat/completions", json=large, headers=served.headers(), timeout=30).status_code
        for _ in range(3)
    ]
    for one in strangers:
        one.close()
    assert answers == [200, 200, 200]


def test_slow_way_asks_for_the_key_before_the_body(served: Served) -> None:
    """A path that misses the fast lane refuses a stranger at the head."""
    with connect(served) as client:
        client.sendall(
            (HEAD % b"sk-nobody").replace(b"completions HTTP", b"completions?x=1 HTTP")
            + b"Content-Length: 15000000\r\n\r\n"
        )
        assert client.recv(100).startswith(b"HTTP/1.1 401")
    large = httpx.post(served.origin + "/errors", content=b"x" * 100_000)
    assert large.status_code == 413


def test_unknown_upgrade_and_methods(served: Served) -> None:
    """Upgrades and odd methods are refused, not followed."""
    with connect(served) as client:
        client.sendall(head(served) + b"Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n")
        assert read_all(client)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 413", b"HTTP/1.1 415")
    answer = httpx.request("DELETE", served.origin + "/v1/chat/completions", headers=served.headers())
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "header",
    [
        {"content-length": "-1"},
        {"transfer-encoding": "chunked", "content-length": "5"},
        {"content-length": "99999999999999999999"},
    ],
)
def test_smuggling_shapes_are_refused(served: Served, header: dict[str, str]) -> None:
    """Contradictory lengths never reach an upstream."""
    lines = b"".join(f"{name}: {value}\r\n".encode() for name, value in header.items())
    with connect(served) as client:
        client.sendall(head(served) + lines + b"\r\nhello")
        assert read_all(client)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 413")
