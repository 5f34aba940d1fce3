"""/v1/videos/ID: video jobs asked about, their films fetched, listed, deleted. Source: the openai SDK's own types."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from steelyard.base.errors import fault
from steelyard.canon.task import SUCCEEDED, VIDEO, Task
from steelyard.dialects import openai_videos
from steelyard.tasks.desk import Desk
from steelyard.tasks.library import Library
from steelyard.web.answers import guarded, json_answer
from steelyard.web.objects_api import serve
from steelyard.web.principal import get_principal
from steelyard.web.queries import read_integer

PREFIXES = ("/v1/videos", "/compatible-mode/v1/videos")


class VideosApi:
    """The handlers."""

    def __init__(self, desk: Desk, library: Library) -> None:
        self._desk = desk
        self._library = library

    def routes(self) -> list[Route]:
        """The Starlette routes."""
        table = (
            ("GET", "", self.list),
            ("GET", "/{video_id}", self.get),
            ("GET", "/{video_id}/content", self.content),
            ("DELETE", "/{video_id}", self.delete),
        )
        return [
            Route(prefix + path, guarded(handler), methods=[method])
            for prefix in PREFIXES
            for method, path, handler in table
        ]

    async def _find(self, request: Request) -> Task:
        video_id = request.path_params["video_id"]
        task = (await self._desk.get(get_principal(request).workspace, video_id)).task
        if task.kind != VIDEO:
            raise fault("task_not_found", id=video_id[:100])
        return task

    async def list(self, request: Request) -> Response:
        query = request.query_params
        limit = read_integer(query, "limit", 20, 1, 100)
        workspace = get_principal(request).workspace
        shown, has_more = await self._desk.list_after(
            workspace, after=query.get("after", ""), limit=limit, kinds=(VIDEO,)
        )
        data = [openai_videos.show(one.task) for one in shown]
        ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
        return json_answer({"object": "list", "data": data, "has_more": has_more, **ends})

    async def get(self, request: Request) -> Response:
        return json_answer(openai_videos.show(await self._find(request)))

    async def content(self, request: Request) -> Response:
        task = await self._find(request)
        if task.status != SUCCEEDED or task.outcome is None:
            raise fault(
                "parameter_invalid", detail=f"The video is not ready: its task is {task.status}.", param="video_id"
            )
        stored = await self._library.get_object(task.workspace, task.outcome.items[0].object_id)
        return serve(stored, self._library, request)

    async def delete(self, request: Request) -> Response:
        task = await self._find(request)
        actor = get_principal(request).key_id
        if not task.is_over:
            await self._desk.cancel(task.workspace, task.id)
        for item in () if task.outcome is None else task.outcome.items:
            await self._library.delete_object(task.workspace, item.object_id, actor=actor)
        return json_answer({"id": task.id, "object": "video.deleted", "deleted": True})
