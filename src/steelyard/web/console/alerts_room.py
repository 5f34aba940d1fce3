"""Alerts and rules, as the monitor has them: what is wrong now, what is watched, and whom it is told to."""

from typing import Any

from starlette.responses import RedirectResponse, Response

from steelyard.canon.grant import Grant
from steelyard.canon.members import OPERATOR
from steelyard.web.console.callers import member_grant
from steelyard.web.console.measures import Monitor
from steelyard.web.console.pages import Pages
from steelyard.web.console.reception import Act
from steelyard.web.console.visit import Visit

HOME = "/console/alerts"


class AlertsRoom:
    """The page of alerts."""

    def __init__(self, monitor: Monitor, pages: Pages) -> None:
        self._monitor = monitor
        self._pages = pages
        self.acts = (
            Act("GET", HOME, self.show),
            Act("POST", f"{HOME}/reload", self.reload, OPERATOR, is_everywhere=True),
        )

    async def show(self, visit: Visit) -> Response:
        grant = as_seen(visit)
        found = await self._monitor.ask(grant, "rules", {})
        managers = await self._monitor.ask(grant, "alertmanagers", {})
        groups: list[dict[str, Any]] = found["groups"]
        alerts = [
            {**alert, "rule": rule["name"]}
            for group in groups
            for rule in group["rules"]
            for alert in rule.get("alerts", ())
        ]
        return self._pages.render(
            visit,
            "alerts.html",
            groups=groups,
            alerts=sorted(alerts, key=lambda one: (one["state"] != "firing", one["activeAt"])),
            managers=[one["url"] for one in managers["activeAlertmanagers"]],
        )

    async def reload(self, visit: Visit) -> Response:
        """Reads the rule files again; what is wrong in them is told, and the rules stay as they were."""
        await self._monitor.reload(as_seen(visit))
        return RedirectResponse(f"{HOME}?done=rules_read", status_code=303)


def as_seen(visit: Visit) -> Grant:
    """As whom a member asks the monitor: operators of the whole installation see all of it, others their workspace."""
    grant = member_grant(visit)
    if visit.who.may(OPERATOR) and visit.who.is_everywhere:
        return Grant(key_id=grant.key_id, workspace=grant.workspace, kind="admin")
    return grant
