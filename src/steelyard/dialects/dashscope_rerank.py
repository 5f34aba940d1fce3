"""POST /services/rerank/text-rerank/text-rerank. Source: dashscope.md 7."""

from typing import Any

import msgspec

from steelyard.base.errors import fault
from steelyard.base.jsondoor import encode
from steelyard.canon.embedding import RankAnswer, RankAsk
from steelyard.canon.request import ModelRequest
from steelyard.canon.usage import Usage
from steelyard.dialects import dashscope_codec, dashscope_errors
from steelyard.dialects.codec import Codec
from steelyard.dialects.dashscope_errors import fault_in_event
from steelyard.dialects.dashscope_fields import decode_envelope, refuse_async
from steelyard.dialects.dialect import Dialect, Reply, Rewrite, Showing
from steelyard.dialects.openai_fields import check_fields
from steelyard.dialects.openai_rerank import (
    FIELDS,
    check_query,
    rank_request,
    read_ask,
    read_results,
    rewrite_query,
    rewrite_reply,
    write_results,
)
from steelyard.dialects.whole import no_stream, read_object, whole_number

_PATH = "/services/rerank/text-rerank/text-rerank"


def decode(raw: bytes, headers: dict[bytes, bytes]) -> ModelRequest:
    """A rerank call.

    Raises:
        Fault: the first thing wrong, with the vendor's text and the field.
    """
    refuse_async(headers)
    body, model, asked, parameters = decode_envelope(raw)
    documents = check_query(asked.get("query"), asked.get("documents"), "input.")
    check_fields(parameters, FIELDS)
    return rank_request(raw, body, model, "dashscope", parameters, asked["query"], documents)


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
    if not isinstance(output, dict) or not isinstance(output.get("results"), list):
        if answer.get("code"):
            return Reply(None, fault_in_event(answer))
        raise fault("bad_gateway", detail=" (The answer has no results.)")
    return Reply(_usage_from(answer.get("usage")))


def _usage_from(counts: Any) -> Usage | None:
    return Usage(prompt_tokens=whole_number(counts, "total_tokens")) if isinstance(counts, dict) else None


def rewrite_request(request: ModelRequest, rewrite: Rewrite) -> ModelRequest:
    """See `Dialect`."""
    asked = request.body["input"]
    new = {**asked, **rewrite_query(asked, rewrite)}
    if new == asked:
        return request
    body = {**request.body, "input": new}
    return msgspec.structs.replace(request, decoded=body, raw=encode(body))


def _read_request(request: ModelRequest) -> RankAsk:
    return read_ask(request.body["input"], request.settings)


def _write_request(ask: RankAsk, model: str, _cap_tokens: int | None, _is_stream: bool) -> bytes:
    parameters: dict[str, Any] = dict(ask.settings)
    if ask.top_n is not None:
        parameters["top_n"] = ask.top_n
    asked = {"query": ask.query, "documents": list(ask.documents)}
    return encode({"model": model, "input": asked, "parameters": parameters})


def _read_answer(body: bytes) -> RankAnswer:
    answer = msgspec.json.decode(body)
    return RankAnswer(results=read_results(answer["output"]["results"]), usage=_usage_from(answer.get("usage")))


def _write_answer(answer: RankAnswer, showing: Showing) -> bytes:
    request = showing.request
    results = write_results(answer, request.body["input"], request.settings)
    usage = {"total_tokens": (answer.usage or Usage()).prompt_tokens}
    return encode({"output": {"results": results}, "usage": usage, "request_id": showing.request_id})


DIALECT = Dialect(
    api="dashscope",
    operation="rerank",
    paths=("/api/v1" + _PATH,),
    upstream_path=_PATH,
    decode=decode,
    encode=encode_same,
    read_reply=read_reply,
    show_reply=dashscope_codec.show_reply,
    open_tap=no_stream,
    read_refusal=dashscope_errors.read_refusal,
    rewrite_request=rewrite_request,
    rewrite_reply=rewrite_reply,
    render_error=dashscope_errors.render,
    codec=Codec(
        read_request=_read_request,
        write_answer=_write_answer,
        write_request=_write_request,
        read_answer=_read_answer,
    ),
)
