"""Rates, concurrency and budgets, on every operation and over several processes: never more than allowed, nearly all of it usable."""

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from installation import Installation, Served, Vendor, read_events, vendor_config

HI = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory, vendor: Vendor) -> Iterator[Served]:
    """Four gateways in front of the fake vendor."""
    extra = f"""
[quota]
free_tokens = 0

[models."unpriced"]
targets = [{{provider = "fake", model = "fake"}}]

[providers.stubborn]
base_url = "{vendor.base_url}"
obeys_cap = false
breaker = false

[models."stubborn"]
targets = [{{provider = "stubborn", model = "fake"}}]
max_attempts = 1
"""
    installation = Installation(tmp_path_factory.mktemp("limited"), vendor_config(vendor, extra), workers=4)
    with installation:
        yield Served(installation)


def new_key(served: Served, *flags: str) -> dict[str, Any]:
    return served.installation.create_key(*flags, name=f"limited-{random.randrange(10**9)}")


def call(served: Served, key: str, model: str = "fake", path: str = "chat/completions", **extra: Any) -> httpx.Response:
    asked = {"prompt": "hi"} if path == "completions" else {"messages": HI}
    body = {"model": model, **asked, **extra}
    return httpx.post(f"{served.origin}/v1/{path}", json=body, headers={"Authorization": f"Bearer {key}"}, timeout=30)


def budget_of(served: Served, key_id: str) -> dict[str, Any]:
    url = f"{served.origin}/control/v1/keys/{key_id}"
    return httpx.get(url, headers=served.headers(served.admin_key), timeout=30).json()["budget"]


async def wait_settled(served: Served, key_id: str) -> dict[str, Any]:
    """The budget once nothing is on lease any more."""
    give_up_at = time.monotonic() + 15
    while True:
        budget = await asyncio.to_thread(budget_of, served, key_id)
        if budget["on_lease"] == 0 or time.monotonic() > give_up_at:
            return budget
        await asyncio.sleep(0.2)


async def spend(served: Served, key: str, clients: int, *, until_s: float = 60.0) -> dict[str, int]:
    """Clients that call until they are told that the budget is spent for good."""
    counts = {"answered": 0, "refused": 0, "failed": 0, "tokens": 0}
    give_up_at = time.monotonic() + until_s

    async def client(number: int) -> None:
        path = "completions" if number % 4 == 0 else "chat/completions"
        asked = {"prompt": "hi"} if path == "completions" else {"messages": HI}
        body = {"model": "fake", **asked, "stream": number % 2 == 0, "max_tokens": 100, "script": {"chunks": 40}}
        body["stream_options"] = {"include_usage": True} if body["stream"] else None
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(timeout=30, headers=headers) as http:
            while time.monotonic() < give_up_at:
                try:
                    answer = await http.post(f"{served.origin}/v1/{path}", json=body)
                except httpx.HTTPError:
                    counts["failed"] += 1
                    await asyncio.sleep(0.1)
                    continue
                if answer.status_code == 200:
                    counts["answered"] += 1
                    usage = read_events(answer.text)[-2]["usage"] if body["stream"] else answer.json()["usage"]
                    counts["tokens"] += usage["total_tokens"]
                elif answer.status_code == 429:
                    counts["refused"] += 1
                    if answer.headers.get("x-should-retry") == "false":
                        return
                    await asyncio.sleep(0.3)
                else:
                    counts["failed"] += 1
                    await asyncio.sleep(0.1)

    await asyncio.gather(*(client(number) for number in range(clients)))
    return counts


async def test_budget_is_never_overspent_and_nearly_all_of_it_usable(limited: Served) -> None:
    """200 clients, four gateways, plain and streamed, chat and completions, on one budget."""
    total = 60_000
    key = await asyncio.to_thread(new_key, limited, "--budget-tokens", str(total))
    counts = await spend(limited, key["key"], 200)
    budget = await wait_settled(limited, key["id"])
    print(f"\n{counts}, budget {budget}")
    assert counts["failed"] == 0
    assert budget["spent"] == counts["tokens"]
    assert total * 0.95 <= budget["spent"] <= total
    assert (await asyncio.to_thread(limited.installation.cli, "usage", "verify")).stdout.strip() == "The books agree."


