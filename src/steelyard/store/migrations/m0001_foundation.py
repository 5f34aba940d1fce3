"""The first schema: workspaces, keys, receipts, changes, replay, audit."""

from typing import TYPE_CHECKING

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
)

if TYPE_CHECKING:
    from alembic.operations import Operations

_RowId = BigInteger().with_variant(Integer, "sqlite")


def upgrade(op: "Operations") -> None:
    """Creates the tables."""
    op.create_table(
        "meta",
        Column("name", Text, nullable=False),
        Column("value", Text, nullable=False),
        PrimaryKeyConstraint("name", name="pk_meta"),
    )
    op.create_table(
        "workspace",
        Column("name", Text, nullable=False),
        Column("created_us", BigInteger, nullable=False),
        Column("activated_us", BigInteger),
        Column("free_tokens_granted", BigInteger, nullable=False),
        Column("free_tokens_left", BigInteger, nullable=False),
        PrimaryKeyConstraint("name", name="pk_workspace"),
    )
    op.create_table(
        "api_key",
        Column("id", Text, nullable=False),
        Column("digest", Text, nullable=False),
        Column("masked", Text, nullable=False),
        Column("name", Text, nullable=False),
        Column("workspace", Text, nullable=False),
        Column("kind", Text, nullable=False),
        Column("models", Text, nullable=False),
        Column("operations", Text, nullable=False),
        Column("networks", Text, nullable=False),
        Column("created_us", BigInteger, nullable=False),
        Column("expires_us", BigInteger),
        Column("is_disabled", Boolean, nullable=False),
        PrimaryKeyConstraint("id", name="pk_api_key"),
        UniqueConstraint("digest", name="uq_api_key_digest"),
    )
    op.create_index("ix_api_key_workspace", "api_key", ["workspace"])
    op.create_table(
        "receipt",
        Column("request_id", Text, nullable=False),
        Column("workspace", Text, nullable=False),
        Column("key_id", Text, nullable=False),
        Column("operation", Text, nullable=False),
        Column("model", Text, nullable=False),
        Column("target", Text, nullable=False),
        Column("is_stream", Boolean, nullable=False),
        Column("status", Integer, nullable=False),
        Column("error", Text),
        Column("outcome", Text, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("started_us", BigInteger, nullable=False),
        Column("duration_us", BigInteger, nullable=False),
        Column("first_token_us", BigInteger),
        Column("hold_tokens", BigInteger, nullable=False),
        Column("hold_micros", BigInteger, nullable=False),
        Column("prompt_tokens", BigInteger, nullable=False),
        Column("completion_tokens", BigInteger, nullable=False),
        Column("cached_tokens", BigInteger, nullable=False),
        Column("reasoning_tokens", BigInteger, nullable=False),
        Column("is_estimated", Boolean, nullable=False),
        Column("counted_tokens", BigInteger, nullable=False),
        Column("price_version", Text, nullable=False),
        Column("currency", Text, nullable=False),
        Column("cost_micros", BigInteger, nullable=False),
        Column("free_tokens_used", BigInteger, nullable=False),
        Column("charged_micros", BigInteger, nullable=False),
        Column("client_request_id", Text),
        Column("settled_us", BigInteger, nullable=False),
        PrimaryKeyConstraint("request_id", name="pk_receipt"),
    )
    op.create_index("ix_receipt_workspace_started_us", "receipt", ["workspace", "started_us"])
    op.create_table(
        "change",
        Column("id", _RowId, autoincrement=True, nullable=False),
        Column("kind", Text, nullable=False),
        Column("subject", Text, nullable=False),
        Column("at_us", BigInteger, nullable=False),
        PrimaryKeyConstraint("id", name="pk_change"),
    )
    op.create_table(
        "replay",
        Column("scope", Text, nullable=False),
        Column("key", Text, nullable=False),
        Column("body_digest", Text, nullable=False),
        Column("request_id", Text, nullable=False),
        Column("state", Text, nullable=False),
        Column("answer", LargeBinary),
        Column("created_us", BigInteger, nullable=False),
        PrimaryKeyConstraint("scope", "key", name="pk_replay"),
    )
    op.create_index("ix_replay_created_us", "replay", ["created_us"])
    op.create_table(
        "audit",
        Column("id", _RowId, autoincrement=True, nullable=False),
        Column("at_us", BigInteger, nullable=False),
        Column("actor", Text, nullable=False),
        Column("action", Text, nullable=False),
        Column("subject", Text, nullable=False),
        Column("detail", Text, nullable=False),
        PrimaryKeyConstraint("id", name="pk_audit"),
    )
