"""Prometheus' HTTP API as its clients call it: keys, workspaces, error texts, Grafana's calls, promtool, kill -9."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from debian import fetch, find
from installation import ROOT, Installation, Served, Vendor, vendor_config

HI = [{"role": "user", "content": "hi"}]
API = "/prometheus/api/v1"
#: Queries that try to see beyond a workspace, each of which sees everything where an admin asks.
TRICKS = (
    "llm_requests_total",
    '{__name__=~".+"}',
    '{__name__=~"llm_.*|up"}',
    'llm_requests_total{workspace_id="default"}',
    'llm_requests_total{workspace_id=~".*"}',
    'llm_requests_total{workspace_id!="other"}',
    'llm_requests_total{workspace_id!~"other"}',
    'llm_requests_total{workspace_id="other"} or llm_requests_total{workspace_id="default"}',
    'llm_requests_total{job="steelyard",workspace_id="default"} offset 1ms',
    'max_over_time(llm_requests_total{workspace_id="default"}[5m])',
    'max_over_time((llm_requests_total{workspace_id="default"})[5m:1s])',
    'label_replace(llm_requests_total{workspace_id="default"}, "workspace_id", "other", "", "")',
    'count_values("workspace_id", llm_requests_total{workspace_id="default"})',
    'topk(100, {__name__=~"llm_.*", workspace_id="default"})',
    'absent(llm_requests_total{workspace_id="default"}) == 0 or llm_requests_total{workspace_id="default"}',
    'llm_requests_total * on() group_left() vector(1) or up',
    "up",
)  # fmt: skip
#: (path, parameters) -> (status, kind, text), as Prometheus words it.
REFUSALS: tuple[tuple[str, dict[str, Any], int, str, str], ...] = (
    ("/query", {}, 400, "bad_data", 'invalid parameter "query": 1:1: parse error: no expression found in input'),
    ("/query", {"query": "rate(up)"}, 400, "bad_data", 'expected type range vector in call to function "rate", got instant vector'),
    ("/query", {"query": "foo(up)"}, 400, "bad_data", 'unknown function with name "foo"'),
    ("/query", {"query": '{a=~".*"}'}, 400, "bad_data", "vector selector must contain at least one non-empty matcher"),
    ("/query", {"query": "up", "time": "abc"}, 400, "bad_data", "invalid parameter \"time\": Invalid time value for 'time': cannot parse \"abc\" to a valid timestamp"),
    ("/query", {"query": "up", "time": "1e400"}, 400, "bad_data", "to a valid timestamp"),
    ("/query", {"query": "up", "limit": "x"}, 400, "bad_data", 'invalid parameter "limit"'),
    ("/query_range", {"query": "up", "start": "1", "end": "2"}, 400, "bad_data", 'invalid parameter "step": cannot parse "" to a valid duration'),
    ("/query_range", {"query": "up", "start": "1", "end": "2", "step": "0"}, 400, "bad_data", "zero or negative query resolution step widths are not accepted"),
    ("/query_range", {"query": "up", "start": "1", "end": "2", "step": "0.0001"}, 400, "bad_data", "zero or negative query resolution"),
    ("/query_range", {"query": "up", "start": "2", "end": "1", "step": "1"}, 400, "bad_data", 'invalid parameter "end": end timestamp must not be before start time'),
    ("/query_range", {"query": "up", "start": "0", "end": "11001", "step": "1"}, 400, "bad_data", "exceeded maximum resolution of 11,000 points per timeseries"),
    ("/query_range", {"query": "up[5m]", "start": "0", "end": "1", "step": "1"}, 400, "bad_data", 'invalid expression type "range vector" for range query'),
    ("/query_range", {"query": '"s"', "start": "0", "end": "1", "step": "1"}, 400, "bad_data", 'invalid expression type "string" for range query'),
    ("/series", {}, 400, "bad_data", "no match[] parameter provided"),
    ("/series", {"match[]": "{}"}, 400, "bad_data", 'invalid parameter "match[]": match[] must contain at least one non-empty matcher'),
    ("/series", {"match[]": "rate(up[5m])"}, 400, "bad_data", 'invalid parameter "match[]"'),
    ("/rules", {"type": "zz"}, 400, "bad_data", 'invalid parameter "type": not supported value "zz"'),
    ("/metadata", {"limit": "x"}, 400, "bad_data", "limit must be a number"),
    ("/query", {"query": "llm_requests_total * on() llm_requests_total"}, 422, "execution", "many-to-many matching not allowed"),
    ("/query", {"query": "up", "timeout": "0"}, 503, "timeout", "query timed out"),
    ("/query", {"query": "(" * 5000 + "1" + ")" * 5000}, 400, "bad_data", "parse error"),
)  # fmt: skip


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, vendor: Vendor) -> Iterator[Served]:
    """A server that looks at itself often, with calls of two workspaces."""
    config = vendor_config(vendor) + "\n[monitor]\nscrape_interval_s = 0.5\n"
    with Installation(tmp_path_factory.mktemp("watched"), config) as installation:
        served = Served(installation)
        installation.cli("workspaces", "create", "other")
        installation.cli("activate", "--workspace", "other")
        for key in (served.key, other_key(served)):
            for _ in range(3):
                call(served, key)
        # the other one has calls that the first has not
        call(served, other_key(served), "priced")
        wait_for(lambda: len(ask(served, "llm_requests_total")) >= 3)
        yield served


def call(served: Served, key: str, model: str = "fake") -> None:
    body = {"model": model, "messages": HI}
    httpx.post(served.origin + "/v1/chat/completions", json=body, headers=served.headers(key), timeout=30)


_other: dict[int, str] = {}


def other_key(served: Served) -> str:
    if id(served) not in _other:
        _other[id(served)] = served.installation.create_key("--workspace", "other", name="other")["key"]
    return _other[id(served)]


def get(served: Served, path: str, key: str | None = None, **parameters: Any) -> httpx.Response:
    told = {{"match": "match[]"}.get(name, name): value for name, value in parameters.items()}
    return httpx.get(
        served.origin + API + path, params=told, headers=served.headers(key or served.admin_key), timeout=30
    )


def ask(served: Served, query: str, key: str | None = None) -> list[dict[str, Any]]:
    answer = get(served, "/query", key, query=query)
    assert answer.status_code == 200, answer.text
    result: list[dict[str, Any]] = answer.json()["data"]["result"]
    return result


def wait_for(is_so: Callable[[], object], within_s: float = 20) -> None:
    give_up_at = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < give_up_at, "it did not come"
        time.sleep(0.2)


def test_basic_bearer_and_form(watched: Served) -> None:
    """A platform key in every way that Grafana can send it."""
    url, form = watched.origin + API + "/query", {"query": "count(llm_requests_total)"}
    ways: tuple[dict[str, Any], ...] = (
        {"auth": ("", watched.key)},
        {"auth": ("any", watched.key)},
        {"auth": (watched.key, "")},
        {"headers": {"Authorization": f"Bearer {watched.key}"}},
        {"headers": {"x-api-key": watched.key}},
    )
    for way in ways:
        for answer in (httpx.post(url, data=form, **way), httpx.get(url, params=form, **way)):
            assert (answer.status_code, answer.json()["status"]) == (200, "success"), answer.text
    refused = httpx.get(url, params=form, auth=("", "sk-" + "0" * 48))
    assert (refused.status_code, refused.json()["errorType"]) == (401, "unauthorized")
    assert refused.headers["www-authenticate"].startswith("Basic")
    assert httpx.get(url, params=form).status_code == 401


def test_an_admin_sees_everything(watched: Served) -> None:
    """The platform's own targets, and every workspace."""
    assert [one["value"][1] for one in ask(watched, 'up{job="steelyard"}')] == ["1"]
    seen = {one["metric"].get("workspace_id") for one in ask(watched, "llm_requests_total")}
    assert seen >= {"default", "other"}
    targets = get(watched, "/targets").json()["data"]["activeTargets"]
    assert [(one["labels"]["job"], one["health"], one["lastError"]) for one in targets] == [("steelyard", "up", "")]


