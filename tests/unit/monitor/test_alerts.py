"""An alert's life on a simulated clock, and what is told of it to whom."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from steelyard.base.metrics import Registry
from steelyard.monitor import notifications
from steelyard.monitor.alerts import FIRING, INACTIVE, PENDING, AlertingRule, RuleFailed
from steelyard.monitor.channels import MESSAGES, Message, Told, make_post, payload_of, refusal_in
from steelyard.monitor.evaluation import Evaluations, next_due_ms
from steelyard.monitor.notifications import Notifier, Webhook
from steelyard.monitor.questions import Questions
from steelyard.monitor.rules import Rule, read_text
from steelyard.monitor.series_store import SeriesStore
from steelyard.promql.labels import Labels, make_labels
from steelyard.promql.parse import parse

START = 1_795_600_000_000
A, B = make_labels({"alertname": "X", "n": "a"}), make_labels({"alertname": "X", "n": "b"})


def rule(for_s: int = 60, keep_s: int = 0) -> AlertingRule:
    return AlertingRule(Rule("", "X", "x", parse("x"), for_ms=for_s * 1000, keep_firing_ms=keep_s * 1000))


def at(one: AlertingRule, second: int, *there: Labels, value: float = 1.0) -> dict[str, str]:
    one.update([(labels, (("summary", str(value)),), value) for labels in there], START + second * 1000)
    return {dict(labels)["n"]: alert.state for labels, alert in one.active.items()}


def test_the_five_transitions() -> None:
    """New is pending; present for long enough fires; gone while pending is removed; gone while firing is resolved; back is new."""
    one = rule()
    assert at(one, 0, A, B) == {"a": PENDING, "b": PENDING}
    assert at(one, 30, A) == {"a": PENDING}
    assert at(one, 60, A, value=2.0) == {"a": FIRING}
    assert (one.active[A].value, one.active[A].fired_at_ms, one.active[A].active_at_ms) == (2.0, START + 60_000, START)
    assert at(one, 90) == {"a": INACTIVE}
    assert one.active[A].resolved_at_ms == START + 90_000
    assert at(one, 120, A) == {"a": PENDING}
    assert one.active[A].active_at_ms == START + 120_000
    assert at(one, 180, A) == {"a": FIRING}
    assert at(one, 200) == {"a": INACTIVE}
    assert at(one, 200 + 901) == {}


def test_keep_firing_for() -> None:
    """An alert that is gone goes on firing for a while; one that comes back in that time never was gone."""
    one = rule(0, 120)
    assert at(one, 0, A) == {"a": FIRING}
    assert at(one, 60) == {"a": FIRING}
    assert one.active[A].keep_since_ms == START + 60_000
    assert at(one, 120, A) == {"a": FIRING}
    assert one.active[A].keep_since_ms == 0
    assert at(one, 180) == {"a": FIRING}
    assert at(one, 299) == {"a": FIRING}
    assert at(one, 300) == {"a": INACTIVE}


def test_faults_change_nothing() -> None:
    """Two elements with the same labels, and too many."""
    one = rule(0)
    at(one, 0, A)
    with pytest.raises(RuleFailed, match="same labelset"):
        one.update([(A, (), 1.0), (A, (), 2.0)], START + 1000)
    with pytest.raises(RuleFailed, match="exceeded limit of 1 with 2 alerts"):
        one.update([(A, (), 1.0), (B, (), 2.0)], START + 1000, 1)
    assert one.active.keys() == {A}


@pytest.mark.parametrize(
    ("began_s", "seen_s", "active_s"),
    [
        # 20 of 60 minutes had passed: 40 are left, and the time asleep does not count
        (-1800, -600, -1800 + 600),
        # it fired when it was last seen
        (-7200, -600, -7200),
        # 5 minutes were left: ten are given
        (-3900, -600, 600 - 3600),
    ],
)
def test_restored(began_s: int, seen_s: int, active_s: int) -> None:
    one = rule(3600)
    at(one, 0, A)
    one.restore({A: START + began_s * 1000}, START, {A: START + seen_s * 1000})
    assert one.active[A].active_at_ms == START + active_s * 1000


def test_due() -> None:
    """Groups are due at multiples of their interval, each at its own place, the same after every start."""
    (group,) = read_text("groups: [{name: a, interval: 30s}]", "f").groups
    due = next_due_ms(group, START)
    assert START < due <= START + 30_000
    assert next_due_ms(group, due) == due + 30_000
    assert next_due_ms(group, due - 1) == due


# the whole of it, with a store


class Receiver:
    """Whoever is told; it may refuse."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], Any]] = []
        self.status = 200
        self.answer = b"{}"

    async def __call__(self, url: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        if self.status == 0:
            raise OSError("refused")
        self.got.append((url, headers, json.loads(body)))
        return self.status, self.answer


RULES = """
groups:
- name: g
  rules:
  - record: double
    expr: level * 2
    labels: {kind: made}
  - alert: High
    expr: double > 10
    for: 20m
    labels: {severity: '{{ if gt $value 100.0 }}critical{{ else }}Warning{{ end }}'}
    annotations: {summary: '{{ $labels.n }} is {{ $value }}', bad: '{{ humanize "x" }}'}
"""


class Bench:
    """A store, its rules and a receiver, on a clock of the test's."""

    def __init__(self, place: Path, *, workspace: str = "", rules: str = RULES) -> None:
        self.store = SeriesStore(place)
        self.questions = Questions(self.store)
        self.told: list[tuple[str, list[Any]]] = []
        found = read_text(rules, "f.yml", workspace=workspace)
        assert not found.faults

        async def notify(_group: Any, one: Rule, alerts: list[Any]) -> None:
            self.told.append((one.alert, [(dict(each.labels), each.state) for each in alerts]))

        self.evaluations = Evaluations(found.groups, self.store, self.questions, notify, Registry())

    async def step(self, second: int, **levels: float) -> None:
        at_ms = START + second * 1000
        labels = tuple(make_labels({"__name__": "level", "n": name, "workspace_id": "w"}) for name in levels)
        self.store.append("scrape:test", labels, at_ms, np.array(list(levels.values())))
        await self.evaluations.evaluate(self.evaluations.groups[0], at_ms)

    def newest(self, selector: str, second: int) -> dict[str, float]:
        from steelyard.promql.engine import query_instant

        value = query_instant(parse(selector), self.store, START + second * 1000).value
        return {str(dict(labels)): float(value.values[row, 0]) for row, labels in enumerate(value.labels)}  # type: ignore[union-attr]

    def close(self) -> None:
        self.questions.close()
        self.store.close()


async def test_recorded_and_alerted(tmp_path: Path) -> None:
    """A rule sees what the one before it recorded; templates are filled in; series that are gone end at once."""
    bench = Bench(tmp_path)
    await bench.step(0, a=6.0, b=1.0)
    assert list(bench.newest("double{n='a'}", 1).values()) == [12.0]
    assert len(bench.newest("double", 1)) == 2
    assert len(bench.newest('ALERTS{alertstate="pending",severity="Warning"}', 1)) == 1
    for minute in range(1, 22):
        await bench.step(60 * minute, a=6.0)
    assert bench.newest("double{n='b'}", 61) == {}
    (alert,) = bench.evaluations.groups[0].rules[1].alerting.active.values()  # type: ignore[union-attr]
    assert alert.state == FIRING
    assert dict(alert.annotations)["summary"] == "a is 12"
    assert dict(alert.annotations)["bad"].startswith("<error expanding template:")
    assert list(bench.newest("ALERTS_FOR_STATE", 21 * 60)) != []
    assert bench.newest('ALERTS{alertstate="pending"}', 21 * 60 + 1) == {}
    bench.close()


async def test_for_survives_a_restart(tmp_path: Path) -> None:
    """What had waited 15 of 20 minutes has not to begin anew; after an hour's outage it has."""
    bench = Bench(tmp_path)
    for minute in range(16):
        await bench.step(60 * minute, a=6.0)
    bench.close()
    again = Bench(tmp_path)
    await again.step(20 * 60, a=6.0)
    (alert,) = again.evaluations.groups[0].rules[1].alerting.active.values()  # type: ignore[union-attr]
    # 5 minutes were left, less than the ten that are given
    assert alert.active_at_ms == START + (20 * 60 + 600 - 1200) * 1000
    again.close()
    late = Bench(tmp_path)
    await late.step(3 * 3600, a=6.0)
    (alert,) = late.evaluations.groups[0].rules[1].alerting.active.values()  # type: ignore[union-attr]
    assert alert.active_at_ms == START + 3 * 3600 * 1000
    late.close()


async def test_a_workspace_s_rules(tmp_path: Path) -> None:
    """See its series alone, and what they make is its own, whatever the rules say."""
    rules = "groups: [{name: g, rules: [{record: seen, expr: level, labels: {workspace_id: other}}]}]"
    for workspace, count in (("w", 1), ("other", 0)):
        bench = Bench(tmp_path / workspace, workspace=workspace, rules=rules)
        await bench.step(0, a=6.0)
        found = bench.newest("seen", 1)
        assert len(found) == count
        assert all("'workspace_id': 'w'" in one for one in found)
        bench.close()


async def test_rule_that_fails(tmp_path: Path) -> None:
    """Says so, changes no state, and leaves the others alone."""
    rules = "groups: [{name: g, limit: 1, rules: [{record: seen, expr: level}, {alert: X, expr: level}, {record: ok, expr: vector(1)}]}]"
    bench = Bench(tmp_path, rules=rules)
    await bench.step(0, a=6.0, b=7.0)
    recorded, alerted, fine = bench.evaluations.groups[0].rules
    assert (recorded.health, recorded.error) == ("err", "exceeded limit of 1 with 2 series")
    assert (alerted.health, alerted.error) == ("err", "exceeded limit of 1 with 2 alerts")
    assert fine.health == "ok"
    bench.close()


async def test_told_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its series cannot be kept, which the rule says; whoever is to hear of the alert hears of it all the same."""
    bench = Bench(tmp_path, rules="groups: [{name: g, rules: [{alert: X, expr: level > 1}]}]")
    await bench.step(0, a=6.0)
    bench.told.clear()
    monkeypatch.setattr(bench.store, "append", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    await bench.evaluations.evaluate(bench.evaluations.groups[0], START + 30_000)
    assert [(name, [state for _, state in alerts]) for name, alerts in bench.told] == [("X", [FIRING])]
    (run,) = bench.evaluations.groups[0].rules
    assert (run.health, "No space left" in run.error) == ("err", True)
    bench.close()


async def test_a_damaged_file_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The monitor starts, tells of alerts, and says what it lost."""
    (tmp_path / "alerts.db").write_bytes(b"this is no database" * 100)
    receiver, one = Receiver(), rule(0)
    notifier = Notifier(tmp_path, [], [Webhook(name="h", kind="generic", url="http://h/")], receiver, Registry())
    at(one, 0, A)
    await tell(notifier, one)
    assert len(receiver.got) == 1
    notifier.close()
    assert len(list(tmp_path.glob("alerts.damaged-*"))) == 1
    assert "set aside" in caplog.text


# who is told


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "PAUSES_S", (0.01, 0.01))


