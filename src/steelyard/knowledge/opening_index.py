"""An index that is opened when it is first used: what it takes to import is not waited for by those who only want to call a model."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from steelyard.knowledge.index import Hit, IndexedChunk, SearchIndex, Wish


class OpeningIndex:
    """Implements `index.SearchIndex` by another.

    Args:
        opening: opens it; blocks, and is run in a thread.
    """

    def __init__(self, opening: Callable[[], SearchIndex]) -> None:
        self._opening = opening
        self._opened: asyncio.Task[SearchIndex] | None = None

    def __repr__(self) -> str:
        return f"<OpeningIndex {'opened' if self._opened else 'not opened yet'}>"

    async def open(self) -> SearchIndex:
        """The index itself; a failure to open it is told to whoever asks, and it is tried again by the next."""
        if self._opened is None or (self._opened.done() and self._opened.exception() is not None):
            self._opened = asyncio.create_task(asyncio.to_thread(self._opening))
        return await asyncio.shield(self._opened)

    async def put_document(
        self, base: str, document: str, chunks: Sequence[IndexedChunk], vectors: Mapping[str, Sequence[Sequence[float]]]
    ) -> None:
        """See `index.SearchIndex`."""
        await (await self.open()).put_document(base, document, chunks, vectors)

    async def delete_document(self, base: str, document: str) -> int:
        """See `index.SearchIndex`."""
        return await (await self.open()).delete_document(base, document)

    async def drop_base(self, base: str) -> None:
        """See `index.SearchIndex`."""
        await (await self.open()).drop_base(base)

    async def put_chunk(self, base: str, chunk: IndexedChunk, vectors: Mapping[str, Sequence[float]]) -> None:
        """See `index.SearchIndex`."""
        await (await self.open()).put_chunk(base, chunk, vectors)

    async def set_enabled(self, base: str, ids: Sequence[str], *, is_enabled: bool) -> int:
        """See `index.SearchIndex`."""
        return await (await self.open()).set_enabled(base, ids, is_enabled=is_enabled)

    async def delete_chunks(self, base: str, ids: Sequence[str]) -> int:
        """See `index.SearchIndex`."""
        return await (await self.open()).delete_chunks(base, ids)

    async def list_chunks(
        self, base: str, document: str | None, *, offset: int, limit: int
    ) -> tuple[list[IndexedChunk], int]:
        """See `index.SearchIndex`."""
        return await (await self.open()).list_chunks(base, document, offset=offset, limit=limit)

    async def find_chunk(self, base: str, chunk_id: str) -> IndexedChunk | None:
        """See `index.SearchIndex`."""
        return await (await self.open()).find_chunk(base, chunk_id)

    async def find_vectors(self, base: str, document: str) -> dict[str, dict[str, Any]]:
        """See `index.SearchIndex`."""
        return await (await self.open()).find_vectors(base, document)

    async def sample(self, base: str, count: int) -> list[tuple[str, dict[str, Any]]]:
        """See `index.SearchIndex`."""
        return await (await self.open()).sample(base, count)

    async def list_owners(self) -> list[tuple[str, str]]:
        """See `index.SearchIndex`."""
        return await (await self.open()).list_owners()

    async def search(self, base: str, wish: Wish) -> list[Hit]:
        """See `index.SearchIndex`."""
        return await (await self.open()).search(base, wish)

    def close(self) -> None:
        """See `index.SearchIndex`."""
        if self._opened is not None and self._opened.done() and self._opened.exception() is None:
            self._opened.result().close()
