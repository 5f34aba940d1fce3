"""Wishes for higher limits."""

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, PrimaryKeyConstraint, Text

if TYPE_CHECKING:
    from alembic.operations import Operations


def upgrade(op: "Operations") -> None:
    """Adds the table."""
    op.create_table(
        "quota_wish",
        *[Column(name, Text, nullable=False) for name in ("id", "workspace", "limits", "reason", "asked_by")],
        Column("asked_us", BigInteger, nullable=False),
        *[Column(name, Text, nullable=False) for name in ("state", "decided_by")],
        Column("decided_us", BigInteger),
        Column("answer", Text, nullable=False),
        PrimaryKeyConstraint("id", name="pk_quota_wish"),
    )
    op.create_index("ix_quota_wish_workspace_asked_us", "quota_wish", ["workspace", "asked_us"])