class Clock:
    now_ms = START


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> type[Clock]:
    Clock.now_ms = START
    monkeypatch.setattr(notifications, "now_us", lambda: Clock.now_ms * 1000)
    return Clock


GROUP = read_text("groups: [{name: g, rules: [{alert: X, expr: x}]}]", "f").groups[0]


async def tell(notifier: Notifier, one: AlertingRule) -> None:
    await notifier.notify(GROUP, one.rule, list(one.active.values()))
    running = asyncio.create_task(notifier.run())
    await asyncio.sleep(0.15)
    running.cancel()


async def test_webhooks_are_told_of_changes(tmp_path: Path, clock: type[Clock]) -> None:
    """Once when it fires, again after the repetition, once when it is over; and a restart changes nothing of that."""
    receiver, one = Receiver(), rule(0)
    hook = Webhook(name="h", kind="generic", url="http://h/x", repeat_ms=3_600_000)

    def start() -> Notifier:
        return Notifier(tmp_path, [], [hook], receiver, Registry())

    notifier = start()
    for second, there, told in (
        (0, (A,), [("firing", ["a"])]),
        (60, (A,), []),
        (120, (A, B), [("firing", ["a", "b"])]),
        (180, (B,), [("firing", ["b", "a"])]),
        (3790, (B,), [("firing", ["b"])]),
        (3800, (), [("resolved", ["b"])]),
        (3820, (), []),
    ):
        clock.now_ms = START + second * 1000
        at(one, second, *there)
        receiver.got.clear()
        await tell(notifier, one)
        said = [(body["status"], [each["labels"]["n"] for each in body["alerts"]]) for _, _, body in receiver.got]
        assert said == told, second
        notifier.close()
        notifier = start()
    notifier.close()


