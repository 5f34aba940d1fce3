"""What storage promises, on SQLite and PostgreSQL alike."""

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from steelyard.base.errors import Fault, SetupFault
from steelyard.base.sealing import Sealer
from steelyard.base.secrets import digest
from steelyard.canon.receipt import Receipt
from steelyard.control import keys, keys_lookup, providers, replay, usage, workspaces
from steelyard.control.carrier import Carrier
from steelyard.control.catalogue import Declared, ProviderSpec
from steelyard.control.feed import Feed, News
from steelyard.control.leases import Leases
from steelyard.control.providers import Stored
from steelyard.policy.limits import Wish
from steelyard.store import accounts, changes, ledger, used_sums
from steelyard.store.database import Database
from steelyard.store.migrations import STEPS, m0012_members, migrate
from steelyard.store.schema import metadata


def receipt(number: int, **fields: object) -> Receipt:
    values = {
        "request_id": f"r{number}", "workspace": "default", "key_id": "k", "operation": "chat", "model": "m", "target": "p/m",
        "is_stream": False, "status": 200, "started_us": 1_000_000 + number, "duration_us": 5, "hold_tokens": 100,
        "hold_micros": 7, "prompt_tokens": 10, "completion_tokens": 5, "price_version": "v", "currency": "CNY", "cost_micros": 0,
    }  # fmt: skip
    return Receipt(**{**values, **fields})  # type: ignore[arg-type]


async def test_migrating_up_equals_creating_fresh(empty: Database) -> None:
    """The steps lead to the schema that the code declares; a second run does nothing."""
    assert await migrate(empty) is True
    assert await migrate(empty) is False
    async with empty.read() as connection:
        differences = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync), metadata)
        )
        assert differences == []
        assert await connection.scalar(text("SELECT value FROM meta WHERE name = 'schema_version'")) == str(len(STEPS))


async def test_newer_data_is_refused(database: Database) -> None:
    """A schema from the future is left alone."""
    async with database.write() as connection:
        await connection.execute(text("UPDATE meta SET value = '99' WHERE name = 'schema_version'"))
    with pytest.raises(SetupFault, match="newer version"):
        await migrate(database)


async def test_keys_live_and_die(database: Database) -> None:
    """Made, found by digest, disabled, rotated, deleted; each leaves its change and its audit row."""
    await workspaces.ensure_default(database)
    await workspaces.ensure_default(database)
    made = await keys.create_key(
        database, name="a", actor="t", models=("x", "y"), networks=("10.0.0.0/8",), expires_in_s=60
    )
    found = await keys_lookup.find_grant(database, digest(made.secret))
    assert found == made.record.grant
    assert (await keys.set_disabled(database, found.key_id, True, actor="t")).grant.is_disabled
    new = await keys.rotate_key(database, found.key_id, 5, actor="t")
    assert new.record.grant.models == ("x", "y")
    await keys.delete_key(database, found.key_id, actor="t")
    assert await keys_lookup.find_grant(database, digest(made.secret)) is None
    with pytest.raises(Fault):
        await keys.get_key(database, found.key_id)
    async with database.read() as connection:
        entries = await changes.list_after(connection, 0, 100)
    assert [one.kind for one in entries].count("key") == 5
    with pytest.raises(Fault):
        await keys.create_key(database, name="b", actor="t", workspace="nowhere")


async def test_activation_grants_once(database: Database) -> None:
    """However many activate at once, the free tokens are granted once."""
    await workspaces.ensure_default(database)
    results = await asyncio.gather(
        *(workspaces.activate_workspace(database, "default", 1000, actor="t") for _ in range(8))
    )
    assert [is_new for _, is_new in results].count(True) == 1
    assert (await workspaces.get_workspace(database, "default")).free_tokens_left == 1000
    for bad in ("v1", "Upper", "", "a b"):
        with pytest.raises(Fault):
            await workspaces.create_workspace(database, bad, actor="t")


