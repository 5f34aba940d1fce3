"""Members and the audit trail."""

from starlette.responses import RedirectResponse, Response

from steelyard.canon.members import OPERATOR, OWNER, ROLES
from steelyard.control import trail
from steelyard.control.members import Members
from steelyard.control.records import Records
from steelyard.web.console.pages import Pages
from steelyard.web.console.reception import Act
from steelyard.web.console.visit import Visit

HOME = "/console/settings/members"
AUDIT = 100


class MembersRoom:
    """The pages of people."""

    def __init__(self, records: Records, members: Members, pages: Pages, base_url: str) -> None:
        self._records = records
        self._members = members
        self._pages = pages
        self._base_url = base_url
        self.acts = (
            Act("GET", HOME, self.list_members, OWNER, is_everywhere=True),
            Act("POST", f"{HOME}/invite", self.invite, OWNER, is_everywhere=True),
            Act("POST", f"{HOME}/{{member_id}}/change", self.change, OWNER, is_everywhere=True),
            Act("POST", f"{HOME}/{{member_id}}/remove", self.remove, OWNER, is_everywhere=True),
            Act("GET", "/console/settings/audit", self.audit, OPERATOR, is_everywhere=True),
        )

    async def list_members(self, visit: Visit) -> Response:
        found = await self._members.list_all()
        return self._pages.render(visit, "members.html", members=found, roles=ROLES, link="")

    async def invite(self, visit: Visit) -> Response:
        """The link is shown once."""
        form = visit.form
        secret = await self._members.invite(form.get("role"), form.get_list("workspaces"), actor=visit.who)
        found = await self._members.list_all()
        link = f"{self._base_url}/console/register?invitation={secret}"
        return self._pages.render(visit, "members.html", members=found, roles=ROLES, link=link)

    async def change(self, visit: Visit) -> Response:
        form = visit.form
        await self._members.change(
            visit.request.path_params["member_id"],
            role=form.get("role"),
            workspaces=form.get_list("workspaces"),
            is_disabled=form.has("disabled"),
            actor=visit.who,
        )
        return RedirectResponse(f"{HOME}?done=member_changed", status_code=303)

    async def remove(self, visit: Visit) -> Response:
        await self._members.remove(visit.request.path_params["member_id"], actor=visit.who)
        return RedirectResponse(f"{HOME}?done=member_removed", status_code=303)

    async def audit(self, visit: Visit) -> Response:
        text = visit.query.get("action", "").strip()
        entries = await trail.list_entries(self._records, AUDIT, text)
        names = {one.id: one.login for one in await self._members.list_all()}
        return self._pages.render(visit, "audit.html", entries=entries, names=names, text=text)
