"""The ledger against the vendor's own count: equal to the token for every answer that was finished, and fair for the rest."""

import asyncio
import contextlib
import json
import random
import sqlite3
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from installation import Installation, Served, Vendor, read_events

HI = [{"role": "user", "content": "hi"}]
CLIENTS = 24


def config(sound: Vendor, flaky: Vendor) -> str:
    return f"""
[models]
embedded_names = "off"
[providers.flaky]
base_url = "{flaky.base_url}"
first_byte_timeout_s = 0.5
[providers.sound]
base_url = "{sound.base_url}"
[models.mixed]
targets = [{{provider = "flaky", model = "fake"}}, {{provider = "sound", model = "fake", priority = 1}}]
price = {{input = "2", output = "8", cached = "0.4"}}
[models.direct]
targets = [{{provider = "sound", model = "fake"}}]
"""


class Mix:
    """Calls of every kind, and what each client saw."""

    def __init__(self, served: Served, calls: int) -> None:
        self.served = served
        self.numbers = iter(range(calls))
        self.whole: set[str] = set()
        #: request id -> pieces that the client had read when it left
        self.left: dict[str, int] = {}
        self.refused: set[str] = set()
        self.random = random.Random(8090)

    async def run(self) -> None:
        await asyncio.gather(*(self._client() for _ in range(CLIENTS)))

    async def _client(self) -> None:
        async with httpx.AsyncClient(timeout=30, headers=self.served.headers()) as http:
            for number in self.numbers:
                kind = self.random.choices(
                    ("plain", "stream", "completions", "leaver", "refused"), (40, 35, 10, 10, 5)
                )[0]
                await getattr(self, f"_{kind}")(http, number)

    async def _post(self, http: httpx.AsyncClient, path: str, **body: Any) -> httpx.Response:
        return await http.post(f"{self.served.origin}/v1/{path}", json=body)

    async def _plain(self, http: httpx.AsyncClient, number: int) -> None:
        answer = await self._post(http, "chat/completions", model="mixed", messages=HI, max_tokens=number % 50 + 1)
        self._note(answer, answer.status_code == 200)

    async def _completions(self, http: httpx.AsyncClient, number: int) -> None:
        answer = await self._post(http, "completions", model="mixed", prompt="hi")
        self._note(answer, answer.status_code == 200)

    async def _stream(self, http: httpx.AsyncClient, number: int) -> None:
        options = {"include_usage": True} if number % 2 else None
        answer = await self._post(
            http, "chat/completions", model="mixed", messages=HI, stream=True, stream_options=options
        )
        self._note(answer, answer.text.endswith("data: [DONE]\n\n"))

    async def _refused(self, http: httpx.AsyncClient, number: int) -> None:
        script = {"script": {"status": 400}}
        answer = await self._post(http, "chat/completions", model="direct", messages=HI, **script)
        assert answer.status_code == 400
        self.refused.add(answer.headers["x-request-id"])

    async def _leaver(self, http: httpx.AsyncClient, number: int) -> None:
        """Reads a few pieces of a long answer and goes."""
        body = {"model": "direct", "messages": HI, "stream": True, "script": {"chunks": 400, "gap_s": 0.01}}
        wanted = number % 7 + 1
        async with http.stream("POST", f"{self.served.origin}/v1/chat/completions", json=body) as answer:
            pieces, text = 0, ""
            async for part in answer.aiter_text():
                text += part
                pieces = text.count("piece")
                if pieces >= wanted:
                    break
        self.left[answer.headers["x-request-id"]] = pieces

    def _note(self, answer: httpx.Response, is_whole: bool) -> None:
        (self.whole if is_whole else self.refused).add(answer.headers["x-request-id"])


def rows_of(installation: Installation) -> dict[str, sqlite3.Row]:
    with contextlib.closing(sqlite3.connect(installation.data_dir / "steelyard.db")) as database:
        database.row_factory = sqlite3.Row
        return {row["request_id"]: row for row in database.execute("select * from receipt")}


async def check(tmp_path: Path, calls: int) -> None:
    sound, flaky = Vendor(), Vendor("--fail-rate", "0.2")
    installation = Installation(tmp_path, config(sound, flaky), workers=2)
    try:
        await asyncio.to_thread(installation.start)
        served = await asyncio.to_thread(Served, installation)
        mix = Mix(served, calls)
        began = time.monotonic()
        await mix.run()
        await asyncio.sleep(2.0)
        rows = rows_of(installation)
        finished = {**flaky.totals()["finished"], **sound.totals()["finished"]}
        print(f"\n{calls} calls in {time.monotonic() - began:.0f} s: {len(mix.whole)} whole, {len(mix.left)} left early, "
              f"{len(mix.refused)} refused; the flaky vendor failed {flaky.totals()['failed']}")  # fmt: skip
        for request_id in mix.whole:
            row = rows[request_id]
            assert [row["prompt_tokens"], row["completion_tokens"]] == finished[request_id]
            assert row["is_estimated"] == 0
            assert row["outcome"] == "completed"
            if row["failed_attempts"]:
                assert len(json.loads(row["failed_attempts"])) == row["attempts"] - 1
        billed = sum(rows[one]["prompt_tokens"] + rows[one]["completion_tokens"] for one in mix.whole)
        assert billed == sum(sum(finished[one]) for one in mix.whole)
        # a client that left is settled for what was delivered: at least what it had read, at most a buffer more
        for request_id, pieces in mix.left.items():
            row = rows[request_id]
            assert (row["outcome"], row["is_estimated"]) == ("abandoned", 1)
            assert pieces <= row["completion_tokens"] <= pieces + 60, (pieces, row["completion_tokens"])
        for request_id in mix.refused & set(rows):
            assert rows[request_id]["completion_tokens"] == rows[request_id]["cost_micros"] == 0
        done = await asyncio.to_thread(installation.cli, "usage", "verify")
        assert done.returncode == 0
    finally:
        await asyncio.to_thread(installation.stop)
        sound.stop()
        flaky.stop()


async def test_ledger_equals_the_vendors_count(tmp_path: Path) -> None:
    """A thousand mixed calls."""
    await check(tmp_path, 1000)


@pytest.mark.long
async def test_ledger_equals_the_vendors_count_over_twenty_thousand(tmp_path: Path) -> None:
    """Twenty thousand."""
    await check(tmp_path, 20_000)


def test_events_are_read_as_sent() -> None:
    """The reader of these tests does not invent events."""
    assert read_events("data: {}\n\ndata: [DONE]\n\n") == [{}, "[DONE]"]
