"""POST /services/embeddings/text-embedding/text-embedding and …/multimodal-embedding/…. Source: dashscope.md 7."""

import functools
from typing import Any

import msgspec

from steelyard.base.errors import fault
from steelyard.base.jsondoor import encode
from steelyard.canon.embedding import DOCUMENT, EmbeddingAnswer, EmbeddingAsk
from steelyard.canon.request import ModelRequest
from steelyard.canon.task import EMBEDDINGS, TaskAsk
from steelyard.canon.usage import Usage
from steelyard.dialects import dashscope_codec, dashscope_errors, dashscope_tasks
from steelyard.dialects.codec import Codec
from steelyard.dialects.dashscope_errors import fault_in_event
from steelyard.dialects.dashscope_fields import MEDIA, decode_envelope, refuse_async
from steelyard.dialects.dashscope_images import wants_task
from steelyard.dialects.dashscope_media import link_of, wishes_of
from steelyard.dialects.dialect import Dialect, Operation, OperationsOf, Reply, Rewrite, Showing, TaskOperation
from steelyard.dialects.links import inline_bytes
from steelyard.dialects.openai_embeddings import check_text_type, check_texts
from steelyard.dialects.openai_fields import Check, check_fields, integer
from steelyard.dialects.openai_messages import check_link
from steelyard.dialects.whole import no_stream, read_object, whole_number

_PLACED = frozenset({"text_type", "dimension", "output_type"})
_OUTPUT_TYPES = ("dense", "sparse", "dense&sparse")


def _output_type(value: Any) -> None:
    if value not in _OUTPUT_TYPES:
        detail = f"output_type must be one of {', '.join(_OUTPUT_TYPES)}."
        raise fault("parameter_invalid", detail=detail, param="output_type")


PARAMETERS: dict[str, Check] = {
    "text_type": check_text_type,
    "dimension": integer("dimension", "dimensions_range", lambda v: v >= 1),
    "output_type": _output_type,
}


def decode_texts(raw: bytes, headers: dict[bytes, bytes]) -> ModelRequest:
    """A call of the text service.

    Raises:
        Fault: the first thing wrong, with the vendor's text and the field.
    """
    refuse_async(headers)
    body, model, asked, parameters = decode_envelope(raw)
    if asked.get("texts") is None:
        raise fault("field_missing", field="input.texts", param="input.texts")
    texts = check_texts(asked["texts"], "input.texts")
    return _request(raw, body, model, parameters, count=len(texts), media=[])


def decode_contents(raw: bytes, headers: dict[bytes, bytes]) -> ModelRequest:
    """A call of the multimodal service.

    Raises:
        Fault: likewise.
    """
    refuse_async(headers)
    body, model, asked, parameters = decode_envelope(raw)
    contents = asked.get("contents")
    if type(contents) is not list or not contents:
        raise fault("field_missing", field="input.contents", param="input.contents")
    media: list[str] = []
    for index, one in enumerate(contents):
        where = f"input.contents[{index}]"
        if type(one) is dict and type(one.get("text")) is str:
            continue
        kind = next((name for name in MEDIA if type(one) is dict and name in one), None)
        if kind is None:
            raise fault("message_invalid", param=where, detail=f" ({where}: text, image, video or audio)")
        media.append(kind)
        links = one[kind]
        for link in links if type(links) is list and links else [links]:
            check_link(link, where)
    return _request(raw, body, model, parameters, count=len(contents), media=media)


def _request(
    raw: bytes, body: dict[str, Any], model: str, parameters: dict[str, Any], *, count: int, media: list[str]
) -> ModelRequest:
    check_fields(parameters, PARAMETERS)
    needs = set(media)
    if (parameters.get("output_type") or "dense") != "dense":
        needs.add("sparse")
    return ModelRequest(
        operation="embeddings",
        model=model,
        raw=raw,
        decoded=body,
        api="dashscope",
        own_settings=parameters,
        n=0,
        message_count=count,
        media_count=len(media),
        inline_bytes=inline_bytes(body["input"]) if media else 0,
        needs=frozenset(needs),
    )


def encode_same(request: ModelRequest, model: str, _cap_tokens: int | None) -> bytes:
    """The body for a target of this API."""
    return request.raw if model == request.model else encode({**request.body, "model": model})


def read_reply(body: bytes) -> Reply:
    """What matters of an answer.

    Raises:
        Fault: `bad_gateway` where it is no answer at all.
    """
    answer = read_object(body)
    output = answer.get("output")
    if not isinstance(output, dict) or not isinstance(output.get("embeddings"), list):
        if answer.get("code"):
            return Reply(None, fault_in_event(answer))
        raise fault("bad_gateway", detail=" (The answer has no embeddings.)")
    return Reply(_usage_from(answer.get("usage")))


def _usage_from(counts: Any) -> Usage | None:
    if not isinstance(counts, dict):
        return None
    return Usage(prompt_tokens=whole_number(counts, "total_tokens") or whole_number(counts, "input_tokens"))


def rewrite_request(request: ModelRequest, rewrite: Rewrite, *, is_multimodal: bool) -> ModelRequest:
    """See `Dialect`."""
    asked = dict(request.body["input"])
    if is_multimodal:
        asked["contents"] = dashscope_codec.rewrite_parts(asked["contents"], rewrite)
    elif type(asked["texts"]) is str:
        asked["texts"] = rewrite(asked["texts"])
    else:
        asked["texts"] = [rewrite(one) for one in asked["texts"]]
    if asked == request.body["input"]:
        return request
    body = {**request.body, "input": asked}
    return msgspec.structs.replace(request, decoded=body, raw=encode(body))


