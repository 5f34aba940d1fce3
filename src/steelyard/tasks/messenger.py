"""Tells webhooks of tasks' ends: signed, at least once, again and again for two days. Source: Standard Webhooks 1.0."""

import asyncio
import logging

from steelyard.base.clock import MICROS, now_s, now_us
from steelyard.base.metrics import Registry
from steelyard.base.webhook_signature import sign
from steelyard.canon.downloads import DownloadBounds
from steelyard.store import deliveries
from steelyard.store.database import Database
from steelyard.store.deliveries import DELIVERED, FAILED, WAITING, Delivery
from steelyard.tasks.notices import get_secret
from steelyard.upstream.fetcher import Fetcher, FetchError

log = logging.getLogger("steelyard.worker")

LOOK_S = 0.5
AT_ONCE = 20
#: Pauses after the first, second … failed try, in seconds. After the last the delivery has failed.
PAUSES_S = (5, 30, 120, 600, 3600, 6 * 3600, 24 * 3600)
#: A try is not made by anybody else for this long.
TAKEN_S = 120
MAX_ANSWER_BYTES = 65_536


class Messenger:
    """One worker's share of the deliveries."""

    def __init__(self, database: Database, fetcher: Fetcher, master_key: bytes, registry: Registry) -> None:
        self._database = database
        self._fetcher = fetcher
        self._limits = fetcher.limits.within(DownloadBounds(max_bytes=MAX_ANSWER_BYTES))
        self._master_key = master_key
        self._tried = registry.counter("task_webhook_tries_total", "Tries to tell a webhook, by result", ("result",))

    async def run(self) -> None:
        """Runs for the life of the worker."""
        while True:
            try:
                async with self._database.read() as connection:
                    due = await deliveries.list_due(connection, now_us(), AT_ONCE)
                await asyncio.gather(*(self._tell(one) for one in due))
            except Exception:
                # outermost frame: whatever the database does, telling must go on
                log.exception("telling webhooks failed")
                due = []
            if len(due) < AT_ONCE:
                await asyncio.sleep(LOOK_S)

    async def _tell(self, one: Delivery) -> None:
        now = now_us()
        async with self._database.write() as connection:
            if not await deliveries.take(connection, one.id, now + TAKEN_S * MICROS, now):
                return
        status, error = await self._post(one)
        attempts = one.attempts + 1
        state, next_us = DELIVERED, now_us()
        if error:
            is_last = attempts > len(PAUSES_S)
            state = FAILED if is_last else WAITING
            next_us += 0 if is_last else PAUSES_S[attempts - 1] * MICROS
        async with self._database.write() as connection:
            await deliveries.set_result(
                connection, one.id, state=state, next_us=next_us, last_status=status or None, last_error=error or None
            )
        self._tried.add(("failed" if error else "delivered",))

    async def _post(self, one: Delivery) -> tuple[int, str]:
        """Status and, where it was not taken, why."""
        timestamp = now_s()
        headers = {
            "content-type": "application/json",
            "webhook-id": one.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(get_secret(self._master_key, one.workspace), one.id, timestamp, one.body),
        }
        try:
            answer = await self._fetcher.fetch(
                one.url,
                _ignore,
                limits=self._limits,
                method="POST",
                body=one.body,
                headers=headers,
                follows=False,
            )
        except FetchError as failure:
            return failure.status, failure.cause
        return answer.status, "" if 200 <= answer.status < 300 else f"status {answer.status}"


def _ignore(_part: bytes) -> None:
    """What a webhook answers matters to nobody."""
