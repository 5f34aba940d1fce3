"""What templates of rules may call: Prometheus' functions and Go's own. Source: prometheus.md 3."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus

import re2

from steelyard.promql.numbers import format_sample

#: A sample of `query`: its labels and its value.
Sample = dict[str, Any]
#: Runs a query and gives its samples.
Query = Callable[[str], list[Sample]]
_BIG = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")
_BINARY = ("", "ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi")
_SMALL = ("", "m", "u", "n", "p", "f", "a", "z", "y")
_VERB = re.compile(r"%([-+ #0]*)(\d*)(?:\.(\d+))?([a-zA-Z%])")


class TemplateError(ValueError):
    """A template that cannot be read or filled in."""


def show(value: Any) -> str:
    """As Go prints a value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "<no value>"
    if isinstance(value, float):
        return show_float(value)
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{show(one)}" for key, one in sorted(value.items())) + "]"
    if isinstance(value, list | tuple):
        return "[" + " ".join(show(one) for one in value) + "]"
    return str(value)


def show_float(value: float) -> str:
    """Shortest digits; an exponent below 1e-4 and from 1e21 on."""
    if math.isfinite(value) and value != 0 and abs(value) < 1e-4:
        mantissa, _, exponent = f"{value:e}".partition("e")
        digits = repr(value).partition("e")[0] if "e" in repr(value) else mantissa.rstrip("0").rstrip(".")
        return f"{digits.removesuffix('.0')}e{exponent}"
    return format_sample(value)


def to_float(value: Any) -> float:
    """A number, or a text that is one.

    Raises:
        TemplateError: it is neither.
    """
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TemplateError(f"can't convert {show(value)!r} to float") from None


def _short(value: float, unit: str = "") -> str:
    """Four digits, as Go's `%.4g`."""
    if math.isnan(value):
        return "NaN" + unit
    if math.isinf(value):
        return ("+Inf" if value > 0 else "-Inf") + unit
    return f"{value:.4g}{unit}"


def humanize(value: Any) -> str:
    """1234 is `1.234k`, 0.002 is `2m`."""
    number = to_float(value)
    if number == 0 or not math.isfinite(number):
        return _short(number)
    place = 0
    if abs(number) >= 1:
        while abs(number) >= 1000 and place < len(_BIG) - 1:
            number, place = number / 1000, place + 1
        return _short(number, _BIG[place])
    while abs(number) < 1 and place < len(_SMALL) - 1:
        number, place = number * 1000, place + 1
    return _short(number, _SMALL[place])


def humanize_1024(value: Any) -> str:
    """2048 is `2ki`."""
    number, place = to_float(value), 0
    if abs(number) <= 1 or not math.isfinite(number):
        return _short(number)
    while abs(number) >= 1024 and place < len(_BINARY) - 1:
        number, place = number / 1024, place + 1
    return _short(number, _BINARY[place])


def humanize_duration(value: Any) -> str:
    """Seconds as `1d 2h 3m 4s`, or as `2ms`."""
    number = to_float(value)
    if not math.isfinite(number):
        return _short(number)
    if number == 0:
        return "0s"
    if abs(number) < 1:
        return humanize(number) + "s"
    sign, whole = "-" if number < 0 else "", int(abs(number))
    minutes, seconds = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{sign}{days}d {hours}h {minutes}m {seconds}s"
    if hours:
        return f"{sign}{hours}h {minutes}m {seconds}s"
    if minutes:
        return f"{sign}{minutes}m {seconds}s"
    return _short(number, "s")


def _time_of(value: Any) -> datetime:
    number = to_float(value)
    try:
        return datetime.fromtimestamp(number, UTC)
    except (OverflowError, ValueError, OSError):
        raise TemplateError(f"{show(value)} is no time") from None


def humanize_timestamp(value: Any) -> str:
    """Seconds since 1970 as a date."""
    if not math.isfinite(to_float(value)):
        return _short(to_float(value))
    moment = _time_of(value)
    rest = f".{moment.microsecond:06}".rstrip("0").rstrip(".")
    return f"{moment:%Y-%m-%d %H:%M:%S}{rest} +0000 UTC"


