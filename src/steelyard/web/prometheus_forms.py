"""Parameters of Prometheus' HTTP API, and how requests are refused. Source: prometheus.md 1.3 and 1.7."""

import math
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from steelyard.base.errors import Fault
from steelyard.dialects import prometheus_errors
from steelyard.promql.errors import BAD_DATA, QueryError
from steelyard.promql.nodes import Matcher, Node
from steelyard.promql.numbers import read_duration
from steelyard.promql.parse import parse, parse_selector

MAX_MS = 9_000_000_000_000_000
#: As Go reads a float: no blanks, and `_` only in its own literals.
_FLOAT = re.compile(r"[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)", re.ASCII)
_RFC_3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)  # fmt: skip
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FORM = "application/x-www-form-urlencoded"


class Parameters:
    """A request's parameters, those of the address and of a form in its body together."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def text(self, name: str) -> str:
        """The first value, empty where there is none."""
        return self._values.get(name, [""])[0]

    def texts(self, name: str) -> list[str]:
        """All values."""
        return self._values.get(name, [])

    def pairs(self, *, without: tuple[str, ...] = ()) -> list[tuple[str, str]]:
        """Everything but some."""
        return [(name, value) for name, values in self._values.items() if name not in without for value in values]

    def query(self) -> Node:
        """The expression."""
        try:
            return parse(self.text("query"))
        except QueryError as exc:
            raise refuse("query", str(exc)) from None

    def selectors(self, *, is_needed: bool = False) -> list[tuple[Matcher, ...]]:
        """Every `match[]`."""
        given = self.texts("match[]")
        if is_needed and not given:
            raise QueryError("no match[] parameter provided", BAD_DATA)
        found = []
        for text in given:
            try:
                found.append(parse_selector(text))
            except QueryError as exc:
                words = (
                    "match[] must contain at least one non-empty matcher"
                    if "non-empty matcher" in str(exc)
                    else str(exc)
                )
                raise refuse("match[]", words) from None
        return found

    def time_ms(self, name: str, default: int | None = None, *, is_told: bool = False) -> int:
        """A time; where it is not given, the default, or a refusal.

        Args:
            is_told: whether Prometheus tells the name twice in the refusal, as it does for all but `query_range`.
        """
        text = self.text(name)
        if not text and default is not None and name not in self._values:
            return default
        found = read_time_ms(text)
        if found is None:
            told = f"Invalid time value for '{name}': " if is_told else ""
            raise refuse(name, f'{told}cannot parse "{text[:80]}" to a valid timestamp')
        return found

    def duration_ms(self, name: str, default: int | None = None) -> int:
        """A duration; see `time_ms`."""
        text = self.text(name)
        if not text and default is not None:
            return default
        found = read_duration_ms(text)
        if found is None:
            raise refuse(name, f'cannot parse "{text[:80]}" to a valid duration')
        return found

    def count(self, name: str, default: int = 0, words: str = "limit must be a non-negative number") -> int:
        """A whole number that is not negative."""
        text = self.text(name)
        if not text:
            return default
        if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
            raise refuse(name, words)
        return int(text)


async def read_parameters(request: Request) -> Parameters:
    """The parameters of a request."""
    pairs = []
    if request.method == "POST" and request.headers.get("content-type", "").split(";")[0].strip() == FORM:
        pairs = _pairs((await request.body()).decode("utf-8", "replace"))
    return Parameters(pairs + _pairs(request.url.query))


def _pairs(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=10_000)
    except ValueError:
        raise QueryError("there are too many parameters", BAD_DATA) from None


def refuse(name: str, words: str) -> QueryError:
    """What is said of a parameter that is wrong."""
    return QueryError(f'invalid parameter "{name}": {words}', BAD_DATA)


def fault_answer(failure: Fault, request: Request) -> Response:
    """A refusal that is not Prometheus' own, in its envelope."""
    headers, body = prometheus_errors.render(failure, request.headers.get("x-request-id", ""))
    return Response(body, failure.status, {name.decode(): value.decode() for name, value in headers})


def read_time_ms(text: str) -> int | None:
    """Seconds since 1970, or RFC 3339, in milliseconds; None where it is neither."""
    if _FLOAT.fullmatch(text):
        seconds = float(text)
        ms = seconds * 1000
        return round(ms) if math.isfinite(ms) and abs(ms) <= MAX_MS else None
    found = _RFC_3339.fullmatch(text)
    if found is None:
        return None
    zone = "+00:00" if found[4] in "Zz" else found[4]
    try:
        whole = datetime.fromisoformat(f"{found[1]}T{found[2]}{zone}")
    except ValueError:
        return None
    return (whole - _EPOCH) // timedelta(milliseconds=1) + round(float(found[3] or 0) * 1000)


def read_duration_ms(text: str) -> int | None:
    """Seconds, or `1h30m`, in milliseconds; None where it is neither."""
    if _FLOAT.fullmatch(text):
        exact = float(text) * 1000
        return int(exact) if math.isfinite(exact) and abs(exact) <= MAX_MS else None
    ms = read_duration(text)
    return ms if ms is not None and ms <= MAX_MS else None
