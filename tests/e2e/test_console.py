"""The console as its people use it: plain HTTP for what must be refused, a real Chromium for what must be seen."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from browser import Watched, chromium, open_page
from installation import ROOT, VECTORS_ALONE, Installation, Vendor, vendor_config
from people import PASSWORD, Person, ticket_of
from steelyard.canon.members import ROLES
from steelyard.web.console.nav import NAV, SETTINGS_NAV

AXE = ROOT / "tests/clients/node/node_modules/axe-core/axe.min.js"
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}'\""
#: In place of services that a list of acts has no need of.
HOLLOW = SimpleNamespace(bases=None, documents=None, retriever=None)
CONSOLE = "\n[console]\ndevelopment = true\n"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, vendor: Vendor) -> Iterator[Installation]:
    config = vendor_config(vendor, CONSOLE, engines=VECTORS_ALONE)
    with Installation(tmp_path_factory.mktemp("console"), config) as installation:
        installation.cli("activate")
        yield installation


@pytest.fixture(scope="module")
def owner(house: Installation) -> Person:
    return Person(house).found()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def pages(house: Installation, owner: Person) -> list[str]:
    """The address of every page, each with something on it."""
    key = house.create_key(name=HOSTILE)
    call(house, key["key"], HOSTILE)
    receipt = owner.get(f"/console/requests?key={key['id']}")
    while not (found := re.search(r"/console/requests/([0-9a-f-]{36})", receipt.text)):
        receipt = owner.get(f"/console/requests?key={key['id']}")
    owner.post("/console/apps", name=HOSTILE, model="priced", instructions=HOSTILE, tools="calculator")
    app = re.findall(r'href="(/console/apps/[^"/]+)"', owner.get("/console/apps").text)[-1]
    owner.post(f"{app}/publish")
    owner.post("/console/knowledge", name=HOSTILE)
    base = re.findall(r'href="(/console/knowledge/[^"/]+)"', owner.get("/console/knowledge").text)[0]
    body = {"model": "local/poster", "input": {"prompt": HOSTILE}}
    headers = {"authorization": f"Bearer {key['key']}", "x-dashscope-async": "enable"}
    path = "/api/v1/services/aigc/text2image/image-synthesis"
    task = httpx.post(house.origin + path, headers=headers, json=body, timeout=30).json()["output"]["task_id"]
    while "SUCCEEDED" not in owner.get(f"/console/tasks/{task}").text:
        time.sleep(0.2)
    return [
        *(one.path for one in (*NAV, *SETTINGS_NAV)),
        "/console/activate", "/console/models/priced", "/console/providers/new", "/console/providers/new?vendor=deepseek",
        "/console/settings/keys/new", f"/console/settings/keys/{key['id']}", "/console/settings/workspaces/default",
        f"/console/requests/{found[1]}", "/console/requests?model=nothing", "/console/_parts",
        "/hub/?q=qwen", "/hub/providers/dashscope", "/hub/models/qwen-plus", "/hub/compare?model=qwen-plus&model=qwen-turbo",
        "/hub/?q=nothing+like+it", base, f"{base}/chunks", app, "/console/apps/new", "/console/plugins/calculator", "/console/plugins/new", f"/console/tasks/{task}",
        "/console/promql?q=up",
    ]  # fmt: skip


def call(installation: Installation, key: str, text: str = "hi", model: str = "priced") -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    headers = {"authorization": f"Bearer {key}", "x-request-id": HOSTILE}
    return httpx.post(f"{installation.origin}/v1/chat/completions", headers=headers, json=body, timeout=30)


def sign_in(watched: Watched, login: str = "admin") -> Page:
    page = watched.page
    watched.goto("/console/sign-in")
    page.fill("#f-login", login)
    page.fill("#f-password", PASSWORD)
    page.click("main button")
    page.wait_for_url("**/console/")
    return page


# getting in


def test_strangers_see_the_door_alone(house: Installation, owner: Person) -> None:
    """Without a session every page leads to the door, every act is refused, and nothing of the installation is told."""
    with httpx.Client(base_url=house.origin) as stranger:
        assert stranger.get("/").headers["location"] == "/console/"
        for path in ("/console/", "/console/usage", "/console/settings/members", "/console/usage.csv"):
            answer = stranger.get(path)
            assert (answer.status_code, answer.headers["location"]) == (303, f"/console/sign-in?next={path}")
        assert stranger.post("/console/settings/keys", data={"name": "x"}).status_code == 401
        assert (
            stranger.get("/console/latest", headers={"hx-request": "true"}).headers["hx-redirect"] == "/console/sign-in"
        )
        assert stranger.get("/console/login?ticket=none").status_code == 403
        assert stranger.get("/console/register").status_code == 403
        assert stranger.get("/console/register?invitation=none").status_code == 403
        door = stranger.get("/console/sign-in")
        assert "admin" not in door.text
        assert "default" not in door.text


def test_the_link_opens_once(house: Installation) -> None:
    """Looking does not use it up, a mistake does not either; the second password set by it is refused."""
    ticket = ticket_of(house)
    fields = {"ticket": ticket, "login": "second", "password": PASSWORD, "again": PASSWORD}
    with httpx.Client(base_url=house.origin) as browser:
        for _ in range(2):
            assert browser.get(f"/console/login?ticket={ticket}").status_code == 200
        assert browser.post("/console/login", data=fields | {"again": "something else"}).status_code == 400
        assert browser.post("/console/login", data=fields | {"password": "short", "again": "short"}).status_code == 400
        assert browser.post("/console/login", data=fields).status_code == 303
        assert browser.get("/console/").status_code == 200
    assert httpx.post(house.origin + "/console/login", data=fields | {"login": "third"}).status_code == 403
    assert httpx.get(f"{house.origin}/console/login?ticket={ticket}").status_code == 403


def test_signing_in_makes_a_new_session(house: Installation, owner: Person) -> None:
    """A cookie that somebody planted is not the one that is signed in; signing out ends it on the server."""
    with httpx.Client(base_url=house.origin, cookies={"steelyard_session": "planted"}) as browser:
        wrong = browser.post("/console/sign-in", data={"login": "admin", "password": "wrong"})
        assert wrong.status_code == 401
        assert "sign_in_failed" in wrong.text
        fields = {"login": "admin", "password": PASSWORD, "next": "https://evil.example/"}
        answer = browser.post("/console/sign-in", data=fields)
        assert (answer.status_code, answer.headers["location"]) == (303, "/console/")
        cookie = answer.headers["set-cookie"]
        assert "planted" not in cookie
        assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
        secret = re.findall(r"steelyard_session=([^;]+)", cookie)[0]
    with httpx.Client(base_url=house.origin, cookies={"steelyard_session": secret}) as browser:
        token = re.findall(r'name="form_token" value="([^"]+)"', browser.get("/console/").text)[0]
        assert browser.post("/console/sign-out", data={"form_token": token}).status_code == 303
    assert httpx.get(house.origin + "/console/", cookies={"steelyard_session": secret}).status_code == 303


def test_guesses_wait(house: Installation, owner: Person) -> None:
    """After some wrong passwords a name waits, and the answer says how long."""
    fields = {"login": "nobody-here", "password": "wrong"}
    answers = [httpx.post(house.origin + "/console/sign-in", data=fields, timeout=30) for _ in range(7)]
    assert [one.status_code for one in answers[:5]] == [401] * 5
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) >= 1
    owner_again = {"login": "admin", "password": PASSWORD}
    assert httpx.post(house.origin + "/console/sign-in", data=owner_again, timeout=30).status_code in (303, 429)


# what is refused


def test_foreign_forms(house: Installation, owner: Person) -> None:
    """A form without the session's own token, or that another site sent, changes nothing."""
    before = owner.get("/console/settings/keys").text.count("/console/settings/keys/key_")
    other = Person(house).found("foreign-forms")
    for token in ("", "x.y", other.token()):
        assert owner.post("/console/settings/keys", token=token, name="forged").status_code == 403
    good = {"form_token": owner.token(), "name": "forged"}
    for headers in (
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example"},
    ):
        assert owner.http.post("/console/settings/keys", data=good, headers=headers).status_code == 403
    assert owner.get("/console/settings/keys").text.count("/console/settings/keys/key_") == before


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


