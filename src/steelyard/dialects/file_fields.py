"""Files as the OpenAI API and the native one tell of them. Source: openai-compatible.md 7, dashscope.md 12."""

from collections.abc import Sequence
from typing import Any

from steelyard.base.errors import fault
from steelyard.base.units import MICROS
from steelyard.canon.files import StoredFile
from steelyard.dialects.dashscope_tasks import beijing_time

MIB = 1024 * 1024
#: purpose -> (extensions that it takes, most bytes)
_DOCUMENTS = (
    "txt",
    "docx",
    "pdf",
    "xlsx",
    "epub",
    "mobi",
    "md",
    "csv",
    "json",
    "html",
    "htm",
    "pptx",
    "doc",
    "xls",
    "ppt",
)
_IMAGES = ("bmp", "png", "jpg", "jpeg", "gif", "webp")
_LINES = ("jsonl",)
EXTRACT, BATCH, INFERENCE = "file-extract", "batch", "inference"
#: The vendor's two, and what the OpenAI API's clients say of documents for vector stores.
PURPOSES = (EXTRACT, BATCH, "assistants", "user_data")
MAX_DOCUMENT_BYTES, MAX_IMAGE_BYTES, MAX_BATCH_BYTES = 150 * MIB, 20 * MIB, 500 * MIB
MAX_NATIVE_BYTES = 1024 * MIB


def limit_of(purpose: str | None, name: str) -> int:
    """The most bytes that a file may have, by what it is for and what its name says that it is.

    Raises:
        Fault: `field_missing` or `parameter_invalid` for the purpose, `unsupported_file_format` for the name.
    """
    if purpose is None:
        return MAX_BATCH_BYTES
    if purpose not in PURPOSES:
        detail = f"'{purpose[:50]}' is not one of {list(PURPOSES)} - 'purpose'."
        raise fault("parameter_invalid", detail=detail, param="purpose")
    extension = name.rpartition(".")[2].lower() if "." in name else ""
    if purpose == BATCH:
        # clients that hand over bytes name them "upload"
        if extension and extension not in _LINES:
            raise fault("unsupported_file_format", accepted="jsonl", param="file")
        return MAX_BATCH_BYTES
    if extension in _IMAGES:
        return MAX_IMAGE_BYTES
    if extension and extension not in _DOCUMENTS:
        raise fault("unsupported_file_format", accepted=", ".join((*_DOCUMENTS, *_IMAGES)), param="file")
    return MAX_DOCUMENT_BYTES


def show_openai(one: StoredFile) -> dict[str, Any]:
    """A file as the OpenAI API shows it."""
    return {
        "id": one.id,
        "object": "file",
        "bytes": one.object.size_bytes,
        "created_at": one.object.created_us // MICROS,
        "filename": one.object.name,
        "purpose": one.purpose,
        "status": one.status,
        "status_details": None,
    }


def show_openai_list(files: Sequence[StoredFile], has_more: bool) -> dict[str, Any]:
    """A page of files."""
    return {
        "object": "list",
        "data": [show_openai(one) for one in files],
        "has_more": has_more,
        "first_id": files[0].id if files else None,
        "last_id": files[-1].id if files else None,
    }


def show_native(one: StoredFile, url: str) -> dict[str, Any]:
    """A file as the native API shows it."""
    return {
        "id": one.object.created_us,
        "file_id": one.id,
        "name": one.object.name,
        "description": one.description,
        "size": one.object.size_bytes,
        "sha256": one.object.digest,
        "purpose": one.purpose,
        "region": "local",
        "url": url,
        "user_id": one.workspace,
        "api_key_id": one.key_id,
        "gmt_create": beijing_time(one.object.created_us)[:19],
    }
