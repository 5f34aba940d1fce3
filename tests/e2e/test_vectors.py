"""Embeddings and rerank by both APIs, in front of both."""

import base64
import struct
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from installation import Installation, Served, Vendor
from upstream.vectors import vector

MODELS = ("by-openai", "by-dashscope")
TEXTS = ["one two", "三 四"]
DOCUMENTS = ["nothing here", "scales and weights", {"text": "scales"}]


@pytest.fixture(scope="module")
def embedding(tmp_path_factory: pytest.TempPathFactory, vendor: Vendor) -> Iterator[Served]:
    config = ""
    for api, base in (("openai", "/v1"), ("dashscope", "/api/v1"), ("anthropic", "")):
        config += f"""
[providers.{api}]
kind = "{api}"
base_url = "http://127.0.0.1:{vendor.port}{base}"

[models."by-{api}"]
targets = [{{provider = "{api}", model = "there"}}]
max_attempts = 1
price = {{input = "1", output = "1"}}
"""
    with Installation(tmp_path_factory.mktemp("embedding"), config) as installation:
        yield Served(installation)


def post(served: Served, path: str, body: dict[str, Any]) -> httpx.Response:
    return httpx.post(served.origin + path, json=body, headers=served.headers(), timeout=20)


def native(service: str) -> str:
    return f"/api/v1/services/{service}"


TEXT = native("embeddings/text-embedding/text-embedding")
MULTIMODAL = native("embeddings/multimodal-embedding/multimodal-embedding")
RERANK = native("rerank/text-rerank/text-rerank")


@pytest.mark.parametrize("model", MODELS)
class TestAcross:
    """The same vectors and ranks whatever API asks and answers."""

    @pytest.mark.parametrize("asked", [None, "float", "base64"])
    def test_openai_embeddings(self, embedding: Served, model: str, asked: str | None) -> None:
        body = {"model": model, "input": TEXTS, "dimensions": 16}
        answer = post(embedding, "/v1/embeddings", body | ({"encoding_format": asked} if asked else {}))
        told = answer.json()
        assert answer.status_code == 200, told
        assert (told["object"], told["model"], told["usage"]["prompt_tokens"]) == ("list", model, 4)
        for index, (one, text) in enumerate(zip(told["data"], TEXTS, strict=True)):
            found = one["embedding"]
            if asked == "base64":
                found = list(struct.unpack("<16f", base64.b64decode(found)))
            assert (one["index"], found) == (index, vector(text, 16))

    def test_native_embeddings(self, embedding: Served, model: str) -> None:
        body = {"model": model, "input": {"texts": TEXTS}, "parameters": {"dimension": 16, "text_type": "query"}}
        answer = post(embedding, TEXT, body)
        told = answer.json()
        assert [one["embedding"] for one in told["output"]["embeddings"]] == [vector(text, 16) for text in TEXTS]
        assert [one["text_index"] for one in told["output"]["embeddings"]] == [0, 1]
        assert (told["usage"]["total_tokens"], told["request_id"]) == (4, answer.headers["x-request-id"])
        receipt = settled(embedding, answer)
        assert (receipt["usage"]["prompt_tokens"], receipt["usage"]["completion_tokens"]) == (4, 0)
        assert receipt["settlement"]["cost_micros"] == 4
        contents = {
            "model": model,
            "input": {"contents": [{"text": text} for text in TEXTS]},
            "parameters": {"dimension": 16},
        }
        told = post(embedding, MULTIMODAL, contents).json()
        assert [(one["type"], one["embedding"]) for one in told["output"]["embeddings"]] == [
            ("text", vector(text, 16)) for text in TEXTS
        ]

    @pytest.mark.parametrize("path", ["/compatible-api/v1/reranks", "/v1/rerank", RERANK])
    def test_rerank(self, embedding: Served, model: str, path: str) -> None:
        settings = {"top_n": 2, "return_documents": True}
        asked = {"query": "scales weights", "documents": DOCUMENTS}
        body = {"model": model, **asked, **settings}
        if path == RERANK:
            body = {"model": model, "input": asked, "parameters": settings}
        answer = post(embedding, path, body)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        results = told["output"]["results"] if path == RERANK else told["results"]
        assert [(one["index"], one["relevance_score"]) for one in results] == [(1, 1.0), (2, 0.5)]
        if (path == RERANK) != (model == "by-dashscope"):
            assert results[0]["document"] == {"text": "scales and weights"}
        assert told["usage"]["total_tokens"] == 12
        assert settled(embedding, answer)["usage"]["prompt_tokens"] == 12


