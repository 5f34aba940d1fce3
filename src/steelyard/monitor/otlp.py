"""OTLP metrics as series: names, units and labels as Prometheus' own receiver makes them. Source: prometheus.md 2.4."""

import gzip
import io
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf import json_format, message
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2

from steelyard.monitor.exposition_format import Metadata
from steelyard.monitor.remote_write import MAX_PLAIN_BYTES, MalformedWrite, Written, WrittenSeries
from steelyard.promql.labels import NAME
from steelyard.promql.numbers import format_sample
from steelyard.promql.values import STALE_NAN

JSON = "application/json"
PROTOBUF = "application/x-protobuf"
_CUMULATIVE = 2
_NO_VALUE = 1
_UNITS = {
    "d": "days", "h": "hours", "min": "minutes", "s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds",
    "By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "GiBy": "gibibytes", "TiBy": "tibibytes",
    "KBy": "kilobytes", "MBy": "megabytes", "GBy": "gigabytes", "TBy": "terabytes",
    "m": "meters", "V": "volts", "A": "amperes", "J": "joules", "W": "watts", "g": "grams",
    "Cel": "celsius", "Hz": "hertz", "1": "", "%": "percent",
}  # fmt: skip
_PER = {"s": "second", "m": "minute", "min": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"}
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9:]+")
_NOT_IN_LABELS = re.compile(r"[^a-zA-Z0-9_]")
_ANNOTATION = re.compile(r"\{[^}]*\}")


def decode(body: bytes, content_type: str, encoding: str) -> Written:
    """A request's series.

    Raises:
        MalformedWrite: saying what is wrong.
    """
    request = metrics_service_pb2.ExportMetricsServiceRequest()
    plain = _unpack(body) if encoding == "gzip" else body
    try:
        if content_type.startswith(JSON):
            json_format.Parse(plain, request, ignore_unknown_fields=True)
        else:
            request.ParseFromString(plain)
    except (message.DecodeError, json_format.ParseError, UnicodeDecodeError, RecursionError):
        raise MalformedWrite("the body is no ExportMetricsServiceRequest") from None
    written = Written()
    for resource in request.resource_metrics:
        _Resource(resource, written).read()
    return written


def answer(refused: int, reason: str, content_type: str) -> bytes:
    """What the exporter is told: nothing, or how many points were refused and why."""
    told = metrics_service_pb2.ExportMetricsServiceResponse()
    if refused:
        told.partial_success.rejected_data_points = refused
        told.partial_success.error_message = reason
    return json_format.MessageToJson(told).encode() if content_type.startswith(JSON) else told.SerializeToString()


def _unpack(body: bytes) -> bytes:
    try:
        plain = gzip.GzipFile(fileobj=io.BytesIO(body)).read(MAX_PLAIN_BYTES + 1)
    except (OSError, EOFError):
        raise MalformedWrite("gzip: corrupt input") from None
    if len(plain) > MAX_PLAIN_BYTES:
        raise MalformedWrite(
            f"the request has more than {MAX_PLAIN_BYTES} bytes when unpacked; send fewer metrics at once"
        )
    return plain


