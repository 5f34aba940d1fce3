"""Tool calls from a small model: constrained where a call is demanded, read leniently where it is free to answer."""

import re
import uuid
from typing import Any

import msgspec

_TAGGED = re.compile(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|$)", re.DOTALL)
_FENCED = re.compile(r"```(?:json|tool_call)?\s*(.*?)\s*(?:```|$)", re.DOTALL)
#: How an answer begins that may be a call. Until that is clear nothing is passed on.
_OPENINGS = ("<tool_call>", "```", "{", "[")


def call_schema(tools: list[dict[str, Any]], only: str | None) -> dict[str, Any]:
    """The JSON schema that allows one call of one of the tools, and nothing else."""
    shapes = []
    for tool in tools:
        function = tool["function"]
        if only is not None and function["name"] != only:
            continue
        arguments = function.get("parameters") or {"type": "object", "properties": {}}
        shapes.append(
            {
                "type": "object",
                "properties": {"name": {"const": function["name"]}, "arguments": arguments},
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
        )
    return shapes[0] if len(shapes) == 1 else {"anyOf": shapes}


def may_be_call(text: str) -> bool:
    """Whether an answer that begins like this may still turn out to be a call."""
    start = text.lstrip()
    return any(start.startswith(opening) or opening.startswith(start) for opening in _OPENINGS)


def parse_calls(text: str, tools: list[dict[str, Any]], *, many: bool) -> list[dict[str, Any]]:
    """The calls in an answer, as the wire shows them; empty where it is no call of a known tool."""
    names = {tool["function"]["name"] for tool in tools}
    found = [call for blob in _blobs(text) for call in _calls_in(blob, names)]
    return [_shaped(index, call) for index, call in enumerate(found if many else found[:1])]


def _blobs(text: str) -> list[str]:
    if tagged := _TAGGED.findall(text):
        return list(tagged)
    if fenced := _FENCED.findall(text):
        return list(fenced)
    return [text.strip()]


def _calls_in(blob: str, names: set[str]) -> list[dict[str, Any]]:
    calls = []
    for value in _values(blob):
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, dict):
                continue
            inner = one.get("function")
            call: dict[str, Any] = inner if isinstance(inner, dict) else one
            arguments = call.get("arguments", call.get("parameters", {}))
            if call.get("name") in names and isinstance(arguments, dict | str):
                calls.append({"name": call["name"], "arguments": arguments})
    return calls


def _values(blob: str) -> list[Any]:
    """One JSON value, or one a line."""
    try:
        return [msgspec.json.decode(blob)]
    except msgspec.DecodeError:
        values = []
        for line in blob.splitlines():
            try:
                values.append(msgspec.json.decode(line))
            except msgspec.DecodeError:
                continue
        return values


def _shaped(index: int, call: dict[str, Any]) -> dict[str, Any]:
    arguments = call["arguments"]
    if not isinstance(arguments, str):
        arguments = msgspec.json.encode(arguments).decode()
    return {
        "index": index,
        "id": f"call_{uuid.uuid4().hex[:24]}",
        "type": "function",
        "function": {"name": call["name"], "arguments": arguments},
    }
