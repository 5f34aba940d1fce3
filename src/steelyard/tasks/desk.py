"""What the face does with tasks: takes orders, tells of them, cancels them. A task is visible to its workspace alone."""

import asyncio
import base64
import binascii
import contextlib
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from steelyard.base.clock import MICROS, monotonic, now_us
from steelyard.base.errors import Fault, fault
from steelyard.base.grouping import Group
from steelyard.base.lifetimes import FOREVER
from steelyard.base.metrics import Reading, Registry
from steelyard.canon.grant import Grant
from steelyard.canon.task import BATCH, OF_CALLS, OPERATION_OF, PENDING, RUNNING, Task, TaskAsk
from steelyard.policy.limits import LeaseReply, Wish, refuse
from steelyard.policy.orders import Order, ShownTask
from steelyard.store import accounts, tasks
from steelyard.store.objects import records
from steelyard.store.tasks import NewTask
from steelyard.tasks.shelf import Shelf

#: What comes within a call is kept this long for its task.
INPUT_TTL_S = 48 * 3600
#: The scheme by which a task names what lies in the object store.
OBJECT_SCHEME = "object:"
#: A task is told for at least this long after its end, as the vendor does.
TOLD_S = 24 * 3600
LOOK_S = 0.15
#: As the OpenAI images API names it.
BYTES_FORMAT = "b64_json"
#: Higher is sooner. Whoever waits on the line goes before those who come back later, batches after all.
PRIORITY_WAITING, PRIORITY_TASK, PRIORITY_BATCH = 10, 0, -10
_OWNER = "task:"


class Keeper(Protocol):
    """Who keeps the budgets."""

    async def fulfil(self, owner: str, wishes: list[Wish]) -> list[LeaseReply]:
        """One reply a wish."""
        ...

    async def release(self, owner: str) -> None:
        """All that an owner has goes back."""
        ...


def owner_of_hold(task_id: str) -> str:
    """Under which name a task has its hold."""
    return _OWNER + task_id


def keep_until(now: int, ttl_s: int) -> int | None:
    """Until when a task is told that ends now."""
    return None if ttl_s == FOREVER else now + max(ttl_s, TOLD_S) * MICROS


