"""The gateway's way to the face, over its unix socket: key look-ups, changes, replay, and relayed requests, some of them to the monitor.

With the face gone, known keys go on for a few seconds; then calls are refused, since a deletion could not be heard of.
"""

import asyncio
import base64
import logging
from collections.abc import Coroutine
from typing import Any

import msgspec

from steelyard.base.clock import monotonic
from steelyard.base.errors import Fault, fault
from steelyard.base.jsondoor import encode
from steelyard.canon.grant import Grant
from steelyard.canon.kept import KeptCall
from steelyard.canon.knowledge import FoundPassages, KnowledgeWish
from steelyard.canon.snapshot import Snapshot
from steelyard.gateway.admission import Admission
from steelyard.gateway.allowance import Allowances
from steelyard.gateway.exchange import Headers
from steelyard.gateway.passage import HEAD_HEADER, Passage, Receive, Send
from steelyard.gateway.ports import Claim, StoredAnswer
from steelyard.policy.contents import ContentsAsk, Supplied
from steelyard.policy.limits import LeaseReply, Wish
from steelyard.policy.orders import Answered, Identified, Order, ShownTask, Submitted
from steelyard.upstream.pool import Answer, ConnectError, CutOff, Origin, Pool, PoolError, TimedOut

log = logging.getLogger("steelyard.gateway")

RETRY_S = 0.2
NOTE_ATTEMPTS = 6
FACE_BACK_S = 3.0
#: Documents are read by then, and links followed.
SUPPLY_S = 150.0
#: Vectors are made by then, and passages put in order.
PASSAGES_S = 30.0
#: The face answers a wait for changes after this long at the latest.
POLL_WAIT_S = 2.0
#: A query has two minutes.
MONITOR_S = 130.0
#: A tool of a plugin has five minutes, and an app ten.
APPS_S = 630.0
#: The monitor and the app host start when calls are answered already.
LATER_BACK_S = 10.0
_READING = frozenset({"GET", "HEAD"})
#: Hop-by-hop and authentication headers stay here.
_DROPPED = frozenset(
    {b"host", b"connection", b"keep-alive", b"transfer-encoding", b"te", b"upgrade", b"content-length", b"authorization",
     b"x-api-key", b"expect", b"x-steelyard-principal", b"x-steelyard-client", b"x-steelyard-head"}
)  # fmt: skip
_KEPT_ANSWER = frozenset({b"content-type", b"location", b"set-cookie", b"cache-control", b"content-security-policy",
     b"x-content-type-options", b"referrer-policy", b"retry-after", b"x-frame-options", b"x-should-retry",
     b"content-encoding", b"vary", b"www-authenticate", b"access-control-allow-origin", b"access-control-allow-headers",
     b"access-control-allow-methods", b"access-control-expose-headers", b"hx-redirect", b"content-disposition"})  # fmt: skip


class Changes(msgspec.Struct, frozen=True):
    """What is new since a version. `keys` are digests; a snapshot comes only where it changed."""

    version: int
    #: Given back with the next question, so that a snapshot travels only when it changed.
    snapshot_number: int = 0
    keys: list[str] = []
    snapshot: Snapshot | None = None
    #: More than could be told: forget everything.
    is_reset: bool = False
    #: A new face knows nothing of what is on lease of pools.
    face_id: str = ""
    #: Accounts that other gateways are short of.
    recalls: list[str] = []


