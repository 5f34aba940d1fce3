"""When an attempt is repeated, where, and after how long; and which target is chosen."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from steelyard.base.errors import RelayedFault, fault
from steelyard.canon.model import FASTEST, Model, Target
from steelyard.policy.retry import backoff_s, may_go_elsewhere, may_repeat
from steelyard.policy.routing import Candidates, choose


@pytest.mark.parametrize(
    ("slug", "elsewhere", "repeat"),
    [
        ("limit_requests", True, True),
        ("bad_gateway", True, True),
        ("upstream_timeout", True, True),
        ("inference_error", True, True),
        ("model_unavailable", True, True),
        ("provider_refused_key", True, False),
        ("model_not_found", True, False),
        ("parameter_invalid", False, False),
        ("data_inspection_failed", False, False),
    ],
)
def test_what_is_tried_again(slug: str, elsewhere: bool, repeat: bool) -> None:
    """The catalogue's retryable rows, and what says nothing of other targets."""
    failure = fault(slug)
    assert (may_go_elsewhere(failure), may_repeat(failure)) == (elsewhere, repeat)


def test_backoff_is_jittered_and_honours_retry_after() -> None:
    """Exponential, full jitter, capped; Retry-After from below; too long a pause is none."""
    plain = fault("bad_gateway")
    assert [backoff_s(n, plain, lambda: 1.0) for n in (1, 2, 3, 9)] == [0.25, 0.5, 1.0, 8.0]
    assert backoff_s(3, plain, lambda: 0.0) == 0.0
    asks = RelayedFault("limit_requests", status=429, message="", retry_after_s=3.0)
    assert backoff_s(1, asks, lambda: 0.5) == 3.0
    assert backoff_s(1, RelayedFault("limit_requests", status=429, message="", retry_after_s=21), lambda: 0.5) is None


class Health:
    """As told."""

    def __init__(self, is_available: bool = True, score: float = 0.0) -> None:
        self.is_available = is_available
        self.score = score


@dataclass
class Candidate:
    """Somebody to be asked."""

    target: Target
    health: Health


def target(name: str, **fields: object) -> Target:
    return Target(provider=name, model="m", base_url="http://x", **fields)  # type: ignore[arg-type]


Way = Callable[[Model, list[Candidate], Callable[[], float]], Candidate | None]


def choose_sorted(model: Model, candidates: list[Candidate], numbers: Callable[[], float]) -> Candidate | None:
    """By candidates that are looked at once."""
    return Candidates(candidates).choose(model, numbers)


ways = pytest.mark.parametrize("choose", [choose, choose_sorted])


@ways
def test_priority_then_weight(choose: Way) -> None:
    """The best priority with somebody available takes all; within it weights share."""
    targets = (target("a", weight=3), target("b"), target("c", priority=1, weight=1000))
    model = Model(name="m", targets=targets)
    state = {name: Health() for name in "abc"}
    numbers = random.Random(1).random

    def draw() -> Counter[str]:
        candidates = [Candidate(one, state[one.provider]) for one in targets]
        chosen = (choose(model, candidates, numbers) for _ in range(1000))
        return Counter(one.target.provider if one else "-" for one in chosen)

    shares = draw()
    assert shares["c"] == 0
    assert 700 < shares["a"] < 800
    state["a"].is_available = False
    assert draw() == {"b": 1000}
    state["b"].is_available = False
    assert draw() == {"c": 1000}
    state["c"].is_available = False
    assert draw() == {"-": 1000}


@ways
def test_a_missing_one_s_share_is_shared_by_weight(choose: Way) -> None:
    """Of three, one is away: the others are asked by their weights."""
    targets = (target("a", weight=6), target("b", weight=3), target("c", weight=1))
    away = {"a": Health(), "b": Health(), "c": Health()}
    away["a"].is_available = False
    candidates = [Candidate(one, away[one.provider]) for one in targets]
    numbers = random.Random(2).random
    chosen = (choose(Model(name="m", targets=targets), candidates, numbers) for _ in range(1000))
    shares = Counter(one.target.provider if one else "-" for one in chosen)
    assert set(shares) == {"b", "c"}
    assert 710 < shares["b"] < 790


@ways
def test_fastest_prefers_the_better_of_two(choose: Way) -> None:
    """Of three, the slowest is never the better of two."""
    targets = (target("quick"), target("middling"), target("slow"))
    model = Model(name="m", targets=targets, strategy=FASTEST)
    scores = {"quick": 0.1, "middling": 0.2, "slow": 0.3}
    numbers = random.Random(1).random
    candidates = [Candidate(one, Health(score=scores[one.provider])) for one in targets]
    chosen = (choose(model, candidates, numbers) for _ in range(1000))
    shares = Counter(one.target.provider if one else "-" for one in chosen)
    assert shares["slow"] == 0
    assert 600 < shares["quick"] < 730
