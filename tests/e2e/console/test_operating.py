"""What an operator does in the console: routes, batches, alerts, health, quotas, documents."""

import json
import re
import sqlite3
import time
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect

from browser import open_page
from installation import Installation
from people import HOSTILE, Person, call, sign_in


def test_routes_and_prices(house: Installation, owner: Person, browser: Browser) -> None:
    """A name is led to a target at a price, answers, is changed, and is taken away again."""
    key = house.create_key(name="router")["key"]
    watched = open_page(browser, house.origin, locale="en-US")
    page = sign_in(watched)
    watched.goto("/console/routes/new")
    page.fill("#f-model", "house-model")
    page.fill("#f-targets", "nowhere/at-all")
    page.get_by_role("button", name="Set the route").click()
    expect(page.locator(".notice.bad")).to_contain_text("nowhere")
    page.fill("#f-targets", "fake/vendor-model@0*2\nfake/vendor-model@1")
    page.fill("#f-input", "1.5")
    page.fill("#f-output", "6")
    page.get_by_role("button", name="Set the route").click()
    expect(page.locator("h1")).to_contain_text("house-model")
    expect(page.locator("main table")).to_contain_text("1.50 CNY")
    _until(lambda: call(house, key, model="house-model").status_code == 200)
    page.locator("summary", has_text="Change route and price").click()
    expect(page.locator("#f-targets")).to_have_value("fake/vendor-model@0*2\nfake/vendor-model@1*1")
    page.fill("#f-output", "9")
    page.get_by_role("button", name="Set the route").click()
    expect(page.locator("main table")).to_contain_text("9.00 CNY")
    page.once("dialog", lambda one: one.accept())
    page.get_by_role("button", name="Take the route away").click()
    expect(page.locator(".notice.good")).to_be_visible()
    _until(lambda: call(house, key, model="house-model").status_code == 404)
    assert [one for one in watched.problems if "400" not in one] == []


def test_what_a_form_does_not_show_stays(house: Installation, owner: Person) -> None:
    """Changing how often a route is tried makes no picture free, and forgets no other name; a price is never below nothing."""
    admin = {"authorization": f"Bearer {house.create_key('--kind', 'admin', name='route-admin')['key']}"}
    price = {"version": "set", "currency": "CNY", "image_micros": 200_000, "second_micros": {"720P": 600_000}}
    spec = {
        "targets": [{"provider": "fake", "model": "draws"}],
        "price": price,
        "aliases": ["draws-too"],
        "hedge_after_s": 1.5,
        "unsupported": "drop",
    }
    url = f"{house.origin}/control/v1/routes"
    assert httpx.put(f"{url}/draws", headers=admin, json=spec).status_code == 200
    page = owner.get("/console/models/draws").text
    fields = dict(re.findall(r'<input id="f-\w+" name="(\w+)" type="text" value="([^"]*)"', page))
    assert (fields["input"], fields["output"], fields["aliases"]) == ("0", "0", "draws-too")
    form = {**fields, "model": "draws", "targets": "fake/draws@0*1", "strategy": "weighted"}
    assert owner.post("/console/routes", **{**form, "max_attempts": "2"}).status_code == 303

    def told(name: str = "draws") -> dict[str, Any]:
        rows = httpx.get(url, headers=admin).json()["data"]
        return next(one for one in rows if one["model"] == name)

    kept = told()
    assert (kept["max_attempts"], kept["hedge_after_s"], kept["unsupported"]) == (2, 1.5, "drop")
    assert told("draws-too")
    stored = json.loads(_stored_route(house, "draws"))["price"]
    assert {**stored, **price} == stored
    assert owner.post("/console/routes", **{**form, "input": "1.25"}).status_code == 303
    changed = json.loads(_stored_route(house, "draws"))["price"]
    assert (changed["input_micros"], changed["image_micros"], changed["second_micros"]) == (
        1_250_000, 200_000, {"720P": 600_000},
    )  # fmt: skip
    for wrong in ({"input": "-1"}, {"input": "1e30"}, {"output": "x"}, {"input": "1", "currency": "yuan"}):
        assert owner.post("/console/routes", **{**form, **wrong}).status_code == 400, wrong
    refused = httpx.put(f"{url}/draws", headers=admin, json={**spec, "price": {**price, "image_micros": -1}})
    assert refused.status_code == 400
    assert "image" in refused.json()["error"]["message"]


def _stored_route(house: Installation, name: str) -> str:
    with sqlite3.connect(house.data_dir / "steelyard.db") as database:
        found = database.execute("SELECT spec FROM route WHERE model = ?", (name,)).fetchone()
    database.close()
    return str(found[0])


def test_batches(house: Installation, owner: Person, browser: Browser) -> None:
    """A file of calls is uploaded by the browser, answered, and its results are downloaded."""
    house.create_key(name="batcher")
    lines = [
        json.dumps(
            {
                "custom_id": f"line-{number}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {"model": "priced", "messages": [{"role": "user", "content": HOSTILE}]},
            }
        )
        for number in range(3)
    ]
    watched = open_page(browser, house.origin, locale="en-US")
    page = sign_in(watched)
    watched.goto("/console/batches")
    page.set_input_files(
        "#u-files", [{"name": "calls.jsonl", "mimeType": "application/jsonl", "buffer": "\n".join(lines).encode()}]
    )
    page.get_by_role("button", name="Begin").first.click()
    expect(page.locator(".notice.good")).to_be_visible(timeout=20_000)
    expect(page.locator("#batches")).to_contain_text("completed", timeout=60_000)
    expect(page.locator("#batches")).to_contain_text("3 +")
    link = page.get_by_role("link", name="answers").get_attribute("href")
    answers = owner.get(str(link), follow_redirects=True)
    assert answers.text.count("line-") == 3
    assert watched.problems == []
    wrong = owner.post("/console/batches", key="key_none", file="file-none", endpoint="/v1/embeddings", window="24h")
    assert wrong.status_code == 404


