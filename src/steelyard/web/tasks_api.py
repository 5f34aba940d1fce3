"""/api/v1/tasks: asked about, listed, cancelled, as the vendor has it. Source: dashscope.md 8."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from steelyard.base.clock import now_us
from steelyard.canon.task import OF_KNOWLEDGE, OPERATION_OF
from steelyard.dialects import dashscope_tasks
from steelyard.tasks.desk import Desk
from steelyard.web.native import native_answer, native_guarded, request_id_of
from steelyard.web.principal import get_principal

PREFIX = "/api/v1/tasks"
KINDS = tuple(kind for kind in OPERATION_OF if kind not in OF_KNOWLEDGE)


class TasksApi:
    """The handlers."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[Route]:
        """The Starlette routes. Clients ask with and without a slash at the end, and none is sent elsewhere."""
        table = (
            ("GET", "", self.list),
            ("GET", "/{task_id}", self.get),
            ("POST", "/{task_id}/cancel", self.cancel),
        )
        return [
            Route(PREFIX + path + end, native_guarded(handler), methods=[method])
            for method, path, handler in table
            for end in ("", "/")
        ]

    async def get(self, request: Request) -> Response:
        task_id = request.path_params["task_id"]
        shown = await self._desk.find(get_principal(request).workspace, task_id)
        if shown is None:
            return native_answer(dashscope_tasks.show_unknown(task_id, request_id_of(request)))
        links = shown.links
        return native_answer(
            dashscope_tasks.show_task(shown.task, lambda one: links.get(one, ""), request_id_of(request))
        )

    async def list(self, request: Request) -> Response:
        filters = dashscope_tasks.read_page(request.query_params, now_us())
        tasks, total = await self._desk.list_page(get_principal(request).workspace, kinds=KINDS, **filters)
        page_no, page_size = filters["page_no"], filters["page_size"]
        return native_answer(dashscope_tasks.show_list(tasks, total, page_no, page_size, request_id_of(request)))

    async def cancel(self, request: Request) -> Response:
        task_id = request.path_params["task_id"]
        await self._desk.cancel(get_principal(request).workspace, task_id)
        return native_answer(dashscope_tasks.show_canceled(task_id, request_id_of(request)))
