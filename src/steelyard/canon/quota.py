"""Wishes for higher limits: asked by who uses a workspace, decided by who looks after it."""

import msgspec

from steelyard.canon.limits import Limits

OPEN, GRANTED, DECLINED = "open", "granted", "declined"


class QuotaWish(msgspec.Struct, frozen=True, kw_only=True):
    """A wish for limits of a workspace.

    Args:
        limits: all of them, as they should be.
        asked_by, decided_by: members' ids.
        answer: what whoever decided said of it.
    """

    id: str
    workspace: str
    limits: Limits
    reason: str
    asked_by: str
    asked_us: int
    state: str = OPEN
    decided_by: str = ""
    decided_us: int | None = None
    answer: str = ""
