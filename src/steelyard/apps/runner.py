"""Runs an app, or a plain chat call with tools of plugins: who may, what with, and what is remembered."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import msgspec

from steelyard.apps.asking import Answering, Asking
from steelyard.apps.book import AppBook
from steelyard.apps.kits import Kits
from steelyard.apps.loop import Loop
from steelyard.apps.memory import Memory
from steelyard.apps.prompt import messages_for, presets_of, question_of, variables_of
from steelyard.apps.surroundings import Platform, Surroundings
from steelyard.apps.toolbox import Tool, Toolbox, is_granted, tools_of
from steelyard.base.errors import Fault, fault
from steelyard.canon.answer import LISTED_TOOLS, RAN, SEARCHED, Piece, Step
from steelyard.canon.apps import AppSpec, Errand, RemoteServer
from steelyard.canon.conversation import AUTO, Conversation
from steelyard.canon.knowledge import FoundPassages, KnowledgeWish
from steelyard.canon.usage import Usage
from steelyard.dialects.app_host import APP_SETTINGS, AppAsk
from steelyard.dialects.openai_codec import write_choice, write_tool
from steelyard.gateway.ports import Sink
from steelyard.policy.access import check_operation
from steelyard.tasks.caller import inner_rights

KNOWLEDGE = "knowledge"
#: Of a chat call that is no app's.
MAX_STEPS, DEADLINE_S = 8, 120


#: Takes the pieces of an answer.
Tell = Callable[[Piece], Awaitable[None]]


class Runner:
    """Runs."""

    def __init__(
        self, book: AppBook, kits: Kits, memory: Memory, asking: Asking, platform: Platform, sink: Sink
    ) -> None:
        self._book = book
        self._kits = kits
        self._memory = memory
        self._asking = asking
        self._platform = platform
        self._sink = sink

    async def run(self, asked: AppAsk, tell: Tell) -> Usage:
        """Tells the pieces of an answer; returns what all of it took.

        Raises:
            Fault: it cannot be given, or not be finished.
        """
        errand = asked.call.errand
        assert errand is not None
        spec = await self._book.get_published(errand.grant.workspace, errand.app) if errand.app else None
        deadline_s = DEADLINE_S if spec is None else spec.deadline_s
        try:
            async with asyncio.timeout(deadline_s), contextlib.AsyncExitStack() as stack:
                return await self._run(asked, errand, spec, tell, stack)
        except TimeoutError:
            raise fault("app_too_slow", seconds=deadline_s) from None

    async def _run(
        self, asked: AppAsk, errand: Errand, spec: AppSpec | None, tell: Tell, stack: contextlib.AsyncExitStack
    ) -> Usage:
        call = asked.call
        surroundings = self._platform.for_call(errand, () if spec is None else spec.knowledge_bases)
        found = await self._retrieve(errand, spec, call, surroundings)
        if found is not None:
            await tell(Piece(RAN, step=Step(kind=SEARCHED, id=errand.request_id, found=found)))
        tools = await self._plugin_tools(errand, spec, surroundings, presets_of(call.settings.get("biz_params") or {}))
        for server in errand.servers:
            own = await self._server_tools(errand, server, surroundings, stack)
            await tell(Piece(RAN, step=_listed(errand, server, own)))
            tools += own
        toolbox = Toolbox(tools, errand.grant, errand.request_id, self._sink)
        body = await self._body(asked, errand, spec, found, has_tools=bool(toolbox.tools))
        rights = inner_rights(errand.grant, (body["model"],))

        def ask(body: dict[str, Any], answering: Answering) -> AsyncGenerator[Piece, None]:
            return self._asking.ask(rights, body, errand.request_id, answering)

        max_steps = MAX_STEPS if spec is None else spec.max_steps
        own_tools = [write_tool(one) for one in call.tools]
        loop = Loop(ask, body, toolbox, own_tools, max_steps=max_steps)
        async with contextlib.aclosing(loop.run()) as pieces:
            async for piece in pieces:
                await tell(piece)
        if spec is not None:
            # before the end leaves: whoever has it can go on from it
            await self._memory.keep(errand, spec, question_of(call), loop.text)
        return loop.usage

    # what a model is told

    async def _body(
        self, asked: AppAsk, errand: Errand, spec: AppSpec | None, found: FoundPassages | None, *, has_tools: bool
    ) -> dict[str, Any]:
        call = asked.call
        settings = {name: value for name, value in call.settings.items() if name not in APP_SETTINGS}
        settings.pop("n", None)
        values: dict[str, str] = {}
        history = []
        if spec is not None:
            values = variables_of(spec, call.settings.get("biz_params") or {})
            history = await self._memory.recall(errand, spec)
            settings = {**spec.parameters, **settings}
        body: dict[str, Any] = {
            **settings,
            "model": asked.model if spec is None else spec.model,
            "messages": messages_for(
                spec,
                values,
                found,
                history,
                call,
                has_tools=has_tools,
                marks=str(call.settings.get("doc_reference_type") or ""),
            ),
        }
        if call.response_format is not None:
            body["response_format"] = call.response_format
        if call.stop:
            body["stop"] = list(call.stop)
        if asked.cap_tokens is not None:
            body["max_tokens"] = asked.cap_tokens
        if call.tool_choice != AUTO or call.forced_tool:
            body |= write_choice(call)
        return body

    async def _retrieve(
        self, errand: Errand, spec: AppSpec | None, call: Conversation, surroundings: Surroundings
    ) -> FoundPassages | None:
        """Passages of the app's knowledge bases, or of those that the caller names."""
        if spec is None:
            return None
        options = call.settings.get("rag_options") or {}
        bases = _texts(options, "pipeline_ids") or spec.knowledge_bases
        if not bases:
            return None
        if set(bases) - set(spec.knowledge_bases) and errand.grant.operations:
            # what the app does not have by itself the key must be good for
            check_operation(errand.grant, KNOWLEDGE)
        wish = KnowledgeWish(
            bases=bases,
            question=question_of(call),
            documents=_texts(options, "file_ids") or None,
            tags=_texts(options, "tags") or _texts(call.settings, "doc_tag_codes"),
            limit=spec.passages,
            min_score=spec.min_score,
            filters=options.get("metadata_filter") or None,
        )
        if not wish.question.strip():
            return None
        try:
            return await surroundings.find_passages(wish)
        except Fault as failure:
            if failure.status in (401, 403, 429):
                raise
            raise fault("retrieval_failed", detail=failure.message) from None

    # tools

    async def _plugin_tools(
        self, errand: Errand, spec: AppSpec | None, surroundings: Surroundings, presets: dict[str, dict[str, Any]]
    ) -> list[Tool]:
        wanted = [*(() if spec is None else spec.tools), *errand.tools]
        tools: list[Tool] = []
        for name in dict.fromkeys(one.partition("/")[0] for one in wanted):
            if is_granted(errand.grant.tools, name):
                kit = await self._kits.open(name, surroundings)
                tools += tools_of(kit, name, wanted, errand.grant.tools, presets.get(name))
        return tools

    async def _server_tools(
        self, errand: Errand, server: RemoteServer, surroundings: Surroundings, stack: contextlib.AsyncExitStack
    ) -> list[Tool]:
        """Tools of a server that the caller names: its own by its address, else a plugin of the workspace."""
        grant = errand.grant
        if not server.url:
            if not is_granted(grant.tools, server.label):
                raise fault("tool_not_granted", name=server.label, param="tools")
            kit: Any = await self._kits.open(server.label, surroundings)
        elif grant.tools:
            # a key with a list of tools has those, and not whatever its holder knows of
            raise fault("tool_not_granted", name=server.url[:200], param="tools")
        else:
            kit = await stack.enter_async_context(self._kits.visit(server))
        allowed = () if server.allowed is None else tuple(f"{server.label}/{one}" for one in server.allowed)
        if server.allowed is not None and not allowed:
            return []
        return tools_of(kit, server.label, allowed, grant.tools)


def _listed(errand: Errand, server: RemoteServer, tools: list[Tool]) -> Step:
    shown = [
        {
            "name": one.spec.name,
            "description": one.spec.description,
            "input_schema": one.spec.parameters,
            "annotations": None,
        }
        for one in tools
    ]
    output = msgspec.json.encode(shown).decode()
    return Step(kind=LISTED_TOOLS, id=f"{server.label}_{errand.request_id}", plugin=server.label, output=output)


def _texts(options: dict[str, Any], name: str) -> tuple[str, ...]:
    value = options.get(name) or ()
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise fault("parameter_type", field=name, type="Array", param=f"parameters.rag_options.{name}")
    return tuple(value)
