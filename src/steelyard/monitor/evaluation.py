"""Groups of rules, evaluated when they are due: what is recorded, which alerts there are, and whom they are told to. Source: prometheus.md 3."""

import asyncio
import logging
import time
import zlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from steelyard.base.clock import now_us
from steelyard.base.metrics import Registry
from steelyard.monitor.alerts import ALERTS_FOR_STATE, GRACE_MS, Alert, AlertingRule, RuleFailed, name_alert
from steelyard.monitor.cohorts import OutOfOrder
from steelyard.monitor.questions import Questions, View
from steelyard.monitor.rules import Group, Rule
from steelyard.monitor.series_store import SeriesStore, TooManySeries
from steelyard.monitor.template_functions import Sample, TemplateError
from steelyard.monitor.templates import fill_template
from steelyard.monitor.tenants import own_labels
from steelyard.promql.engine import Result
from steelyard.promql.errors import QueryError
from steelyard.promql.labels import NAME, Labels, get, make_labels
from steelyard.promql.parse import parse
from steelyard.promql.values import Scalar, Vector, is_stale

log = logging.getLogger("steelyard.monitor")

OK, FAILED, UNKNOWN = "ok", "err", "unknown"
#: `for` states are restored after an outage of this length at most.
OUTAGE_MS = 3_600_000
RULE_TIMEOUT_S = 60.0
MAX_QUERIES = 100
_VARIABLES = ("$labels", "$value", "$externalLabels", "$externalURL")

#: Tells of a rule's alerts after each of its evaluations.
Notify = Callable[[Group, Rule, list[Alert]], Awaitable[None]]


@dataclass(slots=True)
class RuleRun:
    """A rule and how its last evaluation went."""

    rule: Rule
    alerting: AlertingRule | None
    health: str = UNKNOWN
    error: str = ""
    took_s: float = 0.0
    at_ms: int = 0


@dataclass(slots=True)
class GroupRun:
    """A group and how its last round went."""

    group: Group
    rules: list[RuleRun] = field(default_factory=list)
    took_s: float = 0.0
    at_ms: int = 0