def _pattern(text: Any) -> Any:
    try:
        return re2.compile(str(text))
    except re2.error as exc:
        raise TemplateError(f"bad pattern: {exc}") from None


def _replace(pattern: Any, replacement: Any, text: Any) -> str:
    wanted = re.sub(r"\$\{?(\d+)\}?", r"\\\1", str(replacement).replace("\\", "\\\\"))
    return str(_pattern(pattern).sub(wanted, str(text)))


def _printf(form: Any, *values: Any) -> str:
    left = list(values)

    def fill(found: "re.Match[str]") -> str:
        flags, width, digits, verb = found.groups()
        if verb == "%":
            return "%"
        if not left:
            return f"%!{verb}(MISSING)"
        value = left.pop(0)
        if verb in "vs":
            return f"{show(value):{'<' if '-' in flags else '>'}{width or 0}}"
        if verb == "q":
            return '"' + show(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
        if verb in "feEgG":
            return f"%{flags}{width}{'.' + digits if digits else ''}{verb}" % to_float(value)
        if verb in "dxX":
            return f"%{flags}{width}{verb}" % int(to_float(value))
        if verb == "t":
            return show(bool(value))
        raise TemplateError(f"printf: %{verb} is not known")

    return _VERB.sub(fill, str(form))


def _first(samples: Any) -> Any:
    if not isinstance(samples, Sequence) or not samples:
        raise TemplateError("first() called on vector with no elements")
    return samples[0]


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        try:
            value = value.get(key, "") if isinstance(value, Mapping) else value[int(key)]
        except (IndexError, TypeError, ValueError, KeyError):
            raise TemplateError(f"index: {show(key)} is not there") from None
    return value


def is_true(value: Any) -> bool:
    """As Go sees it: nothing, zero and what is empty are false."""
    return bool(value) and value is not None


def _compared(test: Callable[[Any, Any], bool]) -> Callable[..., bool]:
    def compare(left: Any, right: Any) -> bool:
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if not numbers and not (isinstance(left, str) and isinstance(right, str)):
            raise TemplateError("incompatible types for comparison")
        return test(left, right)

    return compare


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "humanize": humanize, "humanize1024": humanize_1024, "humanizeDuration": humanize_duration,
    "humanizePercentage": lambda value: _short(to_float(value) * 100, "%"), "humanizeTimestamp": humanize_timestamp,
    "toTime": lambda value: humanize_timestamp(value),
    "title": lambda text: re.sub(r"\b\w", lambda found: found[0].upper(), str(text)),
    "toUpper": lambda text: str(text).upper(), "toLower": lambda text: str(text).lower(),
    "match": lambda pattern, text: _pattern(pattern).search(str(text)) is not None, "reReplaceAll": _replace,
    "first": _first, "label": lambda name, sample: sample["Labels"].get(name, ""), "value": lambda sample: sample["Value"],
    "strvalue": lambda sample: sample["Labels"].get("__value__", ""),
    "sortByLabel": lambda name, samples: sorted(samples, key=lambda one: one["Labels"].get(name, "")),
    "args": lambda *values: {f"arg{number}": value for number, value in enumerate(values)},
    "stripPort": lambda text: str(text).rpartition(":")[0] or str(text), "stripDomain": lambda text: str(text).partition(".")[0],
    "safeHtml": str, "urlquery": lambda *values: quote_plus("".join(show(one) for one in values)),
    "print": lambda *values: "".join(show(one) for one in values),
    "println": lambda *values: " ".join(show(one) for one in values) + "\n", "printf": _printf,
    "len": lambda value: len(value), "index": _index, "not": lambda value: not is_true(value),
    "and": lambda *values: next((one for one in values if not is_true(one)), values[-1]),
    "or": lambda *values: next((one for one in values if is_true(one)), values[-1]),
    "eq": lambda left, *others: any(left == one for one in others), "ne": lambda left, right: left != right,
    "lt": _compared(lambda a, b: a < b), "le": _compared(lambda a, b: a <= b),
    "gt": _compared(lambda a, b: a > b), "ge": _compared(lambda a, b: a >= b),
}  # fmt: skip
