"""Tasks, objects, files, uploads, workers and webhook deliveries; pictures and seconds of video and sound in receipts."""

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Boolean, Column, Integer, LargeBinary, PrimaryKeyConstraint, Text

if TYPE_CHECKING:
    from alembic.operations import Operations


def upgrade(op: "Operations") -> None:
    """Adds the tables and three columns."""
    op.add_column("receipt", Column("image_count", BigInteger, nullable=False, server_default="0"))
    op.add_column("receipt", Column("video_seconds", BigInteger, nullable=False, server_default="0"))
    op.add_column("receipt", Column("audio_seconds", BigInteger, nullable=False, server_default="0"))
    op.create_table(
        "object",
        Column("id", Text, nullable=False),
        Column("workspace", Text, nullable=False),
        Column("digest", Text, nullable=False),
        Column("size_bytes", BigInteger, nullable=False),
        Column("content_type", Text, nullable=False),
        Column("name", Text, nullable=False),
        Column("created_us", BigInteger, nullable=False),
        Column("keep_until_us", BigInteger),
        Column("link_epoch", Integer, nullable=False),
        PrimaryKeyConstraint("id", name="pk_object"),
    )
    op.create_table(
        "file",
        Column("id", Text, nullable=False),
        Column("workspace", Text, nullable=False),
        Column("key_id", Text, nullable=False),
        Column("purpose", Text, nullable=False),
        Column("description", Text, nullable=False),
        Column("status", Text, nullable=False),
        Column("object_id", Text, nullable=False),
        Column("created_us", BigInteger, nullable=False),
        PrimaryKeyConstraint("id", name="pk_file"),
    )
    op.create_table(
        "upload",
        Column("key", Text, nullable=False),
        Column("workspace", Text, nullable=False),
        Column("model", Text, nullable=False),
        Column("object_id", Text, nullable=False),
        Column("expires_us", BigInteger, nullable=False),
        PrimaryKeyConstraint("key", name="pk_upload"),
    )
    op.create_table(
        "task",
        Column("id", Text, nullable=False),
        Column("workspace", Text, nullable=False),
        Column("key_id", Text, nullable=False),
        Column("request_id", Text, nullable=False),
        Column("kind", Text, nullable=False),
        Column("model", Text, nullable=False),
        Column("status", Text, nullable=False),
        Column("lane", Text, nullable=False),
        Column("owner", Text, nullable=False),
        Column("priority", Integer, nullable=False),
        Column("ready_us", BigInteger, nullable=False),
        Column("attempt", Integer, nullable=False),
        Column("ask", LargeBinary, nullable=False),
        Column("notes", Text),
        Column("target", Text, nullable=False),
        Column("done_count", Integer, nullable=False),
        Column("total_count", Integer, nullable=False),
        Column("outcome", LargeBinary),
        Column("failure", Text),
        Column("is_cancelling", Boolean, nullable=False),
        Column("holds", Text, nullable=False),
        Column("created_us", BigInteger, nullable=False),
        Column("started_us", BigInteger),
        Column("ended_us", BigInteger),
        Column("deadline_us", BigInteger, nullable=False),
        Column("keep_until_us", BigInteger),
        PrimaryKeyConstraint("id", name="pk_task"),
    )
    op.create_table(
        "worker",
        Column("name", Text, nullable=False),
        Column("beat_us", BigInteger, nullable=False),
        PrimaryKeyConstraint("name", name="pk_worker"),
    )
    op.create_table(
        "delivery",
        Column("id", Text, nullable=False),
        Column("task_id", Text, nullable=False),
        Column("workspace", Text, nullable=False),
        Column("url", Text, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("state", Text, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("next_us", BigInteger, nullable=False),
        Column("last_status", Integer),
        Column("last_error", Text),
        Column("created_us", BigInteger, nullable=False),
        PrimaryKeyConstraint("id", name="pk_delivery"),
    )
    op.create_index("ix_object_digest", "object", ["digest"])
    op.create_index("ix_object_keep_until_us", "object", ["keep_until_us"])
    op.create_index("ix_object_workspace_created_us", "object", ["workspace", "created_us"])
    op.create_index("ix_file_workspace_created_us", "file", ["workspace", "created_us"])
    op.create_index("ix_task_owner_lane_priority", "task", ["owner", "lane", "priority"])
    op.create_index("ix_task_workspace_created_us", "task", ["workspace", "created_us"])
    op.create_index("ix_task_keep_until_us", "task", ["keep_until_us"])
    op.create_index("ix_delivery_state_next_us", "delivery", ["state", "next_us"])
    op.create_index("ix_delivery_task_id", "delivery", ["task_id"])
