"""Batches under kills, narrow tokens and budgets: every line is answered once and charged once, with no more rights than its submitter."""

import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from installation import Installation, Served, Vendor, vendor_config

HI = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def batched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Vendor]]:
    vendor = Vendor()
    installation = Installation(tmp_path_factory.mktemp("batched"), vendor_config(vendor))
    with installation:
        yield Served(installation), vendor
    vendor.stop()


def lines_of(count: int, model: str = "priced", **more: Any) -> bytes:
    return b"".join(
        json.dumps(
            {
                "custom_id": f"c{n}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {"model": model, "messages": HI, **more},
            }
        ).encode()
        + b"\n"
        for n in range(count)
    )


def upload(served: Served, data: bytes) -> str:
    files = {"purpose": (None, "batch"), "file": ("calls.jsonl", data)}
    return str(httpx.post(served.origin + "/v1/files", headers=served.headers(), files=files).json()["id"])


def create(served: Served, file_id: str, credential: str | None = None) -> httpx.Response:
    body = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    return httpx.post(served.origin + "/v1/batches", headers=served.headers(credential), json=body)


def show(served: Served, batch_id: str) -> dict[str, Any]:
    return httpx.get(f"{served.origin}/v1/batches/{batch_id}", headers=served.headers()).json()


def wait(served: Served, batch_id: str, timeout_s: float = 60) -> dict[str, Any]:
    give_up_at = time.monotonic() + timeout_s
    while time.monotonic() < give_up_at:
        batch = show(served, batch_id)
        if batch["status"] in ("completed", "failed", "expired", "cancelled"):
            return batch
        time.sleep(0.1)
    raise AssertionError(f"{batch}\n{served.installation.log_text()[-2000:]}")


def rows(served: Served, file_id: str | None) -> list[dict[str, Any]]:
    if file_id is None:
        return []
    answer = httpx.get(f"{served.origin}/v1/files/{file_id}/content", headers=served.headers())
    return [json.loads(line) for line in answer.text.splitlines()]


def usage_of(served: Served, model: str) -> dict[str, int]:
    answer = httpx.get(f"{served.origin}/control/v1/usage", headers=served.headers(served.admin_key)).json()
    found = [one for one in answer["data"] if one["model"] == model]
    return {name: sum(one[name] for one in found) for name in ("calls", "cost_micros", "total_tokens")}


def test_half_price(batched: tuple[Served, Vendor]) -> None:
    """A line costs half of what the same call costs."""
    served, _ = batched
    before = usage_of(served, "priced")["cost_micros"]
    httpx.post(
        served.origin + "/v1/chat/completions", headers=served.headers(), json={"model": "priced", "messages": HI}
    )
    time.sleep(1.5)
    whole = usage_of(served, "priced")["cost_micros"] - before
    batch = wait(served, create(served, upload(served, lines_of(1))).json()["id"])
    assert batch["status"] == "completed"
    time.sleep(1.5)
    assert usage_of(served, "priced")["cost_micros"] - before - whole == whole / 2
    assert whole > 0


def test_killed_workers_charge_no_line_twice(batched: tuple[Served, Vendor]) -> None:
    """Also those that were under way: the call outlives the worker that made it."""
    served, vendor = batched
    before, asked = usage_of(served, "priced"), vendor.totals()["calls"]
    count = 250
    batch_id = create(served, upload(served, lines_of(count, script={"delay_s": 0.3}))).json()["id"]
    kills = 0
    while show(served, batch_id)["status"] in ("validating", "in_progress") and kills < 6:
        time.sleep(1.1)
        for pid, role in served.installation.children().items():
            if role == "worker":
                os.kill(pid, signal.SIGKILL)
                kills += 1
    batch = wait(served, batch_id, 120)
    assert (batch["status"], batch["request_counts"]) == (
        "completed",
        {"total": count, "completed": count, "failed": 0},
    )
    told = rows(served, batch["output_file_id"])
    assert sorted(row["custom_id"] for row in told) == sorted(f"c{n}" for n in range(count))
    time.sleep(1.5)
    after = usage_of(served, "priced")
    assert after["calls"] - before["calls"] == count
    assert vendor.totals()["calls"] - asked == count
    assert kills >= 3


