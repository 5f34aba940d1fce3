"""Receipts by the time of their settling: monitoring reads each minute's."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alembic.operations import Operations


def upgrade(op: "Operations") -> None:
    """Adds the index."""
    op.create_index("ix_receipt_settled_us", "receipt", ["settled_us"])
