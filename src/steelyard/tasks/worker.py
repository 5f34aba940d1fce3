"""A worker: claims tasks, runs them, ends them; takes over what dead workers had.

It holds a lock on a file of its own: the kernel frees it with the process, so a worker on the same machine knows at once that another
is dead. Of another machine's it is told by the heartbeat.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from steelyard.base.clock import MICROS, monotonic, now_us
from steelyard.base.errors import Fault
from steelyard.base.grouping import Group
from steelyard.base.ids import new_id
from steelyard.base.lifetimes import FOREVER
from steelyard.base.metrics import Registry
from steelyard.canon.files import StoredFile, StoredObject
from steelyard.canon.receipt import COMPLETED, Receipt
from steelyard.canon.receipt import FAILED as FAILED_OUTCOME
from steelyard.canon.task import (  # fmt: skip
    CALLS_LANE,
    CANCELED,
    FAILED,
    LOCAL_LANE,
    OF_CALLS,
    OPERATION_OF,
    SUCCEEDED,
    VENDOR_LANE,
    Outcome,
    TaskFailure,
)
from steelyard.canon.usage import Usage
from steelyard.policy.meter import Meter
from steelyard.policy.pricing import cost_micros
from steelyard.store import accounts, deliveries, ledger, tasks
from steelyard.store.database import Database
from steelyard.store.deliveries import Delivery
from steelyard.store.objects import records
from steelyard.store.tasks import Claimed, Ending
from steelyard.tasks.contents import ContentFailed
from steelyard.tasks.desk import keep_until, owner_of_hold
from steelyard.tasks.job import Again, Done, Failed, FindModel, Job, Runner, Stopped
from steelyard.tasks.notices import encode_notice

log = logging.getLogger("steelyard.worker")

BEAT_S = 5.0
#: A worker of another machine that was not heard of for this long is dead.
DEAD_S = 30.0
LOOK_S = 0.1
#: Where nothing changes in the database, this often it is asked all the same.
LOOK_ANYWAY_S = 1.0
MAX_ATTEMPTS = 40
MAX_BACKOFF_S = 60.0
LOCK_SUFFIX = ".worker"


@dataclass(frozen=True, slots=True)
class _End:
    """Everything that one task's end changes, in one transaction."""

    claimed: Claimed
    ending: Ending
    receipt: Receipt | None
    objects: tuple[StoredObject, ...]
    files: tuple[StoredFile, ...]
    delivery: Delivery | None