async def test_ledger_takes_each_receipt_once(database: Database) -> None:
    """The same receipts again, also beside new ones and at the same time, change nothing."""
    await workspaces.ensure_default(database)
    await workspaces.activate_workspace(database, "default", 40, actor="t")
    batch = [receipt(n, cost_micros=30) for n in range(6)]

    async def insert(receipts: list[Receipt]) -> int:
        async with database.write() as connection:
            return await ledger.insert_receipts(connection, receipts, 9)

    assert await insert(batch[:4]) == 4
    assert await insert(batch) == 2
    assert await insert([batch[0], batch[0]]) == 0
    rows = await usage.get_usage(database, workspace="default")
    assert rows[0]["calls"] == 6
    assert rows[0]["total_tokens"] == 90
    # 40 free tokens: two calls of 15 free, one of 10 of 15, the rest paid in full
    assert rows[0]["free_tokens_used"] == 40
    assert rows[0]["charged_micros"] == 10 + 3 * 30
    assert await usage.verify(database) == []
    assert await usage.get_usage(database, workspace="other") == []


async def test_ledger_refuses_old_receipts_said_to_be_new(database: Database) -> None:
    """The quick way writes all or nothing."""
    async with database.write() as connection:
        assert await ledger.insert_receipts(connection, [receipt(1), receipt(2)], 9, are_new=True) == 2
    with pytest.raises(ledger.AlreadySettled):
        async with database.write() as connection:
            await ledger.insert_receipts(connection, [receipt(3), receipt(2)], 9, are_new=True)
    assert (await usage.get_usage(database, workspace=None))[0]["calls"] == 2


