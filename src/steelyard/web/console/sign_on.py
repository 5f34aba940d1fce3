"""Signing in at the company's identity provider, where the operator has one."""

import base64
import hmac
from typing import Literal

import msgspec
from starlette.responses import RedirectResponse, Response

from steelyard.base.errors import fault
from steelyard.base.secrets import same
from steelyard.control.identities import Flow, IdentityProvider
from steelyard.control.members import Members
from steelyard.web.console.reception import Act
from steelyard.web.console.visit import COOKIE, Visit, local_path

HOME, START, BACK = "/console/", "/console/oidc", "/console/oidc/callback"
FLOW_COOKIE, FLOW_S = "steelyard_oidc", 600


class SignOn:
    """The way to the provider and back."""

    def __init__(
        self,
        provider: IdentityProvider,
        members: Members,
        key: bytes,
        *,
        role: Literal["viewer", "developer"],
        is_secure: bool,
    ) -> None:
        self._provider = provider
        self._members = members
        self._key = key
        self._role = role
        self._is_secure = is_secure
        self.acts = (Act("GET", START, self.begin, None), Act("GET", BACK, self.finish, None))

    async def begin(self, visit: Visit) -> Response:
        where, flow = await self._provider.begin(local_path(visit.query.get("next", ""), HOME))
        answer = RedirectResponse(where, status_code=303)
        # lax: it must come back with somebody whom another site sends here
        answer.set_cookie(
            FLOW_COOKIE,
            self._seal(flow),
            max_age=FLOW_S,
            httponly=True,
            samesite="lax",
            secure=self._is_secure,
            path=START,
        )
        return answer

    async def finish(self, visit: Visit) -> Response:
        flow = self._open(visit.request.cookies.get(FLOW_COOKIE, ""))
        if flow is None or not same(visit.query.get("state", ""), flow.state):
            raise fault("sign_on_failed", detail="the visit did not begin in this browser, or took too long.")
        if visit.query.get("error"):
            raise fault("sign_on_failed", detail=f"it said {visit.query['error'][:60]!r}.")
        identity = await self._provider.finish(flow, visit.query.get("code", ""))
        opened = await self._members.arrive(identity, self._role)
        if visit.secret:
            await self._members.sign_out(visit.secret)
        answer = RedirectResponse(local_path(flow.next, HOME), status_code=303)
        answer.set_cookie(COOKIE, opened.secret, httponly=True, samesite="lax", secure=self._is_secure, path="/")
        # what the flow left ends by itself: an answer of the face sets one cookie, and a code is good once
        return answer

    def _seal(self, flow: Flow) -> str:
        text = base64.urlsafe_b64encode(msgspec.json.encode(flow)).decode()
        return f"{text}.{self._mac(text)}"

    def _open(self, sealed: str) -> Flow | None:
        text, _, mac = sealed.rpartition(".")
        if not text or not same(mac, self._mac(text)):
            return None
        return msgspec.json.decode(base64.urlsafe_b64decode(text), type=Flow)

    def _mac(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), "sha256").hexdigest()
