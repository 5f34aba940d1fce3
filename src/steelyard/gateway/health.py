"""What this process has seen of each target lately: latency, failures, calls under way, and the breaker.

The breaker opens when the last 5 attempts failed, or 10 of the last 20. It stays open for 5 s, then lets one attempt through:
if that succeeds it closes, if it fails it opens again for twice as long, up to a minute. Throttling (429) does not count as
failure; it keeps the target aside for as long as it asked.
"""

from collections.abc import Callable

from steelyard.base.clock import monotonic

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half-open"
IN_A_ROW = 5
WINDOW = 20
MAX_FAILED = 10
OPEN_S = 5.0
MAX_OPEN_S = 60.0
#: A throttled target that names no time is left alone for this long.
THROTTLED_S = 1.0
#: Weight of the newest attempt in the moving averages.
NEWEST = 0.1
#: A failure counts in the score like an answer that took this much longer.
FAILURE_S = 10.0

_ROW_MASK = (1 << IN_A_ROW) - 1
_WINDOW_MASK = (1 << WINDOW) - 1


class TargetHealth:
    """Implements `policy.routing.Health` for one target."""

    __slots__ = (
        "_clock",
        "_errors",
        "_latency_s",
        "_on_change",
        "_open_s",
        "_recent",
        "_reopens_at",
        "_throttled_until",
        "has_breaker",
        "in_flight",
        "max_concurrency",
        "state",
    )

    def __init__(
        self,
        max_concurrency: int | None = None,
        has_breaker: bool = True,
        on_change: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.max_concurrency = max_concurrency
        self.has_breaker = has_breaker
        self.in_flight = 0
        self.state = CLOSED
        #: one bit an attempt, the newest lowest; 1 is a failure
        self._recent = 0
        self._errors = 0.0
        self._latency_s = 0.0
        self._open_s = OPEN_S
        self._reopens_at = 0.0
        self._throttled_until = 0.0
        self._on_change = on_change
        self._clock = clock

    def __repr__(self) -> str:
        return f"<TargetHealth {self.state} [{self.in_flight} in flight, {self._latency_s:.3f} s, {self._errors:.0%} failed]>"

    @property
    def is_available(self) -> bool:
        """See `routing.Health`."""
        if self.max_concurrency is not None and self.in_flight >= self.max_concurrency:
            return False
        if self.state == CLOSED and not self._throttled_until:
            return True
        now = self._clock()
        if now < self._throttled_until:
            return False
        # half-open: the one attempt is under way
        return self.state == CLOSED or (self.state == OPEN and now >= self._reopens_at)

    @property
    def is_full(self) -> bool:
        """Whether only its concurrency cap keeps it from being asked."""
        return self.max_concurrency is not None and self.in_flight >= self.max_concurrency

    @property
    def is_throttled(self) -> bool:
        """Whether only its throttling keeps it aside."""
        return self.state == CLOSED and self._throttled_until > self._clock()

    @property
    def score(self) -> float:
        """See `routing.Health`."""
        return (self._latency_s + self._errors * FAILURE_S) * (1 + self.in_flight)

    def wait_s(self) -> float:
        """Seconds until it may be asked again; 0.0 where it may now."""
        until = max(self._throttled_until, self._reopens_at if self.state == OPEN else 0.0)
        return max(until - self._clock(), 0.0)

    def began(self) -> None:
        """An attempt is sent."""
        self.in_flight += 1
        if self.state == OPEN:
            self._turn(HALF_OPEN)

    def succeeded(self, latency_s: float) -> None:
        """An attempt was answered; the first byte took `latency_s`."""
        self.in_flight -= 1
        self._recent = self._recent << 1 & _WINDOW_MASK
        self._errors *= 1 - NEWEST
        self._latency_s += NEWEST * (latency_s - self._latency_s) if self._latency_s else latency_s
        self._throttled_until = 0.0
        if self.state != CLOSED:
            self._recent, self._open_s = 0, OPEN_S
            self._turn(CLOSED)

    def failed(self) -> None:
        """An attempt failed by the target's fault."""
        self.in_flight -= 1
        self._recent = (self._recent << 1 | 1) & _WINDOW_MASK
        self._errors += NEWEST * (1 - self._errors)
        if self.state == HALF_OPEN:
            self._open_s = min(self._open_s * 2, MAX_OPEN_S)
            self._open()
        elif self.state == CLOSED and (self._recent & _ROW_MASK == _ROW_MASK or self._recent.bit_count() >= MAX_FAILED):
            self._open()

    def throttled(self, retry_after_s: float | None) -> None:
        """An attempt was refused for its rate: the target lives, and is left alone for a while."""
        self.in_flight -= 1
        self._throttled_until = self._clock() + (retry_after_s or THROTTLED_S)
        if self.state == HALF_OPEN:
            self._recent, self._open_s = 0, OPEN_S
            self._turn(CLOSED)

    def dropped(self) -> None:
        """An attempt ended without a word on the target: the client left, or another target was quicker."""
        self.in_flight -= 1
        if self.state == HALF_OPEN:
            # nothing was learnt: the next call may try
            self._reopens_at = self._clock()
            self._turn(OPEN)

    def _open(self) -> None:
        if not self.has_breaker:
            return
        self._reopens_at = self._clock() + self._open_s
        self._turn(OPEN)

    def _turn(self, state: str) -> None:
        self.state = state
        self._on_change(state)
