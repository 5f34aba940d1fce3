"""Files and objects as their workspace sees them."""

import msgspec

#: Purposes of files, by the prefix of their ids. Source: openai-compatible.md 7.
PREFIXES = {
    "file-extract": "file-fe",
    "batch": "file-batch",
    "batch_output": "file-batch_output",
    "batch_error": "file-batch_error",
    "inference": "file",
    "fine-tune": "file-ft",
}


class StoredObject(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes in the object store, under a name, owned by one workspace."""

    id: str
    workspace: str
    #: SHA-256 of the bytes, in hexadecimal: under it they lie in the store, once.
    digest: str
    size_bytes: int
    content_type: str
    #: With its extension: the last part of a link.
    name: str
    created_us: int
    #: None keeps it until it is deleted.
    keep_until_us: int | None = None
    #: Part of every link's signature: a higher one makes older links void.
    link_epoch: int = 0


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a caller uploaded, or that a batch made."""

    id: str
    workspace: str
    key_id: str
    purpose: str
    description: str = ""
    #: "processed" or "error"
    status: str = "processed"
    object: StoredObject
