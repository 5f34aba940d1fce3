"""Providers and routes that are added while running."""

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, PrimaryKeyConstraint, Text

if TYPE_CHECKING:
    from alembic.operations import Operations


def upgrade(op: "Operations") -> None:
    """Adds the tables."""
    op.create_table(
        "provider",
        Column("name", Text, nullable=False),
        Column("spec", Text, nullable=False),
        Column("api_key", Text, nullable=False),
        Column("created_us", BigInteger, nullable=False),
        PrimaryKeyConstraint("name", name="pk_provider"),
    )
    op.create_table(
        "route",
        Column("model", Text, nullable=False),
        Column("spec", Text, nullable=False),
        Column("updated_us", BigInteger, nullable=False),
        PrimaryKeyConstraint("model", name="pk_route"),
    )
