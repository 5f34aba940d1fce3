"""Monitoring beside the real programs: Debian's Prometheus scrapes us and is scraped, and so on; each is the judge of our side."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from installation import Installation, Served, Vendor, vendor_config
from real_prometheus import run_prometheus, wait_for

API = "/prometheus/api/v1"


class Shop(BaseHTTPRequestHandler):
    """A target that says what it was asked with."""

    body = b'# TYPE shop_sold counter\nshop_sold_total 3\nshop_shelf{workspace_id="other",job="mine"} 1\n# EOF\n'
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
        yield served


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