async def test_a_webhook_that_refuses_is_told_again(tmp_path: Path, clock: type[Clock]) -> None:
    """Some times at once, and then with each evaluation, until it takes it; nobody else waits for it."""
    receiver, one = Receiver(), rule(0)
    hooks = [
        Webhook(name="h", kind="dingtalk", url="http://h/x?access_token=t"),
        Webhook(name="i", kind="slack", url="http://i/"),
    ]
    notifier = Notifier(tmp_path, [], hooks, receiver, Registry())
    receiver.answer = b'{"errcode": 310000, "errmsg": "sign not match"}'
    at(one, 0, A)
    await tell(notifier, one)
    assert [urlsplit(url).netloc for url, _, _ in receiver.got].count("h") == 3
    assert [urlsplit(url).netloc for url, _, _ in receiver.got].count("i") == 1
    receiver.answer, receiver.got = b'{"errcode": 0}', []
    await tell(notifier, one)
    assert [urlsplit(url).netloc for url, _, _ in receiver.got] == ["h"]
    notifier.close()


async def test_only_what_a_webhook_wants(tmp_path: Path, clock: type[Clock]) -> None:
    """By severity and workspace."""
    receiver, one = Receiver(), rule(0)
    page = make_labels({"alertname": "X", "n": "p", "severity": "CRITICAL"})
    hooks = [
        Webhook(name="h", kind="generic", url="http://h/", severities=frozenset({"critical"})),
        Webhook(name="i", kind="generic", url="http://i/", workspace="somebody"),
    ]
    notifier = Notifier(tmp_path, [], hooks, receiver, Registry())
    at(one, 0, A, page)
    await tell(notifier, one)
    assert [(url, [each["labels"]["n"] for each in body["alerts"]]) for url, _, body in receiver.got] == [
        ("http://h/", ["p"])
    ]
    notifier.close()


