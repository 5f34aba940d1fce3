"""Group commit: those who come while a portion is being written are written together, in the next one.

Alone, an item waits for nobody; under load a hundred share one transaction.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Group(Generic[T, R]):
    """Collects items for a function that takes many at once.

    Args:
        work: (items) -> one result an item, in their order. What it raises, all of them are told.
        most: items in a portion.
    """

    def __init__(self, work: Callable[[list[T]], Awaitable[list[R]]], *, most: int = 500) -> None:
        self._work = work
        self._most = most
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._runner: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Group [{len(self._waiting)} waiting]>"

    async def do(self, item: T) -> R:
        """The item's result, once its portion is done."""
        done: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run())
        # whoever is cancelled leaves; what was begun is done all the same
        return await asyncio.shield(done)

    async def _run(self) -> None:
        while self._waiting:
            portion, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            try:
                results = await self._work([item for item, _ in portion])
            except BaseException as exc:
                for _, done in portion:
                    if not done.done():
                        done.set_exception(exc)
                        done.exception()
                if not isinstance(exc, Exception):
                    raise
            else:
                for (_, done), result in zip(portion, results, strict=True):
                    if not done.done():
                        done.set_result(result)
