"""What the task queue, the deliveries and the records of objects promise, on SQLite and PostgreSQL alike."""

import asyncio
from typing import Any

import pytest

from steelyard.base.clock import MICROS
from steelyard.canon.files import StoredFile, StoredObject
from steelyard.canon.task import (  # fmt: skip
    BATCH,
    CALLS_LANE,
    CANCELED,
    IMAGE,
    LOCAL_LANE,
    PENDING,
    RUNNING,
    SUCCEEDED,
    VENDOR_LANE,
    Outcome,
    Task,
    TaskAsk,
    TaskItem,
)
from steelyard.store import deliveries, tasks
from steelyard.store.database import Database
from steelyard.store.deliveries import Delivery
from steelyard.store.objects import records
from steelyard.store.tasks import Claimed, Ending, NewTask

NOW = 1_000_000 * MICROS


def new(
    number: int, *, priority: int = 0, lane: str = LOCAL_LANE, ready_us: int | None = None, **fields: Any
) -> NewTask:
    values = {
        "id": f"t{number:04}", "workspace": "default", "key_id": "k", "request_id": f"r{number}", "kind": IMAGE, "model": "m",
        "status": PENDING, "created_us": NOW + number if ready_us is None else ready_us,
        "ask": TaskAsk(kind=IMAGE, model="m", api="native", service="text2image", prompt="雪"),
    }  # fmt: skip
    task = Task(**{**values, **fields})
    return NewTask(task=task, lane=lane, priority=priority, deadline_us=NOW + 3600 * MICROS, holds=(("key:k", 7),))


async def submit(database: Database, *some: NewTask) -> None:
    async with database.write() as connection:
        await tasks.insert_tasks(connection, some)


async def take(
    database: Database, owner: str, limit: int, *, lane: str = LOCAL_LANE, per_workspace: int = 1_000, **more: Any
) -> list[Claimed]:
    async with database.write() as connection:
        return await tasks.claim(connection, owner, lane, limit, NOW + MICROS, per_workspace=per_workspace, **more)


async def end(database: Database, owner: str, *endings: Ending) -> set[str]:
    async with database.write() as connection:
        held = await tasks.fence(connection, owner, [(one.id, one.attempt) for one in endings])
        await tasks.finish(connection, [one for one in endings if one.id in held])
    return held


def well(task_id: str, attempt: int = 1) -> Ending:
    outcome = Outcome(items=(TaskItem(object_id="o", orig_prompt="雪"),), image_count=1)
    return Ending(
        task_id, attempt, SUCCEEDED, NOW + 5, NOW + 10 * MICROS, target="local/poster", outcome=outcome, done_count=1
    )


async def find(database: Database, task_id: str, workspace: str | None = "default") -> Task | None:
    async with database.read() as connection:
        return await tasks.find_task(connection, workspace, task_id)


async def test_a_task_from_end_to_end(database: Database) -> None:
    """Submitted, claimed, noted, finished; it is told as it was asked, and its holds with it."""
    await submit(database, new(1))
    [claimed] = await take(database, "w1", 5)
    assert (claimed.task.status, claimed.attempt, claimed.holds) == (RUNNING, 1, (("key:k", 7),))
    assert claimed.task.ask.prompt == "雪"
    async with database.write() as connection:
        assert await tasks.note(connection, "t0001", "w1", 1, b'{"a": 1}')
        await tasks.set_progress(connection, "t0001", "w1", 1, 3, 4)
    assert await end(database, "w1", well("t0001")) == {"t0001"}
    task = await find(database, "t0001")
    assert task is not None
    assert (task.status, task.target, task.done_count, task.total_count) == (SUCCEEDED, "local/poster", 1, 4)
    assert task.outcome is not None
    assert task.outcome.items[0].orig_prompt == "雪"
    assert await find(database, "t0001", "other") is None
    assert await find(database, "t0001", None) is not None


async def test_priority_then_age(database: Database) -> None:
    """And what is not ready yet waits."""
    late = new(4, ready_us=NOW + 100 * MICROS)
    await submit(database, new(1), new(2), new(3, priority=5), late)
    first = await take(database, "w1", 2)
    assert [one.task.id for one in first] == ["t0001", "t0003"]
    assert [one.task.id for one in await take(database, "w1", 5)] == ["t0002"]
    async with database.read() as connection:
        assert await tasks.has_waiting(connection, NOW + MICROS) == frozenset()
        assert await tasks.has_waiting(connection, NOW + 101 * MICROS) == {LOCAL_LANE}