def _read_request(request: ModelRequest, *, is_multimodal: bool) -> EmbeddingAsk:
    asked, parameters = request.body["input"], request.settings
    texts = [one["text"] for one in asked["contents"]] if is_multimodal else asked["texts"]
    return EmbeddingAsk(
        texts=(texts,) if type(texts) is str else tuple(texts),
        text_type=parameters.get("text_type") or DOCUMENT,
        dimensions=parameters.get("dimension"),
        settings={name: value for name, value in parameters.items() if name not in _PLACED},
    )


def _write_request(ask: EmbeddingAsk, model: str, _cap_tokens: int | None, _is_stream: bool) -> bytes:
    parameters: dict[str, Any] = {"text_type": ask.text_type, **ask.settings}
    if ask.dimensions is not None:
        parameters["dimension"] = ask.dimensions
    return encode({"model": model, "input": {"texts": list(ask.texts)}, "parameters": parameters})


def _read_answer(body: bytes) -> EmbeddingAnswer:
    answer = msgspec.json.decode(body)
    rows = sorted(answer["output"]["embeddings"], key=lambda one: one.get("text_index", one.get("index")) or 0)
    return EmbeddingAnswer(vectors=tuple(one["embedding"] for one in rows), usage=_usage_from(answer.get("usage")))


def _write_texts(answer: EmbeddingAnswer, showing: Showing) -> bytes:
    rows = [{"text_index": number, "embedding": vector} for number, vector in enumerate(answer.vectors)]
    usage = {"total_tokens": (answer.usage or Usage()).prompt_tokens}
    return encode({"output": {"embeddings": rows}, "usage": usage, "request_id": showing.request_id})


def _write_contents(answer: EmbeddingAnswer, showing: Showing) -> bytes:
    rows = [{"index": number, "type": "text", "embedding": vector} for number, vector in enumerate(answer.vectors)]
    tokens = (answer.usage or Usage()).prompt_tokens
    usage = {"input_tokens": tokens, "image_tokens": 0, "total_tokens": tokens}
    return encode({"output": {"embeddings": rows}, "usage": usage, "request_id": showing.request_id})


def _decode_file(raw: bytes, _headers: dict[bytes, bytes]) -> ModelRequest:
    """A call for the embeddings of a whole file of texts, one a line: BatchTextEmbedding."""
    body, model, asked, parameters = decode_envelope(raw)
    check_fields(parameters, PARAMETERS)
    if not link_of(asked, "url"):
        raise fault("field_missing", field="input.url", param="input.url")
    # the call takes no tokens: those that its task makes do
    return ModelRequest(
        operation="embeddings", model=model, raw=b"", decoded=body, api="", own_settings=parameters, n=0
    )


def _ask_of_file(request: ModelRequest, headers: dict[bytes, bytes]) -> TaskAsk:
    parameters = request.body.get("parameters") or {}
    return TaskAsk(
        kind=EMBEDDINGS,
        model=request.model,
        api="dashscope",
        service="text-embedding",
        files=(link_of(request.body["input"], "url"),),
        settings={name: parameters[name] for name in ("text_type", "dimension") if name in parameters},
        **wishes_of(headers),
    )


#: Reached through the synchronous operation of the same path, by the header that asks for a task.
FILE = TaskOperation(
    api="dashscope",
    operation="embeddings",
    paths=(),
    decode=_decode_file,
    rewrite_request=lambda request, _rewrite: request,
    render_error=dashscope_errors.render,
    ask=_ask_of_file,
    is_async=wants_task,
    show=dashscope_tasks.show_submitted,
)


def _diverts(_raw: bytes, headers: dict[bytes, bytes], _operations_of: OperationsOf) -> Operation | None:
    return FILE if wants_task(headers) else None


def _embeddings(service: str, *, is_multimodal: bool) -> Dialect:
    path = f"/services/embeddings/{service}/{service}"

    def suits(request: ModelRequest, model: str) -> bool:
        return (request.media_count > 0 or "multimodal" in model or "-vl-" in model) == is_multimodal

    return Dialect(
        api="dashscope",
        operation="embeddings",
        paths=("/api/v1" + path,),
        upstream_path=path,
        decode=decode_contents if is_multimodal else decode_texts,
        encode=encode_same,
        read_reply=read_reply,
        show_reply=dashscope_codec.show_reply,
        open_tap=no_stream,
        read_refusal=dashscope_errors.read_refusal,
        rewrite_request=functools.partial(rewrite_request, is_multimodal=is_multimodal),
        rewrite_reply=lambda body, _rewrite: body,
        render_error=dashscope_errors.render,
        codec=Codec(
            read_request=functools.partial(_read_request, is_multimodal=is_multimodal),
            write_answer=_write_contents if is_multimodal else _write_texts,
            write_request=_write_contents_request if is_multimodal else _write_request,
            read_answer=_read_answer,
        ),
        takes_links=is_multimodal,
        suits=suits,
        diverts=None if is_multimodal else _diverts,
    )


def _write_contents_request(ask: EmbeddingAsk, model: str, _cap_tokens: int | None, _is_stream: bool) -> bytes:
    parameters = dict(ask.settings)
    if ask.dimensions is not None:
        parameters["dimension"] = ask.dimensions
    contents = [{"text": text} for text in ask.texts]
    return encode({"model": model, "input": {"contents": contents}, "parameters": parameters})


TEXT = _embeddings("text-embedding", is_multimodal=False)
MULTIMODAL = _embeddings("multimodal-embedding", is_multimodal=True)
