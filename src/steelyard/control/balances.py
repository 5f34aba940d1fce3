"""What is left of free tokens and budgets, as metrics: the same whichever process asks, so they are asked for once."""

from sqlalchemy.exc import SQLAlchemyError

from steelyard.base.clock import now_us
from steelyard.base.metrics import Reading, Registry
from steelyard.canon.limits import Budget
from steelyard.policy.limits import Line, budget_line
from steelyard.store import accounts, keys, workspaces
from steelyard.store.database import Database

#: Budgets that are told of; the workspaces' come first.
MAX_BUDGETS = 1_000


class Balances:
    """Reads them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def measure(self) -> dict[str, Reading]:
        """The metrics; none while the database does not answer."""
        registry = Registry()
        free = registry.gauge("llm_free_tokens_left", "Free tokens that a workspace has left.", ("workspace_id",))
        used = registry.gauge(
            "llm_budget_used_ratio",
            "What is spent of a budget in its period, settled calls alone.",
            ("workspace_id", "apikey_id", "unit", "per"),
        )
        try:
            async with self._database.read() as connection:
                found = await workspaces.list_workspaces(connection)
                budgets = [(one.name, "", one.policy.limits.budget) for one in found]
                held = await keys.list_limited_keys(connection, MAX_BUDGETS)
                budgets += [(one.grant.workspace, one.grant.key_id, one.grant.limits.budget) for one in held]
                lines = [
                    (space, key, _line(space, key, budget)) for space, key, budget in budgets if budget is not None
                ]
                lines = lines[:MAX_BUDGETS]
                settled = await accounts.list_settled(connection, [line.account for _, _, line in lines])
        except (OSError, SQLAlchemyError):
            return {}
        for one in found:
            if one.activated_us is not None:
                free.set((one.name,), one.free_tokens_left)
        for space, key, line in lines:
            spent = settled.get(line.account, 0)
            used.set((space, key, line.unit, line.per), spent / line.limit if line.limit else 1.0)
        return registry.read()


def _line(workspace: str, key: str, budget: Budget) -> Line:
    subject = f"key:{key}" if key else f"workspace:{workspace}"
    return budget_line(subject, budget, "", "", now_us())
