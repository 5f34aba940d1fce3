"""An alerting rule's alerts from evaluation to evaluation: pending, firing, over. Times come in, nothing is read. Source: prometheus.md 3."""

from collections.abc import Iterable
from dataclasses import dataclass

from steelyard.monitor.rules import ALERT_NAME, Rule
from steelyard.promql.labels import NAME, Labels, make_labels

INACTIVE, PENDING, FIRING = "inactive", "pending", "firing"
#: An alert that is over is told of for so long.
RESOLVED_RETENTION_MS = 15 * 60_000
ALERTS, ALERTS_FOR_STATE = "ALERTS", "ALERTS_FOR_STATE"
ALERT_STATE = "alertstate"


@dataclass(slots=True)
class Alert:
    """One alert. Times in milliseconds since 1970, 0 where they have not come."""

    labels: Labels
    annotations: Labels
    value: float
    active_at_ms: int
    state: str = PENDING
    fired_at_ms: int = 0
    resolved_at_ms: int = 0
    keep_since_ms: int = 0


class RuleFailed(ValueError):
    """An evaluation that gives no alerts; the state stays as it was."""


class AlertingRule:
    """The alerts of one rule."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.active: dict[Labels, Alert] = {}
        self.is_restored = rule.for_ms == 0

    def __repr__(self) -> str:
        return f"<AlertingRule {self.rule.alert} {self.state}>"

    @property
    def state(self) -> str:
        """The worst state of its alerts."""
        states = {one.state for one in self.active.values()}
        return next((state for state in (FIRING, PENDING) if state in states), INACTIVE)

    def update(self, seen: Iterable[tuple[Labels, Labels, float]], now_ms: int, limit: int = 0) -> None:
        """Takes an evaluation's elements: their finished labels and annotations, and their values.

        Raises:
            RuleFailed: two have the same labels, or there are too many.
        """
        found: dict[Labels, Alert] = {}
        for labels, annotations, value in seen:
            if labels in found:
                raise RuleFailed("vector contains metrics with the same labelset after applying alert labels")
            found[labels] = Alert(labels, annotations, value, now_ms)
        if 0 < limit < len(found):
            raise RuleFailed(f"exceeded limit of {limit} with {len(found)} alerts")
        for labels, fresh in found.items():
            known = self.active.get(labels)
            if known is None or known.state == INACTIVE:
                self.active[labels] = fresh
            else:
                known.value, known.annotations = fresh.value, fresh.annotations
        for labels in list(self.active):
            self._advance(labels, now_ms, is_there=labels in found)

    def _advance(self, labels: Labels, now_ms: int, *, is_there: bool) -> None:
        alert, rule = self.active[labels], self.rule
        if not is_there:
            if alert.state == FIRING and rule.keep_firing_ms:
                alert.keep_since_ms = alert.keep_since_ms or now_ms
                if now_ms - alert.keep_since_ms < rule.keep_firing_ms:
                    return
            if alert.state == FIRING:
                alert.state, alert.resolved_at_ms = INACTIVE, now_ms
            elif alert.state == PENDING or now_ms - alert.resolved_at_ms > RESOLVED_RETENTION_MS:
                del self.active[labels]
            return
        alert.keep_since_ms = 0
        if alert.state == PENDING and now_ms - alert.active_at_ms >= rule.for_ms:
            alert.state, alert.fired_at_ms = FIRING, now_ms

    def restore(self, active_at_ms: dict[Labels, int], now_ms: int, newest_ms: dict[Labels, int]) -> None:
        """Puts the times back at which pending alerts began before a restart; the time that was slept through does not count.

        Args:
            active_at_ms: of each alert's labels, as `ALERTS_FOR_STATE` has it.
            newest_ms: when that was last written.
        """
        for labels, alert in self.active.items():
            began, seen = active_at_ms.get(labels), newest_ms.get(labels)
            if began is None or seen is None or alert.state != PENDING:
                continue
            waited_ms = seen - began
            left_ms = self.rule.for_ms - waited_ms
            if left_ms <= 0:
                # it was firing when it was last seen
                alert.active_at_ms = began
            elif left_ms < GRACE_MS:
                alert.active_at_ms = now_ms + GRACE_MS - self.rule.for_ms
            else:
                alert.active_at_ms = began + (now_ms - seen)
        self.is_restored = True

    def series(self) -> list[tuple[Labels, float]]:
        """The synthetic series of alerts that are not over."""
        found = []
        for alert in self.active.values():
            if alert.state == INACTIVE:
                continue
            base = dict(alert.labels)
            found.append((make_labels({**base, NAME: ALERTS, ALERT_STATE: alert.state}), 1.0))
            found.append((make_labels({**base, NAME: ALERTS_FOR_STATE}), alert.active_at_ms / 1000))
        return found


#: A restored alert waits at least this long: what it tells of may have passed while nobody looked.
GRACE_MS = 600_000


def name_alert(labels: dict[str, str], rule: Rule) -> Labels:
    """An alert's labels: those of its element without the name, with the rule's, and its name."""
    kept = {name: value for name, value in labels.items() if name != NAME}
    return make_labels({**kept, ALERT_NAME: rule.alert})
