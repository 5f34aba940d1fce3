"""The counter at which calls become tasks: handed to the queue, and for those who wait, watched until they are over."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec

from steelyard.base.clock import monotonic
from steelyard.base.errors import Fault, fault
from steelyard.canon.grant import Grant, Workspace
from steelyard.dialects.dialect import TaskOperation
from steelyard.gateway.call import Call
from steelyard.gateway.exchange import Exchange, Headers
from steelyard.gateway.ports import TaskQueue
from steelyard.policy.limits import BUDGET
from steelyard.policy.orders import Order, ShownTask, hold_of, lane_of

#: A caller who waits for a task's end is answered by then.
WAIT_S = 300.0
#: One question to the face is answered after this long at most.
POLL_S = 20.0


def order_of(
    call: Call, grant: Grant, headers: dict[bytes, bytes], operation: TaskOperation, workspace: Workspace
) -> Order:
    """What a call of a workspace orders.

    Raises:
        Fault: a header is malformed.
    """
    ask = operation.ask(call.request, headers)
    ask = msgspec.structs.replace(ask, downloads=ask.downloads.within(workspace.downloads))
    hold_micros, currency = hold_of(ask, call.targets)
    purses = () if call.allowance is None else call.allowance.purses
    return Order(
        request_id=call.request_id,
        grant=grant,
        ask=ask,
        hold_micros=hold_micros,
        currency=currency,
        lane=lane_of(ask, call.targets),
        budgets=tuple(purse.line for purse in purses if purse.line.kind == BUDGET),
    )


class Counter:
    """Serves calls that become tasks."""

    def __init__(self, queue: TaskQueue) -> None:
        self._queue = queue

    async def serve(self, order: Order, exchange: Exchange, operation: TaskOperation) -> None:
        """Answers a call.

        Raises:
            Fault: nothing was queued, or the task is not over in time.
        """
        is_async = operation.is_async(exchange.headers)
        shown = await self._queue.submit_task(order)
        if not is_async:
            watched = await self._watch(order, shown, exchange)
            if watched is None:
                return
            shown = watched
        status, body = operation.show(shown.task, lambda object_id: shown.links.get(object_id, ""))
        headers: Headers = [(b"content-type", b"application/json"), (b"x-request-id", order.request_id.encode())]
        if shown.task.target:
            headers.append((b"x-steelyard-target", shown.task.target.encode()))
        exchange.send(status, headers, body)

    async def _watch(self, order: Order, shown: ShownTask, exchange: Exchange) -> ShownTask | None:
        """The task once it is over; None where the caller has left, and then it is cancelled if it has not begun."""
        gone = asyncio.get_running_loop().create_future()
        exchange.on_disconnect = lambda: None if gone.done() else gone.set_result(None)
        give_up_at = monotonic() + WAIT_S
        try:
            while not shown.task.is_over:
                left_s = give_up_at - monotonic()
                if left_s <= 0:
                    raise fault("task_timeout", id=shown.task.id)
                asked = asyncio.ensure_future(
                    self._queue.wait_task(order.grant.workspace, shown.task.id, min(POLL_S, left_s))
                )
                await asyncio.wait({asked, gone}, return_when=asyncio.FIRST_COMPLETED)
                if exchange.is_disconnected:
                    await self._leave(order, shown, asked)
                    return None
                with contextlib.suppress(Fault):
                    # a face that is being replaced: the task goes on meanwhile
                    shown = await asked
        finally:
            exchange.on_disconnect = None
            if not gone.done():
                gone.cancel()
        return shown

    async def _leave(self, order: Order, shown: ShownTask, asked: asyncio.Future[ShownTask]) -> None:
        asked.cancel()
        with contextlib.suppress(asyncio.CancelledError, Fault):
            await asked
        with contextlib.suppress(Fault):
            await self._queue.withdraw_task(order.grant.workspace, shown.task.id)
