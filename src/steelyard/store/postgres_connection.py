"""A PostgreSQL connection that may be cut off at any moment. Imported where PostgreSQL is used."""

import asyncio
from collections.abc import Iterable
from typing import Any

import asyncpg


class EndingConnection(asyncpg.Connection):  # type: ignore[misc]
    """A connection that ends where many rows are cut off.

    asyncpg (0.32) hears a cancellation while it waits to send more rows, sends no more of them, and then waits for the answer to a
    statement that it has not finished: for ever, with the transaction's locks in its hands.
    """

    async def executemany(self, command: str, args: Iterable[Any], *, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """See `asyncpg.Connection.executemany`."""
        sending = asyncio.ensure_future(super().executemany(command, args, timeout=timeout))
        sending.add_done_callback(_heed)
        try:
            await asyncio.shield(sending)
        except asyncio.CancelledError:
            # the server takes the transaction back; SQLAlchemy gives up a connection on which somebody was cancelled in any case
            self.terminate()
            sending.cancel()
            raise


def _heed(sending: asyncio.Future[None]) -> None:
    """Takes note of how it ended, so that nobody complains: who was cancelled is told that, whatever became of the rows."""
    if not sending.cancelled():
        sending.exception()