class Desk:
    """The use-cases."""

    def __init__(self, shelf: Shelf, keeper: Keeper, *, result_ttl_s: int, deadline_s: int) -> None:
        self._shelf = shelf
        self._database = shelf.database
        self._keeper = keeper
        self._result_ttl_s = result_ttl_s
        self._deadline_s = deadline_s
        self._inserting: Group[NewTask, None] = Group(self._insert)

    async def submit(
        self, order: Order, *, task_id: str = "", total: int | None = None, deadline_s: int | None = None
    ) -> ShownTask:
        """Queues a task, its cost held. When it returns, the task survives every process.

        Raises:
            Fault: `budget_spent`, or what came within the call cannot be kept.
        """
        ask = narrowed(await self._with_kept_data(order), order.grant)
        now = now_us()
        task = Task(
            id=task_id or order.request_id,
            workspace=order.grant.workspace,
            key_id=order.grant.key_id,
            request_id=order.request_id,
            kind=ask.kind,
            model=ask.model,
            status=PENDING,
            ask=ask,
            created_us=now,
            total_count=ask.n if total is None else total,
        )
        holds = await self._hold(order, task.id)
        priority = PRIORITY_BATCH if ask.kind == BATCH else PRIORITY_TASK
        try:
            await self._inserting.do(
                NewTask(task, order.lane, priority, now + (deadline_s or self._deadline_s) * MICROS, holds)
            )
        except Exception:
            if holds:
                await self._keeper.release(owner_of_hold(task.id))
            raise
        return ShownTask(task=task)

    async def _insert(self, portion: list[NewTask]) -> list[None]:
        async with self._database.write() as connection:
            await tasks.insert_tasks(connection, portion)
        return [None] * len(portion)

    async def _hold(self, order: Order, task_id: str) -> tuple[tuple[str, int], ...]:
        """Takes what the task may cost from every budget, or from none."""
        holds: list[tuple[str, int]] = []
        for line in order.budgets:
            amount = order.amount_in(line)
            # an account that nothing is taken from is named all the same: it is where the receipt is settled
            holds.append((line.account, amount))
            if not amount:
                continue
            wish = Wish(
                account=line.account, kind=line.kind, limit=line.limit, seq=1, need=amount, want=amount, is_exact=True,
                starts_us=line.starts_us, ends_us=line.ends_us,
            )  # fmt: skip
            (reply,) = await self._keeper.fulfil(owner_of_hold(task_id), [wish])
            if not reply.granted:
                await self._keeper.release(owner_of_hold(task_id))
                raise refuse(line, reply, now_us())
        return tuple(holds)

    async def _with_kept_data(self, order: Order) -> TaskAsk:
        """The ask with its `data:` links kept as objects: a queue should not carry pictures."""
        ask = order.ask
        data_links = [link for link in ask.links if link.startswith("data:")]
        if not data_links:
            return ask
        moved: dict[str, str] = {}
        for link in data_links:
            data = read_data_uri(link)
            stored = await self._shelf.prepare_bytes(
                data, workspace=order.grant.workspace, name="input", ttl_s=INPUT_TTL_S
            )
            await self._shelf.add(stored)
            moved[link] = OBJECT_SCHEME + stored.id
        return move_links(ask, moved)

    # telling

    async def find(self, workspace: str | None, task_id: str) -> ShownTask | None:
        """A task with its links; None where there is none such (any more)."""
        async with self._database.read() as connection:
            task = await tasks.find_task(connection, workspace, task_id)
            if task is None:
                return None
            return await self._show(connection, task)

    async def _show(self, connection: Any, task: Task) -> ShownTask:
        items = () if task.outcome is None else task.outcome.items
        links = await self._shelf.links_of(connection, [item.object_id for item in items if item.object_id])
        return ShownTask(task=task, links=links)

    async def get(self, workspace: str | None, task_id: str) -> ShownTask:
        """A task.

        Raises:
            Fault: `task_not_found`.
        """
        shown = await self.find(workspace, task_id)
        if shown is None:
            raise fault("task_not_found", id=task_id[:100])
        return shown

    async def get_with_notes(self, workspace: str, task_id: str) -> tuple[Task, dict[str, Any], bool]:
        """A task, what its runner has noted, and whether it was told to stop.

        Raises:
            Fault: `task_not_found`.
        """
        async with self._database.read() as connection:
            task = await tasks.find_task(connection, workspace, task_id)
            if task is None:
                raise fault("task_not_found", id=task_id[:100])
            return (task, *await tasks.get_notes(connection, task_id))

    async def list_with_notes(
        self, workspace: str, *, after: str, limit: int, kinds: tuple[str, ...]
    ) -> tuple[list[tuple[Task, dict[str, Any], bool]], bool]:
        """Up to `limit` tasks older than `after`, as `get_with_notes` tells them, and whether there are more.

        Raises:
            Fault: `task_not_found`: there is no such task to begin after.
        """
        shown, has_more = await self.list_after(workspace, after=after, limit=limit, kinds=kinds)
        async with self._database.read() as connection:
            told = [(one.task, *await tasks.get_notes(connection, one.task.id)) for one in shown]
        return told, has_more

    async def wait(self, workspace: str, task_id: str, wait_s: float) -> ShownTask:
        """A task once it is over, or as it is after a while.

        Raises:
            Fault: `task_not_found`.
        """
        give_up_at = monotonic() + wait_s
        state = None
        shown = await self.get(workspace, task_id)
        while not shown.task.is_over and monotonic() < give_up_at:
            await asyncio.sleep(LOOK_S)
            now_state = self._database.file_state()
            if now_state is None or now_state != state:
                state = now_state
                shown = await self.get(workspace, task_id)
        return await self._with_bytes(shown)

    async def _with_bytes(self, shown: ShownTask) -> ShownTask:
        """For a caller who wants bytes: `data:` links in the place of public ones."""
        task = shown.task
        if task.outcome is None or task.ask.settings.get("response_format") != BYTES_FORMAT:
            return shown
        links = dict(shown.links)
        for item in task.outcome.items:
            async with self._database.read() as connection:
                stored = await records.find_object(connection, item.object_id)
            if stored is not None:
                data = base64.b64encode(await self._shelf.blobs.read_all(stored.digest)).decode()
                links[item.object_id] = f"data:{stored.content_type};base64,{data}"
        return msgspec.structs.replace(shown, links=links)

    async def list_page(
        self, workspace: str | None, *, page_no: int = 1, page_size: int = 10, **filters: Any
    ) -> tuple[list[Task], int]:
        """A page, the newest first, and how many there are in all."""
        async with self._database.read() as connection:
            return await tasks.list_tasks(
                connection, workspace=workspace, offset=(page_no - 1) * page_size, limit=page_size, **filters
            )

    async def list_after(
        self, workspace: str, *, after: str, limit: int, kinds: tuple[str, ...]
    ) -> tuple[list[ShownTask], bool]:
        """Up to `limit` tasks older than `after`, and whether there are more.

        Raises:
            Fault: `task_not_found`: there is no such task to begin after.
        """
        async with self._database.read() as connection:
            before = None
            if after:
                last = await tasks.find_task(connection, workspace, after)
                if last is None:
                    raise fault("task_not_found", id=after[:100])
                before = (last.created_us, last.id)
            found, _ = await tasks.list_tasks(
                connection, workspace=workspace, kinds=kinds, before=before, limit=limit + 1
            )
            shown = [await self._show(connection, task) for task in found[:limit]]
        return shown, len(found) > limit

    # ending

    async def cancel(self, workspace: str | None, task_id: str) -> Task:
        """Cancels a task that no worker has begun.

        Raises:
            Fault: `task_not_found`, `task_not_cancelable`.
        """
        task = (await self.get(workspace, task_id)).task
        now = now_us()
        until = keep_until(now, self._result_ttl_s if task.ask.ttl_s is None else task.ask.ttl_s)
        async with self._database.write() as connection:
            is_done = await tasks.cancel(connection, task_id, now, until)
            if is_done:
                await accounts.drop_owner(connection, owner_of_hold(task_id))
        if not is_done:
            raise fault("task_not_cancelable")
        return (await self.get(workspace, task_id)).task

    async def ask_to_cancel(self, workspace: str, task_id: str) -> Task:
        """Stops a task of a kind that can be stopped, whether it has begun or not.

        Raises:
            Fault: `task_not_found`.
        """
        task = (await self.get(workspace, task_id)).task
        if not task.is_over:
            with contextlib.suppress(Fault):
                return await self.cancel(workspace, task_id)
            async with self._database.write() as connection:
                await tasks.ask_to_cancel(connection, task_id)
        return (await self.get(workspace, task_id)).task

    async def withdraw(self, workspace: str, task_id: str) -> None:
        """Nobody waits for it: cancelled if it has not begun."""
        with contextlib.suppress(Fault):
            await self.cancel(workspace, task_id)

    async def sweep(self) -> None:
        """Forgets what is too old: tasks, uploads, objects."""
        now = now_us()
        async with self._database.write() as connection:
            await tasks.forget_before(connection, now)
            await records.forget_uploads(connection, now)
            await records.forget_objects(connection, now)

    async def measure(self) -> dict[str, Reading]:
        """Metrics of the queue: the same whichever process asks, so they are asked for once. None while the database does not answer."""
        try:
            async with self._database.read() as connection:
                counted = await tasks.count_open(connection)
                oldest = await tasks.oldest_waiting(connection)
        except (OSError, SQLAlchemyError):
            return {}
        registry = Registry()
        gauge = registry.gauge("task_open", "Tasks that are not over, by kind and status", ("kind", "status"))
        waited = registry.gauge("task_oldest_waiting_seconds", "How long the oldest waiting task has waited", ("kind",))
        for kind in OPERATION_OF:
            waited.set((kind,), (now_us() - oldest[kind]) / MICROS if kind in oldest else 0)
            for status in (PENDING, RUNNING):
                gauge.set((kind, status), counted.get((kind, status), 0))
        return registry.read()

    async def sweep_blobs(self) -> int:
        """Removes blobs that no object refers to; how many.

        A blob that is stored anew is dated anew, and young ones are left alone: so none goes that is about to be referred to.
        """
        removed = 0
        async for portion in self._shelf.blobs.list_old():
            async with self._database.read() as connection:
                referred = await records.list_referred(connection, portion)
            for digest in set(portion) - referred:
                await self._shelf.blobs.delete(digest)
                removed += 1
        return removed


