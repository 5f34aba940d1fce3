"""/internal: the gateways' ports, reachable over the private socket alone. The gateway relays none of these paths."""

import secrets
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from steelyard.base.errors import Fault
from steelyard.base.jsondoor import encode
from steelyard.base.sealing import Sealer
from steelyard.canon.faults import told
from steelyard.canon.grant import Grant
from steelyard.canon.kept import KeptCall
from steelyard.canon.knowledge import KnowledgeWish
from steelyard.control import kept_calls, keys_lookup, minutes, replay, responses, trail
from steelyard.control.access_keys import AccessKeys
from steelyard.control.feed import Feed
from steelyard.control.hygiene import Hygiene
from steelyard.control.leases import Holding, Leases
from steelyard.control.records import Records
from steelyard.knowledge.answering import Answering
from steelyard.policy.contents import ContentsAsk, Supplied
from steelyard.policy.limits import Wish
from steelyard.policy.orders import Answered, Identified, Order, Submitted
from steelyard.tasks.desk import Desk
from steelyard.tasks.supplier import Supplier
from steelyard.web.answers import json_answer

MAX_WAIT_S = 5.0
MAX_TASK_WAIT_S = 60.0


class _Wishes(msgspec.Struct):
    owner: str
    wishes: list[Wish]


class _Holdings(msgspec.Struct):
    owner: str
    holdings: list[Holding]


class _Kept(msgspec.Struct):
    scope: str
    key: str
    data: bytes = b""


class _KeptResponse(msgspec.Struct):
    workspace: str
    id: str
    body: bytes = b""
    items: bytes = b""


class _Passages(msgspec.Struct):
    grant: Grant
    wish: KnowledgeWish


