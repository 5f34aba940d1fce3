"""Prometheus' test scripts as commands: loads, clears, evals with what is expected of them. Source: prometheus.md 9."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from steelyard.promql.errors import QueryError
from steelyard.promql.labels import Labels, make_labels
from steelyard.promql.nodes import Selector
from steelyard.promql.parse import parse
from steelyard.promql.values import STALE_NAN

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "y": 31_536_000_000}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdwy])")
_INSTANT = re.compile(r"eval(?:_(fail|warn|ordered|info))?\s+instant\s+(?:at\s+(\S+))\s+(.*)", re.DOTALL)
_RANGE = re.compile(r"eval(?:_(fail|warn|info))?\s+range\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)\s+(.*)", re.DOTALL)
_RANGE_VECTOR = re.compile(r"range vector from (\S+) to (\S+) step (\S+)")
_REPEAT = re.compile(
    r"([+-]?(?:[\d.]+(?:e[+-]?\d+)?|Inf|NaN|0x[\da-f]+))?(?:([+-])([\d.]+(?:e[+-]?\d+)?))?x(\d+)", re.IGNORECASE
)


def duration_ms(text: str) -> int:
    """`1h30m`, or seconds."""
    sign = -1 if text.startswith("-") else 1
    text = text.lstrip("+-")
    found = _PART.findall(text)
    if found and "".join(number + unit for number, unit in found) == text:
        return sign * round(sum(float(number) * _UNITS[unit] for number, unit in found))
    return sign * round(float(text) * 1000)


@dataclass(slots=True)
class Expected:
    """What an eval should give."""

    fails: bool = False
    fail_text: str = ""
    fail_pattern: str = ""
    #: level ("warn", "info") -> texts ("" for any) that must be there, or None where there may be none
    notes: dict[str, list[tuple[str, str]] | None] = field(default_factory=dict)
    is_ordered: bool = False
    text: str | None = None
    #: (from, to, step) of an eval that gives raw samples
    range_vector: tuple[int, int, int] | None = None
    scalar: float | None = None
    series: list[tuple[Labels, list[float | None]]] = field(default_factory=list)
    #: What of it this runner cannot read.
    unread: str = ""


@dataclass(slots=True)
class Eval:
    """One eval."""

    line: int
    text: str
    start_ms: int
    end_ms: int
    step_ms: int
    is_range: bool
    expected: Expected


@dataclass(slots=True)
class Load:
    """Series with values at every step from zero on; None where there is none."""

    step_ms: int
    series: list[tuple[Labels, list[float | None]]]


class Clear:
    """All series are forgotten."""


def read_script(path: Path) -> Iterator[Load | Clear | Eval]:
    """The commands of a script, in order."""
    lines = path.read_text("utf-8", "surrogateescape").split("\n")
    number = 0
    while number < len(lines):
        line = lines[number].strip()
        number += 1
        if not line or line.startswith("#"):
            continue
        if line == "clear":
            yield Clear()
            continue
        start = number
        block: list[str] = []
        while number < len(lines) and lines[number].strip() and not lines[number].strip().startswith("#"):
            block.append(lines[number].strip())
            number += 1
        if line.startswith("load"):
            yield _read_load(line, block)
        elif line.startswith("eval"):
            yield _read_eval(start, line, block)
        else:
            raise ValueError(f"{path}:{start}: {line}")


def _read_load(line: str, block: list[str]) -> Load:
    series = []
    for one in block:
        try:
            labels, values, is_native = read_series(one)
        except (ValueError, AssertionError, QueryError):
            # of what other tiers load; whatever needs it fails
            continue
        if not is_native:
            series.append((labels, values))
    return Load(duration_ms(line.split()[1]), series)


def split_series(line: str) -> tuple[str, str]:
    """The metric and the values."""
    depth, quote, position = 0, "", 0
    while position < len(line):
        char = line[position]
        if quote:
            if char == "\\":
                position += 1
            elif char == quote:
                quote = ""
        elif char in "\"'`":
            quote = char
        elif char == "{":
            depth += 1
        elif char == "}":
            depth -= 1
        elif char.isspace() and depth == 0:
            return line[:position], line[position:].strip()
        position += 1
    return line, ""


def read_labels(metric: str) -> Labels:
    """The labels of a metric as it is written."""
    if metric.replace(" ", "") == "{}":
        return ()
    if metric.replace(" ", "").endswith("{}"):
        metric = metric[: metric.index("{")]
    node = parse(metric)
    assert isinstance(node, Selector)
    return make_labels((one.name, one.value) for one in node.matchers)


def read_series(line: str) -> tuple[Labels, list[float | None], bool]:
    """(labels, values, whether any value is a native histogram)."""
    metric, text = split_series(line)
    if "{{" in text:
        return read_labels(metric), [], True
    values: list[float | None] = []
    for token in text.split():
        values += _values_of(token)
    return read_labels(metric), values, False


def _values_of(token: str) -> list[float | None]:
    if token == "_":
        return [None]
    if token == "stale":
        return [STALE_NAN]
    if token.startswith("_x"):
        return [None] * int(token[2:])
    found = _REPEAT.fullmatch(token)
    if found is None:
        return [number(token)]
    first = number(found[1])
    step = 0.0 if found[2] is None else float(found[2] + found[3])
    values: list[float | None] = []
    value = first
    for _ in range(int(found[4]) + 1):
        values.append(value)
        value += step
    return values


def number(text: str) -> float:
    """A number as Go reads it."""
    return float(int(text, 16)) if text.lower().startswith("0x") else float(text)


def _read_eval(line_number: int, line: str, block: list[str]) -> Eval:
    found = _INSTANT.fullmatch(line)
    if found is not None:
        at = duration_ms(found[2])
        one = Eval(line_number, found[3], at, at, 0, False, Expected())
    else:
        found = _RANGE.fullmatch(line)
        assert found is not None, line
        start, end, step = (duration_ms(found[part]) for part in (2, 3, 4))
        one = Eval(line_number, found[5], start, end, step, True, Expected())
    expected = one.expected
    if found[1] == "fail":
        expected.fails = True
    elif found[1] == "ordered":
        expected.is_ordered = True
    elif found[1] in ("warn", "info"):
        expected.notes[found[1]] = [("", "")]
    for text in block:
        try:
            _read_expectation(expected, text)
        except (ValueError, AssertionError, QueryError) as exc:
            expected.unread = f"{text!r} cannot be read: {exc}"
    return one


def _read_expectation(expected: Expected, line: str) -> None:
    if line.startswith("expect "):
        _read_expect(expected, line[len("expect ") :].strip())
    elif line.startswith(("expected_fail_message", "expected_fail_regexp")):
        word, _, text = line.partition(" ")
        expected.fail_text, expected.fail_pattern = (text, "") if word.endswith("message") else ("", text)
    elif re.fullmatch(r"[+-]?(\d[\d.]*(e[+-]?\d+)?|Inf|NaN|0x[\da-f]+)", line, re.IGNORECASE):
        expected.scalar = number(line)
    else:
        labels, values, is_native = read_series(line)
        if is_native:
            expected.unread = "native histograms are expected"
        expected.series.append((labels, values))


def _read_expect(expected: Expected, text: str) -> None:
    word, _, rest = text.partition(" ")
    rest = rest.strip()
    message, pattern = "", ""
    if rest.startswith("msg:"):
        message = rest[4:].strip()
    elif rest.startswith("regex:"):
        pattern = rest[6:].strip()
    if word == "fail":
        expected.fails, expected.fail_text, expected.fail_pattern = True, message, pattern
    elif word in ("warn", "info"):
        known = expected.notes.setdefault(word, [])
        assert known is not None
        known.append((message, pattern))
    elif word in ("no_warn", "no_info"):
        expected.notes[word[3:]] = None
    elif word == "ordered":
        expected.is_ordered = True
    elif word == "string":
        node = parse(rest)
        expected.text = node.value  # type: ignore[union-attr]
    else:
        found = _RANGE_VECTOR.fullmatch(text)
        assert found is not None, text
        expected.range_vector = (duration_ms(found[1]), duration_ms(found[2]), duration_ms(found[3]))


def as_arrays(load: Load) -> list[tuple[Labels, "np.ndarray", "np.ndarray"]]:  # type: ignore[type-arg]
    """Times and values of each series."""
    out = []
    for labels, values in load.series:
        there = [(number * load.step_ms, value) for number, value in enumerate(values) if value is not None]
        times = np.array([time for time, _ in there], dtype=np.int64)
        out.append((labels, times, np.array([value for _, value in there], dtype=np.float64)))
    return out
