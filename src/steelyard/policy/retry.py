"""Whether a failed attempt is tried again, where, and after how long. Source: errors.md, column R. Values in, values out."""

from collections.abc import Callable

from steelyard.base.errors import Fault

BASE_S = 0.25
MAX_BACKOFF_S = 8.0
#: An upstream that asks for a longer pause is not waited for: the caller is told.
MAX_WAIT_S = 20.0
#: Failures of one target that say nothing of the others, though the same target would fail again.
_ELSEWHERE = frozenset({"provider_refused_key", "model_not_found", "arrearage"})


def may_go_elsewhere(failure: Fault) -> bool:
    """Whether another target may succeed: the upstream failed, throttled, or does not have what we expected of it."""
    return failure.is_retryable or failure.status == 429 or failure.slug in _ELSEWHERE


def may_repeat(failure: Fault) -> bool:
    """Whether the same target may succeed."""
    return failure.is_retryable


def backoff_s(attempt: int, failure: Fault, random: Callable[[], float]) -> float | None:
    """Seconds to wait before the same target is asked again: exponential with full jitter, never below its Retry-After.

    Args:
        attempt: how many attempts were made, from 1.
        random: numbers in [0, 1).

    Returns:
        None where the upstream wants a longer pause than a call should be held for.
    """
    jittered = random() * min(BASE_S * 2 ** (attempt - 1), MAX_BACKOFF_S)
    asked = failure.retry_after_s or 0.0
    return None if asked > MAX_WAIT_S else max(jittered, asked)
