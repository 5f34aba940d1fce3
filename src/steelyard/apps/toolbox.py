"""The tools of one call: named so that none can pass for another, checked, bounded, and recorded."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import msgspec

from steelyard.apps.kit import Kit, Result
from steelyard.base import ids
from steelyard.base.clock import monotonic, now_us
from steelyard.base.errors import Fault, fault
from steelyard.canon.answer import CALLED_TOOL, SEARCHED, Step
from steelyard.canon.apps import ToolSpec
from steelyard.canon.conversation import ToolCall
from steelyard.canon.grant import Grant
from steelyard.canon.receipt import COMPLETED, FAILED, Receipt
from steelyard.gateway.ports import Sink

#: Calls of one turn that run at once, and how many a model may ask for.
CONCURRENCY, MAX_CALLS = 8, 16
MAX_TOOLS = 128
#: What stands between a plugin's name and its tool's.
MARK = "__"
MAX_NAME_CHARS = 64
_NAME = re.compile(r"[^A-Za-z0-9_-]+")
OPERATION = "tools"


def is_granted(names: Sequence[str], plugin: str, tool: str = "") -> bool:
    """Whether a list of tools has one; an empty list has all. Without a tool: whether it has any of the plugin."""
    if not names:
        return True
    if not tool:
        return any(one.partition("/")[0] == plugin for one in names)
    return plugin in names or f"{plugin}/{tool}" in names


def wire_name(plugin: str, tool: str) -> str:
    """A tool's name as the model knows it. The plugin's name comes first, so tools of two plugins never share one."""
    name = f"{plugin}{MARK}{_NAME.sub('_', tool)}"
    if len(name) > MAX_NAME_CHARS or _NAME.search(tool):
        # cut or changed, it could be another's: what it is cut from tells them apart
        name = f"{name[: MAX_NAME_CHARS - 9]}_{hashlib.sha256(tool.encode()).hexdigest()[:8]}"
    return name


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that a model may call.

    Args:
        preset: arguments that the caller gives; the model neither sees nor sets them.
    """

    name: str
    plugin: str
    spec: ToolSpec
    kit: Kit
    preset: dict[str, Any] = field(default_factory=dict)

    def shown_parameters(self) -> dict[str, Any]:
        """Its parameters as a model is told of them."""
        schema = self.spec.parameters or {"type": "object", "properties": {}}
        if not self.preset:
            return schema
        properties = {name: one for name, one in (schema.get("properties") or {}).items() if name not in self.preset}
        required = [name for name in schema.get("required") or () if name not in self.preset]
        return {**schema, "properties": properties, "required": required}


@dataclass(frozen=True, slots=True)
class Outcome:
    """A call that was made."""

    step: Step
    #: What the model is told.
    text: str
    search: Step | None = None


def tools_of(
    kit: Kit, plugin: str, wanted: Sequence[str], granted: Sequence[str], preset: dict[str, Any] | None = None
) -> list[Tool]:
    """A plugin's tools that a call wants and its key may have; what is preset goes to those that take it."""
    given = preset or {}
    return [
        Tool(wire_name(plugin, one.name), plugin, one, kit, _taken(one, given))
        for one in kit.tools
        if is_granted(wanted, plugin, one.name) and is_granted(granted, plugin, one.name)
    ]


def _taken(tool: ToolSpec, given: dict[str, Any]) -> dict[str, Any]:
    known = tool.parameters.get("properties") or {}
    return {name: value for name, value in given.items() if name in known}


