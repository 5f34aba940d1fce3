"""The fake vendor's vectors and ranks: a text's vector is made of its characters, a document's score of shared words."""

import base64
import json
import struct
from typing import Any

from upstream.native import ID
from upstream.script import Script


def vector(text: str, dimensions: int) -> list[float]:
    found = [0.0] * dimensions
    for place, character in enumerate(text):
        found[(ord(character) + place) % dimensions] += 0.25
    return found


def openai_embeddings(script: Script, body: dict[str, Any]) -> bytes:
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    rows = []
    for index, text in enumerate(texts):
        one: Any = vector(text, int(body.get("dimensions") or 8))
        if body.get("encoding_format") == "base64" and not script.no_done:
            one = base64.b64encode(struct.pack(f"<{len(one)}f", *one)).decode()
        rows.append({"object": "embedding", "index": index, "embedding": one})
    tokens = sum(len(text.split()) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    answer = {"object": "list", "model": body["model"], "data": rows, "usage": usage, "vendor_extra": 1}
    return json.dumps(answer).encode()


def native_embeddings(script: Script, body: dict[str, Any]) -> bytes:
    asked, parameters = body["input"], body.get("parameters") or {}
    if "contents" in asked:
        texts = [next(iter(one.values())) for one in asked["contents"]]
        names = ("index", "type")
    else:
        texts, names = asked["texts"], ("text_index",)
    rows = []
    for index, text in enumerate(texts):
        row: dict[str, Any] = {names[0]: index, "embedding": vector(str(text), int(parameters.get("dimension") or 8))}
        if len(names) > 1:
            row["type"] = next(iter(asked["contents"][index]))
        if "sparse" in (parameters.get("output_type") or ""):
            row["sparse_embedding"] = [{"index": 1, "value": 0.5, "token": "a"}]
        rows.append(row)
    tokens = sum(len(str(text).split()) for text in texts)
    answer = {"output": {"embeddings": rows}, "usage": {"total_tokens": tokens}, "request_id": ID}
    return json.dumps(answer).encode()


def _ranks(query: str, documents: list[Any], top_n: int | None) -> tuple[list[dict[str, Any]], int]:
    texts = [one["text"] if isinstance(one, dict) else one for one in documents]
    wanted = set(query.split())
    scores = [len(wanted & set(text.split())) / max(len(wanted), 1) for text in texts]
    rows = [{"index": index, "relevance_score": score} for index, score in enumerate(scores)]
    rows.sort(key=lambda one: -one["relevance_score"])
    return rows[: None if top_n is None else int(top_n)], len(query.split()) * len(texts) + sum(
        len(text.split()) for text in texts
    )


def openai_ranks(script: Script, body: dict[str, Any]) -> bytes:
    rows, tokens = _ranks(body["query"], body["documents"], body.get("top_n"))
    return json.dumps({"id": "r", "results": rows, "usage": {"total_tokens": tokens}}).encode()


def native_ranks(script: Script, body: dict[str, Any]) -> bytes:
    asked, parameters = body["input"], body.get("parameters") or {}
    query = asked["query"]["text"] if isinstance(asked["query"], dict) else asked["query"]
    rows, tokens = _ranks(query, asked["documents"], parameters.get("top_n"))
    answer = {"output": {"results": rows}, "usage": {"total_tokens": tokens}, "request_id": ID}
    return json.dumps(answer).encode()


def native_tokens(script: Script, body: dict[str, Any]) -> bytes:
    messages = body["input"].get("messages") or [{"content": body["input"].get("prompt")}]
    words = [word for one in messages for word in str(one["content"]).split()]
    output = {"token_ids": list(range(len(words))), "tokens": words}
    return json.dumps({"output": output, "usage": {"input_tokens": len(words)}, "request_id": ID}).encode()


def counted_tokens(script: Script, body: dict[str, Any]) -> bytes:
    return json.dumps({"input_tokens": len(json.dumps(body["messages"]).split())}).encode()
