"""Alerts on keys: used from a new network, or spending far more than they did. A workspace may have such keys switched off.

Alerts are entries of the audit trail, `alert.new_network` and `alert.spend_jump`, and lines of the log.
"""

import logging

from steelyard.base.clock import MICROS, monotonic, now_us
from steelyard.canon.grant import ALERT, DISABLE, OFF
from steelyard.control import keys
from steelyard.store import audit, networks, workspaces
from steelyard.store import keys as key_records
from steelyard.store.database import Database

log = logging.getLogger("steelyard.hygiene")

HOUR_US = 3600 * MICROS
#: The last hour is compared with the mean of so many hours before it.
BEFORE_HOURS = 24
JUMP = 10
#: A key that took fewer tokens in the hour is of no concern.
MIN_TOKENS = 200_000
#: The same key is not told of again for this long.
QUIET_S = 3600.0


class Hygiene:
    """Takes what the gateways see, and looks at the ledger."""

    def __init__(self, database: Database, *, min_tokens: int = MIN_TOKENS) -> None:
        self._database = database
        self._min_tokens = min_tokens
        self._quiet_until: dict[str, float] = {}

    async def saw_network(self, key_id: str, network: str) -> None:
        """A key was used from a network; its first one is no news."""
        async with self._database.write() as connection:
            is_new, others = await networks.add_network(connection, key_id, network, now_us())
        if is_new and others:
            await self._alert(key_id, "alert.new_network", f"first used from {network}; {others} known before")

    async def look_at_spending(self) -> None:
        """Compares each key's last hour with the day before it."""
        now = now_us()
        async with self._database.read() as connection:
            lately = await networks.sum_tokens_by_key(connection, now - HOUR_US, now)
            before = await networks.sum_tokens_by_key(connection, now - (1 + BEFORE_HOURS) * HOUR_US, now - HOUR_US)
        for key_id, tokens in lately.items():
            mean = before.get(key_id, 0) / BEFORE_HOURS
            if mean and tokens >= self._min_tokens and tokens > JUMP * mean and self._is_due(key_id):
                detail = f"{tokens:,} tokens in the last hour, {mean:,.0f} an hour before"
                await self._alert(key_id, "alert.spend_jump", detail)

    def _is_due(self, key_id: str) -> bool:
        now = monotonic()
        self._quiet_until = {one: until for one, until in self._quiet_until.items() if until > now}
        if key_id in self._quiet_until:
            return False
        self._quiet_until[key_id] = now + QUIET_S
        return True

    async def _alert(self, key_id: str, action: str, detail: str) -> None:
        async with self._database.write() as connection:
            record = await key_records.find_by_id(connection, key_id)
            if record is None:
                return
            workspace = await workspaces.find_workspace(connection, record.grant.workspace)
            wanted = ALERT if workspace is None else workspace.policy.hygiene
            if wanted == OFF:
                return
            told = f"{record.grant.workspace}: key {record.grant.name!r}: {detail}"
            await audit.append(connection, actor="hygiene", action=action, subject=key_id, detail=told, now_us=now_us())
        log.warning("%s %s: %s", action, key_id, told)
        if wanted == DISABLE and not record.grant.is_disabled:
            await keys.set_disabled(self._database, key_id, True, actor="hygiene")
