"""Measures of retrieval, computed by hand."""

import math

from steelyard.knowledge.quality import Case, join, sum_up


def documents(*names: str) -> list[tuple[str, str]]:
    return [(f"id-{name}", f"{name}.md") for name in names]


def test_measures() -> None:
    """First, third, and not at all; by name without its suffix, with it, and by id."""
    answered = [
        (Case("a", ("x",), "plain"), documents("x", "y", "z")),
        (Case("b", ("z.md",), "plain"), documents("x", "y", "z")),
        (Case("c", ("id-w",), "hard"), documents("x", "y", "z")),
    ]
    found = sum_up(answered)
    assert (found.questions, found.hit_at_1, found.hit_at_5) == (3, 0.3333, 0.6667)
    assert found.mrr == round((1 + 1 / 3) / 3, 4)
    assert found.ndcg_at_10 == round((1 + 1 / math.log2(4)) / 3, 4)
    assert {kind: one.hit_at_5 for kind, one in found.by_kind.items()} == {"plain": 1.0, "hard": 0.0}
    assert [(one["question"], one["found"]) for one in found.misses] == [("c", ["x.md", "y.md", "z.md"])]


def test_joined() -> None:
    """Portions of a set are told as the whole."""
    answered = [
        (Case("a", ("x",), "plain"), documents("x", "y", "z")),
        (Case("b", ("z",), "plain"), documents("x", "y", "z")),
        (Case("c", ("w",), "hard"), documents("x", "y", "z")),
        (Case("d", ("y",), "hard"), documents("x", "y", "z")),
    ]
    whole, parts = sum_up(answered), join([sum_up(answered[:2]), sum_up(answered[2:])])
    assert (parts.questions, parts.hit_at_5, parts.misses) == (whole.questions, whole.hit_at_5, whole.misses)
    assert abs(parts.mrr - whole.mrr) < 1e-3
    assert parts.by_kind == whole.by_kind


def test_several_right_ones() -> None:
    """The ideal order has all of them first."""
    found = sum_up([(Case("a", ("x", "z")), documents("x", "y", "z"))])
    best = 1 + 1 / math.log2(3)
    assert found.ndcg_at_10 == round((1 + 1 / math.log2(4)) / best, 4)
    assert sum_up([]).mrr == 0.0
