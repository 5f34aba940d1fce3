"""POST /compatible-api/v1/reranks, and `/v1/rerank` as other servers have it. Source: openai-compatible.md 9."""

from typing import Any

import msgspec

from steelyard.base.errors import fault
from steelyard.base.jsondoor import decode_object, encode
from steelyard.canon.embedding import RankAnswer, RankAsk, Ranked
from steelyard.canon.request import MESSAGE_TOKENS, ModelRequest
from steelyard.canon.usage import Usage
from steelyard.dialects import openai_errors
from steelyard.dialects.codec import Codec
from steelyard.dialects.dialect import Dialect, Reply, Rewrite, Showing
from steelyard.dialects.openai_errors import fault_in_event
from steelyard.dialects.openai_fields import Check, boolean, check_fields, get_model, integer
from steelyard.dialects.whole import no_stream, read_object, whole_number

MAX_DOCUMENTS = 500
_PLACED = frozenset({"model", "query", "documents", "top_n", "return_documents"})
FIELDS: dict[str, Check] = {
    "top_n": integer("top_n", "top_n_range", lambda v: v >= 1),
    "return_documents": boolean("return_documents"),
}


def check_query(query: Any, documents: Any, where: str = "") -> list[Any]:
    """A query and documents, each a text or an object with one.

    Raises:
        Fault: the first thing wrong.
    """
    for name, value in (("query", query), ("documents", documents)):
        if value is None or value in ("", []):
            raise fault("field_missing", field=where + name, param=where + name)
    if text_of(query) is None:
        raise fault("parameter_type", field=where + "query", type="String", param=where + "query")
    if type(documents) is not list or any(text_of(one) is None for one in documents):
        raise fault("parameter_type", field=where + "documents", type="Array of String", param=where + "documents")
    if len(documents) > MAX_DOCUMENTS:
        raise fault("documents_too_many", limit=MAX_DOCUMENTS, param=where + "documents")
    return documents


def text_of(one: Any) -> str | None:
    """The text of a query or a document; None where it has none."""
    text = one.get("text") if type(one) is dict else one
    return text if type(text) is str else None


def rank_request(
    raw: bytes, body: dict[str, Any], model: str, api: str, settings: dict[str, Any], query: Any, documents: list[Any]
) -> ModelRequest:
    """The call as policy sees it: a model reads the query with every document."""
    return ModelRequest(
        operation="rerank",
        model=model,
        raw=raw,
        decoded=body,
        api=api,
        own_settings=settings,
        n=0,
        # no tokenizer makes more of it than this: the query is read once a document
        message_count=len(documents)
        + len((text_of(query) or "").encode()) * (len(documents) - 1) // MESSAGE_TOKENS
        + 1,
    )


def decode(raw: bytes, _headers: dict[bytes, bytes]) -> ModelRequest:
    """A rerank call.

    Raises:
        Fault: the first thing wrong, with the field.
    """
    body = decode_object(raw)
    model = get_model(body)
    documents = check_query(body.get("query"), body.get("documents"))
    check_fields(body, FIELDS)
    return rank_request(raw, body, model, "openai", body, body["query"], documents)


def encode_same(request: ModelRequest, model: str, _cap_tokens: int | None) -> bytes:
    """The body for a target of this API."""
    return request.raw if model == request.model else encode({**request.body, "model": model})


def read_reply(body: bytes) -> Reply:
    """What matters of an answer.

    Raises:
        Fault: `bad_gateway` where it is no answer at all.
    """
    answer = read_object(body)
    if not isinstance(answer.get("results"), list):
        if answer.get("error"):
            return Reply(None, fault_in_event(answer))
        raise fault("bad_gateway", detail=" (The answer has no results.)")
    return Reply(_usage_from(answer))


def _usage_from(answer: dict[str, Any]) -> Usage | None:
    counts = answer.get("usage")
    if not isinstance(counts, dict):
        # as some vendors tell it
        meta = answer.get("meta")
        counts = meta.get("tokens") if isinstance(meta, dict) else None
    if not isinstance(counts, dict):
        return None
    names = ("total_tokens", "prompt_tokens", "input_tokens")
    return Usage(prompt_tokens=max(whole_number(counts, name) for name in names))


