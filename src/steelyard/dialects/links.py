"""Links in calls, whatever the API: which lead into our own store, and what takes their place. Values in, values out.

Source: openai-compatible.md 3.2 and 7, dashscope.md 6, for the forms in which content parts hold links.
"""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from steelyard.canon.contents import DATA, FILE_SCHEME, OSS_SCHEME, TEXT

#: Members of a call that hold its conversation.
_ROOTS = frozenset({"messages", "input", "system", "instructions"})
#: Members that hold a link to media, or a list of them.
_MEDIA = frozenset({"url", "image", "image_url", "video", "video_url", "audio", "audio_url", "data"})
#: Members that hold a text; one that is nothing but file ids stands for the documents' texts.
_TEXTS = frozenset({"content", "text", "system", "input", "instructions"})
#: A model's own words and programs' data: no links of the caller's.
_LEFT_ALONE = frozenset({"tool_calls", "arguments", "function_call"})
_CALLS = frozenset({"tool_use", "function_call"})
_FILES = re.compile(r"\s*fileid://[^\s,]+(?:\s*,\s*fileid://[^\s,]+)*\s*,?\s*")

#: (link, form) -> what takes its place
Swap = Callable[[str, str], str]


class OwnLinks:
    """Tells the links that are resolved here.

    Args:
        origin: of our own public links.
        relays: whether public links are resolved too, so that the upstream never follows them.
    """

    def __init__(self, origin: str, *, relays: bool) -> None:
        self._prefix = f"{origin}/o/"
        # slashes may be escaped in JSON: the host alone is looked for
        self._host = b"http" if relays else urlsplit(origin).netloc.encode()
        self._schemes = ("http://", "https://") if relays else (self._prefix,)

    def concerns(self, body: bytes) -> bool:
        """Whether a call may hold any, or name a file by its id. Quick, and wrong only in saying yes."""
        return b"file_id" in body or self.may_be_in(body)

    def may_be_in(self, body: bytes) -> bool:
        """Whether a call may hold any. Quick, and wrong only in saying yes."""
        # a link has a slash, which may be escaped
        if b"/" not in body and b"\\" not in body:
            return False
        return self._host in body or b"oss:" in body or b"fileid:" in body

    def is_ours(self, link: str) -> bool:
        """Whether a link is resolved here."""
        return link.startswith((OSS_SCHEME, FILE_SCHEME, *self._schemes))


def rewrite_links(body: dict[str, Any], links: OwnLinks, swap: Swap) -> dict[str, Any]:
    """A call with other things in the place of its links."""
    walk = _Walk(links, swap)
    return {name: walk.of(value, name) if name in _ROOTS else value for name, value in body.items()}


class _Walk:
    """Goes through a conversation."""

    def __init__(self, links: OwnLinks, swap: Swap) -> None:
        self._links = links
        self._swap = swap

    def of(self, value: Any, name: str) -> Any:
        if type(value) is str:
            return self._of_text(value, name)
        if type(value) is list:
            return [self.of(one, name) for one in value]
        if type(value) is not dict or _kind(value) in _CALLS:
            return value
        part = self._of_part(value)
        if part is not None:
            return part
        return {key: one if key in _LEFT_ALONE else self.of(one, key) for key, one in value.items()}

    def _of_text(self, value: str, name: str) -> str:
        if name in _MEDIA:
            return self._swap(value, DATA) if self._links.is_ours(value) else value
        if name in _TEXTS and FILE_SCHEME in value and _FILES.fullmatch(value):
            return "\n\n".join(self._swap(one.strip(), TEXT) for one in value.split(",") if one.strip())
        return value

    def _of_part(self, part: dict[str, Any]) -> dict[str, Any] | None:
        """A content part that changes its form with its content; None for all others."""
        reader = _PARTS.get(_kind(part))
        return None if reader is None else reader(part, self._links, self._swap)


def _kind(part: dict[str, Any]) -> str:
    kind = part.get("type")
    return kind if type(kind) is str else ""


def _file_id(holder: Any) -> str | None:
    found = holder.get("file_id") if type(holder) is dict else None
    return FILE_SCHEME + found.removeprefix(FILE_SCHEME) if type(found) is str and found else None


def _chat_file(part: dict[str, Any], _links: OwnLinks, swap: Swap) -> dict[str, Any] | None:
    link = _file_id(part.get("file"))
    return None if link is None else {"type": "text", "text": swap(link, TEXT)}


def _input_file(part: dict[str, Any], links: OwnLinks, swap: Swap) -> dict[str, Any] | None:
    link = _file_id(part) or part.get("file_url")
    if type(link) is not str or not links.is_ours(link):
        return None
    return {"type": "input_text", "text": swap(link, TEXT)}


def _input_image(part: dict[str, Any], _links: OwnLinks, swap: Swap) -> dict[str, Any] | None:
    link = _file_id(part)
    if link is None:
        return None
    return {**{name: one for name, one in part.items() if name != "file_id"}, "image_url": swap(link, DATA)}


def _block(part: dict[str, Any], links: OwnLinks, swap: Swap) -> dict[str, Any] | None:
    """An image or a document of the Messages API."""
    source = part.get("source")
    link = _file_id(source) or (source.get("url") if type(source) is dict else None)
    if type(link) is not str or not links.is_ours(link):
        return None
    kept = {name: part[name] for name in ("cache_control",) if name in part}
    if part["type"] == "document":
        return {"type": "text", "text": swap(link, TEXT), **kept}
    # a source of the type url cannot hold data
    head, _, data = swap(link, DATA).partition(",")
    kind = head.removeprefix("data:").partition(";")[0]
    return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}, **kept}


_PARTS: dict[str, Callable[[dict[str, Any], OwnLinks, Swap], dict[str, Any] | None]] = {
    "file": _chat_file,
    "input_file": _input_file,
    "input_image": _input_image,
    "image": _block,
    "document": _block,
}

#: Kinds of parts whose tokens have a bound of their own, however many bytes they have.
_BOUNDED = frozenset({"image_url", "input_image", "input_audio", "image"})
_INLINE = frozenset({"url", "image", "image_url", "audio", "data"})


def inline_bytes(conversation: Any) -> int:
    """How many bytes of a conversation are pictures and sound within it, of which a model reads no text."""
    if type(conversation) is list:
        return sum(inline_bytes(one) for one in conversation)
    if type(conversation) is not dict:
        return 0
    kind = _kind(conversation)
    if kind in _CALLS:
        return 0
    if kind in _BOUNDED or (not kind and not {"image", "audio"}.isdisjoint(conversation)):
        return _data_bytes(conversation)
    return sum(inline_bytes(conversation.get(name)) for name in ("messages", "contents", "content"))


def _data_bytes(part: dict[str, Any]) -> int:
    count = 0
    for name, value in part.items():
        if type(value) is dict:
            count += _data_bytes(value)
        elif type(value) is list and name in _INLINE:
            count += sum(len(one) for one in value if type(one) is str and one.startswith("data:"))
        elif type(value) is str and name in _INLINE and (name == "data" or value.startswith("data:")):
            count += len(value)
    return count