class Toolbox:
    """Calls tools for one request.

    Args:
        parent: the request; every call of a tool is recorded as a part of it.
    """

    def __init__(self, tools: Iterable[Tool], grant: Grant, parent: str, sink: Sink) -> None:
        self.tools: dict[str, Tool] = {}
        for one in tools:
            self.tools.setdefault(one.name, one)
        if len(self.tools) > MAX_TOOLS:
            raise fault(
                "plugin_invalid",
                detail=f"{len(self.tools)} tools are too many for a model; name some, as in weather/forecast (at most {MAX_TOOLS}).",
            )
        self._grant = grant
        self._parent = parent
        self._sink = sink
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._checks: dict[str, Callable[[Any], str]] = {}

    def __repr__(self) -> str:
        return f"<Toolbox of {len(self.tools)} tools for {self._parent}>"

    def wire(self) -> list[dict[str, Any]]:
        """The tools as a model is told of them."""
        return [
            {
                "type": "function",
                "function": {
                    "name": one.name,
                    "description": one.spec.description,
                    "parameters": one.shown_parameters(),
                },
            }
            for one in self.tools.values()
        ]

    async def call(self, call: ToolCall) -> Outcome:
        """Calls a tool. Whatever goes wrong with it is an outcome that says so."""
        tool = self.tools[call.name]
        began, started_us = monotonic(), now_us()
        result = await self._run(tool, call.arguments)
        request_id = self._record(tool, result, started_us, int((monotonic() - began) * 1e6))
        step = Step(
            kind=CALLED_TOOL,
            id=request_id,
            name=tool.spec.name,
            plugin=tool.plugin,
            arguments=call.arguments or "{}",
            output=result.text,
            is_error=result.is_error,
        )
        search = None if result.found is None else Step(kind=SEARCHED, id=request_id, found=result.found)
        return Outcome(step, as_data(tool.name, result), search)

    async def _run(self, tool: Tool, arguments: str) -> Result:
        try:
            asked = msgspec.json.decode(arguments or "{}")
        except (msgspec.DecodeError, RecursionError):
            return Result("The arguments are no JSON; give a JSON object.", is_error=True)
        if not isinstance(asked, dict):
            return Result("The arguments are no JSON object.", is_error=True)
        asked = {**asked, **tool.preset}
        wrong = self._check(tool, asked)
        if wrong:
            return Result(f"The arguments are not what the tool takes: {wrong}", is_error=True)
        async with self._slots:
            try:
                return await tool.kit.call(tool.spec, asked)
            except Fault as failure:
                return Result(failure.message, is_error=True)

    def _check(self, tool: Tool, asked: dict[str, Any]) -> str:
        """What is wrong with arguments; '' where nothing is."""
        check = self._checks.get(tool.name)
        if check is None:
            check = self._checks[tool.name] = make_check(tool.spec.parameters)
        return check(asked)

    def _record(self, tool: Tool, result: Result, started_us: int, duration_us: int) -> str:
        grant, request_id = self._grant, ids.new_request_id()
        name = f"{tool.plugin}/{tool.spec.name}"[:200]
        self._sink.record(
            Receipt(
                request_id=request_id,
                workspace=grant.workspace,
                key_id=grant.key_id,
                operation=OPERATION,
                # so that usage by model tells how often each was called
                model=name,
                target=name,
                is_stream=False,
                status=500 if result.is_error else 200,
                error="tool_failed" if result.is_error else None,
                outcome=FAILED if result.is_error else COMPLETED,
                started_us=started_us,
                duration_us=duration_us,
                hold_tokens=0,
                hold_micros=0,
                price_version="free",
                currency="CNY",
                cost_micros=0,
                parent=self._parent,
            )
        )
        return request_id


def as_data(name: str, result: Result) -> str:
    """What a tool said, marked as what it is: a model must not take it for its user's or operator's words."""
    kind = "error" if result.is_error else "result"
    # the mark cannot be closed from within
    text = result.text.replace("</tool_", "<\\/tool_")
    return f'<tool_{kind} tool="{name}">\n{text}\n</tool_{kind}>'


def make_check(schema: dict[str, Any]) -> Callable[[Any], str]:
    """A check of arguments against a schema. References to elsewhere are refused, patterns run in linear time."""
    # imported where it is used: only calls with tools pay for it
    import jsonschema_rs

    def refuse(uri: str) -> NoReturn:
        raise ValueError(f"references are not followed: {uri[:100]}")

    try:
        validator = jsonschema_rs.validator_for(
            schema or {"type": "object"}, retriever=refuse, pattern_options=jsonschema_rs.RegexOptions()
        )
    except (jsonschema_rs.ValidationError, ValueError, RecursionError) as exc:
        text = f"the tool's own schema is unusable ({str(exc).splitlines()[0][:200]})."
        return lambda _: text

    def check(asked: Any) -> str:
        for error in validator.iter_errors(asked):
            place = ".".join(str(one) for one in error.instance_path)
            return f"{place + ': ' if place else ''}{error.message[:300]}."
        return ""

    return check
