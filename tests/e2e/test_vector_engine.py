"""The embedded embedding and rerank models, by the real program without an account or a network."""

import base64
import concurrent.futures
import json
import math
import os
import signal
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from installation import Installation, Served

E5, USE, RERANK = "local/multilingual-e5-small", "local/use-multilingual-v3", "local/fusion-rerank"
PASSAGES = [
    "长江是中国最长的河流，全长约六千三百公里。",
    "The library closes at eight in the evening and stays shut on Sundays.",
    "更换路由器密码：在浏览器打开管理页面，进入无线设置。",
    "A warranty claim needs the receipt and a photograph of the damage.",
    "猫每天要睡十二到十六个小时。",
    "To bake the bread, heat the oven to two hundred and thirty degrees.",
    "高铁从北京到上海大约需要四个半小时。",
    "The concert tickets can be returned up to two days before the show.",
]
QUESTIONS = [
    ("中国最长的河是哪条", 0),
    ("when does the library close", 1),
    ("怎么改无线网密码", 2),
    ("what do I need for a warranty claim", 3),
    ("猫一天睡多久", 4),
    ("oven temperature for bread", 5),
    ("北京坐高铁到上海要多长时间", 6),
    ("can I give back my concert tickets", 7),
    ("longest river in China", 0),
    ("图书馆周日开门吗", 1),
    ("how long do cats sleep", 4),
    ("面包要烤多少度", 5),
]


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """No chat model, no provider: vectors alone."""
    directory = tmp_path_factory.mktemp("vectors")
    installation = Installation(directory, models_dir=directory / "no-weights")
    with installation:
        yield Served(installation)


def post(served: Served, path: str, body: dict[str, Any], timeout: float = 60) -> httpx.Response:
    return httpx.post(served.origin + path, json=body, headers=served.headers(), timeout=timeout)


def embed(served: Served, texts: list[str], model: str, text_type: str = "document") -> list[list[float]]:
    answer = post(served, "/v1/embeddings", {"model": model, "input": texts, "text_type": text_type})
    assert answer.status_code == 200, answer.text
    return [one["embedding"] for one in answer.json()["data"]]


