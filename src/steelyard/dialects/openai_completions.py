"""POST /completions. Source: openai-compatible.md 4."""

from steelyard.base.errors import fault
from steelyard.base.jsondoor import decode_object, encode
from steelyard.canon.request import ModelRequest
from steelyard.dialects import openai_errors
from steelyard.dialects.dialect import Dialect
from steelyard.dialects.openai_fields import SAMPLING, check_fields, get_model, get_output_cap
from steelyard.dialects.openai_stream import OpenAITap
from steelyard.dialects.openai_texts import rewrite_reply, rewrite_request
from steelyard.dialects.openai_wire import encode_request, read_reply, show_reply


def decode(raw: bytes, _headers: dict[bytes, bytes]) -> ModelRequest:
    """A completions call from its body; a list of one prompt counts as that prompt.

    Raises:
        Fault: the first thing wrong, with the vendor's text and the field.
    """
    body = decode_object(raw)
    model = get_model(body)
    prompt = body.get("prompt")
    if prompt is None:
        raise fault("prompt_and_messages_missing", param="prompt")
    if type(prompt) is list and len(prompt) == 1:
        body = {**body, "prompt": prompt[0]}
        raw = encode(body)
    if type(body["prompt"]) is not str:
        raise fault("prompt_type", param="prompt")
    check_fields(body, SAMPLING)
    stream_options = body.get("stream_options") or {}
    return ModelRequest(
        operation="completions",
        model=model,
        raw=raw,
        decoded=body,
        is_stream=body.get("stream") is True,
        wants_usage=stream_options.get("include_usage") is True,
        n=int(body.get("n") or 1),
        output_cap_tokens=get_output_cap(body),
    )


DIALECT = Dialect(
    api="openai",
    operation="completions",
    paths=("/v1/completions", "/compatible-mode/v1/completions"),
    upstream_path="/completions",
    decode=decode,
    encode=encode_request,
    read_reply=read_reply,
    show_reply=show_reply,
    open_tap=OpenAITap,
    rewrite_request=rewrite_request,
    rewrite_reply=rewrite_reply,
    read_refusal=openai_errors.read_refusal,
    render_error=openai_errors.render,
)