def show_reply(body: bytes, showing: Showing) -> bytes:
    """The answer under the name that the caller used."""
    if showing.model is None:
        return body
    answer = msgspec.json.decode(body)
    answer["model"] = showing.model
    return encode(answer)


def rewrite_request(request: ModelRequest, rewrite: Rewrite) -> ModelRequest:
    """See `Dialect`."""
    body = {**request.body, **rewrite_query(request.body, rewrite)}
    if body == request.body:
        return request
    return msgspec.structs.replace(request, decoded=body, raw=encode(body))


def rewrite_query(asked: dict[str, Any], rewrite: Rewrite) -> dict[str, Any]:
    """Query and documents with their texts rewritten."""

    def one(value: Any) -> Any:
        return rewrite(value) if type(value) is str else {**value, "text": rewrite(value["text"])}

    return {"query": one(asked["query"]), "documents": [one(document) for document in asked["documents"]]}


def rewrite_reply(body: bytes, rewrite: Rewrite) -> bytes:
    """See `Dialect`: documents may be told again."""
    answer = msgspec.json.decode(body)
    results = (answer.get("output") or answer).get("results") or ()
    has_changed = False
    for one in results:
        document = one.get("document")
        if isinstance(document, dict) and isinstance(document.get("text"), str):
            new = rewrite(document["text"])
            has_changed = has_changed or new != document["text"]
            document["text"] = new
    return encode(answer) if has_changed else body


def read_ask(asked: dict[str, Any], settings: dict[str, Any]) -> RankAsk:
    """What is asked, from where the query stands and where the settings do."""
    return RankAsk(
        query=text_of(asked["query"]) or "",
        documents=tuple(text_of(one) or "" for one in asked["documents"]),
        top_n=settings.get("top_n"),
        wants_documents=settings.get("return_documents") is True,
        settings={name: value for name, value in settings.items() if name not in _PLACED},
    )


def _read_request(request: ModelRequest) -> RankAsk:
    return read_ask(request.body, request.body)


def _write_request(ask: RankAsk, model: str, _cap_tokens: int | None, _is_stream: bool) -> bytes:
    body: dict[str, Any] = {"model": model, "query": ask.query, "documents": list(ask.documents), **ask.settings}
    if ask.top_n is not None:
        body["top_n"] = ask.top_n
    return encode(body)


def read_results(rows: list[dict[str, Any]]) -> tuple[Ranked, ...]:
    """Places, best first."""
    found = [Ranked(one["index"], float(one["relevance_score"])) for one in rows]
    return tuple(sorted(found, key=lambda one: -one.score))


def write_results(answer: RankAnswer, asked: dict[str, Any], settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Places as both wires tell them, with the documents where they are wanted."""
    rows: list[dict[str, Any]] = []
    for one in answer.results:
        row: dict[str, Any] = {"index": one.index, "relevance_score": one.score}
        if settings.get("return_documents") is True:
            row["document"] = {"text": text_of(asked["documents"][one.index])}
        rows.append(row)
    return rows


def _read_answer(body: bytes) -> RankAnswer:
    answer = msgspec.json.decode(body)
    return RankAnswer(results=read_results(answer["results"]), usage=_usage_from(answer))


def _write_answer(answer: RankAnswer, showing: Showing) -> bytes:
    body = showing.request.body
    return encode(
        {
            "id": showing.request_id,
            "object": "list",
            "model": showing.request.model,
            "results": write_results(answer, body, body),
            "usage": {"total_tokens": (answer.usage or Usage()).prompt_tokens},
        }
    )


DIALECT = Dialect(
    api="openai",
    operation="rerank",
    paths=(
        "/compatible-api/v1/reranks",
        "/v1/rerank",
        "/v1/reranks",
        "/compatible-mode/v1/rerank",
        "/compatible-mode/v1/reranks",
    ),
    upstream_path="/rerank",
    decode=decode,
    encode=encode_same,
    read_reply=read_reply,
    show_reply=show_reply,
    open_tap=no_stream,
    read_refusal=openai_errors.read_refusal,
    rewrite_request=rewrite_request,
    rewrite_reply=rewrite_reply,
    render_error=openai_errors.render,
    codec=Codec(
        read_request=_read_request,
        write_answer=_write_answer,
        write_request=_write_request,
        read_answer=_read_answer,
        lacks=frozenset({"image", "video"}),
    ),
)
