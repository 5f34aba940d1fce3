"""The record of one call: written to the journal before its last byte leaves, then to the ledger, once."""

import msgspec

#: outcome values: the answer was whole; the upstream broke it; the client left; refused or failed before an answer.
COMPLETED, BROKEN, ABANDONED, FAILED = "completed", "broken", "abandoned", "failed"


class FailedAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that failed before anything reached the client. It is never charged."""

    target: str
    status: int
    error: str
    duration_us: int


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """One call, start to settlement. Times in microseconds since 1970, money in micro-units."""

    request_id: str
    workspace: str
    key_id: str
    operation: str
    model: str
    target: str
    is_stream: bool
    status: int
    error: str | None = None
    outcome: str = COMPLETED
    attempts: int = 1
    started_us: int
    duration_us: int
    first_token_us: int | None = None
    hold_tokens: int
    hold_micros: int
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    is_estimated: bool = False
    #: our own count of the answer's pieces, beside what the upstream said
    counted_tokens: int = 0
    price_version: str
    currency: str
    cost_micros: int
    client_request_id: str | None = None
    image_count: int = 0
    video_seconds: int = 0
    audio_seconds: int = 0
    #: The call that this one is a part of.
    parent: str | None = None
    #: The attempts before the one that `target` names, oldest first.
    failed_attempts: tuple[FailedAttempt, ...] = ()
    #: The accounts of budgets that it is settled in.
    accounts: tuple[str, ...] = ()