def test_nul_characters(owner: Person) -> None:
    """What no database keeps is refused before one is asked, in a query, a path and a form."""
    for path in ("/console/settings/keys?q=a%00b", "/console/settings/keys/a%00b", "/hub/?q=%00"):
        assert owner.get(path).status_code == 400, path
    assert owner.post("/console/settings/keys", name="a\0b").status_code == 400


def test_roles(house: Installation, owner: Person) -> None:
    """Every act of the console, tried by every role: refused below its own, never refused for the role from there on."""
    from steelyard.web.console.apps_room import AppServices
    from steelyard.web.console.console import Console, ConsoleRules

    rules = ConsoleRules("closed", "developer", True, 1, "http://x", {})
    acts = Console(None, None, None, None, None, HOLLOW, AppServices(None, None, None), b"k" * 32, rules).acts  # type: ignore[arg-type]
    people = {role: owner.invite(role) if role != "owner" else Person(house).found("matrix") for role in ROLES}
    tokens = {role: person.token() for role, person in people.items()}
    tried = 0
    for act in acts:
        if act.role is None or act.path == "/console/sign-out":
            continue
        path = re.sub(r"\{\w+(:path)?\}", "none", act.path)
        for role, person in people.items():
            if act.method == "GET":
                answer = person.get(path)
            else:
                answer = person.http.post(path, data={"form_token": tokens[role]})
            is_refused = answer.status_code == 403 and "role_too_low" in answer.text
            assert is_refused == (ROLES.index(role) < ROLES.index(act.role)), (act.method, act.path, role)
            assert answer.status_code < 500, (act.method, act.path, role, answer.text)
            tried += 1
    assert tried > 100


