"""Runs Prometheus' own test scripts against our evaluator and counts honestly: `python -m tests.promql.acceptance FOLDER [--tier core]`.

As the official runner does, every instant eval is also run as the middle of a range, and with its time fixed by `@` at other times.
"""

import argparse
import csv
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from steelyard.promql.context import Options
from steelyard.promql.engine import Result, query_instant, query_range, raw_samples
from steelyard.promql.errors import QueryError
from steelyard.promql.labels import Labels, show
from steelyard.promql.nodes import Aggregation, Binary, Call, Negation, Node, Paren, Range, Selector, Subquery, walk
from steelyard.promql.parse import parse
from steelyard.promql.values import Matrix, Scalar, String, Vector

from .memory import Memory
from .script import Clear, Eval, Expected, Load, as_arrays, read_script

OPTIONS = Options(delays_names=True, experimental=True)
TOLERANCE = 1e-6
#: Other times at which a query with a fixed time must give the same.
OTHER_TIMES_S = (-100_000, -1000, -600, -61, -1, 0, 1, 59, 600, 1000, 100_000)
_OF_TIME = frozenset(
    {"time", "minute", "hour", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month", "year", "timestamp", "predict_linear", "start", "end", "step", "range"}
)  # fmt: skip
_POSITION = re.compile(r"\s*\(\d+:\d+\)$")


class Mismatch(Exception):
    """A result is not what was expected."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one eval."""

    file: str
    line: int
    text: str
    problem: str | None


def run_file(path: Path, *, together: bool = False) -> Iterator[Outcome]:
    """Each eval of a script, in order."""
    memory = Memory(together=together)
    for command in read_script(path):
        if isinstance(command, Clear):
            memory.clear()
        elif isinstance(command, Load):
            for labels, times, values in as_arrays(command):
                memory.add(labels, times, values)
        else:
            yield Outcome(path.name, command.line, command.text, _problem(command, memory))


def _problem(one: Eval, memory: Memory) -> str | None:
    try:
        _run(one, memory)
    except Mismatch as exc:
        return str(exc)
    except QueryError as exc:
        return f"query failed: {exc}"
    except Exception as exc:
        return f"{type(exc).__name__}: {exc}"
    return None


def _run(one: Eval, memory: Memory) -> None:
    if one.expected.unread:
        raise Mismatch(one.expected.unread)
    if one.expected.fails:
        _run_failing(one, memory)
        return
    node = parse(one.text, experimental=True)
    if one.is_range:
        result = query_range(node, memory, one.start_ms, one.end_ms, one.step_ms, OPTIONS)
        check_notes(one.expected, result)
        check_range(one.expected, result)
        return
    result = query_instant(node, memory, one.start_ms, OPTIONS)
    check_notes(one.expected, result)
    check_instant(one.expected, result)
    if one.expected.range_vector is not None or isinstance(result.value, Matrix | String):
        return
    if not one.expected.is_ordered:
        _run_as_range(one, node, memory)
    fixed = fix_time(node, one.start_ms)
    if fixed is not None:
        for seconds in OTHER_TIMES_S:
            try:
                check_instant(one.expected, query_instant(fixed, memory, one.start_ms + seconds * 1000, OPTIONS))
            except Mismatch as exc:
                raise Mismatch(f"with @ at {seconds:+} s: {exc}") from None


def _run_as_range(one: Eval, node: Node, memory: Memory) -> None:
    minute = 60_000
    result = query_range(node, memory, one.start_ms - minute, one.start_ms + minute, minute, OPTIONS)
    value = result.value
    if isinstance(value, Scalar):
        middle: Any = Scalar(value.values[1:2])
    else:
        assert isinstance(value, Vector)
        middle = Vector(value.labels, value.values[:, 1:2], value.present[:, 1:2], value.drops)
    try:
        check_instant(one.expected, replace_value(result, middle))
    except Mismatch as exc:
        raise Mismatch(f"as a range: {exc}") from None


def replace_value(result: Result, value: Any) -> Result:
    return Result(value, result.steps[1:2], result.warnings, result.infos)


def _run_failing(one: Eval, memory: Memory) -> None:
    try:
        node = parse(one.text, experimental=True)
        if one.is_range:
            query_range(node, memory, one.start_ms, one.end_ms, one.step_ms, OPTIONS)
        else:
            query_instant(node, memory, one.start_ms, OPTIONS)
    except QueryError as exc:
        text = str(exc)
        expected = one.expected
        if expected.fail_text and _POSITION.sub("", expected.fail_text) != _POSITION.sub("", text):
            raise Mismatch(f"failed with {text!r}, expected {expected.fail_text!r}") from None
        if expected.fail_pattern and not re.search(expected.fail_pattern, text):
            raise Mismatch(f"failed with {text!r}, expected /{expected.fail_pattern}/") from None
        return
    raise Mismatch("did not fail")


def fix_time(node: Node, at_ms: int) -> Node | None:
    """The query with its time fixed on every selector that has none; None where that would change it."""
    if any(isinstance(one, Call) and one.function in _OF_TIME for one in walk(node)):
        return None
    return _fixed(node, at_ms)


def _fixed(node: Node, at_ms: int) -> Node:
    if isinstance(node, Selector | Subquery):
        # what is inside a subquery has the subquery's own times
        return node if node.at is not None else replace(node, at=at_ms)
    if isinstance(node, Range):
        return replace(node, selector=_fixed(node.selector, at_ms))
    if isinstance(node, Paren | Negation):
        return replace(node, expr=_fixed(node.expr, at_ms))
    if isinstance(node, Call):
        return replace(node, args=tuple(_fixed(one, at_ms) for one in node.args))
    if isinstance(node, Aggregation):
        param = None if node.param is None else _fixed(node.param, at_ms)
        return replace(node, expr=_fixed(node.expr, at_ms), param=param)
    if isinstance(node, Binary):
        return replace(node, left=_fixed(node.left, at_ms), right=_fixed(node.right, at_ms))
    return node


# comparing


def check_notes(expected: Expected, result: Result) -> None:
    for level, found in (("warn", result.warnings), ("info", result.infos)):
        if level not in expected.notes:
            continue
        wanted = expected.notes[level]
        if wanted is None:
            if found:
                raise Mismatch(f"unexpected {level}: {found}")
            continue
        if not found:
            raise Mismatch(f"no {level}")
        for message, pattern in wanted:
            plain = [_POSITION.sub("", one) for one in found]
            if message and _POSITION.sub("", message) not in plain:
                raise Mismatch(f"{level} {message!r} is not among {found}")
            bare = pattern.removesuffix(r"\([0-9]+:[0-9]+\)").removesuffix(r"\(1:21\)").strip()
            if pattern and not any(re.search(bare, one) for one in plain):
                raise Mismatch(f"{level} /{pattern}/ is not among {found}")


def same(one: float, other: float) -> bool:
    """Whether numbers are the same, or nearly so."""
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    if one == other:
        return True
    if math.isinf(one) or math.isinf(other):
        return False
    total = abs(one) + abs(other)
    return abs(one - other) < TOLERANCE * min(total, sys.float_info.max)


def check_instant(expected: Expected, result: Result) -> None:
    value = result.value
    if isinstance(value, String):
        if expected.text != value.value:
            raise Mismatch(f"{value.value!r} in place of {expected.text!r}")
        return
    if isinstance(value, Matrix):
        _check_raw(expected, value)
        return
    if isinstance(value, Scalar):
        if expected.scalar is None or not same(expected.scalar, float(value.values[0])):
            raise Mismatch(f"{value.values[0]} in place of {expected.scalar}")
        return
    if expected.scalar is not None:
        raise Mismatch(f"a vector in place of {expected.scalar}")
    found = [(labels, float(value.values[row, 0])) for row, labels in enumerate(value.labels) if value.present[row, 0]]
    wanted = [(labels, values[0]) for labels, values in expected.series]
    _compare(expected, found, wanted)


def _compare(expected: Expected, found: list[tuple[Labels, float]], wanted: list[tuple[Labels, Any]]) -> None:
    if expected.is_ordered and [one for one, _ in found] != [one for one, _ in wanted]:
        raise Mismatch(f"order {[show(one) for one, _ in found]} in place of {[show(one) for one, _ in wanted]}")
    left, right = dict(found), dict(wanted)
    for labels in left.keys() | right.keys():
        if labels not in right:
            raise Mismatch(f"unexpected {show(labels)} {left[labels]}")
        if labels not in left:
            raise Mismatch(f"missing {show(labels)} {right[labels]}")
        if not same(left[labels], right[labels]):
            raise Mismatch(f"{show(labels)} {left[labels]!r} in place of {right[labels]!r}")


def _check_raw(expected: Expected, matrix: Matrix) -> None:
    assert expected.range_vector is not None
    start, _, step = expected.range_vector
    found = {
        (labels, int(time)): float(value)
        for labels, (times, values) in raw_samples(matrix).items()
        for time, value in zip(times, values, strict=True)
    }
    wanted = {
        (labels, start + number * step): value
        for labels, values in expected.series
        for number, value in enumerate(values)
        if value is not None
    }
    if found.keys() != wanted.keys() or not all(same(found[key], wanted[key]) for key in found):
        raise Mismatch(f"{found} in place of {wanted}")


def check_range(expected: Expected, result: Result) -> None:
    value = result.value
    if isinstance(value, Scalar):
        found = {((), int(step)): float(one) for step, one in zip(result.steps, value.values, strict=True)}
    else:
        assert isinstance(value, Vector)
        found = {
            (labels, int(result.steps[column])): float(value.values[row, column])
            for row, labels in enumerate(value.labels)
            for column in np.flatnonzero(value.present[row]).tolist()
        }
    wanted = {
        (labels, int(result.steps[number])): one
        for labels, values in expected.series
        for number, one in enumerate(values)
        if one is not None
    }
    for labels, time in found.keys() | wanted.keys():
        key = (labels, time)
        if key not in wanted:
            raise Mismatch(f"unexpected {show(labels)} {found[key]} at {time} ms")
        if key not in found:
            raise Mismatch(f"missing {show(labels)} {wanted[key]} at {time} ms")
        if not same(found[key], wanted[key]):
            raise Mismatch(f"{show(labels)} {found[key]!r} in place of {wanted[key]!r} at {time} ms")


def read_tiers(folder: Path) -> dict[tuple[str, int], str]:
    """(file, line) -> tier, by the folder's or its parent's index."""
    for place in (folder, folder.parent):
        index = place / "index.tsv"
        if index.is_file():
            with index.open(encoding="utf-8") as file:
                return {
                    (Path(row["file"]).name, int(row["line"])): row["tier"]
                    for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
                }
    return {}


def run_folder(folder: Path, tier: str, *, together: bool = False) -> list[Outcome]:
    """Every eval of a tier below a folder."""
    tiers = read_tiers(folder)
    return [
        outcome
        for path in sorted(folder.rglob("*.test"))
        for outcome in run_file(path, together=together)
        if not tiers or tier == "all" or tiers.get((path.name, outcome.line), "core") == tier
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tier", default="core")
    parser.add_argument("--together", action="store_true", help="series with the same times as one cohort")
    wishes = parser.parse_args()
    outcomes = run_folder(wishes.folder, wishes.tier, together=wishes.together)
    failed = [one for one in outcomes if one.problem is not None]
    for one in failed:
        print(f"{one.file}:{one.line}: {one.text}\n    {one.problem}")
    print(f"{len(outcomes) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
