"""The newest samples in the text format, for another Prometheus. Source: prometheus.md 1.6."""

from itertools import groupby

from steelyard.promql.labels import NAME, Labels, get
from steelyard.promql.numbers import format_sample

#: (labels, time in milliseconds, value)
Newest = tuple[Labels, int, float]
_ESCAPES = {ord("\\"): "\\\\", ord('"'): '\\"', ord("\n"): "\\n"}


def render_newest(samples: list[Newest]) -> str:
    """Samples under their metrics' names, in the names' order."""
    lines = []
    ordered = sorted(samples, key=lambda one: (get(one[0], NAME), one[0]))
    for name, some in groupby(ordered, key=lambda one: get(one[0], NAME)):
        lines.append(f"# TYPE {name} untyped\n")
        for labels, at_ms, value in some:
            pairs = {"instance": "", **{key: text for key, text in labels if key != NAME}}
            inner = ",".join(f'{key}="{text.translate(_ESCAPES)}"' for key, text in sorted(pairs.items()))
            lines.append(f"{name}{{{inner}}} {format_sample(value)} {at_ms}\n")
    return "".join(lines)