def test_a_viewer_changes_nothing(house: Installation, owner: Person) -> None:
    """Whatever changes something but one's own account takes more than a viewer."""
    from steelyard.canon.members import VIEWER
    from steelyard.web.console.apps_room import AppServices
    from steelyard.web.console.console import Console, ConsoleRules

    rules = ConsoleRules("closed", "developer", False, 1, "http://x", {})
    own = {"/console/sign-out", "/console/workspace", "/console/settings/account"}
    for act in Console(None, None, None, None, None, HOLLOW, AppServices(None, None, None), b"k" * 32, rules).acts:  # type: ignore[arg-type]
        if act.method != "GET" and act.role == VIEWER:
            assert act.path in own, act.path


def test_workspaces_stay_apart(house: Installation, owner: Person) -> None:
    """Who was given one workspace sees nothing of another, by no page and no address."""
    assert owner.post("/console/settings/workspaces", name="apart").status_code == 303
    key = house.create_key("--workspace", "default", name="of-default")
    member = owner.invite("operator", "apart")
    assert "of-default" not in member.get("/console/settings/keys").text
    assert member.get(f"/console/settings/keys/{key['id']}").status_code == 404
    assert member.post(f"/console/settings/keys/{key['id']}/delete").status_code == 404
    assert member.post("/console/workspace", workspace="default").status_code == 403
    assert member.get("/console/settings/workspaces/default").status_code == 403
    assert member.post("/console/settings/workspaces/default/limits", rpm="1").status_code == 403
    assert member.post("/console/settings/workspaces", name="another").status_code == 403
    for path in ("/console/providers", "/console/providers/new", "/console/settings/audit"):
        assert member.get(path).status_code == 403, path
        assert f'href="{path}"' not in member.get("/console/").text
    assert member.post("/console/providers/fake/remove").status_code == 403
    assert member.post("/console/settings/keys", name="mine", kind="admin").status_code == 403
    admin = house.create_key("--kind", "admin", "--workspace", "apart", name="admin-of-apart")
    assert member.post(f"/console/settings/keys/{admin['id']}/rotate").status_code == 403
    assert "of-default" not in member.get("/console/playground").text
    assert member.post("/console/playground/token", key=key["id"], model="priced").status_code == 404


