"""Members of an installation's console, as plain HTTP clients."""

import re
from typing import Any

import httpx
from playwright.sync_api import Page

from browser import Watched
from installation import Installation
from steelyard.control.tickets import Tickets

#: A name, a file name, a text: shown as it is written, everywhere.
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}'\""
PASSWORD = "correct horse battery"
#: Nobody closes these clients, so they keep no connection open.
NOT_KEPT = httpx.Limits(max_keepalive_connections=0)


def ticket_of(installation: Installation) -> str:
    key = bytes.fromhex((installation.data_dir / "secret.key").read_text().strip())
    return Tickets(key).issue()


class Person:
    """A browser without scripts: it keeps cookies, and sends forms with the token of the page that it looked at last."""

    def __init__(self, installation: Installation, **headers: str) -> None:
        self.http = httpx.Client(base_url=installation.origin, headers=headers, timeout=30, limits=NOT_KEPT)
        self.installation = installation

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.http.get(path, **options)

    def token(self) -> str:
        found = re.search(r'name="form_token" value="([^"]+)"', self.get("/console/settings/account").text)
        assert found is not None
        return found[1]

    def post(self, path: str, token: str | None = None, **fields: Any) -> httpx.Response:
        return self.http.post(path, data={"form_token": self.token() if token is None else token, **fields})

    def found(self, login: str = "admin") -> "Person":
        fields = {"ticket": ticket_of(self.installation), "login": login, "password": PASSWORD, "again": PASSWORD}
        answer = self.http.post("/console/login", data=fields)
        assert answer.status_code == 303, answer.text
        return self

    def invite(self, role: str, workspaces: str = "") -> "Person":
        """Somebody new, with the role."""
        page = self.post("/console/settings/members/invite", role=role, workspaces=workspaces)
        link = re.search(r"/console/register\?invitation=([\w-]+)", page.text)
        assert link is not None, page.text
        other = Person(self.installation)
        login = f"{role}-{link[1][:6].lower()}"
        fields = {"invitation": link[1], "login": login, "password": PASSWORD, "again": PASSWORD}
        answer = other.http.post("/console/register", data=fields)
        assert answer.status_code == 303, answer.text
        return other


def call(installation: Installation, key: str, text: str = "hi", model: str = "priced", **more: Any) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
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