@pytest.mark.parametrize("query", TRICKS)
def test_no_query_sees_another_workspace(watched: Served, query: str) -> None:
    """Whatever is asked, the answer is what it were if the other workspaces did not exist."""
    assert ask(watched, query), "an admin must see something, or this shows nothing"
    key = other_key(watched)
    own = {tuple(sorted(one["metric"].items())) for one in ask(watched, '{__name__=~".+",workspace_id="other"}', key)}
    assert own
    known = {value for pairs in own for _, value in pairs}
    for found in ask(watched, query, key):
        assert set(found["metric"].values()) <= known | {"other"}, found
        assert found["metric"].get("workspace_id", "other") == "other"
    now = time.time()
    ranged = get(watched, "/query_range", key, query=query, start=now - 60, end=now, step=5).json()["data"]["result"]
    assert all(found["metric"].get("workspace_id", "other") == "other" for found in ranged)


def test_no_list_tells_of_another_workspace(watched: Served) -> None:
    """Labels, values, series, metadata, statistics, federation."""
    key, default = other_key(watched), watched.key
    for matcher in ('{workspace_id="default"}', '{workspace_id=~"default|other"}', '{__name__=~".+"}', "up"):
        series = get(watched, "/series", key, match=matcher).json()["data"]
        assert all(one["workspace_id"] == "other" for one in series)
        text = httpx.get(
            watched.origin + "/prometheus/federate", params={"match[]": matcher}, headers=watched.headers(key)
        ).text
        assert 'workspace_id="default"' not in text
        assert "\nup{" not in text
    assert get(watched, "/label/workspace_id/values", key).json()["data"] == ["other"]
    assert get(watched, "/label/workspace_id/values").json()["data"] == ["default", "other"]
    # a model that only the other one called
    assert "priced" in get(watched, "/label/model/values", key).json()["data"]
    assert "priced" not in get(watched, "/label/model/values", default).json()["data"]
    assert "monitor_tsdb_series" not in get(watched, "/metadata", key).json()["data"]
    assert get(watched, "/targets", key).json()["data"]["activeTargets"] == []
    pairs = get(watched, "/status/tsdb", key, limit=1000).json()["data"]["seriesCountByLabelValuePair"]
    assert not [one for one in pairs if one["name"] == "workspace_id=default"]


