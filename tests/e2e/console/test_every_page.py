"""What holds of every page of the console."""

import os
import re
import signal
import time
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from browser import open_page
from installation import ROOT, Installation, Vendor, vendor_config
from people import Person, call, sign_in

AXE = ROOT / "tests/clients/node/node_modules/axe-core/axe.min.js"


def test_headers(owner: Person, pages: list[str]) -> None:
    """No page can be framed, sniffed, kept or fed from elsewhere, and none weighs more than it may."""
    for path in pages:
        answer = owner.get(path, headers={"accept-encoding": "gzip"})
        assert answer.status_code == 200, path
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assets = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', answer.text))
        weights = [answer.num_bytes_downloaded]
        for asset in assets:
            got = owner.get(asset, headers={"accept-encoding": "gzip"})
            assert "immutable" in got.headers["cache-control"]
            weights.append(got.num_bytes_downloaded)
        assert sum(weights) <= 200_000, path
    assert owner.get("/static/console/nothing.js").status_code == 404


@pytest.mark.parametrize(("locale", "scheme", "width"), [("zh-CN", "light", 1280), ("en-US", "dark", 390)])
def test_pages(
    house: Installation, owner: Person, browser: Browser, pages: list[str], locale: str, scheme: str, width: int
) -> None:
    """Every page: no complaint, nothing from outside, nothing wider than the window, no serious finding of axe."""
    watched = open_page(
        browser,
        house.origin,
        locale=locale,
        color_scheme=scheme,
        viewport={"width": width, "height": 850},
        bypass_csp=True,
    )
    page = sign_in(watched)
    found = []
    for path in pages:
        watched.goto(path)
        expect(page.locator("main h1")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        page.add_script_tag(path=str(AXE))
        outcome = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        found += [
            (path, one["id"], one["nodes"][0]["html"][:120], one["nodes"][0]["failureSummary"][:200])
            for one in outcome["violations"]
            if one["impact"] in ("serious", "critical")
        ]
    assert found == []
    assert watched.problems == []


def test_hostile_content_is_text(house: Installation, owner: Person, browser: Browser, pages: list[str]) -> None:
    """Names with markup and scripts are shown as they are written, on every page, and run nothing."""
    watched = open_page(browser, house.origin)
    page = sign_in(watched)
    dialogs: list[str] = []
    page.on("dialog", lambda one: (dialogs.append(one.message), one.dismiss()))
    seen = 0
    for path in pages:
        watched.goto(path)
        seen += page.get_by_text("<script>alert(1)</script>").count()
        assert page.locator("main img[onerror], main img[src=x]").count() == 0, path
        assert "49" not in page.locator("h1").inner_text(), path
    assert seen >= 2
    assert dialogs == []
    assert watched.problems == []


def test_keyboard(house: Installation, owner: Person, browser: Browser) -> None:
    """The first stop leads past the bars; what cannot be undone asks first, and No leaves everything."""
    key = house.create_key(name="stays")
    watched = open_page(browser, house.origin, locale="en-US")
    page = sign_in(watched)
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    watched.goto(f"/console/settings/keys/{key['id']}")
    page.once("dialog", lambda one: one.dismiss())
    page.get_by_role("button", name="Delete").click()
    assert page.url.endswith(key["id"])
    page.once("dialog", lambda one: one.accept())
    page.get_by_role("button", name="Delete").click()
    expect(page.locator(".notice.good")).to_contain_text("deleted")
    assert call(house, key["key"]).status_code in (200, 401)


def test_there_is_no_such_page(house: Installation, owner: Person) -> None:
    """Whoever is in is told so on a page; whoever is not is led to the door, and finds out nothing."""
    for path in ("/console/nothing", "/console/settings/nothing", "/hub/nothing"):
        answer = owner.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8"), path
        assert "To the start page" in answer.text
        assert httpx.get(house.origin + path).status_code == 303


def test_the_face_is_away(tmp_path: Path, vendor: Vendor) -> None:
    """While the control process is started again people see a page that looks again by itself, and then their own."""
    with Installation(tmp_path, vendor_config(vendor)) as installation:
        owner = Person(installation).found()
        monitor = installation.child("monitor")
        os.kill(monitor, signal.SIGSTOP)
        os.kill(monitor, signal.SIGKILL)
        compared = owner.get("/hub/compare?model=qwen-plus&model=qwen-turbo")
        assert compared.status_code == 200
        assert "list prices" in compared.text
        # a new one is there within a moment, and nobody notices
        os.kill(installation.child("face"), signal.SIGKILL)
        assert owner.get("/console/").status_code == 200
        # now it stays away for longer than is waited for
        maker = installation.child("fork-server")
        os.kill(maker, signal.SIGSTOP)
        os.kill(installation.child("face"), signal.SIGKILL)
        answer = owner.get("/console/")
        os.kill(maker, signal.SIGCONT)
        assert (answer.status_code, answer.headers["content-type"]) == (503, "text/html; charset=utf-8")
        assert 'http-equiv="refresh"' in answer.text
        assert "retry-after" in answer.headers
        deadline = time.monotonic() + 20
        while owner.get("/console/").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
