"""The unmodified Prometheus clients: prometheus_client pushes, prometheus-api-client asks."""

import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from prometheus_api_client import PrometheusApiClientException, PrometheusConnect
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    delete_from_gateway,
    push_to_gateway,
    pushadd_to_gateway,
)
from prometheus_client.exposition import basic_auth_handler

from conftest import TARGETS

GATEWAY = TARGETS["served"]["origin"] + "/prometheus"
KEY = TARGETS["served"]["key"]


def authorized(
    url: str, method: str, timeout: float | None, headers: list[tuple[str, str]], data: bytes
) -> Callable[[], None]:
    return basic_auth_handler(url, method, timeout, headers, data, "any", KEY)


@pytest.fixture
def client() -> PrometheusConnect:
    return PrometheusConnect(url=GATEWAY, headers={"Authorization": f"Bearer {KEY}"}, disable_ssl=True)


@pytest.fixture
def job() -> str:
    return f"backup-{uuid.uuid4().hex[:8]}"


def value_of(client: PrometheusConnect, query: str) -> list[tuple[dict[str, str], float]]:
    return [(one["metric"], float(one["value"][1])) for one in client.custom_query(query)]


def test_push_replace_add_delete(client: PrometheusConnect, job: str) -> None:
    """PUT replaces a group, POST only the metrics it names, DELETE ends it; all at once and lasting."""
    registry = CollectorRegistry()
    Gauge("backup_last_success_unixtime", "When it last went well.", registry=registry).set(1e9)
    Counter("backup_files", "Files saved.", ["kind"], registry=registry).labels("image").inc(7)
    Histogram("backup_seconds", "How long it took.", registry=registry, buckets=(1, 5)).observe(3)
    push_to_gateway(GATEWAY, job=job, registry=registry, grouping_key={"instance": "host a/b"}, handler=authorized)
    chosen = f'{{job="{job}"}}'
    [(labels, value)] = value_of(client, f"backup_last_success_unixtime{chosen}")
    assert value == 1e9
    assert labels["instance"] == "host a/b"
    assert labels["workspace_id"] == "default"
    assert value_of(client, f"backup_files_total{chosen}")[0][1] == 7
    assert {one["le"] for one, _ in value_of(client, f"backup_seconds_bucket{chosen}")} == {"1.0", "5.0", "+Inf"}
    assert abs(value_of(client, f"push_time_seconds{chosen}")[0][1] - time.time()) < 30

    more = CollectorRegistry()
    Gauge("backup_last_success_unixtime", "When it last went well.", registry=more).set(2e9)
    pushadd_to_gateway(GATEWAY, job=job, registry=more, grouping_key={"instance": "host a/b"}, handler=authorized)
    assert value_of(client, f"backup_last_success_unixtime{chosen}")[0][1] == 2e9
    assert value_of(client, f"backup_files_total{chosen}")[0][1] == 7

    push_to_gateway(GATEWAY, job=job, registry=more, grouping_key={"instance": "host a/b"}, handler=authorized)
    assert value_of(client, f"backup_files_total{chosen}") == []

    delete_from_gateway(GATEWAY, job=job, grouping_key={"instance": "host a/b"}, handler=authorized)
    assert value_of(client, f"backup_last_success_unixtime{chosen}") == []


def test_prometheus_api_client(client: PrometheusConnect, job: str) -> None:
    """Its whole surface: connection, names, labels, ranges, metadata, targets, and a refusal."""
    registry = CollectorRegistry()
    Gauge("shelf_height", "How high.", ["shelf"], registry=registry).labels("a").set(3)
    push_to_gateway(GATEWAY, job=job, registry=registry, handler=authorized)
    assert client.check_prometheus_connection()
    assert "shelf_height" in client.all_metrics()
    assert {"shelf", "job", "__name__"} <= set(client.get_label_names())
    assert job in client.get_label_values("job")
    found: list[dict[str, Any]] = client.get_current_metric_value("shelf_height", label_config={"job": job})
    assert found[0]["value"][1] == "3"
    long_ago, soon = datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(minutes=1)
    ranged = client.get_metric_range_data("shelf_height", {"job": job}, start_time=long_ago, end_time=soon)
    assert ranged[0]["values"][0][1] == "3"
    aggregated = client.get_metric_aggregation(f'shelf_height{{job="{job}"}}', ["max", "average"])
    assert (aggregated["max"], aggregated["average"]) == (3, 3)
    [series] = client.get_series(long_ago, soon, params={"match[]": f'{{job="{job}",__name__="shelf_height"}}'})
    assert (series["shelf"], series["workspace_id"]) == ("a", "default")
    ranged = client.custom_query_range(f'shelf_height{{job="{job}"}}', long_ago, soon, "1s")
    assert ranged[0]["values"][0][1] == "3"
    assert client.get_metric_metadata("shelf_height")[0]["help"] == "How high."
    # the platform's targets are the admin's
    assert client.get_targets()["activeTargets"] == []
    assert client.get_target_metadata({"job": "steelyard"}) == []
    with pytest.raises(PrometheusApiClientException, match="unclosed left parenthesis"):
        client.custom_query("sum(up")


def test_opentelemetry(client: PrometheusConnect, job: str) -> None:
    """The unmodified SDK exports counters, gauges and histograms; they have Prometheus' names and are told as its target."""
    exporter = OTLPMetricExporter(
        endpoint=GATEWAY + "/api/v1/otlp/v1/metrics", headers={"Authorization": f"Bearer {KEY}"}
    )
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=60_000)
    resource = Resource.create(
        {"service.name": job, "service.namespace": "shop", "service.instance.id": "one", "host.name": "nas"}
    )
    provider = MeterProvider([reader], resource=resource)
    meter = provider.get_meter("judge")
    meter.create_counter("http.requests", "{request}", "Requests.").add(3, {"http.route": "/a"})
    meter.create_histogram("work.duration", "s", "How long.").record(0.2)
    meter.create_up_down_counter("queue.size", "By").add(7)
    meter.create_gauge("load", "1").set(0.5)
    assert provider.force_flush()
    chosen = f'job="shop/{job}",instance="one"'
    [(labels, value)] = value_of(client, f"http_requests_total{{{chosen}}}")
    assert (labels["http_route"], labels["workspace_id"], value) == ("/a", "default", 3)
    assert value_of(client, f"work_duration_seconds_count{{{chosen}}}")[0][1] == 1
    assert value_of(client, f'work_duration_seconds_bucket{{{chosen},le="+Inf"}}')[0][1] == 1
    assert value_of(client, f"queue_size_bytes{{{chosen}}}")[0][1] == 7
    assert value_of(client, f"load_ratio{{{chosen}}}")[0][1] == 0.5
    assert value_of(client, f"target_info{{{chosen}}}")[0][0]["host_name"] == "nas"
    provider.shutdown()
