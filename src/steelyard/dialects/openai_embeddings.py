"""POST /embeddings. Source: openai-compatible.md 5.

Two SDKs ask for base64 unless told otherwise, and one of them makes nothing of a list of numbers: whatever an upstream answers,
the caller gets the form that was asked for.
"""

import base64
import struct
from typing import Any

import msgspec

from steelyard.base.errors import fault
from steelyard.base.jsondoor import decode_object, encode
from steelyard.canon.embedding import DOCUMENT, EmbeddingAnswer, EmbeddingAsk
from steelyard.canon.request import ModelRequest
from steelyard.canon.usage import Usage
from steelyard.dialects import openai_errors
from steelyard.dialects.codec import Codec
from steelyard.dialects.dialect import Dialect, Reply, Rewrite, Showing
from steelyard.dialects.openai_errors import fault_in_event
from steelyard.dialects.openai_fields import Check, check_fields, get_model, integer
from steelyard.dialects.whole import no_stream, read_object, whole_number

#: More texts than any model takes at once.
MAX_TEXTS = 2048
FLOAT, BASE64 = "float", "base64"
_PLACED = frozenset({"model", "input", "dimensions", "encoding_format", "text_type"})


def _encoding(value: Any) -> None:
    if value not in (FLOAT, BASE64):
        detail = 'encoding_format must be "float" or "base64".'
        raise fault("parameter_invalid", detail=detail, param="encoding_format")


def check_text_type(value: Any) -> None:
    """What texts are for.

    Raises:
        Fault: `parameter_invalid`.
    """
    if value not in ("query", "document"):
        raise fault("parameter_invalid", detail='text_type must be "query" or "document".', param="text_type")


FIELDS: dict[str, Check] = {
    "dimensions": integer("dimensions", "dimensions_range", lambda v: v >= 1),
    "encoding_format": _encoding,
    "text_type": check_text_type,
}


def check_texts(texts: Any, where: str) -> list[str]:
    """A text or a list of texts.

    Raises:
        Fault: token ids, nothing, or too many.
    """
    if type(texts) is str:
        texts = [texts]
    if type(texts) is not list or not all(type(one) is str for one in texts):
        raise fault("embedding_input_type", param=where)
    if not texts or not all(texts):
        raise fault("embedding_input_empty", param=where)
    if len(texts) > MAX_TEXTS:
        raise fault("embedding_batch", limit=MAX_TEXTS, param=where)
    return texts


def decode(raw: bytes, _headers: dict[bytes, bytes]) -> ModelRequest:
    """An embeddings call.

    Raises:
        Fault: the first thing wrong, with the vendor's text and the field.
    """
    body = decode_object(raw)
    model = get_model(body)
    if body.get("input") is None:
        raise fault("field_missing", field="input", param="input")
    texts = check_texts(body["input"], "input")
    check_fields(body, FIELDS)
    return ModelRequest(operation="embeddings", model=model, raw=raw, decoded=body, n=0, message_count=len(texts))


def encode_same(request: ModelRequest, model: str, _cap_tokens: int | None) -> bytes:
    """The body for a target of this API."""
    return request.raw if model == request.model else encode({**request.body, "model": model})


def read_reply(body: bytes) -> Reply:
    """What matters of an answer.

    Raises:
        Fault: `bad_gateway` where it is no answer at all.
    """
    answer = read_object(body)
    if not isinstance(answer.get("data"), list) or not answer["data"]:
        if answer.get("error"):
            return Reply(None, fault_in_event(answer))
        raise fault("bad_gateway", detail=" (The answer has no data.)")
    return Reply(_usage_from(answer.get("usage")))


def _usage_from(counts: Any) -> Usage | None:
    if not isinstance(counts, dict):
        return None
    return Usage(prompt_tokens=whole_number(counts, "prompt_tokens") or whole_number(counts, "total_tokens"))


