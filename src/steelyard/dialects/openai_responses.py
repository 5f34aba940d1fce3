"""POST /responses. Source: openai-compatible.md 8.

It is an API of callers alone: what stands behind it is asked by chat, and what was said is kept here, so that a conversation goes on
whichever vendor answers next.
"""

from typing import Any, NoReturn

from steelyard.base.errors import fault
from steelyard.dialects import openai_errors, responses_codec, responses_fields
from steelyard.dialects.codec import Codec
from steelyard.dialects.dialect import Dialect
from steelyard.dialects.responses_pieces import ResponseWriter


def _never(*_: Any) -> NoReturn:
    """For the upstream role, which it does not have."""
    raise fault("internal_error")


DIALECT = Dialect(
    api="responses",
    operation="chat",
    paths=(
        "/v1/responses",
        "/compatible-mode/v1/responses",
        "/api/v2/apps/protocols/compatible-mode/v1/responses",
    ),
    upstream_path="",
    decode=responses_fields.decode,
    encode=_never,
    read_reply=_never,
    show_reply=_never,
    open_tap=_never,
    read_refusal=_never,
    rewrite_request=responses_fields.rewrite_request,
    rewrite_reply=responses_codec.rewrite_reply,
    render_error=openai_errors.render,
    with_context=responses_fields.with_context,
    codec=Codec(
        read_request=responses_codec.read_request,
        write_answer=responses_codec.write_answer,
        write_request=_never,
        read_answer=_never,
        open_writer=ResponseWriter,
        tells_steps=True,
    ),
    takes_links=True,
)
