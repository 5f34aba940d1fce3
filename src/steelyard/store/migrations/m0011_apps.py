"""Apps, their versions and sessions, plugins; calls that are parts of calls; keys with lists of tools."""

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Boolean, Column, Integer, PrimaryKeyConstraint, Text

if TYPE_CHECKING:
    from alembic.operations import Operations


def _text(*names: str) -> list["Column[str]"]:
    return [Column(name, Text, nullable=False) for name in names]


def _numbers(*names: str) -> list["Column[int]"]:
    return [Column(name, BigInteger, nullable=False) for name in names]


def upgrade(op: "Operations") -> None:
    """Adds the columns and the tables."""
    op.add_column("receipt", Column("parent", Text))
    op.create_index("ix_receipt_parent", "receipt", ["parent"])
    op.add_column("api_key", Column("tools", Text))
    op.create_table(
        "app",
        *_text("id", "workspace", "name", "draft"),
        Column("published", Integer, nullable=False),
        *_numbers("created_us", "modified_us"),
        PrimaryKeyConstraint("id", name="pk_app"),
    )
    op.create_index("ix_app_workspace_created_us", "app", ["workspace", "created_us"])
    op.create_table(
        "app_version",
        *_text("app_id"),
        Column("version", Integer, nullable=False),
        *_text("spec"),
        *_numbers("created_us"),
        PrimaryKeyConstraint("app_id", "version", name="pk_app_version"),
    )
    op.create_table(
        "session_turn",
        *_text("id", "workspace", "app_id", "session_id", "messages"),
        *_numbers("created_us", "expires_us"),
        PrimaryKeyConstraint("id", name="pk_session_turn"),
    )
    op.create_index(
        "ix_session_turn_workspace_app_id_session_id_created_us",
        "session_turn",
        ["workspace", "app_id", "session_id", "created_us"],
    )
    op.create_index("ix_session_turn_expires_us", "session_turn", ["expires_us"])
    op.create_table(
        "plugin",
        *_text("workspace", "name", "spec", "tools"),
        Column("is_enabled", Boolean, nullable=False),
        *_numbers("created_us", "modified_us"),
        PrimaryKeyConstraint("workspace", "name", name="pk_plugin"),
    )
