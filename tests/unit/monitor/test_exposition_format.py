"""The text formats, as scrapes bring them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.monitor import exposition_format
from steelyard.monitor.exposition_format import OPEN_METRICS, MalformedText, Reader, read_series
from steelyard.promql.labels import make_labels

BODY = rb"""# HELP http_requests_total Requests so far \\ with a \n line.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
http_requests_total{method="post",code="400",}    3
# a comment

# Escaping in label values:
msdos_file_access_time_seconds{path="C:\\DIR\\FILE.TXT",error="Cannot find file:\n\"FILE.TXT\""} 1.458255915e9
metric_without_timestamp_and_labels 12.47
something_weird{problem="division by zero"} +Inf -3982045
# TYPE latency histogram
latency_bucket{le="0.05"} 24054
latency_bucket{le="1"} 133988
latency_bucket{le="+Inf"} 144320
latency_sum 53423
latency_count 144320
quoted{brace="}",hash="# x",comma=","} NaN
{"my.metric","l x"="y"} -0
spaced { a = "b" , c = "d" } 5
"""


def read(body: bytes, kind: str = "") -> dict[object, float]:
    found = Reader().read(body, kind)
    return dict(zip(found.labels, found.values, strict=True))


def test_the_text_format() -> None:
    """Labels, escapes, times, types and texts."""
    found = Reader().read(BODY)
    rows = dict(zip(found.labels, zip(found.values, found.times_ms, strict=True), strict=True))
    assert rows[make_labels({"__name__": "http_requests_total", "method": "post", "code": "200"})] == (
        1027.0,
        1395066363000,
    )
    path = {
        "__name__": "msdos_file_access_time_seconds",
        "path": "C:\\DIR\\FILE.TXT",
        "error": 'Cannot find file:\n"FILE.TXT"',
    }
    assert rows[make_labels(path)] == (1458255915.0, None)
    assert rows[make_labels({"__name__": "something_weird", "problem": "division by zero"})] == (math.inf, -3982045)
    # a number in a label is the same, however it is written
    assert rows[make_labels({"__name__": "latency_bucket", "le": "1.0"})] == (133988.0, None)
    assert rows[make_labels({"__name__": "my.metric", "l x": "y"})][0] == 0
    assert math.isnan(rows[make_labels({"__name__": "quoted", "brace": "}", "hash": "# x", "comma": ","})][0])
    assert rows[make_labels({"__name__": "spaced", "a": "b", "c": "d"})][0] == 5
    assert len(rows) == 13
    family = found.families["http_requests_total"]
    assert (family.kind, family.help) == ("counter", "Requests so far \\ with a \n line.")


OPEN = b"""# TYPE acme_http_router_request_seconds summary
# UNIT acme_http_router_request_seconds seconds
# HELP acme_http_router_request_seconds Latency.
acme_http_router_request_seconds_sum{path="/api/v1",method="GET"} 9036.32
acme_http_router_request_seconds_created{path="/api/v1",method="GET"} 1605281325.0
# TYPE go_goroutines gauge
go_goroutines 69 1605281325.123
# TYPE foo counter
foo_total 17.0 1520879607.789 # {trace_id="KOO5S4vxi0o"} 0.67
foo_bucket{le="10"} 17 # {trace_id="oHg5SJYRHA0"} 9.8 1520879607.789
# EOF
"""


def test_open_metrics() -> None:
    """Times in seconds, exemplars behind values, an end that must be there."""
    found = Reader().read(OPEN, OPEN_METRICS + "; version=1.0.0")
    assert found.times_ms == [None, None, 1605281325123, 1520879607789, None]
    assert found.values[3:] == [17.0, 17.0]
    assert found.families["acme_http_router_request_seconds"].unit == "seconds"
    with pytest.raises(MalformedText, match="# EOF"):
        Reader().read(OPEN[:-7], OPEN_METRICS)
    with pytest.raises(MalformedText, match="behind # EOF"):
        Reader().read(OPEN + b"more 1\n", OPEN_METRICS)


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("x", "expected value"), ("x ", "expected value"), ("x y", "no number"), ("x 1 2 3", "expected value"), ("x 1 y", "timestamp"), ('x{a="b" 1', "unclosed"),
        ('x{a=b} 1', "value in quotes"), ('x{a="b",a="c"} 1', "twice"), ("1x 2", "no metric name"), ('{a="b"} 1', "without a metric name"), ('x{a "b"} 1', "expected ="), ("x{,} 1", "expected a label"),
        ("x 1_000", "no number"), ("# TYPE x nonsense", "metric type"), ("x 0x1f", "no number"), ('x{"a"} 1', "expected ="),
    ],
)  # fmt: skip
def test_what_is_malformed(line: str, part: str) -> None:
    """Fails the whole body, and says where."""
    with pytest.raises(MalformedText, match=part):
        Reader().read(f"good 1\n{line}\n".encode())


def test_bytes_that_are_no_text() -> None:
    """Likewise."""
    with pytest.raises(MalformedText, match="UTF-8"):
        Reader().read(b'x{a="\xff"} 1\n')


@given(st.text(max_size=60))
def test_anything(text: str) -> None:
    """Is read or refused."""
    try:
        Reader().read(text.encode("utf-8", "surrogatepass"))
    except MalformedText:
        return


@given(
    st.dictionaries(
        st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,5}", fullmatch=True).filter(lambda one: one not in ("le", "quantile")),
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10),
        max_size=4,
    )
)
def test_labels_come_back(labels: dict[str, str]) -> None:
    """Whatever their values are."""
    labels.pop("__name__", None)
    escaped = {
        name: value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for name, value in labels.items()
    }
    text = "x{" + ",".join(f'{name}="{value}"' for name, value in escaped.items()) + "}"
    assert read_series(text) == make_labels({"__name__": "x", **labels})


def test_a_second_scrape_reads_no_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands before the numbers is remembered; series that are new are read, and those that are gone forgotten."""
    asked: list[str] = []

    def counting(text: str) -> object:
        asked.append(text)
        return read_series(text)

    monkeypatch.setattr(exposition_format, "read_series", counting)
    reader = Reader()
    for numbers in ((1, 2, 3), (1, 2, 3), (2, 3, 4), (1, 2)):
        found = reader.read("".join(f'x{{n="{number}"}} {number}\n' for number in numbers).encode())
        assert found.values == [float(number) for number in numbers]
    assert asked == ['x{n="1"}', 'x{n="2"}', 'x{n="3"}', 'x{n="4"}', 'x{n="1"}']


def test_exemplars() -> None:
    """Their labels, value and time; only in OpenMetrics, where they are read over in the text format of 0.0.4 they are a fault."""
    body = b'a_bucket{le="1"} 3 # {trace_id="x \\"y\\"",n="1"} 0.5 1795350609.4\na_total 5 # {} 1\n# EOF\n'
    exposed = Reader().read(body, OPEN_METRICS)
    first, second = exposed.exemplars
    assert first == (
        make_labels({"__name__": "a_bucket", "le": "1.0"}),
        (("n", "1"), ("trace_id", 'x "y"')),
        0.5,
        1_795_350_609_400,
    )
    assert second == (make_labels({"__name__": "a_total"}), (), 1.0, None)
    for bad in (
        b"a 1 # x 1\n# EOF\n",
        b'a 1 # {a="b"}\n# EOF\n',
        b'a 1 # {a="b"} x\n# EOF\n',
        b"a 1 # {a=b} 1\n# EOF\n",
    ):
        with pytest.raises(MalformedText):
            Reader().read(bad, OPEN_METRICS)