def test_quotas(house: Installation, owner: Person) -> None:
    """A developer asks, cannot decide, and is told; what is granted holds at once, and nothing is decided twice."""
    owner.post("/console/settings/workspaces", name="quoted")
    developer = owner.invite("developer", "quoted")
    home = "/console/settings/quotas"
    assert developer.post(home, rpm="20").status_code == 400
    assert developer.post(home, budget_money="5", currency="<b>", reason="no currency").status_code == 400
    assert developer.post(home, rpm="20", budget_money="5", reason=HOSTILE).status_code == 303
    wish = re.search(rf"{home}/(quota_\w+)", owner.get(home).text)
    assert wish is not None
    assert "<script>alert(1)" not in owner.get(home).text
    assert developer.post(f"{home}/{wish[1]}", decision="grant").status_code == 403
    stranger = owner.invite("operator", "default")
    assert stranger.post(f"{home}/{wish[1]}", decision="grant").status_code == 403
    assert owner.post(f"{home}/{wish[1]}", decision="perhaps").status_code == 400
    assert owner.post(f"{home}/{wish[1]}", decision="grant", answer="well then").status_code == 303
    assert owner.post(f"{home}/{wish[1]}", decision="decline").status_code == 400
    assert "well then" in developer.get(home).text
    admin = house.create_key("--kind", "admin", name="quota-reader")["key"]
    told = httpx.get(f"{house.origin}/control/v1/workspaces/quoted", headers={"authorization": f"Bearer {admin}"})
    assert told.json()["limits"]["rpm"] == 20
    assert told.json()["budget"]["amount"] == 5_000_000
    assert "quotas.grant" in owner.get("/console/settings/audit?action=quotas").text
    for _ in range(10):
        assert developer.post(home, rpm="1", reason="more").status_code == 303
    assert developer.post(home, rpm="1", reason="more").status_code == 400


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/console/settings/health", ["gateway ·", "face", "monitor ·", "worker ·", "[server]"]),
        ("/console/settings/domains", ["http://127.0.0.1"]),
        ("/console/settings/documents", ["/openapi/dashscope.json", "Apifox"]),
        ("/console/alerts", ["rules check", "AlwaysOn", "firing", "&lt;script&gt;alert(1)"]),
    ],
)
def test_rooms_tell(owner: Person, path: str, words: list[str]) -> None:
    def told() -> bool:
        page = owner.get(path)
        return page.status_code == 200 and all(word in page.text for word in words)

    _until(told)


def test_rule_files_are_read_again(house: Installation, owner: Person) -> None:
    """What is wrong in them is told, and the rules stay as they were."""
    rules = house.directory / "rules.yml"
    kept = rules.read_text()
    rules.write_text("groups:\n- nam: own\n")
    refused = owner.post("/console/alerts/reload")
    assert refused.status_code == 400
    assert "rules.yml" in refused.text
    rules.write_text(kept)
    assert owner.post("/console/alerts/reload").status_code == 303
    assert owner.invite("developer").post("/console/alerts/reload").status_code == 403


def test_health_hides_secrets(owner: Person) -> None:
    page = owner.get("/console/settings/health").text
    assert "vendor-secret" not in page
    assert "vendor-secret" not in owner.get("/console/models/priced").text


def test_documents_are_public_and_whole(house: Installation) -> None:
    """No key, no session: what is listed is there, for pages of any origin, and names this server."""
    listed = httpx.get(f"{house.origin}/openapi").json()["data"]
    assert {one["name"] for one in listed} == {"openai", "dashscope", "anthropic", "prometheus", "bailian", "control"}
    for one in listed:
        document = httpx.get(house.origin + one["document"])
        assert document.headers["access-control-allow-origin"] == "*"
        assert document.json()["openapi"] == "3.1.0"
        assert httpx.get(house.origin + one["collection"]).json()["item"]
    assert httpx.get(f"{house.origin}/openapi/none.json").status_code == 404
    assert httpx.get(f"{house.origin}/openapi/openai.txt").status_code == 404


def _until(is_so: object, within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while not is_so():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_what_is_left_of_a_budget(house: Installation, owner: Person) -> None:
    """A key's page and a workspace's say what was spent of the whole, in its own unit."""
    key = house.create_key(name="on a budget")
    owner.post(f"/console/settings/keys/{key['id']}/limits", budget_tokens="5,000", per="total")
    _until(lambda: call(house, key["key"]).status_code == 200)
    _until(lambda: re.search(r"[1-9]\d* / 5,000", owner.get(f"/console/settings/keys/{key['id']}").text))
    owner.post("/console/settings/workspaces", name="budgeted")
    owner.post("/console/settings/workspaces/budgeted/limits", budget_money="12.5", currency="CNY", per="day")
    assert "0.00 CNY / 12.50 CNY" in owner.get("/console/settings/workspaces/budgeted").text
