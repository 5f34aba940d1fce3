"""The loop of a model with tools: it is asked, its calls are made, it is told what came of them, until it answers.

Nothing here knows of HTTP, storage or plugins: a model is asked by one function, tools lie in a toolbox.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

from steelyard.apps.asking import Answering
from steelyard.apps.toolbox import MAX_CALLS, Outcome, Toolbox
from steelyard.base import ids
from steelyard.base.errors import fault
from steelyard.canon.answer import (
    ARGUED,
    ASKED_MODEL,
    CALLED,
    ENDED,
    RAN,
    SAID,
    STOP,
    THOUGHT,
    TOOL_CALLS,
    Piece,
    Step,
)
from steelyard.canon.conversation import ASSISTANT, TOOL, ToolCall
from steelyard.canon.usage import Usage
from steelyard.dialects.openai_codec import write_calls

#: A tool that has failed so often in one answer ends it: the model was told the first time.
MAX_FAILURES = 2

#: (the call's body, where what it took is noted) -> pieces
AskModel = Callable[[dict[str, Any], Answering], AsyncGenerator[Piece, None]]


@dataclass(slots=True)
class _Turn:
    """One answer of the model, as it comes."""

    text: str = ""
    reasoning: str = ""
    reason: str = STOP
    #: number -> [id, name, arguments]
    calls: dict[int, list[str]] = field(default_factory=dict)

    def take(self, piece: Piece) -> bool:
        """Notes a piece; True where it may go on at once."""
        if piece.kind == SAID:
            self.text += piece.text
        elif piece.kind == THOUGHT:
            self.reasoning += piece.text
        elif piece.kind == CALLED:
            self.calls[piece.call] = [piece.call_id or f"call_{ids.new_request_id()}", piece.text, ""]
        elif piece.kind == ARGUED and piece.call in self.calls:
            self.calls[piece.call][2] += piece.text
        elif piece.kind == ENDED:
            self.reason = piece.text
        return piece.kind in (SAID, THOUGHT)

    def tool_calls(self) -> list[ToolCall]:
        """The calls that it asks for."""
        return [ToolCall(*one) for one in self.calls.values()]


class Loop:
    """One answer.

    Args:
        body: the call as a model gets it, without tools.
        own_tools: the caller's, in the wire's form: a call of one of them ends the answer, and the caller makes it.
        max_steps: how often the model is asked; the last time without tools of ours, so that it answers.
    """

    def __init__(
        self,
        ask: AskModel,
        body: dict[str, Any],
        toolbox: Toolbox,
        own_tools: list[dict[str, Any]],
        *,
        max_steps: int,
    ) -> None:
        self._ask = ask
        self._body = body
        self._toolbox = toolbox
        self._own_tools = own_tools
        self._max_steps = max_steps
        self._failures: Counter[str] = Counter()
        #: (name, arguments) of calls that went well, and what the model was told.
        self._made: dict[tuple[str, str], str] = {}
        self.usage = Usage()
        self.text = ""

    async def run(self) -> AsyncGenerator[Piece, None]:
        """The pieces of the answer, steps among them.

        Raises:
            Fault: a model refused, or a tool failed again.
        """
        messages = list(self._body["messages"])
        must_answer = False
        for step in range(1, self._max_steps + 1):
            turn = _Turn()
            body = self._body_of(messages, is_first=step == 1, is_last=must_answer or step == self._max_steps)
            async for piece in self._turn(turn, body):
                yield piece
            calls = turn.tool_calls()
            ours = [one for one in calls if one.name in self._toolbox.tools]
            if not calls or (not ours and not self._own_tools):
                yield Piece(ENDED, STOP if turn.reason == TOOL_CALLS else turn.reason)
                return
            if len(ours) < len(calls):
                # the caller's own: those are for the caller to make, and the rest of the turn comes again
                for piece in _handed_back([one for one in calls if one.name not in self._toolbox.tools]):
                    yield piece
                return
            # a model that asks the same again has all that there is to know: it is told again, and then it must answer
            new = {_key(one): one for one in ours if _key(one) not in self._made}
            must_answer = not new
            texts = dict(self._made)
            for key, outcome in zip(new, await self._call(list(new.values())), strict=True):
                yield Piece(RAN, step=outcome.step)
                if outcome.search is not None:
                    yield Piece(RAN, step=outcome.search)
                self._count(outcome)
                texts[key] = outcome.text
                if not outcome.step.is_error:
                    self._made[key] = outcome.text
            messages.append(_said(turn, ours))
            messages += [{"role": TOOL, "tool_call_id": one.id, "content": texts[_key(one)]} for one in ours]
        yield Piece(ENDED, STOP)

    def _body_of(self, messages: list[dict[str, Any]], *, is_first: bool, is_last: bool) -> dict[str, Any]:
        """The call for one turn."""
        body = {**self._body, "messages": messages}
        tools = [*self._own_tools, *(() if is_last else self._toolbox.wire())]
        if tools:
            body["tools"] = tools
        if not tools or not is_first:
            # what had to be called was called: from here on the model decides
            body.pop("tool_choice", None)
        return body

    async def _turn(self, turn: _Turn, body: dict[str, Any]) -> AsyncGenerator[Piece, None]:
        """One answer of the model: what it says goes on, what it calls is noted."""
        answering = Answering()
        async for piece in self._ask(body, answering):
            if piece.index == 0 and turn.take(piece):
                if piece.kind == SAID:
                    said = self._apart(piece, turn)
                    self.text += said.text
                    yield said
                else:
                    yield piece
        self._add(answering.usage or Usage())
        yield Piece(RAN, step=Step(kind=ASKED_MODEL, name=str(self._body["model"]), usage=answering.usage))

    def _apart(self, piece: Piece, turn: _Turn) -> Piece:
        """A piece of text; what a later turn says stands apart from what was said before."""
        is_new = bool(self.text) and turn.text == piece.text
        return Piece(SAID, "\n\n" + piece.text, logprobs=piece.logprobs) if is_new else piece

    def _add(self, usage: Usage) -> None:
        one = self.usage
        self.usage = Usage(
            prompt_tokens=one.prompt_tokens + usage.prompt_tokens,
            completion_tokens=one.completion_tokens + usage.completion_tokens,
            cached_tokens=one.cached_tokens + usage.cached_tokens,
            reasoning_tokens=one.reasoning_tokens + usage.reasoning_tokens,
        )

    async def _call(self, calls: list[ToolCall]) -> list[Outcome]:
        if len(calls) > MAX_CALLS:
            raise fault(
                "app_failed",
                detail=f"the model asked for {len(calls)} tool calls at once; {MAX_CALLS} are made at most.",
            )
        tasks = [asyncio.create_task(self._toolbox.call(one)) for one in calls]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()

    def _count(self, outcome: Outcome) -> None:
        """A tool that fails is told to the model once."""
        step = outcome.step
        if not step.is_error:
            return
        name = f"{step.plugin}/{step.name}"
        self._failures[name] += 1
        if self._failures[name] >= MAX_FAILURES:
            raise fault("plugin_failed", plugin=name, detail=step.output[:500])


def _key(call: ToolCall) -> tuple[str, str]:
    return call.name, call.arguments


def _said(turn: _Turn, calls: list[ToolCall]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": ASSISTANT, "content": turn.text, "tool_calls": write_calls(tuple(calls))}
    if turn.reasoning:
        message["reasoning_content"] = turn.reasoning
    return message


def _handed_back(calls: list[ToolCall]) -> list[Piece]:
    pieces = []
    for number, one in enumerate(calls):
        pieces.append(Piece(CALLED, one.name, call=number, call_id=one.id))
        pieces.append(Piece(ARGUED, one.arguments, call=number))
    return [*pieces, Piece(ENDED, TOOL_CALLS)]
