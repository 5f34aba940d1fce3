"""The plain page behind the one-time link, until there is a console: what runs, what answers, what was used."""

import time
from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from steelyard import __version__
from steelyard.base.errors import Fault, fault
from steelyard.control import keys, usage, workspaces
from steelyard.control.model_book import ModelBook
from steelyard.control.records import Records
from steelyard.control.tickets import Tickets
from steelyard.web.answers import guarded
from steelyard.web.pages import SECURITY_HEADERS, page, table

COOKIE = "steelyard_session"


class StatusPage:
    """The handlers."""

    def __init__(self, records: Records, models: ModelBook, tickets: Tickets) -> None:
        self._records = records
        self._models = models
        self._tickets = tickets
        self._started_at = time.monotonic()

    def routes(self) -> list[Route]:
        """The Starlette routes."""
        return [
            Route("/", self.front),
            Route("/console/login", guarded(self.login)),
            Route("/console", self.to_console),
            Route("/console/", self.show),
        ]

    async def front(self, request: Request) -> Response:
        """The root says where to go; it shows nothing of the installation."""
        return RedirectResponse("/errors", status_code=302)

    async def to_console(self, request: Request) -> Response:
        return RedirectResponse("/console/", status_code=302)

    async def login(self, request: Request) -> Response:
        """Takes the one-time ticket and gives a session."""
        if not self._tickets.redeem(request.query_params.get("ticket", "")):
            raise fault(
                "access_denied",
                detail=" The link was used already or has expired; `steelyard quickstart` prints a new one.",
            )
        answer = RedirectResponse("/console/", status_code=303)
        answer.set_cookie(COOKIE, self._tickets.open_session(), httponly=True, samesite="strict", path="/console")
        return answer

    async def show(self, request: Request) -> Response:
        try:
            if not self._tickets.is_session(request.cookies.get(COOKIE, "")):
                raise fault("access_denied", detail=" Open the one-time link that `steelyard quickstart` prints.")
        except Fault as failure:
            body = f"<p>{escape(failure.message)}</p><p>{escape(failure.row.cure[1])}</p>"
            return HTMLResponse(page("steelyard", body), status_code=403, headers=SECURITY_HEADERS)
        return HTMLResponse(page("steelyard", await self._body()), headers=SECURITY_HEADERS)

    async def _body(self) -> str:
        spaces = [
            [escape(one.name), "yes 是" if one.activated_us else "no 否", f"{one.free_tokens_left:,}"]
            for one in await workspaces.list_workspaces(self._records)
        ]
        held = [
            [escape(one.grant.name), f"<code>{escape(one.masked)}</code>", one.grant.kind, escape(one.grant.workspace)]
            for one in await keys.list_keys(self._records)
        ]
        models = [
            [escape(name), escape(model.targets[0].label), "stand-in 替身" if model.is_stand_in else ""]
            for name, model in sorted((await self._models.read()).items())
        ]
        used = [
            [
                escape(str(row["model"])),
                str(row["calls"]),
                f"{row['total_tokens']:,}",
                f"{row['charged_micros'] / 1e6:.4f} {row['currency']}",
            ]
            for row in await usage.get_usage(self._records, workspace=None)
        ]
        uptime = int(time.monotonic() - self._started_at)
        return (
            f"<p>Version {__version__}, running for {uptime} s.</p>"
            "<h2>Workspaces 业务空间</h2>" + table(["Name", "Activated 已开通", "Free tokens left 剩余免费额度"], spaces)
            + "<h2>Keys 密钥</h2>" + table(["Name", "Key", "Kind", "Workspace"], held)
            + "<h2>Usage 用量</h2>" + table(["Model", "Calls 调用", "Tokens", "Charged 费用"], used)
            + "<h2>Models 模型</h2>" + table(["Name", "Answered by 应答者", ""], models)
            + '<p><a href="/errors">Errors 错误</a></p>'
        )  # fmt: skip
