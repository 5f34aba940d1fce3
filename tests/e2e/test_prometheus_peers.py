"""Monitoring beside the real programs: Debian's Prometheus scrapes us and is scraped, and so on; each is the judge of our side."""

import gzip
import json
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import cramjam
import httpx
import pytest

from installation import Installation, Served, Vendor, free_port, vendor_config
from real_prometheus import run_prometheus, wait_for
from steelyard.monitor.remote_write import WrittenSeries, encode

API = "/prometheus/api/v1"


class Shop(BaseHTTPRequestHandler):
    """A target that says what it was asked with."""

    body = b'# TYPE shop_sold counter\nshop_sold_total 3 # {trace_id="s1"} 0.5\nshop_shelf{workspace_id="other",job="mine"} 1\n# EOF\n'
    asked: ClassVar[dict[str, str]] = {}

    def do_GET(self) -> None:
        Shop.asked[self.path] = " ".join(f"{name}={value}" for name, value in self.headers.items())
        self.send_response(200 if Shop.body else 503)
        self.send_header("Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
        self.send_header("Content-Length", str(len(Shop.body)))
        self.end_headers()
        self.wfile.write(Shop.body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def watching(tmp_path_factory: pytest.TempPathFactory, vendor: Vendor, shop: str) -> Iterator[Served]:
    config = (
        vendor_config(vendor)
        + f"""
[quota]
free_tokens = 0

[monitor]
scrape_interval_s = 0.5

[monitor.targets.shop]
url = "http://{shop}/metrics?part=a"
workspace = "default"
interval_s = 0.5
token = "shop-secret"
labels = {{ floor = "2" }}

[monitor.targets.plant]
url = "http://{shop}/plant"

[monitor.targets.nobody]
url = "http://127.0.0.1:9/metrics"
timeout_s = 0.5
"""
    )
    with Installation(tmp_path_factory.mktemp("watching"), config) as installation:
        served = Served(installation)
        installation.cli("workspaces", "create", "other")
        installation.cli("activate", "--workspace", "other")
        wait_for(lambda: len(ask(served, "up", served.admin_key)) == 4)
        call_all(served)
        yield served


def call_all(served: Served) -> None:
    """Calls of several kinds, some of which fail; the last test of the module counts them."""
    hi = [{"role": "user", "content": "hi"}]
    with httpx.Client(base_url=served.origin, headers=served.headers(), timeout=30) as client:
        for number in range(10):
            chat = {"model": "priced", "messages": hi, "stream": number % 2 == 0, "max_tokens": 20}
            client.post("/v1/chat/completions", json=chat).read()
        for status in (500, 429):
            failing = {"model": "fake", "messages": hi, "script": {"status": status}}
            assert client.post("/v1/chat/completions", json=failing).status_code >= 400
        image = {"model": "local/poster", "input": {"prompt": "a boat"}, "parameters": {"n": 2}}
        answer = client.post(
            "/api/v1/services/aigc/text2image/image-synthesis", json=image, headers={"X-DashScope-Async": "enable"}
        )
        assert answer.status_code == 200, answer.text


def ask(served: Served, query: str, key: str | None = None) -> list[dict[str, Any]]:
    answer = httpx.get(served.origin + API + "/query", params={"query": query}, headers=served.headers(key), timeout=30)
    assert answer.status_code == 200, answer.text
    result: list[dict[str, Any]] = answer.json()["data"]["result"]
    return result


def test_targets_of_the_configuration(watching: Served, shop: str) -> None:
    """A workspace's target is its own: the series, its health, its metadata; what it says of a workspace is set aside."""
    assert [(one["metric"]["job"], one["value"][1]) for one in ask(watching, "up")] == [("shop", "1")]
    (shelf,) = ask(watching, "shop_shelf")
    assert shelf["metric"] == {
        "__name__": "shop_shelf", "exported_job": "mine", "exported_workspace_id": "other", "floor": "2",
        "instance": shop, "job": "shop", "workspace_id": "default",
    }  # fmt: skip
    states = {one["metric"]["job"]: one["value"][1] for one in ask(watching, "up", watching.admin_key)}
    assert states == {"steelyard": "1", "shop": "1", "plant": "1", "nobody": "0"}
    asked = Shop.asked["/metrics?part=a"]
    assert "Bearer shop-secret" in asked
    assert "Scrape-Timeout-Seconds=10" in asked
    assert "secret" not in Shop.asked["/plant"]
    told = httpx.get(watching.origin + API + "/targets", headers=watching.headers()).json()["data"]["activeTargets"]
    assert [(one["scrapeUrl"], one["health"]) for one in told] == [(f"http://{shop}/metrics?part=a", "up")]
    types = httpx.get(watching.origin + API + "/metadata", params={"metric": "shop_sold"}, headers=watching.headers())
    assert types.json()["data"]["shop_sold"][0]["type"] == "counter"
    other = watching.installation.create_key("--workspace", "other", name="other")["key"]
    assert ask(watching, '{job=~"shop|plant"}', other) == []
    shown = watching.installation.cli("config", "show").stdout
    assert "shop-secret" not in shown


def test_a_target_that_fails_ends_its_series(watching: Served) -> None:
    """`up` is 0 and the target's series are stale at once; when it is back, so are they."""
    body, Shop.body = Shop.body, b""
    try:
        wait_for(lambda: ask(watching, 'up{job="shop"}')[0]["value"][1] == "0")
        assert ask(watching, "shop_sold_total") == []
    finally:
        Shop.body = body
    wait_for(lambda: ask(watching, "shop_sold_total"))


def test_scraped_as_by_a_real_prometheus(watching: Served, shop: str, tmp_path: Path) -> None:
    """The same target at the same time: the same series, labels and values; what ends there ends here, and what fails fails."""
    config = f"""
scrape_configs:
- job_name: shop
  scrape_interval: 500ms
  scrape_timeout: 500ms
  metrics_path: /metrics
  params: {{ part: [a] }}
  static_configs: [{{ targets: ["{shop}"], labels: {{ floor: "2", workspace_id: default }} }}]
"""
    before = Shop.body
    lines = b'bin_count{kind="a b\\\\c",n="1"} 1\nbin_count{kind="\\xe9\\x9b\\xaa",n="2"} NaN\nbin_level -1.5e-7\nbin_old 4\n'
    with run_prometheus(tmp_path, config) as origin:

        def there(query: str) -> dict[Any, str]:
            answer = httpx.get(f"{origin}/api/v1/query", params={"query": query}).json()["data"]["result"]
            return {tuple(sorted(one["metric"].items())): one["value"][1] for one in answer}

        def here(query: str) -> dict[Any, str]:
            return {tuple(sorted(one["metric"].items())): one["value"][1] for one in ask(watching, query)}

        def agree(query: str, count: int) -> bool:
            return len(here(query)) == count and here(query) == there(query)

        everything = '{job="shop",__name__!~"scrape_.*"}'
        try:
            for body, count in ((before, 3), (before.replace(b"# EOF", lines + b"# EOF"), 7), (before, 3)):
                Shop.body = body
                wait_for(lambda count=count: agree(everything, count))  # type: ignore[misc]
            assert agree('scrape_samples_scraped{job="shop"}', 1)
            Shop.body = b""
            wait_for(lambda: agree('up{job="shop"}', 1) and set(here('up{job="shop"}').values()) == {"0"})
            wait_for(lambda: agree(everything, 1))
            Shop.body = b"this is {no exposition\n"
            time.sleep(1.5)
            assert agree(everything, 1)
            Shop.body = before
            wait_for(lambda: agree(everything, 3))
        finally:
            Shop.body = before


def test_a_real_prometheus_federates_from_us(watching: Served, tmp_path: Path) -> None:
    """With a workspace's key it gets that workspace's series, at our times and under our labels."""
    host = watching.origin.removeprefix("http://")
    config = f"""
scrape_configs:
- job_name: federate
  honor_labels: true
  scrape_interval: 1s
  metrics_path: /prometheus/federate
  params: {{ "match[]": ['{{__name__=~".+"}}'] }}
  basic_auth: {{ username: any, password: "{watching.key}" }}
  static_configs: [{{ targets: ["{host}"] }}]
"""
    with run_prometheus(tmp_path, config) as origin:

        def there(query: str) -> list[dict[str, Any]]:
            answer = httpx.get(f"{origin}/api/v1/query", params={"query": query}).json()
            found: list[dict[str, Any]] = answer["data"]["result"]
            return found

        wait_for(lambda: there("shop_sold_total"))
        ours, theirs = ask(watching, "shop_sold_total")[0], there("shop_sold_total")[0]
        assert (theirs["metric"], theirs["value"][1]) == (ours["metric"], ours["value"][1])
        assert [one["value"][1] for one in there('up{job="federate"}')] == ["1"]
        assert {one["metric"]["job"] for one in there('{__name__="up"}')} == {"federate", "shop"}


def test_a_real_prometheus_writes_to_us(watching: Served, tmp_path: Path) -> None:
    """Its samples arrive under its labels and as the workspace's own, staleness and metadata included; nothing is refused."""
    config = f"""
global: {{ scrape_interval: 500ms, external_labels: {{ replica: a }} }}
scrape_configs:
- job_name: self
  static_configs: [{{ targets: ["PORT"] }}]
- job_name: gone
  static_configs: [{{ targets: ["127.0.0.1:9"] }}]
remote_write:
- url: {watching.origin}{API}/write
  authorization: {{ credentials: "{watching.key}" }}
  metadata_config: {{ send_interval: 1s }}
  queue_config: {{ batch_send_deadline: 500ms, max_samples_per_send: 200, min_shards: 3 }}
"""
    port = free_port()
    with run_prometheus(tmp_path, config.replace("PORT", f"127.0.0.1:{port}"), port=port) as origin:
        wait_for(lambda: ask(watching, 'prometheus_build_info{job="self"}'))
        (info,) = ask(watching, 'prometheus_build_info{job="self"}')
        assert (info["metric"]["workspace_id"], info["metric"]["replica"]) == ("default", "a")
        ups = {one["metric"]["job"]: one["value"][1] for one in ask(watching, 'up{job=~"self|gone"}')}
        assert ups == {"self": "1", "gone": "0"}
        wait_for(lambda: ask(watching, 'rate(prometheus_tsdb_head_samples_appended_total{job="self"}[30s]) > 0'))
        there = {"query": 'count({job="self"})'}
        wait_for(
            lambda: (
                ask(watching, there["query"])[0]["value"][1]
                == httpx.get(f"{origin}/api/v1/query", params=there).json()["data"]["result"][0]["value"][1]
            )
        )
        types = {"metric": "prometheus_tsdb_head_samples_appended_total"}
        wait_for(
            lambda: httpx.get(watching.origin + API + "/metadata", params=types, headers=watching.headers()).json()[
                "data"
            ]
        )
        refused = (
            "sum(prometheus_remote_storage_samples_failed_total + prometheus_remote_storage_samples_dropped_total)"
        )
        told = httpx.get(f"{origin}/api/v1/query", params={"query": refused}).json()["data"]["result"]
        assert [one["value"][1] for one in told] == ["0"], (tmp_path / "log").read_text()[-2000:]
    # it ended its series with it, or the lookback does
    other = watching.installation.create_key("--workspace", "other", name="other")["key"]
    assert ask(watching, 'prometheus_build_info{job="self"} or up', other) == []


def test_exemplars(watching: Served) -> None:
    """Scraped and written ones, of all selectors of an expression; a workspace sees its own."""
    now = int(time.time() * 1000)
    one = series(now, 1, n="traced")
    one.exemplars.append(((("trace_id", "w1"),), 0.25, now))
    answer = httpx.post(
        watching.origin + API + "/write", content=encode([one]), headers=SNAPPY | watching.headers(), timeout=30
    )
    assert answer.status_code == 204, answer.text

    def find(query: str, key: str | None = None) -> Any:
        wish = {"query": query, "start": now / 1000 - 60, "end": now / 1000 + 60}
        told = httpx.get(watching.origin + API + "/query_exemplars", params=wish, headers=watching.headers(key))
        assert told.status_code == 200, told.text
        return told.json()["data"]

    wait_for(lambda: find("rate(shop_sold_total[5m])"))
    (scraped,) = find("rate(shop_sold_total[5m])")
    assert scraped["seriesLabels"]["workspace_id"] == "default"
    assert (scraped["exemplars"][0]["labels"], scraped["exemplars"][0]["value"]) == ({"trace_id": "s1"}, "0.5")
    (written,) = find('level{n="traced"}')
    assert written["exemplars"] == [{"labels": {"trace_id": "w1"}, "value": "0.25", "timestamp": now / 1000}]
    other = watching.installation.create_key("--workspace", "other", name="other-traces")["key"]
    assert find('{__name__=~".+"}', other) == []


SNAPPY = {"content-encoding": "snappy", "content-type": "application/x-protobuf"}


def series(now_ms: int, *values: float, **labels: str) -> WrittenSeries:
    pairs = tuple({"__name__": "level", "job": "hand", **labels}.items())
    return WrittenSeries(pairs, [now_ms + 1000 * number for number in range(len(values))], list(values))


def test_what_is_written_and_what_is_refused(watching: Served) -> None:
    """Good samples of a request are taken whatever the others are; a refusal says which and why."""
    url, now = watching.origin + API + "/write", int(time.time() * 1000) - 60_000

    def write(*some: WrittenSeries, **headers: str) -> httpx.Response:
        return httpx.post(url, content=encode(some), headers=SNAPPY | headers | watching.headers(), timeout=30)

    assert write(series(now, 1, 2, 3)).status_code == 204
    # again, as after an answer that was lost
    assert write(series(now, 1, 2, 3)).status_code == 400
    assert write(series(now + 2000, 3)).status_code == 204
    cases = (
        ((series(now, 9),), "out of order sample (1 samples)"),
        ((series(now + 2000, 9),), "duplicate sample for timestamp"),
        ((series(now + 3_600_000, 9),), "out of bounds"),
        ((series(now - 40 * 86_400_000, 9, n="old"),), "out of bounds"),
        ((series(now, 9, __name__="llm_requests_total"),), "platform's own"),
        ((series(now, 9, __name__="up", job="steelyard"),), "platform's own"),
        ((series(now, 9, __name__=""),), "without a metric name"),
        ((series(now, 9, long="x" * 3000),), "longer than"),
        ((WrittenSeries((("__name__", "a"), ("b", "1"), ("b", "2")), [now], [1.0]),), "twice"),
        ((series(now, 9), series(now, 5, n="good")), "1 other samples were taken"),
    )
    for some, text in cases:
        answer = write(*some)
        assert (answer.status_code, text in answer.text) == (400, True), (text, answer.text)
    assert [one["value"][1] for one in ask(watching, 'level{n="good"}')] == ["5"]
    assert [one["value"][1] for one in ask(watching, 'level{n=""}')] == ["3"]
    for body, headers, status, text in (
        (b"\xff\xff\xff", {}, 400, "snappy: corrupt input"),
        (b"", {}, 400, "snappy: corrupt input"),
        (b"\xff\xff\xff\xff\x0f" + b"a" * 50, {}, 400, "unpacked"),
        (bytes(cramjam.snappy.compress_raw(b"\xff\xff\xff")), {}, 400, "WriteRequest"),
        (encode([]), {}, 204, ""),
        (encode([]), {"content-type": "application/json"}, 415, "remote write 1.0"),
        (encode([]), {"content-type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"}, 415, "1.0"),
        (encode([]), {"content-encoding": "gzip"}, 415, "snappy"),
    ):
        answer = httpx.post(url, content=body, headers=SNAPPY | headers | watching.headers(), timeout=30)
        assert (answer.status_code, text in answer.text) == (status, True), (body, answer.text)
    assert httpx.post(url, content=encode([]), headers=SNAPPY).status_code == 401


def test_too_many_written_series(watching: Served) -> None:
    """New ones are refused; those that are there go on."""
    url, now = watching.origin + API + "/write", int(time.time() * 1000)
    key = watching.installation.create_key("--workspace", "other", name="other")["key"]
    many = [series(now, 1, n=str(number)) for number in range(20_001)]
    answer = httpx.post(url, content=encode(many), headers=SNAPPY | watching.headers(key), timeout=60)
    assert (answer.status_code, "20000 are allowed at once" in answer.text) == (400, True), answer.text
    again = [series(now + 1000, 2, n=str(number)) for number in range(20_000)]
    assert httpx.post(url, content=encode(again), headers=SNAPPY | watching.headers(key), timeout=60).status_code == 204
    assert ask(watching, "sum(level)", key)[0]["value"][1] == "40000"


def test_otlp_refusals(watching: Served) -> None:
    """What cannot be kept is told as the partial success, in the form that was sent."""
    url = watching.origin + API + "/otlp/v1/metrics"
    now = str(time.time_ns())
    points = [{"asInt": "3", "timeUnixNano": now, "attributes": [{"key": "a.b", "value": {"stringValue": "x"}}]}]
    metrics = [
        {"name": "taps", "unit": "1", "sum": {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": points}},
        {"name": "drops", "sum": {"aggregationTemporality": 1, "isMonotonic": True, "dataPoints": points}},
        {"name": "wide", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [{"timeUnixNano": now}]}},
    ]
    body = {"resourceMetrics": [{"resource": {"attributes": []}, "scopeMetrics": [{"metrics": metrics}]}]}
    answer = httpx.post(url, json=body, headers=watching.headers())
    assert answer.status_code == 200, answer.text
    told = answer.json()["partialSuccess"]
    assert told["rejectedDataPoints"] == "2"
    assert "delta temporality" in told["errorMessage"]
    assert ask(watching, 'taps_total{a_b="x"}')[0]["value"][1] == "3"
    packed = httpx.post(
        url, content=gzip.compress(json.dumps(body).encode()),
        headers={"content-type": "application/json", "content-encoding": "gzip"} | watching.headers(),
    )  # fmt: skip
    assert packed.status_code == 200
    for content, headers, status in (
        (b"{", {"content-type": "application/json"}, 400),
        (b"\xff\xff", {"content-type": "application/x-protobuf"}, 400),
        (b"no gzip", {"content-type": "application/json", "content-encoding": "gzip"}, 400),
        (gzip.compress(b"a" * 70_000_000), {"content-type": "application/json", "content-encoding": "gzip"}, 400),
        (b"[" * 100_000, {"content-type": "application/json"}, 400),
        (b"{}", {"content-type": "text/plain"}, 415),
        (b"{}", {"content-type": "application/json", "content-encoding": "br"}, 415),
    ):
        answer = httpx.post(url, content=content, headers=headers | watching.headers(), timeout=30)
        assert answer.status_code == status, (content[:20], answer.text)


@pytest.mark.parametrize("kills", [3, pytest.param(30, marks=pytest.mark.long)])
def test_kill_minus_nine_while_it_is_written_to(watching: Served, kills: int) -> None:
    """What was acknowledged and is older than the flush is there; a sender that sends again is not refused."""
    url, name = watching.origin + API + "/write", f"kill-{kills}"
    start = int(time.time() * 1000) - 1_800_000
    acknowledged: dict[int, float] = {}
    number, killed_at = 0, 0.0
    for _ in range(kills):
        began = time.monotonic()
        while time.monotonic() - began < 1.5:
            body = encode([series(start + 1000 * number, number, n=name)])
            answer = httpx.post(url, content=body, headers=SNAPPY | watching.headers(), timeout=30)
            if answer.status_code == 204:
                acknowledged[number] = time.monotonic()
            number += 1
        monitor = next((pid for pid, role in watching.installation.children().items() if role == "monitor"), None)
        if monitor is not None:
            killed_at = time.monotonic()
            os.kill(monitor, signal.SIGKILL)
    wait_for(lambda: ask(watching, f'level{{n="{name}"}}[1h]'), 40)
    (found,) = ask(watching, f'level{{n="{name}"}}[1h]')
    there = [int(value) for _, value in found["values"]]
    assert len(there) == len(set(there))
    lost = acknowledged.keys() - set(there)
    # a killed process loses nothing that was written; only a dead machine loses what was not flushed
    assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged, killed {time.monotonic() - killed_at:.1f} s ago"
    assert len(acknowledged) > 2 * kills
    print(f"{kills} kills, {len(acknowledged)} acknowledged samples, none lost")


def test_the_ledger_s_minutes_are_exact(watching: Served) -> None:
    """Model Studio's gauges and OpenTelemetry's histograms say what the ledger says, for every modality; a killed monitor changes nothing of it."""
    with sqlite3.connect(watching.installation.data_dir / "steelyard.db") as ledger:
        wait_for(lambda: ledger.execute("SELECT COUNT(*) FROM receipt WHERE image_count = 2").fetchone()[0] == 1)

        def said(expression: str) -> float:
            return float(ledger.execute(f"SELECT {expression} FROM receipt").fetchone()[0])

        calls = said("COUNT(*)")
        assert calls >= 12

        def seen(query: str) -> float:
            found = ask(watching, query)
            return float(found[0]["value"][1]) if found else 0.0

        wait_for(lambda: seen("sum(sum_over_time(model_call_count[1h]))") == calls, 100)
        monitor = watching.installation.child("monitor")
        # a question that is under way when it dies is asked again of the next one
        os.kill(monitor, signal.SIGSTOP)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(ask, watching, "vector(1)")
            time.sleep(0.5)
            os.kill(monitor, signal.SIGKILL)
            assert asked.result()
        wait_for(lambda: ask(watching, "shop_sold_total"))
        for query, expression in (
            ("sum(sum_over_time(model_call_count[1h]))", "COUNT(*)"),
            ("sum(sum_over_time(model_call_failed_count[1h]))", "SUM(status >= 400)"),
            ("sum(sum_over_time(model_call_5xx_count[1h]))", "SUM(status >= 500)"),
            ("sum(sum_over_time(model_call_429_count[1h]))", "SUM(status = 429)"),
            ('sum(sum_over_time(model_usage{usage_type="input_tokens"}[1h]))', "SUM(prompt_tokens)"),
            ('sum(sum_over_time(model_usage{usage_type="output_tokens"}[1h]))', "SUM(completion_tokens)"),
            ('sum(sum_over_time(model_usage{usage_type="image_count",sub_protocol="ASYNC"}[1h]))', "SUM(image_count)"),
            ("sum(sum_over_time(model_total_amount[1h])) * 1e6", "SUM(charged_micros)"),
            ("sum(sum_over_time(model_call_duration_total[1h])) * 1e3", "SUM(duration_us)"),
            ("sum(sum_over_time(model_first_token_duration_total[1h])) * 1e3", "SUM(first_token_us)"),
            ("sum(last_over_time(gen_ai_server_request_duration_seconds_count[1h]))", "COUNT(*)"),
            (
                'sum(last_over_time(gen_ai_client_token_usage_sum{gen_ai_token_type="output"}[1h]))',
                "SUM(completion_tokens)",
            ),
        ):
            assert seen(query) == pytest.approx(said(expression), rel=1e-9), query
        assert said("SUM(charged_micros)") > 0
        assert said("SUM(status >= 400)") >= 2
        by_kind = ask(watching, "sum by (protocol, sub_protocol) (sum_over_time(model_call_count[1h]))")
        kinds = {(one["metric"]["protocol"], one["metric"]["sub_protocol"]) for one in by_kind}
        assert kinds == {("HTTP", "DEFAULT"), ("SSE", "DEFAULT"), ("HTTP", "ASYNC")}
        told = httpx.get(
            watching.origin + API + "/metadata", params={"metric": "model_call_duration"}, headers=watching.headers()
        )
        assert told.json()["data"]["model_call_duration"][0]["help"].endswith("ms.")
        other = watching.installation.create_key("--workspace", "other", name="other-last")["key"]
        assert ask(watching, '{__name__=~"model_.*|gen_ai_.*"}', other) == []