class FaceLink:
    """Implements the ports that the face answers."""

    def __init__(self, pool: Pool, origin: Origin, monitor: Origin, apps: Origin, owner: str) -> None:
        self._pool = pool
        self._origin = origin
        self._monitor = monitor
        self._apps = apps
        #: Under which name this process has leases.
        self._owner = owner
        self._tasks: set[asyncio.Task[None]] = set()

    async def _ask(self, path: str, body: Any, timeout_s: float = 10.0, *, is_repeatable: bool = False) -> Answer:
        """A question to the face.

        Args:
            is_repeatable: whether asking twice is as good as once: then a face that ends in the midst of it is asked again when it is back.
        """
        give_up_at = monotonic() + FACE_BACK_S
        while True:
            cause: PoolError | None = None
            try:
                headers = {"Content-Type": "application/json"}
                answer = await self._fetch(self._origin, "POST", path, encode(body), headers, timeout_s)
            except PoolError as exc:
                cause = exc
            else:
                if answer.status in (200, 404):
                    return answer
            # a face that answers, if only that it cannot, is not asked again; neither is one that took too long
            is_gone = cause is not None and not isinstance(cause, TimedOut)
            if not is_repeatable or not is_gone or monotonic() > give_up_at:
                raise fault("stores_unavailable") from cause
            await asyncio.sleep(RETRY_S / 2)

    async def _fetch(
        self, origin: Origin, method: str, path: str, body: bytes, headers: dict[str, str], timeout_s: float = 30.0
    ) -> Answer:
        """One call; while a process is being replaced, nobody listens for about a second, and that is waited for.

        What only reads and was cut off by the process's end is asked again once: what ended it may have been this question.
        """
        give_up_at = monotonic() + (FACE_BACK_S if origin is self._origin else LATER_BACK_S)
        may_repeat = method in _READING
        while True:
            try:
                return await self._pool.fetch(origin, method, path, body, headers, timeout_s=timeout_s)
            except ConnectError:
                if monotonic() > give_up_at:
                    raise
            except CutOff:
                if not may_repeat:
                    raise
                may_repeat = False
            await asyncio.sleep(RETRY_S / 2)

    async def find_grant(self, digest: str) -> Grant | None:
        """See `ports.Grants`."""
        answer = await self._ask("/internal/grant", {"digest": digest}, is_repeatable=True)
        return None if answer.status == 404 else msgspec.json.decode(answer.body, type=Grant)

    async def identify_signer(self, access_key_id: str, signed: str, signature: str, nonce: str) -> Grant:
        """See `ports.Grants`."""
        asked = {"access_key_id": access_key_id, "signed": signed, "signature": signature, "nonce": nonce}
        told = msgspec.json.decode((await self._ask("/internal/signer", asked)).body, type=Identified)
        if told.fault is not None:
            raise told.fault.to_fault()
        assert told.grant is not None
        return told.grant

    async def fulfil(self, wishes: list[Wish]) -> list[LeaseReply]:
        """See `allowance.Keeper`."""
        # a wish that was answered already is answered the same
        answer = await self._ask("/internal/leases", {"owner": self._owner, "wishes": wishes}, is_repeatable=True)
        return msgspec.json.decode(answer.body, type=list[LeaseReply])

    def note(self, action: str, workspace: str, actor: str, subject: str, detail: str) -> None:
        """See `ports.Audit`."""
        entry = {"action": action, "workspace": workspace, "actor": actor, "subject": subject, "detail": detail}
        self._spawn(self._note("/internal/audit", entry))

    def saw_network(self, key_id: str, workspace: str, network: str) -> None:
        """See `ports.Audit`."""
        entry = {"key_id": key_id, "workspace": workspace, "network": network}
        self._spawn(self._note("/internal/networks", entry))

    async def _note(self, path: str, entry: dict[str, str]) -> None:
        for attempt in range(NOTE_ATTEMPTS):
            try:
                await self._ask(path, entry)
            except Fault:
                await asyncio.sleep(RETRY_S * 2**attempt)
            else:
                return
        log.error("an audit entry was lost: %s", entry)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def claim(self, scope: str, key: str, body_digest: str, request_id: str) -> Claim:
        """See `ports.Replay`."""
        body = {"scope": scope, "key": key, "body_digest": body_digest, "request_id": request_id}
        answer = await self._ask("/internal/replay/claim", body)
        return msgspec.json.decode(answer.body, type=Claim)

    async def finish(self, scope: str, key: str, answer: StoredAnswer | None) -> None:
        """See `ports.Replay`."""
        await self._ask("/internal/replay/finish", {"scope": scope, "key": key, "answer": answer})

    async def forget(self, scope: str, key: str) -> None:
        """See `ports.Replay`."""
        await self._ask("/internal/replay/forget", {"scope": scope, "key": key})

    async def find_kept(self, scope: str, key: str) -> bytes | None:
        """See `ports.KeptAnswers`."""
        answer = await self._ask("/internal/cache/find", {"scope": scope, "key": key})
        return None if answer.status == 404 else answer.body

    async def keep(self, scope: str, key: str, data: bytes) -> None:
        """See `ports.KeptAnswers`."""
        await self._ask("/internal/cache/keep", {"scope": scope, "key": key, "data": data})

    async def find_items(self, workspace: str, response_id: str) -> bytes | None:
        """See `ports.Responses`."""
        answer = await self._ask("/internal/responses/find", {"workspace": workspace, "id": response_id})
        return None if answer.status == 404 else answer.body

    async def keep_response(self, workspace: str, response_id: str, body: bytes, items: bytes) -> None:
        """See `ports.Responses`."""
        told = {"workspace": workspace, "id": response_id, "body": body, "items": items}
        await self._ask("/internal/responses/keep", told)

    async def keep_call(self, call: KeptCall) -> None:
        """See `ports.KeptCalls`."""
        await self._ask("/internal/calls/keep", call)

    async def supply(self, ask: ContentsAsk) -> tuple[str, ...]:
        """See `ports.Supply`."""
        answer = await self._ask("/internal/contents", ask, timeout_s=SUPPLY_S)
        supplied = msgspec.json.decode(answer.body, type=Supplied)
        if supplied.fault is not None:
            raise supplied.fault.to_fault()
        return supplied.values

    async def find_passages(self, grant: Grant, wish: KnowledgeWish) -> FoundPassages:
        """See `ports.Knowledge`."""
        answer = await self._ask("/internal/passages", {"grant": grant, "wish": wish}, timeout_s=PASSAGES_S)
        told = msgspec.json.decode(answer.body, type=Answered)
        if told.fault is not None:
            raise told.fault.to_fault()
        assert told.found is not None
        return told.found

    async def submit_task(self, order: Order) -> ShownTask:
        """See `ports.TaskQueue`. A failure of the face's own is told as it is."""
        answer = await self._ask("/internal/tasks/submit", order)
        told = msgspec.json.decode(answer.body, type=Submitted)
        if told.fault is not None:
            raise told.fault.to_fault()
        assert told.shown is not None
        return told.shown

    async def wait_task(self, workspace: str, task_id: str, wait_s: float) -> ShownTask:
        """See `ports.TaskQueue`."""
        body = {"workspace": workspace, "id": task_id, "wait_s": wait_s}
        answer = await self._ask("/internal/tasks/wait", body, timeout_s=wait_s + 10)
        if answer.status == 404:
            raise fault("task_not_found", id=task_id)
        return msgspec.json.decode(answer.body, type=ShownTask)

    async def withdraw_task(self, workspace: str, task_id: str) -> None:
        """See `ports.TaskQueue`."""
        await self._ask("/internal/tasks/withdraw", {"workspace": workspace, "id": task_id})

    async def follow_changes(self, admission: Admission, allowances: Allowances) -> None:
        """Runs for the life of the process: keeps the admission's snapshot and cache true, and hears of recalls."""
        version, number, face_id = -1, -1, ""
        while True:
            try:
                wait_s = POLL_WAIT_S if version >= 0 else 0
                body = {"after": version, "snapshot_number": number, "wait_s": wait_s}
                answer = await self._ask("/internal/changes", body, timeout_s=POLL_WAIT_S + 5)
                changes = msgspec.json.decode(answer.body, type=Changes)
                if changes.face_id != face_id:
                    await self._announce(allowances)
                    face_id = changes.face_id
            except Exception as exc:  # noqa: BLE001
                # outermost frame of this task: it must outlive whatever the face does
                log.debug("no news from the face: %s", exc)
                await asyncio.sleep(RETRY_S)
                continue
            version, number = changes.version, changes.snapshot_number
            if changes.is_reset:
                admission.forget_key(None)
            for digest in changes.keys:
                admission.forget_key(digest)
            if changes.snapshot is not None:
                admission.snapshot = changes.snapshot
            admission.hear()
            if changes.recalls:
                self._spawn(allowances.recall(changes.recalls))

    async def _announce(self, allowances: Allowances) -> None:
        holdings = [{"account": name, "amount": amount} for name, amount in allowances.holdings()]
        if holdings:
            await self._ask("/internal/leases/announce", {"owner": self._owner, "holdings": holdings})

    async def pass_through(
        self,
        scope: dict[str, Any],
        headers: dict[bytes, bytes],
        receive: Receive,
        send: Send,
        grant: Grant | None,
        request_id: str,
        max_bytes: int,
    ) -> None:
        """A request whose bodies are not held whole. Answers it, unless it raises.

        Raises:
            Fault: nothing has gone to the client.
        """
        passed = self._passed_headers(scope, headers, grant, request_id)
        # a connection for one request: what of its body is not taken must not begin another's
        passed["connection"] = "close"
        method = scope["method"]
        if method == "HEAD":
            method, passed[HEAD_HEADER] = "GET", "1"
        length = headers.get(b"content-length")
        has_body = length is not None or b"transfer-encoding" in headers
        if length is not None:
            passed["content-length"] = length.decode("latin-1")
        elif has_body:
            passed["transfer-encoding"] = "chunked"
        lines = [f"{method} {_target_of(scope)} HTTP/1.1", "Host: face", *(f"{k}: {v}" for k, v in passed.items())]
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        passage = Passage(
            self._pool.origin(self._origin),
            receive,
            send,
            is_head=scope["method"] == "HEAD",
            max_bytes=max_bytes,
            more=[(b"x-request-id", request_id.encode())],
        )
        try:
            await passage.run(head, is_chunked=has_body and length is None)
        except Fault:
            if not passage.is_started:
                raise
            log.warning("an answer broke off", extra={"request_id": request_id})

    def _passed_headers(
        self, scope: dict[str, Any], headers: dict[bytes, bytes], grant: Grant | None, request_id: str
    ) -> dict[str, str]:
        passed = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items() if name not in _DROPPED
        }
        passed["x-request-id"] = request_id
        passed["x-steelyard-client"] = (scope.get("client") or ("",))[0] or ""
        if grant is not None:
            passed["x-steelyard-principal"] = base64.b64encode(encode(grant)).decode()
        return passed

    async def relay(
        self, scope: dict[str, Any], headers: dict[bytes, bytes], body: bytes, grant: Grant | None, request_id: str
    ) -> tuple[int, Headers, bytes]:
        """A request that is not the gateway's to answer; who asks goes along, already admitted."""
        target = _target_of(scope)
        passed = self._passed_headers(scope, headers, grant, request_id)
        try:
            answer = await self._fetch(self._origin, scope["method"], target, body, passed)
        except PoolError as exc:
            raise fault("stores_unavailable", detail=" (The control process does not answer.)") from exc
        return _kept(answer)

    async def relay_to_monitor(
        self, scope: dict[str, Any], headers: dict[bytes, bytes], body: bytes, grant: Grant, request_id: str
    ) -> tuple[int, Headers, bytes]:
        """A request that the monitor answers; see `relay`."""
        passed = self._passed_headers(scope, headers, grant, request_id)
        try:
            answer = await self._fetch(self._monitor, scope["method"], _target_of(scope), body, passed, MONITOR_S)
        except PoolError as exc:
            raise fault("stores_unavailable", detail=" (The monitor does not answer.)") from exc
        return _kept(answer)

    async def relay_to_apps(
        self, scope: dict[str, Any], headers: dict[bytes, bytes], body: bytes, grant: Grant, request_id: str
    ) -> tuple[int, Headers, bytes]:
        """A request that the app host answers; see `relay`."""
        passed = self._passed_headers(scope, headers, grant, request_id)
        try:
            answer = await self._fetch(self._apps, scope["method"], _target_of(scope), body, passed, APPS_S)
        except PoolError as exc:
            raise fault("app_failed", detail="the process that runs it does not answer.") from exc
        return _kept(answer)


def _kept(answer: Answer) -> tuple[int, Headers, bytes]:
    kept = [(name, value) for name, value in answer.headers.items() if name in _KEPT_ANSWER]
    return answer.status, kept, answer.body


def _target_of(scope: dict[str, Any]) -> str:
    """Path and query as they came."""
    target: str = scope["raw_path"].decode("latin-1")
    if scope["query_string"]:
        target += "?" + scope["query_string"].decode("latin-1")
    return target
