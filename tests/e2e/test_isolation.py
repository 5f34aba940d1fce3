"""No byte of one call reaches another, whatever clients and upstreams do meanwhile."""

import asyncio
import random
import uuid

import httpx
import pytest

from installation import Served, read_events

ROUNDS = 400
LONG_ROUNDS = 6000


async def one_call(client: httpx.AsyncClient, served: Served, kind: str) -> str:
    """A call that carries its own id, and a check that nothing else came back."""
    mark = uuid.uuid4().hex
    script: dict[str, object] = {"echo_id": mark, "chunks": random.randint(1, 30)}
    is_stream = kind != "plain"
    if kind == "cut":
        script["cut_at"] = random.randint(1, 3000)
    if kind in ("slow reader", "leaves"):
        script["gap_s"] = 0.002
    body = {"model": "fake", "messages": [{"role": "user", "content": mark}], "stream": is_stream, "script": script}
    url = f"{served.origin}/v1/chat/completions"
    if kind == "plain":
        answer = await client.post(url, json=body, headers=served.headers())
        assert answer.json()["id"] == f"chatcmpl-{mark}"
        assert set(answer.json()["choices"][0]["message"]["content"].split(mark)) == {""}
        return kind
    text = ""
    async with client.stream("POST", url, json=body, headers=served.headers()) as answer:
        if answer.status_code != 200:
            assert kind == "cut"
            return kind
        count = 0
        async for chunk in answer.aiter_text():
            text += chunk
            count += 1
            if kind == "leaves" and count > 2:
                return kind
            if kind == "slow reader":
                await asyncio.sleep(0.005)
    events = read_events(text)
    for event in events:
        if isinstance(event, dict) and "error" not in event:
            assert event["id"] == f"chatcmpl-{mark}"
            for choice in event["choices"]:
                assert (choice["delta"].get("content") or "") in ("", mark)
    if kind != "cut":
        assert events[-1] == "[DONE]"
    return kind


async def storm(served: Served, rounds: int) -> dict[str, int]:
    kinds = ("plain", "stream", "leaves", "slow reader", "cut")
    counts = dict.fromkeys(kinds, 0)
    limits = httpx.Limits(max_connections=48, max_keepalive_connections=24)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:
        gate = asyncio.Semaphore(48)

        async def guarded(kind: str) -> None:
            async with gate:
                counts[await one_call(client, served, kind)] += 1

        await asyncio.gather(*(guarded(random.choice(kinds)) for _ in range(rounds)))
    return counts


async def test_id_echo_under_load(served: Served) -> None:
    """Plain and streamed calls, early leavers, slow readers and upstream cuts, mixed: each sees its own id alone."""
    counts = await storm(served, ROUNDS)
    assert sum(counts.values()) == ROUNDS
    assert min(counts.values()) > 0


@pytest.mark.long
async def test_id_echo_for_long(served: Served) -> None:
    """The same, longer."""
    counts = await storm(served, LONG_ROUNDS)
    print(f"\nid echo: {counts}")
    assert sum(counts.values()) == LONG_ROUNDS
