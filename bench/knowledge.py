"""Knowledge bases: how well passages are found by each way of retrieval, how fast, and what ingestion does to everybody else's calls.

Quality is measured on the running program over `passages/`, speed on the retriever with everything but the embedding of the question.
"""

import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from steelyard.canon.knowledge import FINISH, BaseDocument, BaseSpec, KnowledgeBase
from steelyard.knowledge.embedded_index import EmbeddedIndex
from steelyard.knowledge.index import IndexedChunk
from steelyard.knowledge.models import FIRST_VIEW, SECOND_VIEW
from steelyard.knowledge.retrieval import Question, Retriever
from steelyard.store import knowledge
from steelyard.store.database import open_database
from steelyard.store.migrations import migrate

HERE = Path(__file__).parent / "passages"
sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

DIMENSIONS = {FIRST_VIEW: 384, SECOND_VIEW: 512}
SIZES = (1_000, 100_000)
ROUNDS = 200
PAGES = 1_000
CALLS_A_SECOND = 200
WATCHED_S, WINDOWS = 20, 5


def passages() -> dict[str, tuple[str, str]]:
    """name -> (title, text)"""
    found = {}
    for language in ("zh", "en"):
        for line in (HERE / f"{language}.tsv").read_text(encoding="utf-8").splitlines():
            name, title, text = line.split("\t")
            found[name] = (title, text)
    return found


def cases() -> list[dict[str, Any]]:
    """Questions, and the titles of the passages that answer them."""
    known = passages()
    rows = [line.split("\t") for line in (HERE / "questions.tsv").read_text(encoding="utf-8").splitlines()]
    return [{"question": asked, "documents": [known[name][0]], "kind": kind} for kind, asked, name in rows]


# quality, on the running program


