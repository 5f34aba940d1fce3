"""What bytes are, by how they begin, and what of it may be shown in a browser. Values in, values out."""

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"BM", "image/bmp"),
    (8, b"WEBP", "image/webp"),
    (8, b"WAVE", "audio/wav"),
    (8, b"AVI ", "video/x-msvideo"),
    (4, b"ftypqt", "video/quicktime"),
    (4, b"ftypM4A", "audio/mp4"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"\xff\xf3", "audio/mpeg"),
    (0, b"OggS", "audio/ogg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"{\\rtf", "application/rtf"),
)
_EXTENSIONS = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/gif": ".gif",
    "image/bmp": ".bmp",
    "image/webp": ".webp",
    "audio/wav": ".wav",
    "audio/mpeg": ".mp3",
    "audio/ogg": ".ogg",
    "audio/flac": ".flac",
    "audio/mp4": ".m4a",
    "video/mp4": ".mp4",
    "video/webm": ".webm",
    "video/quicktime": ".mov",
    "application/pdf": ".pdf",
    "application/gzip": ".gz",
    "application/json": ".json",
    "text/plain": ".txt",
}
#: What a browser may show in place; everything else is downloaded, and nothing is ever told to be a page or a script.
_SHOWN = ("image/", "audio/", "video/", "text/plain", "application/json", "application/pdf")
BINARY = "application/octet-stream"
TEXT = "text/plain; charset=utf-8"


def sniff(head: bytes, name: str = "") -> str:
    """The content type by the first bytes; a name decides only between kinds of text."""
    for offset, magic, kind in _MAGIC:
        if head.startswith(magic, offset):
            return kind
    if not _is_text(head):
        return BINARY
    return "application/json" if name.lower().endswith((".json", ".jsonl")) else TEXT


def _is_text(head: bytes) -> bool:
    if b"\x00" in head:
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as exc:
        # a character may be cut off where the head ends
        if exc.start < len(head) - 3:
            return False
    return True


def extension_of(content_type: str) -> str:
    """With its dot; `.bin` where nothing is known."""
    return _EXTENSIONS.get(content_type.partition(";")[0], ".bin")


def is_shown(content_type: str) -> bool:
    """Whether a browser may show it in place."""
    return content_type.startswith(_SHOWN) and "svg" not in content_type


def safe_name(name: str, content_type: str) -> str:
    """A name that is good as the last part of a link: no directories, no control characters, an extension."""
    base = name.replace("\\", "/").rpartition("/")[2]
    kept = "".join(one for one in base if one.isprintable() and one not in '<>:"|?*%#').strip(". ")[-120:]
    if not kept:
        kept = "file"
    return kept if "." in kept else kept + extension_of(content_type)
