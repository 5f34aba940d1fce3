"""A target's breaker, throttle and score, on a clock of their own."""

from steelyard.gateway.health import CLOSED, HALF_OPEN, OPEN, TargetHealth


class Clock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def make(**options: object) -> tuple[TargetHealth, Clock, list[str]]:
    clock, states = Clock(), list[str]()
    return TargetHealth(on_change=states.append, clock=clock, **options), clock, states  # type: ignore[arg-type]


def fail(health: TargetHealth, times: int) -> None:
    for _ in range(times):
        health.began()
        health.failed()


def succeed(health: TargetHealth, times: int = 1, latency_s: float = 0.1) -> None:
    for _ in range(times):
        health.began()
        health.succeeded(latency_s)


def test_five_in_a_row_open_it() -> None:
    """Four do not."""
    health, _, states = make()
    fail(health, 4)
    assert health.is_available
    fail(health, 1)
    assert (health.state, health.is_available, states) == (OPEN, False, [OPEN])
    assert health.wait_s() == 5.0


def test_ten_of_twenty_open_it() -> None:
    """Half of the last twenty, however mixed."""
    health, _, _ = make()
    for _ in range(9):
        fail(health, 1)
        succeed(health)
    assert health.state == CLOSED
    fail(health, 1)
    assert health.state == OPEN


def test_one_probe_decides() -> None:
    """Half-open lets one attempt through; failure doubles the wait up to a minute, success closes."""
    health, clock, states = make()
    fail(health, 5)
    for wait_s in (5, 10, 20, 40, 60, 60):
        clock.now += wait_s - 0.001
        assert not health.is_available
        clock.now += 0.002
        assert health.is_available
        health.began()
        assert (health.state, health.is_available) == (HALF_OPEN, False)
        health.failed()
        assert health.state == OPEN
    clock.now += 61
    health.began()
    health.succeeded(0.1)
    assert (health.state, health.is_available, states[-2:]) == (CLOSED, True, [HALF_OPEN, CLOSED])
    fail(health, 4)
    assert health.is_available
    fail(health, 1)
    assert health.wait_s() == 5.0


def test_probe_that_says_nothing_is_made_again() -> None:
    """A client that leaves during the probe must not leave the breaker half-open for ever."""
    health, clock, _ = make()
    fail(health, 5)
    clock.now += 6
    health.began()
    health.dropped()
    assert (health.state, health.is_available, health.in_flight) == (OPEN, True, 0)


def test_throttling_is_no_failure() -> None:
    """429 keeps it aside for as long as it asked, and opens nothing."""
    health, clock, states = make()
    for _ in range(20):
        health.began()
        health.throttled(3.0)
    assert (health.is_available, health.is_throttled, states) == (False, True, [])
    clock.now += 3.1
    assert (health.is_available, health.is_throttled) == (True, False)
    health.began()
    health.throttled(None)
    assert health.wait_s() == 1.0


def test_concurrency_cap_and_score() -> None:
    """Room is given back by every outcome; slow, failing and busy targets score worse."""
    health, _, _ = make(max_concurrency=2)
    health.began()
    health.began()
    assert (health.is_available, health.is_full) == (False, True)
    health.dropped()
    assert health.is_available
    health.succeeded(0.2)
    quick, _, _ = make()
    succeed(quick, 3, 0.1)
    slow, _, _ = make()
    succeed(slow, 3, 0.3)
    assert quick.score < slow.score
    fail(quick, 1)
    assert quick.score > slow.score


def test_without_breaker_it_never_opens() -> None:
    """For upstreams that have no alternative and whose failures should be seen."""
    health, _, states = make(has_breaker=False)
    fail(health, 50)
    assert (health.is_available, states) == (True, [])