@pytest.mark.parametrize(("path", "parameters", "status", "kind", "text"), REFUSALS)
def test_refusals_in_prometheus_own_words(
    watched: Served, path: str, parameters: dict[str, Any], status: int, kind: str, text: str
) -> None:
    """Status, kind and text; clients show them."""
    answer = httpx.get(
        watched.origin + API + path, params=parameters, headers=watched.headers(watched.admin_key), timeout=30
    )
    body = answer.json()
    assert (answer.status_code, body["status"], body["errorType"]) == (status, "error", kind), body
    assert text in body["error"]


def test_the_calls_of_grafana(watched: Served) -> None:
    """Save & test, explore, panels, alerting pages: each answers in the form that the data source reads."""
    scalar = get(watched, "/query", query="1+1", time="4").json()
    assert scalar == {"status": "success", "data": {"resultType": "scalar", "result": [4, "2"]}}
    info = get(watched, "/status/buildinfo").json()["data"]
    assert info["version"].startswith("3.")
    assert "features" not in info
    now = time.time()
    names = get(watched, "/label/__name__/values", start=now - 3600, end=now, limit=40000).json()["data"]
    assert {"up", "llm_requests_total", "llm_request_duration_seconds_bucket"} <= set(names)
    posted = httpx.post(
        watched.origin + API + "/labels",
        data={"start": now - 60, "end": now},
        headers=watched.headers(watched.admin_key),
    )
    assert "model" in posted.json()["data"]
    assert get(watched, "/metadata", limit=1000).json()["data"]["llm_requests_total"][0]["type"] == "counter"
    groups = get(watched, "/rules").json()["data"]["groups"]
    assert [one["name"] for one in groups] == ["steelyard-rates", "steelyard-alerts"]
    assert get(watched, "/rules", watched.key).json()["data"] == {"groups": []}
    assert get(watched, "/alerts").json()["data"] == {"alerts": []}
    assert get(watched, "/query_exemplars", query="up", start=now - 60, end=now).json()["data"] == []
    assert get(watched, "/label/U__http_2e_code/values").json()["data"] == []
    panel = get(
        watched,
        "/query_range",
        query="sum by (model) (rate(llm_requests_total[1m]))",
        start=now - 60,
        end=now,
        step=0.5,
    )
    assert panel.json()["data"]["resultType"] == "matrix"
    shown = get(watched, "/query", query="up", stats="all").json()["data"]
    assert shown["stats"]["samples"]["totalQueryableSamples"] >= 1
    gzipped = get(watched, "/labels", match='{__name__=~".+"}')
    assert gzipped.status_code == 200
    told = get(watched, "/targets/metadata", match_target='{job="steelyard"}', metric="llm_requests_total")
    assert [one["type"] for one in told.json()["data"]] == ["counter"]
    assert get(watched, "/targets/metadata", match_target='{job="other"}').json()["data"] == []
    plain = httpx.get(watched.origin + "/prometheus/nope", headers=watched.headers())
    assert (plain.status_code, plain.text) == (404, "404 page not found\n")