async def test_lanes_and_workspaces_keep_their_bounds(database: Database) -> None:
    """One workspace's queue does not fill the slots."""
    await submit(
        database,
        *(new(n) for n in range(10)),
        *(new(n, workspace="other") for n in range(10, 12)),
        new(12, lane=CALLS_LANE, kind=BATCH),
    )
    claimed = await take(database, "w1", 100, per_workspace=3)
    # the query is cut before workspaces are counted: what the cut hid comes with the next look
    claimed += await take(database, "w1", 100, per_workspace=3)
    spread = [one.task.workspace for one in claimed]
    assert (spread.count("default"), spread.count("other")) == (3, 2)
    assert await take(database, "w2", 100, per_workspace=3) == []
    assert [one.task.kind for one in await take(database, "w2", 9, lane=CALLS_LANE)] == [BATCH]


async def test_kinds_keep_their_bounds(database: Database) -> None:
    """One kind's bound hinders no other, nor is it passed with what is under way already."""
    await submit(database, *(new(n) for n in range(5)), *(new(n, kind="video") for n in range(5, 10)))
    bounds = {"video": 3}
    first = await take(database, "w1", 6, per_kind=bounds)
    first += await take(database, "w2", 6, per_kind=bounds)
    kinds = [one.task.kind for one in first]
    assert (kinds.count("image"), kinds.count("video")) == (5, 3)
    assert await take(database, "w2", 6, per_kind=bounds) == []
    film = next(one for one in first if one.task.kind == "video")
    async with database.write() as connection:
        held_by = "w1" if await tasks.fence(connection, "w1", [(film.task.id, 1)]) else "w2"
    await end(database, held_by, well(film.task.id))
    assert [one.task.kind for one in await take(database, "w3", 6, per_kind=bounds)] == ["video"]


async def test_two_never_have_the_same(database: Database) -> None:
    """Eight workers at once; each workspace keeps its bound with all of them together."""
    await submit(database, *(new(n, workspace=f"ws{n % 4}") for n in range(200)))
    shares = await asyncio.gather(*(take(database, f"w{n}", 40, per_workspace=30) for n in range(8)))
    ids = [one.task.id for share in shares for one in share]
    assert len(ids) == len(set(ids))
    assert len(ids) <= 120
    for workspace in range(4):
        assert sum(one.task.workspace == f"ws{workspace}" for share in shares for one in share) <= 30


async def test_whoever_claims_is_known(database: Database) -> None:
    """Killed right after its first claim, a worker is found dead all the same, and its task waits again."""
    await submit(database, new(1))
    assert await take(database, "w1", 1)
    async with database.read() as connection:
        assert await tasks.list_workers(connection) == {"w1": NOW + MICROS}
    async with database.write() as connection:
        assert await tasks.release_all(connection, "w1") == 1
    async with database.read() as connection:
        assert await tasks.list_workers(connection) == {}
    [again] = await take(database, "w2", 1)
    assert again.attempt == 2


async def test_beats_at_once(database: Database) -> None:
    """A heart and claims that are all the first to tell do not stand in each other's way."""

    async def beat(at_us: int) -> None:
        async with database.write() as connection:
            await tasks.beat(connection, "w1", at_us)

    await asyncio.gather(*(beat(NOW) for _ in range(8)))
    await beat(NOW + 9)
    async with database.read() as connection:
        assert await tasks.list_workers(connection) == {"w1": NOW + 9}


async def test_a_lost_claim_changes_nothing(database: Database) -> None:
    """Taken for dead, a worker neither finishes, notes nor releases what another has by now."""
    await submit(database, new(1))
    await take(database, "w1", 1)
    async with database.write() as connection:
        await tasks.release_all(connection, "w1")
    await take(database, "w2", 1)
    assert await end(database, "w1", well("t0001")) == set()
    async with database.write() as connection:
        assert not await tasks.note(connection, "t0001", "w1", 1, b"{}")
        assert not await tasks.release(connection, "t0001", "w1", 1, NOW)
        await tasks.set_progress(connection, "t0001", "w1", 1, 9, 9)
    # nor with the number of a claim that is over
    assert await end(database, "w2", well("t0001", attempt=1)) == set()
    assert await end(database, "w2", well("t0001", attempt=2)) == {"t0001"}
    assert await end(database, "w2", well("t0001", attempt=2)) == set()


async def test_cancelling(database: Database) -> None:
    """Only what waits and never began; one under way is asked to stop."""
    await submit(database, new(1), new(2))
    await take(database, "w1", 1)
    async with database.write() as connection:
        assert not await tasks.cancel(connection, "t0001", NOW, None)
        assert await tasks.cancel(connection, "t0002", NOW, None)
        assert not await tasks.cancel(connection, "t0002", NOW, None)
        await tasks.ask_to_cancel(connection, "t0001")
        await tasks.ask_to_cancel(connection, "t0002")
    async with database.read() as connection:
        assert await tasks.is_cancelling(connection, "t0001")
        assert not await tasks.is_cancelling(connection, "t0002")
        assert await tasks.get_notes(connection, "t0001") == ({}, True)
        assert await tasks.get_holds(connection, "t0001") == (("key:k", 7),)
    task = await find(database, "t0002")
    assert task is not None
    assert task.status == CANCELED
    assert await take(database, "w1", 5) == []