def test_developers_reach_no_admin_key(house: Installation, owner: Person) -> None:
    """Nobody becomes an admin by replacing an admin's key."""
    admin = house.create_key("--kind", "admin", name="the-admin")
    developer = owner.invite("developer")
    for act in ("rotate", "delete", "disable", "limits", "token"):
        assert developer.post(f"/console/settings/keys/{admin['id']}/{act}").status_code == 403
    assert developer.post("/console/settings/keys", name="mine", kind="admin").status_code == 403
    assert developer.post("/console/playground/token", key=admin["id"], model="priced").status_code == 404
    assert developer.post("/console/settings/keys", name="mine").status_code == 200


def test_the_last_owner_stays(tmp_path: Path, vendor: Vendor) -> None:
    with Installation(tmp_path, vendor_config(vendor)) as installation:
        owner = Person(installation).found()
        page = owner.get("/console/settings/members").text
        (member,) = re.findall(r"/console/settings/members/(member_\w+)/remove", page)
        assert owner.post(f"/console/settings/members/{member}/remove").status_code == 409
        assert owner.post(f"/console/settings/members/{member}/change", role="viewer").status_code == 409
        assert owner.get("/console/settings/members").status_code == 200
        assert owner.get("/console/_parts").status_code == 404


def test_open_registration(tmp_path: Path, vendor: Vendor) -> None:
    """Open only where the operator says so, and not before there is an owner."""
    config = vendor_config(vendor) + '\n[console]\nregistration = "open"\nregister_as = "viewer"\n'
    with Installation(tmp_path, config) as installation, httpx.Client(base_url=installation.origin) as stranger:
        assert stranger.get("/console/register").status_code == 403
        Person(installation).found()
        fields = {"login": "eve", "password": PASSWORD, "again": PASSWORD}
        assert stranger.post("/console/register", data=fields).status_code == 303
        assert stranger.get("/console/settings/members").status_code == 403
        assert httpx.post(installation.origin + "/console/register", data=fields).status_code == 409


# what is seen


def test_the_newcomer_s_path(tmp_path: Path, vendor: Vendor, browser: Browser) -> None:
    """From the printed link to the first call's receipt, by the Chinese labels, at the width of a desk and of a phone."""
    with Installation(tmp_path, vendor_config(vendor)) as installation:
        watched = open_page(browser, installation.origin, locale="zh-CN")
        page = watched.page
        watched.goto(f"/console/login?ticket={ticket_of(installation)}")
        page.get_by_label("密码", exact=False).first.fill(PASSWORD)
        page.get_by_label("再次输入密码").fill(PASSWORD)
        page.get_by_role("button", name="设置密码并进入").click()
        page.get_by_role("link", name="立即开通").click()
        expect(page.get_by_role("heading", name="模型详情")).to_be_visible()
        page.get_by_role("button", name="确认开通").click()
        expect(page.locator(".balance")).to_contain_text("1,000,000")
        page.get_by_role("link", name="设置").click()
        expect(page.get_by_role("link", name="API Key")).to_have_attribute("aria-current", "page")
        page.get_by_role("link", name="创建").first.click()
        page.get_by_label("名称").fill("新手")
        page.get_by_role("button", name="创建").click()
        secret = page.locator("#the-key").inner_text()
        expect(page.locator("#waiting")).to_contain_text("正在等待")
        assert call(installation, secret).status_code == 200
        expect(page.locator("#waiting")).to_contain_text("已收到", timeout=10_000)
        page.locator("#waiting").get_by_role("link", name="回执").click()
        expect(page.get_by_role("heading", name="回执")).to_be_visible()
        expect(page.locator("main")).to_contain_text("fake/vendor-model")
        page.get_by_role("link", name="设置").click()
        page.get_by_role("link", name="新手").click()
        expect(page.locator("main")).to_contain_text("sk-")
        assert secret not in page.content()
        page.set_viewport_size({"width": 390, "height": 800})
        watched.goto("/console/")
        page.get_by_label("菜单").first.click()
        page.get_by_role("link", name="体验中心").click()
        page.get_by_role("button", name="发送").click()
        answer = page.locator(".answer").first
        expect(answer.locator(".text")).to_contain_text("Hello from the fake vendor", timeout=10_000)
        answer.locator(".told a").click()
        page.wait_for_url("**/console/requests/*")
        assert watched.problems == []


