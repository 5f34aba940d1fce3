"""Arithmetic and nothing else."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.apps.builtin import PLUGINS
from steelyard.apps.builtin.calculator import NotArithmetic, compute
from steelyard.canon.apps import BUILTIN_NAMES


def test_every_builtin_is_known_everywhere() -> None:
    """What gateways are told of is what there is."""
    assert frozenset(PLUGINS) == BUILTIN_NAMES
    assert all(one.runs.keys() == {tool.name for tool in one.tools} for one in PLUGINS.values())


@given(st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9), st.sampled_from(["+", "-", "*"]))
def test_whole_numbers_are_exact(left: int, right: int, sign: str) -> None:
    """As Python has them."""
    assert compute(f"({left}) {sign} ({right})") == eval(f"({left}) {sign} ({right})")


def test_as_people_write() -> None:
    """Signs of schoolbooks, constants, functions."""
    assert compute("6 × 7 ÷ 2") == 21
    assert compute("2^10") == 1024
    assert compute("sqrt(2) * pi") == math.sqrt(2) * math.pi
    assert compute("max(1, min(5, 3))") == 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "().__class__",
        "open('/etc/passwd')",
        "lambda: 1",
        "[1]*9",
        "'a'",
        "9**9**9",
        "2**99999",
        "(-8)**0.5",
        "1e308*10",
        "f(",
        "round(1.5, ndigits=1)",
        "True",
        "1 if 1 else 2",
    ],
)
def test_everything_else(text: str) -> None:
    """Refused without being run."""
    with pytest.raises((NotArithmetic, ArithmeticError)):
        compute(text)


@given(st.text(max_size=60))
def test_anything(text: str) -> None:
    """A number, or an error of these."""
    try:
        compute(text)
    except (NotArithmetic, ArithmeticError, ValueError, TypeError):
        return