async def test_carrier_carries_journals_once(database: Database, tmp_path: Path) -> None:
    """Finished segments are carried and removed; a torn last line was never promised; unreadable lines are kept."""
    await workspaces.ensure_default(database)
    lines = b"".join(msgspec.json.encode(receipt(n)) + b"\n" for n in range(1200))
    directory = tmp_path / "journal"
    directory.mkdir()
    (directory / "a-1-000001.jsonl").write_bytes(lines + msgspec.json.encode(receipt(5000))[:50])
    (directory / "a-1-000002.jsonl").write_bytes(lines[: len(lines) // 2].rpartition(b"\n")[0] + b"\nnot json\n    \n")
    assert await Carrier(directory, database).carry() == 1200
    assert sorted(path.name for path in directory.iterdir()) == ["unreadable.txt"]
    rows = await usage.get_usage(database, workspace=None, group_by=("model", "day"))
    assert (rows[0]["calls"], rows[0]["day"]) == (1200, "1970-01-01")


async def test_live_journal_is_left_to_its_writer(database: Database, tmp_path: Path) -> None:
    """A segment whose writer lives is read but not removed."""
    from steelyard.gateway.journal import Journal

    directory = tmp_path / "journal"
    directory.mkdir()
    journal = Journal(directory, "boot")
    carrier = Carrier(directory, database)
    journal.record(receipt(1))
    assert await carrier.carry() == 1
    journal.record(receipt(2))
    assert await carrier.carry() == 1
    assert len(list(directory.glob("*.jsonl"))) == 1
    journal.close()
    await Carrier(directory, database).carry()
    assert list(directory.iterdir()) == []


async def test_what_a_gateway_writes_meanwhile_is_left_to_the_next_carrying(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal that grows as fast as it is read costs one transaction a carrying; what a full disk took back hides nothing behind it."""
    from steelyard.gateway.journal import Journal

    directory = tmp_path / "journal"
    directory.mkdir()
    journal = Journal(directory, "boot")
    carrier = Carrier(directory, database)
    insert, numbers = ledger.insert_receipts, iter(range(2, 100))

    async def insert_slowly(*asked: Any, **more: Any) -> int:
        journal.record(receipt(next(numbers)))
        return await insert(*asked, **more)

    journal.record(receipt(1))
    monkeypatch.setattr(ledger, "insert_receipts", insert_slowly)
    assert [await carrier.carry() for _ in range(3)] == [1, 1, 1]
    monkeypatch.undo()
    assert await carrier.carry() == 1
    (segment,) = directory.glob("*.jsonl")
    line = segment.read_bytes().splitlines(keepends=True)[-1]
    os.truncate(segment, segment.stat().st_size - len(line))
    assert await carrier.carry() == 0
    journal.record(receipt(99))
    assert await carrier.carry() == 1
    journal.close()


async def test_places_are_leased_by_slices(database: Database) -> None:
    """Of many places a gateway gets some beside, so that a burst need not ask for each; of few it gets what it wants."""
    kept = Leases(database, lambda _: True, lambda: None)

    async def take(limit: int, seq: int, **fields: bool) -> int:
        wish = Wish(
            account=f"key:{limit}|calls|minute|pool", kind="pool", limit=limit, seq=seq, need=1, want=1, **fields
        )
        (reply,) = await kept.fulfil("m.o", [wish])
        return reply.granted

    assert (await take(6400, 1), await take(6400, 2, is_exact=True), await take(10, 3)) == (101, 1, 1)


async def test_idempotency_claims(database: Database) -> None:
    """Of many claims one wins; a stored answer comes back; another body is a mismatch; a freed key is new."""
    claims = await asyncio.gather(*(replay.claim(database, "s", "k", "d", f"r{n}") for n in range(6)))
    assert sorted(one.state for one in claims) == ["new"] + ["running"] * 5
    await replay.finish(database, "s", "k", b"answer")
    assert (await replay.claim(database, "s", "k", "d", "r9")).answer == b"answer"
    assert (await replay.claim(database, "s", "k", "other", "r9")).state == "mismatch"
    await replay.forget(database, "s", "k")
    assert (await replay.claim(database, "s", "k", "other", "r9")).state == "new"


async def test_feed_tells_changes(database: Database) -> None:
    """A follower hears of a key's change and of a new snapshot; one that is far behind is reset."""
    await workspaces.ensure_default(database)
    feed = Feed(database, Declared, Stored(Sealer(bytes(32)), lambda reference, _: reference))
    task = asyncio.create_task(feed.follow())
    try:
        while not feed.is_healthy:
            await asyncio.sleep(0.01)
        news, number = await feed.wait(-1, -1, 0)
        assert news.is_reset
        assert news.snapshot is not None
        made = await keys.create_key(database, name="n", actor="t")
        later, number = await feed.wait(news.version, number, 5)
        assert later.key_digests == [digest(made.secret)]
        assert later.snapshot is not None
        assert later.snapshot.has_keys
        quiet, _ = await feed.wait(later.version, number, 0.05)
        assert (quiet.key_digests, quiet.snapshot) == ([], None)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_feed_tells_what_changed_while_no_face_was_there(database: Database) -> None:
    """A gateway that has the first snapshot of the last face is told the first one of the next."""
    await workspaces.ensure_default(database)

    async def ask(version: int, number: int) -> tuple[News, int]:
        feed = Feed(database, Declared, Stored(Sealer(bytes(32)), lambda reference, _: reference))
        task = asyncio.create_task(feed.follow())
        try:
            while not feed.is_healthy:
                await asyncio.sleep(0.01)
            return await feed.wait(version, number, 0)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    news, number = await ask(-1, -1)
    assert news.snapshot is not None
    assert not news.snapshot.has_keys
    await keys.create_key(database, name="n", actor="t")
    later, _ = await ask(news.version, number)
    assert later.snapshot is not None
    assert later.snapshot.has_keys


async def test_leases_never_exceed_what_is_left(database: Database) -> None:
    """Many owners at once on one account: the sum of leases and settlements stays within the limit; a repeated wish counts once."""
    await workspaces.ensure_default(database)
    kept = Leases(database, lambda owner: owner != "m.dead", lambda: None)

    def wish(seq: int, **fields: int) -> Wish:
        return Wish(account="key:k|tokens|total|0", kind="budget", limit=1000, seq=seq, **fields)

    async def take(owner: str) -> int:
        (reply,) = await kept.fulfil(owner, [wish(1, need=50, want=90)])
        (again,) = await kept.fulfil(owner, [wish(1, need=50, want=90)])
        assert again.granted == reply.granted
        return reply.granted

    granted = await asyncio.gather(*(take(f"m.{number}") for number in range(20)))
    assert 900 <= sum(granted) <= 1000
    assert granted.count(0) >= 8
    owner = next(f"m.{number}" for number, amount in enumerate(granted) if amount)
    (reply,) = await kept.fulfil(owner, [wish(2, back=granted[int(owner[2:])])])
    assert reply.granted == 0
    (reply,) = await kept.fulfil("m.dead", [wish(1, need=1, want=60)])
    assert reply.granted >= 60
    before = reply.leased
    await kept.reclaim()
    (reply,) = await kept.fulfil("m.late", [wish(1, need=1, want=1)])
    assert (reply.granted >= 1, reply.leased < before) == (True, True)


async def test_receipts_settle_their_accounts(database: Database) -> None:
    """What is settled leaves the lease of its owner; an account's balance is the sum of its receipts."""
    await workspaces.ensure_default(database)
    kept = Leases(database, lambda _: True, lambda: None)
    account = "key:k|tokens|total|0"
    wish = Wish(account=account, kind="budget", limit=1000, seq=1, need=100, want=100)
    (reply,) = await kept.fulfil("m.o", [wish])
    async with database.write() as connection:
        await ledger.insert_receipts(connection, [receipt(n, accounts=(account,)) for n in range(4)], 9, owner="m.o")
    async with database.read() as connection:
        assert await accounts.get_settled(connection, account) == 60
        assert await accounts.sum_leases(connection, account) == reply.granted - 60
    assert await usage.verify(database) == []


async def test_providers_and_routes(database: Database) -> None:
    """Kept, listed in order, replaced, removed; a key that cannot be opened leaves the others usable."""
    sealer = Sealer(bytes(32))
    for name, reference in (("plain", "a-secret"), ("none", ""), ("lost", "env:NOT_THERE")):
        spec = ProviderSpec(name=name, base_url="http://x/v1", models={"m": "n"})
        await providers.add_provider(database, sealer, spec, reference, actor="t")

    def resolve(reference: str, place: str) -> str:
        raise SetupFault(f"{place}: {reference} is not set.")

    stored = Stored(sealer, resolve)
    found, routes = await stored.read(database)
    assert [(one.name, one.api_key) for one in found] == [("plain", "a-secret"), ("none", "")]
    assert list(stored.problems) == ["lost"]
    assert routes == {}
    other, _ = await Stored(Sealer(b"x" * 32), resolve).read(database)
    assert [one.name for one in other] == ["none"]
    await providers.remove_provider(database, "plain", actor="t")
    with pytest.raises(Fault):
        await providers.remove_provider(database, "plain", actor="t")


async def test_settled_in_a_time(database: Database) -> None:
    """Each receipt belongs to the one time in which it was settled; money that nobody pays any more is none."""
    async with database.write() as connection:
        for number, settled_us in enumerate((10, 20, 20, 30)):
            await ledger.insert_receipts(connection, [receipt(number, prompt_tokens=number)], settled_us)
    async with database.read() as connection:
        found = await ledger.list_settled(connection, 20, 30)
        assert sorted(row[ledger.MINUTE_COLUMNS.index("prompt_tokens")] for row in found) == [1, 2]
        assert await ledger.list_settled(connection, 31, 99) == []
        portions = [len(await ledger.list_settled(connection, start, start + 10)) for start in range(0, 50, 10)]
        assert portions == [0, 1, 2, 1, 0]


async def test_calls_are_found_page_by_page(database: Database) -> None:
    """Newest first; a rare kind is looked for among so many calls at most, and the page says where to go on."""
    await workspaces.ensure_default(database)
    async with database.write() as connection:
        made = [
            receipt(n, started_us=1000 + n, outcome="failed" if n % 5 == 0 else "completed", status=200)
            for n in range(20)
        ]
        await ledger.insert_receipts(connection, made, 5000)
    async with database.read() as connection:
        rows, more = await ledger.list_calls(
            connection, "default", ledger.CallFilter(), before_us=2000, limit=8, reach=100
        )
        assert [row["started_us"] for row in rows] == list(range(1019, 1011, -1))
        rows, more = await ledger.list_calls(
            connection, "default", ledger.CallFilter(), before_us=more or 0, limit=100, reach=100
        )
        assert (len(rows), more) == (12, None)
        failed = ledger.CallFilter(outcome="failed")
        rows, more = await ledger.list_calls(connection, "default", failed, before_us=2000, limit=8, reach=10)
        assert ([row["started_us"] for row in rows], more) == ([1015, 1010], 1010)
        rows, more = await ledger.list_calls(connection, "default", failed, before_us=1010, limit=8, reach=10)
        assert ([row["started_us"] for row in rows], more) == ([1005, 1000], 1000)
        assert await ledger.list_calls(connection, "other", failed, before_us=2000, limit=8, reach=10) == ([], None)


async def test_usage_is_summed_once(database: Database) -> None:
    """A journal read twice adds nothing to the sums, and they are what the receipts make."""
    day = used_sums.DAY_US
    await workspaces.ensure_default(database)
    made = [
        receipt(n, started_us=30 * day + n if n < 3 else 31 * day, prompt_tokens=10, completion_tokens=n)
        for n in range(4)
    ]
    for _ in range(2):
        async with database.write() as connection:
            await ledger.insert_receipts(connection, made, 32 * day)
    async with database.read() as connection:
        days = await used_sums.sum_by_day(connection, "default", 0, 40 * day)
        (model,) = await used_sums.sum_by_model(connection, "default", 0, 40 * day, 10)
        (january,) = await used_sums.list_keys(connection, "default", 0, 10)
        (february,) = await used_sums.list_keys(connection, "default", used_sums.month_us(31 * day), 10)
    assert [(one["day_us"], one["calls"], one["completion_tokens"]) for one in days] == [
        (30 * day, 3, 3), (31 * day, 1, 3),
    ]  # fmt: skip
    assert (model["name"], model["calls"], model["prompt_tokens"]) == (made[0].model, 4, 40)
    assert (january["name"], january["calls"], february["calls"]) == (made[0].key_id, 3, 1)
    assert await usage.verify(database) == []
    async with database.write() as connection:
        await connection.execute(text("UPDATE used_sum SET calls = calls + 1 WHERE kind = 'key'"))
    assert await usage.verify(database) == ["default: the sums by key are not what the receipts make"]


async def test_what_was_used_before_is_summed_by_the_upgrade(empty: Database) -> None:
    """The step that brings the sums adds up the ledger that it finds."""
    await migrate(empty)
    await workspaces.ensure_default(empty)
    made = [receipt(n, started_us=n * 12 * used_sums.DAY_US, key_id=f"k{n % 2}") for n in range(6)]
    async with empty.write() as connection:
        await ledger.insert_receipts(connection, made, 9)
        await connection.execute(text("DELETE FROM used_sum"))
    assert await usage.verify(empty) != []
    async with empty.write() as connection:
        await connection.run_sync(m0012_members.fill_sums)
    assert await usage.verify(empty) == []
    async with empty.read() as connection:
        found = await used_sums.list_keys(connection, "default", 0, 10)
    assert {(one["name"], one["calls"]) for one in found} == {("k0", 2), ("k1", 1)}


async def test_keys_page_by_page(database: Database) -> None:
    """Newest first, found by a part of the name; pages neither lose nor repeat a key."""
    await workspaces.ensure_default(database)
    for n in range(7):
        await keys.create_key(database, name=f"team-{n}%" if n % 2 else f"robot_{n}", actor="a")
    seen, before = [], None
    while page := await keys.list_key_page(database, "default", before=before, limit=3):
        seen += [one.grant.name for one in page]
        before = (page[-1].created_us, page[-1].grant.key_id)
    assert seen == ["robot_6", "team-5%", "robot_4", "team-3%", "robot_2", "team-1%", "robot_0"]
    found = await keys.list_key_page(database, "default", text="3%")
    assert [one.grant.name for one in found] == ["team-3%"]
    assert await keys.list_key_page(database, "default", text="_%") == []


async def test_a_cancelled_writer_leaves_no_lock(database: Database) -> None:
    """Whoever is cut off in the midst of a transaction, even while its error is still looked at, keeps nobody from writing."""
    await workspaces.ensure_default(database)
    batch = [receipt(n) for n in range(3000)]

    async def work() -> None:
        async with database.write() as connection:
            await ledger.insert_receipts(connection, batch, 9)

    errors = []
    for turn in range(12):
        tasks = [asyncio.create_task(work()) for _ in range(2)]
        await asyncio.sleep(0.004 * turn)
        for one in tasks:
            one.cancel()
        errors += await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(5), database.write() as connection:
            await connection.execute(text("DELETE FROM receipt"))
    assert any(isinstance(one, asyncio.CancelledError) for one in errors)


@pytest.mark.parametrize("empty", ["postgresql"], indirect=True)
async def test_a_writer_of_many_rows_may_be_cut_off_while_it_waits(database: Database) -> None:
    """Its rows wait for somebody else's transaction, so it cannot send them all: a cancellation ends it at once, and its rows are gone."""
    await workspaces.ensure_default(database)

    async def work() -> None:
        async with database.write() as connection:
            await ledger.insert_receipts(connection, [receipt(n) for n in range(3000)], 9)

    async with database.write() as other:
        await ledger.insert_receipts(other, [receipt(0)], 9)
        task = asyncio.create_task(work())
        await asyncio.sleep(0.5)
        assert not task.done()
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=5)
        assert done
        assert task.cancelled()
    async with asyncio.timeout(5), database.write() as connection:
        assert (await connection.execute(text("SELECT COUNT(*) FROM receipt"))).scalar() == 1