def test_pages_of_other_origins(watched: Served) -> None:
    """A browser asks without a key whether it may; answers say so, refusals too."""
    url = watched.origin + API + "/query"
    asked = httpx.options(url, headers={"Origin": "http://page", "Access-Control-Request-Method": "GET"})
    assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (204, "*")
    assert "Authorization" in asked.headers["access-control-allow-headers"]
    answered = httpx.get(url, params={"query": "1"}, headers=watched.headers())
    assert answered.headers["access-control-allow-origin"] == "*"
    assert httpx.get(url, params={"query": "1"}).headers["access-control-allow-origin"] == "*"
    off = httpx.post(watched.origin + API + "/admin/tsdb/snapshot", headers=watched.headers(watched.admin_key))
    assert (off.status_code, off.json()["errorType"], off.json()["error"]) == (
        500,
        "unavailable",
        "admin APIs disabled",
    )


def test_promtool(watched: Served) -> None:
    """The real client, and its opinion of our exposition."""
    fetch("prometheus")
    program = find("prometheus", "promtool")
    assert program is not None
    url = f"http://any:{watched.admin_key}@{watched.origin.removeprefix('http://')}/prometheus"
    now = int(time.time())
    wishes = (
        (["query", "instant", url, "up"], "up{"),
        (["query", "range", f"--start={now - 5}", f"--end={now}", "--step=1s", url, "sum(llm_requests_total)"], "@["),
        (["query", "series", "--match=llm_requests_total", url], "llm_requests_total"),
        (["query", "labels", url, "workspace_id"], "other"),
    )
    for words, text in wishes:
        done = subprocess.run([program, *words], capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 0, done.stderr
        assert text in done.stdout
    exposition = httpx.get(watched.origin + "/metrics", headers=watched.headers(watched.admin_key)).text
    done = subprocess.run(
        [program, "check", "metrics"], input=exposition, capture_output=True, text=True, check=False, timeout=30
    )
    assert "error" not in done.stderr.lower(), done.stderr


@pytest.mark.parametrize("page", ["prometheus.md", "prometheus.zh-CN.md"])
def test_every_query_of_the_guide(watched: Served, page: str) -> None:
    """Each is answered, and asks for metrics that there are."""
    text = (ROOT / "docs/guides" / page).read_text(encoding="utf-8")
    reference = (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")
    queries = re.findall(r"```promql\n(.+?)\n```", text, re.DOTALL)
    assert len(queries) >= 15
    for query in queries:
        ask(watched, query, watched.key)
        ask(watched, query)
        for name in re.findall(r"\b(?:llm|task|monitor)_\w+", query):
            assert f"`{re.sub('_(bucket|sum|count)$', '', name)}`" in reference, name


def test_our_own_client(watched: Served) -> None:
    """`steelyard promql` at our own address."""
    shown = watched.installation.cli(
        "promql", "sum(llm_requests_total)", "--url", watched.origin + "/prometheus", "--api-key", watched.admin_key
    )
    assert shown.stdout.strip()
    profiles = watched.installation.directory / "profiles"
    environment = {"STEELYARD_PROFILES": str(profiles)}
    cli = watched.installation.cli
    added = ("profile", "add", "here", "--base-url", watched.origin + "/v1", "--api-key", watched.key)
    cli(*added, **environment)
    cli("profile", "use", "here", **environment)
    by_profile = cli("promql", "count(llm_requests_total)", **environment)
    assert by_profile.stdout.split()[-1].isdigit()


def test_killed_monitor_comes_back_with_what_it_had(watched: Served) -> None:
    """Samples that are a second old survive kill -9, and calls are answered meanwhile."""
    time.sleep(1.5)
    before = len(get(watched, "/query", query="up[1h]").json()["data"]["result"][0]["values"])
    monitor = watched.installation.child("monitor")
    os.kill(monitor, signal.SIGKILL)
    call(watched, watched.key)
    after = get(watched, "/query", query="up[1h]")
    assert after.status_code == 200, after.text
    assert len(after.json()["data"]["result"][0]["values"]) >= before - 1


#: (method, path, body, headers) -> (status, text)
PUSHES: tuple[tuple[str, str, bytes, dict[str, str], int, str], ...] = (
    ("PUT", "job/a", b"shelf 1\n", {}, 200, ""),
    ("POST", "job/a/b/c%2Fd", b"shelf 1\n", {}, 200, ""),
    ("PUT", "job@base64/YS9i", b"shelf 1\n", {}, 200, ""),
    ("PUT", "job/a/empty@base64/=", b"shelf 1\n", {}, 200, ""),
    ("PUT", "job/a/none/x", b"", {}, 200, ""),
    ("DELETE", "job/never-pushed", b"", {}, 202, ""),
    ("PUT", "job/a", b"shelf 1 1795350629000\n", {}, 400, "must not have timestamps"),
    ("PUT", "job/a", b"shelf one\n", {}, 400, "line 1"),
    ("PUT", "job/a", b"\xff\xfe", {}, 400, "UTF-8"),
    ("PUT", "job/a", b"shelf 1\nshelf 2\n", {}, 400, "twice"),
    ("PUT", "job/a", b"llm_requests_total 1\n", {}, 400, "platform's own"),
    ("PUT", "job/steelyard", b"ALERTS 1\n", {}, 400, "platform's own"),
    ("PUT", "job/steelyard", b"up 1\n", {}, 400, "platform's own"),
    ("PUT", "job/a", b'shelf{a="' + b"x" * 3000 + b'"} 1\n', {}, 400, "longer than"),
    ("PUT", "job/a", b"".join(b'shelf{n="%d"} 1\n' % n for n in range(20_001)), {}, 400, "20000 are allowed"),
    ("PUT", "job/a/b", b"shelf 1\n", {}, 400, "pairs"),
    ("PUT", "job/", b"shelf 1\n", {}, 400, "job name is required"),
    ("PUT", "other/a", b"shelf 1\n", {}, 400, "/metrics/job/JOB"),
    ("PUT", "job/a/__name__/x", b"shelf 1\n", {}, 400, "no name of a label"),
    ("PUT", "job/a/b/1/b/2", b"shelf 1\n", {}, 400, "twice"),
    ("PUT", "job/a/b@base64/%25%25", b"shelf 1\n", {}, 400, "base64"),
    ("PUT", "job/a", b"\x0a", {"content-type": "application/vnd.google.protobuf"}, 415, "text formats"),
)  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "headers", "status", "text"), PUSHES)
def test_pushes(
    watched: Served, method: str, path: str, body: bytes, headers: dict[str, str], status: int, text: str
) -> None:
    """What is taken, and what is refused with its reason."""
    url = f"{watched.origin}/prometheus/metrics/{path}"
    answer = httpx.request(method, url, content=body, headers=headers | watched.headers(), timeout=30)
    assert answer.status_code == status, answer.text
    assert text in answer.text