async def test_holds_come_back_when_their_owners_are_killed(limited: Served) -> None:
    """The same with gateways and the face killed at random: never overspent, and what the dead held is usable again."""
    total = 40_000
    key = await asyncio.to_thread(new_key, limited, "--budget-tokens", str(total))
    spending = asyncio.create_task(spend(limited, key["key"], 60))
    for role in ("gateway", "face", "gateway", "gateway"):
        await asyncio.sleep(0.7)
        pids = [pid for pid, one in limited.installation.children().items() if one == role]
        with contextlib.suppress(ProcessLookupError, IndexError):
            os.kill(random.choice(pids), signal.SIGKILL)
    counts = await spending
    budget = await wait_settled(limited, key["id"])
    print(f"\n{counts}, budget {budget}")
    # calls that were answered in full are all in the books; those that a kill cut off may be too
    assert counts["tokens"] <= budget["spent"] <= total
    assert budget["spent"] >= total * 0.95
    assert budget["on_lease"] == 0
    assert (await asyncio.to_thread(limited.installation.cli, "usage", "verify")).returncode == 0


@pytest.mark.parametrize("path", ["chat/completions", "completions"])
def test_cap_is_lowered_only_near_the_end(limited: Served, vendor: Vendor, path: str) -> None:
    """A cautious max_tokens does not freeze a nearly idle key: it is lowered to what is left, and shows as `length`."""
    key = new_key(limited, "--budget-tokens", "1000")
    answer = call(limited, key["key"], path=path, max_tokens=30_000, script={"chunks": 50})
    assert answer.status_code == 200
    sent = vendor.seen()["calls"][-1]["body"]["max_tokens"]
    assert 500 < sent < 1000
    assert answer.json()["usage"]["completion_tokens"] == 50
    plenty = new_key(limited, "--budget-tokens", "1000000")
    call(limited, plenty["key"], path=path, max_tokens=3000)
    assert vendor.seen()["calls"][-1]["body"]["max_tokens"] == 3000


def test_spent_budget_is_told(limited: Served) -> None:
    """Which limit, its value, what is left, when it resets, who can raise it; nobody retries in vain. Raising it helps at once."""
    key = new_key(limited, "--budget-tokens", "500", "--per", "day")
    while (answer := call(limited, key["key"], script={"chunks": 60})).status_code == 200:
        pass
    # the first refusal may come while another process still has some on lease
    give_up_at = time.monotonic() + 10
    while answer.headers.get("x-should-retry") != "false":
        assert time.monotonic() < give_up_at
        assert int(answer.headers["retry-after"]) >= 1
        time.sleep(0.3)
        answer = call(limited, key["key"], script={"chunks": 60})
    assert answer.status_code == 429
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("insufficient_quota", "insufficient_quota")
    for part in ("Budget of this key: 500 tokens per day", "resets at", f"steelyard keys limit {key['id']}"):
        assert part in error["message"]
    assert answer.headers["x-ratelimit-limit-tokens"] == "500"
    limited.installation.cli("keys", "limit", key["id"], "--budget-tokens", "5000", "--per", "day")
    give_up_at = time.monotonic() + 2.5
    while call(limited, key["key"]).status_code != 200:
        assert time.monotonic() < give_up_at
        time.sleep(0.1)


def test_money_budget(limited: Served) -> None:
    """Held and settled in micro-units; a model without a price is refused unless the workspace counts tokens only."""
    key = new_key(limited, "--budget-money", "0.01", "--currency", "CNY")
    limited.installation.cli("workspaces", "create", "frugal")
    limited.installation.cli("activate", "--workspace", "frugal")
    cost = 0
    for _ in range(60):
        answer = call(limited, key["key"], model="priced", max_tokens=100, script={"chunks": 100})
        if answer.status_code != 200:
            break
        usage = answer.json()["usage"]
        cost += usage["prompt_tokens"] * 2 + usage["completion_tokens"] * 8
    assert answer.status_code == 429
    assert 8000 <= cost <= 10_000
    assert "Budget of this key: 0.01 CNY per total" in answer.json()["error"]["message"]
    time.sleep(2.5)
    assert budget_of(limited, key["id"])["spent"] == cost
    refused = call(limited, key["key"], model="unpriced")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "price_unknown")
    relaxed = new_key(limited, "--budget-money", "0.01", "--workspace", "frugal")
    assert call(limited, relaxed["key"], model="unpriced").status_code == 403
    limited.installation.cli("workspaces", "limit", "frugal", "--unknown-price", "count")
    time.sleep(1.2)
    assert call(limited, relaxed["key"], model="unpriced").status_code == 200