async def test_alertmanagers_are_told_every_minute(tmp_path: Path, clock: type[Clock]) -> None:
    """With an end in the future while it fires, and the true one when it is over; pending ones are not told."""
    receiver, one = Receiver(), rule(60)
    notifier = Notifier(tmp_path, ["http://am/"], [], receiver, Registry(), external_labels={"region": "cn", "n": "?"})
    ends: list[Any] = []
    for second, there in ((0, (A,)), (60, (A,)), (90, (A,)), (121, (A,)), (130, ()), (140, ())):
        clock.now_ms = START + second * 1000
        at(one, second, *there)
        receiver.got.clear()
        await tell(notifier, one)
        ends.append(
            [
                (each["labels"]["n"], each["labels"]["region"], each["endsAt"][14:19])
                for _, _, body in receiver.got
                for each in body
            ]
        )
    # the start is 46:40 past the hour
    assert ends == [[], [("a", "cn", "51:40")], [], [("a", "cn", "52:41")], [("a", "cn", "48:50")], []], ends
    assert receiver.got == []
    notifier.close()


# forms


MESSAGE = Message(
    "h", "g", (Told({"alertname": "X", "severity": "page", "n": "a"}, {"summary": "it **is**", "summary_zh": "坏了"}, START),), "http://me"
)  # fmt: skip


def test_alertmanagers_payload() -> None:
    body = payload_of(MESSAGE)
    assert {"version": "4", "status": "firing", "receiver": "h"}.items() <= body.items()
    assert body["commonLabels"] == {"alertname": "X", "severity": "page", "n": "a"}
    assert body["alerts"][0]["startsAt"].endswith("Z")
    assert body["alerts"][0]["endsAt"] == "0001-01-01T00:00:00Z"


