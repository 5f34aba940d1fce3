"""POST /tokenizer. Source: dashscope.md 7."""

import msgspec

from steelyard.base.errors import fault
from steelyard.base.jsondoor import encode
from steelyard.canon.conversation import Conversation
from steelyard.canon.request import ModelRequest
from steelyard.canon.tokens import TokenAnswer
from steelyard.canon.usage import Usage
from steelyard.dialects import dashscope_codec, dashscope_errors, dashscope_fields
from steelyard.dialects.codec import Codec
from steelyard.dialects.dashscope_errors import fault_in_event
from steelyard.dialects.dialect import Dialect, Reply, Showing
from steelyard.dialects.whole import no_stream, read_object

_PATH = "/tokenizer"


def decode(raw: bytes, headers: dict[bytes, bytes]) -> ModelRequest:
    """A prompt or a conversation to count.

    Raises:
        Fault: the first thing wrong, with the vendor's text and the field.
    """
    request = dashscope_fields.decode(raw, headers)
    return msgspec.structs.replace(request, operation="tokenize", is_stream=False, n=0)


def read_reply(body: bytes) -> Reply:
    """What matters of an answer: counting takes nothing.

    Raises:
        Fault: `bad_gateway` where it is no answer at all.
    """
    answer = read_object(body)
    if not isinstance(answer.get("output"), dict):
        if answer.get("code"):
            return Reply(None, fault_in_event(answer))
        raise fault("bad_gateway", detail=" (The answer has no output.)")
    return Reply(Usage())


def _write_request(ask: Conversation, model: str, _cap_tokens: int | None, _is_stream: bool) -> bytes:
    messages = [{"role": one.role, "content": one.text} for one in ask.messages]
    return encode({"model": model, "input": {"messages": messages}, "parameters": {}})


def _read_answer(body: bytes) -> TokenAnswer:
    answer = msgspec.json.decode(body)
    output, usage = answer["output"], answer.get("usage") or {}
    ids = tuple(output.get("token_ids") or ())
    return TokenAnswer(count=usage.get("input_tokens") or len(ids), ids=ids, texts=tuple(output.get("tokens") or ()))


def _write_answer(answer: TokenAnswer, showing: Showing) -> bytes:
    output = {"token_ids": answer.ids, "tokens": answer.texts}
    return encode({"output": output, "usage": {"input_tokens": answer.count}, "request_id": showing.request_id})


DIALECT = Dialect(
    api="dashscope",
    operation="tokenize",
    paths=("/api/v1" + _PATH,),
    upstream_path=_PATH,
    decode=decode,
    encode=dashscope_fields.encode_same,
    read_reply=read_reply,
    show_reply=dashscope_codec.show_reply,
    open_tap=no_stream,
    read_refusal=dashscope_errors.read_refusal,
    rewrite_request=dashscope_fields.rewrite_request,
    rewrite_reply=lambda body, _rewrite: body,
    render_error=dashscope_errors.render,
    codec=Codec(
        read_request=dashscope_codec.read_request,
        write_answer=_write_answer,
        write_request=_write_request,
        read_answer=_read_answer,
    ),
)
