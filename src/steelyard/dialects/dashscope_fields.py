"""What a native generation call asks, checked. Source: dashscope.md 2, 5 and 6, errors.md 2.1."""

from typing import Any

import msgspec

from steelyard.base.errors import fault
from steelyard.base.jsondoor import decode_object, encode
from steelyard.canon.request import ModelRequest
from steelyard.dialects.dialect import Rewrite
from steelyard.dialects.links import inline_bytes
from steelyard.dialects.openai_fields import CHAT, Check, boolean, check_fields, get_model, get_output_cap, integer
from steelyard.dialects.openai_messages import check_link, check_messages

#: The vendor's own way to say where media is, by part.
MEDIA = ("image", "video", "audio")
MAX_SEED = 2**63 - 1


def _result_format(value: Any) -> None:
    if value not in ("text", "message"):
        raise fault("parameter_invalid", param="result_format", detail='result_format must be "text" or "message".')


PARAMETERS: dict[str, Check] = {
    **{name: check for name, check in CHAT.items() if name not in ("stream", "stream_options")},
    "seed": integer("seed", "seed_range_native", lambda v: 0 <= v <= MAX_SEED),
    "result_format": _result_format,
    "incremental_output": boolean("incremental_output"),
}


def decode_envelope(raw: bytes) -> tuple[dict[str, Any], str, dict[str, Any], dict[str, Any]]:
    """A native body's parts: the whole, the model, `input` and `parameters`.

    Raises:
        Fault: what every native call needs and this one lacks.
    """
    body = decode_object(raw)
    model = get_model(body)
    asked, parameters = body.get("input"), body.get("parameters")
    if asked is None:
        raise fault("input_missing", param="input")
    for name, value in (("input", asked), ("parameters", parameters)):
        if value is not None and type(value) is not dict:
            raise fault("parameter_type", param=name, field=name, type="Object")
    return body, model, asked, parameters or {}


def wants_stream(headers: dict[bytes, bytes]) -> bool:
    """Streaming is asked for by a header alone."""
    return headers.get(b"x-dashscope-sse", b"").lower() == b"enable" or b"text/event-stream" in headers.get(
        b"accept", b""
    )


def refuse_async(headers: dict[bytes, bytes]) -> None:
    """For services without tasks.

    Raises:
        Fault: `async_not_supported`.
    """
    if headers.get(b"x-dashscope-async", b"").lower() == b"enable":
        raise fault("async_not_supported")


def decode(raw: bytes, headers: dict[bytes, bytes]) -> ModelRequest:
    """A generation call, text or multimodal.

    Raises:
        Fault: the first thing wrong, with the vendor's text and the field.
    """
    refuse_async(headers)
    body, model, asked, parameters = decode_envelope(raw)
    media_count, needs, count = check_input(asked)
    check_fields(parameters, PARAMETERS)
    return ModelRequest(
        operation="chat",
        model=model,
        raw=raw,
        decoded=body,
        api="dashscope",
        own_settings=parameters,
        is_stream=wants_stream(headers),
        wants_usage=True,
        n=int(parameters.get("n") or 1),
        output_cap_tokens=get_output_cap(parameters),
        message_count=count,
        media_count=media_count,
        inline_bytes=inline_bytes(asked) if media_count else 0,
        needs=needs | _needs(parameters),
    )


def check_input(asked: dict[str, Any]) -> tuple[int, frozenset[str], int]:
    """How many media parts there are, what they need, and how many messages."""
    messages, prompt = asked.get("messages"), asked.get("prompt")
    if messages is not None:
        media_count, needs = check_messages(messages, _check_part)
        return media_count, needs, len(messages)
    if prompt is None:
        raise fault("prompt_and_messages_missing", param="input")
    if type(prompt) is not str:
        raise fault("prompt_type", param="input.prompt")
    history = asked.get("history") or []
    if type(history) is not list or not all(_is_turn(turn) for turn in history):
        raise fault("message_invalid", param="input.history", detail=' (history: {"user", "bot"} objects)')
    return 0, frozenset(), 1 + 2 * len(history)


def _is_turn(turn: Any) -> bool:
    return type(turn) is dict and all(type(turn.get(name)) is str for name in ("user", "bot"))


def _check_part(part: Any, where: str, media: list[str]) -> None:
    if type(part) is not dict:
        raise fault("message_invalid", param=where, detail=f" ({where}: a part must be an object)")
    if "text" in part:
        if type(part["text"]) is not str:
            raise fault("message_invalid", param=where, detail=f" ({where}: a text part needs a text)")
        return
    kind = next((name for name in MEDIA if name in part), None)
    if kind is None:
        raise fault("message_invalid", param=where, detail=f" ({where}: a part has text, image, video or audio)")
    media.append(kind)
    links = part[kind]
    for link in links if type(links) is list and links else [links]:
        check_link(link, where)


def _needs(parameters: dict[str, Any]) -> frozenset[str]:
    needs = set()
    tools = parameters.get("tools")
    if tools:
        needs.add("tools")
    if (parameters.get("n") or 1) != 1:
        if tools:
            raise fault("n_with_tools", param="n")
        needs.add("n")
    for name, need in (("enable_search", "search"), ("enable_thinking", "thinking"), ("logprobs", "logprobs")):
        if parameters.get(name) is True:
            needs.add(need)
    kind = (parameters.get("response_format") or {}).get("type", "text")
    if kind != "text":
        needs.add(kind)
        if "thinking" in needs:
            raise fault("json_mode_thinking", param="response_format")
    return frozenset(needs)


def encode_same(request: ModelRequest, model: str, cap_tokens: int | None) -> bytes:
    """The body for a target of this API: the caller's own bytes where nothing must change."""
    caps = cap_tokens is not None and cap_tokens != request.output_cap_tokens
    if model == request.model and not caps:
        return request.raw
    body = dict(request.body, model=model)
    if caps:
        body["parameters"] = {**request.settings, "max_tokens": cap_tokens}
    return encode(body)


# texts, for inspection


def rewrite_request(request: ModelRequest, rewrite: Rewrite) -> ModelRequest:
    """See `Dialect`."""
    body = {**request.body, "input": _rewrite_input(request.body["input"], rewrite)}
    raw = encode(body)
    return request if body == request.body else msgspec.structs.replace(request, decoded=body, raw=raw)


def _rewrite_input(asked: dict[str, Any], rewrite: Rewrite) -> dict[str, Any]:
    out = dict(asked)
    if type(asked.get("prompt")) is str:
        out["prompt"] = rewrite(asked["prompt"])
    if asked.get("messages"):
        out["messages"] = [
            {**one, "content": rewrite_content(one["content"], rewrite)} if "content" in one else one
            for one in asked["messages"]
        ]
    if asked.get("history"):
        out["history"] = [
            {**turn, "user": rewrite(turn["user"]), "bot": rewrite(turn["bot"])} for turn in asked["history"]
        ]
    return out


def rewrite_content(content: Any, rewrite: Rewrite) -> Any:
    """Content with its texts rewritten, a string or a list of parts."""
    if type(content) is str:
        return rewrite(content)
    if type(content) is list:
        return [
            {**part, "text": rewrite(part["text"])} if type(part) is dict and type(part.get("text")) is str else part
            for part in content
        ]
    return content
