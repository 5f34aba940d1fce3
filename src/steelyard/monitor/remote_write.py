"""Remote write 1.0: protobuf messages in snappy's block format, read and written. Source: prometheus.md 2.4."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import cramjam
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from steelyard.monitor.exposition_format import Metadata
from steelyard.promql.labels import Labels, make_labels

MAX_PLAIN_BYTES = 64 * 1024 * 1024
HEADERS = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
KINDS = ("unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset")

_F = descriptor_pb2.FieldDescriptorProto
_TEXT, _DOUBLE, _INT64, _UINT32, _MESSAGE = (
    _F.TYPE_STRING,
    _F.TYPE_DOUBLE,
    _F.TYPE_INT64,
    _F.TYPE_UINT32,
    _F.TYPE_MESSAGE,
)
#: message -> its fields: (name, number, type, the message that it holds many of)
_MESSAGES: dict[str, tuple[tuple[str, int, Any, str], ...]] = {
    "Label": (("name", 1, _TEXT, ""), ("value", 2, _TEXT, "")),
    "Sample": (("value", 1, _DOUBLE, ""), ("timestamp", 2, _INT64, "")),
    "Histogram": (),
    "Exemplar": (("labels", 1, _MESSAGE, "Label"), ("value", 2, _DOUBLE, ""), ("timestamp", 3, _INT64, "")),
    "TimeSeries": (
        ("labels", 1, _MESSAGE, "Label"), ("samples", 2, _MESSAGE, "Sample"), ("exemplars", 3, _MESSAGE, "Exemplar"),
        ("histograms", 4, _MESSAGE, "Histogram"),
    ),
    "MetricMetadata": (("type", 1, _UINT32, ""), ("family", 2, _TEXT, ""), ("help", 4, _TEXT, ""), ("unit", 5, _TEXT, "")),
    "WriteRequest": (("timeseries", 1, _MESSAGE, "TimeSeries"), ("metadata", 3, _MESSAGE, "MetricMetadata")),
}  # fmt: skip


class MalformedWrite(ValueError):
    """A body that is no write request; sending it again would not help."""


@dataclass(slots=True)
class WrittenSeries:
    """One series of a request, as it came."""

    pairs: Labels
    times_ms: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    #: (labels, value, time)
    exemplars: list[tuple[Labels, float, int]] = field(default_factory=list)


@dataclass(slots=True)
class Written:
    """What a request brings."""

    series: list[WrittenSeries] = field(default_factory=list)
    families: dict[str, Metadata] = field(default_factory=dict)
    #: What is told of in a form that is not stored, by what it is called.
    left_out: dict[str, int] = field(default_factory=dict)


def _make_request_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="steelyard/remote_write.proto", package="steelyard.remote_write", syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        made = file.message_type.add(name=name)
        for field_name, number, kind, inner in fields:
            one = made.field.add(name=field_name, number=number, type=kind)
            one.label = _F.LABEL_REPEATED if inner else _F.LABEL_OPTIONAL
            if inner:
                one.type_name = f".{file.package}.{inner}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.WriteRequest"))


_Request = _make_request_class()


def decode(body: bytes) -> Written:
    """A request's series.

    Raises:
        MalformedWrite: saying what is wrong.
    """
    request = _Request()
    try:
        request.ParseFromString(_unpack(body))
    except message.DecodeError:
        raise MalformedWrite("proto: the body is no WriteRequest") from None
    written = Written()
    for one in request.timeseries:
        pairs = tuple((label.name, label.value) for label in one.labels)
        samples = one.samples
        made = WrittenSeries(pairs, [each.timestamp for each in samples], [each.value for each in samples])
        for each in one.exemplars:
            told_of = make_labels((label.name, label.value) for label in each.labels)
            made.exemplars.append((told_of, each.value, each.timestamp))
        written.series.append(made)
        if one.histograms:
            written.left_out["native histograms"] = written.left_out.get("native histograms", 0) + len(one.histograms)
    for told in request.metadata:
        kind = KINDS[told.type] if told.type < len(KINDS) else "unknown"
        written.families[told.family] = Metadata(kind, told.help, told.unit)
    return written


def _unpack(body: bytes) -> bytes:
    try:
        if cramjam.snappy.decompress_raw_len(body) > MAX_PLAIN_BYTES:
            raise MalformedWrite(
                f"the request has more than {MAX_PLAIN_BYTES} bytes when unpacked; send fewer series at once"
            )
        return bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError:
        raise MalformedWrite("snappy: corrupt input") from None


def encode(series: Iterable[WrittenSeries]) -> bytes:
    """A request's body."""
    request = _Request()
    for one in series:
        made = request.timeseries.add()
        for name, value in one.pairs:
            made.labels.add(name=name, value=value)
        for at_ms, number in zip(one.times_ms, one.values, strict=True):
            made.samples.add(value=number, timestamp=at_ms)
        for told, number, at_ms in one.exemplars:
            example = made.exemplars.add(value=number, timestamp=at_ms)
            for name, value in told:
                example.labels.add(name=name, value=value)
    return bytes(cramjam.snappy.compress_raw(request.SerializeToString()))