def test_standard_webhooks_signature() -> None:
    secret = "whsec_" + base64.b64encode(b"k" * 24).decode()
    post = make_post("generic", MESSAGE, template="", secret=secret, now_s=1_795_600_000)
    text = f"{post.headers['webhook-id']}.1795600000.".encode() + post.body
    wanted = base64.b64encode(hmac.new(b"k" * 24, text, hashlib.sha256).digest()).decode()
    assert post.headers["webhook-signature"] == "v1," + wanted


def test_dingtalk() -> None:
    """Signed in the address: base64(HMAC-SHA256(secret, "ms\\nsecret"))."""
    post = make_post("dingtalk", MESSAGE, template=MESSAGES["zh"], secret="SEC1", now_s=1_795_600_000)
    told = parse_qs(post.query)
    assert told["timestamp"] == ["1795600000000"]
    wanted = hmac.new(b"SEC1", b"1795600000000\nSEC1", hashlib.sha256).digest()
    assert base64.b64decode(told["sign"][0]) == wanted
    body = json.loads(post.body)
    assert body["msgtype"] == "markdown"
    assert "坏了" in body["markdown"]["text"]
    assert "**X**" in body["markdown"]["text"]


def test_feishu() -> None:
    """Signed in the body: base64(HMAC-SHA256("s\\nsecret", ""))."""
    body = json.loads(make_post("feishu", MESSAGE, template=MESSAGES["en"], secret="s", now_s=1_795_600_000).body)
    wanted = base64.b64encode(hmac.new(b"1795600000\ns", b"", hashlib.sha256).digest()).decode()
    assert (body["timestamp"], body["sign"]) == ("1795600000", wanted)
    assert body["card"]["header"]["template"] == "red"
    assert "it **is**" in body["card"]["elements"][0]["content"]


def test_wecom_and_slack() -> None:
    wecom = json.loads(make_post("wecom", MESSAGE, template=MESSAGES["zh"], secret="", now_s=1).body)
    assert wecom["markdown"]["content"].startswith("🔥 告警")
    slack = json.loads(make_post("slack", MESSAGE, template=MESSAGES["en"], secret="", now_s=1).body)
    assert "*X*" in slack["attachments"][0]["text"]
    assert "**" not in slack["attachments"][0]["text"]


@pytest.mark.parametrize(
    ("kind", "status", "body", "said"),
    [
        ("generic", 204, b"", ""), ("generic", 500, b"", "status 500"), ("slack", 200, b"ok", ""), ("dingtalk", 200, b'{"errcode":0}', ""),
        ("dingtalk", 200, b'{"errcode":310000,"errmsg":"no"}', "errcode 310000: no"), ("feishu", 200, b'{"code":19021,"msg":"sign"}', "code 19021: sign"),
        ("wecom", 200, b"<html>", "no JSON"),
    ],
)  # fmt: skip
def test_refusals(kind: str, status: int, body: bytes, said: str) -> None:
    """Robots refuse in a 200."""
    assert said in refusal_in(kind, status, body)
    assert bool(said) == bool(refusal_in(kind, status, body))


def test_message_template_of_the_operator() -> None:
    """Alertmanager's names; a broken one is told as such, and the alert is not lost."""
    text = "{{ range .Alerts }}{{ .Labels.n }}/{{ .Status }}{{ end }}"
    post = make_post("wecom", MESSAGE, template=text, secret="", now_s=1)
    assert json.loads(post.body)["markdown"]["content"] == "a/firing"
    broken = make_post("wecom", MESSAGE, template="{{ .Status.x }}", secret="", now_s=1)
    assert "<error expanding template" in json.loads(broken.body)["markdown"]["content"]


def test_many_alerts() -> None:
    """Ten are shown, the others counted."""
    some: Iterable[Told] = (Told({"alertname": "X", "n": str(number)}, {}, START) for number in range(25))
    post = make_post("wecom", Message("h", "g", tuple(some)), template=MESSAGES["en"], secret="", now_s=1)
    assert "and 15 more" in json.loads(post.body)["markdown"]["content"]
