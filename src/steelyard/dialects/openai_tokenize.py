"""POST /tokenize, as model servers on the OpenAI wire have it. Nobody but this server asks for it: it has no path of callers."""

from typing import Any

import msgspec

from steelyard.base.errors import fault
from steelyard.base.jsondoor import decode_object, encode
from steelyard.canon.conversation import Conversation
from steelyard.canon.request import ModelRequest
from steelyard.canon.tokens import TokenAnswer
from steelyard.canon.usage import Usage
from steelyard.dialects import openai_codec, openai_errors
from steelyard.dialects.codec import Codec
from steelyard.dialects.dialect import Dialect, Reply, Showing
from steelyard.dialects.openai_fields import get_model
from steelyard.dialects.openai_messages import check_messages
from steelyard.dialects.whole import no_stream, read_object


def decode(raw: bytes, _headers: dict[bytes, bytes]) -> ModelRequest:
    """A conversation to count.

    Raises:
        Fault: the first thing wrong.
    """
    body = decode_object(raw)
    model = get_model(body)
    check_messages(body.get("messages"))
    return ModelRequest(operation="tokenize", model=model, raw=raw, decoded=body, n=0)


def read_reply(body: bytes) -> Reply:
    """What matters of an answer: counting takes nothing.

    Raises:
        Fault: `bad_gateway` where it is no answer at all.
    """
    answer = read_object(body)
    if not isinstance(answer.get("count"), int):
        raise fault("bad_gateway", detail=" (The answer has no count.)")
    return Reply(Usage())


def _write_request(ask: Conversation, model: str, _cap_tokens: int | None, _is_stream: bool) -> bytes:
    body: dict[str, Any] = {"model": model, "messages": [openai_codec.write_message(one) for one in ask.messages]}
    if ask.tools:
        body["tools"] = [openai_codec.write_tool(one) for one in ask.tools]
    return encode(body)


def _read_answer(body: bytes) -> TokenAnswer:
    answer = msgspec.json.decode(body)
    return TokenAnswer(
        count=answer["count"], ids=tuple(answer.get("tokens") or ()), texts=tuple(answer.get("token_strs") or ())
    )


def _write_answer(answer: TokenAnswer, _showing: Showing) -> bytes:
    return encode({"count": answer.count, "tokens": answer.ids, "token_strs": answer.texts})


DIALECT = Dialect(
    api="openai",
    operation="tokenize",
    paths=(),
    upstream_path="/tokenize",
    decode=decode,
    encode=lambda request, model, _cap: encode({**request.body, "model": model}),
    read_reply=read_reply,
    show_reply=lambda body, _showing: body,
    open_tap=no_stream,
    read_refusal=openai_errors.read_refusal,
    rewrite_request=lambda request, _rewrite: request,
    rewrite_reply=lambda body, _rewrite: body,
    render_error=openai_errors.render,
    codec=Codec(
        read_request=openai_codec.read_request,
        write_answer=_write_answer,
        write_request=_write_request,
        read_answer=_read_answer,
    ),
)
