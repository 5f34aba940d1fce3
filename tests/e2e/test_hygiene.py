"""Alerts on keys, free tokens whose end is the end, and usage as CSV."""

import csv
import io
import json
import sqlite3
import time
from typing import Any

import httpx

from installation import Installation, Served, Vendor, vendor_config
from steelyard.canon.receipt import Receipt
from steelyard.control.hygiene import Hygiene
from steelyard.store import ledger
from steelyard.store.database import open_database

HI = [{"role": "user", "content": "hi"}]


def call(served: Served, key: str, address: str = "", model: str = "fake", **extra: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"} | ({"X-Forwarded-For": address} if address else {})
    body = {"model": model, "messages": HI, **extra}
    return httpx.post(f"{served.origin}/v1/chat/completions", json=body, headers=headers, timeout=10)


def alerts(installation: Installation) -> list[dict[str, Any]]:
    return json.loads(installation.cli("keys", "alerts", "--json").stdout)


def wait_alerts(installation: Installation, count: int) -> list[dict[str, Any]]:
    give_up_at = time.monotonic() + 5
    while len(found := alerts(installation)) < count:
        assert time.monotonic() < give_up_at, found
    return found


def test_new_network(make_installation: Any, vendor: Vendor) -> None:
    """The first network is no news, a second one is, its neighbours are not; a workspace may have the key switched off."""
    installation = make_installation('[server]\ntrusted_proxies = ["127.0.0.1/32"]\n' + vendor_config(vendor))
    installation.start()
    served = Served(installation)
    key = installation.create_key(name="traveller")
    for address in ("203.0.113.7", "203.0.113.99", "203.0.113.7"):
        assert call(served, key["key"], address).status_code == 200
    time.sleep(0.5)
    assert alerts(installation) == []
    assert call(served, key["key"], "198.51.100.1").status_code == 200
    (found,) = wait_alerts(installation, 1)
    assert (found["action"], found["subject"]) == ("alert.new_network", key["id"])
    assert "198.51.100.0/24" in found["detail"]
    assert key["key"] not in json.dumps(found)
    assert "alert.new_network" in installation.log_text()
    # the gateway starts anew and tells again; the face knows
    installation.stop()
    installation.start()
    for address in ("203.0.113.7", "198.51.100.1"):
        assert call(served, key["key"], address).status_code == 200
    time.sleep(0.5)
    assert len(alerts(installation)) == 1
    installation.cli("workspaces", "limit", "default", "--hygiene", "disable")
    assert call(served, key["key"], "192.0.2.1").status_code == 200
    wait_alerts(installation, 2)
    give_up_at = time.monotonic() + 3
    while call(served, key["key"], "203.0.113.7").status_code != 401:
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
    assert json.loads(installation.cli("keys", "show", key["id"], "--json").stdout)["disabled"] is True


async def test_spend_jump(make_installation: Any, vendor: Vendor) -> None:
    """The last hour against the day before it; told once, and nothing of a key that spends as ever."""
    installation = make_installation(vendor_config(vendor))
    jumping, steady = (installation.create_key(name=name)["id"] for name in ("jumping", "steady"))
    now_us = time.time_ns() // 1000
    hour_us = 3_600_000_000

    def receipt(number: int, key_id: str, hours_ago: float, tokens: int) -> Receipt:
        return Receipt(
            request_id=f"r{number}", workspace="default", key_id=key_id, operation="chat", model="m", target="p/m",
            is_stream=False, status=200, started_us=int(now_us - hours_ago * hour_us), duration_us=1, hold_tokens=1, hold_micros=0,
            prompt_tokens=tokens, price_version="v", currency="CNY", cost_micros=0,
        )  # fmt: skip

    receipts = [receipt(number, jumping, number + 1.5, 1000) for number in range(20)]
    receipts += [receipt(100 + number, steady, number + 1.5, 90_000) for number in range(20)]
    receipts += [receipt(200, jumping, 0.5, 100_000), receipt(201, steady, 0.5, 100_000)]
    database = open_database("sqlite:///steelyard.db", installation.data_dir)
    async with database:
        async with database.write() as connection:
            await ledger.insert_receipts(connection, receipts, now_us)
        hygiene = Hygiene(database, min_tokens=50_000)
        await hygiene.look_at_spending()
        await hygiene.look_at_spending()
    (found,) = alerts(installation)
    assert (found["action"], found["subject"]) == ("alert.spend_jump", jumping)
    assert "100,000 tokens in the last hour" in found["detail"]


def test_free_tokens_may_be_the_end(make_installation: Any, vendor: Vendor) -> None:
    """With stop_when_exhausted priced calls end with them, never beyond; what is free goes on."""
    quota = "[quota]\nfree_tokens = 1000\nstop_when_exhausted = true\n"
    installation = make_installation(quota + vendor_config(vendor))
    installation.start()
    served = Served(installation)
    tokens = 0
    give_up_at = time.monotonic() + 20
    while True:
        answer = call(served, served.key, model="priced", max_tokens=60, script={"chunks": 60})
        if answer.status_code == 200:
            tokens += answer.json()["usage"]["total_tokens"]
        elif "retry-after" not in answer.headers:
            break
        assert time.monotonic() < give_up_at
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (403, "AllocationQuota.FreeTierOnly")
    assert 600 <= tokens <= 1000
    assert call(served, served.key).status_code == 200
    time.sleep(1.5)
    with sqlite3.connect(installation.data_dir / "steelyard.db") as database:
        (left,) = database.execute("select free_tokens_left from workspace where name = 'default'").fetchone()
    assert left == 1000 - tokens
    assert installation.cli("usage", "verify").returncode == 0


def test_usage_as_csv(make_installation: Any, vendor: Vendor) -> None:
    """The same sums as JSON, by any group, for a time."""
    installation = make_installation(vendor_config(vendor))
    installation.start()
    served = Served(installation)
    for model in ("fake", "fake", "priced"):
        assert call(served, served.key, model=model).status_code == 200
    time.sleep(1.2)
    rows = list(csv.DictReader(io.StringIO(installation.cli("usage", "--by", "model,day", "--csv").stdout)))
    assert [(row["model"], row["calls"]) for row in rows] == [("fake", "2"), ("priced", "1")]
    assert [row["total_tokens"] for row in rows] == ["30", "15"]
    url = f"{served.origin}/control/v1/usage?group_by=model&format=csv"
    answer = httpx.get(url, headers=served.headers())
    assert answer.headers["content-type"].startswith("text/csv")
    assert len(answer.text.splitlines()) == 3
    assert installation.cli("usage", "--since", "1h", "--json").stdout != "[]"
    assert installation.cli("usage", "--since", "soon", check=False).returncode == 1