def push(served: Served, path: str, body: str, key: str | None = None) -> None:
    url = f"{served.origin}/prometheus/metrics/{path}"
    assert httpx.put(url, content=body, headers=served.headers(key), timeout=30).status_code == 200


def test_a_push_is_its_workspace_s_whatever_it_says(watched: Served) -> None:
    """A label that names another workspace is overwritten; the other one sees nothing, and cannot delete it."""
    push(watched, "job/mine/workspace_id/other", 'secret_level{workspace_id="other"} 1\n')
    assert [one["metric"]["workspace_id"] for one in ask(watched, "secret_level", watched.key)] == ["default"]
    assert ask(watched, "secret_level", other_key(watched)) == []
    url = f"{watched.origin}/prometheus/metrics/job/mine/workspace_id/other"
    assert httpx.delete(url, headers=watched.headers(other_key(watched))).status_code == 202
    assert ask(watched, "secret_level", watched.key)
    refused = httpx.put(url, content="x 1\n", headers=watched.headers("sk-" + "0" * 48))
    assert refused.status_code == 401


def test_what_was_pushed_outlives_the_monitor(watched: Served) -> None:
    """kill -9 right after the answer; the group is there, with its type, and goes on being sampled."""
    push(watched, "job/lasting", "# TYPE lasting gauge\n# HELP lasting How long.\nlasting 42\n")
    monitor = watched.installation.child("monitor")
    os.kill(monitor, signal.SIGKILL)
    wait_for(lambda: [one["value"][1] for one in ask(watched, "lasting", watched.key)] == ["42"])
    wait_for(lambda: len(ask(watched, "lasting[1m]", watched.key)[0]["values"]) >= 3)
    assert get(watched, "/metadata", watched.key, metric="lasting").json()["data"] == {
        "lasting": [{"type": "gauge", "unit": "", "help": "How long."}]
    }
    assert get(watched, "/metadata", other_key(watched), metric="lasting").json()["data"] == {}
