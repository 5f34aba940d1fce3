"""Tasks with their results, and what webhooks were told; the objects that they left, with their links."""

from starlette.responses import RedirectResponse, Response

from steelyard.base.errors import fault
from steelyard.base.lifetimes import read_ttl_s
from steelyard.canon.members import DEVELOPER, OPERATOR
from steelyard.tasks.desk import Desk
from steelyard.tasks.library import Library
from steelyard.web.console.pages import Pages
from steelyard.web.console.reception import Act
from steelyard.web.console.visit import Visit

TASKS, FILES = "/console/tasks", "/console/files"
PAGE, OBJECTS = 30, 100
STATUSES = ("PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELED")


class TasksRoom:
    """The pages of tasks and objects."""

    def __init__(self, desk: Desk, library: Library, pages: Pages) -> None:
        self._desk = desk
        self._library = library
        self._pages = pages
        self.acts = (
            Act("GET", TASKS, self.list_tasks),
            Act("GET", f"{TASKS}/{{task_id}}", self.show),
            Act("GET", f"{TASKS}/{{task_id}}/progress", self.progress),
            Act("POST", f"{TASKS}/{{task_id}}/cancel", self.cancel, DEVELOPER),
            Act("POST", f"{TASKS}/{{task_id}}/redeliver", self.redeliver, OPERATOR),
            Act("GET", FILES, self.list_objects),
            Act("GET", "/console/settings/domains", self.list_domains),
            Act("POST", f"{FILES}/{{object_id}}/keep", self.keep, DEVELOPER),
            Act("POST", f"{FILES}/{{object_id}}/revoke", self.revoke, DEVELOPER),
            Act("POST", f"{FILES}/{{object_id}}/delete", self.delete, DEVELOPER),
        )

    # tasks

    async def list_tasks(self, visit: Visit) -> Response:
        page_no = visit.page_no
        filters = {name: value for name in ("status", "model") if (value := visit.query.get(name, "").strip())}
        if filters.get("status", STATUSES[0]) not in STATUSES:
            raise fault("parameter_invalid", detail=f"status is one of {', '.join(STATUSES)}.", param="status")
        found, total = await self._desk.list_page(visit.workspace, page_no=page_no, page_size=PAGE, **filters)
        return self._pages.render(
            visit,
            "tasks.html",
            tasks=found,
            total=total,
            page_no=page_no,
            page=PAGE,
            filters=filters,
            statuses=STATUSES,
        )

    async def show(self, visit: Visit) -> Response:
        shown = await self._desk.get(visit.workspace, visit.request.path_params["task_id"])
        deliveries = await self._library.list_deliveries(shown.task.id)
        return self._pages.render(
            visit, "task.html", task=shown.task, links=list(shown.links.values()), deliveries=deliveries
        )

    async def progress(self, visit: Visit) -> Response:
        """How far it is; the page asks every two seconds until it is over."""
        shown = await self._desk.get(visit.workspace, visit.request.path_params["task_id"])
        return self._pages.render(visit, "task_part.html", task=shown.task, links=list(shown.links.values()))

    async def cancel(self, visit: Visit) -> Response:
        task = await self._desk.cancel(visit.workspace, visit.request.path_params["task_id"])
        return RedirectResponse(f"{TASKS}/{task.id}?done=task_canceled", status_code=303)

    async def redeliver(self, visit: Visit) -> Response:
        task_id = visit.request.path_params["task_id"]
        await self._desk.get(visit.workspace, task_id)
        if visit.form.get("delivery") not in {one.id for one in await self._library.list_deliveries(task_id)}:
            raise fault("resource_not_found", detail=" The task has no such delivery.")
        await self._library.redeliver(visit.form.get("delivery"), actor=visit.who.id)
        return RedirectResponse(f"{TASKS}/{task_id}?done=redelivered", status_code=303)

    # objects

    async def list_objects(self, visit: Visit) -> Response:
        found = await self._library.list_objects(visit.workspace, OBJECTS)
        shown = [(one, self._library.link(one)) for one in found]
        return self._pages.render(visit, "files.html", objects=shown, limit=OBJECTS)

    async def list_domains(self, visit: Visit) -> Response:
        """What a firewall or a mini-program must let through to open any link of ours."""
        return self._pages.render(visit, "domains.html", domains=self._library.domains())

    async def keep(self, visit: Visit) -> Response:
        ttl_s = read_ttl_s(visit.form.get("ttl"))
        await self._library.set_keeping(visit.workspace, self._object(visit), ttl_s, actor=visit.who.id)
        return RedirectResponse(f"{FILES}?done=object_kept", status_code=303)

    async def revoke(self, visit: Visit) -> Response:
        await self._library.revoke_links(visit.workspace, self._object(visit), actor=visit.who.id)
        return RedirectResponse(f"{FILES}?done=links_void", status_code=303)

    async def delete(self, visit: Visit) -> Response:
        await self._library.delete_object(visit.workspace, self._object(visit), actor=visit.who.id)
        return RedirectResponse(f"{FILES}?done=object_deleted", status_code=303)

    @staticmethod
    def _object(visit: Visit) -> str:
        object_id: str = visit.request.path_params["object_id"]
        return object_id
