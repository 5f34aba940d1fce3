"""A real Prometheus that keeps the samples: ours go there by remote write, and queries are answered from there, each workspace seeing its own."""

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from test_prometheus import REFUSALS, TRICKS

from installation import Installation, Served, Vendor, free_port, vendor_config
from real_prometheus import run_prometheus, wait_for

API = "/prometheus/api/v1"
#: Refusals in which 2.42's words are others than 3.x's, which are ours; or which are not reached there.
OTHERWISE = ("limit", "0.0001", "must contain at least one non-empty matcher", "not supported value", "limit must be")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("there")


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory, vendor: Vendor, place: Path) -> Iterator[tuple[Served, str]]:
    with run_prometheus(place, "global: {}\n", "--web.enable-remote-write-receiver") as there:
        config = (
            vendor_config(vendor)
            + f"""
[monitor]
url = "{there}/"
remote_headers = {{ "X-Scope-OrgID" = "tenant-secret" }}
scrape_interval_s = 0.5
external_labels = {{ region = "cn" }}

[monitor.remote_write.there]
url = "{there}/api/v1/write"
token = "write-secret"
"""
        )
        with Installation(tmp_path_factory.mktemp("far"), config) as installation:
            served = Served(installation)
            installation.cli("workspaces", "create", "other")
            installation.cli("activate", "--workspace", "other")
            other = installation.create_key("--workspace", "other", name="other")["key"]
            for key, model in ((served.key, "fake"), (other, "fake"), (other, "priced")):
                body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
                answer = httpx.post(
                    served.origin + "/v1/chat/completions", json=body, headers=served.headers(key), timeout=30
                )
                assert answer.status_code == 200
            wait_for(lambda: len(ask(served, "llm_requests_total", served.admin_key)) >= 3)
            served.other = other  # type: ignore[attr-defined]
            yield served, there


def get(served: Served, path: str, key: str, **parameters: Any) -> httpx.Response:
    told = {{"match": "match[]"}.get(name, name): value for name, value in parameters.items()}
    return httpx.get(served.origin + API + path, params=told, headers=served.headers(key), timeout=30)


def ask(served: Served, query: str, key: str) -> list[dict[str, Any]]:
    answer = get(served, "/query", key, query=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]["result"]
    return found


def test_our_samples_are_there(far: tuple[Served, str]) -> None:
    """With their labels and the external ones, and they go on coming; nothing is refused."""
    served, there = far
    direct = httpx.get(f"{there}/api/v1/query", params={"query": 'up{job="steelyard"}'}).json()["data"]["result"]
    assert [(one["metric"]["region"], one["value"][1]) for one in direct] == [("cn", "1")]
    wait_for(lambda: ask(served, 'count_over_time(up{job="steelyard"}[1m]) > 20', served.admin_key), 40)
    refused = ask(served, 'monitor_forwarded_samples_total{result!="delivered"}', served.admin_key)
    assert [one for one in refused if one["value"][1] != "0"] == []


@pytest.mark.parametrize("query", TRICKS)
def test_no_query_sees_another_workspace(far: tuple[Served, str], query: str) -> None:
    """The same tricks as with our own store."""
    served, _ = far
    key = served.other  # type: ignore[attr-defined]
    for found in ask(served, query, key):
        assert found["metric"].get("workspace_id", "other") == "other", found
    now = time.time()
    ranged = get(served, "/query_range", key, query=query, start=now - 60, end=now, step=5)
    assert ranged.status_code == 200
    assert all(one["metric"].get("workspace_id", "other") == "other" for one in ranged.json()["data"]["result"])
    posted = httpx.post(served.origin + API + "/query", data={"query": query}, headers=served.headers(key), timeout=30)
    assert all(one["metric"].get("workspace_id", "other") == "other" for one in posted.json()["data"]["result"])


