"""POST /chat/completions. Source: openai-compatible.md 3."""

from typing import Any

from steelyard.base.errors import fault
from steelyard.base.jsondoor import decode_object
from steelyard.canon.conversation import SETTINGS
from steelyard.canon.request import ModelRequest
from steelyard.dialects import openai_codec, openai_errors
from steelyard.dialects.codec import Codec
from steelyard.dialects.dialect import Dialect
from steelyard.dialects.links import inline_bytes
from steelyard.dialects.openai_fields import CHAT, check_fields, get_model, get_output_cap
from steelyard.dialects.openai_messages import check_messages, mentions_json
from steelyard.dialects.openai_pieces import PieceReader, PieceWriter
from steelyard.dialects.openai_plain import read_plain
from steelyard.dialects.openai_stream import OpenAITap
from steelyard.dialects.openai_texts import rewrite_reply, rewrite_request
from steelyard.dialects.openai_wire import encode_request, read_reply, show_reply


def decode_plain(raw: bytes) -> ModelRequest | None:
    """A chat call of the commonest form, by one look; None for any other. Its texts may hold links, nothing else refers to anything."""
    plain = read_plain(raw)
    if plain is None:
        return None
    return ModelRequest(
        operation="chat",
        model=plain.model,
        raw=raw,
        is_stream=plain.stream is True,
        wants_usage=plain.wants_usage,
        output_cap_tokens=plain.output_cap_tokens,
        message_count=len(plain.messages),
    )


def decode(raw: bytes, _headers: dict[bytes, bytes]) -> ModelRequest:
    """A chat call from its body.

    Raises:
        Fault: the first thing wrong, with the vendor's text and the field.
    """
    body = decode_object(raw)
    model = get_model(body)
    messages = body.get("messages")
    if messages is None:
        raise fault("prompt_and_messages_missing", param="messages")
    media_count, needs = check_messages(messages)
    check_fields(body, CHAT)
    needs |= _features(body)
    stream_options = body.get("stream_options") or {}
    return ModelRequest(
        operation="chat",
        model=model,
        raw=raw,
        decoded=body,
        is_stream=body.get("stream") is True,
        wants_usage=stream_options.get("include_usage") is True,
        n=int(body.get("n") or 1),
        output_cap_tokens=get_output_cap(body),
        message_count=len(messages),
        media_count=media_count,
        inline_bytes=inline_bytes(body["messages"]) if media_count else 0,
        needs=needs,
    )


def _features(body: dict[str, Any]) -> frozenset[str]:
    """What the call needs of a target, and the checks that span fields."""
    needs = {need for field, need in _SWITCHES if body.get(field) is True}
    tools = body.get("tools")
    if tools:
        needs.add("tools")
    if (body.get("n") or 1) != 1:
        if tools:
            raise fault("n_with_tools", param="n")
        needs.add("n")
    _check_choice(body.get("tool_choice"), tools)
    if "audio" in (body.get("modalities") or ()):
        needs.add("audio")
        if body.get("stream") is not True:
            raise fault("audio_needs_stream", param="modalities")
    if body.get("top_logprobs") and "logprobs" not in needs:
        raise fault("top_logprobs_range", param="top_logprobs")
    needs |= _format_needs(body, is_thinking="thinking" in needs)
    return frozenset(needs)


#: Fields that ask for an ability where they are true.
_SWITCHES = (("enable_search", "search"), ("enable_thinking", "thinking"), ("logprobs", "logprobs"))


def _format_needs(body: dict[str, Any], *, is_thinking: bool) -> set[str]:
    response_format = body.get("response_format")
    kind = "text" if response_format is None else response_format["type"]
    if kind == "text":
        return set()
    if is_thinking:
        raise fault("json_mode_thinking", param="response_format")
    if kind == "json_object" and not mentions_json(body["messages"]):
        raise fault("json_word_missing", param="response_format")
    return {kind}


def _check_choice(choice: Any, tools: Any) -> None:
    if choice is None or choice in ("none", "auto"):
        return
    names = {tool["function"]["name"] for tool in tools or []}
    if not names or (type(choice) is dict and choice["function"]["name"] not in names):
        raise fault("tool_choice_invalid", param="tool_choice")


DIALECT = Dialect(
    api="openai",
    operation="chat",
    paths=("/v1/chat/completions", "/compatible-mode/v1/chat/completions"),
    upstream_path="/chat/completions",
    decode=decode,
    encode=encode_request,
    read_reply=read_reply,
    show_reply=show_reply,
    open_tap=OpenAITap,
    rewrite_request=rewrite_request,
    rewrite_reply=rewrite_reply,
    read_refusal=openai_errors.read_refusal,
    render_error=openai_errors.render,
    codec=Codec(
        read_request=openai_codec.read_request,
        write_answer=openai_codec.write_answer,
        write_request=openai_codec.write_request,
        read_answer=openai_codec.read_answer,
        open_reader=PieceReader,
        open_writer=PieceWriter,
        carries=SETTINGS,
        lacks=frozenset({"server_tool"}),
    ),
    takes_links=True,
    decode_plain=decode_plain,
)
