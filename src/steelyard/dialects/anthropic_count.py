"""POST /v1/messages/count_tokens. Source: openai-compatible.md 1 and 11."""

import msgspec

from steelyard.base.errors import fault
from steelyard.base.jsondoor import encode
from steelyard.canon.conversation import Conversation
from steelyard.canon.request import ModelRequest
from steelyard.canon.tokens import TokenAnswer
from steelyard.canon.usage import Usage
from steelyard.dialects import anthropic_codec, anthropic_errors, anthropic_fields
from steelyard.dialects.anthropic_errors import fault_in_event
from steelyard.dialects.codec import Codec
from steelyard.dialects.dialect import Dialect, Reply, Showing
from steelyard.dialects.whole import no_stream, read_object

_PATH = "/v1/messages/count_tokens"


def decode(raw: bytes, _headers: dict[bytes, bytes]) -> ModelRequest:
    """A call whose tokens are to be counted before it is made.

    Raises:
        Fault: the first thing wrong, with the field.
    """
    request = anthropic_fields.decode_body(raw, needs_cap=False)
    return msgspec.structs.replace(request, operation="tokenize", is_stream=False, n=0)


def read_reply(body: bytes) -> Reply:
    """What matters of an answer: counting takes nothing.

    Raises:
        Fault: `bad_gateway` where it is no answer at all.
    """
    answer = read_object(body)
    if answer.get("type") == "error":
        return Reply(None, fault_in_event(answer))
    if not isinstance(answer.get("input_tokens"), int):
        raise fault("bad_gateway", detail=" (The answer has no input_tokens.)")
    return Reply(Usage())


def _write_request(ask: Conversation, model: str, _cap_tokens: int | None, _is_stream: bool) -> bytes:
    body = msgspec.json.decode(anthropic_codec.write_request(ask, model, None, False))
    for name in ("max_tokens", *ask.settings):
        body.pop(name, None)
    return encode(body)


def _read_answer(body: bytes) -> TokenAnswer:
    return TokenAnswer(count=msgspec.json.decode(body)["input_tokens"])


def _write_answer(answer: TokenAnswer, _showing: Showing) -> bytes:
    return encode({"input_tokens": answer.count})


DIALECT = Dialect(
    api="anthropic",
    operation="tokenize",
    paths=("/apps/anthropic" + _PATH, _PATH),
    upstream_path=_PATH,
    decode=decode,
    encode=anthropic_fields.encode_same,
    read_reply=read_reply,
    show_reply=lambda body, _showing: body,
    open_tap=no_stream,
    read_refusal=anthropic_errors.read_refusal,
    rewrite_request=anthropic_fields.rewrite_request,
    rewrite_reply=lambda body, _rewrite: body,
    render_error=anthropic_errors.render,
    id_headers=(b"x-request-id", b"request-id"),
    codec=Codec(
        read_request=anthropic_codec.read_request,
        write_answer=_write_answer,
        write_request=_write_request,
        read_answer=_read_answer,
    ),
    takes_links=True,
)
