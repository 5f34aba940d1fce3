"""Results as Prometheus' HTTP API tells them. Numbers are texts, times are JSON numbers. Source: prometheus.md 1.4 and 1.5."""

from typing import Any

import msgspec
import numpy as np

from steelyard.promql.engine import Result, raw_samples
from steelyard.promql.labels import Labels
from steelyard.promql.numbers import format_plain, format_sample, format_time
from steelyard.promql.values import Matrix, Scalar, String, Vector

MAX_NOTES = 10


def show_result(result: Result, *, is_range: bool, limit: int = 0) -> tuple[dict[str, Any], bool]:
    """(`resultType` and `result`, whether series were left out).

    Args:
        limit: of series; 0 for none.
    """
    value = result.value
    if isinstance(value, String):
        return {"resultType": "string", "result": [_short_time(int(result.steps[0])), value.value]}, False
    if isinstance(value, Scalar) and not is_range:
        shown = [_short_time(int(result.steps[0])), format_plain(float(value.values[0]))]
        return {"resultType": "scalar", "result": shown}, False
    if isinstance(value, Matrix):
        rows = [_raw(labels, *samples) for labels, samples in sorted(raw_samples(value).items())]
        return _cut("matrix", rows, limit)
    if isinstance(value, Scalar):
        stamps = [_time(int(step)) for step in result.steps]
        pairs = [[stamp, format_sample(float(one))] for stamp, one in zip(stamps, value.values, strict=True)]
        return {"resultType": "matrix", "result": [{"metric": {}, "values": pairs}]}, False
    if is_range:
        stamps = [_time(int(step)) for step in result.steps]
        return _cut("matrix", [_series(value, row, stamps) for row in range(len(value))], limit)
    stamp = _time(int(result.steps[0]))
    rows = [
        {"metric": dict(labels), "value": [stamp, format_sample(float(value.values[row, 0]))]}
        for row, labels in enumerate(value.labels)
    ]
    return _cut("vector", rows, limit)


def _cut(kind: str, rows: list[dict[str, Any]], limit: int) -> tuple[dict[str, Any], bool]:
    is_cut = 0 < limit < len(rows)
    return {"resultType": kind, "result": rows[:limit] if is_cut else rows}, is_cut


def _series(vector: Vector, row: int, stamps: list[msgspec.Raw]) -> dict[str, Any]:
    columns = np.flatnonzero(vector.present[row]).tolist()
    values = vector.values[row].tolist()
    pairs = [[stamps[column], format_sample(values[column])] for column in columns]
    return {"metric": dict(vector.labels[row]), "values": pairs}


def _raw(labels: Labels, times: Any, values: Any) -> dict[str, Any]:
    pairs = [[_time(int(time)), format_sample(float(value))] for time, value in zip(times, values, strict=True)]
    return {"metric": dict(labels), "values": pairs}


def _time(ms: int) -> msgspec.Raw:
    """Whole seconds, or three decimals: a number whose zeros must stay."""
    return msgspec.Raw(format_time(ms).encode())


def _short_time(ms: int) -> msgspec.Raw:
    text = format_time(ms)
    return msgspec.Raw((text.rstrip("0").rstrip(".") if "." in text else text).encode())


def notes_of(texts: tuple[str, ...], level: str) -> list[str]:
    """Warnings or infos, ten at most.

    Args:
        level: "warning" or "info".
    """
    if len(texts) <= MAX_NOTES:
        return list(texts)
    return [*texts[:MAX_NOTES], f"{len(texts) - MAX_NOTES} more {level} annotations omitted"]
