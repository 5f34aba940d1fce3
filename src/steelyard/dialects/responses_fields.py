"""What a Responses call asks, checked. Source: openai-compatible.md 8."""

import re
from typing import Any

import msgspec

from steelyard.base.errors import fault
from steelyard.base.jsondoor import decode_object, encode
from steelyard.canon.apps import RemoteServer
from steelyard.canon.request import ModelRequest
from steelyard.dialects.dialect import Rewrite
from steelyard.dialects.links import inline_bytes
from steelyard.dialects.openai_fields import CHAT, Check, boolean, check_fields, get_model, integer
from steelyard.dialects.openai_messages import check_link

ROLES = frozenset({"system", "developer", "user", "assistant"})
TEXTS = frozenset({"input_text", "output_text", "text"})
#: What was done here for an earlier answer: that answer has it.
_DONE = frozenset({"file_search_call", "mcp_list_tools", "mcp_call"})
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_LABEL_TOLD = "server_label has 1 to 64 letters, digits, _ and -."


def _tools(value: Any) -> None:
    for index, tool in enumerate(value if type(value) is list else [None]):
        if type(tool) is not dict or type(tool.get("type")) is not str:
            raise fault("tools_invalid", param=f"tools[{index}]", detail=f" (tools[{index}])")
        if tool["type"] == "mcp":
            _check_server(tool, f"tools[{index}]")
            continue
        if tool["type"] != "function":
            raise fault("not_supported", what=f"built-in tool {tool['type'][:50]!r}", param=f"tools[{index}].type")
        if type(tool.get("name")) is not str or not tool["name"]:
            raise fault("tools_invalid", param=f"tools[{index}].name", detail=f" (tools[{index}])")


def _check_server(tool: dict[str, Any], where: str) -> None:
    """An MCP server of the caller's, or a plugin of the workspace by its label."""
    label, url = tool.get("server_label"), tool.get("server_url")
    if type(label) is not str or not _LABEL.fullmatch(label):
        raise fault("parameter_invalid", param=f"{where}.server_label", detail=_LABEL_TOLD)
    if url is not None and type(url) is not str:
        raise fault("parameter_type", param=f"{where}.server_url", field="server_url", type="String")
    if tool.get("require_approval") not in (None, "never"):
        raise fault("not_supported", what='`require_approval` other than "never"', param=f"{where}.require_approval")
    headers = tool.get("headers") or {}
    if type(headers) is not dict or not all(type(one) is str for one in headers.values()):
        raise fault("parameter_type", param=f"{where}.headers", field="headers", type="Object")
    allowed = _allowed(tool)
    if allowed is not None and (type(allowed) is not list or not all(type(one) is str for one in allowed)):
        raise fault("parameter_type", param=f"{where}.allowed_tools", field="allowed_tools", type="Array")


def _allowed(tool: dict[str, Any]) -> Any:
    allowed = tool.get("allowed_tools")
    return allowed.get("tool_names") if type(allowed) is dict else allowed


def _server_of(tool: dict[str, Any]) -> RemoteServer:
    headers = dict(tool.get("headers") or {})
    if tool.get("authorization"):
        headers["Authorization"] = f"Bearer {tool['authorization']}"
    allowed = _allowed(tool)
    return RemoteServer(
        label=tool["server_label"],
        url=tool.get("server_url") or "",
        headers=headers,
        allowed=None if allowed is None else tuple(allowed),
    )


def _tool_choice(value: Any) -> None:
    if value in ("auto", "none", "required"):
        return
    if type(value) is not dict or value.get("type") != "function" or type(value.get("name")) is not str:
        raise fault("tool_choice_invalid", param="tool_choice")


def _object(field: str) -> Check:
    def check(value: Any) -> None:
        if type(value) is not dict:
            raise fault("parameter_type", param=field, field=field, type="Object")

    return check


def _off(field: str) -> Check:
    """A field that only its absence, null or false is served for."""

    def check(value: Any) -> None:
        if value is not False:
            raise fault("not_supported", what=f"`{field}` in responses", param=field)

    return check