def test_playground_compares(house: Installation, owner: Person, browser: Browser) -> None:
    """Two models side by side, each asked by the browser with a token; a refusal is told in its own words."""
    key = house.create_key(name="player")
    narrow = house.create_key("--models", "fake", name="narrow")
    watched = open_page(browser, house.origin, locale="en-US")
    page = sign_in(watched)
    seen: list[str] = []
    page.on("request", lambda one: seen.append(one.headers.get("authorization", "")) if "/v1/chat" in one.url else None)
    watched.goto("/console/playground?model=priced")
    page.select_option("#p-key", key["id"])
    page.select_option("#p-model-1", "fake")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator(".answer .told a")).to_have_count(2, timeout=15_000)
    assert len(seen) == 2
    assert all(one.startswith("Bearer st-") for one in seen)
    assert "sk-" not in "".join(seen)
    page.select_option("#p-key", narrow["id"])
    page.get_by_role("button", name="Ask").click()
    expect(page.locator(".answer .told.bad")).to_contain_text("priced", timeout=15_000)
    expect(page.locator(".answer .told a")).to_have_count(1)
    page.locator("summary", has_text="Code of this call").click()
    expect(page.locator("#the-code")).to_contain_text("/compatible-mode/v1/chat/completions")
    # the browser itself reports an answer of 403
    assert [one for one in watched.problems if "403" not in one] == []


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


def test_the_hub(house: Installation, owner: Person, browser: Browser) -> None:
    """What people call it finds it; models are compared; a provider's page leads to adding it."""
    watched = open_page(browser, house.origin, locale="zh-CN")
    page = sign_in(watched)
    page.get_by_role("link", name="API 广场").click()
    page.get_by_placeholder("阿里云百炼").fill("阿里云百炼 开放平台 API")
    page.get_by_role("button", name="查找").click()
    page.locator(".tiles a").first.click()
    expect(page.locator("h1")).to_contain_text("阿里云百炼")
    expect(page.locator("main")).to_contain_text("https://dashscope.aliyuncs.com/compatible-mode/v1")
    expect(page.get_by_role("link", name="接入服务商")).to_have_attribute(
        "href", "/console/providers/new?vendor=dashscope"
    )
    watched.goto("/hub/?q=便宜的中文长文本模型")
    for place in (0, 1):
        page.locator("tbody input").nth(place).check()
    page.get_by_role("button", name="对比").click()
    expect(page.locator("thead th")).to_have_count(3)
    expect(page.locator("main")).to_contain_text("1,000,000")
    with httpx.Client(base_url=house.origin) as stranger:
        assert stranger.get("/hub/").headers["location"] == "/console/sign-in?next=/hub/"
    assert watched.problems == []


def test_languages_are_kept(house: Installation, owner: Person, browser: Browser) -> None:
    """The switch holds for the member, on another machine too."""
    member = owner.invite("viewer")
    login = re.findall(r'href="/console/settings/account">([^<]+)', member.get("/console/").text)[0]
    watched = open_page(browser, house.origin, locale="en-US")
    page = sign_in(watched, login)
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_role("heading", name="概览")).to_be_visible()
    assert "概览" in member.get("/console/", headers={"accept-language": "en"}).text


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