def test_no_list_tells_of_another_workspace(far: tuple[Served, str]) -> None:
    served, _ = far
    key = served.other  # type: ignore[attr-defined]
    assert get(served, "/label/workspace_id/values", served.admin_key).json()["data"] == ["default", "other"]
    assert get(served, "/label/workspace_id/values", key).json()["data"] == ["other"]
    assert "priced" not in get(served, "/label/model/values", served.key).json()["data"]
    assert "gateway_connections" not in get(served, "/label/__name__/values", key).json()["data"]
    for matcher in ('{workspace_id="default"}', '{workspace_id=~"default|other"}', '{__name__=~".+"}', "up"):
        series = get(served, "/series", key, match=matcher).json()["data"]
        assert all(one["workspace_id"] == "other" for one in series)
        federated = httpx.get(
            served.origin + "/prometheus/federate", params={"match[]": matcher}, headers=served.headers(key)
        )
        assert 'workspace_id="default"' not in federated.text
    assert "monitor_tsdb_series" not in get(served, "/metadata", key).json()["data"]
    for path in ("/targets", "/rules", "/alerts", "/alertmanagers", "/targets/metadata", "/status/config"):
        answer = get(served, path, key)
        assert answer.status_code == 200, path
        assert "http" not in answer.text
    for path in ("/status/tsdb", "/status/flags", "/status/runtimeinfo"):
        assert get(served, path, key).status_code == 403, path
    assert get(served, "/notifications", key).json()["data"] == []
    assert get(served, "/status/tsdb", served.admin_key).status_code == 200
    assert get(served, "/status/buildinfo", key).json()["data"]["version"].startswith("2.")
    assert httpx.get(served.origin + "/prometheus/-/healthy", headers=served.headers(key)).status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "..%2f..%2fquery%3fquery%3dup%23",
        "a%0d%0aX-Scope-OrgID:%20x%0d%0a",
        "a%20b",
        "a%3fmatch[]=up",
        "%00",
        "workspace_id%23",
        ".",
    ],
)
def test_a_label_s_name_is_only_a_name(far: tuple[Served, str], name: str) -> None:
    """It cannot become another path, another parameter or another header of the request that is sent on."""
    served, _ = far
    host = served.origin.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=30)
    connection.putrequest("GET", f"{API}/label/{name}/values", skip_host=False)
    connection.putheader("Authorization", f"Bearer {served.other}")  # type: ignore[attr-defined]
    connection.endheaders()
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert answer.status in (200, 400, 404), text
    assert "default" not in text
    assert answer.status != 200 or json.loads(text)["data"] == []


@pytest.mark.parametrize(("path", "parameters", "status", "kind", "text"), REFUSALS)
def test_refusals(
    far: tuple[Served, str], path: str, parameters: dict[str, Any], status: int, kind: str, text: str
) -> None:
    """A workspace hears the other server's words, or ours where its query could not be read."""
    served, _ = far
    if any(word in text or word in str(parameters) for word in OTHERWISE):
        return
    answer = httpx.get(served.origin + API + path, params=parameters, headers=served.headers(served.other), timeout=30)  # type: ignore[attr-defined]
    assert (answer.status_code, answer.json()["status"], answer.json()["errorType"]) == (status, "error", kind), (
        answer.text
    )


def test_writes_go_the_same_way(far: tuple[Served, str]) -> None:
    """What a script pushes is forwarded, and seen from there."""
    served, _ = far
    url = f"{served.origin}/prometheus/metrics/job/backup"
    assert httpx.put(url, content="backup_level 5\n", headers=served.headers()).status_code == 200
    wait_for(lambda: [one["value"][1] for one in ask(served, "backup_level", served.key)] == ["5"], 30)
    assert ask(served, "backup_level", served.other) == []  # type: ignore[attr-defined]


def test_a_server_that_does_not_answer(make_installation: Any) -> None:
    """503 in Prometheus' envelope; calls to models are answered all the same."""
    installation = make_installation(
        f'[monitor]\nurl = "http://127.0.0.1:{free_port()}"\nremote_token = "very-secret"\n'
    )
    installation.start()
    served = Served(installation)
    answer = get(served, "/query", served.key, query="up")
    assert (answer.status_code, answer.json()["errorType"]) == (503, "unavailable")
    assert get(served, "/format_query", served.key, query="sum(up)by(a)").json()["data"] == "sum by (a) (up)"
    shown = installation.cli("config", "show").stdout
    assert "very-secret" not in shown
    assert "very-secret" not in installation.log_text()


def test_the_receiver_is_away_for_a_while(far: tuple[Served, str], tmp_path: Path, vendor: Vendor) -> None:
    """What came meanwhile is sent when it is back, also when the monitor was killed in between."""
    import os
    import signal

    port = free_port()
    config = (
        vendor_config(vendor)
        + f"""
[monitor]
scrape_interval_s = 0.5
[monitor.remote_write.there]
url = "http://127.0.0.1:{port}/api/v1/write"
"""
    )
    (tmp_path / "installation").mkdir()
    with Installation(tmp_path / "installation", config) as installation:
        served = Served(installation)
        time.sleep(6)
        began = time.time()
        monitor = installation.child("monitor")
        os.kill(monitor, signal.SIGKILL)
        wait_for(lambda: len(ask(served, "up[10m]", served.admin_key)[0]["values"]) > 15)
        with run_prometheus(
            tmp_path / "late", "global: {}\n", "--web.enable-remote-write-receiver", port=port
        ) as there:

            def early() -> int:
                answer = httpx.get(f"{there}/api/v1/query", params={"query": "up[10m]"}).json()["data"]["result"]
                return sum(float(at) < began for at, _ in answer[0]["values"]) if answer else 0

            wait_for(lambda: early() > 3, 60)
