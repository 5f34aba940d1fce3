"""What vendors do, and what a caller sees of it: fallback, retries, breaker, deadlines, hedging; no call is billed twice."""

import asyncio
import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from installation import ROOT, Installation, Served, Vendor, read_events

HI = [{"role": "user", "content": "hi"}]


def config(vendors: dict[str, Vendor]) -> str:
    providers = "".join(
        f'[providers.{name}]\nbase_url = "{one.base_url}"\nfirst_byte_timeout_s = 0.6\nconnect_timeout_s = 1\n'
        for name, one in vendors.items()
    )
    return f"""
[models]
embedded_names = "off"
{providers}
[models.sturdy]
targets = [{{provider = "flaky", model = "fake"}}, {{provider = "good1", model = "fake", priority = 1}},
  {{provider = "good2", model = "fake", priority = 1}}]
price = {{input = "1", output = "1"}}

[models.stubborn]
targets = [{{provider = "stubborn", model = "fake"}}, {{provider = "good1", model = "fake", priority = 1}},
  {{provider = "good2", model = "fake", priority = 1}}]
price = {{input = "1", output = "1"}}

[models.spread]
targets = [{{provider = "good1", model = "fake", weight = 3}}, {{provider = "good2", model = "fake"}}]

[models.fastest]
targets = [{{provider = "slow", model = "fake"}}, {{provider = "good2", model = "fake"}}]
strategy = "fastest"

[models.hedged]
targets = [{{provider = "slow", model = "fake"}}, {{provider = "good1", model = "fake", priority = 1}}]
hedge_after_s = 0.05

[models.alone]
targets = [{{provider = "flaky", model = "fake"}}]

[models.one-at-a-time]
targets = [{{provider = "narrow", model = "fake"}}]

[providers.narrow]
base_url = "{vendors["good1"].base_url}"
max_concurrency = 1

[models.strict]
targets = [{{provider = "strict", model = "fake"}}]

[providers.strict]
base_url = "{vendors["good1"].base_url}"

[models.searching]
targets = [{{provider = "good1", model = "fake"}}]
capabilities = ["tools"]
"""


@pytest.fixture(scope="module")
def vendors() -> Iterator[dict[str, Vendor]]:
    made = {
        "flaky": Vendor("--fail-rate", "0.3"),
        "stubborn": Vendor("--fail-rate", "0.3", "--fail-modes", "500,503,cut,timeout"),
        "good1": Vendor(),
        "good2": Vendor(),
        "slow": Vendor("--latency-s", "0.4"),
    }
    yield made
    for one in made.values():
        one.stop()


@pytest.fixture(scope="module")
def sturdy(tmp_path_factory: pytest.TempPathFactory, vendors: dict[str, Vendor]) -> Iterator[Served]:
    installation = Installation(tmp_path_factory.mktemp("sturdy"), config(vendors))
    with installation:
        yield Served(installation)


def call(served: Served, model: str, headers: dict[str, str] | None = None, **extra: Any) -> httpx.Response:
    body = {"model": model, "messages": HI, **extra}
    url = f"{served.origin}/v1/chat/completions"
    return httpx.post(url, json=body, headers={**served.headers(), **(headers or {})}, timeout=30)


