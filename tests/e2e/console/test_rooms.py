"""The console's rooms, each with its main act, in a real Chromium."""

import json
import time
from pathlib import Path
from urllib.parse import parse_qs

import httpx
from playwright.sync_api import Browser, expect

from browser import open_page
from installation import Installation
from people import HOSTILE, Person, call, sign_in


def test_tasks_and_files(house: Installation, owner: Person, pages: list[str], browser: Browser) -> None:
    """A task's pictures are seen; a link made void is void, and a file of another workspace is not there."""
    watched = open_page(browser, house.origin, locale="en-US")
    page = sign_in(watched)
    watched.goto(next(one for one in pages if one.startswith("/console/tasks/")))
    picture = page.locator(".results img").first
    expect(picture).to_be_visible()
    expect(picture).to_have_js_property("complete", True, timeout=15_000)
    assert picture.evaluate("one => one.naturalWidth") > 100
    link = page.locator(".results a").first.get_attribute("href")
    assert httpx.get(house.origin + str(link)).status_code == 200
    watched.goto("/console/files")
    page.once("dialog", lambda one: one.accept())
    row = page.locator("tr", has=page.locator(f'a[href*="{str(link).split("/")[2]}"]'))
    row.get_by_role("button", name="Make links void").click()
    expect(page.locator(".notice.good")).to_be_visible()
    assert httpx.get(house.origin + str(link)).status_code == 403
    assert watched.problems == []


def test_apps_and_plugins(house: Installation, owner: Person, browser: Browser) -> None:
    """A draft is made, published, tried and taken back; a tool is tried alone, and says what is wrong with its arguments."""
    house.create_key(name="app-tester")
    watched = open_page(browser, house.origin, locale="en-US")
    page = sign_in(watched)
    watched.goto("/console/apps/new")
    page.fill("#f-name", "guide")
    page.select_option("#f-model", "priced")
    page.fill("#f-instructions", "Be brief.")
    page.get_by_role("button", name="Make the draft").click()
    page.get_by_role("button", name="Publish").click()
    expect(page.locator("h1")).to_contain_text("version 1")
    page.wait_for_timeout(2200)
    page.fill("#t-prompt", "hello")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("#try-app .answer pre")).to_contain_text("Hello from the fake vendor", timeout=15_000)
    page.locator("#try-app .answer a").click()
    expect(page.get_by_role("heading", name="Receipt")).to_be_visible()
    page.go_back()
    page.once("dialog", lambda one: one.accept())
    page.get_by_role("button", name="Take it out").click()
    expect(page.locator("h1")).to_contain_text("draft")
    watched.goto("/console/plugins/calculator")
    page.get_by_label("Arguments (JSON)").first.fill('{"expression": "17 * 23"}')
    page.get_by_role("button", name="Try it").first.click()
    expect(page.locator("section[role=status]")).to_contain_text("391")
    page.get_by_label("Arguments (JSON)").first.fill("{")
    page.get_by_role("button", name="Try it").first.click()
    expect(page.locator(".notice.bad")).to_contain_text("JSON")
    assert [one for one in watched.problems if "400" not in one] == []


def test_knowledge(house: Installation, owner: Person, browser: Browser) -> None:
    """A file is uploaded and taken in, a question finds it, a chunk is corrected, and the correction is found."""
    house.create_key(name="reader")
    watched = open_page(browser, house.origin, locale="en-US")
    page = sign_in(watched)
    watched.goto("/console/knowledge")
    page.fill("#f-name", HOSTILE)
    page.get_by_role("button", name="Make a knowledge base").click()
    expect(page.locator("h1")).to_contain_text("<script>")
    home = page.url.split("?")[0].removeprefix(house.origin)
    text = "The caretaker of the tower feeds the owls at nine in the evening."
    name = "<script>alert(1)</script>.txt"
    page.set_input_files("#u-files", [{"name": name, "mimeType": "text/plain", "buffer": text.encode()}])
    page.get_by_role("button", name="Upload and take in").click()
    expect(page.locator(".notice.good")).to_contain_text("taken in", timeout=20_000)
    expect(page.locator("#documents")).to_contain_text("FINISH", timeout=60_000)
    page.fill("#f-query", "When are the owls fed?")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("article pre").first).to_contain_text("nine in the evening", timeout=20_000)
    watched.goto(f"{home}/chunks")
    page.locator("article textarea").fill("The caretaker of the tower feeds the owls at midnight.")
    page.get_by_role("button", name="Change").click()
    expect(page.locator(".notice.good")).to_be_visible(timeout=20_000)
    watched.goto(home)
    page.fill("#f-query", "When are the owls fed?")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("article pre").first).to_contain_text("midnight", timeout=20_000)
    for path in ("/console/knowledge", home, f"{home}/chunks"):
        watched.goto(path)
        assert page.locator("main img, main script").count() == 0, path
    assert watched.problems == []


def test_promql(house: Installation, owner: Person, browser: Browser) -> None:
    """A query as a table and a plot, found by its address; a wrong one is told in its own words."""
    key = house.create_key(name="reader")
    call(house, key["key"])
    watched = open_page(browser, house.origin, locale="en-US")
    page = sign_in(watched)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        watched.goto("/console/promql?q=llm_requests_total&range=15m")
        page.wait_for_timeout(1500)
        if 'model="priced"' in page.locator("#q-table").inner_text():
            break
    expect(page.locator("#q-table")).to_contain_text('model="priced"')
    expect(page.locator("#q-plot canvas")).to_be_visible()
    for one in page.locator("main a.badge").all():
        address = str(one.get_attribute("href"))
        token = owner.post("/console/promql/token", key=key["id"]).json()["token"]
        query = {"query": parse_qs(address[1:])["q"][0]}
        told = httpx.get(
            house.origin + "/prometheus/api/v1/query", params=query, headers={"authorization": f"Bearer {token}"}
        )
        assert told.json()["status"] == "success", told.text
    page.fill("#q-q", "sum(")
    page.get_by_role("button", name="Run").click()
    expect(page.locator("#q-told")).to_contain_text("parse", timeout=10_000)
    assert [one for one in watched.problems if "400" not in one] == []


def test_support_bundle(house: Installation, owner: Person, tmp_path: Path) -> None:
    """What is known of a call, by the page and by the command alike; no key, no vendor's key and no text is in it."""
    key = house.create_key(name="helped")
    asked = call(house, key["key"], "a secret question")
    request_id = asked.headers["x-request-id"]
    assert owner.get(f"/console/requests/{request_id}").status_code == 200
    told = owner.get(f"/console/requests/{request_id}/bundle")
    assert told.headers["content-disposition"].startswith("attachment")
    written = tmp_path / "bundle.json"
    house.cli("support-bundle", request_id, "--output", str(written))
    for text in (told.text, written.read_text()):
        bundle = json.loads(text)
        assert bundle["receipt"]["request_id"] == request_id
        assert bundle["route"]["targets"][0]["target"] == "fake/vendor-model"
        assert bundle["settings"]["providers"]["fake"]["api_key"] == "***"
        assert not any(word in text for word in (key["key"], "vendor-secret", "secret question"))
    assert owner.get("/console/requests/none/bundle").status_code == 404
    assert house.cli("support-bundle", "none", check=False).returncode == 1
    failed = call(house, key["key"], model="nothing")
    assert failed.status_code == 404
