"""The task table's named statements. Every transition is one of them, and the database is the arbiter between two at once.

A task waits with the owner '', is a worker's under its name, and is over with '-'. Whoever finishes one names the claim that it had:
a worker that was taken for dead changes nothing any more.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import msgspec
from sqlalchemy import bindparam, case, delete, func, insert, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from steelyard.canon.task import CANCELED, PENDING, RUNNING, VENDOR_LANE, Outcome, Task, TaskAsk, TaskFailure
from steelyard.store.insertion import insert_if_absent
from steelyard.store.schema import delivery, task, worker

WAITING, OVER = "", "-"
NO_BOUNDS: Mapping[str, int] = MappingProxyType({})
PORTION = 500

_encode = msgspec.json.encode
_decode_ask = msgspec.json.Decoder(TaskAsk).decode
_decode_outcome = msgspec.json.Decoder(Outcome).decode
_decode_failure = msgspec.json.Decoder(TaskFailure).decode
_PLAIN = (
    "id", "workspace", "key_id", "request_id", "kind", "model", "status", "created_us", "started_us", "ended_us",
    "done_count", "total_count", "target",
)  # fmt: skip
_COLUMNS = [task.c[name] for name in (*_PLAIN, "ask", "outcome", "failure")]


def _task(row: Any) -> Task:
    fields = dict(zip(_PLAIN, row, strict=False))
    outcome = None if row.outcome is None else _decode_outcome(row.outcome)
    failure = None if row.failure is None else _decode_failure(row.failure)
    return Task(**fields, ask=_decode_ask(row.ask), outcome=outcome, failure=failure)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A task in a worker's hands."""

    task: Task
    attempt: int
    #: JSON; what the runner noted before
    notes: bytes
    deadline_us: int
    #: (account, amount)
    holds: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task to be submitted."""

    task: Task
    lane: str
    priority: int
    deadline_us: int
    holds: tuple[tuple[str, int], ...] = ()


async def insert_tasks(connection: AsyncConnection, tasks: Sequence[NewTask]) -> None:
    """Adds tasks that wait for a worker."""
    rows = [
        {
            **{name: getattr(one.task, name) for name in _PLAIN},
            "owner": WAITING,
            "lane": one.lane,
            "priority": one.priority,
            "ready_us": one.task.created_us,
            "attempt": 0,
            "ask": _encode(one.task.ask),
            "is_cancelling": False,
            "holds": _encode(one.holds).decode(),
            "deadline_us": one.deadline_us,
        }
        for one in tasks
    ]
    await connection.execute(insert(task), rows)


async def claim(
    connection: AsyncConnection,
    owner: str,
    lane: str,
    limit: int,
    now_us: int,
    *,
    per_workspace: int,
    per_kind: Mapping[str, int] = NO_BOUNDS,
) -> list[Claimed]:
    """Takes up to `limit` waiting tasks of a lane: the highest priority first, and within it the oldest.

    Whoever takes is known as a worker in the same transaction: nothing is ever in the hands of one that nobody knows of, or its
    death would go unseen.

    Args:
        per_workspace: how many of one kind one workspace may have under way.
        per_kind: how many of a kind all workspaces together may; kinds that are not named are not bounded.
    """
    if connection.dialect.name == "postgresql":
        # claims of two workers at once would each find the other's room free; SQLite has one writer at a time anyway
        await connection.execute(text("SELECT pg_advisory_xact_lock(8092)"))
    room = await _room(connection, lane, per_workspace, per_kind)
    query = (
        select(task.c.id, task.c.workspace, task.c.kind)
        .where(task.c.owner == WAITING, task.c.lane == lane, task.c.ready_us <= now_us)
        .order_by(task.c.priority.desc(), task.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    if full := room.full_kinds():
        query = query.where(task.c.kind.not_in(full))
    if full_pairs := room.full_pairs():
        query = query.where(tuple_(task.c.workspace, task.c.kind).not_in(full_pairs))
    chosen = [row.id for row in await connection.execute(query) if room.take(row.workspace, row.kind)]
    if chosen:
        await beat(connection, owner, now_us)
    return await _take(connection, owner, chosen, now_us)


async def _room(connection: AsyncConnection, lane: str, per_workspace: int, per_kind: Mapping[str, int]) -> "_Room":
    counted = (
        select(task.c.workspace, task.c.kind, func.count())
        .where(task.c.owner != WAITING, task.c.owner != OVER, task.c.lane == lane)
        .group_by(task.c.workspace, task.c.kind)
    )
    room = _Room(per_workspace, dict(per_kind))
    for workspace, kind, count in await connection.execute(counted):
        room.note(workspace, kind, count)
    return room


class _Room:
    """How many more tasks may be under way."""

    def __init__(self, per_workspace: int, of_kinds: dict[str, int]) -> None:
        self._per_workspace = per_workspace
        self._of_kinds = of_kinds
        self._of_pairs: dict[tuple[str, str], int] = {}

    def note(self, workspace: str, kind: str, count: int) -> None:
        """So many are under way."""
        self._of_pairs[workspace, kind] = self._per_workspace - count
        if kind in self._of_kinds:
            self._of_kinds[kind] -= count

    def full_kinds(self) -> list[str]:
        return [kind for kind, left in self._of_kinds.items() if left <= 0]

    def full_pairs(self) -> list[tuple[str, str]]:
        return [pair for pair, left in self._of_pairs.items() if left <= 0]

    def take(self, workspace: str, kind: str) -> bool:
        """Whether there is room for one more; then it is taken."""
        left = self._of_pairs.get((workspace, kind), self._per_workspace)
        if left <= 0 or self._of_kinds.get(kind, 1) <= 0:
            return False
        self._of_pairs[workspace, kind] = left - 1
        if kind in self._of_kinds:
            self._of_kinds[kind] -= 1
        return True


async def _take(connection: AsyncConnection, owner: str, ids: list[str], now_us: int) -> list[Claimed]:
    found: list[Claimed] = []
    for start in range(0, len(ids), PORTION):
        portion = ids[start : start + PORTION]
        await connection.execute(
            update(task)
            .where(task.c.id.in_(portion))
            .values(
                owner=owner,
                status=RUNNING,
                attempt=task.c.attempt + 1,
                started_us=func.coalesce(task.c.started_us, now_us),
            )
        )
        more = (task.c.attempt, task.c.notes, task.c.deadline_us, task.c.holds)
        rows = await connection.execute(select(*_COLUMNS, *more).where(task.c.id.in_(portion)).order_by(task.c.id))
        found += [_claimed(row) for row in rows]
    return found


def _claimed(row: Any) -> Claimed:
    holds = tuple((name, amount) for name, amount in msgspec.json.decode(row.holds))
    return Claimed(_task(row), row.attempt, (row.notes or "{}").encode(), row.deadline_us, holds)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a claimed task ends."""

    id: str
    attempt: int
    status: str
    ended_us: int
    keep_until_us: int | None
    target: str = ""
    outcome: Outcome | None = None
    failure: TaskFailure | None = None
    done_count: int = 0


