"""What the console's side bars offer."""

from dataclasses import dataclass

from steelyard.canon.members import DEVELOPER, OPERATOR, OWNER, VIEWER, Member


@dataclass(frozen=True, slots=True)
class Place:
    """One entry."""

    path: str
    #: The entry's text in the catalogue.
    text: str
    role: str = VIEWER
    is_everywhere: bool = False

    def is_open_to(self, member: Member) -> bool:
        """Whether a member finds it in the bar."""
        return member.may(self.role) and (member.is_everywhere or not self.is_everywhere)

    def is_at(self, path: str) -> bool:
        """Whether a page is this one or below it."""
        return path == self.path or (self.path != "/console/" and path.startswith(self.path.rstrip("/") + "/"))


NAV = (
    Place("/console/", "nav.overview"),
    Place("/hub/", "nav.hub"),
    Place("/console/models", "nav.models"),
    Place("/console/playground", "nav.playground", DEVELOPER),
    Place("/console/requests", "nav.requests"),
    Place("/console/usage", "nav.usage"),
    Place("/console/tasks", "nav.tasks"),
    Place("/console/batches", "nav.batches"),
    Place("/console/files", "nav.files"),
    Place("/console/knowledge", "nav.knowledge"),
    Place("/console/apps", "nav.apps"),
    Place("/console/plugins", "nav.plugins"),
    Place("/console/promql", "nav.promql", DEVELOPER),
    Place("/console/alerts", "nav.alerts"),
    Place("/console/providers", "nav.providers", OPERATOR, is_everywhere=True),
)
SETTINGS_NAV = (
    Place("/console/settings/keys", "nav.keys"),
    Place("/console/settings/workspaces", "nav.workspaces", OPERATOR),
    Place("/console/settings/quotas", "nav.quotas"),
    Place("/console/settings/members", "nav.members", OWNER, is_everywhere=True),
    Place("/console/settings/audit", "nav.audit", OPERATOR, is_everywhere=True),
    Place("/console/settings/domains", "nav.domains"),
    Place("/console/settings/documents", "nav.documents"),
    Place("/console/settings/health", "nav.health", OPERATOR, is_everywhere=True),
    Place("/console/settings/account", "nav.account"),
)
