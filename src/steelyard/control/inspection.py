"""What a workspace looks for in texts, as an admin sets it."""

from typing import Any

import msgspec

from steelyard.canon.inspection import InspectionPolicy
from steelyard.control import workspaces
from steelyard.policy.inspection import Inspector, check_policy
from steelyard.store.database import Database
from steelyard.store.workspaces import WorkspaceRecord


async def set_inspection(database: Database, name: str, policy: InspectionPolicy, *, actor: str) -> WorkspaceRecord:
    """Replaces it; every process follows within two seconds.

    Raises:
        Fault: a value is out of range, a pattern does not compile, or there is no such workspace.
    """
    check_policy(policy)
    return await workspaces.change_policy(database, name, actor=actor, action="inspection.set", inspection=policy)


def try_text(policy: InspectionPolicy, text: str) -> str:
    """What a text becomes.

    Raises:
        Fault: `data_inspection_failed`.
    """
    return Inspector(policy).check(text, "Input")


def show_inspection(policy: InspectionPolicy) -> dict[str, Any]:
    """As JSON; words are counted, not shown: the list itself may be sensitive."""
    return {
        "words": len(policy.words),
        "patterns": policy.patterns,
        "mask": policy.mask,
        "stages": policy.stages,
        "may_disable": policy.may_disable,
        "check": None if policy.check is None else msgspec.structs.asdict(policy.check),
    }
