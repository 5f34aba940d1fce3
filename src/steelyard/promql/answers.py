"""Results as Prometheus' HTTP API tells them. Numbers are texts, times are JSON numbers. Source: prometheus.md 1.4 and 1.5."""

from typing import Any

import msgspec
import numpy as np

from steelyard.promql.engine import Result, raw_samples
from steelyard.promql.labels import Labels
from steelyard.promql.numbers import format_plain, format_sample, format_samples, format_time
from steelyard.promql.values import Bools, Matrix, Scalar, String, Times, Vector

MAX_NOTES = 10
#: Texts of a result that are kept while it is made.
MAX_FORMS = 64


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
        forms = _Forms(result.steps)
        count = min(len(value), limit) if limit > 0 else len(value)
        rows = [_series(value, row, forms) for row in range(count)]
        return {"resultType": "matrix", "result": rows}, count < len(value)
    stamp = format_time(int(result.steps[0])).encode()
    told = zip(value.labels, format_samples(value.values[:, 0]), strict=True)
    rows = [{"metric": dict(labels), "value": msgspec.Raw(b'[%b,"%b"]' % (stamp, one))} for labels, one in told]
    return _cut("vector", rows, limit)


def _cut(kind: str, rows: list[dict[str, Any]], limit: int) -> tuple[dict[str, Any], bool]:
    is_cut = 0 < limit < len(rows)
    return {"resultType": kind, "result": rows[:limit] if is_cut else rows}, is_cut


class _Forms:
    """The texts of many series, less their values: those that are there at the same steps share one."""

    def __init__(self, steps: Times) -> None:
        self._pieces = [b'[%b,"%%b"]' % format_time(step).encode() for step in steps.tolist()]
        self._made: dict[bytes, bytes] = {}

    def of(self, present: Bools) -> bytes:
        key = present.tobytes()
        form = self._made.get(key)
        if form is None:
            if len(self._made) >= MAX_FORMS:
                self._made.clear()
            form = b"[" + b",".join(self._pieces[column] for column in np.flatnonzero(present)) + b"]"
            self._made[key] = form
        return form


def _series(vector: Vector, row: int, forms: _Forms) -> dict[str, Any]:
    present = vector.present[row]
    values = tuple(format_samples(vector.values[row][present]))
    return {"metric": dict(vector.labels[row]), "values": msgspec.Raw(forms.of(present) % values)}


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
