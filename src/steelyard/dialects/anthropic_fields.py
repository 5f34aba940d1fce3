"""What a Messages call asks, checked. Source: openai-compatible.md 11."""

from typing import Any

import msgspec

from steelyard.base.errors import fault
from steelyard.base.jsondoor import decode_object, encode
from steelyard.canon.request import ModelRequest
from steelyard.dialects.dialect import Rewrite
from steelyard.dialects.links import inline_bytes
from steelyard.dialects.openai_fields import SAMPLING, Check, boolean, check_fields, get_model
from steelyard.dialects.openai_messages import check_link

_BLOCKS = {
    "user": frozenset({"text", "image", "document", "tool_result"}),
    "assistant": frozenset({"text", "tool_use", "thinking", "redacted_thinking"}),
}


def _thinking(value: Any) -> None:
    if type(value) is not dict or value.get("type") not in ("enabled", "disabled", "adaptive"):
        raise fault(
            "parameter_invalid", param="thinking", detail="thinking.type must be enabled, disabled or adaptive."
        )
    if value["type"] == "enabled" and type(value.get("budget_tokens")) is not int:
        raise fault("field_missing", param="thinking.budget_tokens", field="thinking.budget_tokens")


def _tools(value: Any) -> None:
    for index, tool in enumerate(value if type(value) is list else [None]):
        if type(tool) is not dict or type(tool.get("name")) is not str or not tool["name"]:
            raise fault("tools_invalid", param=f"tools[{index}]", detail=f" (tools[{index}])")
        if is_own_tool(tool) and type(tool.get("input_schema")) is not dict:
            raise fault("field_missing", param=f"tools.{index}.input_schema", field=f"tools.{index}.input_schema")


def _tool_choice(value: Any) -> None:
    kind = value.get("type") if type(value) is dict else None
    if kind not in ("auto", "any", "none", "tool") or (kind == "tool" and type(value.get("name")) is not str):
        raise fault(
            "parameter_invalid", param="tool_choice", detail="tool_choice.type must be auto, any, none or tool."
        )


def _output_config(value: Any) -> None:
    asked = value.get("format") if type(value) is dict else ""
    if asked is not None and (type(asked) is not dict or type(asked.get("schema") or {}) is not dict):
        raise fault("parameter_invalid", param="output_config", detail="output_config.format must be an object.")


def _stop_sequences(value: Any) -> None:
    if type(value) is not list or not all(type(one) is str for one in value):
        raise fault("parameter_type", param="stop_sequences", field="stop_sequences", type="Array of String")


FIELDS: dict[str, Check] = {
    **{name: SAMPLING[name] for name in ("temperature", "top_p", "top_k", "max_tokens")},
    "stream": boolean("stream"),
    "thinking": _thinking,
    "tools": _tools,
    "tool_choice": _tool_choice,
    "stop_sequences": _stop_sequences,
    "output_config": _output_config,
}


def is_own_tool(tool: dict[str, Any]) -> bool:
    """Whether the caller runs a tool; others (`web_search_…`) are the vendor's to run."""
    return tool.get("type") in (None, "custom")


def decode(raw: bytes, _headers: dict[bytes, bytes]) -> ModelRequest:
    """A Messages call.

    Raises:
        Fault: the first thing wrong, with the field.
    """
    return decode_body(raw, needs_cap=True)


def decode_body(raw: bytes, *, needs_cap: bool) -> ModelRequest:
    """A Messages call, or one that only wants its tokens counted and so has no cap."""
    body = decode_object(raw)
    model = get_model(body)
    if body.get("max_tokens") is None and needs_cap:
        raise fault("field_missing", param="max_tokens", field="max_tokens")
    messages = body.get("messages")
    if messages is None:
        raise fault("field_missing", param="messages", field="messages")
    media = _check_messages(messages)
    _check_system(body.get("system"))
    check_fields(body, FIELDS)
    needs = set(media)
    tools = body.get("tools")
    if tools:
        needs.add("tools")
        if not all(is_own_tool(tool) for tool in tools):
            needs.add("server_tool")
    if (body.get("thinking") or {}).get("type") == "enabled":
        needs.add("thinking")
    if (body.get("output_config") or {}).get("format") is not None:
        needs.add("json_schema")
    return ModelRequest(
        operation="chat",
        model=model,
        raw=raw,
        decoded=body,
        api="anthropic",
        is_stream=body.get("stream") is True,
        wants_usage=True,
        output_cap_tokens=body.get("max_tokens"),
        message_count=len(messages) + 1,
        media_count=len(media),
        inline_bytes=inline_bytes(messages) if media else 0,
        needs=frozenset(needs),
    )


