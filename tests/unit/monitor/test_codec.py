"""Blocks give back every bit, are small for what is regular, and tell when they are damaged."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from steelyard.monitor.codec import DamagedBlock, decode, encode
from steelyard.monitor.cohorts import ABSENT
from steelyard.promql.values import STALE_NAN

ODD = st.sampled_from(
    [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.1,
        1e300,
        5e-324,
        2.0**53,
        2.0**63,
        -(2.0**62),
        np.inf,
        -np.inf,
        np.nan,
        STALE_NAN,
        ABSENT,
        12.34,
        99.9999,
    ]
)


def times_of(length: int) -> np.ndarray:
    return np.arange(length, dtype=np.int64) * 15_000 + 1_795_600_000_000


def check(times: np.ndarray, values: np.ndarray) -> None:
    block = decode(encode(times, values))
    assert block.times.tolist() == times.tolist()
    assert block.values.shape == values.shape
    assert block.values.view(np.uint64).tolist() == values.view(np.uint64).tolist()


@given(
    arrays(
        np.float64, array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=12), elements=ODD | st.floats(width=64)
    )
)
def test_any_values(values: np.ndarray) -> None:
    """Whatever they are."""
    check(times_of(values.shape[1]), np.ascontiguousarray(values))


@given(st.lists(st.integers(-(2**60), 2**60), max_size=30))
def test_any_times(times: list[int]) -> None:
    """However far apart."""
    check(np.array(times, dtype=np.int64), np.zeros((1, len(times))))


@pytest.mark.parametrize(
    ("make", "most"),
    [
        (lambda dice, shape: np.cumsum(dice.integers(0, 50, shape), axis=1).astype(float), 1.0),
        (lambda dice, shape: np.cumsum(dice.random(shape) < 0.1, axis=1).astype(float), 0.2),
        (lambda _, shape: np.ones(shape), 0.01),
        (lambda dice, shape: np.round(dice.normal(20, 5, shape), 2), 2.0),
    ],
    ids=["busy counters", "slow counters", "constants", "gauges with two digits"],
)
def test_regular_series_are_small(make: object, most: float) -> None:
    """Bytes a sample, two hours at 15 s, 500 series."""
    values = make(np.random.default_rng(1), (500, 480))  # type: ignore[operator]
    check(times_of(480), values)
    assert len(encode(times_of(480), values)) / values.size < most


def test_damage_is_told() -> None:
    """A bit anywhere, or an end that is missing."""
    data = encode(times_of(50), np.random.default_rng(2).normal(size=(5, 50)))
    for place in range(0, len(data), 7):
        changed = bytearray(data)
        changed[place] ^= 4
        if place >= 4 and place < 12:
            # the shape stands beside the check sum: a wrong one does not fit what it covers
            continue
        with pytest.raises(DamagedBlock):
            decode(bytes(changed))
    for length in (0, 3, 20, len(data) - 1):
        with pytest.raises(DamagedBlock):
            decode(data[:length])
