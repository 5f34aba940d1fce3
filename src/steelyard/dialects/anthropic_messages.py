"""POST /v1/messages. Source: openai-compatible.md 11."""

from steelyard.dialects import anthropic_codec, anthropic_errors, anthropic_fields
from steelyard.dialects.anthropic_pieces import MessagesReader, MessagesTap, MessagesWriter
from steelyard.dialects.codec import Codec
from steelyard.dialects.crossing import open_crossing_tap
from steelyard.dialects.dialect import Dialect, Showing, StreamTap

#: What speaks this dialect.
PREFIXES = ("/apps/anthropic/", "/v1/messages")


def _open_tap(showing: Showing) -> StreamTap:
    return MessagesTap(showing) if showing.cutter is None else open_crossing_tap(DIALECT, DIALECT, showing)


DIALECT = Dialect(
    api="anthropic",
    operation="chat",
    paths=("/apps/anthropic/v1/messages", "/v1/messages"),
    upstream_path="/v1/messages",
    decode=anthropic_fields.decode,
    encode=anthropic_fields.encode_same,
    read_reply=anthropic_codec.read_reply,
    show_reply=anthropic_codec.show_reply,
    open_tap=_open_tap,
    read_refusal=anthropic_errors.read_refusal,
    rewrite_request=anthropic_fields.rewrite_request,
    rewrite_reply=anthropic_codec.rewrite_reply,
    render_error=anthropic_errors.render,
    id_headers=(b"x-request-id", b"request-id"),
    codec=Codec(
        read_request=anthropic_codec.read_request,
        write_answer=anthropic_codec.write_answer,
        write_request=anthropic_codec.write_request,
        read_answer=anthropic_codec.read_answer,
        open_reader=MessagesReader,
        open_writer=MessagesWriter,
        carries=anthropic_codec.CARRIES,
        lacks=anthropic_codec.LACKS,
    ),
    takes_links=True,
)
