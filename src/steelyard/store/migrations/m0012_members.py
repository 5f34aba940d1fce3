"""Members of the console, their sessions, and invitations; what pages of many rows are found by."""

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Boolean, Column, PrimaryKeyConstraint, Text, UniqueConstraint, text

if TYPE_CHECKING:
    from alembic.operations import Operations


def _text(*names: str) -> list["Column[str]"]:
    return [Column(name, Text, nullable=False) for name in names]


def upgrade(op: "Operations") -> None:
    """Adds the tables; what receipts say already is summed."""
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
    op.create_index("ix_api_key_workspace_created_us_id", "api_key", ["workspace", "created_us", "id"])
    op.create_table(
        "day_sum",
        *_text("workspace", "kind"),
        Column("day_us", BigInteger, nullable=False),
        *_text("name", "currency"),
        *[Column(name, BigInteger, nullable=False) for name in _SUMS],
        PrimaryKeyConstraint("workspace", "kind", "day_us", "name", "currency", name="pk_day_sum"),
    )
    for kind, name in (("model", "model"), ("key", "key_id")):
        op.execute(text(_FILL.format(kind=kind, name=name)))


_SUMS = ("calls", "failed_calls", "prompt_tokens", "completion_tokens", "free_tokens_used", "charged_micros")
#: Days are of 86,400,000,000 microseconds in UTC. The places are filled with words of this file alone.
_FILL = """
INSERT INTO day_sum (workspace, kind, day_us, name, currency, calls, failed_calls, prompt_tokens, completion_tokens, free_tokens_used, charged_micros)
SELECT workspace, '{kind}', started_us - started_us % 86400000000, {name}, currency, COUNT(*),
  SUM(CASE WHEN outcome = 'completed' THEN 0 ELSE 1 END), SUM(prompt_tokens), SUM(completion_tokens), SUM(free_tokens_used), SUM(charged_micros)
FROM receipt GROUP BY workspace, started_us - started_us % 86400000000, {name}, currency
"""
