"""One record per call, with hold, usage, price and settlement; answers by Idempotency-Key."""

import json
import time
import uuid
from typing import Any

import httpx

from installation import Served, read_events

HI = [{"role": "user", "content": "hi"}]


def post(served: Served, body: dict[str, Any], key: str | None = None, **headers: str) -> httpx.Response:
    return httpx.post(
        served.origin + "/v1/chat/completions", json=body, headers={**served.headers(key), **headers}, timeout=30
    )


def receipt(served: Served, request_id: str, key: str | None = None, within_s: float = 3.0) -> dict[str, Any]:
    give_up_at = time.monotonic() + within_s
    while True:
        url = f"{served.origin}/control/v1/requests/{request_id}/receipt"
        answer = httpx.get(url, headers=served.headers(key))
        if answer.status_code == 200 or time.monotonic() > give_up_at:
            return answer.json()
        time.sleep(0.05)


def test_receipt_of_a_priced_call(served: Served) -> None:
    """Hold from above, upstream usage, price, and free tokens spent first."""
    answer = post(served, {"model": "priced", "messages": HI, "max_tokens": 100})
    found = receipt(served, answer.headers["x-request-id"])
    assert found["usage"] == {
        "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "cached_tokens": 0, "reasoning_tokens": 0,
        "image_count": 0, "video_seconds": 0, "audio_seconds": 0, "estimated": False,
    }  # fmt: skip
    assert found["hold"]["tokens"] >= 115
    assert found["hold"]["micros"] >= found["settlement"]["cost_micros"]
    # 10 × 2 + 5 × 8 units per million tokens, in micro-units, rounded up once
    assert found["settlement"]["cost_micros"] == 60
    assert (found["settlement"]["free_tokens_used"], found["settlement"]["charged_micros"]) == (15, 0)
    assert found["price"] == {"version": "file", "currency": "CNY"}
    assert (found["attempts"][0]["target"], found["outcome"]) == ("fake/vendor-model", "completed")


def test_missing_usage_is_our_own_count_marked_estimated(served: Served) -> None:
    """No upstream usage: our count, plain and streamed."""
    for is_stream in (False, True):
        answer = post(
            served, {"model": "fake", "messages": HI, "stream": is_stream, "script": {"no_usage": True, "chunks": 20}}
        )
        found = receipt(served, answer.headers["x-request-id"])
        assert found["usage"]["estimated"]
        assert found["usage"]["completion_tokens"] > 0


def test_cut_stream_is_told_and_recorded_as_broken(served: Served) -> None:
    """An upstream that breaks off ends in an error event, never in silence."""
    answer = post(served, {"model": "fake", "messages": HI, "stream": True, "script": {"chunks": 20, "cut_at": 900}})
    events = read_events(answer.text)
    assert "[DONE]" not in events
    assert events[-1]["error"]["code"] == "internal_error"
    found = receipt(served, answer.headers["x-request-id"])
    assert (found["outcome"], found["status"], found["usage"]["estimated"]) == ("broken", 502, True)


def test_stream_without_end_mark_but_with_usage_is_whole(served: Served) -> None:
    """Vendors forget `[DONE]`; usage says that the answer was whole, and the client gets its mark."""
    answer = post(served, {"model": "fake", "messages": HI, "stream": True, "script": {"no_done": True}})
    assert read_events(answer.text)[-1] == "[DONE]"
    assert receipt(served, answer.headers["x-request-id"])["outcome"] == "completed"


def test_client_that_leaves_is_settled_for_what_was_delivered(served: Served, vendor) -> None:
    """The upstream call is cancelled, the record says abandoned and estimated."""
    body = {"model": "fake", "messages": HI, "stream": True, "script": {"chunks": 400, "gap_s": 0.02}}
    with httpx.stream("POST", served.origin + "/v1/chat/completions", json=body, headers=served.headers()) as answer:
        request_id = answer.headers["x-request-id"]
        for _, _line in zip(range(20), answer.iter_lines(), strict=False):
            pass
    began = time.monotonic()
    while vendor.seen()["open"] and time.monotonic() - began < 3:
        time.sleep(0.02)
    assert time.monotonic() - began < 1
    found = receipt(served, request_id)
    assert (found["outcome"], found["status"]) == ("abandoned", 499)
    assert 3 < found["usage"]["completion_tokens"] < 200


def test_receipts_are_private_to_their_workspace(served: Served) -> None:
    """Another workspace's key gets 404; the admin sees all."""
    request_id = post(served, {"model": "fake", "messages": HI}).headers["x-request-id"]
    receipt(served, request_id)
    served.installation.cli("workspaces", "create", "team-private")
    other = served.installation.create_key("--workspace", "team-private", name="p")["key"]
    assert receipt(served, request_id, other, within_s=0)["error"]["code"] == "resource_not_found"
    assert receipt(served, request_id, served.admin_key)["workspace"] == "default"


def test_usage_sums_receipts(served: Served) -> None:
    """`GET /control/v1/usage`, `steelyard usage` and the books agree."""
    before = json.loads(served.installation.cli("usage", "--json").stdout)
    answers = [post(served, {"model": "priced", "messages": HI}) for _ in range(3)]
    for answer in answers:
        receipt(served, answer.headers["x-request-id"])
    after = json.loads(served.installation.cli("usage", "--json").stdout)

    def calls(rows: list[dict[str, Any]]) -> int:
        return sum(row["calls"] for row in rows if row["model"] == "priced")

    assert calls(after) - calls(before) == 3
    by_http = httpx.get(served.origin + "/control/v1/usage?group_by=day,key", headers=served.headers()).json()
    assert by_http["data"][0]["total_tokens"] > 0
    wrong = httpx.get(served.origin + "/control/v1/usage?group_by=colour", headers=served.headers())
    assert "colour" in wrong.json()["error"]["message"]
    assert "agree" in served.installation.cli("usage", "verify").stdout


