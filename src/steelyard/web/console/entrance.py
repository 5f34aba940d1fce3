"""Getting in: the one-time link, registration, invitations, signing in and out; one's own language and password."""

from typing import Literal

from starlette.responses import RedirectResponse, Response

from steelyard.base.errors import Fault, fault
from steelyard.canon.members import VIEWER
from steelyard.control.members import Members, SignedIn
from steelyard.control.tickets import Tickets
from steelyard.web.console.pages import Pages
from steelyard.web.console.reception import Act
from steelyard.web.console.visit import COOKIE, LANGUAGE_COOKIE, WORKSPACE_COOKIE, Visit, local_path

HOME = "/console/"


class Entrance:
    """The pages that need nobody signed in, and those of one's own account."""

    def __init__(
        self,
        members: Members,
        tickets: Tickets,
        pages: Pages,
        *,
        registration: Literal["closed", "open"],
        register_as: str,
        is_secure: bool,
        sign_on: str = "",
    ) -> None:
        #: What the button to the identity provider says; nothing: there is none.
        self._sign_on = sign_on
        self._members = members
        self._tickets = tickets
        self._pages = pages
        self._is_open = registration == "open"
        self._register_as = register_as
        self._is_secure = is_secure
        self.acts = (
            Act("GET", "/console/login", self.first, None),
            Act("POST", "/console/login", self.found, None),
            Act("GET", "/console/sign-in", self.sign_in_form, None),
            Act("POST", "/console/sign-in", self.sign_in, None),
            Act("GET", "/console/register", self.register_form, None),
            Act("POST", "/console/register", self.register, None),
            Act("POST", "/console/language", self.set_language, None),
            Act("POST", "/console/sign-out", self.sign_out, VIEWER),
            Act("POST", "/console/workspace", self.choose_workspace, VIEWER),
            Act("GET", "/console/settings/account", self.account, VIEWER),
            Act("POST", "/console/settings/account", self.set_password, VIEWER),
        )

    # the one-time link

    async def first(self, visit: Visit) -> Response:
        """Looking does not use the link up: only setting the password does."""
        ticket = visit.query.get("ticket", "")
        self._tickets.check(ticket)
        return self._pages.render(visit, "first.html", ticket=ticket, has_owner=await self._members.has_owner())

    async def found(self, visit: Visit) -> Response:
        """Sets the password of the installation's owner."""
        ticket = visit.form.get("ticket")
        self._tickets.check(ticket)
        try:
            _check_twice(visit)
            with self._tickets.using(ticket):
                opened = await self._members.found(visit.form.get("login"), visit.form.get_raw("password"))
        except Fault as failure:
            has_owner = await self._members.has_owner()
            return self._pages.render(
                visit, "first.html", failure.status, ticket=ticket, has_owner=has_owner, failure=failure
            )
        return self._let_in(opened, HOME)

    # signing in and out

    async def sign_in_form(self, visit: Visit) -> Response:
        if visit.member is not None:
            return RedirectResponse(HOME, status_code=303)
        return self._pages.render(
            visit, "sign_in.html", next=visit.query.get("next", ""), is_open=self._is_open, sign_on=self._sign_on
        )

    async def sign_in(self, visit: Visit) -> Response:
        next_ = visit.form.get("next")
        client = visit.request.headers.get("x-steelyard-client", "")
        try:
            opened = await self._members.sign_in(visit.form.get("login"), visit.form.get_raw("password"), client)
        except Fault as failure:
            answer = self._pages.render(
                visit,
                "sign_in.html",
                failure.status,
                next=next_,
                is_open=self._is_open,
                sign_on=self._sign_on,
                failure=failure,
            )
            if failure.retry_after_s:
                answer.headers["retry-after"] = str(int(failure.retry_after_s))
            return answer
        if visit.secret:
            # whatever session came with the form is not the one that goes on
            await self._members.sign_out(visit.secret)
        return self._let_in(opened, local_path(next_, HOME))

    async def sign_out(self, visit: Visit) -> Response:
        await self._members.sign_out(visit.secret)
        answer = RedirectResponse("/console/sign-in", status_code=303)
        answer.delete_cookie(COOKIE, path="/")
        return answer

    # becoming a member

    async def register_form(self, visit: Visit) -> Response:
        invitation = visit.query.get("invitation", "")
        role = await self._role_of(invitation)
        return self._pages.render(visit, "register.html", invitation=invitation, role=role)

    async def register(self, visit: Visit) -> Response:
        invitation = visit.form.get("invitation")
        role = await self._role_of(invitation)
        try:
            _check_twice(visit)
            opened = await self._members.join(
                visit.form.get("login"), visit.form.get_raw("password"), role, invitation=invitation
            )
        except Fault as failure:
            return self._pages.render(
                visit, "register.html", failure.status, invitation=invitation, role=role, failure=failure
            )
        return self._let_in(opened, HOME)

    async def _role_of(self, invitation: str) -> str:
        """What whoever registers becomes."""
        if invitation:
            return (await self._members.find_invitation(invitation)).role
        if not self._is_open or not await self._members.has_owner():
            raise fault("registration_closed")
        return self._register_as

    # one's own

    async def set_language(self, visit: Visit) -> Response:
        """Kept with the member, or in the browser of who is none yet."""
        language = visit.form.get("language")
        answer = RedirectResponse(local_path(visit.form.get("next"), HOME), status_code=303)
        if visit.member is not None:
            await self._members.set_language(visit.member, language)
        else:
            self._set_cookie(answer, LANGUAGE_COOKIE, language if language in ("zh", "en") else "")
        return answer

    async def choose_workspace(self, visit: Visit) -> Response:
        name = visit.form.get("workspace")
        if not visit.who.sees(name):
            raise fault("workspace_not_seen")
        answer = RedirectResponse(local_path(visit.form.get("next"), HOME), status_code=303)
        self._set_cookie(answer, WORKSPACE_COOKIE, name)
        return answer

    async def account(self, visit: Visit) -> Response:
        return self._pages.render(visit, "account.html", is_done=False)

    async def set_password(self, visit: Visit) -> Response:
        try:
            _check_twice(visit)
            await self._members.set_own_password(
                visit.who, visit.form.get_raw("old"), visit.form.get_raw("password"), visit.secret
            )
        except Fault as failure:
            return self._pages.render(visit, "account.html", failure.status, is_done=False, failure=failure)
        return self._pages.render(visit, "account.html", is_done=True)

    def _let_in(self, opened: SignedIn, path: str) -> Response:
        answer = RedirectResponse(path, status_code=303)
        self._set_cookie(answer, COOKIE, opened.secret)
        return answer

    def _set_cookie(self, answer: Response, name: str, value: str) -> None:
        answer.set_cookie(name, value, httponly=True, samesite="lax", secure=self._is_secure, path="/")


def _check_twice(visit: Visit) -> None:
    if visit.form.get_raw("password") != visit.form.get_raw("again"):
        raise fault("parameter_invalid", detail="The two passwords are not the same.", param="again")