async def fence(connection: AsyncConnection, owner: str, claims: Iterable[tuple[str, int]]) -> set[str]:
    """Which of these claims (id, attempt) still hold. They are locked until the transaction ends."""
    wanted = dict(claims)
    held: set[str] = set()
    ids = list(wanted)
    for start in range(0, len(ids), PORTION):
        query = (
            select(task.c.id, task.c.attempt)
            .where(task.c.id.in_(ids[start : start + PORTION]), task.c.owner == owner)
            .with_for_update()
        )
        held |= {one for one, attempt in await connection.execute(query) if wanted[one] == attempt}
    return held


async def finish(connection: AsyncConnection, endings: Sequence[Ending]) -> None:
    """Ends tasks; their claims were fenced in the same transaction."""
    changed = (
        update(task)
        .where(task.c.id == bindparam("the_id"))
        .values(
            owner=OVER,
            status=bindparam("the_status"),
            ended_us=bindparam("the_end"),
            keep_until_us=bindparam("the_keeping"),
            target=bindparam("the_target"),
            outcome=bindparam("the_outcome"),
            failure=bindparam("the_failure"),
            done_count=bindparam("the_count"),
            # which of a vendor's tasks was whose is asked later still
            notes=case((task.c.lane == VENDOR_LANE, task.c.notes), else_=None),
        )
    )
    rows = [
        {
            "the_id": one.id,
            "the_status": one.status,
            "the_end": one.ended_us,
            "the_keeping": one.keep_until_us,
            "the_target": one.target,
            "the_outcome": None if one.outcome is None else _encode(one.outcome),
            "the_failure": None if one.failure is None else _encode(one.failure).decode(),
            "the_count": one.done_count,
        }
        for one in endings
    ]
    if rows:
        await connection.execute(changed, rows)


