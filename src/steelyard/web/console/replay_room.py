"""/hub/replay: a workspace's last calls, asked again of another model; what it will cost is said first, the answers stand side by side."""

from typing import Any

import msgspec
from starlette.responses import RedirectResponse, Response

from steelyard.base.errors import CallerFault
from steelyard.base.sealing import Sealer
from steelyard.canon.members import DEVELOPER, OPERATOR
from steelyard.canon.model import Model
from steelyard.canon.usage import Usage
from steelyard.control import kept_calls, usage
from steelyard.control.kept_calls import MAX_KEPT, OpenedCall
from steelyard.control.model_book import ModelBook
from steelyard.control.records import Records
from steelyard.policy.pricing import cost_micros
from steelyard.web.console.callers import Callers
from steelyard.web.console.modes import CHAT, PREFIX
from steelyard.web.console.pages import Pages
from steelyard.web.console.playground import can_try
from steelyard.web.console.reception import Act
from steelyard.web.console.visit import Visit

HOME = "/hub/replay"
COUNTS = (1, 3, 5, 10, 20)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A call that may be asked again.

    Args:
        prompt_tokens, completion_tokens: of the first time; None where the ledger does not have it any more.
        paid_micros: the first time, in `paid_currency`.
        will_cost_micros: at the other model, if its answer is as long; None where its price is unknown.
        asked: the body for the other model, as JSON.
    """

    call: OpenedCall
    prompt_tokens: int | None
    completion_tokens: int | None
    paid_micros: int | None
    paid_currency: str
    will_cost_micros: int | None
    asked: dict[str, Any]


class ReplayRoom:
    """The page of calls that are asked again."""

    def __init__(self, records: Records, sealer: Sealer, models: ModelBook, callers: Callers, pages: Pages) -> None:
        self._records = records
        self._sealer = sealer
        self._models = models
        self._callers = callers
        self._pages = pages
        self.acts = (
            Act("GET", HOME, self.show, DEVELOPER),
            Act("POST", HOME, self.set_keeping, OPERATOR),
        )

    async def show(self, visit: Visit) -> Response:
        models = {name: one for name, one in sorted((await self._models.read()).items()) if can_try(CHAT, one)}
        chosen = visit.query.get("model", "")
        count = _read_count(visit.query.get("n", ""))
        rows: list[Row] = []
        if chosen in models:
            found = await kept_calls.list_newest(self._records, self._sealer, visit.workspace, count)
            rows = [await self._row(visit, one, models[chosen]) for one in found]
        return self._pages.render(
            visit,
            "replay.html",
            rows=rows,
            models=list(models),
            chosen=chosen,
            price=models[chosen].targets[0].price if chosen in models else None,
            total=sum(row.will_cost_micros or 0 for row in rows),
            count=count,
            counts=COUNTS,
            kept=visit.space.policy.kept_calls,
            most=MAX_KEPT,
            keys=await self._callers.list_usable(visit),
            path=PREFIX + CHAT.path,
        )

    async def set_keeping(self, visit: Visit) -> Response:
        """How many calls are kept from now on; none forgets those that are."""
        count = visit.form.get_int("count") or 0
        await kept_calls.set_keeping(self._records, visit.workspace, count, actor=visit.who.id)
        return RedirectResponse(f"{HOME}?done=calls_kept", status_code=303)

    async def _row(self, visit: Visit, call: OpenedCall, model: Model) -> Row:
        price = model.targets[0].price
        asked = {name: value for name, value in call.body.items() if name not in ("stream", "stream_options")}
        asked["model"] = model.name
        try:
            receipt = await usage.get_receipt(self._records, call.request_id, visit.workspace)
        except CallerFault:
            return Row(
                call=call, prompt_tokens=None, completion_tokens=None, paid_micros=None, paid_currency="",
                will_cost_micros=None, asked=asked,
            )  # fmt: skip
        used = receipt["usage"]
        again = Usage(prompt_tokens=used["prompt_tokens"], completion_tokens=used["completion_tokens"])
        return Row(
            call=call,
            prompt_tokens=again.prompt_tokens,
            completion_tokens=again.completion_tokens,
            paid_micros=receipt["settlement"]["cost_micros"],
            paid_currency=receipt["price"]["currency"],
            will_cost_micros=cost_micros(price, again) if price.is_known else None,
            asked=asked,
        )


def _read_count(text: str) -> int:
    return int(text) if text in map(str, COUNTS) else COUNTS[1]