def _check_system(system: Any) -> None:
    if system is None or type(system) is str:
        return
    if type(system) is not list or not all(type(one) is dict and type(one.get("text")) is str for one in system):
        raise fault("message_invalid", param="system", detail=" (system: a text, or text blocks)")


def _check_messages(messages: Any) -> list[str]:
    """The kinds of media found."""
    if type(messages) is not list:
        raise fault("parameter_type", param="messages", field="messages", type="Array")
    if not messages:
        raise fault("messages_empty", param="messages")
    media: list[str] = []
    open_calls: set[str] = set()
    for index, message in enumerate(messages):
        where = f"messages.{index}"
        role = message.get("role") if type(message) is dict else None
        if type(role) is not str or role not in _BLOCKS:
            raise fault("role_invalid", param=f"{where}.role")
        content = message.get("content")
        if content is None:
            raise fault("content_missing", param=f"{where}.content")
        if type(content) is str:
            blocks: list[Any] = []
        elif type(content) is list:
            blocks = content
        else:
            raise fault("content_not_text", param=f"{where}.content")
        for block in blocks:
            _check_block(block, role, f"{where}.content", media, open_calls)
        if role == "assistant":
            open_calls = {block["id"] for block in blocks if block["type"] == "tool_use"}
    return media


def _check_block(block: Any, role: str, where: str, media: list[str], open_calls: set[str]) -> None:
    kind = block.get("type") if type(block) is dict else None
    if type(kind) is not str or kind not in _BLOCKS[role]:
        raise fault("message_invalid", param=where, detail=f" ({where}: unknown block type for {role})")
    if kind == "text" and type(block.get("text")) is not str:
        raise fault("message_invalid", param=where, detail=f" ({where}: a text block needs a text)")
    if kind == "thinking" and type(block.get("thinking")) is not str:
        raise fault("message_invalid", param=where, detail=f" ({where}: a thinking block needs its thinking)")
    if kind == "tool_use" and not all(
        type(block.get(name)) is wanted for name, wanted in (("id", str), ("name", str), ("input", dict))
    ):
        raise fault("message_invalid", param=where, detail=f" ({where}: tool_use needs id, name and input)")
    if kind == "tool_result":
        if type(block.get("tool_use_id")) is not str or block["tool_use_id"] not in open_calls:
            raise fault("tool_message_orphan", param=f"{where}.tool_use_id")
        for inner in block["content"] if type(block.get("content")) is list else ():
            _check_block(inner, "user", where, media, set())
    content = block.get("content")
    if kind == "tool_result" and content is not None and type(content) not in (str, list):
        raise fault("message_invalid", param=where, detail=f" ({where}: a tool_result's content is a text or blocks)")
    if kind in ("image", "document"):
        media.append("image" if kind == "image" else "file")
        _check_source(block.get("source"), where)


def _check_source(source: Any, where: str) -> None:
    kind = source.get("type") if type(source) is dict else None
    if kind == "url":
        check_link(source.get("url"), where)
    elif kind == "base64" and type(source.get("data")) is str and type(source.get("media_type")) is str:
        check_link(f"data:{source['media_type']};base64,{source['data']}", where)
    elif kind not in ("text", "content", "file"):
        raise fault("media_url_invalid", param=f"{where}.source")


def encode_same(request: ModelRequest, model: str, cap_tokens: int | None) -> bytes:
    """The body for a target of this API: the caller's own bytes where nothing must change."""
    caps = cap_tokens is not None and cap_tokens != request.output_cap_tokens
    if model == request.model and not caps:
        return request.raw
    body = dict(request.body, model=model)
    if caps:
        body["max_tokens"] = cap_tokens
    return encode(body)


# texts, for inspection


def rewrite_request(request: ModelRequest, rewrite: Rewrite) -> ModelRequest:
    """See `Dialect`."""
    body = dict(request.body)
    body["messages"] = [{**one, "content": rewrite_blocks(one["content"], rewrite)} for one in request.body["messages"]]
    if body.get("system") is not None:
        body["system"] = rewrite_blocks(body["system"], rewrite)
    return request if body == request.body else msgspec.structs.replace(request, decoded=body, raw=encode(body))


def rewrite_blocks(content: Any, rewrite: Rewrite) -> Any:
    """Content with its texts rewritten, a string or a list of blocks."""
    if type(content) is str:
        return rewrite(content)
    if type(content) is list:
        return [_rewrite_block(block, rewrite) for block in content]
    return content


def _rewrite_block(block: dict[str, Any], rewrite: Rewrite) -> dict[str, Any]:
    if type(block.get("text")) is str:
        return {**block, "text": rewrite(block["text"])}
    if block.get("type") == "tool_result" and "content" in block:
        return {**block, "content": rewrite_blocks(block.get("content"), rewrite)}
    return block
