"""Answers kept for calls that are exactly the same, and models that are open to a workspace."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from installation import Installation, Served, Vendor, vendor_config


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory, vendor: Vendor) -> Iterator[Served]:
    with Installation(tmp_path_factory.mktemp("keeping"), vendor_config(vendor), workers=2) as installation:
        served = Served(installation)
        installation.cli("workspaces", "cache", "default", "--ttl", "3s", "--price-percent", "10")
        installation.cli("workspaces", "create", "other")
        installation.cli("activate", "--workspace", "other")
        time.sleep(1.0)
        yield served


def ask(
    served: Served, text: str, key: str | None = None, headers: dict[str, str] | None = None, **fields: Any
) -> httpx.Response:
    body = {"model": "priced", "messages": [{"role": "user", "content": text}], **fields}
    return httpx.post(
        f"{served.origin}/v1/chat/completions",
        json=body,
        headers={**served.headers(key), **(headers or {})},
        timeout=20,
    )


def receipt(served: Served, answer: httpx.Response, key: str | None = None) -> dict[str, Any]:
    url = f"{served.origin}/control/v1/requests/{answer.headers['x-request-id']}/receipt"
    give_up_at = time.monotonic() + 10
    while (found := httpx.get(url, headers=served.headers(key))).status_code != 200:
        assert time.monotonic() < give_up_at, found.text
        time.sleep(0.05)
    return found.json()


def hits(served: Served, text: str, **fields: Any) -> httpx.Response:
    """Asks until the answer is a kept one: it is kept a moment after it was given."""
    give_up_at = time.monotonic() + 2
    while (answer := ask(served, text, **fields)).headers.get("x-steelyard-cache") != "hit":
        assert answer.status_code == 200, answer.text
        assert time.monotonic() < give_up_at
    return answer


@pytest.mark.parametrize("stream", [False, True])
def test_the_same_call_is_answered_once(keeping: Served, vendor: Vendor, stream: bool) -> None:
    """From any gateway, under an id of its own, at its own price; the vendor is not asked."""
    text = f"same {stream}"
    first = ask(keeping, text, stream=stream)
    assert "x-steelyard-cache" not in first.headers
    kept = hits(keeping, text, stream=stream)
    before = vendor.totals()["calls"]
    again = ask(keeping, text, stream=stream)
    assert vendor.totals()["calls"] == before
    assert again.headers["x-steelyard-cache"] == "hit"
    assert int(again.headers["age"]) <= 3
    assert again.headers["x-request-id"] not in (first.headers["x-request-id"], kept.headers["x-request-id"])
    assert again.text == first.text
    assert again.headers["content-type"] == first.headers["content-type"]
    full, cut = receipt(keeping, first), receipt(keeping, again)
    assert again.headers["x-steelyard-target"] == cut["attempts"][-1]["target"] == "cache/vendor-model"
    assert cut["usage"] == full["usage"]
    assert (full["settlement"]["cost_micros"], cut["settlement"]["cost_micros"]) == (60, 6)
    assert cut["price"]["version"] == "file cache 10%"


def test_native_answers_carry_the_new_id(keeping: Served) -> None:
    """The id within the body is that of the header."""
    url = f"{keeping.origin}/api/v1/services/aigc/text-generation/generation"
    body = {"model": "priced", "input": {"prompt": "native"}, "parameters": {"result_format": "text"}}
    give_up_at = time.monotonic() + 3
    while True:
        answer = httpx.post(url, json=body, headers=keeping.headers())
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        if answer.headers.get("x-steelyard-cache") == "hit":
            break
        assert time.monotonic() < give_up_at
    # the same body as a stream is another call
    streamed = httpx.post(url, json=body, headers={**keeping.headers(), "X-DashScope-SSE": "enable"})
    assert "x-steelyard-cache" not in streamed.headers


def test_what_is_not_the_same(keeping: Served, vendor: Vendor) -> None:
    """Another text, another workspace, a caller who says no, an answer that failed, one that is too old."""
    other = keeping.installation.create_key("--workspace", "other", name="other")["key"]
    hits(keeping, "mine")
    assert "x-steelyard-cache" not in ask(keeping, "mine ").headers
    for _ in range(3):
        assert "x-steelyard-cache" not in ask(keeping, "mine", other).headers
    assert "x-steelyard-cache" not in ask(keeping, "mine", headers={"X-Steelyard-Cache": "no"}).headers
    for _ in range(2):
        failed = ask(keeping, "failing", script={"status": 500})
        assert failed.status_code == 500
        assert "x-steelyard-cache" not in failed.headers
    for _ in range(2):
        cut = ask(keeping, "cut", stream=True, script={"cut_at": 300})
        assert '"error"' in cut.text
        assert "x-steelyard-cache" not in cut.headers
    hits(keeping, "mine")
    time.sleep(3.2)
    assert "x-steelyard-cache" not in ask(keeping, "mine").headers


def test_the_books_balance(keeping: Served) -> None:
    """Kept answers are in the ledger like all others."""
    hits(keeping, "books")
    time.sleep(1.0)
    assert "agree" in keeping.installation.cli("usage", "verify").stdout.lower()


def test_off_again(keeping: Served) -> None:
    """Without --ttl nothing is kept or looked for; a ttl of a week is refused."""
    refused = keeping.installation.cli("workspaces", "cache", "other", "--ttl", "7d", check=False)
    assert refused.returncode == 1
    assert "86400" in refused.stderr
    hits(keeping, "last")
    keeping.installation.cli("workspaces", "cache", "default")
    time.sleep(1.0)
    assert "x-steelyard-cache" not in ask(keeping, "last").headers


def test_models_that_are_open(keeping: Served) -> None:
    """A workspace may use certain models only; others are refused, and not shown."""
    origin, admin = keeping.origin, keeping.headers(keeping.admin_key)
    key = keeping.installation.create_key("--workspace", "other", name="opened")["key"]
    keeping.installation.cli("workspaces", "models", "other", "fake")
    time.sleep(1.0)
    assert [one["id"] for one in httpx.get(f"{origin}/v1/models", headers=keeping.headers(key)).json()["data"]] == [
        "fake"
    ]
    answer = ask(keeping, "hi", key)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "Model.AccessDenied")
    assert "not open to workspace other" in answer.json()["error"]["message"]
    shown = httpx.put(f"{origin}/control/v1/workspaces/other/models", json={"models": []}, headers=admin)
    assert shown.json()["models"] == []
    time.sleep(1.0)
    assert ask(keeping, "hi", key).status_code == 200
