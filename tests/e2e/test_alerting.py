"""Rules and alerts as an operator uses them: a real Alertmanager, robots, reloads, restarts, starters and dashboards."""

import base64
import hashlib
import hmac
import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from debian import fetch, find
from installation import Installation, Served, Vendor, vendor_config
from real_prometheus import run_alertmanager, wait_for

API = "/prometheus/api/v1"
RULES = """
groups:
- name: shelf
  interval: 1s
  rules:
  - record: job:shelf:sum
    expr: sum by (job) (shelf)
  - alert: ShelfIsFull
    expr: job:shelf:sum > 10
    for: 1s
    labels: {severity: error}
    annotations: {summary: '{{ $labels.job }} holds {{ $value }}'}
"""


class Robot(BaseHTTPRequestHandler):
    """Takes what webhooks are told."""

    got: ClassVar[list[tuple[str, dict[str, str], bytes]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Robot.got.append((self.path, dict(self.headers.items()), body))
        self.send_response(200)
        self.send_header("Content-Length", "13")
        self.end_headers()
        self.wfile.write(b'{"errcode":0}')

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def robot() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Robot)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def alerting(
    tmp_path_factory: pytest.TempPathFactory, vendor: Vendor, robot: str
) -> Iterator[tuple[Served, str, Path]]:
    place = tmp_path_factory.mktemp("alerting")
    rules = place / "rules"
    rules.mkdir()
    (rules / "all.yml").write_text(RULES)
    (rules / "own.yml").write_text(RULES.replace("ShelfIsFull", "OwnShelfIsFull"))
    routes = "route: {receiver: none}\nreceivers: [{name: none}]\n"
    with run_alertmanager(place / "alertmanager", routes) as manager:
        config = (
            vendor_config(vendor)
            + f"""
[monitor]
scrape_interval_s = 0.5
alertmanagers = ["{manager}"]
external_labels = {{ region = "cn-beijing" }}

[monitor.rules.all]
files = ["{rules}/all*.yml"]

[monitor.rules.own]
files = ["{rules}/own.yml"]
workspace = "other"

[monitor.webhooks.generic]
url = "{robot}/generic"
secret = "whsec_{base64.b64encode(b"s" * 24).decode()}"

[monitor.webhooks.ding]
url = "{robot}/ding?access_token=very-secret-token"
kind = "dingtalk"
secret = "SECding"
lang = "zh"

[monitor.webhooks.quiet]
url = "{robot}/quiet"
severities = ["critical"]
"""
        )
        with Installation(tmp_path_factory.mktemp("alerting-data"), config) as installation:
            served = Served(installation)
            installation.cli("workspaces", "create", "other")
            installation.cli("activate", "--workspace", "other")
            yield served, manager, rules


def ask(served: Served, path: str, key: str | None = None, **parameters: Any) -> Any:
    headers = served.headers(key or served.admin_key)
    answer = httpx.get(served.origin + API + path, params=parameters, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def push(served: Served, key: str, value: float) -> None:
    url = f"{served.origin}/prometheus/metrics/job/shop"
    assert httpx.put(url, content=f"shelf {value}\n", headers=served.headers(key)).status_code == 200


def told(path: str) -> list[Any]:
    return [json.loads(body) for one, _, body in Robot.got if one.startswith(path)]


def test_an_alert_reaches_all(alerting: tuple[Served, str, Path]) -> None:
    """Pending, firing, told to a real Alertmanager and to robots, over, told of that too."""
    served, manager, _ = alerting
    push(served, served.key, 12)
    wait_for(lambda: [one["state"] for one in ask(served, "/alerts")["alerts"]] == ["firing"])
    (alert,) = ask(served, "/alerts")["alerts"]
    assert alert["labels"] == {"alertname": "ShelfIsFull", "job": "shop", "severity": "error"}
    assert (alert["annotations"], alert["value"]) == ({"summary": "shop holds 12"}, "1.2e+01")
    assert [one["metric"]["alertstate"] for one in ask(served, "/query", query="ALERTS")["result"]] == ["firing"]
    wait_for(lambda: httpx.get(f"{manager}/api/v2/alerts").json())
    (there,) = httpx.get(f"{manager}/api/v2/alerts").json()
    assert there["labels"] == {**alert["labels"], "region": "cn-beijing"}
    assert there["status"]["state"] == "active"
    assert [one["url"] for one in ask(served, "/alertmanagers")["activeAlertmanagers"]] == [f"{manager}/api/v2/alerts"]

    wait_for(lambda: told("/generic") and told("/ding"))
    (body,) = told("/generic")
    assert (body["version"], body["status"], body["alerts"][0]["annotations"]) == (
        "4",
        "firing",
        {"summary": "shop holds 12"},
    )
    path, headers, raw = next(one for one in Robot.got if one[0].startswith("/generic"))
    low = {name.lower(): value for name, value in headers.items()}
    text = f"{low['webhook-id']}.{low['webhook-timestamp']}.".encode() + raw
    wanted = base64.b64encode(hmac.new(b"s" * 24, text, hashlib.sha256).digest()).decode()
    assert low["webhook-signature"] == f"v1,{wanted}"
    path = next(one[0] for one in Robot.got if one[0].startswith("/ding"))
    query = parse_qs(urlsplit(path).query)
    digest = hmac.new(b"SECding", f"{query['timestamp'][0]}\nSECding".encode(), hashlib.sha256).digest()
    assert (query["access_token"], base64.b64decode(query["sign"][0])) == (["very-secret-token"], digest)
    assert "shop holds 12" in told("/ding")[0]["markdown"]["text"]

    # the monitor dies while it fires: nobody is told anew, and its end is told
    monitor = served.installation.child("monitor")
    os.kill(monitor, signal.SIGKILL)
    wait_for(lambda: [one["state"] for one in ask(served, "/alerts")["alerts"]] == ["firing"])
    time.sleep(2)
    assert len(told("/generic")) == 1
    push(served, served.key, 1)
    wait_for(lambda: [one["status"] for one in told("/generic")] == ["firing", "resolved"])
    wait_for(lambda: not httpx.get(f"{manager}/api/v2/alerts").json(), 30)
    assert "已恢复" in told("/ding")[-1]["markdown"]["text"]
    assert told("/quiet") == []
    assert "very-secret-token" not in served.installation.log_text()


def test_federation_bears_the_external_labels(alerting: tuple[Served, str, Path]) -> None:
    """What leaves says where it is from; the own store does not."""
    served, _, _ = alerting
    headers = served.headers(served.admin_key)
    wait_for(
        lambda: (
            'job="steelyard"'
            in httpx.get(served.origin + "/prometheus/federate", params={"match[]": "up"}, headers=headers).text
        )
    )
    text = httpx.get(served.origin + "/prometheus/federate", params={"match[]": "up"}, headers=headers).text
    assert 'region="cn-beijing"' in text
    assert "region" not in ask(served, "/query", query="up")["result"][0]["metric"]


def test_rules_are_shown(alerting: tuple[Served, str, Path]) -> None:
    """In the form that Grafana reads; filtered; in pages; an admin sees all, a workspace its own."""
    served, _, rules = alerting
    wait_for(
        lambda: (
            [one["health"] for one in ask(served, "/rules", **{"rule_name[]": "ShelfIsFull"})["groups"][0]["rules"]]
            == ["ok"]
        )
    )
    groups = ask(served, "/rules")["groups"]
    assert [one["name"] for one in groups] == ["steelyard-rates", "steelyard-alerts", "shelf", "shelf"]
    shelf = groups[2]
    assert (shelf["file"], shelf["interval"]) == (str(rules / "all.yml"), 1)
    assert [one["type"] for one in shelf["rules"]] == ["recording", "alerting"]
    assert {"state", "duration", "keepFiringFor", "annotations", "alerts"} <= shelf["rules"][1].keys()
    found = ask(served, "/rules", type="record", **{"rule_group[]": "shelf"})["groups"]
    assert [[rule["name"] for rule in one["rules"]] for one in found] == [["job:shelf:sum"]] * 2
    by_label = ask(served, "/rules", **{"match[]": '{severity="warning"}'})["groups"]
    assert {one["name"] for one in by_label} == {"steelyard-alerts"}
    first = ask(served, "/rules", group_limit=2)
    assert len(first["groups"]) == 2
    second = ask(served, "/rules", group_limit=2, group_next_token=first["groupNextToken"])
    assert [one["name"] for one in second["groups"]] == ["shelf", "shelf"]
    assert "groupNextToken" not in second
    own = served.installation.create_key("--workspace", "other", name="other")["key"]
    assert [(one["file"], one["name"]) for one in ask(served, "/rules", own)["groups"]] == [
        (str(rules / "own.yml"), "shelf")
    ]
    assert ask(served, "/rules", served.key)["groups"] == []
    assert ask(served, "/alertmanagers", own)["activeAlertmanagers"] == []
    for parameters, text in (
        ({"type": "zz"}, "not supported value"),
        ({"exclude_alerts": "x"}, "ParseBool"),
        ({"group_next_token": "x"}, "group_limit needs to be set"),
        ({"group_limit": "1", "group_next_token": "x"}, "invalid group_next_token"),
        ({"match[]": "{"}, "parse error"),
    ):
        answer = httpx.get(served.origin + API + "/rules", params=parameters, headers=served.headers(served.admin_key))
        assert (answer.status_code, text in answer.json()["error"]) == (400, True), answer.text


def test_a_workspace_s_rules_are_its_own(alerting: tuple[Served, str, Path]) -> None:
    """Its rules see its series, and what they make is seen by nobody else but admins."""
    served, _, _ = alerting
    own = served.installation.create_key("--workspace", "other", name="other-2")["key"]
    push(served, own, 50)
    wait_for(
        lambda: [one["labels"]["alertname"] for one in ask(served, "/alerts", own)["alerts"]] == ["OwnShelfIsFull"]
    )
    assert [one["metric"]["workspace_id"] for one in ask(served, "/query", own, query="job:shelf:sum")["result"]] == [
        "other"
    ]
    assert ask(served, "/query", served.key, query='ALERTS{alertname="OwnShelfIsFull"}')["result"] == []
    assert ask(served, "/alerts", served.key)["alerts"] == []
    push(served, own, 0)
    wait_for(lambda: ask(served, "/alerts", own)["alerts"] == [])


def test_reload(alerting: tuple[Served, str, Path]) -> None:
    """Faults are told all at once and change nothing; good files take effect at once, for admins alone."""
    served, _, rules = alerting
    reload = served.origin + "/prometheus/-/reload"
    assert httpx.post(reload, headers=served.headers()).status_code == 403
    extra = rules / "all-more.yml"
    extra.write_text(
        "groups:\n- name: more\n  rules:\n  - record: x\n    expr: rate(up)\n  - alert: y\n    expr: up\n    for: soon\n"
    )
    answer = httpx.post(reload, headers=served.headers(served.admin_key))
    assert answer.status_code == 500
    assert "rate" in answer.text
    assert "soon" in answer.text
    assert len(ask(served, "/rules")["groups"]) == 4
    started = served.installation.cli("config", "check", check=False)
    assert started.returncode != 0
    assert "all-more.yml:5" in started.stderr
    extra.write_text("groups: [{name: more, interval: 1s, rules: [{record: 'more:up', expr: up}]}]")
    assert httpx.post(reload, headers=served.headers(served.admin_key)).status_code == 200
    wait_for(lambda: ask(served, "/query", query="more:up")["result"])
    extra.unlink()
    assert httpx.put(reload, headers=served.headers(served.admin_key)).status_code == 200
    assert ask(served, "/query", query="more:up")["result"] == []
    assert len(ask(served, "/rules")["groups"]) == 4


def test_a_faulty_rule_file_keeps_the_server_from_starting(make_installation: Any, tmp_path: Path) -> None:
    """With all faults in one sentence, before any process starts."""
    bad = tmp_path / "bad.yml"
    bad.write_text("groups: [{name: a, rules: [{record: x, expr: 'rate(up)'}, {alert: y, expr: ''}]}]")
    installation = make_installation(f'[monitor.rules.a]\nfiles = ["{bad}", "{tmp_path}/none.yml"]\n')
    done = installation.cli("config", "check", check=False)
    assert done.returncode != 0
    for text in ("expected type range vector", "'expr' is missing", "there is no file"):
        assert text in done.stderr


def test_starters(alerting: tuple[Served, str, Path], tmp_path: Path) -> None:
    """`monitor init` writes them, promtool likes the rules, and every panel's query of every dashboard is answered."""
    served, _, _ = alerting
    done = served.installation.cli("monitor", "init", str(tmp_path / "m"), "--url", served.origin, "--lang", "zh")
    assert "ready_rules = false" in done.stdout
    again = served.installation.cli("monitor", "init", str(tmp_path / "m"), check=False)
    assert "--force" in again.stderr
    rules = tmp_path / "m/rules/steelyard.yml"
    assert "good" in served.installation.cli("rules", "check", str(rules)).stdout
    fetch("prometheus")
    import subprocess

    checked = subprocess.run(
        [str(find("prometheus", "promtool")), "check", "rules", str(rules)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    bad = served.installation.cli("rules", "check", str(rules), "/nowhere.yml", check=False)
    assert bad.returncode == 1
    assert "/nowhere.yml" in bad.stderr
    chat = {"model": "fake", "messages": [{"role": "user", "content": "hi"}]}
    httpx.post(served.origin + "/v1/chat/completions", json=chat, headers=served.headers(), timeout=30)
    queries = 0
    for path in sorted((tmp_path / "m/grafana/dashboards").glob("*.json")):
        dashboard = json.loads(path.read_text())
        assert dashboard["uid"] == path.stem
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                query = target["expr"].replace("$__rate_interval", "1m").replace("$workspace", ".*")
                now = time.time()
                ask(served, "/query_range", query=query, start=now - 60, end=now, step=15)
                queries += 1
                for name in re.findall(r"\b(?:llm|task|monitor|gateway)_\w+", query):
                    plain = re.sub("_(bucket|sum|count)$", "", name)
                    reference = Path(__file__).parent.parent.parent / "docs/reference/metrics.md"
                    assert f"`{plain}`" in reference.read_text(), name
    assert queries > 25
    source = (tmp_path / "m/grafana/provisioning/datasources/steelyard.yml").read_text()
    assert f"url: {served.origin}/prometheus" in source
