"""Calls that workspaces keep whole."""

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, PrimaryKeyConstraint, Text

if TYPE_CHECKING:
    from alembic.operations import Operations


def upgrade(op: "Operations") -> None:
    """Adds the table."""
    op.create_table(
        "kept_call",
        *[Column(name, Text, nullable=False) for name in ("request_id", "workspace", "key_id", "model")],
        Column("created_us", BigInteger, nullable=False),
        Column("sealed", Text, nullable=False),
        PrimaryKeyConstraint("request_id", name="pk_kept_call"),
    )
    op.create_index("ix_kept_call_workspace_created_us", "kept_call", ["workspace", "created_us"])
    op.create_index("ix_kept_call_created_us", "kept_call", ["created_us"])
