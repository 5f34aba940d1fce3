"""Knowledge bases, their documents and categories; secrets of access keys."""

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Integer, PrimaryKeyConstraint, Text

if TYPE_CHECKING:
    from alembic.operations import Operations


def _text(*names: str) -> list["Column[str]"]:
    return [Column(name, Text, nullable=False) for name in names]


def _numbers(*names: str) -> list["Column[int]"]:
    return [Column(name, BigInteger, nullable=False) for name in names]


def upgrade(op: "Operations") -> None:
    """Adds the column and the tables."""
    op.add_column("api_key", Column("sealed_secret", Text))
    op.create_table(
        "category",
        *_text("id", "workspace", "name", "type", "parent_id"),
        *_numbers("created_us"),
        PrimaryKeyConstraint("id", name="pk_category"),
    )
    op.create_index("ix_category_workspace_created_us", "category", ["workspace", "created_us"])
    op.create_table(
        "document",
        *_text("id", "workspace", "key_id", "category_id", "category_type", "name", "object_id", "digest"),
        *_numbers("size_bytes"),
        *_text("parser", "tags", "status", "code", "message", "blocks_id"),
        *_numbers("created_us", "modified_us"),
        PrimaryKeyConstraint("id", name="pk_document"),
    )
    op.create_index(
        "ix_document_workspace_category_id_created_us", "document", ["workspace", "category_id", "created_us"]
    )
    op.create_table(
        "knowledge_base",
        *_text("id", "workspace", "name", "spec"),
        *_numbers("created_us", "modified_us"),
        PrimaryKeyConstraint("id", name="pk_knowledge_base"),
    )
    op.create_index("ix_knowledge_base_workspace_created_us", "knowledge_base", ["workspace", "created_us"])
    op.create_table(
        "base_document",
        *_text("base_id", "document_id", "workspace", "name"),
        *_numbers("size_bytes"),
        *_text("status", "code", "message", "cutting", "metadata", "fingerprint"),
        Column("chunk_count", Integer, nullable=False),
        *_text("job_id"),
        *_numbers("created_us", "modified_us"),
        PrimaryKeyConstraint("base_id", "document_id", name="pk_base_document"),
    )
    op.create_index("ix_base_document_document_id", "base_document", ["document_id"])
    op.create_index("ix_base_document_job_id", "base_document", ["job_id"])
