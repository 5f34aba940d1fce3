"""The newest samples in the text format, for another Prometheus. Source: prometheus.md 1.6."""

import re
from collections.abc import Mapping
from itertools import groupby

from steelyard.promql.labels import NAME, Labels, get
from steelyard.promql.numbers import format_sample

#: (labels, time in milliseconds, value)
Newest = tuple[Labels, int, float]
_PLAIN = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_ESCAPES = {ord("\\"): "\\\\", ord('"'): '\\"', ord("\n"): "\\n"}


def render_newest(samples: list[Newest], external_labels: Mapping[str, str] | None = None) -> str:
    """Samples under their metrics' names, in the names' order.

    Args:
        external_labels: put to each that does not have them itself.
    """
    lines = []
    ordered = sorted(samples, key=lambda one: (get(one[0], NAME), one[0]))
    for name, some in groupby(ordered, key=lambda one: get(one[0], NAME)):
        lines.append(f"# TYPE {_name(name)} untyped\n")
        for labels, at_ms, value in some:
            pairs = {"instance": "", **(external_labels or {}), **{key: text for key, text in labels if key != NAME}}
            inner = ",".join(f'{_name(key)}="{text.translate(_ESCAPES)}"' for key, text in sorted(pairs.items()))
            series = f"{name}{{{inner}}}" if _PLAIN.fullmatch(name) else f"{{{_name(name)},{inner}}}"
            lines.append(f"{series} {format_sample(value)} {at_ms}\n")
    return "".join(lines)


def _name(name: str) -> str:
    """As it is, or in quotes where 0.0.4 could not have it."""
    return name if _PLAIN.fullmatch(name) else f'"{name.translate(_ESCAPES)}"'
