"""Getting into the console, and what is refused at its door."""

import re
from pathlib import Path

import httpx
from playwright.sync_api import Browser, expect

from browser import open_page
from installation import Installation, Vendor, vendor_config
from people import PASSWORD, Person, sign_in, ticket_of


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


def test_nul_characters(owner: Person) -> None:
    """What no database keeps is refused before one is asked, in a query, a path and a form."""
    for path in ("/console/settings/keys?q=a%00b", "/console/settings/keys/a%00b", "/hub/?q=%00"):
        assert owner.get(path).status_code == 400, path
    assert owner.post("/console/settings/keys", name="a\0b").status_code == 400


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
