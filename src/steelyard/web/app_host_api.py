"""What the app host answers, over its private socket: runs for the gateways, and looks at plugins for the face."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from steelyard.apps.kit import Result
from steelyard.apps.plugin_book import Look
from steelyard.apps.runner import Runner
from steelyard.base.errors import Fault, fault
from steelyard.canon.answer import ARGUED, CALLED, ENDED, RAN, SAID, STOP, THOUGHT, ChatAnswer, Choice, Piece, Step
from steelyard.canon.apps import Plugin, ToolSpec
from steelyard.canon.conversation import ToolCall
from steelyard.canon.faults import ToldFault, told
from steelyard.canon.grant import Grant
from steelyard.canon.usage import Usage
from steelyard.dialects import app_host
from steelyard.dialects.app_host import AppAsk, Refusal
from steelyard.web.answers import json_answer

log = logging.getLogger("steelyard.apps")

#: Runs at once; more are told to come back.
MAX_RUNS = 1000
#: Pieces that may wait for a slow reader.
HIGH_WATER = 64
#: A stream without news says that it lives.
HEARTBEAT_S = 15.0
LOOK_PATH, CALL_PATH = "/internal/look", "/internal/call"

T = TypeVar("T")

#: (plugin, tool, arguments, for whom, request id) -> what it said
CallTool = Callable[[Plugin, str, dict[str, Any], Grant, str], Awaitable[Result]]


class LookAsk(msgspec.Struct):
    """Which plugin's server is looked at."""

    plugin: Plugin


class Looked(msgspec.Struct):
    """A server's tools as they are now."""

    tools: tuple[ToolSpec, ...] = ()
    fault: ToldFault | None = None


class CallAsk(msgspec.Struct):
    """A tool called alone, by an admin."""

    plugin: Plugin
    tool: str
    arguments: dict[str, Any]
    grant: Grant


class Called(msgspec.Struct):
    """What it said."""

    text: str = ""
    is_error: bool = False
    fault: ToldFault | None = None


class AppHostApi:
    """The handlers."""

    def __init__(self, runner: Runner, look: Look, call_tool: CallTool) -> None:
        self._runner = runner
        self._look = look
        self._call_tool = call_tool
        self.running = 0

    def routes(self) -> list[Route]:
        """The Starlette routes."""
        return [
            Route(app_host.PATH, self.run, methods=["POST"]),
            Route(LOOK_PATH, self.look, methods=["POST"]),
            Route(CALL_PATH, self.call, methods=["POST"]),
        ]

    async def run(self, request: Request) -> Response:
        """A run, whole or as a stream. A client that leaves ends it."""
        if self.running >= MAX_RUNS:
            return _refusal(fault("overloaded"))
        asked = msgspec.json.decode(await request.body(), type=AppAsk)
        run = Run(self._runner, asked, self._count)
        run.start()
        try:
            # what goes wrong before the first word is an answer of its own
            first = await until_gone(request, run.next())
        except _Gone:
            await run.close()
            return Response(status_code=499)
        if isinstance(first, Fault):
            await run.close()
            return _refusal(first)
        if asked.is_stream:
            return StreamingResponse(run.events(first), media_type="text/event-stream")
        try:
            whole = await until_gone(request, run.whole(first))
        except _Gone:
            return Response(status_code=499)
        finally:
            await run.close()
        return _refusal(whole) if isinstance(whole, Fault) else json_answer(whole)

    def _count(self, change: int) -> None:
        self.running += change

    async def look(self, request: Request) -> Response:
        asked = msgspec.json.decode(await request.body(), type=LookAsk)
        try:
            return json_answer(Looked(await self._look(asked.plugin)))
        except Fault as failure:
            return json_answer(Looked(fault=told(failure)))

    async def call(self, request: Request) -> Response:
        asked = msgspec.json.decode(await request.body(), type=CallAsk)
        request_id = request.headers.get("x-request-id", "")
        try:
            result = await self._call_tool(asked.plugin, asked.tool, asked.arguments, asked.grant, request_id)
        except Fault as failure:
            return json_answer(Called(fault=told(failure)))
        return json_answer(Called(result.text, result.is_error))


class _Gone(Exception):
    """The client has left."""


async def until_gone(request: Request, work: Awaitable[T]) -> T:
    """What is waited for, unless the client leaves first.

    Raises:
        _Gone: it has left; the work is ended.
    """

    async def leave() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(leave())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise _Gone
    finally:
        for one in (working, leaving):
            if not one.done():
                one.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await one


class Run:
    """One run, in a task of its own, told of piece by piece.

    Args:
        count: is told +1 when it begins and -1 when it is over.
    """

    def __init__(self, runner: Runner, asked: AppAsk, count: Callable[[int], None]) -> None:
        self._runner = runner
        self._asked = asked
        self._count = count
        self._pieces: asyncio.Queue[Piece | Usage | Fault] = asyncio.Queue(HIGH_WATER)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins."""
        self._count(1)
        self._task = asyncio.create_task(self._work())
        self._task.add_done_callback(lambda _: self._count(-1))

    async def _work(self) -> None:
        end: Usage | Fault
        try:
            end = await self._runner.run(self._asked, self._pieces.put)
        except Fault as failure:
            end = failure.with_traceback(None)
        except Exception:
            errand = self._asked.call.errand
            log.exception("a run failed", extra={"request_id": errand.request_id if errand else ""})
            end = fault("internal_error")
        await self._pieces.put(end)

    async def next(self) -> Piece | Usage | Fault:
        """What comes next; usage or a fault is the last."""
        return await self._pieces.get()

    async def events(self, first: Piece | Usage | Fault) -> AsyncIterator[bytes]:
        """The stream."""
        try:
            item = first
            while True:
                if isinstance(item, Usage):
                    yield app_host.event(usage=item)
                    return
                if isinstance(item, Fault):
                    yield app_host.event(fault=told(item))
                    return
                yield app_host.event(piece=item)
                while True:
                    try:
                        async with asyncio.timeout(HEARTBEAT_S):
                            item = await self._pieces.get()
                        break
                    except TimeoutError:
                        yield b": still at it\n\n"
        finally:
            await self.close()

    async def whole(self, first: Piece | Usage | Fault) -> ChatAnswer | Fault:
        """The answer in one piece."""
        text, reasoning, reason = "", "", STOP
        calls: dict[int, list[str]] = {}
        steps: list[Step] = []
        item = first
        while isinstance(item, Piece):
            if item.kind == SAID:
                text += item.text
            elif item.kind == THOUGHT:
                reasoning += item.text
            elif item.kind == CALLED:
                calls[item.call] = [item.call_id, item.text, ""]
            elif item.kind == ARGUED:
                calls[item.call][2] += item.text
            elif item.kind == ENDED:
                reason = item.text
            elif item.kind == RAN and item.step is not None:
                steps.append(item.step)
            item = await self._pieces.get()
        if isinstance(item, Fault):
            return item
        tool_calls = tuple(ToolCall(*one) for one in calls.values())
        choice = Choice(text=text, reasoning=reasoning, tool_calls=tool_calls, reason=reason)
        return ChatAnswer(choices=(choice,), usage=item, steps=tuple(steps))

    async def close(self) -> None:
        """Ends it; what it had begun is cancelled."""
        task = self._task
        if task is not None and not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _refusal(failure: Fault) -> Response:
    return json_answer(Refusal(told(failure)), failure.status)
