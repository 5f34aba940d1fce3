"""Work in the background ends between two rounds, never in one."""

import asyncio
from pathlib import Path

from sqlalchemy import text

from steelyard.assembly.process import background, repeat
from steelyard.store.database import open_database


async def test_a_round_under_way_is_finished() -> None:
    seen: list[str] = []

    async def work() -> None:
        seen.append("begun")
        await asyncio.sleep(0.2)
        seen.append("done")

    async with background(repeat("a test", 0.01, work)):
        while not seen:
            await asyncio.sleep(0.01)
    assert seen == ["begun", "done"]


async def test_a_round_that_fails_is_told_and_the_next_one_comes() -> None:
    rounds = 0

    async def work() -> None:
        nonlocal rounds
        rounds += 1
        raise ValueError(rounds)

    async with background(repeat("a test", 0.01, work)):
        while rounds < 3:
            await asyncio.sleep(0.01)


async def test_no_lock_is_left_behind(tmp_path: Path) -> None:
    """Whoever ends work that writes can write at once, whatever it was in the midst of."""
    async with open_database("sqlite:///a.db", tmp_path) as database:
        async with database.write() as connection:
            await connection.execute(text("CREATE TABLE t (n INTEGER)"))

        async def work() -> None:
            async with database.write() as connection:
                for n in range(20):
                    await connection.execute(text("INSERT INTO t VALUES (:n)"), {"n": n})

        for turn in range(25):
            async with background(repeat("a test", 0.001, work)):
                await asyncio.sleep(0.003 * (turn % 7))
            async with asyncio.timeout(2), database.write() as connection:
                await connection.execute(text("DELETE FROM t"))
