"""Filters over attributes: what they match, and what is refused."""

from typing import Any

import pytest

from steelyard.base.errors import Fault
from steelyard.knowledge.filters import MAX_DEPTH, read_filter

SAID = {"year": 2024, "kind": "report", "draft": False, "score": 0.5}


@pytest.mark.parametrize(
    ("asked", "matches"),
    [
        ({"type": "eq", "key": "year", "value": 2024}, True),
        ({"type": "ne", "key": "year", "value": 2024}, False),
        ({"type": "ne", "key": "absent", "value": 1}, True),
        ({"type": "eq", "key": "absent", "value": 1}, False),
        ({"type": "gt", "key": "year", "value": 2023}, True),
        ({"type": "lte", "key": "score", "value": 0.5}, True),
        ({"type": "gt", "key": "kind", "value": 1}, False),
        ({"type": "lt", "key": "kind", "value": "zoo"}, True),
        ({"type": "gte", "key": "absent", "value": 1}, False),
        ({"type": "in", "key": "kind", "value": ["report", "memo"]}, True),
        ({"type": "nin", "key": "kind", "value": ["report"]}, False),
        ({"type": "eq", "key": "draft", "value": False}, True),
        ({"type": "and", "filters": [{"type": "eq", "key": "year", "value": 2024}, {"type": "eq", "key": "kind", "value": "memo"}]}, False),
        ({"type": "or", "filters": [{"type": "eq", "key": "year", "value": 1}, {"type": "eq", "key": "kind", "value": "report"}]}, True),
    ],
)  # fmt: skip
def test_matches(asked: dict[str, Any], matches: bool) -> None:
    assert read_filter(asked, "filters")(SAID) is matches


def deep(levels: int) -> dict[str, Any]:
    return {"type": "and", "filters": [deep(levels - 1)]} if levels else {"type": "eq", "key": "a", "value": 1}


@pytest.mark.parametrize(
    "asked",
    [
        None, [], "x", {}, {"type": 1}, {"type": "near", "key": "a", "value": 1}, {"type": "eq", "value": 1},
        {"type": "eq", "key": "a", "value": None}, {"type": "eq", "key": "a", "value": {}}, {"type": "in", "key": "a", "value": 1},
        {"type": "in", "key": "a", "value": [[]]}, {"type": "and"}, {"type": "or", "filters": []}, {"type": "and", "filters": [None]},
        {"type": "or", "filters": [{"type": "eq", "key": "a", "value": 1}] * 101}, deep(MAX_DEPTH + 1),
    ],
)  # fmt: skip
def test_refused(asked: Any) -> None:
    with pytest.raises(Fault) as caught:
        read_filter(asked, "filters")
    assert caught.value.param == "filters"