async def note(connection: AsyncConnection, task_id: str, owner: str, attempt: int, notes: bytes) -> bool:
    """Keeps what a runner must know after a restart; False where the task is not its any more."""
    where = (task.c.id == task_id, task.c.owner == owner, task.c.attempt == attempt)
    done = await connection.execute(update(task).where(*where).values(notes=notes.decode()))
    return done.rowcount == 1


async def set_progress(
    connection: AsyncConnection, task_id: str, owner: str, attempt: int, done: int, total: int
) -> None:
    """How far a task is."""
    where = (task.c.id == task_id, task.c.owner == owner, task.c.attempt == attempt)
    await connection.execute(update(task).where(*where).values(done_count=done, total_count=total))


async def release(connection: AsyncConnection, task_id: str, owner: str, attempt: int, ready_us: int) -> bool:
    """Lets a task wait again, until `ready_us` at least."""
    where = (task.c.id == task_id, task.c.owner == owner, task.c.attempt == attempt)
    done = await connection.execute(update(task).where(*where).values(owner=WAITING, ready_us=ready_us))
    return done.rowcount == 1


async def release_all(connection: AsyncConnection, owner: str) -> int:
    """Lets everything wait again that a worker has which is no more."""
    done = await connection.execute(update(task).where(task.c.owner == owner).values(owner=WAITING))
    await connection.execute(delete(worker).where(worker.c.name == owner))
    return done.rowcount


async def cancel(connection: AsyncConnection, task_id: str, now_us: int, keep_until_us: int | None) -> bool:
    """Ends a task that no worker has begun; False where one has, or where it is over."""
    where = (task.c.id == task_id, task.c.status == PENDING, task.c.owner == WAITING)
    values = {"status": CANCELED, "owner": OVER, "ended_us": now_us, "keep_until_us": keep_until_us}
    return (await connection.execute(update(task).where(*where).values(**values))).rowcount == 1


async def ask_to_cancel(connection: AsyncConnection, task_id: str) -> None:
    """Tells the worker that has a task to stop."""
    await connection.execute(update(task).where(task.c.id == task_id, task.c.owner != OVER).values(is_cancelling=True))


async def is_cancelling(connection: AsyncConnection, task_id: str) -> bool:
    """Whether a task should stop."""
    return bool(await connection.scalar(select(task.c.is_cancelling).where(task.c.id == task_id)))


async def get_notes(connection: AsyncConnection, task_id: str) -> tuple[dict[str, Any], bool]:
    """What a task's runner noted, and whether it was told to stop."""
    row = (await connection.execute(select(task.c.notes, task.c.is_cancelling).where(task.c.id == task_id))).first()
    return ({}, False) if row is None else (msgspec.json.decode(row.notes or "{}"), bool(row.is_cancelling))


async def get_holds(connection: AsyncConnection, task_id: str) -> tuple[tuple[str, int], ...]:
    """What of budgets is held for a task."""
    held = await connection.scalar(select(task.c.holds).where(task.c.id == task_id))
    return tuple((name, amount) for name, amount in msgspec.json.decode(held or "[]"))


# reading


async def find_task(connection: AsyncConnection, workspace: str | None, task_id: str) -> Task | None:
    """One task of a workspace; None for a workspace asks for any."""
    query = select(*_COLUMNS).where(task.c.id == task_id)
    if workspace is not None:
        query = query.where(task.c.workspace == workspace)
    row = (await connection.execute(query)).first()
    return None if row is None else _task(row)


