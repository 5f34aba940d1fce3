"""Where every visit passes: who it is, whether they may, whether the form is ours; and what they are shown when something fails."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from steelyard.base.errors import Fault, fault
from steelyard.canon.members import VIEWER, Member
from steelyard.control.members import Members
from steelyard.control.records import Records
from steelyard.control.workspaces import list_workspaces
from steelyard.web.console.pages import Pages
from steelyard.web.console.visit import (
    COOKIE,
    WORKSPACE_COOKIE,
    FormTokens,
    Visit,
    check_origin,
    check_text,
    language_of,
    read_form,
)

log = logging.getLogger("steelyard.web")

Handler = Callable[[Visit], Awaitable[Response]]
SAFE = ("GET", "HEAD")
ENTRANCE = "/console/sign-in"


@dataclass(frozen=True, slots=True)
class Act:
    """Something that can be seen or done, and what role it takes; None lets in whoever comes."""

    method: str
    path: str
    handler: Handler
    role: str | None = VIEWER
    #: Whether it concerns the whole installation: whoever was given some workspaces alone is refused.
    is_everywhere: bool = False


class Room(Protocol):
    """A group of pages."""

    @property
    def acts(self) -> tuple[Act, ...]:
        """What can be seen and done there."""
        ...


class Reception:
    """Lets visits in."""

    def __init__(self, records: Records, members: Members, pages: Pages, tokens: FormTokens) -> None:
        self._records = records
        self._members = members
        self._pages = pages
        self._tokens = tokens

    def route(self, act: Act) -> Route:
        """An act as a route."""

        async def endpoint(request: Request) -> Response:
            visit = Visit(request, "", None, language_of(request, None))
            try:
                visit = await self._receive(request, act)
                return await act.handler(visit)
            except Fault as failure:
                return self.refuse(visit, failure)
            except Exception:
                log.exception("a page failed", extra={"request_id": request.headers.get("x-request-id", "")})
                return self.refuse(visit, fault("internal_error"))

        return Route(act.path, endpoint, methods=[act.method])

    async def _receive(self, request: Request, act: Act) -> Visit:
        check_text(f"{request.url.path}?{request.url.query}")
        secret = request.cookies.get(COOKIE, "")
        member = await self._members.find_signed_in(secret)
        visit = Visit(request, secret, member, language_of(request, member))
        if member is not None:
            visit = await self._look_around(visit, member)
        if act.role is not None:
            if member is None:
                raise fault("sign_in_needed")
            if not member.may(act.role):
                raise fault("role_too_low", role=act.role)
            if act.is_everywhere and not member.is_everywhere:
                raise fault("workspace_not_seen")
        if act.method not in SAFE:
            check_origin(request)
            visit = replace(visit, form=read_form(await request.body()))
            if member is not None:
                sent = request.headers.get("x-form-token") or visit.form.get("form_token")
                self._tokens.check(sent, secret)
        return visit

    async def _look_around(self, visit: Visit, member: Member) -> Visit:
        """The workspaces that are open to a member, and the one that they look at."""
        spaces = [one for one in await list_workspaces(self._records) if member.sees(one.name)]
        if not spaces:
            raise fault("workspace_not_seen")
        chosen = visit.request.cookies.get(WORKSPACE_COOKIE, "default")
        names = [one.name for one in spaces]
        return replace(visit, spaces=tuple(spaces), workspace=chosen if chosen in names else names[0])

    def refuse(self, visit: Visit, failure: Fault) -> Response:
        """What is shown in place of a page: the way in where nobody is signed in, else what is wrong and how to cure it."""
        if failure.slug == "sign_in_needed" and visit.request.method in SAFE:
            if visit.is_fragment:
                return Response(status_code=401, headers={"hx-redirect": ENTRANCE, "cache-control": "no-store"})
            return RedirectResponse(f"{ENTRANCE}?next={visit.request.url.path}", status_code=303)
        template = "notice.html" if visit.is_fragment else "failure.html"
        answer = self._pages.render(visit, template, failure.status, failure=failure)
        if failure.retry_after_s:
            answer.headers["retry-after"] = str(int(failure.retry_after_s))
        return answer
