"""Rule files: what is read, and every fault of a file told at once, with its line."""

from pathlib import Path

import pytest

from steelyard.monitor.rules import read_duration_ms, read_files, read_text
from steelyard.monitor.starters import READY_RULES, list_starters, read_starter

GOOD = """
groups:
- name: g
  interval: 30s
  limit: 5
  query_offset: 10s
  labels: {team: a, area: x}
  rules:
  - {record: "job:req:rate5m", expr: 'sum by (job) (rate(req_total[5m]))', labels: {team: b}}
  - alert: HighErrors
    expr: x > 0.1
    for: 5m
    keep_firing_for: 1h30m
    labels: {severity: page}
    annotations: {summary: '{{ $labels.model }} {{ $value | humanize }}'}
- name: empty
"""


def test_a_good_file() -> None:
    found = read_text(GOOD, "f.yml", workspace="w")
    assert found.faults == []
    group, empty = found.groups
    assert (group.name, group.interval_ms, group.limit, group.offset_ms, group.workspace) == (
        "g",
        30_000,
        5,
        10_000,
        "w",
    )
    record, alert = group.rules
    assert (record.record, record.expr, dict(record.labels)) == (
        "job:req:rate5m", "sum by (job) (rate(req_total[5m]))", {"team": "b", "area": "x"},
    )  # fmt: skip
    assert (alert.alert, alert.for_ms, alert.keep_firing_ms) == ("HighErrors", 300_000, 5_400_000)
    assert dict(alert.labels) == {"team": "a", "area": "x", "severity": "page"}
    assert (empty.rules, empty.interval_ms) == ((), 60_000)
    assert read_text("", "f.yml").groups == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("groups: [{name: a, rules: [{record: x}]}]", "f.yml:1: group 'a', rule 1 (x): 'expr' is missing"),
        ("groups: [{name: a, rules: [{expr: x}]}]", "either 'record' or 'alert'"),
        ("groups: [{name: a, rules: [{record: x, alert: y, expr: x}]}]", "either 'record' or 'alert'"),
        ("groups: [{name: a, rules: [{record: 'x y', expr: x}]}]", "no name of a metric"),
        ("groups: [{name: a, rules: [{record: x, expr: 'rate(up)'}]}]", "expected type range vector"),
        ("groups: [{name: a, rules: [{record: x, expr: 'up[5m]'}]}]", "instant vector or a scalar"),
        ("groups: [{name: a, rules: [{record: x, expr: up, for: 5m}]}]", "'for' belongs to alerting rules"),
        ("groups: [{name: a, rules: [{alert: x, expr: up, for: 5x}]}]", "no duration"),
        ("groups: [{name: a, rules: [{alert: x, expr: up, labels: {'1': a}}]}]", "no name of a label"),
        ("groups: [{name: a, rules: [{alert: x, expr: up, labels: {__name__: a}}]}]", "no name of a label"),
        (
            "groups: [{name: a, rules: [{alert: x, expr: up, annotations: {a: '{{ nope }}'}}]}]",
            'function "nope" not defined',
        ),
        ("groups: [{name: a, rules: [{alert: x, expr: up, annotations: {a: [b]}}]}]", "must be a text"),
        ("groups: [{name: a, rules: [{alert: x, expr: up, fro: 5m}]}]", "the field 'fro' is unknown"),
        ("groups: [{name: a, rules: [{record: x, expr: up}, {record: x, expr: up}]}]", "recorded twice"),
        ("groups: [{name: a}, {name: a}]", "group 'a' is there twice"),
        ("groups: [{name: a, interval: 0s}]", "at least 1s"),
        ("groups: [{name: a, limit: x}]", "limit must be a number"),
        ("groups: [{rules: []}]", "a group has no name"),
        ("groups: 5", "groups must be a list"),
        ("group: []", "the field 'group' is unknown"),
        ("groups: [{name: a, name: b}]", "'name' is there twice"),
        ("groups: [", "no YAML"),
        ("- a", "must be a mapping"),
        ("groups: [{name: a, rules: [5]}]", "must be a mapping"),
        ("a: &a [*a]", "unknown"),
        ("{" * 5000, "no YAML"),
    ],
)
def test_faults(text: str, said: str) -> None:
    found = read_text(text, "f.yml")
    assert any(said in one for one in found.faults), found.faults


def test_all_faults_at_once(tmp_path: Path) -> None:
    """Of all files and rules; a file that is not there is one of them."""
    path = tmp_path / "a.yml"
    path.write_text(
        "groups:\n- name: a\n  rules:\n  - record: x\n    expr: rate(up)\n  - alert: y\n    expr: up\n    for: x\n"
    )
    found = read_files([path, tmp_path / "none.yml"])
    assert len(found.faults) == 3
    assert f"{path}:5: group 'a', rule 1 (x): expr: 1:1: parse error" in found.faults[0]
    assert f"{path}:8: group 'a', rule 2 (y): for: 'x' is no duration" in found.faults[1]
    assert "cannot be read" in found.faults[2]


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("5m", 300_000),
        ("1h30m", 5_400_000),
        ("0", 0),
        ("1d", 86_400_000),
        ("", None),
        ("1.5h", None),
        ("5", None),
        ("1m1h", None),
    ],
)
def test_durations(text: str, ms: int | None) -> None:
    assert read_duration_ms(text) == ms


def test_starters_are_good() -> None:
    """The rules that come with the server, and every file that `monitor init` writes."""
    found = read_text(read_starter(READY_RULES), READY_RULES)
    assert found.faults == []
    names = {rule.alert for group in found.groups for rule in group.rules if rule.alert}
    assert {"ManyCallsFail", "FirstTokensAreSlow", "BudgetBurnsFast", "BreakerIsOpen", "TasksWaitLong"} <= names
    assert all(dict(rule.annotations)["summary_zh"] for group in found.groups for rule in group.rules if rule.alert)
    files = list_starters("http://127.0.0.1:8090", "zh")
    assert b"url: http://127.0.0.1:8090/prometheus" in files["grafana/provisioning/datasources/steelyard.yml"]
    assert len([name for name in files if name.endswith(".json")]) == 4