def quality(served: Any) -> str:
    with httpx.Client(base_url=served.origin, headers=served.headers(), timeout=600) as client:
        base = client.post("/control/v1/knowledge-bases", json={"name": "bench"}).json()["id"]
        files = []
        for title, text in passages().values():
            form = {"data": {"purpose": "assistants"}, "files": {"file": (f"{title}.md", text.encode())}}
            files.append(client.post("/v1/files", **form).json()["id"])
        began = time.perf_counter()
        wait(
            client, base, client.post(f"/control/v1/knowledge-bases/{base}/documents", json={"documents": files}).json()
        )
        took = time.perf_counter() - began
        found = client.post(f"/control/v1/knowledge-bases/{base}/bench", json={"cases": cases()}).json()["data"]
        one = timed(client, base)
    lines = [
        "| way | hit@1 | hit@5 | MRR | nDCG@10 | hit@5 plain | paraphrased | across languages |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for way, measured in found.items():
        kinds = [f"{measured['by_kind'][kind]['hit_at_5']:.3f}" for kind in ("plain", "paraphrase", "cross")]
        figures = [f"{measured[name]:.3f}" for name in ("hit_at_1", "hit_at_5", "mrr", "ndcg_at_10")]
        lines.append(f"| {way} | {' | '.join(figures + kinds)} |")
    return (
        "\n".join(lines)
        + f"\n\n210 passages taken in within {took:.0f} s; a question over HTTP, embedding included: {one:.0f} ms.\n"
    )


def timed(client: httpx.Client, base: str) -> float:
    times = []
    for case in cases()[:60]:
        began = time.perf_counter()
        client.post(f"/control/v1/knowledge-bases/{base}/search", json={"query": case["question"]}).raise_for_status()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


def wait(client: httpx.Client, base: str, job: dict[str, Any]) -> dict[str, Any]:
    while job["status"] in ("PENDING", "RUNNING"):
        time.sleep(0.2)
        job = client.get(f"/control/v1/knowledge-bases/{base}/jobs/{job['id']}").json()
    return job


# speed, embedding apart


class KnownVectors:
    """Vectors of questions that cost nothing."""

    async def embed(self, _rights: Any, model: str, texts: list[str], _purpose: str, *, within_s: float) -> Any:
        dice = np.random.default_rng(len(texts[0]) + ord(texts[0][0]))
        found = dice.normal(size=(1, DIMENSIONS[model]))
        return found / np.linalg.norm(found)


async def speed(count: int) -> tuple[float, float, float]:
    """(first, p50, p99) in milliseconds of a question to a base of so many chunks."""
    texts = [text for _, text in passages().values()]
    asked = [case["question"] for case in cases()]
    with tempfile.TemporaryDirectory() as place:
        index = EmbeddedIndex(Path(place) / "knowledge.db")
        async with open_database("sqlite:///bench.db", Path(place)) as database:
            await migrate(database)
            await fill(index, database, count, texts)
            spec = BaseSpec(spaces=(FIRST_VIEW, SECOND_VIEW))
            base = KnowledgeBase(id="b", workspace="w", name="b", spec=spec, created_us=1, modified_us=1)
            retriever = Retriever(database, index, KnownVectors())  # type: ignore[arg-type]
            times = []
            for number in range(ROUNDS + 1):
                began = time.perf_counter()
                await retriever.retrieve(None, [base], Question(text=asked[number % len(asked)]))  # type: ignore[arg-type]
                times.append((time.perf_counter() - began) * 1000)
        index.close()
    return times[0], statistics.median(times[1:]), float(np.percentile(times[1:], 99))


async def fill(index: EmbeddedIndex, database: Any, count: int, texts: list[str]) -> None:
    dice, pick = np.random.default_rng(1), random.Random(2)
    for start in range(0, count, 500):
        document = f"d{start}"
        chunks = [
            IndexedChunk(
                id=f"c{start + n}", document=document, number=n, name=document,
                text=f"{pick.choice(texts)} {pick.choice(texts)} {start + n}",
            )
            for n in range(500)
        ]  # fmt: skip
        vectors = {name: dice.normal(size=(500, size)).astype(np.float32) for name, size in DIMENSIONS.items()}
        await index.put_document("b", document, chunks, vectors)
        row = BaseDocument(
            base_id="b", document_id=document, workspace="w", name=document, size_bytes=1, status=FINISH, created_us=start,
            modified_us=1,
        )  # fmt: skip
        async with database.write() as connection:
            await knowledge.put_base_document(connection, row)


# others' calls while documents come in


def watch(served: Any) -> dict[str, float]:
    """Calls at a fixed rate to a vendor that answers at once, counted from when each was due."""
    command = [sys.executable, str(Path(__file__).parent / "load.py"), "--port", str(httpx.URL(served.origin).port)]
    command += ["--key", served.key, "--model", "mock", "--connections", "16", "--rate", str(CALLS_A_SECOND)]
    command += ["--total", str(CALLS_A_SECOND * WATCHED_S)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=150)
    found: dict[str, float] = json.loads(done.stdout)
    assert not found["errors"]
    return found


def pages() -> list[bytes]:
    """English and Chinese pages of some 1,200 characters."""
    texts = [text for _, text in passages().values()]
    pick = random.Random(5)
    return [
        "\n\n".join(f"{pick.choice(texts)} ({number}-{part})" for part in range(12)).encode() for number in range(PAGES)
    ]


def disturbance(served: Any) -> str:
    with httpx.Client(base_url=served.origin, headers=served.headers(), timeout=120) as client:
        wish = {"name": "pages", "embedding_model": "local/use-multilingual-v3"}
        base = client.post("/control/v1/knowledge-bases", json=wish).json()["id"]
        files = []
        for number, data in enumerate(pages()):
            form = {"data": {"purpose": "assistants"}, "files": {"file": (f"page{number}.md", data)}}
            files.append(client.post("/v1/files", **form).json()["id"])
        idle = [watch(served) for _ in range(WINDOWS)]
        before = memory_of(served)
        began = time.perf_counter()
        job = client.post(f"/control/v1/knowledge-bases/{base}/documents", json={"documents": files}).json()
        busy = [watch(served) for _ in range(WINDOWS)]
        done = client.get(f"/control/v1/knowledge-bases/{base}/jobs/{job['id']}").json()["done"]
        job = wait(client, base, job)
        took = time.perf_counter() - began
        after = memory_of(served)
    idle_p50, idle_p99, busy_p50, busy_p99 = (
        statistics.median(one[name] for one in windows) for windows in (idle, busy) for name in ("p50_ms", "p99_ms")
    )
    grown = ", ".join(f"{role} {before[role]:.0f} to {after.get(role, 0):.0f} MB" for role in sorted(before))
    return (
        f"{PAGES} pages came in within {took:.0f} s ({done} of them while it was watched): "
        f"calls of others p50 {idle_p50:.2f} ms idle, {busy_p50:.2f} ms meanwhile; p99 {idle_p99:.2f} and "
        f"{busy_p99:.2f} ms ({busy_p99 / idle_p99:.2f} ×; medians of {WINDOWS} windows). Memory: {grown}.\n"
    )


def memory_of(served: Any) -> dict[str, float]:
    found: dict[str, float] = {}
    for pid, role in served.installation.children().items():
        text = Path(f"/proc/{pid}/status").read_text()
        size = next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS"))
        found[role] = found.get(role, 0) + size / 1024
    return found


def table() -> str:
    """The whole of it, as Markdown."""
    from bench import peers
    from installation import Installation, Served

    with peers.mock() as vendor, tempfile.TemporaryDirectory() as place:
        config = f'[providers.mock]\nbase_url = "http://127.0.0.1:{vendor.port}/v1"\n[models.mock]\ntargets = [{{provider = "mock"}}]\n'
        with Installation(Path(place), config) as installation:
            served = Served(installation)
            text = "Knowledge bases (`python -m bench --no-peers --knowledge`), over `bench/passages`:\n\n" + quality(
                served
            )
            text += "\n" + disturbance(served)
    text += "\n| chunks in the base | first question | p50 | p99 |\n|---|---|---|---|\n"
    for count in SIZES:
        first, p50, p99 = asyncio.run(speed(count))
        text += f"| {count:,} | {first:.0f} ms | {p50:.1f} ms | {p99:.1f} ms |\n"
    return text


if __name__ == "__main__":
    print(table())