def test_cancelled_on_the_way(batched: tuple[Served, Vendor]) -> None:
    """What was answered by then is told; the rest is not called."""
    served, _ = batched
    batch_id = create(served, upload(served, lines_of(400, script={"delay_s": 0.2}))).json()["id"]
    time.sleep(4)
    answer = httpx.post(f"{served.origin}/v1/batches/{batch_id}/cancel", headers=served.headers()).json()
    assert answer["status"] in ("cancelling", "cancelled")
    batch = wait(served, batch_id)
    assert batch["status"] == "cancelled"
    assert 0 < batch["request_counts"]["completed"] < 400
    assert len(rows(served, batch["output_file_id"])) == batch["request_counts"]["completed"]


def token(served: Served, **narrowing: Any) -> str:
    answer = httpx.post(
        f"{served.origin}/api/v1/tokens?expire_in_seconds=600", headers=served.headers(), json=narrowing
    )
    return str(answer.json()["token"])


@pytest.mark.parametrize(
    "narrowing", [{"calls": 1}, {"spend": {"amount": 10, "unit": "tokens"}}, {"resource": "/v1/batches"}]
)
def test_a_token_bounded_by_calls_submits_no_batch(batched: tuple[Served, Vendor], narrowing: dict[str, Any]) -> None:
    """What it may do at most cannot be kept by the batch's own calls, so there is none."""
    served, _ = batched
    answer = create(served, upload(served, lines_of(1)), token(served, **narrowing))
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "token_too_narrow"), answer.text


def test_a_batch_has_the_rights_of_its_token(batched: tuple[Served, Vendor]) -> None:
    """A token for one model does not reach another one by a batch."""
    served, vendor = batched
    narrow = token(served, models=["fake"])
    asked = vendor.totals()["calls"]
    batch = wait(served, create(served, upload(served, lines_of(3)), narrow).json()["id"])
    assert batch["request_counts"]["failed"] == 3
    assert {row["error"]["code"] for row in rows(served, batch["error_file_id"])} == {"Model.AccessDenied"}
    assert vendor.totals()["calls"] == asked
    good = wait(served, create(served, upload(served, lines_of(3, "fake")), narrow).json()["id"])
    assert good["request_counts"]["completed"] == 3


def test_a_spent_budget_stops_lines(batched: tuple[Served, Vendor]) -> None:
    """Lines beyond the budget fail, each for itself, and the budget is not overspent."""
    served, vendor = batched
    asked = vendor.totals()["calls"]
    poor = served.installation.create_key("--budget-tokens", "200", "--per", "total", name="poor")["key"]
    batch = wait(served, create(served, upload(served, lines_of(50, max_tokens=5)), poor).json()["id"])
    counts = batch["request_counts"]
    assert (batch["status"], counts["total"], counts["completed"] + counts["failed"]) == ("completed", 50, 50)
    assert 0 < counts["completed"] <= 200 // 15
    assert {row["response"]["status_code"] for row in rows(served, batch["error_file_id"])} == {429}
    assert vendor.totals()["calls"] - asked == counts["completed"]


@pytest.mark.long
def test_a_file_that_is_too_large(batched: tuple[Served, Vendor]) -> None:
    """Over 500 MiB whose length nobody announces: refused once they are too much, and nothing of them stays."""
    served, _ = batched

    def parts() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
        for _ in range(530):
            yield b"x" * 1_000_000 + b"\n"
        yield b"\r\n--b--\r\n"

    headers = served.headers() | {"Content-Type": "multipart/form-data; boundary=b"}
    try:
        answer = httpx.post(f"{served.origin}/v1/files", headers=headers, content=parts(), timeout=120)
    except httpx.WriteError:
        # told while we still sent; the connection is closed then
        pass
    else:
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "file_too_large")
    time.sleep(1)
    assert list((served.installation.data_dir / "spool").glob("*")) == []
    assert upload(served, lines_of(1))
