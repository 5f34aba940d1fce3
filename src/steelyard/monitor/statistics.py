"""What a store has, as `/status/tsdb` tells it: which names and labels make it large. Source: prometheus.md 1.6."""

from collections import Counter
from typing import Any

from steelyard.promql.labels import NAME, Labels


def describe_store(series: list[Labels], oldest_ms: int, newest_ms: int, limit: int) -> dict[str, Any]:
    """Counts of series by what they bear, the largest first.

    Args:
        limit: of rows in each list.
    """
    pairs = Counter(pair for labels in series for pair in labels)
    values, sizes, names = Counter[str](), Counter[str](), Counter[str]()
    for (name, value), count in pairs.items():
        values[name] += 1
        sizes[name] += len(value) * count
        if name == NAME:
            names[value] = count
    told = Counter({f"{name}={value}": count for (name, value), count in pairs.items()})
    return {
        "headStats": {
            "numSeries": len(series), "numLabelPairs": len(pairs), "chunkCount": len(series), "minTime": oldest_ms, "maxTime": newest_ms,
        },
        "seriesCountByMetricName": _rows(names, limit),
        "labelValueCountByLabelName": _rows(values, limit),
        "memoryInBytesByLabelName": _rows(sizes, limit),
        "seriesCountByLabelValuePair": _rows(told, limit),
    }  # fmt: skip


def _rows(counts: Counter[str], limit: int) -> list[dict[str, Any]]:
    return [{"name": name, "value": count} for name, count in counts.most_common(limit)]