def settled(served: Served, answer: httpx.Response) -> dict[str, Any]:
    url = f"{served.origin}/control/v1/requests/{answer.headers['x-request-id']}/receipt"
    give_up_at = time.monotonic() + 10
    while (found := httpx.get(url, headers=served.headers())).status_code != 200:
        assert time.monotonic() < give_up_at, found.text
        time.sleep(0.05)
    return found.json()


def test_a_vendor_that_ignores_the_form(embedding: Served) -> None:
    """Numbers where base64 was asked become base64: the Node SDK would read an empty vector out of them."""
    body = {"model": "by-openai", "input": "x", "encoding_format": "base64", "script": {"no_done": True}}
    told = post(embedding, "/v1/embeddings", body).json()
    assert list(struct.unpack("<8f", base64.b64decode(told["data"][0]["embedding"]))) == vector("x", 8)
    assert told["vendor_extra"] == 1


@pytest.mark.parametrize(
    ("path", "body", "part"),
    [
        ("/v1/embeddings", {"model": "by-openai"}, "input: Field required"),
        ("/v1/embeddings", {"model": "by-openai", "input": [1, 2]}, "contents is neither str nor list of str"),
        ("/v1/embeddings", {"model": "by-openai", "input": [[1], [2]]}, "contents is neither str nor list of str"),
        ("/v1/embeddings", {"model": "by-openai", "input": []}, "contents must not be empty"),
        ("/v1/embeddings", {"model": "by-openai", "input": ["x"] * 2049}, "should not be larger than 2048"),
        ("/v1/embeddings", {"model": "by-openai", "input": "x", "encoding_format": "hex"}, "encoding_format must be"),
        ("/v1/embeddings", {"model": "by-openai", "input": "x", "dimensions": 0}, "Range of dimensions"),
        ("/v1/embeddings", {"model": "by-anthropic", "input": "x"}, "Unsupported model by-anthropic for embeddings"),
        (TEXT, {"model": "by-openai", "input": {}}, "input.texts: Field required"),
        (
            TEXT,
            {"model": "by-openai", "input": {"texts": ["x"]}, "parameters": {"output_type": "sparse"}},
            "no place for `output_type`",
        ),
        (
            TEXT,
            {"model": "by-openai", "input": {"texts": ["x"]}, "parameters": {"text_type": "poem"}},
            "text_type must be",
        ),
        (
            MULTIMODAL,
            {"model": "by-openai", "input": {"contents": [{"image": "https://x.test/a.png"}]}},
            "no place for `image`",
        ),
        (RERANK, {"model": "by-openai", "input": {"query": "x"}}, "input.documents: Field required"),
        ("/v1/rerank", {"model": "by-openai", "query": "x", "documents": ["y"], "top_n": 0}, "Range of top_n"),
        ("/v1/rerank", {"model": "by-openai", "query": "x", "documents": ["y"] * 501}, "Range of documents"),
    ],
)
def test_refusals(embedding: Served, path: str, body: dict[str, Any], part: str) -> None:
    """Each names what is wrong, in the caller's envelope."""
    answer = post(embedding, path, body)
    assert answer.status_code in (400, 404)
    assert part in answer.text, answer.text
    told = answer.json()
    assert told["request_id"] == answer.headers["x-request-id"]
    assert ("code" in told) == path.startswith("/api/v1/")


def test_what_one_api_alone_has(embedding: Served) -> None:
    """Sparse vectors and pictures reach a vendor that has them."""
    body = {"model": "by-dashscope", "input": {"texts": ["x"]}, "parameters": {"output_type": "dense&sparse"}}
    assert "sparse_embedding" in post(embedding, TEXT, body).text
    body = {"model": "by-dashscope", "input": {"contents": [{"image": "https://x.test/a.png"}, {"text": "x"}]}}
    told = post(embedding, MULTIMODAL, body).json()
    assert [one["type"] for one in told["output"]["embeddings"]] == ["image", "text"]
