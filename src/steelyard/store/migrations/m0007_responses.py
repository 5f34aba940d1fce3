"""Responses that callers may go on from."""

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, LargeBinary, PrimaryKeyConstraint, Text

if TYPE_CHECKING:
    from alembic.operations import Operations


def upgrade(op: "Operations") -> None:
    """Adds the table."""
    op.create_table(
        "response",
        Column("id", Text, nullable=False),
        Column("workspace", Text, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("items", LargeBinary, nullable=False),
        Column("created_us", BigInteger, nullable=False),
        PrimaryKeyConstraint("id", name="pk_response"),
    )
    op.create_index("ix_response_created_us", "response", ["created_us"])