def test_same_idempotency_key_same_body_is_replayed(served: Served, vendor) -> None:
    """The stored answer comes again with its mark; the vendor is called once. Streams too."""
    for is_stream in (False, True):
        key = str(uuid.uuid4())
        body = {"model": "fake", "messages": HI, "stream": is_stream, "script": {"text": key}}
        first = post(served, body, **{"Idempotency-Key": key})
        assert "x-steelyard-replayed" not in first.headers
        time.sleep(0.3)
        second = post(served, body, **{"Idempotency-Key": key})
        assert second.headers["x-steelyard-replayed"] == "true"
        assert second.text == first.text
        calls = [one for one in vendor.seen()["calls"] if one["body"].get("script", {}).get("text") == key]
        assert len(calls) == 1


def test_idempotency_conflicts(served: Served) -> None:
    """Another body, a running first request, an answer that is not kept, and a failure that frees the key."""
    key = str(uuid.uuid4())
    post(served, {"model": "fake", "messages": HI}, **{"Idempotency-Key": key})
    time.sleep(0.3)
    reused = post(served, {"model": "fake", "messages": HI, "seed": 1}, **{"Idempotency-Key": key})
    assert (reused.status_code, reused.json()["error"]["code"]) == (409, "idempotency_key_reused")
    assert reused.headers["x-should-retry"] == "false"
    key = str(uuid.uuid4())
    slow = {"model": "fake", "messages": HI, "stream": True, "script": {"chunks": 30, "gap_s": 0.05}}
    with httpx.stream(
        "POST", served.origin + "/v1/chat/completions", json=slow, headers={**served.headers(), "Idempotency-Key": key}
    ) as answer:
        lines = answer.iter_lines()
        next(lines)
        running = post(served, slow, **{"Idempotency-Key": key})
        assert (running.status_code, running.json()["error"]["code"]) == (409, "request_in_progress")
        assert "retry-after" in running.headers
    key = str(uuid.uuid4())
    unkept = {"Idempotency-Key": key, "Prefer": "no-replay"}
    first = post(served, {"model": "fake", "messages": HI}, **unkept)
    time.sleep(0.3)
    gone = post(served, {"model": "fake", "messages": HI}, **unkept)
    assert (gone.status_code, gone.json()["error"]["code"]) == (409, "request_already_processed")
    assert first.headers["x-request-id"] in gone.json()["error"]["message"]
    key = str(uuid.uuid4())
    failing = {"model": "fake", "messages": HI, "script": {"sequence": [{"status": 500}, {}], "sequence_id": key}}
    assert post(served, failing, **{"Idempotency-Key": key}).status_code == 500
    time.sleep(0.3)
    assert post(served, failing, **{"Idempotency-Key": key}).status_code == 200


def test_a_stored_response_is_replayed_too(served: Served) -> None:
    """What keeps responses waits for no call that there was not: a repeat is answered at once, and one can go on from it."""
    headers = {**served.headers(), "Idempotency-Key": str(uuid.uuid4())}
    body = {"model": "fake", "input": "hi"}
    first = httpx.post(served.origin + "/v1/responses", json=body, headers=headers, timeout=30)
    time.sleep(0.3)
    second = httpx.post(served.origin + "/v1/responses", json=body, headers=headers, timeout=5)
    assert (second.headers["x-steelyard-replayed"], second.text) == ("true", first.text)
    on = {**body, "previous_response_id": first.json()["id"]}
    assert httpx.post(served.origin + "/v1/responses", json=on, headers=served.headers(), timeout=30).status_code == 200


def test_control_calls_are_processed_once_too(served: Served) -> None:
    """A workspace is made once and told twice; a key's secret is kept nowhere, so a repeat is told that it was made."""
    admin = served.headers(served.admin_key)
    name, key = f"once-{uuid.uuid4().hex[:8]}", str(uuid.uuid4())
    url = served.origin + "/control/v1/workspaces"
    first = httpx.post(url, json={"name": name}, headers={**admin, "Idempotency-Key": key})
    again = httpx.post(url, json={"name": name}, headers={**admin, "Idempotency-Key": key})
    assert (first.status_code, again.status_code, again.text) == (201, 201, first.text)
    assert again.headers["x-steelyard-replayed"] == "true"
    other = httpx.post(url, json={"name": name + "b"}, headers={**admin, "Idempotency-Key": key})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_key_reused")
    # a refusal frees the key
    taken = str(uuid.uuid4())
    for _ in range(2):
        refused = httpx.post(url, json={"name": name}, headers={**admin, "Idempotency-Key": taken})
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "Conflict")
    secret = str(uuid.uuid4())
    url = served.origin + "/control/v1/keys"
    made = httpx.post(url, json={"name": "once"}, headers={**admin, "Idempotency-Key": secret})
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    repeated = httpx.post(url, json={"name": "once"}, headers={**admin, "Idempotency-Key": secret})
    assert (repeated.status_code, repeated.json()["error"]["code"]) == (409, "request_already_processed")
    assert made.headers["x-request-id"] in repeated.json()["error"]["message"]
    for file in served.installation.data_dir.glob("*.db*"):
        assert made.json()["key"].encode() not in file.read_bytes()
    url = served.origin + "/api/v1/tokens?expire_in_seconds=60"
    token = str(uuid.uuid4())
    headers = {**served.headers(), "Idempotency-Key": token}
    assert httpx.post(url, headers=headers).status_code == 200
    told = httpx.post(url, headers=headers)
    assert (told.status_code, told.json()["code"]) == (409, "Conflict")