def _text(field: str) -> Check:
    def check(value: Any) -> None:
        if type(value) is not str:
            raise fault("parameter_type", param=field, field=field, type="String")

    return check


FIELDS: dict[str, Check] = {
    **{name: CHAT[name] for name in ("temperature", "top_p", "parallel_tool_calls", "enable_thinking", "stream")},
    "max_output_tokens": integer("max_output_tokens", "max_tokens_range", lambda v: v >= 1, limit="model max"),
    "tools": _tools,
    "tool_choice": _tool_choice,
    "text": _object("text"),
    "reasoning": _object("reasoning"),
    "store": boolean("store"),
    "instructions": _text("instructions"),
    "background": _off("background"),
    "conversation": _off("conversation"),
}


def decode(raw: bytes, _headers: dict[bytes, bytes]) -> ModelRequest:
    """A Responses call.

    Raises:
        Fault: the first thing wrong, with the field.
    """
    body = decode_object(raw)
    model = get_model(body)
    if body.get("input") is None:
        raise fault("field_missing", field="input", param="input")
    check_fields(body, FIELDS)
    # what its outputs answer may stand in the response that it goes on from
    return make_request(raw, body, model, is_whole=body.get("previous_response_id") is None)


def make_request(raw: bytes, body: dict[str, Any], model: str, *, is_whole: bool = True) -> ModelRequest:
    """The call as policy sees it.

    Args:
        is_whole: whether all of the conversation is there.

    Raises:
        Fault: an item of the input is none.
    """
    media = check_input(body["input"], is_whole=is_whole)
    needs = set(media)
    tools = body.get("tools") or ()
    if tools:
        needs.add("tools")
    if body.get("enable_thinking") is True:
        needs.add("thinking")
    kind = _format_kind((body.get("text") or {}).get("format"))
    if kind != "text":
        needs.add(kind)
    items = body["input"]
    return ModelRequest(
        operation="chat",
        model=model,
        raw=raw,
        decoded=body,
        api="responses",
        is_stream=body.get("stream") is True,
        wants_usage=True,
        output_cap_tokens=None if body.get("max_output_tokens") is None else int(body["max_output_tokens"]),
        message_count=1 if type(items) is str else len(items) + 1,
        media_count=len(media),
        inline_bytes=inline_bytes(items) if media else 0,
        needs=frozenset(needs),
        servers=tuple(_server_of(one) for one in tools if one["type"] == "mcp"),
    )


def _format_kind(asked: Any) -> str:
    if asked is None:
        return "text"
    kind = asked.get("type") if type(asked) is dict else type(asked).__name__
    if kind not in ("text", "json_object", "json_schema"):
        raise fault("response_format_invalid", param="text.format", type=kind)
    if kind == "json_schema" and (type(asked.get("name")) is not str or type(asked.get("schema") or {}) is not dict):
        raise fault("response_format_invalid", param="text.format", type=kind)
    return str(kind)


def check_input(items: Any, *, is_whole: bool = True) -> list[str]:
    """The kinds of media in an input."""
    if type(items) is str:
        return []
    if type(items) is not list or not items:
        raise fault("messages_empty" if items == [] else "parameter_type", field="input", type="Array", param="input")
    media: list[str] = []
    calls: set[str] = set()
    for index, item in enumerate(items):
        where = f"input[{index}]"
        if type(item) is not dict:
            raise fault("message_invalid", param=where, detail=f" ({where})")
        kind = item.get("type") or "message"
        if kind == "message":
            _check_message(item, where, media)
        elif kind == "function_call":
            if not all(type(item.get(name)) is str for name in ("call_id", "name", "arguments")):
                raise fault("message_invalid", param=where, detail=f" ({where}: call_id, name and arguments)")
            _check_arguments(item["arguments"], where)
            calls.add(item["call_id"])
        elif kind == "function_call_output":
            _check_output(item.get("output"), where, media)
            if type(item.get("call_id")) is not str or (is_whole and item["call_id"] not in calls):
                raise fault("tool_message_orphan", param=f"{where}.call_id")
        elif kind == "reasoning":
            _check_reasoning(item, where)
        elif type(kind) is str and kind in _DONE:
            continue
        else:
            raise fault("message_invalid", param=where, detail=f" ({where}: unknown type {str(kind)[:50]!r})")
    return media