def show_reply(body: bytes, showing: Showing) -> bytes:
    """The answer under the name, and in the form, that the caller asked for."""
    wants_text = showing.request.body.get("encoding_format") == BASE64
    is_text = b'"embedding":"' in body or b'"embedding": "' in body
    if showing.model is None and is_text == wants_text:
        return body
    answer = msgspec.json.decode(body)
    if showing.model is not None:
        answer["model"] = showing.model
    for one in answer["data"]:
        vector = one.get("embedding")
        if wants_text and isinstance(vector, list):
            one["embedding"] = to_base64(vector)
        elif not wants_text and isinstance(vector, str):
            one["embedding"] = from_base64(vector)
    return encode(answer)


def to_base64(vector: list[float]) -> str:
    """Little-endian 32 bit floats, in base64."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def from_base64(text: str) -> list[float]:
    """The numbers of it."""
    data = base64.b64decode(text)
    return list(struct.unpack(f"<{len(data) // 4}f", data))


def rewrite_request(request: ModelRequest, rewrite: Rewrite) -> ModelRequest:
    """See `Dialect`."""
    texts = request.body["input"]
    new = rewrite(texts) if type(texts) is str else [rewrite(one) for one in texts]
    if new == texts:
        return request
    body = {**request.body, "input": new}
    return msgspec.structs.replace(request, decoded=body, raw=encode(body))


def _read_request(request: ModelRequest) -> EmbeddingAsk:
    body = request.body
    texts = body["input"]
    return EmbeddingAsk(
        texts=(texts,) if type(texts) is str else tuple(texts),
        text_type=body.get("text_type") or DOCUMENT,
        dimensions=body.get("dimensions"),
        settings={name: value for name, value in body.items() if name not in _PLACED},
    )


def _write_request(ask: EmbeddingAsk, model: str, _cap_tokens: int | None, _is_stream: bool) -> bytes:
    body: dict[str, Any] = {"model": model, "input": list(ask.texts), "encoding_format": FLOAT, **ask.settings}
    if ask.dimensions is not None:
        body["dimensions"] = ask.dimensions
    if ask.text_type != DOCUMENT:
        body["text_type"] = ask.text_type
    return encode(body)


def _read_answer(body: bytes) -> EmbeddingAnswer:
    answer = msgspec.json.decode(body)
    rows = sorted(answer["data"], key=lambda one: one.get("index") or 0)
    vectors = tuple(
        from_base64(one["embedding"]) if isinstance(one["embedding"], str) else one["embedding"] for one in rows
    )
    return EmbeddingAnswer(vectors=vectors, usage=_usage_from(answer.get("usage")))


def _write_answer(answer: EmbeddingAnswer, showing: Showing) -> bytes:
    wants_text = showing.request.body.get("encoding_format") == BASE64
    rows = [
        {"object": "embedding", "index": number, "embedding": to_base64(vector) if wants_text else vector}
        for number, vector in enumerate(answer.vectors)
    ]
    tokens = (answer.usage or Usage()).prompt_tokens
    return encode(
        {
            "object": "list",
            "model": showing.request.model,
            "id": showing.request_id,
            "data": rows,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )


DIALECT = Dialect(
    api="openai",
    operation="embeddings",
    paths=("/v1/embeddings", "/compatible-mode/v1/embeddings"),
    upstream_path="/embeddings",
    decode=decode,
    encode=encode_same,
    read_reply=read_reply,
    show_reply=show_reply,
    open_tap=no_stream,
    read_refusal=openai_errors.read_refusal,
    rewrite_request=rewrite_request,
    rewrite_reply=lambda body, _rewrite: body,
    render_error=openai_errors.render,
    codec=Codec(
        read_request=_read_request,
        write_answer=_write_answer,
        write_request=_write_request,
        read_answer=_read_answer,
        lacks=frozenset({"sparse", "image", "video", "audio"}),
    ),
)