async def test_claim_and_cancel_at_once(database: Database) -> None:
    """The database decides: each task is either begun or cancelled."""
    await submit(database, *(new(n) for n in range(40)))

    async def cancel(number: int) -> bool:
        async with database.write() as connection:
            return await tasks.cancel(connection, f"t{number:04}", NOW, None)

    results = await asyncio.gather(*(cancel(n) for n in range(40)), *(take(database, f"w{n}", 10) for n in range(4)))
    cancelled = {f"t{n:04}" for n, done in enumerate(results[:40]) if done is True}
    claimed = {one.task.id for share in results[40:] for one in share}  # type: ignore[union-attr]
    assert not cancelled & claimed


async def test_lists(database: Database) -> None:
    """Filters, pages and totals; the newest first."""
    await submit(
        database,
        *(new(n, key_id="k1" if n % 2 else "k2", model="a" if n < 5 else "b") for n in range(10)),
        new(10, workspace="other"),
    )
    async with database.read() as connection:
        page, total = await tasks.list_tasks(connection, workspace="default", limit=3)
        assert ([one.id for one in page], total) == (["t0009", "t0008", "t0007"], 10)
        last = (page[-1].created_us, page[-1].id)
        page, total = await tasks.list_tasks(connection, workspace="default", before=last, limit=3)
        assert ([one.id for one in page], total) == (["t0006", "t0005", "t0004"], 10)
        for chosen, count in (
            ({"model": "a"}, 5), ({"key_id": "k1"}, 5), ({"status": RUNNING}, 0), ({"kinds": (IMAGE,)}, 10), ({"kinds": (BATCH,)}, 0),
            ({"ids": ("t0001", "t0010", "none")}, 1), ({"since_us": NOW + 8}, 2), ({"until_us": NOW + 1}, 2), ({"offset": 8}, 10),
        ):  # fmt: skip
            page, total = await tasks.list_tasks(connection, workspace="default", limit=100, **chosen)  # type: ignore[arg-type]
            assert total == count, chosen
        assert (await tasks.list_tasks(connection, workspace=None, limit=1))[1] == 11
        assert await tasks.count_open(connection) == {(IMAGE, PENDING): 11}


async def test_what_is_over_is_forgotten_in_time(database: Database) -> None:
    """With what was told of it; what is under way is not."""
    await submit(database, new(1), new(2, lane=VENDOR_LANE))
    await take(database, "w1", 1)
    [two] = await take(database, "w1", 1, lane=VENDOR_LANE)
    async with database.write() as connection:
        await tasks.note(connection, two.task.id, "w1", 1, b'{"vendor": "x"}')
        await deliveries.insert_delivery(connection, told("d1", "t0001"))
    await end(database, "w1", well("t0001"))
    async with database.read() as connection:
        assert await tasks.list_notes(connection, VENDOR_LANE, NOW) == [b'{"vendor": "x"}']
    async with database.write() as connection:
        await tasks.forget_before(connection, NOW + 9 * MICROS)
    assert await find(database, "t0001") is not None
    async with database.write() as connection:
        await tasks.forget_before(connection, NOW + 11 * MICROS)
    assert await find(database, "t0001") is None
    assert await find(database, "t0002") is not None
    async with database.read() as connection:
        assert await deliveries.list_of(connection, None, "t0001") == []


def told(delivery_id: str, task_id: str, **fields: Any) -> Delivery:
    values = {
        "id": delivery_id, "task_id": task_id, "workspace": "default", "url": "https://example.com/x", "body": b"{}",
        "state": deliveries.WAITING, "attempts": 0, "next_us": NOW, "last_status": None, "last_error": None, "created_us": NOW,
    }  # fmt: skip
    return Delivery(**{**values, **fields})


