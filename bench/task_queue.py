"""The task queue by itself, on SQLite: submitted at the desk, claimed and ended by a worker, with runners that do nothing.

Everything else is the product's: holds, receipts and results in the transaction of the end, one connection a writer, full durability.
"""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from steelyard.base.metrics import Registry
from steelyard.canon.grant import Grant
from steelyard.canon.model import Model
from steelyard.canon.task import CALLS_LANE, IMAGE, Outcome, TaskAsk
from steelyard.policy.orders import Order
from steelyard.store import tasks
from steelyard.store.database import open_database
from steelyard.store.migrations import migrate
from steelyard.store.objects.blobs import open_blobs
from steelyard.tasks.desk import Desk
from steelyard.tasks.job import Done, Job
from steelyard.tasks.links import Links
from steelyard.tasks.shelf import Shelf
from steelyard.tasks.worker import Worker

TASKS = 20_000
SUBMITTERS = 500
SLOTS = 500


class NothingToDo:
    """A runner whose work is done at once."""

    async def run(self, _job: Job, _model: Model | None) -> Done:
        return Done(Outcome())


class NoBudgets:
    """No budget is set, so nothing is held."""

    async def fulfil(self, _owner: str, _wishes: list) -> list:
        return []

    async def release(self, _owner: str) -> None:
        pass


async def no_model(_name: str) -> None:
    return None


async def measure() -> dict[str, float]:
    """Tasks a second from the first submit to the last end, submitting and working at once."""
    with tempfile.TemporaryDirectory() as place:
        data = Path(place)
        async with open_database("sqlite:///bench.db", data) as database:
            await migrate(database)
            shelf = Shelf(database, open_blobs("", data, {}), Links(b"k" * 32, "http://127.0.0.1"))
            desk = Desk(shelf, NoBudgets(), result_ttl_s=86_400, deadline_s=3600)
            worker = Worker(
                database, {IMAGE: NothingToDo()}, no_model, Registry(), name="bench.1", run_dir=data,
                slots={CALLS_LANE: SLOTS}, per_workspace=10**6, per_kind={}, result_ttl_s=86_400,
            )  # fmt: skip
            grant = Grant(key_id="key_bench", workspace="default")
            ask = TaskAsk(kind=IMAGE, model="", api="dashscope", service="text2image", prompt="a boat")
            numbers = iter(range(TASKS))

            async def submit() -> None:
                for number in numbers:
                    await desk.submit(Order(request_id=f"task-{number:08}", grant=grant, ask=ask, lane=CALLS_LANE))

            working = asyncio.create_task(worker.run())
            began = time.perf_counter()
            await asyncio.gather(*(submit() for _ in range(SUBMITTERS)))
            submitted_s = time.perf_counter() - began
            while True:
                async with database.read() as connection:
                    if not await tasks.count_open(connection):
                        break
                await asyncio.sleep(0.02)
            ended_s = time.perf_counter() - began
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            return {"tasks": TASKS, "submits_per_s": TASKS / submitted_s, "tasks_per_s": TASKS / ended_s}


def table(rounds: int) -> str:
    """The figures as text."""
    found = [asyncio.run(measure()) for _ in range(rounds)]
    submits, whole = (statistics.median(one[name] for one in found) for name in ("submits_per_s", "tasks_per_s"))
    return (
        f"The task queue on SQLite, {TASKS:,} tasks: {submits:,.0f} submits a second; {whole:,.0f} a second submitted, claimed and finished "
        f"with receipts (target 2,000)."
    )
