"""People who use the console: who they are and how far they may go."""

import msgspec

VIEWER, DEVELOPER, OPERATOR, OWNER = "viewer", "developer", "operator", "owner"
#: From the least to the most: whoever may do a thing, those after may too.
ROLES = (VIEWER, DEVELOPER, OPERATOR, OWNER)


class Member(msgspec.Struct, frozen=True):
    """A person with a password."""

    id: str
    #: What they sign in with: a name or an address, in lower case.
    login: str
    role: str
    created_us: int
    #: Whose affairs they see; empty: every workspace's.
    workspaces: tuple[str, ...] = ()
    #: "zh" or "en"; '' as the browser asks.
    language: str = ""
    is_disabled: bool = False

    def may(self, role: str) -> bool:
        """Whether they may do what takes at least this role."""
        return ROLES.index(self.role) >= ROLES.index(role)

    @property
    def is_everywhere(self) -> bool:
        """Whether the whole installation is theirs to see, and not some workspaces alone."""
        return not self.workspaces

    def sees(self, workspace: str) -> bool:
        """Whether a workspace's affairs are theirs."""
        return not self.workspaces or workspace in self.workspaces


class Session(msgspec.Struct, frozen=True):
    """A member signed in."""

    digest: str
    member_id: str
    created_us: int
    expires_us: int


class Invitation(msgspec.Struct, frozen=True):
    """A link by which one person may become a member."""

    digest: str
    role: str
    workspaces: tuple[str, ...]
    invited_by: str
    expires_us: int
