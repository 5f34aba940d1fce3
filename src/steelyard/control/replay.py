"""Answers that are kept: by Idempotency-Key for a repeat of the same request, and for calls that are exactly the same."""

from dataclasses import dataclass

from steelyard.base.clock import MICROS, now_us
from steelyard.store import replay
from steelyard.store.database import Database

#: Answers are kept this long.
KEEP_S = 86_400
#: A claim whose process died is free again after this long.
ABANDONED_S = 900


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """`new`, `running`, `stored`, `gone` or `mismatch`, with the first request's id and kept answer."""

    state: str
    request_id: str
    answer: bytes | None = None


async def claim(database: Database, scope: str, key: str, body_digest: str, request_id: str) -> ClaimResult:
    """Takes the key for this request unless another has it."""
    now = now_us()
    async with database.write() as connection:
        known = await replay.find(connection, scope, key)
        if known is not None and _is_over(known, now):
            await replay.forget(connection, scope, key)
        if await replay.claim(connection, scope, key, body_digest, request_id, now):
            return ClaimResult("new", request_id)
        known = await replay.find(connection, scope, key)
    if known is None:
        # the other has freed it between our two questions; it may be asked for again
        return ClaimResult("running", request_id)
    if known.body_digest != body_digest:
        return ClaimResult("mismatch", known.request_id)
    return ClaimResult(known.state, known.request_id, known.answer)


def _is_over(known: replay.ReplayRecord, now: int) -> bool:
    age_s = (now - known.created_us) / MICROS
    return age_s > KEEP_S or (known.state == replay.RUNNING and age_s > ABANDONED_S)


async def finish(database: Database, scope: str, key: str, answer: bytes | None) -> None:
    """Keeps the answer, or the fact that it was given and not kept."""
    async with database.write() as connection:
        await replay.finish(connection, scope, key, answer)


async def forget(database: Database, scope: str, key: str) -> None:
    """Frees the key: nothing was processed."""
    async with database.write() as connection:
        await replay.forget(connection, scope, key)


async def find_kept(database: Database, scope: str, key: str) -> bytes | None:
    """What is kept of an answer for calls that are exactly the same."""
    async with database.read() as connection:
        known = await replay.find(connection, scope, key)
    return None if known is None else known.answer


async def keep(database: Database, scope: str, key: str, data: bytes) -> None:
    """Keeps it, in place of an older one."""
    async with database.write() as connection:
        await replay.forget(connection, scope, key)
        await replay.put(connection, scope, key, data, now_us())


async def sweep(database: Database) -> None:
    """Frees what is too old."""
    async with database.write() as connection:
        await replay.forget_before(connection, now_us() - KEEP_S * MICROS)