def test_budget_survives_rotation(limited: Served) -> None:
    """The successor of a key draws on the same budget."""
    key = new_key(limited, "--budget-tokens", "1000")
    for _ in range(3):
        assert call(limited, key["key"], max_tokens=100, script={"chunks": 90}).status_code == 200
    rotated = limited.installation.cli("keys", "rotate", key["id"], "--json")
    successor = __import__("json").loads(rotated.stdout)
    time.sleep(2.5)
    assert budget_of(limited, successor["id"])["spent"] == 300


def test_workspace_budget_binds_all_keys(limited: Served) -> None:
    """Two keys of one workspace share what it may take."""
    limited.installation.cli("workspaces", "create", "shared")
    limited.installation.cli("activate", "--workspace", "shared")
    limited.installation.cli("workspaces", "limit", "shared", "--budget-tokens", "800")
    keys = [new_key(limited, "--workspace", "shared")["key"] for _ in range(2)]
    time.sleep(1.0)
    tokens = 0
    for number in range(40):
        answer = call(limited, keys[number % 2], max_tokens=50, script={"chunks": 50})
        if answer.status_code == 200:
            tokens += answer.json()["usage"]["total_tokens"]
    assert 500 <= tokens <= 800
    assert "Budget of this workspace: 800 tokens" in answer.json()["error"]["message"]


async def test_requests_a_minute(limited: Served) -> None:
    """Over all four gateways together; the refusal names everything and its Retry-After is true."""
    key = await asyncio.to_thread(new_key, limited, "--rpm", "30")
    url = f"{limited.origin}/v1/chat/completions"
    answers = []
    headers = {"Authorization": f"Bearer {key['key']}"}
    began = time.monotonic()
    for _ in range(60):
        # a new connection each, so that every gateway takes part
        async with httpx.AsyncClient(timeout=30, headers=headers) as http:
            answers.append(await http.post(url, json={"model": "fake", "messages": HI}))
    answered = sum(one.status_code == 200 for one in answers)
    assert 30 <= answered <= 31 + (time.monotonic() - began) / 2
    refused = next(one for one in answers if one.status_code == 429)
    error = refused.json()["error"]
    assert (error["type"], error["code"]) == ("limit_requests", "limit_requests")
    for part in (
        "Limit of this key: 30 requests a minute",
        "room again in",
        f"steelyard keys limit {key['id']} --rpm N",
    ):
        assert part in error["message"]
    assert refused.headers["x-ratelimit-limit-requests"] == "30"
    wait_s = int(refused.headers["retry-after"])
    assert 1 <= wait_s <= 3
    await asyncio.sleep(wait_s + 1.6)
    assert (await asyncio.to_thread(call, limited, key["key"])).status_code == 200


def test_tokens_a_minute(limited: Served) -> None:
    """What a call really took counts, also where it was more than guessed."""
    key = new_key(limited, "--tpm", "1000")
    assert call(limited, key["key"], script={"chunks": 1500}).status_code == 200
    # the gateway that overdrew tells of it at once, so the others do not give it out again
    time.sleep(0.3)
    refused = [call(limited, key["key"]) for _ in range(8)]
    assert sum(one.status_code == 429 for one in refused) >= 7
    told = next(one for one in refused if one.status_code == 429)
    assert told.json()["error"]["code"] == "insufficient_quota"
    assert "Limit of this key: 1,000 tokens a minute" in told.json()["error"]["message"]
    assert told.headers["x-ratelimit-limit-tokens"] == "1000"


