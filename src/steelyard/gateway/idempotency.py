"""Requests with an Idempotency-Key: processed at most once per key and owner, and answered again. Source: errors.md 2.7."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from steelyard.base.errors import fault
from steelyard.canon.grant import Grant
from steelyard.gateway.ports import Replay, StoredAnswer

HEADER = b"idempotency-key"
MAX_KEY_CHARS = 255
_FAULTS = {
    "running": "request_in_progress",
    "gone": "request_already_processed",
    "mismatch": "idempotency_key_reused",
}


@dataclass(frozen=True, slots=True)
class Once:
    """One key of one owner."""

    scope: str
    key: str

    async def claim(self, replay: Replay, body: bytes, request_id: str) -> StoredAnswer | None:
        """Takes the key for a request.

        Returns:
            the answer of the same request before, None where this one is the first.

        Raises:
            Fault: it is still running, its answer was not kept, or it had another body.
        """
        found = await replay.claim(self.scope, self.key, hashlib.sha256(body).hexdigest(), request_id)
        if found.state == "stored" and found.answer is not None:
            stored = found.answer
            headers = [*stored.headers, (b"x-steelyard-replayed", b"true")]
            return StoredAnswer(stored.status, headers, stored.body)
        if found.state != "new":
            raise fault(_FAULTS[found.state], request_id=found.request_id)
        return None


def once_of(grant: Grant, headers: dict[bytes, bytes], what: str) -> Once | None:
    """The key that a request has, in the name of its owner; None where it has none.

    Args:
        what: the operation, or the path of a request that is none of a model.
    """
    key = headers.get(HEADER)
    if key is None:
        return None
    # per owner: another key of the workspace is another caller
    scope = f"{grant.workspace}:{grant.lineage or grant.key_id}:{what}"
    return Once(scope, key.decode("latin-1")[:MAX_KEY_CHARS])


def wants_no_replay(headers: dict[bytes, bytes]) -> bool:
    """Whether the caller wants its answer not kept."""
    return headers.get(b"prefer", b"").strip().lower() == b"no-replay"
