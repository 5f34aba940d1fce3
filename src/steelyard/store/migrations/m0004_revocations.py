"""Revoked temporary tokens."""

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, PrimaryKeyConstraint, Text

if TYPE_CHECKING:
    from alembic.operations import Operations


def upgrade(op: "Operations") -> None:
    """Adds the table."""
    op.create_table(
        "revocation",
        Column("token_id", Text, nullable=False),
        Column("expires_us", BigInteger, nullable=False),
        PrimaryKeyConstraint("token_id", name="pk_revocation"),
    )