class Worker:
    """One process's share of the queue."""

    def __init__(
        self,
        database: Database,
        runners: dict[str, Runner],
        find_model: FindModel,
        registry: Registry,
        *,
        name: str,
        run_dir: Path,
        slots: dict[str, int],
        per_workspace: int,
        per_kind: dict[str, int],
        result_ttl_s: int,
    ) -> None:
        self._database = database
        self._runners = runners
        self._find_model = find_model
        self.name = name
        self._run_dir = run_dir
        self._slots = slots
        self._per_workspace = per_workspace
        self._per_kind = per_kind
        self._result_ttl_s = result_ttl_s
        self._running: dict[str, set[asyncio.Task[None]]] = {lane: set() for lane in slots}
        self._ending: Group[_End, bool] = Group(self._end_all)
        self._ended = registry.counter("task_ended_total", "Tasks that ended, by kind and status", ("kind", "status"))
        self._meter = Meter(registry)
        self._under_way = registry.gauge("task_running", "Tasks under way", ("lane",))
        self._lock = self._take_lock()

    def __repr__(self) -> str:
        return f"<Worker {self.name} [{sum(map(len, self._running.values()))} tasks]>"

    def _take_lock(self) -> int:
        path = self._run_dir / f"{self.name}{LOCK_SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return descriptor

    # life

    async def run(self) -> None:
        """Runs for the life of the process."""
        beating = asyncio.create_task(self._beat())
        state, looked_at = None, 0.0
        try:
            while True:
                now_state = self._database.file_state()
                is_same = now_state is not None and now_state == state
                if not is_same or monotonic() - looked_at > LOOK_ANYWAY_S:
                    state, looked_at = now_state, monotonic()
                    try:
                        await self._claim()
                    except Exception:
                        # outermost frame: whatever the database does, the queue must go on
                        log.exception("looking for tasks failed")
                        await asyncio.sleep(1.0)
                await asyncio.sleep(LOOK_S)
        finally:
            beating.cancel()

    async def _beat(self) -> None:
        while True:
            try:
                async with self._database.write() as connection:
                    await tasks.beat(connection, self.name, now_us())
                await self.take_over()
            except Exception:
                log.exception("the heartbeat failed")
            await asyncio.sleep(BEAT_S)

    async def take_over(self) -> int:
        """Lets wait again what dead workers had; how much."""
        async with self._database.read() as connection:
            known = await tasks.list_workers(connection)
        taken = 0
        for name, beat_us in known.items():
            if name != self.name and self._is_dead(name, beat_us):
                async with self._database.write() as connection:
                    count = await tasks.release_all(connection, name)
                if count:
                    log.warning("%d tasks of worker %s are taken over", count, name)
                taken += count
                (self._run_dir / f"{name}{LOCK_SUFFIX}").unlink(missing_ok=True)
        return taken

    def _is_dead(self, name: str, beat_us: int) -> bool:
        if name.partition(".")[0] != self.name.partition(".")[0]:
            return now_us() - beat_us > DEAD_S * MICROS
        try:
            descriptor = os.open(self._run_dir / f"{name}{LOCK_SUFFIX}", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            return True
        finally:
            os.close(descriptor)

    async def _claim(self) -> None:
        async with self._database.read() as connection:
            waiting = await tasks.has_waiting(connection, now_us())
        for lane, slots in self._slots.items():
            free = slots - len(self._running[lane])
            if lane not in waiting or free <= 0:
                continue
            async with self._database.write() as connection:
                claimed = await tasks.claim(
                    connection,
                    self.name,
                    lane,
                    free,
                    now_us(),
                    per_workspace=self._per_workspace,
                    per_kind=self._per_kind,
                )
            for one in claimed:
                self._begin(lane, one)

    def _begin(self, lane: str, claimed: Claimed) -> None:
        running = self._running[lane]
        task = asyncio.create_task(self._run(claimed))
        running.add(task)
        self._under_way.set((lane,), len(running))

        def over(done: "asyncio.Task[None]") -> None:
            running.discard(done)
            self._under_way.set((lane,), len(running))

        task.add_done_callback(over)

    # one task

    async def _run(self, claimed: Claimed) -> None:
        """The task's outermost frame."""
        ttl_s = self._result_ttl_s if claimed.task.ask.ttl_s is None else claimed.task.ask.ttl_s
        job = Job(self._database, self.name, claimed, ttl_s)
        try:
            await self._run_by_deadline(job)
        except Again as again:
            await self._let_wait(job, again)
        except Exception:
            log.exception("a task failed", extra={"request_id": claimed.task.request_id})
            await self._let_wait(job, Again("internal error", 5.0))

    async def _run_by_deadline(self, job: Job) -> None:
        left_s = (job.claimed.deadline_us - now_us()) / MICROS
        failure = TaskFailure(code="InternalError.Timeout", message="An internal timeout error has occured during execution, please try again later or contact service support.")  # fmt: skip
        if left_s <= 0 or job.claimed.attempt > MAX_ATTEMPTS:
            await self._fail(job, failure)
            return
        try:
            async with asyncio.timeout(left_s):
                done = await self._do(job)
        except TimeoutError:
            await self._fail(job, failure)
        except Failed as failed:
            await self._fail(job, failed.failure, failed.target)
        except ContentFailed as failed:
            await self._fail(job, failed.failure)
        except Stopped as stopped:
            await self._stop(job, stopped.done)
        except Fault as fault:
            if fault.is_retryable:
                raise Again(fault.message, fault.retry_after_s or 2.0) from None
            await self._fail(job, TaskFailure(code=fault.native_code, message=fault.message.strip()))
        else:
            await self._succeed(job, done)

    async def _do(self, job: Job) -> Done:
        model = await self._find_model(job.task.model) if job.task.model else None
        return await self._runners[job.task.kind].run(job, model)

    async def _let_wait(self, job: Job, again: Again) -> None:
        pause_s = min(again.after_s * 2 ** min(job.claimed.attempt - 1, 6), MAX_BACKOFF_S)
        log.info("task %s waits %.1f s: %s", job.task.id, pause_s, again)
        with contextlib.suppress(Exception):
            # a database that takes nothing now: the claim is freed when this worker has gone, or its deadline has passed
            async with self._database.write() as connection:
                ready_us = now_us() + int(pause_s * MICROS)
                await tasks.release(connection, job.task.id, self.name, job.claimed.attempt, ready_us)

    # ends

    async def _succeed(self, job: Job, done: Done) -> None:
        target = "" if done.target is None else done.target.label
        count = len(done.outcome.items) if done.count is None else done.count
        ending = self._ending_of(job, SUCCEEDED, target=target, outcome=done.outcome, done_count=count)
        await self._end(job, ending, self._receipt(job, ending, done), tuple(done.objects), tuple(done.files))

    async def _fail(self, job: Job, failure: TaskFailure, target: str = "") -> None:
        ending = self._ending_of(job, FAILED, target=target, failure=failure)
        await self._end(job, ending, self._receipt(job, ending, None), ())

    async def _stop(self, job: Job, done: Done | None) -> None:
        ending = self._ending_of(job, CANCELED, outcome=None if done is None else done.outcome)
        await self._end(job, ending, None, (), () if done is None else tuple(done.files))

    def _ending_of(
        self, job: Job, status: str, *, target: str = "", outcome: Outcome | None = None,
        failure: TaskFailure | None = None, done_count: int = 0,
    ) -> Ending:  # fmt: skip
        now = now_us()
        return Ending(
            id=job.task.id,
            attempt=job.claimed.attempt,
            status=status,
            ended_us=now,
            keep_until_us=None if job.ttl_s == FOREVER else keep_until(now, job.ttl_s),
            target=target,
            outcome=outcome,
            failure=failure,
            done_count=done_count,
        )

    def _receipt(self, job: Job, ending: Ending, done: Done | None) -> Receipt | None:
        """The task's one record: charged where it succeeded, and only then."""
        task = job.task
        if task.kind in OF_CALLS:
            # its calls have receipts of their own
            return None
        outcome = ending.outcome
        usage, price = Usage(), None
        if outcome is not None and done is not None and done.target is not None:
            price = done.target.price
            usage = Usage(
                prompt_tokens=outcome.prompt_tokens,
                completion_tokens=outcome.completion_tokens,
                image_count=outcome.image_count,
                video_seconds=outcome.video_seconds,
                audio_seconds=outcome.audio_seconds,
                resolution=task.ask.resolution,
            )
        return Receipt(
            request_id=task.request_id,
            workspace=task.workspace,
            key_id=task.key_id,
            operation=OPERATION_OF[task.kind],
            model=task.model,
            target=ending.target,
            is_stream=False,
            status=200 if ending.status == SUCCEEDED else 400,
            error=None if ending.failure is None else ending.failure.code,
            outcome=COMPLETED if ending.status == SUCCEEDED else FAILED_OUTCOME,
            attempts=max(job.claimed.attempt, 1),
            started_us=task.created_us,
            duration_us=ending.ended_us - task.created_us,
            hold_tokens=0,
            hold_micros=max((amount for _, amount in job.claimed.holds), default=0),
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            price_version="free" if price is None else price.version,
            currency="CNY" if price is None else price.currency,
            cost_micros=0 if price is None else cost_micros(price, usage),
            image_count=usage.image_count,
            video_seconds=usage.video_seconds,
            audio_seconds=usage.audio_seconds,
            accounts=tuple(name for name, _ in job.claimed.holds),
        )

    async def _end(
        self, job: Job, ending: Ending, receipt: Receipt | None, objects: tuple[StoredObject, ...],
        files: tuple[StoredFile, ...] = (),
    ) -> None:  # fmt: skip
        objects = tuple(self._kept_from_now(one, ending, job.ttl_s) for one in objects)
        task = msgspec.structs.replace(
            job.task, status=ending.status, ended_us=ending.ended_us, outcome=ending.outcome, failure=ending.failure
        )
        delivery = None
        if job.ask.webhook:
            delivery = Delivery(
                id=new_id("msg"), task_id=task.id, workspace=task.workspace, url=job.ask.webhook, body=encode_notice(task),
                state=deliveries.WAITING, attempts=0, next_us=ending.ended_us, last_status=None, last_error=None,
                created_us=ending.ended_us,
            )  # fmt: skip
        if await self._ending.do(_End(job.claimed, ending, receipt, objects, files, delivery)):
            self._ended.add((task.kind, ending.status))
            if receipt is not None:
                self._meter.series(receipt.workspace, receipt.model, receipt.operation, is_stream=False).settled(
                    receipt
                )
        else:
            log.warning("task %s is somebody else's by now", task.id)

    @staticmethod
    def _kept_from_now(stored: StoredObject, ending: Ending, ttl_s: int) -> StoredObject:
        until_us = None if ttl_s == FOREVER else ending.ended_us + ttl_s * MICROS
        return msgspec.structs.replace(stored, keep_until_us=until_us)

    async def _end_all(self, ends: list[_End]) -> list[bool]:
        """Ends tasks: state, results, money, notice and hold change together, or not at all."""
        async with self._database.write() as connection:
            held = await tasks.fence(connection, self.name, [(one.ending.id, one.ending.attempt) for one in ends])
            mine = [one for one in ends if one.ending.id in held]
            await records.insert_objects(connection, [stored for one in mine for stored in one.objects])
            for file in (file for one in mine for file in one.files):
                await records.insert_file(connection, file)
            await tasks.finish(connection, [one.ending for one in mine])
            now = now_us()
            free = [one.receipt for one in mine if one.receipt is not None and not one.claimed.holds]
            if free:
                await ledger.insert_receipts(connection, free, now)
            for one in mine:
                if one.claimed.holds:
                    owner = owner_of_hold(one.ending.id)
                    if one.receipt is not None:
                        await ledger.insert_receipts(connection, [one.receipt], now, owner=owner)
                    await accounts.drop_owner(connection, owner)
                if one.delivery is not None:
                    await deliveries.insert_delivery(connection, one.delivery)
        return [one.ending.id in held for one in ends]

    async def close(self) -> None:
        """Lets everything wait again that is under way: another worker goes on with it at once."""
        for running in self._running.values():
            for task in list(running):
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        async with self._database.write() as connection:
            await tasks.release_all(connection, self.name)
        os.close(self._lock)
        (self._run_dir / f"{self.name}{LOCK_SUFFIX}").unlink(missing_ok=True)


__all__ = ["CALLS_LANE", "LOCAL_LANE", "VENDOR_LANE", "Worker"]
