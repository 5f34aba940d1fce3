"""Rules, alerts and whom they are told to, as Prometheus' HTTP API shows them. Source: prometheus.md 1.6."""

import base64
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from steelyard.base.errors import Fault, SetupFault
from steelyard.monitor.alerts import FIRING, INACTIVE, PENDING, Alert, AlertingRule
from steelyard.monitor.cohorts import choose
from steelyard.monitor.evaluation import UNKNOWN, Evaluations, GroupRun, RuleRun
from steelyard.monitor.notifications import Notifier
from steelyard.monitor.questions import View
from steelyard.promql.errors import BAD_DATA, QueryError
from steelyard.promql.labels import make_labels
from steelyard.promql.nodes import Matcher
from steelyard.web.principal import get_admin
from steelyard.web.prometheus_forms import Parameters, fault_answer, refuse

_TYPES = {"": None, "alert": True, "record": False}
_YES = ("1", "t", "T", "true", "TRUE", "True")
_NO = ("", "0", "f", "F", "false", "FALSE", "False")


class RulesApi:
    """What is shown. A workspace sees its own groups, an admin all."""

    def __init__(self, evaluations: Evaluations, notifier: Notifier, reload: Callable[[], Awaitable[None]]) -> None:
        self._evaluations = evaluations
        self._notifier = notifier
        self._reload = reload

    def rules(self, _: Request, parameters: Parameters, view: View) -> dict[str, Any]:
        """Groups with their rules, filtered and in pages."""
        told = parameters.text("type")
        if told not in _TYPES:
            raise refuse("type", f'not supported value "{told[:40]}"')
        hides_alerts = _flag(parameters, "exclude_alerts")
        names, groups, files = (set(parameters.texts(name)) for name in ("rule_name[]", "rule_group[]", "file[]"))
        selectors = parameters.selectors()
        shown = []
        for run in self._seen(view):
            if (groups and run.group.name not in groups) or (files and run.group.file not in files):
                continue
            rules = [
                _show_rule(one, hides_alerts=hides_alerts)
                for one in run.rules
                if _TYPES[told] in (None, one.alerting is not None)
                and (not names or one.rule.name in names)
                and _is_selected(one, selectors)
            ]
            if rules or not (names or told or selectors):
                shown.append((run, rules))
        return _page(shown, parameters)

    def alerts(self, view: View) -> dict[str, Any]:
        """Alerts that are pending or firing."""
        found = [
            _show_alert(alert)
            for run in self._seen(view)
            for one in run.rules
            if one.alerting is not None
            for alert in one.alerting.active.values()
            if alert.state != INACTIVE
        ]
        return {"alerts": found}

    def alertmanagers(self, view: View) -> dict[str, Any]:
        """Those of the configuration, for admins."""
        urls = [one.url for one in self._notifier.managers] if view.workspace is None else []
        return {"activeAlertmanagers": [{"url": url + "/api/v2/alerts"} for url in urls], "droppedAlertmanagers": []}

    async def reload(self, request: Request) -> Response:
        """`/-/reload`: reads the rule files again, for admins."""
        try:
            get_admin(request)
            await self._reload()
        except SetupFault as failure:
            return PlainTextResponse(f"failed to reload config: {failure}\n", 500)
        except Fault as failure:
            return fault_answer(failure, request)
        return Response(status_code=200)

    def _seen(self, view: View) -> list[GroupRun]:
        return [one for one in self._evaluations.groups if view.workspace in (None, one.group.workspace)]


def _flag(parameters: Parameters, name: str) -> bool:
    text = parameters.text(name)
    if text not in (*_YES, *_NO):
        raise refuse(name, f'strconv.ParseBool: parsing "{text[:40]}": invalid syntax')
    return text in _YES


def _is_selected(run: RuleRun, selectors: list[tuple[Matcher, ...]]) -> bool:
    labels = [make_labels(run.rule.labels)]
    return not selectors or any(len(choose(labels, one)) for one in selectors)


def _page(shown: list[tuple[GroupRun, list[dict[str, Any]]]], parameters: Parameters) -> dict[str, Any]:
    limit, token = parameters.count("group_limit"), parameters.text("group_next_token")
    keys = [_token_of(run) for run, _ in shown]
    if token and not limit:
        raise QueryError("group_limit needs to be set if group_next_token is set", BAD_DATA)
    if token and token not in keys:
        raise QueryError("invalid group_next_token", BAD_DATA)
    start = keys.index(token) if token else 0
    part = shown[start : start + limit] if limit else shown
    data: dict[str, Any] = {"groups": [_show_group(run, rules) for run, rules in part]}
    if limit and start + limit < len(shown):
        data["groupNextToken"] = keys[start + limit]
    return data


def _token_of(run: GroupRun) -> str:
    return base64.urlsafe_b64encode(f"{run.group.workspace};{run.group.file};{run.group.name}".encode()).decode()


def _show_group(run: GroupRun, rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": run.group.name, "file": run.group.file, "rules": rules, "interval": run.group.interval_ms / 1000,
        "limit": run.group.limit, "evaluationTime": run.took_s, "lastEvaluation": _stamp(run.at_ms),
    }  # fmt: skip


def _show_rule(run: RuleRun, *, hides_alerts: bool) -> dict[str, Any]:
    rule = run.rule
    shown: dict[str, Any] = {
        "name": rule.name, "query": rule.expr, "labels": dict(rule.labels), "health": run.health,
        "evaluationTime": run.took_s, "lastEvaluation": _stamp(run.at_ms),
    }  # fmt: skip
    if run.error:
        shown["lastError"] = run.error
    if run.alerting is None:
        return shown | {"type": "recording"}
    return shown | {
        "state": UNKNOWN if run.health == UNKNOWN else run.alerting.state,
        "duration": rule.for_ms / 1000, "keepFiringFor": rule.keep_firing_ms / 1000, "annotations": dict(rule.annotations),
        "alerts": [] if hides_alerts else [_show_alert(one) for one in _open(run.alerting)], "type": "alerting",
    }  # fmt: skip


def _open(alerting: AlertingRule) -> list[Alert]:
    return [one for one in alerting.active.values() if one.state in (PENDING, FIRING)]


def _show_alert(alert: Alert) -> dict[str, Any]:
    shown = {
        "labels": dict(alert.labels), "annotations": dict(alert.annotations), "state": alert.state,
        "activeAt": _stamp(alert.active_at_ms), "value": _exponent(alert.value),
    }  # fmt: skip
    return shown | {"keepFiringSince": _stamp(alert.keep_since_ms)} if alert.keep_since_ms else shown


def _exponent(value: float) -> str:
    """Shortest digits with an exponent of at least two: 7.25 is `7.25e+00`."""
    if value != value or value in (float("inf"), float("-inf")):
        return {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}[str(value)]
    for digits in range(17):
        text = f"{value:.{digits}e}"
        if float(text) == value:
            return text
    return f"{value:e}"


def _stamp(ms: int) -> str:
    if not ms:
        return "0001-01-01T00:00:00Z"
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"
