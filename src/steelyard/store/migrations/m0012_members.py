"""Members of the console, their sessions, and invitations; what pages of many rows are found by."""

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Boolean, Column, PrimaryKeyConstraint, Text, UniqueConstraint

if TYPE_CHECKING:
    from alembic.operations import Operations


def _text(*names: str) -> list["Column[str]"]:
    return [Column(name, Text, nullable=False) for name in names]


def upgrade(op: "Operations") -> None:
    """Adds the tables."""
    op.create_table(
        "member",
        *_text("id", "login", "password", "role", "workspaces", "language"),
        Column("is_disabled", Boolean, nullable=False),
        Column("created_us", BigInteger, nullable=False),
        PrimaryKeyConstraint("id", name="pk_member"),
        UniqueConstraint("login", name="uq_member_login"),
    )
    op.create_table(
        "console_session",
        *_text("digest", "member_id"),
        Column("created_us", BigInteger, nullable=False),
        Column("expires_us", BigInteger, nullable=False),
        PrimaryKeyConstraint("digest", name="pk_console_session"),
    )
    op.create_index("ix_console_session_member_id", "console_session", ["member_id"])
    op.create_index("ix_console_session_expires_us", "console_session", ["expires_us"])
    op.create_table(
        "invitation",
        *_text("digest", "role", "workspaces", "invited_by"),
        Column("expires_us", BigInteger, nullable=False),
        PrimaryKeyConstraint("digest", name="pk_invitation"),
    )