class Evaluations:
    """All groups. `run` evaluates them until it is cancelled."""

    def __init__(
        self,
        groups: list[Group],
        store: SeriesStore,
        questions: Questions,
        notify: Notify,
        registry: Registry,
        *,
        external_labels: dict[str, str] | None = None,
        external_url: str = "",
    ) -> None:
        self.groups = [_group_run(one) for one in groups]
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._store = store
        self._questions = questions
        self._notify = notify
        self._external_labels = external_labels or {}
        self._external_url = external_url
        self._count = registry.counter("monitor_rule_evaluations_total", "Evaluations of rules by result.", ("result",))
        self._missed = registry.counter("monitor_rule_rounds_missed_total", "Rounds of groups that came too late.", ())
        self._firing = registry.gauge("monitor_alerts_firing", "Alerts that are firing.", ("workspace_id",))

    def __repr__(self) -> str:
        return f"<Evaluations of {len(self.groups)} groups>"

    async def run(self) -> None:
        """Evaluates each group when it is due."""
        self._tasks = {id(one): asyncio.create_task(self._run_group(one)) for one in self.groups}
        try:
            await asyncio.Event().wait()
        finally:
            for task in self._tasks.values():
                task.cancel()

    def replace(self, groups: list[Group]) -> None:
        """Other groups from now on; those that stay the same go on as they are."""
        before = {run.group: run for run in self.groups}
        self.groups = [before.pop(one) if one in before else _group_run(one) for one in groups]
        for gone in before.values():
            self._tasks.pop(id(gone)).cancel()
        for one in self.groups:
            if id(one) not in self._tasks:
                self._tasks[id(one)] = asyncio.create_task(self._run_group(one))

    async def _run_group(self, run: GroupRun) -> None:
        group = run.group
        due_ms = next_due_ms(group, now_us() // 1000)
        while True:
            await asyncio.sleep(max(0.0, (due_ms - now_us() // 1000) / 1000))
            try:
                await self.evaluate(run, due_ms)
            except Exception:
                log.exception("the group %s failed", group.name)
            late_ms = now_us() // 1000 - due_ms
            missed = late_ms // group.interval_ms
            if missed:
                # what was missed is not caught up
                self._missed.add((), missed)
            due_ms += (missed + 1) * group.interval_ms

    async def evaluate(self, run: GroupRun, at_ms: int) -> None:
        """One round of a group: its rules in order, each seeing what those before it recorded."""
        began = time.perf_counter()
        for one in run.rules:
            started = time.perf_counter()
            try:
                await self._evaluate_rule(run.group, one, at_ms)
                one.health, one.error = OK, ""
            except (QueryError, RuleFailed, OutOfOrder, TooManySeries, OSError) as exc:
                one.health, one.error = FAILED, str(exc)
                log.warning("the rule %s of %s failed: %s", one.rule.name, run.group.name, exc)
            one.took_s, one.at_ms = time.perf_counter() - started, at_ms
            self._count.add((one.health,))
        run.took_s, run.at_ms = time.perf_counter() - began, at_ms
        self._tell_firing()

    async def _evaluate_rule(self, group: Group, run: RuleRun, at_ms: int) -> None:
        view = View(workspace=group.workspace or None, timeout_s=RULE_TIMEOUT_S)
        result = await self._questions.ask_instant(run.rule.node, at_ms - group.offset_ms, view)
        elements = list(_elements(result))
        if run.alerting is None:
            self._record(group, run.rule, elements, at_ms)
        else:
            await self._alert(group, run.rule, run.alerting, elements, at_ms, view)

    def _record(self, group: Group, rule: Rule, elements: list[tuple[Labels, float]], at_ms: int) -> None:
        rows: dict[Labels, float] = {}
        for labels, value in elements:
            made = self._owned(group, {**dict(labels), **dict(rule.labels), NAME: rule.record})
            if made in rows:
                raise RuleFailed("vector contains metrics with the same labelset after applying rule labels")
            rows[made] = value
        if 0 < group.limit < len(rows):
            raise RuleFailed(f"exceeded limit of {group.limit} with {len(rows)} series")
        self._append(group, rule, list(rows.items()), at_ms)

    def _owned(self, group: Group, pairs: dict[str, str]) -> Labels:
        return own_labels(group.workspace, pairs) if group.workspace else make_labels(pairs)

    def _append(self, group: Group, rule: Rule, rows: list[tuple[Labels, float]], at_ms: int) -> None:
        """Stores them; what is not among them any more has ended."""
        labels, values = tuple(one for one, _ in rows), np.array([value for _, value in rows], dtype=np.float64)
        self._store.append(source_of(group, rule), labels, at_ms, values)

    async def _alert(
        self, group: Group, rule: Rule, alerting: AlertingRule, elements: list[tuple[Labels, float]], at_ms: int, view: View
    ) -> None:  # fmt: skip
        query = self._query(at_ms, view)
        seen = await asyncio.to_thread(
            lambda: [self._finish(group, rule, dict(labels), value, query) for labels, value in elements]
        )
        alerting.update(seen, at_ms, group.limit)
        if not alerting.is_restored:
            self._restore(group, rule, alerting, at_ms)
        try:
            self._append(group, rule, alerting.series(), at_ms)
        finally:
            # a disk that is full keeps no series, and is what somebody should hear of
            await self._notify(group, rule, list(alerting.active.values()))

    def _query(self, at_ms: int, view: View) -> Callable[[str], list[Sample]]:
        """What `query` in a rule's templates asks; called beside the loop."""
        loop, left = asyncio.get_running_loop(), [MAX_QUERIES]

        def query(text: str) -> list[Sample]:
            left[0] -= 1
            if left[0] < 0:
                raise TemplateError(f"the templates of a rule may ask {MAX_QUERIES} queries a round")
            try:
                asked = self._questions.ask_instant(parse(str(text)), at_ms, view)
                result = asyncio.run_coroutine_threadsafe(asked, loop).result()
            except QueryError as exc:
                raise TemplateError(str(exc)) from None
            return [{"Labels": dict(labels), "Value": value} for labels, value in _elements(result)]

        return query

    def _finish(
        self, group: Group, rule: Rule, labels: dict[str, str], value: float, query: Callable[[str], list[Sample]]
    ) -> tuple[Labels, Labels, float]:
        """An element's labels and annotations, filled in."""
        plain = {name: one for name, one in labels.items() if name != NAME}
        data = {
            "Labels": plain,
            "ExternalLabels": self._external_labels,
            "ExternalURL": self._external_url,
            "Value": value,
        }
        variables = dict(zip(_VARIABLES, (plain, value, self._external_labels, self._external_url), strict=True))
        functions: dict[str, Callable[..., Any]] = {
            "query": query,
            "externalURL": lambda: self._external_url,
            "pathPrefix": lambda: "",
        }

        def fill(text: str) -> str:
            try:
                return fill_template(text, variables, data, functions)
            except TemplateError as exc:
                # an alert is not lost for its text
                return f"<error expanding template: {exc}>"

        told = {name: fill(text) for name, text in rule.labels}
        named = dict(name_alert({**labels, **told}, rule))
        annotations = make_labels({name: fill(text) for name, text in rule.annotations})
        return self._owned(group, named), annotations, value

    def _restore(self, group: Group, rule: Rule, alerting: AlertingRule, at_ms: int) -> None:
        if rule.for_ms < GRACE_MS:
            alerting.is_restored = True
            return
        began: dict[Labels, int] = {}
        newest: dict[Labels, int] = {}
        cohort = self._store.samples_of(source_of(group, rule), at_ms - OUTAGE_MS, at_ms - 1)
        for row, labels in enumerate(() if cohort is None else cohort.labels):
            assert cohort is not None
            there = ~is_stale(cohort.values[row])
            columns = np.flatnonzero(there if cohort.present is None else cohort.present[row] & there)
            if get(labels, NAME) == ALERTS_FOR_STATE and len(columns):
                key = tuple(pair for pair in labels if pair[0] != NAME)
                began[key] = round(float(cohort.values[row, columns[-1]]) * 1000)
                newest[key] = int(cohort.times[columns[-1]])
        alerting.restore(began, at_ms, newest)

    def _tell_firing(self) -> None:
        counts: dict[str, int] = {}
        for run in self.groups:
            counts.setdefault(run.group.workspace, 0)
            for one in run.rules:
                if one.alerting is not None:
                    counts[run.group.workspace] += sum(
                        alert.state == "firing" for alert in one.alerting.active.values()
                    )
        for workspace, count in counts.items():
            self._firing.set((workspace,), count)

    def end_others(self) -> None:
        """Ends what rules recorded that are not there any more."""
        known = {source_of(run.group, one.rule) for run in self.groups for one in run.rules}
        for source in self._store.series_by_source(SOURCE).keys() - known:
            try:
                self._store.append(source, (), now_us() // 1000, np.empty(0))
            except (OutOfOrder, OSError) as exc:
                log.warning("what %s recorded could not be ended: %s", source, exc)


#: What the store calls the sources that rules make.
SOURCE = "rule:"


def _group_run(group: Group) -> GroupRun:
    return GroupRun(group, [_run_of(rule) for rule in group.rules])


def _run_of(rule: Rule) -> RuleRun:
    return RuleRun(rule, AlertingRule(rule) if rule.alert else None)


def source_of(group: Group, rule: Rule) -> str:
    """What the store calls a rule's series."""
    mark = zlib.crc32(repr((group.file, group.name, rule.name, rule.expr, rule.labels, rule.for_ms)).encode())
    return f"{SOURCE}{group.workspace}:{group.name}:{rule.name}:{mark:08x}"


def next_due_ms(group: Group, now_ms: int) -> int:
    """The next time at which a group is due: multiples of its interval, each group at a place of its own between them."""
    offset = zlib.crc32(f"{group.file};{group.name}".encode()) % group.interval_ms
    return (now_ms - offset) // group.interval_ms * group.interval_ms + offset + group.interval_ms


def _elements(result: Result) -> Iterator[tuple[Labels, float]]:
    value: Any = result.value
    if isinstance(value, Scalar):
        yield (), float(value.values[0])
    elif isinstance(value, Vector):
        for row, labels in enumerate(value.labels):
            if value.present[row, 0]:
                yield labels, float(value.values[row, 0])
