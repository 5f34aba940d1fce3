"""Label sets: pairs sorted by name, so that equal sets are equal values. Values in, values out."""

from collections.abc import Iterable, Mapping

#: A label with an empty value is not there.
Labels = tuple[tuple[str, str], ...]
NAME = "__name__"
EMPTY: Labels = ()


def make_labels(pairs: Mapping[str, str] | Iterable[tuple[str, str]]) -> Labels:
    """A label set of names and values in any order."""
    items = pairs.items() if isinstance(pairs, Mapping) else pairs
    return tuple(sorted((name, value) for name, value in items if value))


def get(labels: Labels, name: str) -> str:
    """A label's value, empty where it is not there."""
    return next((value for one, value in labels if one == name), "")


def without(labels: Labels, names: frozenset[str]) -> Labels:
    """A label set less some names."""
    return tuple(pair for pair in labels if pair[0] not in names)


def only(labels: Labels, names: frozenset[str]) -> Labels:
    """A label set of some names alone."""
    return tuple(pair for pair in labels if pair[0] in names)


_NAME_SET = frozenset({NAME})


def drop_name(labels: Labels) -> Labels:
    """A label set less the metric's name."""
    return without(labels, _NAME_SET)


def show(labels: Labels) -> str:
    """As Prometheus writes it in errors: `{a="1", b="2"}`."""
    return "{" + ", ".join(f"{name}={quote(value)}" for name, value in labels) + "}"


_ESCAPES = {ord("\\"): "\\\\", ord('"'): '\\"', ord("\n"): "\\n", ord("\t"): "\\t", ord("\r"): "\\r"}


def quote(text: str) -> str:
    """A text in double quotes, as Go writes it."""
    return '"' + text.translate(_ESCAPES) + '"'
