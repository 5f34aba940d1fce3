"""/control/v1 for tasks and media: what to let through a firewall, tasks of all workspaces, what webhooks were told."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from steelyard.base.clock import MICROS
from steelyard.base.lifetimes import read_ttl_s
from steelyard.canon.files import StoredObject
from steelyard.canon.task import Task
from steelyard.tasks.desk import Desk
from steelyard.tasks.library import Delivery, Library
from steelyard.tasks.link_check import LinkChecker
from steelyard.web.answers import json_answer, read_body, secret_answer
from steelyard.web.control_api import Operation
from steelyard.web.principal import get_admin
from steelyard.web.queries import read_integer


def show_task(task: Task) -> dict[str, Any]:
    """A task as JSON."""
    return {
        "id": task.id,
        "workspace": task.workspace,
        "key_id": task.key_id,
        "kind": task.kind,
        "model": task.model,
        "status": task.status,
        "target": task.target,
        "created_at": task.created_us // MICROS,
        "started_at": None if task.started_us is None else task.started_us // MICROS,
        "ended_at": None if task.ended_us is None else task.ended_us // MICROS,
        "done": task.done_count,
        "total": task.total_count,
        "code": None if task.failure is None else task.failure.code,
        "message": None if task.failure is None else task.failure.message,
    }


def show_delivery(one: Delivery) -> dict[str, Any]:
    """A webhook's telling as JSON."""
    return {
        "id": one.id,
        "task_id": one.task_id,
        "url": one.url,
        "state": one.state,
        "attempts": one.attempts,
        "next_at": one.next_us // MICROS if one.state == "waiting" else None,
        "last_status": one.last_status,
        "last_error": one.last_error,
        "created_at": one.created_us // MICROS,
    }


class CheckWish(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /media/check."""

    url: str


class KeepWish(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /objects/ID/keep: a time from now such as 7d, or `forever`."""

    ttl: str


def show_object(stored: StoredObject, link: str) -> dict[str, Any]:
    """An object as JSON, with its link of now."""
    return {
        "id": stored.id,
        "workspace": stored.workspace,
        "name": stored.name,
        "content_type": stored.content_type,
        "bytes": stored.size_bytes,
        "sha256": stored.digest,
        "created_at": stored.created_us // MICROS,
        "keep_until": None if stored.keep_until_us is None else stored.keep_until_us // MICROS,
        "url": link,
    }


class MediaControl:
    """The handlers."""

    def __init__(self, desk: Desk, library: Library, checker: LinkChecker) -> None:
        self._checker = checker
        self._desk = desk
        self._library = library
        self.operations = (
            Operation("GET", "/media/domains", "What a firewall or mini-program must let through", self.get_domains),
            Operation("POST", "/media/check", "Test a link as a task would follow it", self.check_link, CheckWish),
            Operation(
                "GET",
                "/objects",
                "List objects of ?workspace=, the newest first",
                self.list_objects,
                query=("workspace", "limit"),
            ),
            Operation("POST", "/objects/{object_id}/keep", "Keep an object for so long", self.keep_object, KeepWish),
            Operation("POST", "/objects/{object_id}/revoke", "Make every link to an object void", self.revoke_object),
            Operation("DELETE", "/objects/{object_id}", "Remove an object with its links", self.delete_object),
            Operation(
                "GET",
                "/tasks",
                "List tasks of all workspaces, or of ?workspace=",
                self.list_tasks,
                query=("workspace", "page_no", "page_size", "status", "model"),
            ),
            Operation("GET", "/tasks/{task_id}", "Show a task", self.get_task),
            Operation("POST", "/tasks/{task_id}/cancel", "Cancel a task that has not begun", self.cancel_task),
            Operation("GET", "/tasks/{task_id}/deliveries", "Show what its webhook was told", self.list_deliveries),
            Operation("POST", "/deliveries/{delivery_id}/redeliver", "Tell a webhook again", self.redeliver),
            Operation(
                "GET",
                "/workspaces/{name}/webhook-secret",
                "Show the secret that a workspace's webhooks are signed with",
                self.get_secret,
                action="webhooks.secret",
            ),
        )

    async def get_domains(self, request: Request) -> Response:
        get_admin(request)
        return json_answer({"domains": self._library.domains()})

    async def check_link(self, request: Request) -> Response:
        get_admin(request)
        return json_answer(await self._checker.check((await read_body(request, CheckWish)).url))

    async def list_objects(self, request: Request) -> Response:
        get_admin(request)
        workspace = request.query_params.get("workspace", "default")
        found = await self._library.list_objects(workspace, read_integer(request.query_params, "limit", 100, 1, 1000))
        return json_answer({"data": [show_object(one, self._library.link(one)) for one in found]})

    async def keep_object(self, request: Request) -> Response:
        actor = get_admin(request).key_id
        wish = await read_body(request, KeepWish)
        object_id = request.path_params["object_id"]
        stored, link = await self._library.set_keeping(None, object_id, read_ttl_s(wish.ttl), actor=actor)
        return json_answer(show_object(stored, link))

    async def revoke_object(self, request: Request) -> Response:
        actor = get_admin(request).key_id
        stored = await self._library.revoke_links(None, request.path_params["object_id"], actor=actor)
        return json_answer(show_object(stored, self._library.link(stored)))

    async def delete_object(self, request: Request) -> Response:
        actor = get_admin(request).key_id
        await self._library.delete_object(None, request.path_params["object_id"], actor=actor)
        return json_answer({"id": request.path_params["object_id"], "deleted": True})

    async def list_tasks(self, request: Request) -> Response:
        get_admin(request)
        query = request.query_params
        page_no = read_integer(query, "page_no", 1, 1, 10**6)
        page_size = read_integer(query, "page_size", 20, 1, 100)
        filters = {name: query[name] for name in ("status", "model") if query.get(name)}
        tasks, total = await self._desk.list_page(
            query.get("workspace"), page_no=page_no, page_size=page_size, **filters
        )
        return json_answer({"data": [show_task(one) for one in tasks], "total": total, "page_no": page_no})

    async def get_task(self, request: Request) -> Response:
        get_admin(request)
        shown = await self._desk.get(None, request.path_params["task_id"])
        return json_answer({**show_task(shown.task), "links": list(shown.links.values())})

    async def cancel_task(self, request: Request) -> Response:
        get_admin(request)
        return json_answer(show_task(await self._desk.cancel(None, request.path_params["task_id"])))

    async def list_deliveries(self, request: Request) -> Response:
        get_admin(request)
        found = await self._library.list_deliveries(request.path_params["task_id"])
        return json_answer({"data": [show_delivery(one) for one in found]})

    async def redeliver(self, request: Request) -> Response:
        actor = get_admin(request).key_id
        made = await self._library.redeliver(request.path_params["delivery_id"], actor=actor)
        return json_answer(show_delivery(made))

    async def get_secret(self, request: Request) -> Response:
        actor = get_admin(request).key_id
        secret = await self._library.get_webhook_secret(request.path_params["name"], actor=actor)
        return secret_answer({"workspace": request.path_params["name"], "secret": secret})
