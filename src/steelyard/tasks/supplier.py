"""Supplies calls with what they refer to: documents as texts, media as data, never by a link that the model's host would follow."""

import asyncio
import base64
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from pathlib import Path

from steelyard.base.errors import Fault, fault
from steelyard.canon.contents import FILE_SCHEME, OSS_SCHEME, TEXT, Want
from steelyard.canon.task import TaskFailure
from steelyard.dialects.openai_messages import MAX_DATA_URI_BYTES
from steelyard.policy.contents import ContentsAsk
from steelyard.tasks.contents import Content, ContentFailed, Contents

#: A call may name this many. Source: openai-compatible.md 3.
MAX_WANTS = 100
#: Calls supplied at once: what they refer to is in memory meanwhile.
SLOTS = 8
#: Of texts kept for the next call that names the same document.
MAX_KEPT_CHARS = 32 * 1024 * 1024

#: (file, its name) -> its text
ReadText = Callable[[Path, str], Awaitable[str]]


class Unreadable(Exception):
    """A document has no text that can be read; its text says why."""


class Supplier:
    """Looks up what calls refer to.

    Args:
        max_bytes: of everything that one call refers to: no more than a call may have itself.
    """

    def __init__(self, contents: Contents, read_text: ReadText, work_dir: Path, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._slots = asyncio.Semaphore(SLOTS)
        self._contents = contents
        self._read_text = read_text
        self._work_dir = work_dir
        self._texts: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._kept_chars = 0
        #: Documents that are being read: calls that name the same one wait together.
        self._reading: dict[tuple[str, str], asyncio.Task[str]] = {}

    async def supply(self, ask: ContentsAsk) -> tuple[str, ...]:
        """What takes the place of each link.

        Raises:
            Fault: one leads to nothing that this workspace may use, or there is too much of it.
        """
        if len(ask.wants) >= MAX_WANTS:
            raise fault("files_too_many")
        async with self._slots:
            return tuple(await self._values(ask))

    async def _values(self, ask: ContentsAsk) -> list[str]:
        values: list[str] = []
        size = 0
        for want in ask.wants:
            values.append(await self._value(want, ask))
            size += len(values[-1].encode())
            if size > self._max_bytes:
                raise fault(
                    "file_too_large", limit_bytes=self._max_bytes, size=f"at least {size} with what it refers to"
                )
        return values

    async def _value(self, want: Want, ask: ContentsAsk) -> str:
        if want.link.startswith(OSS_SCHEME) and not ask.resolves_oss:
            raise fault("oss_not_resolved")
        try:
            content = await self._contents.resolve(
                want.link, ask.workspace, resolves_oss=ask.resolves_oss, bounds=ask.downloads
            )
        except ContentFailed as failed:
            raise _fault_of(want.link, failed.failure) from None
        return await self._text(want.link, content) if want.form == TEXT else await self._data(content)

    async def _data(self, content: Content) -> str:
        if content.size_bytes * 4 // 3 > MAX_DATA_URI_BYTES:
            raise fault("media_too_large")
        data = await self._contents.read(content)
        return f"data:{content.content_type};base64,{base64.b64encode(data).decode()}"

    async def _text(self, link: str, content: Content) -> str:
        key = (content.digest, Path(content.name).suffix.lower())
        known = self._texts.get(key)
        if known is not None:
            self._texts.move_to_end(key)
            return known
        task = self._reading.get(key)
        if task is None:
            task = self._reading[key] = asyncio.create_task(self._read(content))
            task.add_done_callback(lambda _: self._reading.pop(key, None))
        try:
            # whoever else waits for it must not lose it with us
            text = await asyncio.shield(task)
        except Unreadable as exc:
            raise fault("file_unreadable", file=link.removeprefix(FILE_SCHEME), detail=f" ({exc})") from None
        self._keep(key, text)
        return text

    async def _read(self, content: Content) -> str:
        path = self._work_dir / f"document-{secrets.token_hex(8)}.part"
        try:
            return await self._read_text(await self._contents.put(content, path), content.name)
        finally:
            path.unlink(missing_ok=True)

    def _keep(self, key: tuple[str, str], text: str) -> None:
        if key in self._texts or len(text) > MAX_KEPT_CHARS:
            return
        self._texts[key] = text
        self._kept_chars += len(text)
        while self._kept_chars > MAX_KEPT_CHARS:
            self._kept_chars -= len(self._texts.popitem(last=False)[1])


def _fault_of(link: str, failure: TaskFailure) -> Fault:
    """A link's failure as a call tells it."""
    if link.startswith(FILE_SCHEME):
        return fault("file_id_invalid", file=link.removeprefix(FILE_SCHEME)[:100])
    told = failure.detail
    texts = (f"{told['explanation'][one]} {told['cure'][one]}" for one in ("en", "zh"))
    return fault("media_download_failed", detail=f" ({' / '.join(texts)})")
