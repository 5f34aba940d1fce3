"""Workspaces: made, activated, limited."""

from starlette.responses import RedirectResponse, Response

from steelyard.base.errors import Fault, fault
from steelyard.canon.members import OPERATOR
from steelyard.control import workspaces
from steelyard.control.limits import show_budget
from steelyard.control.records import Records
from steelyard.web.console.limit_fields import read_limits
from steelyard.web.console.pages import Pages
from steelyard.web.console.reception import Act
from steelyard.web.console.visit import Visit

HOME = "/console/settings/workspaces"


class WorkspacesRoom:
    """The pages of workspaces."""

    def __init__(self, records: Records, pages: Pages) -> None:
        self._records = records
        self._pages = pages
        self.acts = (
            Act("GET", HOME, self.list_workspaces, OPERATOR),
            Act("POST", HOME, self.create, OPERATOR, is_everywhere=True),
            Act("GET", f"{HOME}/{{name}}", self.show, OPERATOR),
            Act("POST", f"{HOME}/{{name}}/limits", self.limit, OPERATOR),
        )

    async def list_workspaces(self, visit: Visit) -> Response:
        return self._pages.render(visit, "workspaces.html")

    async def create(self, visit: Visit) -> Response:
        try:
            await workspaces.create_workspace(self._records, visit.form.get("name"), actor=visit.who.id)
        except Fault as failure:
            return self._pages.render(visit, "workspaces.html", failure.status, failure=failure)
        return RedirectResponse(f"{HOME}?done=workspace_made", status_code=303)

    async def show(self, visit: Visit) -> Response:
        return await self._show(visit, None)

    async def limit(self, visit: Visit) -> Response:
        name = self._name(visit)
        policy = (await workspaces.get_workspace(self._records, name)).policy
        try:
            await workspaces.set_limits(
                self._records,
                name,
                limits=read_limits(visit.form),
                unknown_price=policy.unknown_price,
                step_up=policy.step_up,
                hygiene=policy.hygiene,
                actor=visit.who.id,
            )
        except Fault as failure:
            return await self._show(visit, failure)
        return RedirectResponse(f"{HOME}/{name}?done=limits_set", status_code=303)

    async def _show(self, visit: Visit, failure: Fault | None) -> Response:
        name = self._name(visit)
        record = await workspaces.get_workspace(self._records, name)
        budget = await show_budget(self._records, f"workspace:{name}", record.policy.limits)
        return self._pages.render(
            visit,
            "workspace.html",
            200 if failure is None else failure.status,
            record=record,
            limits=record.policy.limits,
            budget=budget,
            failure=failure,
        )

    def _name(self, visit: Visit) -> str:
        name: str = visit.request.path_params["name"]
        if not visit.who.sees(name):
            raise fault("workspace_not_seen")
        return name
