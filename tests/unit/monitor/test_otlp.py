"""Names of OTLP metrics as Prometheus' own receiver makes them."""

import pytest

from steelyard.monitor.otlp import make_label, make_name


@pytest.mark.parametrize(
    ("name", "unit", "kind", "made"),
    [
        ("gen_ai.client.token.usage", "{token}", "histogram", "gen_ai_client_token_usage"),
        ("gen_ai.client.operation.duration", "s", "histogram", "gen_ai_client_operation_duration_seconds"),
        ("http.server.requests", "{request}", "counter", "http_server_requests_total"),
        ("requests.total", "1", "counter", "requests_total"),
        ("memory.usage", "By", "gauge", "memory_usage_bytes"),
        ("memory.usage.bytes", "By", "gauge", "memory_usage_bytes"),
        ("cpu.utilization", "1", "gauge", "cpu_utilization_ratio"),
        ("disk.speed", "By/s", "gauge", "disk_speed_bytes_per_second"),
        ("2nd.try", "", "gauge", "_2nd_try"),
        ("a..b--c", "", "gauge", "a_b_c"),
        ("battery", "%", "gauge", "battery_percent"),
        ("odd", "foo/bar", "gauge", "odd_foo_per_bar"),
    ],
)
def test_names(name: str, unit: str, kind: str, made: str) -> None:
    """Units are words behind the name, each once; counters end in `_total`."""
    assert make_name(name, unit, kind) == made


@pytest.mark.parametrize(
    ("name", "made"), [("http.route", "http_route"), ("2xx", "key_2xx"), ("_a", "key_a"), ("a-b", "a_b")]
)
def test_labels(name: str, made: str) -> None:
    assert make_label(name) == made