def narrowed(ask: TaskAsk, grant: Grant) -> TaskAsk:
    """The ask with what narrows its own calls: no task may do more than whoever submitted it.

    Raises:
        Fault: `token_too_narrow`: the token's bounds cannot be kept beyond its own calls.
    """
    if ask.kind not in OF_CALLS or not grant.token_id:
        return ask
    if grant.token_calls is not None or grant.token_spend is not None or grant.resource:
        raise fault("token_too_narrow")
    return msgspec.structs.replace(ask, models=grant.models, operations=grant.operations)


def read_data_uri(link: str) -> bytes:
    """The bytes of a `data:` link.

    Raises:
        Fault: `media_url_invalid`.
    """
    head, comma, data = link.partition(",")
    if not comma:
        raise fault("media_url_invalid")
    try:
        if head.endswith(";base64"):
            return base64.b64decode(unquote_to_bytes(data), validate=True)
    except (binascii.Error, ValueError):
        raise fault("media_url_invalid") from None
    return unquote_to_bytes(data)


def move_links(ask: TaskAsk, moved: dict[str, str]) -> TaskAsk:
    """The ask with links put in the place of others, in its fields and in the caller's body."""

    def of(link: str) -> str:
        return moved.get(link, link)

    return msgspec.structs.replace(
        ask,
        images=tuple(of(link) for link in ask.images),
        first_frame=of(ask.first_frame),
        last_frame=of(ask.last_frame),
        files=tuple(of(link) for link in ask.files),
        body=move_in(ask.body, moved),
    )


def move_in(value: Any, moved: dict[str, str]) -> Any:
    """A body with links put in the place of others."""
    if type(value) is str:
        return moved.get(value, value)
    if type(value) is list:
        return [move_in(one, moved) for one in value]
    if type(value) is dict:
        return {name: move_in(one, moved) for name, one in value.items()}
    return value


__all__ = ["Desk", "Keeper", "keep_until", "move_in", "move_links", "owner_of_hold", "read_data_uri"]