async def test_deliveries_are_taken_by_one(database: Database) -> None:
    """Of several workers that see one due, one tells it; a try that came to nothing comes again."""
    async with database.write() as connection:
        await deliveries.insert_delivery(connection, told("d1", "t1"))
        await deliveries.insert_delivery(connection, told("d2", "t1", next_us=NOW + 50 * MICROS))

    async def try_take() -> bool:
        async with database.write() as connection:
            return await deliveries.take(connection, "d1", NOW + 30 * MICROS, NOW)

    assert sorted(await asyncio.gather(*(try_take() for _ in range(6)))) == [False] * 5 + [True]
    async with database.read() as connection:
        assert await deliveries.list_due(connection, NOW, 10) == []
        assert [one.id for one in await deliveries.list_due(connection, NOW + 60 * MICROS, 10)] == ["d1", "d2"]
    async with database.write() as connection:
        await deliveries.set_result(connection, "d1", state=deliveries.DELIVERED, last_status=204)
    async with database.read() as connection:
        found = await deliveries.find(connection, "d1")
        assert found is not None
        assert (found.state, found.attempts, found.last_status) == (deliveries.DELIVERED, 1, 204)
        assert [one.id for one in await deliveries.list_due(connection, NOW + 60 * MICROS, 10)] == ["d2"]
        assert await deliveries.list_of(connection, "other", "t1") == []


def stored(number: int, **fields: Any) -> StoredObject:
    values = {
        "id": f"o{number}", "workspace": "default", "digest": f"{number % 3:064}", "size_bytes": 10, "content_type": "image/png",
        "name": "雪.png", "created_us": NOW + number, "keep_until_us": NOW + 10 * MICROS,
    }  # fmt: skip
    return StoredObject(**{**values, **fields})


async def test_objects_live_and_die(database: Database) -> None:
    """Their blobs are referred to for as long as any object has them."""
    async with database.write() as connection:
        await records.insert_objects(connection, [stored(n) for n in range(4)])
        await records.insert_objects(connection, [])
        await records.revoke_links(connection, "o1")
        await records.set_keeping(connection, "o0", None)
    async with database.read() as connection:
        found = await records.find_object(connection, "o1")
        assert found is not None
        assert (found.link_epoch, found.name) == (1, "雪.png")
        assert [one.id for one in await records.list_objects(connection, "default", 2)] == ["o3", "o2"]
        assert await records.sum_sizes(connection, "default") == (4, 40)
        assert await records.sum_sizes(connection, "other") == (0, 0)
    async with database.write() as connection:
        await records.forget_objects(connection, NOW + 11 * MICROS)
    digests = [f"{n:064}" for n in range(3)]
    async with database.read() as connection:
        assert await records.list_referred(connection, digests) == {digests[0]}
    async with database.write() as connection:
        await records.delete_object(connection, "o0")
    async with database.read() as connection:
        assert await records.list_referred(connection, digests) == set()


async def test_files_by_pages(database: Database) -> None:
    """Of one workspace and one purpose, the newest first; deleted with their objects."""
    files = [
        StoredFile(id=f"f{n}", workspace="default", key_id="k", purpose="batch" if n % 2 else "file-extract", object=stored(n))
        for n in range(6)
    ]  # fmt: skip
    async with database.write() as connection:
        for one in files:
            await records.insert_file(connection, one)
    async with database.read() as connection:
        page = await records.list_files(connection, "default", limit=2)
        assert page == [files[5], files[4]]
        before = (page[-1].object.created_us, page[-1].id)
        assert await records.list_files(connection, "default", before=before, limit=9) == files[3::-1]
        assert await records.list_files(connection, "default", purpose="batch", limit=9) == [
            files[5],
            files[3],
            files[1],
        ]
        assert await records.list_files(connection, "default", offset=5, limit=9) == [files[0]]
        assert await records.list_files(connection, "other", limit=9) == []
        assert await records.find_file(connection, "other", "f1") is None
        assert await records.count_files(connection, "default") == 6
    async with database.write() as connection:
        await records.delete_file(connection, files[1])
    async with database.read() as connection:
        assert await records.find_file(connection, "default", "f1") is None
        assert await records.find_object(connection, "o1") is None


async def test_uploads_are_found_by_their_workspace_until_they_expire(database: Database) -> None:
    """And the address is taken meanwhile."""
    async with database.write() as connection:
        await records.insert_upload(connection, "a/b.png", "m", stored(1), NOW + 5)
    async with database.read() as connection:
        assert await records.find_upload(connection, "default", "a/b.png", NOW) == stored(1)
        assert await records.find_upload(connection, "default", "a/b.png", NOW + 5) is None
        assert await records.find_upload(connection, "other", "a/b.png", NOW) is None
        assert await records.has_upload(connection, "a/b.png")
    async with database.write() as connection:
        await records.forget_uploads(connection, NOW + 5)
    async with database.read() as connection:
        assert not await records.has_upload(connection, "a/b.png")


@pytest.mark.parametrize("count", [501, 1_203])
async def test_many_at_once(database: Database, count: int) -> None:
    """More than one statement's worth is taken and ended whole."""
    await submit(database, *(new(n) for n in range(count)))
    claimed = await take(database, "w1", count, per_workspace=count)
    assert len({one.task.id for one in claimed}) == count
    assert len(await end(database, "w1", *(well(one.task.id) for one in claimed))) == count
