"""Who is told of alerts: Alertmanagers, again and again as they expect; webhooks, when something changes. What was told outlives the process."""

import asyncio
import logging
import random
import sqlite3
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import msgspec

from steelyard.base.clock import now_us
from steelyard.base.jsondoor import encode
from steelyard.base.metrics import Registry
from steelyard.monitor import alerts as states
from steelyard.monitor.alerts import Alert
from steelyard.monitor.channels import MESSAGES, Message, Told, make_post, refusal_in, stamp
from steelyard.monitor.files import open_file
from steelyard.monitor.rules import Group, Rule
from steelyard.promql.labels import Labels

log = logging.getLogger("steelyard.monitor")

RESEND_MS = 60_000
QUEUE = 1_000
#: Pauses between tries; after the last an alert that still fires comes with its next repetition.
PAUSES_S = (1.0, 5.0, 15.0, 60.0, 300.0)
_SCHEMA = "CREATE TABLE IF NOT EXISTS told (webhook TEXT, rule TEXT, labels TEXT, starts_ms INTEGER, told_ms INTEGER, annotations TEXT, PRIMARY KEY (webhook, rule, labels));"

#: Sends a POST: (address, headers, body) -> (status, answer); raises OSError where nobody answers.
Send = Callable[[str, dict[str, str], bytes], Awaitable[tuple[int, bytes]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One that is told.

    Args:
        workspace: whose rules' alerts it is told of; None: of all.
        severities: in small letters; empty: all.
    """

    name: str
    kind: str
    url: str
    secret: str = ""
    workspace: str | None = None
    severities: frozenset[str] = frozenset()
    template: str = MESSAGES["en"]
    repeat_ms: int = 4 * 3_600_000


@dataclass(slots=True)
class _Known:
    """An alert that a webhook was told of."""

    starts_ms: int
    told_ms: int
    annotations: dict[str, str]


@dataclass(slots=True)
class Manager:
    """An Alertmanager, and what it was told when."""

    url: str
    sent_ms: dict[Labels, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Errand:
    """Something to send; `done` hears whether it was taken."""

    work: Callable[[], Awaitable[str]]
    done: Callable[[bool], None] = lambda _is_taken: None


class Notifier:
    """Tells them. `run` sends what is queued until it is cancelled."""

    def __init__(
        self,
        directory: Path,
        managers: list[str],
        webhooks: list[Webhook],
        send: Send,
        registry: Registry,
        *,
        external_labels: dict[str, str] | None = None,
        external_url: str = "",
    ) -> None:
        self.managers = [Manager(url.rstrip("/")) for url in managers]
        self._webhooks = webhooks
        self._send = send
        self._external_labels = external_labels or {}
        self._external_url = external_url
        self._queues: dict[str, asyncio.Queue[Errand]] = {
            name: asyncio.Queue(QUEUE)
            for name in (*(one.name for one in webhooks), *(one.url for one in self.managers))
        }
        self._tries = registry.counter("monitor_notifications_total", "Tries to tell of alerts, by receiver and result.", ("receiver", "result"))  # fmt: skip
        self._file = open_file(directory / "alerts.db", _SCHEMA, "the file of what webhooks were told")
        self._told: dict[tuple[str, str], dict[Labels, _Known]] = {}
        for webhook, rule, labels, starts_ms, told_ms, annotations in self._file.execute("SELECT * FROM told"):
            key = tuple((str(name), str(value)) for name, value in msgspec.json.decode(labels))
            self._told.setdefault((webhook, rule), {})[key] = _Known(
                starts_ms, told_ms, msgspec.json.decode(annotations)
            )

    def __repr__(self) -> str:
        return f"<Notifier of {len(self.managers)} Alertmanagers and {len(self._webhooks)} webhooks>"

    async def run(self) -> None:
        """Sends; each receiver by itself, so that one that hangs keeps nobody waiting."""
        async with asyncio.TaskGroup() as tasks:
            for name in self._queues:
                tasks.create_task(self._serve(name))

    async def _serve(self, name: str) -> None:
        queue = self._queues[name]
        while True:
            errand = await queue.get()
            errand.done(await self._do(name, errand))

    async def _do(self, name: str, errand: Errand) -> bool:
        """Tries until it is taken, or for some minutes; Alertmanagers are told anew anyway."""
        is_manager = name.startswith("http")
        for pause_s in (*PAUSES_S, None):
            try:
                refusal = await errand.work()
            except OSError as exc:
                refusal = str(exc)
            self._tries.add((self._shown(name), "failed" if refusal else "delivered"))
            if not refusal:
                return True
            # the address may hold a token, so the name is told
            log.warning("%s was not told of alerts: %s", self._shown(name), refusal)
            if pause_s is None or is_manager:
                break
            await asyncio.sleep(pause_s * random.uniform(0.8, 1.2))
        return False

    def _shown(self, name: str) -> str:
        return "alertmanager" if name.startswith("http") else name

    async def notify(self, group: Group, rule: Rule, active: list[Alert]) -> None:
        """Takes a rule's alerts after an evaluation."""
        now_ms = now_us() // 1000
        for manager in self.managers:
            self._to_manager(manager, group, active, now_ms)
        for webhook in self._webhooks:
            if webhook.workspace is None or webhook.workspace == group.workspace:
                self._to_webhook(webhook, group, rule, active, now_ms)

    def _queue(self, name: str, errand: Errand) -> bool:
        try:
            self._queues[name].put_nowait(errand)
        except asyncio.QueueFull:
            self._tries.add((self._shown(name), "dropped"))
            log.warning("%s has been told nothing for so long that alerts are dropped", self._shown(name))
            return False
        return True

    # Alertmanager

    def _to_manager(self, manager: Manager, group: Group, active: list[Alert], now_ms: int) -> None:
        batch = []
        for alert in active:
            sent_ms = manager.sent_ms.get(alert.labels, 0)
            is_due = alert.state == states.FIRING and sent_ms + RESEND_MS <= now_ms
            is_over = alert.state == states.INACTIVE and (
                alert.resolved_at_ms > sent_ms or sent_ms + RESEND_MS <= now_ms
            )
            if is_due or is_over:
                manager.sent_ms[alert.labels] = now_ms
                ends_ms = alert.resolved_at_ms or now_ms + 4 * max(group.interval_ms, RESEND_MS)
                batch.append(
                    {
                        "labels": {**self._external_labels, **dict(alert.labels)},
                        "annotations": dict(alert.annotations),
                        "startsAt": stamp(alert.fired_at_ms),
                        "endsAt": stamp(ends_ms),
                        "generatorURL": self._external_url,
                    }
                )
        if len(manager.sent_ms) > 10 * QUEUE:
            manager.sent_ms.clear()
        if batch:
            body = encode(batch)
            self._queue(manager.url, Errand(lambda: self._post_to_manager(manager.url, body)))

    async def _post_to_manager(self, url: str, body: bytes) -> str:
        status, answer = await self._send(url + "/api/v2/alerts", {"Content-Type": "application/json"}, body)
        return "" if 200 <= status < 300 else f"status {status}: {answer[:200]!r}"

    # webhooks

    def _to_webhook(self, webhook: Webhook, group: Group, rule: Rule, active: list[Alert], now_ms: int) -> None:
        key = (webhook.name, f"{group.workspace}/{group.name}/{rule.alert}")
        told = self._told.setdefault(key, {})
        alerts = {one.labels: one for one in active if self._is_wanted(webhook, one)}
        firing = {labels: one for labels, one in alerts.items() if one.state == states.FIRING}
        fresh = [one for labels, one in firing.items() if labels not in told]
        over = {
            labels: known
            for labels, known in told.items()
            if labels not in alerts or alerts[labels].state == states.INACTIVE
        }
        repeated = [
            one
            for labels, one in firing.items()
            if labels in told and told[labels].told_ms + webhook.repeat_ms <= now_ms
        ]
        if not fresh and not over and not repeated:
            return
        shown = [Told(dict(one.labels), dict(one.annotations), one.fired_at_ms) for one in firing.values()]
        shown += [Told(dict(labels), known.annotations, known.starts_ms, now_ms) for labels, known in over.items()]
        url = f"{self._external_url}/prometheus/api/v1/query?query={quote(rule.expr)}"
        message = Message(webhook.name, group.name, tuple(shown), self._external_url, url)
        now_told = {labels: _Known(one.fired_at_ms, now_ms, dict(one.annotations)) for labels, one in firing.items()}
        before = {labels: told.get(labels) for labels in now_told}

        def done(is_taken: bool) -> None:
            if is_taken:
                self._remember(key, now_told, over.keys())
                return
            # it comes again with the next evaluation
            for labels, known in before.items():
                if known is None:
                    told.pop(labels, None)
            for labels, one in over.items():
                told.setdefault(labels, one)

        if self._queue(webhook.name, Errand(lambda: self._post_to_webhook(webhook, message), done)):
            told.update(now_told)
            for labels in over:
                del told[labels]

    def _is_wanted(self, webhook: Webhook, alert: Alert) -> bool:
        severity = dict(alert.labels).get("severity", "").lower()
        return not webhook.severities or severity in webhook.severities

    def _remember(self, key: tuple[str, str], fired: dict[Labels, _Known], over: Iterable[Labels]) -> None:
        rows = [
            (*key, encode(labels).decode(), one.starts_ms, one.told_ms, encode(one.annotations).decode())
            for labels, one in fired.items()
        ]
        gone = [(*key, encode(labels).decode()) for labels in over]
        try:
            self._file.execute("BEGIN")
            self._file.executemany("DELETE FROM told WHERE webhook = ? AND rule = ? AND labels = ?", gone)
            self._file.executemany("INSERT OR REPLACE INTO told VALUES (?, ?, ?, ?, ?, ?)", rows)
            self._file.execute("COMMIT")
        except sqlite3.Error as exc:
            log.warning("what %s was told cannot be remembered: %s", key[0], exc)
            if self._file.in_transaction:
                self._file.execute("ROLLBACK")

    async def _post_to_webhook(self, webhook: Webhook, message: Message) -> str:
        post = make_post(
            webhook.kind, message, template=webhook.template, secret=webhook.secret, now_s=now_us() // 1_000_000
        )
        url = webhook.url
        if post.query:
            url += ("&" if "?" in url else "?") + post.query
        status, answer = await self._send(url, post.headers, post.body)
        return refusal_in(webhook.kind, status, answer)

    def close(self) -> None:
        """Lets go of the file."""
        self._file.close()
