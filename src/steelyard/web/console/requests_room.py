"""Calls as the ledger has them, and the receipt of each: every attempt, its steps, what it held and what it cost."""

import asyncio
import contextlib
from typing import Any

from starlette.responses import Response

from steelyard.base.errors import CallerFault
from steelyard.canon.members import OPERATOR
from steelyard.control import usage
from steelyard.control.model_book import ModelBook
from steelyard.control.records import Records
from steelyard.control.support import make_bundle
from steelyard.control.usage import CallFilter
from steelyard.web.answers import json_answer
from steelyard.web.console.pages import Pages
from steelyard.web.console.reception import Act
from steelyard.web.console.visit import Visit

PAGE = 50
LOOKS, LOOK_S = 10, 0.15


class RequestsRoom:
    """The pages of calls."""

    def __init__(self, records: Records, models: ModelBook, pages: Pages, settings: dict[str, Any]) -> None:
        self._records = records
        self._models = models
        self._pages = pages
        #: As they are shown, secrets masked.
        self._settings = settings
        self.acts = (
            Act("GET", "/console/requests", self.list_calls),
            Act("GET", "/console/requests/{request_id}", self.show),
            Act("GET", "/console/requests/{request_id}/cost", self.show_cost),
            Act("GET", "/console/requests/{request_id}/bundle", self.bundle, OPERATOR, is_everywhere=True),
        )

    async def list_calls(self, visit: Visit) -> Response:
        query = visit.query
        wanted = CallFilter(
            model=query.get("model", "").strip(),
            key_id=query.get("key", "").strip(),
            outcome="failed" if query.get("failed") else "",
        )
        before = query.get("before", "")
        before_us = int(before) if before.isascii() and before.isdigit() and len(before) < 19 else None
        rows, older = await usage.list_calls(self._records, visit.workspace, wanted, before_us=before_us, limit=PAGE)
        return self._pages.render(visit, "requests.html", rows=rows, older=older, wanted=wanted, before=before_us)

    async def show(self, visit: Visit) -> Response:
        receipt = await self._wait_for(visit.request.path_params["request_id"], visit.workspace)
        return self._pages.render(visit, "receipt.html", receipt=receipt)

    async def show_cost(self, visit: Visit) -> Response:
        """What a call cost, in a few words."""
        receipt = await self._wait_for(visit.request.path_params["request_id"], visit.workspace)
        return self._pages.render(visit, "receipt_cost.html", receipt=receipt)

    async def bundle(self, visit: Visit) -> Response:
        """What is known of the call, as a file for whoever helps."""
        request_id = visit.request.path_params["request_id"]
        receipt = await usage.get_receipt(self._records, request_id, visit.workspace)
        model = (await self._models.read()).get(receipt["model"])
        answer = json_answer(make_bundle(receipt, model, self._settings))
        answer.headers["content-disposition"] = f'attachment; filename="support-{receipt["request_id"]}.json"'
        answer.headers["cache-control"] = "no-store"
        return answer

    async def _wait_for(self, request_id: str, workspace: str) -> dict[str, Any]:
        """A receipt that may still be on its way from the journal: whoever has just seen the answer asks for it at once."""
        for _ in range(LOOKS):
            with contextlib.suppress(CallerFault):
                return await usage.get_receipt(self._records, request_id, workspace)
            await asyncio.sleep(LOOK_S)
        return await usage.get_receipt(self._records, request_id, workspace)