class _Resource:
    """What one resource tells."""

    def __init__(self, resource: Any, written: Written) -> None:
        self._metrics = [one for scope in resource.scope_metrics for one in scope.metrics]
        self._written = written
        self._series: dict[tuple[tuple[str, str], ...], WrittenSeries] = {}
        self._newest_ms = 0
        self._more = _attributes(resource.resource.attributes)
        space, name = self._more.pop("service_namespace", ""), self._more.pop("service_name", "")
        self._target = {
            "job": f"{space}/{name}" if space and name else name,
            "instance": self._more.pop("service_instance_id", ""),
        }

    def read(self) -> None:
        """Puts its series to what is written."""
        for metric in self._metrics:
            kind = metric.WhichOneof("data")
            reader = _READERS.get(kind)
            data = getattr(metric, kind) if kind else None
            if reader is None or data is None:
                self._leave_out(kind or "metrics without data", len(data.data_points) if data is not None else 1)
            elif getattr(data, "aggregation_temporality", _CUMULATIVE) != _CUMULATIVE:
                self._leave_out("metrics of delta temporality", len(data.data_points))
            else:
                reader(self, metric, data)
        if self._more and any(self._target.values()) and self._newest_ms:
            self._add("target_info", self._more, self._newest_ms, 1.0)
        self._written.series.extend(self._series.values())

    def _leave_out(self, what: str, count: int) -> None:
        what = {"exponential_histogram": "exponential histograms"}.get(what, what)
        self._written.left_out[what] = self._written.left_out.get(what, 0) + count

    def _add(self, name: str, labels: dict[str, str], at_ms: int, value: float) -> None:
        pairs = tuple((key, text) for key, text in {**labels, **self._target, NAME: name}.items() if text)
        one = self._series.get(pairs)
        if one is None:
            one = self._series[pairs] = WrittenSeries(pairs)
        one.times_ms.append(at_ms)
        one.values.append(value)
        self._newest_ms = max(self._newest_ms, at_ms)

    def _name(self, metric: Any, kind: str, suffix: str = "") -> str:
        name = make_name(metric.name, metric.unit, kind)
        self._written.families[name.removesuffix("_total")] = Metadata(kind, metric.description)
        return name + suffix

    def numbers(self, metric: Any, data: Any) -> None:
        """Of gauges and sums."""
        is_counter = getattr(data, "is_monotonic", False)
        name = self._name(metric, "counter" if is_counter else "gauge")
        for point, labels, at_ms in _points(data):
            value = float(point.as_int if point.WhichOneof("value") == "as_int" else point.as_double)
            self._add(name, labels, at_ms, STALE_NAN if point.flags & _NO_VALUE else value)

    def histogram(self, metric: Any, data: Any) -> None:
        """Buckets up to each bound, sum and count."""
        name = self._name(metric, "histogram")
        for point, labels, at_ms in _points(data):
            is_gone, total = point.flags & _NO_VALUE, 0
            for bound, count in zip([*point.explicit_bounds, math.inf], point.bucket_counts, strict=False):
                total += count
                le = {**labels, "le": format_sample(bound)}
                self._add(name + "_bucket", le, at_ms, STALE_NAN if is_gone else float(total))
            self._add(name + "_count", labels, at_ms, STALE_NAN if is_gone else float(point.count))
            if point.HasField("sum") or is_gone:
                self._add(name + "_sum", labels, at_ms, STALE_NAN if is_gone else point.sum)

    def summary(self, metric: Any, data: Any) -> None:
        """Quantiles, sum and count."""
        name = self._name(metric, "summary")
        for point, labels, at_ms in _points(data):
            is_gone = point.flags & _NO_VALUE
            for one in point.quantile_values:
                some = {**labels, "quantile": format_sample(one.quantile)}
                self._add(name, some, at_ms, STALE_NAN if is_gone else one.value)
            self._add(name + "_count", labels, at_ms, STALE_NAN if is_gone else float(point.count))
            self._add(name + "_sum", labels, at_ms, STALE_NAN if is_gone else point.sum)


_READERS = {
    "gauge": _Resource.numbers,
    "sum": _Resource.numbers,
    "histogram": _Resource.histogram,
    "summary": _Resource.summary,
}


def _points(data: Any) -> Iterator[tuple[Any, dict[str, str], int]]:
    for point in data.data_points:
        yield point, _attributes(point.attributes), point.time_unix_nano // 1_000_000


def _attributes(attributes: Iterable[Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in sorted(attributes, key=lambda each: str(each.key)):
        name = make_label(one.key)
        # two names that become one: the values stand together
        found[name] = f"{found[name]};{_text(one.value)}" if name in found else _text(one.value)
    return found


def _text(value: Any) -> str:
    kind = value.WhichOneof("value")
    if kind is None:
        return ""
    plain = getattr(value, kind)
    if kind == "bool_value":
        return "true" if plain else "false"
    if kind in ("string_value", "int_value"):
        return str(plain)
    if kind == "double_value":
        return format_sample(plain)
    if kind == "bytes_value":
        return bytes(plain).hex()
    return str(json_format.MessageToJson(plain, indent=None))


def make_label(name: str) -> str:
    """A name of an attribute as one of a label."""
    made = _NOT_IN_LABELS.sub("_", name)
    if made[:1].isdigit():
        return "key_" + made
    return "key" + made if made.startswith("_") and not made.startswith("__") else made


def make_name(name: str, unit: str, kind: str) -> str:
    """A metric's name: words of the unit and `total` behind it, each once."""
    words = [word for word in _NOT_IN_NAMES.sub("_", name).split("_") if word]
    main, _, per = _ANNOTATION.sub("", unit).strip().partition("/")
    told = [_UNITS.get(main, _NOT_IN_NAMES.sub("_", main).strip("_"))]
    if per:
        told.append("per_" + _PER.get(per, _NOT_IN_NAMES.sub("_", per).strip("_")))
    is_ratio = main == "1" and not per and kind == "gauge"
    for word in [one for one in told if one] + (["ratio"] if is_ratio else []):
        if word not in words and word not in "_".join(words):
            words.append(word)
    if kind == "counter":
        words = [*(word for word in words if word != "total"), "total"]
    made = "_".join(words)
    return "_" + made if made[:1].isdigit() else made