async def list_tasks(
    connection: AsyncConnection,
    *,
    workspace: str | None,
    since_us: int | None = None,
    until_us: int | None = None,
    model: str | None = None,
    status: str | None = None,
    kinds: tuple[str, ...] = (),
    key_id: str | None = None,
    ids: tuple[str, ...] = (),
    before: tuple[int, str] | None = None,
    offset: int = 0,
    limit: int,
) -> tuple[list[Task], int]:
    """A page, the newest first, and how many there are in all."""
    where = []
    for column, value in (
        (task.c.workspace, workspace),
        (task.c.model, model),
        (task.c.status, status),
        (task.c.key_id, key_id),
    ):
        if value is not None:
            where.append(column == value)
    if since_us is not None:
        where.append(task.c.created_us >= since_us)
    if until_us is not None:
        where.append(task.c.created_us <= until_us)
    if kinds:
        where.append(task.c.kind.in_(kinds))
    if ids:
        where.append(task.c.id.in_(ids))
    total = int(await connection.scalar(select(func.count()).select_from(task).where(*where)) or 0)
    if before is not None:
        created_us, task_id = before
        where.append((task.c.created_us < created_us) | ((task.c.created_us == created_us) & (task.c.id < task_id)))
    query = (
        select(*_COLUMNS).where(*where).order_by(task.c.created_us.desc(), task.c.id.desc()).offset(offset).limit(limit)
    )
    return [_task(row) for row in await connection.execute(query)], total


async def list_notes(connection: AsyncConnection, lane: str, since_us: int) -> list[bytes]:
    """What runners noted of tasks that are not over, or have been only since a time."""
    is_near = (task.c.owner != OVER) | (task.c.ended_us >= since_us)
    query = select(task.c.notes).where(task.c.lane == lane, is_near, task.c.notes.is_not(None))
    return [notes.encode() for notes in await connection.scalars(query)]


async def has_waiting(connection: AsyncConnection, now_us: int) -> frozenset[str]:
    """Lanes in which something waits."""
    query = select(task.c.lane).where(task.c.owner == WAITING, task.c.ready_us <= now_us).distinct()
    return frozenset(await connection.scalars(query))


async def count_open(connection: AsyncConnection) -> dict[tuple[str, str], int]:
    """Tasks that are not over, by kind and status."""
    query = (
        select(task.c.kind, task.c.status, func.count())
        .where(task.c.owner != OVER)
        .group_by(task.c.kind, task.c.status)
    )
    return {(kind, status): count for kind, status, count in await connection.execute(query)}


async def oldest_waiting(connection: AsyncConnection) -> dict[str, int]:
    """When the task was submitted that has waited longest, by kind."""
    query = select(task.c.kind, func.min(task.c.created_us)).where(task.c.owner != OVER, task.c.status == PENDING)
    return {kind: int(created_us) for kind, created_us in await connection.execute(query.group_by(task.c.kind))}


async def forget_before(connection: AsyncConnection, now_us: int) -> None:
    """Forgets tasks whose time is over, with what was told of them."""
    old = select(task.c.id).where(task.c.keep_until_us < now_us)
    await connection.execute(delete(delivery).where(delivery.c.task_id.in_(old)))
    await connection.execute(delete(task).where(task.c.keep_until_us < now_us))


# workers


async def beat(connection: AsyncConnection, owner: str, now_us: int) -> None:
    """A worker lives."""
    changed = await connection.execute(update(worker).where(worker.c.name == owner).values(beat_us=now_us))
    if not changed.rowcount:
        # its heart and its claims may both be the first to tell
        await insert_if_absent(connection, worker, {"name": owner, "beat_us": now_us})


async def list_workers(connection: AsyncConnection) -> dict[str, int]:
    """When each worker was last heard of."""
    rows = await connection.execute(select(worker.c.name, worker.c.beat_us))
    return {row.name: row.beat_us for row in rows}
