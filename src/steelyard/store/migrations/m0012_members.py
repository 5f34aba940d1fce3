"""Members of the console, their sessions, and invitations; what pages of many rows are found by."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Boolean, Column, Connection, PrimaryKeyConstraint, Text, UniqueConstraint, text

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
        "used_sum",
        *_text("workspace", "kind"),
        Column("since_us", BigInteger, nullable=False),
        *_text("name", "currency"),
        *[Column(name, BigInteger, nullable=False) for name in _SUMS],
        PrimaryKeyConstraint("workspace", "kind", "since_us", "name", "currency", name="pk_used_sum"),
    )
    columns = ["workspace", "kind", "since_us", "tokens"]
    op.create_index("ix_used_sum_workspace_kind_since_us_tokens", "used_sum", columns)
    fill_sums(op.get_bind())


_SUMS = (
    "calls", "failed_calls", "prompt_tokens", "completion_tokens", "free_tokens_used", "charged_micros", "tokens",
)  # fmt: skip
_DAY_US = 86_400_000_000
_BY_DAY = """
SELECT workspace, started_us - started_us % 86400000000, {name}, currency, COUNT(*),
  SUM(CASE WHEN outcome = 'completed' THEN 0 ELSE 1 END), SUM(prompt_tokens), SUM(completion_tokens), SUM(free_tokens_used),
  SUM(charged_micros), SUM(prompt_tokens + completion_tokens)
FROM receipt GROUP BY 1, 2, 3, 4
"""


def fill_sums(connection: Connection) -> None:
    """Adds up what is in the ledger already."""
    sums: dict[tuple[str, str, int, str, str], list[int]] = {}
    for kind, name in (("model", "model"), ("key", "key_id")):
        for workspace, day_us, who, currency, *amounts in connection.execute(text(_BY_DAY.format(name=name))):
            since_us = _month_us(int(day_us)) if kind == "key" else int(day_us)
            total = sums.setdefault((workspace, kind, since_us, who, currency), [0] * len(_SUMS))
            for place, amount in enumerate(amounts):
                total[place] += int(amount)
    names = ("workspace", "kind", "since_us", "name", "currency", *_SUMS)
    rows = [dict(zip(names, (*key, *total), strict=True)) for key, total in sums.items()]
    if rows:
        places = ", ".join(f":{name}" for name in names)
        connection.execute(text(f"INSERT INTO used_sum ({', '.join(names)}) VALUES ({places})"), rows)  # noqa: S608 - names of its own


def _month_us(day_us: int) -> int:
    first = datetime.fromtimestamp(day_us / 1_000_000, UTC).replace(day=1)
    return int(first.timestamp()) * 1_000_000
