"""From which networks each key was used, and what each spent lately."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from steelyard.store.insertion import insert_if_absent
from steelyard.store.schema import key_network, receipt


async def add_network(connection: AsyncConnection, key_id: str, network: str, now_us: int) -> tuple[bool, int]:
    """Notes a network of a key: whether it is new, and how many others there are."""
    values = {"key_id": key_id, "network": network, "first_us": now_us}
    is_new = await insert_if_absent(connection, key_network, values)
    count = await connection.scalar(select(func.count()).select_from(key_network).where(key_network.c.key_id == key_id))
    return is_new, int(count or 0) - 1


async def sum_tokens_by_key(connection: AsyncConnection, since_us: int, until_us: int) -> dict[str, int]:
    """Tokens by key in a time."""
    tokens = func.sum(receipt.c.prompt_tokens + receipt.c.completion_tokens)
    query = (
        select(receipt.c.key_id, tokens)
        .where(receipt.c.started_us >= since_us, receipt.c.started_us < until_us)
        .group_by(receipt.c.key_id)
    )
    return {key_id: int(total) for key_id, total in await connection.execute(query)}
