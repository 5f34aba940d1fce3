"""The networks that keys are used from."""

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, PrimaryKeyConstraint, Text

if TYPE_CHECKING:
    from alembic.operations import Operations


def upgrade(op: "Operations") -> None:
    """Adds the table."""
    op.create_table(
        "key_network",
        Column("key_id", Text, nullable=False),
        Column("network", Text, nullable=False),
        Column("first_us", BigInteger, nullable=False),
        PrimaryKeyConstraint("key_id", "network", name="pk_key_network"),
    )
    op.create_index("ix_receipt_started_us", "receipt", ["started_us"])
