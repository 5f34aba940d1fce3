"""设置 → 限额申请: whoever uses a workspace asks for higher limits, whoever looks after it decides."""

from starlette.responses import RedirectResponse, Response

from steelyard.base.errors import Fault, fault
from steelyard.canon.members import DEVELOPER, OPERATOR
from steelyard.control import quotas
from steelyard.control.members import Members
from steelyard.control.records import Records
from steelyard.web.console.limit_fields import read_limits
from steelyard.web.console.pages import Pages
from steelyard.web.console.reception import Act
from steelyard.web.console.visit import Visit

HOME = "/console/settings/quotas"


class QuotasRoom:
    """The page of wishes for higher limits."""

    def __init__(self, records: Records, members: Members, pages: Pages) -> None:
        self._records = records
        self._members = members
        self._pages = pages
        self.acts = (
            Act("GET", HOME, self.show),
            Act("POST", HOME, self.ask, DEVELOPER),
            Act("POST", f"{HOME}/{{wish_id}}", self.decide, OPERATOR),
        )

    async def show(self, visit: Visit) -> Response:
        return await self._show(visit, None)

    async def ask(self, visit: Visit) -> Response:
        try:
            limits = read_limits(visit.form)
            await quotas.ask(self._records, visit.workspace, limits, visit.form.get("reason"), actor=visit.who.id)
        except Fault as failure:
            return await self._show(visit, failure)
        return RedirectResponse(f"{HOME}?done=quota_asked", status_code=303)

    async def decide(self, visit: Visit) -> Response:
        wish = await quotas.get_wish(self._records, visit.request.path_params["wish_id"])
        if not visit.who.sees(wish.workspace):
            raise fault("workspace_not_seen")
        decision = visit.form.get("decision")
        if decision not in ("grant", "decline"):
            raise fault("parameter_invalid", detail="decision is grant or decline.", param="decision")
        is_granted = decision == "grant"
        await quotas.decide(
            self._records, wish.id, is_granted=is_granted, answer=visit.form.get("answer"), actor=visit.who.id
        )
        done = "quota_granted" if is_granted else "quota_declined"
        return RedirectResponse(f"{HOME}?done={done}", status_code=303)

    async def _show(self, visit: Visit, failure: Fault | None) -> Response:
        names = tuple(one.name for one in visit.spaces) if visit.who.may(OPERATOR) else (visit.workspace,)
        people = {one.id: one.login for one in await self._members.list_all()}
        return self._pages.render(
            visit,
            "quotas.html",
            200 if failure is None else failure.status,
            wishes=await quotas.list_wishes(self._records, names),
            people=people,
            limits=visit.space.policy.limits,
            failure=failure,
        )
