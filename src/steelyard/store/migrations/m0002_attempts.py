"""Receipts name the attempts that failed before the one that answered."""

from typing import TYPE_CHECKING

from sqlalchemy import Column, Text

if TYPE_CHECKING:
    from alembic.operations import Operations


def upgrade(op: "Operations") -> None:
    """Adds the column."""
    op.add_column("receipt", Column("failed_attempts", Text))
