"""批量推理: files of calls, answered within a day or longer; how far each is, and the files with what came of it."""

from starlette.responses import RedirectResponse, Response

from steelyard.base import ids
from steelyard.base.errors import Fault, fault
from steelyard.canon.members import DEVELOPER
from steelyard.canon.task import BATCH
from steelyard.control import tokens
from steelyard.control.tokens import Narrowing
from steelyard.dialects import batch_fields
from steelyard.tasks.desk import Desk
from steelyard.tasks.library import Library
from steelyard.web.answers import secret_answer
from steelyard.web.batches_api import submit_batch
from steelyard.web.console.callers import Callers
from steelyard.web.console.pages import Pages, own
from steelyard.web.console.reception import Act
from steelyard.web.console.visit import Visit

HOME = "/console/batches"
SHOWN, FILES = 50, 100
WINDOWS = ("24h", "72h", "168h", "336h")


class BatchesRoom:
    """The page of batches."""

    def __init__(self, desk: Desk, library: Library, callers: Callers, pages: Pages) -> None:
        self._desk = desk
        self._library = library
        self._callers = callers
        self._pages = pages
        self.acts = (
            Act("GET", HOME, self.show),
            Act("GET", f"{HOME}/progress", self.progress),
            Act("POST", HOME, self.create, DEVELOPER),
            Act("POST", f"{HOME}/token", self.mint, DEVELOPER),
            Act("POST", f"{HOME}/{{batch_id}}/cancel", self.cancel, DEVELOPER),
            Act("GET", f"{HOME}/files/{{file_id}}", self.download),
        )

    async def show(self, visit: Visit) -> Response:
        return await self._show(visit, None)

    async def progress(self, visit: Visit) -> Response:
        """The table alone; the page asks every three seconds while one of them runs."""
        return self._pages.render(visit, "batch_rows.html", batches=await self._list(visit))

    async def create(self, visit: Visit) -> Response:
        """The files that the browser has just uploaded, or one that was there, as batches."""
        form = visit.form
        try:
            grant = await self._callers.grant(visit)
            for file_id in form.get_list("files") or (form.get("file"),):
                body = {
                    "input_file_id": file_id,
                    "endpoint": form.get("endpoint"),
                    "completion_window": form.get("window"),
                }
                await submit_batch(self._desk, self._library, grant, body, ids.new_request_id())
        except Fault as failure:
            return await self._show(visit, failure)
        return RedirectResponse(f"{HOME}?done=batch_made", status_code=303)

    async def mint(self, visit: Visit) -> Response:
        """A token that uploads one file."""
        return secret_answer(
            tokens.show_token(await self._callers.mint(visit, Narrowing(operations=("files",), resource="/v1/files")))
        )

    async def cancel(self, visit: Visit) -> Response:
        batch_id = visit.request.path_params["batch_id"]
        task, _, _ = await self._desk.get_with_notes(visit.workspace, batch_id)
        if task.kind != BATCH:
            raise fault("batch_not_found", id=batch_id[:100])
        await self._desk.ask_to_cancel(visit.workspace, batch_id)
        return RedirectResponse(f"{HOME}?done=batch_canceled", status_code=303)

    async def download(self, visit: Visit) -> Response:
        """A signed link to a file of the workspace."""
        found = await self._library.get_file(visit.workspace, visit.request.path_params["file_id"])
        return RedirectResponse(own(self._library.link(found.object)), status_code=303)

    async def _list(self, visit: Visit) -> list[dict[str, object]]:
        found, _ = await self._desk.list_with_notes(visit.workspace, after="", limit=SHOWN, kinds=(BATCH,))
        return [batch_fields.show(task, notes, is_cancelling) for task, notes, is_cancelling in found]

    async def _show(self, visit: Visit, failure: Fault | None) -> Response:
        files, _ = await self._library.list_files(visit.workspace, purpose="batch", after="", limit=FILES)
        return self._pages.render(
            visit,
            "batches.html",
            200 if failure is None else failure.status,
            batches=await self._list(visit),
            files=[one for one in files if one.purpose == "batch"],
            keys=await self._callers.list_usable(visit),
            endpoints=batch_fields.ENDPOINTS,
            windows=WINDOWS,
            failure=failure,
        )
