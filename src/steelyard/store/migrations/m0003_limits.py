"""Limits of keys and workspaces, accounts of budgets and what of them is on lease."""

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, PrimaryKeyConstraint, Text

if TYPE_CHECKING:
    from alembic.operations import Operations


def upgrade(op: "Operations") -> None:
    """Adds columns and tables."""
    op.add_column("receipt", Column("accounts", Text))
    op.add_column("api_key", Column("limits", Text))
    op.add_column("api_key", Column("lineage", Text))
    op.add_column("workspace", Column("policy", Text))
    op.create_table(
        "account",
        Column("name", Text, nullable=False),
        Column("opened_with", BigInteger, nullable=False),
        Column("settled", BigInteger, nullable=False),
        Column("ends_us", BigInteger),
        PrimaryKeyConstraint("name", name="pk_account"),
    )
    op.create_table(
        "lease",
        Column("account", Text, nullable=False),
        Column("owner", Text, nullable=False),
        Column("amount", BigInteger, nullable=False),
        Column("seq", BigInteger, nullable=False),
        Column("granted", BigInteger, nullable=False),
        PrimaryKeyConstraint("account", "owner", name="pk_lease"),
    )
