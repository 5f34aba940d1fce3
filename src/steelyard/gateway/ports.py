"""What the gateway needs from the rest of the program. Assembly fills these."""

from typing import Protocol

import msgspec

from steelyard.canon.grant import Grant
from steelyard.canon.kept import KeptCall
from steelyard.canon.knowledge import FoundPassages, KnowledgeWish
from steelyard.canon.receipt import Receipt
from steelyard.policy.contents import ContentsAsk
from steelyard.policy.orders import Order, ShownTask


class Grants(Protocol):
    """Keys by digest: a bounded cache's source."""

    async def find_grant(self, digest: str) -> Grant | None:
        """The grant of a key, None when there is no such key."""
        ...

    async def identify_signer(self, access_key_id: str, signed: str, signature: str, nonce: str) -> Grant:
        """The grant of the access key whose signature this is.

        Raises:
            Fault: it is nobody's, or was used already.
        """
        ...


class Sink(Protocol):
    """Takes the records of calls."""

    def check(self) -> None:
        """Raises `stores_unavailable` where the next record could not be kept."""
        ...

    def record(self, receipt: Receipt) -> None:
        """Keeps one record, or raises `stores_unavailable`. When it returns, the record survives the process."""
        ...

    def enlist(self, receipt: Receipt) -> None:
        """Keeps one record before the outbox lets its answer go; else the answer is revoked."""
        ...


class StoredAnswer(msgspec.Struct, frozen=True):
    """An answer kept for its Idempotency-Key."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Claim(msgspec.Struct, frozen=True):
    """What became of an Idempotency-Key: `new`, `running`, `stored`, `gone` or `mismatch`."""

    state: str
    request_id: str = ""
    answer: StoredAnswer | None = None


class Replay(Protocol):
    """Answers by Idempotency-Key."""

    async def claim(self, scope: str, key: str, body_digest: str, request_id: str) -> Claim:
        """Takes the key for this request, or says who has it."""
        ...

    async def finish(self, scope: str, key: str, answer: StoredAnswer | None) -> None:
        """Keeps the answer; None says that it was given but not kept."""
        ...

    async def forget(self, scope: str, key: str) -> None:
        """Frees the key: nothing was processed."""
        ...


class KeptAnswers(Protocol):
    """Answers kept for calls that are exactly the same."""

    async def find_kept(self, scope: str, key: str) -> bytes | None:
        """What is kept, None where nothing is."""
        ...

    async def keep(self, scope: str, key: str, data: bytes) -> None:
        """Keeps something, in place of what was kept."""
        ...


class Knowledge(Protocol):
    """Knowledge bases, to be asked."""

    async def find_passages(self, grant: Grant, wish: KnowledgeWish) -> FoundPassages:
        """What a call wants of them.

        Raises:
            Fault: one is not there, or cannot be asked.
        """
        ...


class Responses(Protocol):
    """Responses that calls may go on from."""

    async def find_items(self, workspace: str, response_id: str) -> bytes | None:
        """The items of the conversation up to a response, as JSON; None where there is no such response."""
        ...

    async def keep_response(self, workspace: str, response_id: str, body: bytes, items: bytes) -> None:
        """Keeps a response and its items, both JSON."""
        ...


class KeptCalls(Protocol):
    """Calls that workspaces keep whole."""

    async def keep_call(self, call: KeptCall) -> None:
        """Keeps a call with its answer."""
        ...


class Supply(Protocol):
    """Documents and media that calls refer to."""

    async def supply(self, ask: ContentsAsk) -> tuple[str, ...]:
        """What takes the place of each link.

        Raises:
            Fault: one leads to nothing that this workspace may use.
        """
        ...


class TaskQueue(Protocol):
    """Takes calls that become tasks."""

    async def submit_task(self, order: Order) -> ShownTask:
        """Queues a task. When it returns, the task survives every process.

        Raises:
            Fault: `budget_spent`, or it could not be kept.
        """
        ...

    async def wait_task(self, workspace: str, task_id: str, wait_s: float) -> ShownTask:
        """A task once it is over, or as it is after `wait_s`."""
        ...

    async def withdraw_task(self, workspace: str, task_id: str) -> None:
        """Nobody waits for a task any more: it is cancelled if it has not begun."""
        ...


class Audit(Protocol):
    """Takes entries of the audit trail. Never a text, never a secret."""

    def note(self, action: str, workspace: str, actor: str, subject: str, detail: str) -> None:
        """Adds an entry, soon."""
        ...

    def saw_network(self, key_id: str, workspace: str, network: str) -> None:
        """A key was used from a network that this process had not seen it use."""
        ...
