"""The text format 0.0.4 and OpenMetrics 1.0, read. Source: prometheus.md 2.1 and 2.2.

Most lines of a scrape are those of the scrape before with other numbers: what stands before the number is read once and remembered.
"""

import math
import re
from dataclasses import dataclass, field

from steelyard.promql.labels import NAME, Labels, make_labels
from steelyard.promql.numbers import format_sample

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'\s*(?:([a-zA-Z_][a-zA-Z0-9_]*)|"((?:[^"\\]|\\.)*)")\s*(=)?\s*')
_VALUE = re.compile(r'"((?:[^"\\\n]|\\.)*)"\s*')
_UNESCAPE = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}
_ESCAPE = re.compile(r'\\[\\"n]')
TYPES = frozenset(
    {"counter", "gauge", "histogram", "summary", "untyped", "unknown", "info", "stateset", "gaugehistogram"}
)
#: Labels whose values are numbers: the same number is the same value, however it is written.
_NUMBERED = frozenset({"le", "quantile"})
OPEN_METRICS = "application/openmetrics-text"


class MalformedText(ValueError):
    """A body that is no exposition; the whole scrape fails."""


@dataclass(slots=True)
class Metadata:
    """What a body says of a family."""

    kind: str = "unknown"
    help: str = ""
    unit: str = ""


@dataclass(slots=True)
class Exposed:
    """A body's samples, in its order. A time is None where the body gives none."""

    labels: list[Labels] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    times_ms: list[int | None] = field(default_factory=list)
    families: dict[str, Metadata] = field(default_factory=dict)
    #: (series, labels of the exemplar, value, time where it is given)
    exemplars: list[tuple[Labels, Labels, float, int | None]] = field(default_factory=list)


class Reader:
    """Reads one target's bodies, one after the other."""

    def __init__(self) -> None:
        self._known: dict[str, Labels] = {}

    def read(self, body: bytes, content_type: str = "") -> Exposed:
        """A body's samples.

        Raises:
            MalformedText: saying which line is wrong.
        """
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError as exc:
            raise MalformedText(f"the body is no UTF-8 at byte {exc.start}") from None
        reading = _Reading(self._known, is_open=content_type.startswith(OPEN_METRICS))
        for number, line in enumerate(text.split("\n"), start=1):
            try:
                if not reading.take_usual(line) and line and not line.isspace():
                    reading.take(line)
            except MalformedText as exc:
                raise MalformedText(f"line {number}: {exc}") from None
        if reading.is_open and not reading.has_end:
            raise MalformedText("data does not end with # EOF")
        self._known = reading.fresh
        return reading.found


class _Reading:
    """One body on its way."""

    def __init__(self, known: dict[str, Labels], *, is_open: bool) -> None:
        self.is_open = is_open
        self.has_end = False
        self.found = Exposed()
        self._known = known
        self.fresh: dict[str, Labels] = {}

    def take_usual(self, line: str) -> bool:
        """Takes a series of the scrape before, a blank and a number; False where a line is another one."""
        blank = line.rfind(" ")
        series = line[:blank]
        labels = self._known.get(series)
        if labels is None or self.has_end:
            return False
        self._add(series, labels, read_number(line[blank + 1 :]), None)
        return True

    def take(self, line: str) -> None:
        """Takes any line."""
        if self.has_end:
            raise MalformedText("there is more behind # EOF")
        if line[0] == "#":
            self.has_end = self.is_open and line.rstrip() == "# EOF"
            if not self.has_end:
                _read_comment(line, self.found.families)
            return
        series, value, at_ms, example = _split(line, is_open=self.is_open)
        labels = self._known.get(series) or read_series(series)
        self._add(series, labels, value, at_ms)
        if example:
            self.found.exemplars.append((labels, *_read_exemplar(example)))

    def _add(self, series: str, labels: Labels, value: float, at_ms: int | None) -> None:
        self.fresh[series] = labels
        self.found.labels.append(labels)
        self.found.values.append(value)
        self.found.times_ms.append(at_ms)


def _read_comment(line: str, families: dict[str, Metadata]) -> None:
    """HELP, TYPE and UNIT; all others are comments."""
    words = line.split(None, 3)
    if len(words) < 3 or words[0] != "#" or words[1] not in ("HELP", "TYPE", "UNIT"):
        return
    family = families.setdefault(words[2].strip('"'), Metadata())
    rest = words[3] if len(words) > 3 else ""
    if words[1] == "HELP":
        family.help = _unescape(rest)
    elif words[1] == "UNIT":
        family.unit = rest.strip()
    else:
        kind = rest.strip()
        if kind not in TYPES:
            raise MalformedText(f"invalid metric type {kind!r}")
        family.kind = "unknown" if kind == "untyped" else kind


