"""/v1/batches. Source: openai-compatible.md 7."""

from datetime import datetime, timedelta, timezone
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from steelyard.base import ids
from steelyard.base.clock import now_s
from steelyard.base.errors import Fault, fault
from steelyard.base.jsondoor import decode_object
from steelyard.canon.grant import Grant
from steelyard.canon.task import BATCH, CALLS_LANE, CANCELED, FAILED, PENDING, RUNNING, SUCCEEDED
from steelyard.dialects import batch_fields
from steelyard.policy.orders import Order
from steelyard.tasks.desk import Desk
from steelyard.tasks.library import Library
from steelyard.web.answers import guarded, json_answer
from steelyard.web.principal import get_principal
from steelyard.web.queries import read_integer

PREFIXES = ("/v1/batches", "/compatible-mode/v1/batches")
#: A batch ends an hour after its window at the latest; until then what it has answered is put together.
GRACE_S = 3600
BEIJING = timezone(timedelta(hours=8))
#: status of a batch -> states of its task
_STATES = {
    "validating": (PENDING, RUNNING),
    "in_progress": (RUNNING,),
    "finalizing": (RUNNING,),
    "cancelling": (RUNNING,),
    "completed": (SUCCEEDED,),
    "failed": (FAILED,),
    "expired": (CANCELED,),
    "cancelled": (CANCELED,),
}


async def submit_batch(desk: Desk, library: Library, grant: Grant, body: dict[str, Any], request_id: str) -> str:
    """Takes a batch in as the API's `POST` has it; its id.

    Raises:
        Fault: naming the field at fault, or there is no such file of purpose `batch`.
    """
    ask = batch_fields.read_new(body, now_s())
    file = await library.get_file(grant.workspace, ask.files[0])
    if file.purpose != "batch":
        raise fault(
            "parameter_invalid",
            detail=f"The file's purpose is '{file.purpose}'; a batch takes files of purpose 'batch'.",
            param="input_file_id",
        )
    batch_id = f"batch_{ids.new_request_id()}"
    deadline_s = ask.settings["expires_at"] - now_s() + GRACE_S
    order = Order(request_id=request_id, grant=grant, ask=ask, lane=CALLS_LANE)
    await desk.submit(order, task_id=batch_id, total=0, deadline_s=deadline_s)
    return batch_id


class BatchesApi:
    """The handlers."""

    def __init__(self, desk: Desk, library: Library) -> None:
        self._desk = desk
        self._library = library

    def routes(self) -> list[Route]:
        """The Starlette routes."""
        table = (
            ("POST", "", self.create),
            ("GET", "", self.list),
            ("GET", "/{batch_id}", self.get),
            ("POST", "/{batch_id}/cancel", self.cancel),
        )
        return [
            Route(prefix + path, guarded(handler), methods=[method])
            for prefix in PREFIXES
            for method, path, handler in table
        ]

    async def create(self, request: Request) -> Response:
        grant = get_principal(request)
        body = decode_object(await request.body() or b"{}")
        request_id = request.headers.get("x-request-id", ids.new_request_id())
        batch_id = await submit_batch(self._desk, self._library, grant, body, request_id)
        return await self._shown(grant.workspace, batch_id)

    async def _shown(self, workspace: str, batch_id: str) -> Response:
        try:
            task, notes, is_cancelling = await self._desk.get_with_notes(workspace, batch_id)
        except Fault:
            raise fault("batch_not_found", id=batch_id[:100]) from None
        if task.kind != BATCH:
            raise fault("batch_not_found", id=batch_id[:100])
        return json_answer(batch_fields.show(task, notes, is_cancelling))

    async def get(self, request: Request) -> Response:
        return await self._shown(get_principal(request).workspace, request.path_params["batch_id"])

    async def cancel(self, request: Request) -> Response:
        workspace, batch_id = get_principal(request).workspace, request.path_params["batch_id"]
        # looked at first: only batches are cancelled here
        await self._shown(workspace, batch_id)
        await self._desk.ask_to_cancel(workspace, batch_id)
        return await self._shown(workspace, batch_id)

    async def list(self, request: Request) -> Response:
        query = request.query_params
        workspace = get_principal(request).workspace
        wanted = tuple(one for one in query.get("status", "").split(",") if one)
        unknown = [one for one in wanted if one not in _STATES]
        if unknown:
            raise fault("parameter_invalid", detail=f"status must be among {', '.join(_STATES)}.", param="status")
        limit = read_integer(query, "limit", 20, 1, 100)
        files = tuple(one for one in query.get("input_file_ids", "").split(",") if one)
        name = query.get("ds_name", "")
        since, until = _stamp(query.get("create_after")), _stamp(query.get("create_before"))
        shown: list[dict[str, object]] = []
        after, has_more = query.get("after", ""), True
        while has_more and len(shown) <= limit:
            page, has_more = await self._desk.list_with_notes(workspace, after=after, limit=100, kinds=(BATCH,))
            if not page:
                break
            after = page[-1][0].id
            for task, notes, is_cancelling in page:
                one = batch_fields.show(task, notes, is_cancelling)
                is_meant = (
                    (not wanted or one["status"] in wanted)
                    and (not files or one["input_file_id"] in files)
                    and (not name or name in (one["metadata"] or {}).get("ds_name", ""))
                    and (since is None or one["created_at"] >= since)
                    and (until is None or one["created_at"] <= until)
                )
                if is_meant:
                    shown.append(one)
        page_shown, more = shown[:limit], len(shown) > limit
        first_id = page_shown[0]["id"] if page_shown else None
        last_id = page_shown[-1]["id"] if page_shown else None
        return json_answer(
            {"object": "list", "data": page_shown, "first_id": first_id, "last_id": last_id, "has_more": more}
        )


def _stamp(text: str | None) -> int | None:
    """`yyyyMMddHHmmss` in Beijing as seconds since 1970."""
    if not text:
        return None
    try:
        return int(datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=BEIJING).timestamp())
    except ValueError:
        raise fault("parameter_invalid", detail="Times are written yyyyMMddHHmmss.", param="create_after") from None
