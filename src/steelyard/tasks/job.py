"""A claimed task as its runner sees it, and how a run may end other than well."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from steelyard.canon.files import StoredFile, StoredObject
from steelyard.canon.model import Model, Target
from steelyard.canon.task import Outcome, Task, TaskFailure
from steelyard.store import tasks
from steelyard.store.database import Database
from steelyard.store.tasks import Claimed


class Failed(Exception):
    """The task ends without a result, and costs nothing."""

    def __init__(self, failure: TaskFailure, target: str = "") -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.target = target


class Again(Exception):
    """The task may succeed later: it waits and is run again."""

    def __init__(self, why: str, after_s: float = 1.0) -> None:
        super().__init__(why)
        self.after_s = after_s


class Stopped(Exception):
    """The task was told to stop, and did. What it made until then is kept."""

    def __init__(self, done: "Done | None" = None) -> None:
        super().__init__("stopped")
        self.done = done


@dataclass(slots=True)
class Done:
    """What a run made."""

    outcome: Outcome
    #: Objects of the outcome that are not in the database yet: they are added with its end.
    objects: list[StoredObject] = field(default_factory=list)
    target: Target | None = None
    #: Files that it made, likewise.
    files: list[StoredFile] = field(default_factory=list)
    #: How much it did, where that is not the number of its results.
    count: int | None = None


class Job:
    """One claim on one task."""

    def __init__(self, database: Database, owner: str, claimed: Claimed, ttl_s: int) -> None:
        self._database = database
        self._owner = owner
        self.claimed = claimed
        self.task: Task = claimed.task
        self.ask = claimed.task.ask
        #: What earlier runs noted.
        self.notes: dict[str, Any] = msgspec.json.decode(claimed.notes)
        #: How long its results are kept, 0 for ever.
        self.ttl_s = ttl_s

    def __repr__(self) -> str:
        return f"<Job {self.task.id} {self.task.kind} [claim {self.claimed.attempt}]>"

    async def note(self, **values: Any) -> None:
        """Keeps what must be known after a restart.

        Raises:
            Again: the task is somebody else's by now.
        """
        self.notes |= values
        async with self._database.write() as connection:
            encoded = msgspec.json.encode(self.notes)
            if not await tasks.note(connection, self.task.id, self._owner, self.claimed.attempt, encoded):
                raise Again("the claim is lost")

    async def tell_progress(self, done: int, total: int) -> None:
        """How far it is."""
        async with self._database.write() as connection:
            await tasks.set_progress(connection, self.task.id, self._owner, self.claimed.attempt, done, total)

    async def is_cancelling(self) -> bool:
        """Whether it should stop."""
        async with self._database.read() as connection:
            return await tasks.is_cancelling(connection, self.task.id)


class Runner(Protocol):
    """Does one kind of work."""

    async def run(self, job: Job, model: Model | None) -> Done:
        """Does a task.

        Raises:
            Failed, Again, Stopped.
        """
        ...


#: A model's name -> the model with its targets, None where there is none.
FindModel = Callable[[str], Awaitable[Model | None]]