def _split(line: str, *, is_open: bool) -> tuple[str, float, int | None, str]:
    """(the series' text, value, time, the text of an exemplar)."""
    end = _series_end(line)
    series, rest = line[:end], line[end:]
    example = ""
    if is_open and " # " in rest:
        rest, _, example = rest.partition(" # ")
    words = rest.split()
    if not words or len(words) > 2:
        raise MalformedText(f"expected value after metric, got {rest.strip()[:40]!r}")
    value = read_number(words[0])
    if len(words) == 1:
        return series, value, None, example
    try:
        at_ms = round(float(words[1]) * 1000) if is_open else int(words[1])
    except (ValueError, OverflowError):
        raise MalformedText(f"expected a timestamp, got {words[1][:40]!r}") from None
    return series, value, at_ms, example


def _read_exemplar(text: str) -> tuple[Labels, float, int | None]:
    """`{trace_id="…"} 0.5 1795350609.4`."""
    if not text.startswith("{"):
        raise MalformedText(f"expected an exemplar's labels, got {text[:40]!r}")
    end = _series_end(text)
    pairs: dict[str, str] = {}
    _read_pairs(text[1:end], pairs)
    words = text[end:].split()
    if not 1 <= len(words) <= 2:
        raise MalformedText(f"expected an exemplar's value, got {text[end:].strip()[:40]!r}")
    at_ms = round(read_number(words[1]) * 1000) if len(words) > 1 else None
    return make_labels(pairs), read_number(words[0]), at_ms


def _series_end(line: str) -> int:
    """Where a series' text ends: behind its braces, else behind its name."""
    start = line.find("{")
    blank = _first_blank(line)
    if start < 0 or (0 <= blank < start and line[blank:start].strip()):
        if blank < 0:
            raise MalformedText("expected value after metric")
        return blank
    position = start + 1
    is_quoted = False
    while position < len(line):
        char = line[position]
        if is_quoted:
            if char == "\\":
                position += 1
            elif char == '"':
                is_quoted = False
        elif char == '"':
            is_quoted = True
        elif char == "}":
            return position + 1
        position += 1
    raise MalformedText("unclosed braces")


def _first_blank(line: str) -> int:
    blank, tab = line.find(" "), line.find("\t")
    if blank < 0 or tab < 0:
        return max(blank, tab)
    return min(blank, tab)


def read_number(text: str) -> float:
    """A number as Go writes it.

    Raises:
        MalformedText: it is none.
    """
    try:
        if "_" in text:
            raise ValueError
        return float(text)
    except ValueError:
        raise MalformedText(f"{text[:40]!r} is no number") from None


def read_series(text: str) -> Labels:
    """The labels of a series as it is written: `name{label="value",…}`, or with a quoted name inside the braces.

    Raises:
        MalformedText: it is none.
    """
    head, brace, rest = text.partition("{")
    name = head.strip()
    pairs: dict[str, str] = {}
    if name:
        if not _NAME.fullmatch(name):
            raise MalformedText(f"{name[:40]!r} is no metric name")
        pairs[NAME] = name
    if brace:
        _read_pairs(rest, pairs)
    if NAME not in pairs:
        raise MalformedText("a sample without a metric name")
    return make_labels(pairs)


def _read_pairs(text: str, pairs: dict[str, str]) -> None:
    position = 0
    while True:
        if text[position:].lstrip().startswith("}"):
            return
        found = _LABEL.match(text, position)
        if found is None:
            raise MalformedText(f"expected a label, got {text[position : position + 40]!r}")
        position = found.end()
        if found[3] is None:
            # a name in quotes with nothing behind it is the metric's
            if found[2] is None or NAME in pairs:
                raise MalformedText("expected = after a label's name")
            pairs[NAME] = _unescape(found[2])
        else:
            name = found[1] if found[1] is not None else _unescape(found[2])
            value = _VALUE.match(text, position)
            if value is None:
                raise MalformedText(f"expected a value in quotes after {name}=")
            if name in pairs:
                raise MalformedText(f"label {name!r} is there twice")
            pairs[name] = _normal(name, _unescape(value[1]))
            position = value.end()
        if text[position : position + 1] == ",":
            position += 1
        elif text[position : position + 1] != "}":
            raise MalformedText(f"expected , or }} after a label, got {text[position : position + 20]!r}")


def _normal(name: str, value: str) -> str:
    """`le="1"` is `le="1.0"`."""
    if name not in _NUMBERED:
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    if math.isfinite(number) and number.is_integer() and abs(number) < 1e15:
        return f"{number:.1f}"
    return format_sample(number)


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda found: _UNESCAPE[found[0]], text) if "\\" in text else text