def _check_output(output: Any, where: str, media: list[str]) -> None:
    """What a tool said: a text, any JSON, or a list of parts, of which those not known here may be told as texts."""
    if type(output) is not list:
        return
    if not all(type(part) is dict for part in output):
        raise fault("message_invalid", param=where, detail=f" ({where}: output is a text or a list of parts)")
    for part in output:
        if part.get("type") == "input_image":
            media.append("image")
            check_link(part.get("image_url"), where)
        else:
            _check_texts(part, where)


def _check_texts(part: dict[str, Any], where: str) -> None:
    if not all(type(part.get(name) or "") is str for name in ("text", "refusal")):
        raise fault("message_invalid", param=where, detail=f" ({where}: a text part needs a text)")


def _check_arguments(text: str, where: str) -> None:
    try:
        msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, RecursionError):
        raise fault("tool_arguments_invalid", param=f"{where}.arguments") from None


def _check_reasoning(item: dict[str, Any], where: str) -> None:
    summary = item.get("summary") or []
    if type(summary) is not list or not all(type(one) is dict and type(one.get("text")) is str for one in summary):
        raise fault("message_invalid", param=where, detail=f" ({where}: a summary is a list of texts)")


def _check_message(item: dict[str, Any], where: str, media: list[str]) -> None:
    if type(item.get("role")) is not str or item["role"] not in ROLES:
        raise fault("role_invalid", param=f"{where}.role")
    content = item.get("content")
    if type(content) is str:
        return
    if content is None:
        raise fault("content_missing", param=f"{where}.content")
    if type(content) is not list or not all(type(part) is dict for part in content):
        raise fault("message_invalid", param=where, detail=f" ({where}: content is a text or a list of parts)")
    for part in content:
        kind = part.get("type")
        if type(kind) is str and kind in TEXTS:
            if type(part.get("text")) is not str:
                raise fault("message_invalid", param=where, detail=f" ({where}: a text part needs a text)")
        elif kind == "input_image":
            media.append("image")
            check_link(part.get("image_url"), where)
        elif kind == "refusal":
            _check_texts(part, where)
        else:
            raise fault("message_invalid", param=where, detail=f" ({where}: unknown part type)")


def with_context(request: ModelRequest, items: list[dict[str, Any]]) -> ModelRequest:
    """The call with what was said before in front of its input. Instructions are not carried over."""
    asked = request.body["input"]
    own = [{"type": "message", "role": "user", "content": asked}] if type(asked) is str else asked
    body = {**request.body, "input": [*items, *own]}
    return make_request(encode(body), body, request.model)


def rewrite_request(request: ModelRequest, rewrite: Rewrite) -> ModelRequest:
    """See `Dialect`."""
    body = dict(request.body)
    asked = body["input"]
    body["input"] = rewrite(asked) if type(asked) is str else [_rewrite_item(item, rewrite) for item in asked]
    if type(body.get("instructions")) is str:
        body["instructions"] = rewrite(body["instructions"])
    if body == request.body:
        return request
    return msgspec.structs.replace(request, decoded=body, raw=encode(body))


def _rewrite_item(item: dict[str, Any], rewrite: Rewrite) -> dict[str, Any]:
    for name in ("content", "output"):
        value = item.get(name)
        if type(value) is str:
            return {**item, name: rewrite(value)}
        if type(value) is list:
            parts = [
                {**part, "text": rewrite(part["text"])}
                if type(part) is dict and type(part.get("text")) is str
                else part
                for part in value
            ]
            return {**item, name: parts}
    return item
