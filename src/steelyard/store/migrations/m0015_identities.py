"""Who members are at an identity provider."""

from typing import TYPE_CHECKING

from sqlalchemy import Column, PrimaryKeyConstraint, Text

if TYPE_CHECKING:
    from alembic.operations import Operations


def upgrade(op: "Operations") -> None:
    """Adds the table."""
    op.create_table(
        "member_identity",
        Column("subject", Text, nullable=False),
        Column("member_id", Text, nullable=False),
        PrimaryKeyConstraint("subject", name="pk_member_identity"),
    )