def storm(served: Served, calls: int) -> list[tuple[str, int]]:
    """Mixed calls by the official openai SDK, 24 at a time, half of them each model: (request id, status), 0 for an answer
    that was not whole."""
    target = {"served": {"origin": served.origin, "key": served.key}}
    done = subprocess.run(
        [str(ROOT / ".clients/bin/python"), "storm.py", str(calls), "sturdy", "stubborn"],
        env={**os.environ, "STEELYARD_JUDGED": json.dumps(target)},
        capture_output=True,
        text=True,
        cwd=ROOT / "tests/clients/judges",
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [(request_id, status) for request_id, status in json.loads(done.stdout)]


def admin_get(served: Served, path: str) -> httpx.Response:
    return httpx.get(served.origin + path, headers=served.headers(served.admin_key), timeout=30)


async def check_storm(served: Served, vendors: dict[str, Vendor], calls: int) -> str:
    for name in ("flaky", "stubborn"):
        vendors[name].set_fail_rate(0.3)
    before = {name: one.totals() for name, one in vendors.items()}
    results = await asyncio.to_thread(storm, served, calls)
    succeeded = [request_id for request_id, status in results if status == 200]
    totals = {name: one.totals() for name, one in vendors.items()}
    told = []
    for name in ("flaky", "stubborn"):
        failed, asked = (totals[name][what] - before[name][what] for what in ("failed", "calls"))
        assert failed > asked * 0.15
        told.append(f"{name} failed {failed} of {asked}")
    metrics = admin_get(served, "/metrics").text
    opened = [line for line in metrics.splitlines() if line.startswith("llm_breaker_changes_total")]
    print(f"\n{calls} calls, {len(succeeded)} succeeded; {', '.join(told)}", *opened, sep="\n")
    assert len(succeeded) >= calls * 0.999
    # what the vendors finished, and for whom, is what the ledger says: nothing is billed twice, nothing is missing
    finished = {
        request_id: (name, tokens)
        for name, one in totals.items()
        for request_id, tokens in one["finished"].items()
        if request_id not in before[name]["finished"]
    }
    assert set(finished) == set(succeeded)
    await asyncio.sleep(1.2)
    for request_id in succeeded[:: max(len(succeeded) // 50, 1)]:
        receipt = admin_get(served, f"/control/v1/requests/{request_id}/receipt").json()
        name, tokens = finished[request_id]
        assert receipt["attempts"][-1]["target"] == f"{name}/fake"
        assert [receipt["usage"]["prompt_tokens"], receipt["usage"]["completion_tokens"]] == tokens
        assert receipt["settlement"]["cost_micros"] == -(-sum(tokens) * 1_000_000 // 1_000_000)
    rows = admin_get(served, "/control/v1/usage?group_by=target,model").json()["data"]
    billed = sum(row["total_tokens"] for row in rows if row["model"] in ("sturdy", "stubborn"))
    all_finished = sum(sum(tokens) for one in totals.values() for tokens in one["finished"].values())
    others = sum(row["total_tokens"] for row in rows if row["model"] not in ("sturdy", "stubborn"))
    assert billed + others == all_finished
    return metrics


async def test_calls_survive_a_failing_vendor(sturdy: Served, vendors: dict[str, Vendor]) -> None:
    """30 % of the first vendor's calls fail in every way; callers do not notice, and nobody pays twice."""
    await check_storm(sturdy, vendors, 600)


@pytest.mark.long
async def test_five_thousand_calls_survive(sturdy: Served, vendors: dict[str, Vendor]) -> None:
    """The same over 5,000 calls; meanwhile the breaker of a vendor that gives no Retry-After opens and closes."""
    metrics = await check_storm(sturdy, vendors, 5000)

    def changes(text: str, state: str) -> int:
        name = f'llm_breaker_changes_total{{backend="stubborn/fake",state="{state}"}} '
        return sum(int(line.removeprefix(name)) for line in text.splitlines() if line.startswith(name))

    assert changes(metrics, "open") >= 1
    # the storm may end while it is open: once the vendor is well, the next calls close it
    vendors["stubborn"].set_fail_rate(0.0)
    give_up_at = time.monotonic() + 60
    while changes(admin_get(sturdy, "/metrics").text, "closed") < 1:
        assert time.monotonic() < give_up_at
        call(sturdy, "stubborn")
        time.sleep(0.2)


def test_breaker_opens_and_closes(sturdy: Served, vendors: dict[str, Vendor]) -> None:
    """Five failures in a row open it: the vendor is left alone, callers are told when to come back; one success closes it."""
    vendors["flaky"].set_fail_rate(0.0)
    give_up_at = time.monotonic() + 60
    while call(sturdy, "alone").status_code != 200:
        assert time.monotonic() < give_up_at
        time.sleep(0.5)
    script = {"script": {"status": 503}}
    statuses = [call(sturdy, "alone", **script).status_code for _ in range(2)]
    assert statuses == [503, 503]
    asked = vendors["flaky"].totals()["calls"]
    refused = call(sturdy, "alone")
    assert refused.status_code == 503
    assert vendors["flaky"].totals()["calls"] == asked
    assert 1 <= int(refused.headers["retry-after"]) <= 5
    assert "flaky failed lately" in refused.json()["error"]["message"]
    assert 'llm_breaker_open{backend="flaky/fake"} 1' in admin_get(sturdy, "/metrics").text
    time.sleep(5.1)
    assert call(sturdy, "alone").status_code == 200
    assert 'llm_breaker_open{backend="flaky/fake"} 0' in admin_get(sturdy, "/metrics").text


def test_same_target_is_asked_again_after_a_pause(sturdy: Served, vendors: dict[str, Vendor]) -> None:
    """One target: a failure is repeated with backoff, Retry-After is honoured, and the receipt names every attempt."""
    sequence = [{"status": 429, "headers": {"retry-after": "1"}}, {"status": 500}, {"text": "third time lucky"}]
    began = time.monotonic()
    answer = call(sturdy, "searching", script={"sequence": sequence, "sequence_id": "alone"})
    assert (answer.status_code, answer.headers["x-steelyard-attempts"]) == (200, "3")
    assert 1.0 <= time.monotonic() - began < 4
    time.sleep(1.2)
    receipt = admin_get(sturdy, f"/control/v1/requests/{answer.headers['x-request-id']}/receipt").json()
    assert [(one["status"], one["error"]) for one in receipt["attempts"]] == [
        (429, "limit_requests"),
        (500, "inference_error"),
        (200, None),
    ]
    assert receipt["usage"]["completion_tokens"] == 3


def test_mistakes_of_the_caller_are_not_repeated(sturdy: Served, vendors: dict[str, Vendor]) -> None:
    """A 400 of the vendor is told on at once; so is a Retry-After that is too long to wait for."""
    before = vendors["good1"].totals()["calls"]
    assert call(sturdy, "strict", script={"status": 400}).status_code == 400
    answer = call(sturdy, "strict", script={"status": 429, "headers": {"retry-after": "100"}})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "100")
    assert vendors["good1"].totals()["calls"] == before + 2


def test_nothing_is_tried_again_after_the_first_byte(sturdy: Served, vendors: dict[str, Vendor]) -> None:
    """A stream that is cut ends with the error event, once, and its receipt says broken."""
    before = vendors["good1"].totals()["calls"]
    answer = call(sturdy, "searching", stream=True, script={"chunks": 9, "cut_at": 1200})
    assert answer.status_code == 200
    last = read_events(answer.text)[-1]
    assert isinstance(last, dict)
    assert last["error"]["code"] == "internal_error"
    assert vendors["good1"].totals()["calls"] == before + 1
    time.sleep(1.2)
    receipt = admin_get(sturdy, f"/control/v1/requests/{answer.headers['x-request-id']}/receipt").json()
    assert (receipt["outcome"], receipt["usage"]["estimated"]) == ("broken", True)


def test_deadline_of_the_caller_holds(sturdy: Served) -> None:
    """X-Steelyard-Timeout bounds all attempts together; a senseless one is refused by name."""
    began = time.monotonic()
    answer = call(sturdy, "spread", {"X-Steelyard-Timeout": "0.5"}, script={"delay_s": 5})
    assert answer.status_code == 504
    assert time.monotonic() - began < 2.5
    assert "X-Steelyard-Timeout" in call(sturdy, "spread", {"X-Steelyard-Timeout": "soon"}).json()["error"]["message"]


def test_weights_and_speed(sturdy: Served) -> None:
    """Weights share the calls; `fastest` finds the quicker target."""

    def count(model: str, calls: int) -> dict[str, int]:
        seen: dict[str, int] = {}
        for _ in range(calls):
            target = call(sturdy, model).headers["x-steelyard-target"]
            seen[target] = seen.get(target, 0) + 1
        return seen

    shared = count("spread", 80)
    assert 40 <= shared["good1/fake"] <= 76
    assert shared["good2/fake"] >= 4
    count("fastest", 6)
    assert count("fastest", 12).get("good2/fake", 0) >= 11


@pytest.mark.parametrize("stream", [False, True])
def test_hedging_takes_the_first_answer(sturdy: Served, vendors: dict[str, Vendor], stream: bool) -> None:
    """The slow target is asked first, the quick one 50 ms later; one answer, one bill, and the loser is hung up on."""
    began = time.monotonic()
    answer = call(sturdy, "hedged", stream=stream)
    assert time.monotonic() - began < 0.35
    assert (answer.status_code, answer.headers["x-steelyard-target"]) == (200, "good1/fake")
    assert answer.headers["x-steelyard-attempts"] == "2"
    time.sleep(1.2)
    receipt = admin_get(sturdy, f"/control/v1/requests/{answer.headers['x-request-id']}/receipt").json()
    assert receipt["usage"]["total_tokens"] == 15
    assert vendors["slow"].seen()["calls"][-1]["end"] == "client left"


async def test_concurrency_cap_of_a_target(sturdy: Served) -> None:
    """The second call at once is told that the target is full, and to come back."""
    url = f"{sturdy.origin}/v1/chat/completions"
    body = {"model": "one-at-a-time", "messages": HI, "script": {"delay_s": 0.5}}
    async with httpx.AsyncClient(headers=sturdy.headers(), timeout=10) as client:
        first = asyncio.create_task(client.post(url, json=body))
        await asyncio.sleep(0.2)
        second = await client.post(url, json=body)
        assert (second.status_code, "retry-after" in second.headers) == (503, True)
        assert (await first).status_code == 200
        assert (await client.post(url, json={**body, "script": {}})).status_code == 200


def test_fields_that_no_target_honours_are_refused(sturdy: Served) -> None:
    """Refused by name, not dropped."""
    answer = call(sturdy, "searching", enable_search=True)
    assert (answer.status_code, answer.json()["error"]["message"]) == (
        400,
        "This model does not support enable_search.",
    )


async def test_stale_connections_cost_no_attempt(tmp_path: Any) -> None:
    """A vendor that closes kept connections just as they are used again: no caller notices, no attempt is counted."""
    answered = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))[15:])
            await reader.readexactly(length)
            text = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"x"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}'
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(text), text)
            )
            answered += 1
            # the next request on this connection is read, and nothing comes back
            await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    text = f'[providers.p]\nbase_url = "http://127.0.0.1:{port}/v1"\n[models.m]\ntargets = [{{provider = "p"}}]\nmax_attempts = 1\n'
    installation = Installation(tmp_path, text)
    async with server:
        await asyncio.to_thread(installation.start)
        try:
            served = await asyncio.to_thread(Served, installation)
            for _ in range(8):
                answer = await asyncio.to_thread(call, served, "m")
                assert (answer.status_code, answer.headers["x-steelyard-attempts"]) == (200, "1")
            assert answered == 8
        finally:
            await asyncio.to_thread(installation.stop)