class InternalApi:
    """The handlers."""

    def __init__(
        self,
        records: Records,
        access_keys: AccessKeys,
        feed: Feed,
        leases: Leases,
        hygiene: Hygiene,
        desk: Desk,
        supplier: Supplier,
        answering: Answering,
        sealer: Sealer,
    ) -> None:
        self._sealer = sealer
        self._answering = answering
        self._database = records
        self._access_keys = access_keys
        self._supplier = supplier
        self._desk = desk
        self._hygiene = hygiene
        self._records = records
        self._feed = feed
        self._leases = leases
        self._face_id = secrets.token_hex(8)

    def routes(self) -> list[Route]:
        """The Starlette routes."""
        table = {
            "/internal/grant": self.grant,
            "/internal/signer": self.signer,
            "/internal/changes": self.changes,
            "/internal/leases": self.leases,
            "/internal/leases/announce": self.announce,
            "/internal/audit": self.audit,
            "/internal/networks": self.networks,
            "/internal/replay/claim": self.claim,
            "/internal/replay/finish": self.finish,
            "/internal/replay/forget": self.forget,
            "/internal/cache/find": self.find_kept,
            "/internal/cache/keep": self.keep,
            "/internal/responses/find": self.find_items,
            "/internal/responses/keep": self.keep_response,
            "/internal/calls/keep": self.keep_call,
            "/internal/contents": self.contents,
            "/internal/passages": self.passages,
            "/internal/tasks/submit": self.submit_task,
            "/internal/tasks/wait": self.wait_task,
            "/internal/tasks/withdraw": self.withdraw_task,
            "/internal/minute": self.minute,
        }
        return [Route(path, handler, methods=["POST"]) for path, handler in table.items()]

    async def grant(self, request: Request) -> Response:
        asked = msgspec.json.decode(await request.body())
        found = await keys_lookup.find_grant(self._records, asked["digest"])
        return Response(status_code=404) if found is None else json_answer(found)

    async def signer(self, request: Request) -> Response:
        asked = msgspec.json.decode(await request.body(), type=dict[str, str])
        try:
            return json_answer(Identified(await self._access_keys.identify(**asked)))
        except Fault as failure:
            return json_answer(Identified(fault=told(failure)))

    async def changes(self, request: Request) -> Response:
        asked = msgspec.json.decode(await request.body())
        wait_s = min(float(asked["wait_s"]), MAX_WAIT_S)
        try:
            news, number = await self._feed.wait(int(asked["after"]), int(asked["snapshot_number"]), wait_s)
        except RuntimeError:
            return Response(status_code=503)
        return json_answer(
            {
                "version": news.version,
                "snapshot_number": number,
                "keys": news.key_digests,
                "snapshot": news.snapshot,
                "is_reset": news.is_reset,
                "face_id": self._face_id,
                "recalls": self._leases.recalls(),
            }
        )

    async def leases(self, request: Request) -> Response:
        asked = msgspec.json.decode(await request.body(), type=_Wishes)
        return json_answer(await self._leases.fulfil(asked.owner, asked.wishes))

    async def announce(self, request: Request) -> Response:
        said = msgspec.json.decode(await request.body(), type=_Holdings)
        self._leases.announce(said.owner, said.holdings)
        return json_answer({})

    async def minute(self, request: Request) -> Response:
        """What the ledger says of the minute that ends at `end_s`, for the monitor."""
        asked = msgspec.json.decode(await request.body())
        found = await minutes.read_minute(self._database, int(asked["end_s"]), per_s=float(asked["per_s"]))
        return json_answer({**msgspec.to_builtins(found), "bounds": minutes.BOUNDS})

    async def audit(self, request: Request) -> Response:
        told = msgspec.json.decode(await request.body(), type=dict[str, str])
        await trail.note(self._records, **told)
        return json_answer({})

    async def networks(self, request: Request) -> Response:
        told = msgspec.json.decode(await request.body(), type=dict[str, str])
        await self._hygiene.saw_network(told["key_id"], told["network"])
        return json_answer({})

    async def claim(self, request: Request) -> Response:
        asked: dict[str, Any] = msgspec.json.decode(await request.body())
        claim = await replay.claim(
            self._records, asked["scope"], asked["key"], asked["body_digest"], asked["request_id"]
        )
        answer = None if claim.answer is None else msgspec.Raw(claim.answer)
        return json_answer({"state": claim.state, "request_id": claim.request_id, "answer": answer})

    async def finish(self, request: Request) -> Response:
        asked: dict[str, Any] = msgspec.json.decode(await request.body())
        answer = None if asked["answer"] is None else encode(asked["answer"])
        await replay.finish(self._records, asked["scope"], asked["key"], answer)
        return json_answer({})

    async def forget(self, request: Request) -> Response:
        asked: dict[str, Any] = msgspec.json.decode(await request.body())
        await replay.forget(self._records, asked["scope"], asked["key"])
        return json_answer({})

    async def find_kept(self, request: Request) -> Response:
        asked = msgspec.json.decode(await request.body(), type=_Kept)
        found = await replay.find_kept(self._records, asked.scope, asked.key)
        return Response(status_code=404) if found is None else Response(found, media_type="application/octet-stream")

    async def keep(self, request: Request) -> Response:
        told = msgspec.json.decode(await request.body(), type=_Kept)
        await replay.keep(self._records, told.scope, told.key, told.data)
        return json_answer({})

    async def find_items(self, request: Request) -> Response:
        asked = msgspec.json.decode(await request.body(), type=_KeptResponse)
        try:
            found = await responses.get(self._records, asked.workspace, asked.id)
        except Fault:
            return Response(status_code=404)
        return Response(found.items, media_type="application/json")

    async def keep_response(self, request: Request) -> Response:
        told = msgspec.json.decode(await request.body(), type=_KeptResponse)
        await responses.keep(self._records, told.workspace, told.id, told.body, told.items)
        return json_answer({})

    async def keep_call(self, request: Request) -> Response:
        call = msgspec.json.decode(await request.body(), type=KeptCall)
        await kept_calls.keep(self._records, self._sealer, call)
        return json_answer({})

    async def contents(self, request: Request) -> Response:
        asked = msgspec.json.decode(await request.body(), type=ContentsAsk)
        try:
            values = await self._supplier.supply(asked)
        except Fault as failure:
            return json_answer(Supplied(fault=told(failure)))
        return json_answer(Supplied(values))

    async def passages(self, request: Request) -> Response:
        asked = msgspec.json.decode(await request.body(), type=_Passages)
        try:
            return json_answer(Answered(await self._answering.find(asked.grant, asked.wish)))
        except Fault as failure:
            return json_answer(Answered(fault=told(failure)))

    async def submit_task(self, request: Request) -> Response:
        order = msgspec.json.decode(await request.body(), type=Order)
        try:
            shown = await self._desk.submit(order)
        except Fault as failure:
            return json_answer(Submitted(fault=told(failure)))
        return json_answer(Submitted(shown=shown))

    async def wait_task(self, request: Request) -> Response:
        asked: dict[str, Any] = msgspec.json.decode(await request.body())
        try:
            shown = await self._desk.wait(asked["workspace"], asked["id"], min(float(asked["wait_s"]), MAX_TASK_WAIT_S))
        except Fault:
            return Response(status_code=404)
        return json_answer(shown)

    async def withdraw_task(self, request: Request) -> Response:
        asked: dict[str, Any] = msgspec.json.decode(await request.body())
        await self._desk.withdraw(asked["workspace"], asked["id"])
        return json_answer({})
