"""Calls that tasks and knowledge bases make to models: through the gateway like any other call, so that one place admits and one settles.

Each goes out under a temporary token of the key that it is made for. A task's call has an Idempotency-Key of its own: when it is made
again after a crash it is answered from what was kept, and is charged once.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import msgspec

from steelyard.base import ids
from steelyard.base.clock import monotonic, now_s
from steelyard.base.jsondoor import encode
from steelyard.base.tokens import Signer
from steelyard.canon.claims import Claims, encode_claims
from steelyard.canon.grant import Grant
from steelyard.canon.limits import TOKENS, Budget
from steelyard.canon.task import Task, TaskFailure
from steelyard.store import keys
from steelyard.store.database import Database
from steelyard.tasks.job import Failed
from steelyard.upstream.pool import Answer, Origin, Pool, PoolError

TOKEN_S = 1800
#: A token is used for this long, so that none ends under way.
USED_S = 900
MAX_TOKENS = 1000
CALL_S = 900.0
#: Failures that may pass are tried again so often; being told to wait is no failure.
MAX_FAILURES = 6
MAX_PAUSE_S = 60.0
RETRYABLE = frozenset({408, 409, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Rights:
    """For whom a call is made, and what narrows it.

    Args:
        is_batch: charged as a call of a batch.
        is_inner: part of a call that was admitted already: only its tokens and money count.
        token_id, spend: of the temporary token that it is made for, whose own budget it counts in too.
    """

    key_id: str
    models: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    is_batch: bool = False
    is_inner: bool = False
    token_id: str = ""
    spend: Budget | None = None


def rights_of(task: Task, *, is_batch: bool = False, is_inner: bool = False) -> Rights:
    """Of whoever submitted a task, and no more."""
    return Rights(task.key_id, task.ask.models, task.ask.operations, is_batch, is_inner)


def inner_rights(grant: Grant, models: tuple[str, ...] = ()) -> Rights:
    """Of whoever makes a call that another call is part of.

    Args:
        models: what it may ask; nothing leaves it to the key.
    """
    allowed = models or (grant.models if grant.token_id else ())
    return Rights(grant.key_id, allowed, is_inner=True, token_id=grant.token_id, spend=grant.token_spend)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the gateway."""

    status: int
    request_id: str
    body: Any


class Caller:
    """The way of workers and the face to the gateway."""

    def __init__(self, database: Database, pool: Pool, origin: Origin, signer: Signer) -> None:
        self._database = database
        self._pool = pool
        self._origin = origin
        self._signer = signer
        self._tokens: dict[Rights, tuple[float, str]] = {}

    async def call(self, rights: Rights, path: str, body: Any, *, once: str = "", give_up_at: float) -> Reply:
        """One call, tried again while that may help.

        Args:
            once: the Idempotency-Key, where it has one.
            give_up_at: `monotonic()` after which it is not tried again.

        Raises:
            Failed: the key is gone.
        """
        data = encode(body)
        failures = 0
        while True:
            answer = await self._ask(await self.token(rights), path, data, once)
            if answer is not None and (
                answer.status not in RETRYABLE or answer.headers.get(b"x-should-retry") == b"false"
            ):
                return _reply(answer)
            # of 409 too: an earlier call under the same key is still running, and its answer will be told
            is_told_to_wait = answer is not None and answer.status in (409, 429)
            failures += not is_told_to_wait
            pause_s = min(_pause_s(answer) or 2.0**failures, MAX_PAUSE_S)
            if failures >= MAX_FAILURES or monotonic() + pause_s > give_up_at:
                return _unavailable() if answer is None else _reply(answer)
            await asyncio.sleep(pause_s)

    async def _ask(self, token: str, path: str, data: bytes, once: str) -> Answer | None:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        if once:
            headers["Idempotency-Key"] = once
        try:
            return await self._pool.fetch(self._origin, "POST", path, data, headers, timeout_s=CALL_S)
        except PoolError:
            return None

    async def token(self, rights: Rights) -> str:
        """A temporary token for calls.

        Raises:
            Failed: the key is gone.
        """
        known = self._tokens.get(rights)
        if known is not None and known[0] > monotonic():
            return known[1]
        async with self._database.read() as connection:
            record = await keys.find_by_id(connection, rights.key_id)
        if record is None:
            raise Failed(TaskFailure(code="InvalidApiKey", message="The key that this was asked with is gone."))
        now = now_s()
        claims = Claims(
            token_id=rights.token_id or ids.new_id("token"),
            parent=record.digest,
            expires_s=now + TOKEN_S,
            models=rights.models,
            operations=rights.operations,
            is_task=True,
            is_batch=rights.is_batch,
            is_inner=rights.is_inner,
            spend=None if rights.spend is None else rights.spend.amount,
            spend_unit=TOKENS if rights.spend is None else rights.spend.unit,
        )
        token = self._signer.sign(encode_claims(claims), now)
        self._tokens[rights] = monotonic() + USED_S, token
        if len(self._tokens) > MAX_TOKENS:
            self._tokens.pop(next(iter(self._tokens)))
        return token


def _pause_s(answer: Answer | None) -> float:
    """Retry-After in seconds; 0 where it says nothing."""
    text = b"" if answer is None else answer.headers.get(b"retry-after", b"")
    return float(text) if text.isdigit() else 0.0


def _reply(answer: Answer) -> Reply:
    try:
        body = msgspec.json.decode(answer.body)
    except msgspec.DecodeError:
        body = answer.body.decode("utf-8", "replace")[:2000]
    return Reply(answer.status, answer.headers.get(b"x-request-id", b"").decode("latin-1"), body)


def _unavailable() -> Reply:
    message = "The server could not be reached for this call; nothing was charged."
    error = {"message": message, "type": "server_error", "param": None, "code": "service_unavailable"}
    return Reply(503, "", {"error": error})