def cosine(left: list[float], right: list[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize(("model", "dimensions"), [(E5, 384), (USE, 512), ("text-embedding-v4", 384)])
def test_vectors(vectors: Served, model: str, dimensions: int) -> None:
    """Of length 1, the same one text at a time and together, named for what they are, and free."""
    answer = post(vectors, "/v1/embeddings", {"model": model, "input": PASSAGES})
    told = answer.json()
    assert answer.headers["x-steelyard-target"].startswith("local/")
    found = [one["embedding"] for one in told["data"]]
    assert {len(one) for one in found} == {dimensions}
    assert all(math.isclose(cosine(one, one), 1.0, abs_tol=1e-3) for one in found)
    alone = embed(vectors, PASSAGES[3:4], model)[0]
    assert cosine(alone, found[3]) > 0.999
    assert told["usage"]["prompt_tokens"] > 8 * 8
    text = post(vectors, "/v1/embeddings", {"model": model, "input": PASSAGES[0], "encoding_format": "base64"}).json()
    read = struct.unpack(f"<{dimensions}f", base64.b64decode(text["data"][0]["embedding"]))
    assert cosine(list(read), found[0]) > 0.999


def hits(scores: list[list[float]]) -> float:
    """The share of questions whose passage comes first."""
    found = [
        max(range(len(row)), key=row.__getitem__) == wanted for row, (_, wanted) in zip(scores, QUESTIONS, strict=True)
    ]
    return sum(found) / len(found)


def test_quality(vectors: Served) -> None:
    """Within a language both views find the passage; across the two the second does; the fusion does best."""
    texts = [text for text, _ in QUESTIONS]
    shares = {}
    for model in (E5, USE):
        passages = embed(vectors, PASSAGES, model)
        questions = embed(vectors, texts, model, "query")
        scores = [[cosine(one, passage) for passage in passages] for one in questions]
        shares[model] = hits(scores)
        assert hits_within(scores) >= 0.85
    ranks = []
    for text in texts:
        answer = post(vectors, "/v1/rerank", {"model": RERANK, "query": text, "documents": PASSAGES}).json()
        scores_of = {one["index"]: one["relevance_score"] for one in answer["results"]}
        assert [one["relevance_score"] for one in answer["results"]] == sorted(scores_of.values(), reverse=True)
        ranks.append([scores_of[index] for index in range(len(PASSAGES))])
    shares[RERANK] = hits(ranks)
    print(f"\nhit@1: {shares}")
    assert shares[RERANK] >= 0.9
    assert shares[RERANK] >= max(shares[E5], shares[USE]) - 0.09


def hits_within(scores: list[list[float]]) -> float:
    found = [
        max(range(len(row)), key=row.__getitem__) == wanted
        for row, (_, wanted) in list(zip(scores, QUESTIONS, strict=True))[:8]
    ]
    return sum(found) / len(found)


def test_query_and_document_have_their_prefixes(vectors: Served) -> None:
    """The first model was trained with them: a text as a query is not the text as a document."""
    one = embed(vectors, ["scales and weights"], E5, "query")[0]
    other = embed(vectors, ["scales and weights"], E5, "document")[0]
    assert 0.8 < cosine(one, other) < 0.9999
    path = "/api/v1/services/embeddings/text-embedding/text-embedding"
    body = {"model": E5, "input": {"texts": ["scales and weights"]}, "parameters": {"text_type": "query"}}
    native = post(vectors, path, body).json()["output"]["embeddings"][0]["embedding"]
    assert cosine(native, one) > 0.999


@pytest.mark.parametrize(
    ("path", "body", "part"),
    [
        ("/v1/embeddings", {"model": E5, "input": "x", "dimensions": 1024}, "has 384 dimensions and no others"),
        ("/v1/embeddings", {"model": RERANK, "input": "x"}, "Unsupported model"),
        ("/v1/chat/completions", {"model": E5, "messages": [{"role": "user", "content": "x"}]}, "Unsupported model"),
        ("/v1/rerank", {"model": E5, "query": "x", "documents": ["y"]}, "Unsupported model"),
    ],
)
def test_what_they_cannot(vectors: Served, path: str, body: dict[str, Any], part: str) -> None:
    """A dimension that a model does not have is refused, never filled up."""
    answer = post(vectors, path, body)
    assert answer.status_code in (400, 404)
    assert part in answer.text, answer.text


def test_check_never_calls_a_stand_in_ok(vectors: Served) -> None:
    """The embeddings row says who answered for the vendor's name."""
    words = ("check", "--json", "--base-url", vectors.origin + "/v1", "--api-key", vectors.key, "--model", E5)
    told = json.loads(vectors.installation.cli(*words, check=False).stdout)
    (row,) = [one for one in told["probes"] if one["probe"] == "embeddings"]
    assert row["result"] == "stand-in", row


def test_the_banner_names_who_answers(vectors: Served) -> None:
    """Each stand-in by its own name, never one for all."""
    log = vectors.installation.log_text()
    assert "local/multilingual-e5-small answers for text-embedding-v1, " in log
    assert "local/fusion-rerank answers for gte-rerank, " in log
    assert "while no provider is configured" in log


def test_many_callers_share_batches(vectors: Served) -> None:
    """Each gets the vectors of its own texts, in order."""
    texts = [[f"number {n} of {m}" for m in range(3)] for n in range(24)]
    alone = {text: embed(vectors, [text], E5)[0] for row in texts[:3] for text in row}
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda row: embed(vectors, row, E5), texts))
    for row, many in zip(texts[:3], found[:3], strict=True):
        for text, vector in zip(row, many, strict=True):
            assert cosine(alone[text], vector) > 0.999


def test_long_and_odd_texts(vectors: Served) -> None:
    """Longer than the model reads, one character, an emoji, control characters, many at once."""
    odd = ["x" * 200_000, "a", "🙂", "\u0000\u0001", "   ", "汉" * 50_000]
    assert len(embed(vectors, odd, E5)) == len(odd)
    assert len(embed(vectors, odd[1:5], USE)) == 4
    assert len(embed(vectors, ["short text"] * 300, USE)) == 300


def test_the_host_comes_back(vectors: Served) -> None:
    """Killed, it is started again, and calls wait for it."""
    pid = vectors.installation.child("vectors")
    os.kill(pid, signal.SIGKILL)
    # a call that is sent while it dies may be what it dies of, and is told so; its sockets close after it has lost its name
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.01)
    assert len(embed(vectors, ["back again"], E5)[0]) == 384