@pytest.mark.parametrize("stream", [False, True])
def test_answers_tell_what_is_left(limited: Served, stream: bool) -> None:
    """`x-ratelimit-…` on every answer of a key with a rate, and on no other."""
    key = new_key(limited, "--rpm", "600", "--tpm", "60000")
    headers = call(limited, key["key"], stream=stream).headers
    told = {name: value for name, value in headers.items() if name.startswith("x-ratelimit-")}
    assert (told["x-ratelimit-limit-requests"], told["x-ratelimit-limit-tokens"]) == ("600", "60000")
    assert 590 <= int(told["x-ratelimit-remaining-requests"]) <= 599
    assert 59_000 <= int(told["x-ratelimit-remaining-tokens"]) < 60_000
    assert told["x-ratelimit-reset-requests"].endswith("s")
    assert not any(name.startswith("x-ratelimit-") for name in call(limited, limited.key).headers)


async def test_calls_at_once(limited: Served) -> None:
    """A place is given back when a call ends, whichever way it ends."""
    key = await asyncio.to_thread(new_key, limited, "--concurrency", "3")
    url = f"{limited.origin}/v1/chat/completions"
    headers = {"Authorization": f"Bearer {key['key']}"}

    async def one(**extra: Any) -> httpx.Response:
        async with httpx.AsyncClient(timeout=30, headers=headers) as http:
            return await http.post(url, json={"model": "fake", "messages": HI, **extra})

    for script in ({"delay_s": 2.5}, {"delay_s": 2.5, "status": 500}):
        running = [asyncio.create_task(one(script=script)) for _ in range(3)]
        await asyncio.sleep(0.5)
        refused = await one()
        assert refused.status_code == 429
        assert "3 calls at once" in refused.json()["error"]["message"]
        await asyncio.gather(*running)
        assert (await one()).status_code == 200
    leavers = [asyncio.create_task(one(stream=True, script={"chunks": 50, "gap_s": 0.1})) for _ in range(3)]
    await asyncio.sleep(0.5)
    for leaver in leavers:
        leaver.cancel()
    await asyncio.sleep(0.5)
    assert (await one()).status_code == 200


async def test_uncappable_target_runs_alone_near_the_limit(limited: Served) -> None:
    """A target that ignores max_tokens gets the rest of a budget one call at a time."""
    key = await asyncio.to_thread(new_key, limited, "--budget-tokens", "2000")
    answers = await asyncio.gather(
        *(
            asyncio.to_thread(call, limited, key["key"], "stubborn", script={"chunks": 30, "delay_s": 0.5})
            for _ in range(6)
        )
    )
    statuses = [one.status_code for one in answers]
    assert statuses.count(200) >= 1
    assert statuses.count(429) >= 1
    assert (await wait_settled(limited, key["id"]))["spent"] == 40 * statuses.count(200)


def test_limits_are_checked(limited: Served) -> None:
    """Values out of range are refused by name."""
    for flags, part in (
        (["--rpm", "0"], "rpm must be 1 or more"),
        (["--budget-money", "x"], "no amount of money"),
        (["--budget-tokens", "1", "--budget-money", "1"], "not in both"),
    ):
        done = limited.installation.cli("keys", "create", "--name", "x", *flags, check=False)
        assert (done.returncode, part in done.stderr) == (1, True)
    url = f"{limited.origin}/control/v1/keys"
    body = {"name": "x", "limits": {"budget": {"amount": 5, "per": "year"}}}
    answer = httpx.post(url, json=body, headers=limited.headers(limited.admin_key))
    assert (answer.status_code, "per must be one of day, month, total" in answer.text) == (400, True)


def test_metrics_count_refusals(limited: Served) -> None:
    """By limit, with no key in any label."""
    text = httpx.get(f"{limited.origin}/metrics", headers=limited.headers(limited.admin_key)).text
    for name in ("rpm", "tpm", "concurrency", "budget"):
        assert f'limit="{name}"' in text
    # key ids are names that people see, keys are not
    assert "sk-" not in text
