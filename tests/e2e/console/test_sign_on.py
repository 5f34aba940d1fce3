"""Signing in at a real OpenID Connect provider, as a browser goes there and back."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from installation import ROOT, Installation, Vendor, free_port, vendor_config
from people import Person

PROVIDER = ROOT / ".clients" / "bin" / "oidc-provider-mock"
USERS = (
    {"sub": "1", "preferred_username": "alice@example.com"},
    {"sub": "2", "preferred_username": "Admin"},
    {"sub": "3", "preferred_username": "bob"},
)


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    port = free_port()
    users = [part for one in USERS for part in ("--user-claims", json.dumps(one))]
    running = subprocess.Popen(
        [str(PROVIDER), "--port", str(port), "--require-nonce", "true", *users],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 30
    while True:
        try:
            if httpx.get(f"{url}/.well-known/openid-configuration", timeout=2).status_code == 200:
                break
        except httpx.HTTPError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    yield url
    running.terminate()
    running.wait()


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory, vendor: Vendor, issuer: str) -> Iterator[Installation]:
    config = f"""
[console.oidc]
issuer = "{issuer}"
client_id = "steelyard"
client_secret = "of-the-company"
title = "Company"
"""
    with Installation(tmp_path_factory.mktemp("company"), vendor_config(vendor, config)) as installation:
        yield installation


@contextmanager
def visit(company: Installation, subject: str, next_: str = "") -> Iterator[tuple[httpx.Client, httpx.Response]]:
    """A browser that goes to the provider, says who it is, and comes back; and what it is told then."""
    with httpx.Client(base_url=company.origin, timeout=30) as browser:
        away = browser.get("/console/oidc", params={"next": next_} if next_ else {})
        assert away.status_code == 303, away.text
        back = httpx.post(away.headers["location"], data={"sub": subject})
        assert back.status_code == 302, back.text
        yield browser, browser.get(back.headers["location"])


def test_there_and_back(company: Installation, issuer: str) -> None:
    """Nobody before there is an owner; then each becomes a member once, with no more rights than the operator says."""
    with visit(company, "1") as (_, told):
        assert told.status_code == 403
    owner = Person(company).found()
    door = httpx.get(f"{company.origin}/console/sign-in").text
    assert "Sign in with Company" in door
    for _ in range(2):
        with visit(company, "1", "/console/usage") as (browser, told):
            assert (told.status_code, told.headers["location"]) == (303, "/console/usage")
            page = browser.get("/console/settings/keys")
            assert page.status_code == 200
            assert "alice@example.com" in page.text
            assert browser.post("/console/settings/keys", data={"name": "x"}).status_code == 403
    members = owner.get("/console/settings/members").text
    assert members.count("alice@example.com") == 1
    assert "of-the-company" not in owner.get("/console/settings/health").text
    assert "of-the-company" not in company.log_text()
    # who has no password cannot be guessed
    for password in ("", " ", "alice@example.com"):
        guess = httpx.post(
            f"{company.origin}/console/sign-in", data={"login": "alice@example.com", "password": password}
        )
        assert guess.status_code == 401


def test_nobody_becomes_another_by_a_name(company: Installation) -> None:
    with visit(company, "2") as (browser, told):
        assert told.status_code == 409
        assert browser.get("/console/").status_code == 303


def test_a_disabled_member_stays_out(company: Installation) -> None:
    owner = Person(company).found("second")
    with visit(company, "3") as (browser, told):
        assert told.status_code == 303
        rows = re.findall(
            r"bob.*?/console/settings/members/(member_\w+)/", owner.get("/console/settings/members").text, re.DOTALL
        )
        assert owner.post(f"/console/settings/members/{rows[0]}/change", role="viewer", disabled="1").status_code == 303
        assert browser.get("/console/").status_code == 303
    with visit(company, "3") as (browser, told):
        assert told.status_code == 401


def test_answers_of_another_visit(company: Installation) -> None:
    """A code is good in the browser that went for it alone, and once."""
    browser = httpx.Client(base_url=company.origin)
    away = browser.get("/console/oidc").headers["location"]
    assert parse_qs(urlsplit(away).query)["code_challenge_method"] == ["S256"]
    back = httpx.post(away, data={"sub": "1"}).headers["location"]
    with httpx.Client(base_url=company.origin) as thief:
        assert thief.get(back).status_code == 502
        thief.get("/console/oidc")
        assert thief.get(back).status_code == 502
    assert browser.get(back.replace("state=", "state=x")).status_code == 502
    assert browser.get("/console/oidc/callback?error=access_denied").status_code == 502
    assert browser.get(back).status_code == 303
    assert browser.get(back).status_code == 502
    # nowhere but here
    outside = browser.get("/console/oidc?next=https://evil.example/")
    assert outside.status_code == 303
    answer = browser.get(httpx.post(outside.headers["location"], data={"sub": "1"}).headers["location"])
    assert answer.headers["location"] == "/console/"
    browser.close()


def test_a_provider_that_is_away(tmp_path: Path, vendor: Vendor) -> None:
    config = f"""
[console.oidc]
issuer = "http://127.0.0.1:{free_port()}"
client_id = "steelyard"
client_secret = "s"
"""
    with Installation(tmp_path, vendor_config(vendor, config)) as installation:
        answer = httpx.get(f"{installation.origin}/console/oidc")
        assert answer.status_code == 502
        assert "does not answer" in answer.text
        assert httpx.get(f"{installation.origin}/console/sign-in").status_code == 200
