"""What a search index does, whichever database it is in: words of two characters, vectors, filters, whole documents or none."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from postgres import fresh_postgres
from steelyard.base.errors import Fault
from steelyard.knowledge.blocks import Place
from steelyard.knowledge.embedded_index import EmbeddedIndex
from steelyard.knowledge.index import IndexedChunk, SearchIndex, Wish, fuse
from steelyard.knowledge.postgres_index import open_postgres_index

TEXTS = {
    "limits": "限流：超过每分钟请求数时返回 429，请稍后再试。",
    "quota": "The free quota is one million tokens; it is spent first.",
    "qwen": "通义千问是阿里云的大语言模型，支持中文和英文。",
    "video": "Text-to-video tasks take minutes; poll the task until it is over.",
    "bill": "费用按 Token 计算，账单每天出一次。",
}


def vector(seed: int) -> list[float]:
    found = np.random.default_rng(seed).normal(size=8)
    return (found / np.linalg.norm(found)).tolist()


def chunk(name: str, number: int = 0, **fields: object) -> IndexedChunk:
    values = {"id": f"c_{name}", "document": "d", "number": number, "text": TEXTS.get(name, name)}
    return IndexedChunk(**{**values, **fields})  # type: ignore[arg-type]


@pytest.fixture(params=["embedded", "postgresql"])
async def bare(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SearchIndex]:
    """An empty index of each kind."""
    if request.param == "embedded":
        made: SearchIndex = EmbeddedIndex(tmp_path / "knowledge.db")
        yield made
        made.close()
        return
    database = await fresh_postgres(request.getfixturevalue("postgres_url"), tmp_path)
    opened = await open_postgres_index(database)
    assert opened is not None
    yield opened
    await database.close()


@pytest.fixture
async def index(bare: SearchIndex) -> SearchIndex:
    made = bare
    chunks = [
        chunk(name, number, metadata={"lang": "zh" if name in ("limits", "qwen", "bill") else "en"})
        for number, name in enumerate(TEXTS)
    ]
    await made.put_document("base", "d", chunks, {"small": [vector(number) for number in range(len(TEXTS))]})
    return made


async def names(index: SearchIndex, base: str = "base", **wish: object) -> list[str]:
    return [one.chunk.id.removeprefix("c_") for one in await index.search(base, Wish(**wish))]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "first"),
    [("限流", "limits"), ("千问", "qwen"), ("通义千问", "qwen"), ("quota", "quota"), ("QUOTA", "quota"), ("账单", "bill"), ("429", "limits"),
     ("怎么看账单", "bill"), ("how long do video tasks take", "video"), ("ｔｏｋｅｎ 费用", "bill")],
)  # fmt: skip
async def test_words(index: SearchIndex, text: str, first: str) -> None:
    """Two-character Chinese words, Latin ones in any case and width, questions of several words."""
    assert (await names(index, text=text))[0] == first


async def test_nothing_is_found_where_nothing_is(index: SearchIndex) -> None:
    assert await names(index, text="天气") == []
    assert await names(index, text='" OR * NEAR( base:x') == []
    assert await names(index, text="") == []
    assert await names(index, base="other", text="限流") == []
    assert await names(index, base="other", vectors={"small": vector(1)}) == []


async def test_vectors(index: SearchIndex) -> None:
    """The nearest first, with their likeness."""
    hits = await index.search("base", Wish(vectors={"small": vector(2)}, limit=3))
    assert hits[0].chunk.id == "c_qwen"
    assert hits[0].likeness["small"] == pytest.approx(1.0, abs=1e-6)
    assert len(hits) == 3
    assert hits[0].likeness["small"] > hits[1].likeness["small"] >= hits[2].likeness["small"]
    assert await names(index, vectors={"unknown": vector(2)}) == []
    with pytest.raises(ValueError, match="8 dimensions, not 4"):
        await index.put_chunk("base", chunk("new"), {"small": [1.0, 0.0, 0.0, 0.0]})
    assert await names(index, text="new") == []


async def test_hybrid(index: SearchIndex) -> None:
    """What both lists have comes before what one has; each says where it stood."""
    hits = await index.search("base", Wish(text="限流", vectors={"small": vector(0)}))
    assert (hits[0].chunk.id, hits[0].ranks) == ("c_limits", {"text": 1, "small": 1})
    assert hits[0].score > hits[1].score
    assert fuse({"a": ["x", "y"], "b": ["y", "z"]}, 2) == [
        ("y", pytest.approx(1 / 62 + 1 / 61), {"a": 2, "b": 1}),
        ("x", pytest.approx(1 / 61), {"a": 1}),
    ]


async def test_filters(index: SearchIndex) -> None:
    """By document and metadata, with words and with vectors, also where few of many fit."""
    await index.put_document("base", "e", [chunk("again", text="限流 again", document="e")], {"small": [vector(0)]})
    assert await names(index, text="限流", documents=("e",)) == ["again"]
    assert await names(index, vectors={"small": vector(0)}, documents=("e",)) == ["again"]
    assert set(await names(index, vectors={"small": vector(0)}, metadata={"lang": "en"})) == {"quota", "video"}
    assert await names(index, text="限流", metadata={"lang": "en"}) == []
    assert await names(index, text="限流", metadata={'la"ng': "zh"}) == []
    many = [chunk(f"m{number}", number, document="many", text=f"filler {number}") for number in range(500)]
    await index.put_document("base", "many", many, {"small": [vector(0)] * 500})
    assert await names(index, vectors={"small": vector(0)}, documents=("e",)) == ["again"]


async def test_chunks_are_edited(index: SearchIndex) -> None:
    """Off, on, changed, deleted: from the next question on."""
    assert await index.set_enabled("base", ["c_limits", "c_none"], is_enabled=False) == 1
    assert await names(index, text="限流") == []
    assert "limits" not in await names(index, vectors={"small": vector(0)})
    assert [one.is_enabled for one in (await index.list_chunks("base", "d", offset=0, limit=1))[0]] == [False]
    assert await index.set_enabled("other", ["c_limits"], is_enabled=True) == 0
    await index.set_enabled("base", ["c_limits"], is_enabled=True)
    assert await names(index, text="限流") == ["limits"]
    await index.put_chunk("base", chunk("limits", text="完全不同"), {"small": vector(9)})
    assert await names(index, text="限流") == []
    assert await names(index, text="不同") == ["limits"]
    assert await index.delete_chunks("base", ["c_limits", "c_none"]) == 1
    assert "limits" not in await names(index, vectors={"small": vector(9)})
    assert (await index.list_chunks("base", None, offset=0, limit=10))[1] == 4


async def test_documents_are_replaced_and_deleted(index: SearchIndex) -> None:
    """Nothing of what was stays, in no list."""
    await index.put_document(
        "base",
        "d",
        [chunk("only", text="全新 内容", place=Place("page", "3"), headings=("A", "B"))],
        {"small": [vector(3)]},
    )
    found, total = await index.list_chunks("base", "d", offset=0, limit=10)
    assert (total, found[0].place, found[0].headings) == (1, Place("page", "3"), ("A", "B"))
    assert await names(index, text="限流") == []
    assert await names(index, vectors={"small": vector(0)}) == ["only"]
    await index.put_document("second", "d", [chunk("other-base", text="全新")], {"small": [vector(3)]})
    assert await index.delete_document("base", "d") == 1
    assert await names(index, text="全新") == []
    assert await names(index, "second", text="全新") == ["other-base"]
    await index.drop_base("second")
    assert await names(index, "second", vectors={"small": vector(3)}) == []


async def test_a_large_base_is_put_again(bare: SearchIndex) -> None:
    """What was replaced is not found, whatever is kept in memory; what is new is, and filters hold."""
    spaces = {"small": [vector(number % 40) for number in range(300)]}
    for turn in range(6):
        chunks = [chunk(f"t{turn}-{n}", n, document="big", text=f"turn{turn} part{n}") for n in range(300)]
        await bare.put_document("base", "big", chunks, spaces)
        hits = await bare.search("base", Wish(vectors={"small": vector(7)}, limit=20))
        assert len(hits) == 20
        assert {one.chunk.text.split()[0] for one in hits} == {f"turn{turn}"}
        assert hits[0].likeness["small"] == pytest.approx(1.0, abs=1e-5)
    await bare.put_document("base", "other", [chunk("o", document="other")], {"small": [vector(7)]})
    assert [
        one.chunk.id for one in await bare.search("base", Wish(vectors={"small": vector(7)}, documents=("other",)))
    ] == ["c_o"]
    await bare.delete_document("base", "big")
    assert [one.chunk.id for one in await bare.search("base", Wish(vectors={"small": vector(7)}))] == ["c_o"]


async def test_filters_in_a_large_base(bare: SearchIndex) -> None:
    """Exactly those of the few that may be found, in their order, with one view and with several."""
    levels = {(space, script): (0.0, 1.0) for space in ("a", "b") for script in (True, False)}
    for document in range(30):
        chunks = [
            chunk(f"f{document}-{n}", n, document=f"d{document}", text=f"part {n}", metadata={"parity": str(n % 2)})
            for n in range(20)
        ]
        spaces = {
            space: [vector(1000 * turn + 20 * document + n) for n in range(20)] for turn, space in enumerate("ab")
        }
        await bare.put_document("base", f"d{document}", chunks, spaces)
    asked = {"a": vector(77), "b": vector(78)}

    def likeness(document: int, n: int) -> float:
        return sum(
            float(np.dot(vector(1000 * turn + 20 * document + n), asked[space])) for turn, space in enumerate("ab")
        )

    for documents, parity in ((("d7", "d29"), "1"), (("d7",), "0")):
        wanted = [(int(name[1:]), n) for name in documents for n in range(20) if n % 2 == int(parity)]
        for fields in ({"vectors": asked, "levels": levels, "weights": {"a": 1.0, "b": 1.0}}, {"vectors": asked}):
            wish = Wish(documents=documents, metadata={"parity": parity}, limit=50, **fields)  # type: ignore[arg-type]
            hits = await bare.search("base", wish)
            assert {one.chunk.id for one in hits} == {f"c_f{d}-{n}" for d, n in wanted}
            by_sum = sorted(hits, key=lambda one: -sum(one.likeness.values()))
            assert [one.chunk.id for one in by_sum] == [
                f"c_f{d}-{n}" for d, n in sorted(wanted, key=lambda one: -likeness(*one))
            ]
    assert await bare.search("base", Wish(vectors=asked, documents=("none",))) == []
    assert await bare.search("base", Wish(text="part", documents=("d3",), metadata={"parity": "2"})) == []
    assert len(await bare.search("base", Wish(text="part", documents=("d3",), limit=50))) == 20


async def test_a_small_base_beside_a_large_one(bare: SearchIndex) -> None:
    """What another base has nearer does not hide what this one has."""
    near = [vector(5)] * 1500
    await bare.put_document("large", "d", [chunk(f"l{n}", n) for n in range(1500)], {"small": near})
    await bare.put_document(
        "little", "d", [chunk(f"s{n}", n) for n in range(5)], {"small": [vector(50 + n) for n in range(5)]}
    )
    assert len(await bare.search("little", Wish(vectors={"small": vector(5)}, limit=10))) == 5


async def test_spaces_that_were_read_at_different_times(tmp_path: Path) -> None:
    """What one has kept and the other never saw does not keep them from being one list."""
    index = EmbeddedIndex(tmp_path / "knowledge.db")
    for turn in range(2):
        chunks = [chunk(f"t{turn}-{n}", n) for n in range(300)]
        await index.put_document("base", "d", chunks, {space: [vector(n) for n in range(300)] for space in ("a", "b")})
        # the first time one space alone is asked
        await index.search("base", Wish(vectors={"a": vector(1)}))
    levels = {(space, script): (0.0, 1.0) for space in ("a", "b") for script in (True, False)}
    both = {"a": vector(9), "b": vector(9)}
    hits = await index.search("base", Wish(vectors=both, levels=levels, weights={"a": 1.0, "b": 1.0}, limit=5))
    assert hits[0].chunk.id == "c_t1-9"
    assert all(one.ranks.keys() == {"views"} for one in hits)
    index.close()


async def test_a_full_disk(tmp_path: Path) -> None:
    """A write that the disk refuses is told as what may pass, leaves what was, and the next one works."""
    index = EmbeddedIndex(tmp_path / "knowledge.db")
    await index.put_document("base", "d", [chunk("limits")], {"s": [vector(1)]})
    pages = index._writer.execute("PRAGMA page_count").get
    index._writer.execute(f"PRAGMA max_page_count = {pages}")
    many = [chunk(f"m{n}", n, text="满 " * 500) for n in range(500)]
    for _ in range(2):
        with pytest.raises(Fault) as caught:
            await index.put_document("base", "d", many, {"s": [vector(1)] * 500})
        assert (caught.value.slug, caught.value.is_retryable) == ("stores_unavailable", True)
    assert await names(index, text="限流") == ["limits"]
    index._writer.execute("PRAGMA max_page_count = 1000000")
    await index.put_document("base", "d", many, {"s": [vector(1)] * 500})
    assert (await index.list_chunks("base", "d", offset=0, limit=1))[1] == 500
    index.close()


async def test_strange_texts(index: SearchIndex) -> None:
    """Endless words, marks of query languages, other scripts: taken in, and the words beside them are found."""
    texts = [
        "x" * 5000 + " 灯塔",
        "'); DROP TABLE chunk; -- 灯塔",
        "a & b | !c :* <-> 灯塔",
        'emoji 😀 ünïcödé \\ " 灯塔',
        "灯塔\x07 tab\t",
    ]
    chunks = [chunk(f"s{number}", number, document="s", text=text) for number, text in enumerate(texts)]
    await index.put_document("base", "s", chunks, {"small": [vector(number) for number in range(len(texts))]})
    assert len(await names(index, text="灯塔", limit=20)) == len(texts)
    for text in texts:
        assert await index.search("base", Wish(text=text))


async def test_headings_are_looked_at(index: SearchIndex) -> None:
    await index.put_document(
        "base", "h", [chunk("plain", text="见下表。", headings=("退款政策",), title="手册", document="h")], {}
    )
    assert await names(index, text="退款") == ["plain"]


async def test_pages(index: SearchIndex) -> None:
    found, total = await index.list_chunks("base", "d", offset=2, limit=2)
    assert ([one.number for one in found], total) == ([2, 3], 5)


async def test_vectors_are_found_again(index: SearchIndex) -> None:
    """By the text that they were made of, and in samples; every owner is told."""
    found = await index.find_vectors("base", "d")
    assert set(found) == {"small"}
    assert np.allclose(found["small"][TEXTS["qwen"]], vector(2), atol=1e-5)
    assert await index.find_vectors("base", "none") == {}
    sampled = await index.sample("base", 3)
    assert len(sampled) == 3
    assert all(len(vectors["small"]) == 8 for _, vectors in sampled)
    assert await index.sample("other", 3) == []
    assert await index.list_owners() == [("base", "d")]
    one = await index.find_chunk("base", "c_bill")
    assert one is not None
    assert one.text == TEXTS["bill"]
    assert await index.find_chunk("other", "c_bill") is None


async def test_likeness_of_what_words_have_found(index: SearchIndex) -> None:
    """However far it lies from the question in the vectors' list."""
    many = [chunk(f"m{number}", number, document="many", text=f"filler {number}") for number in range(300)]
    await index.put_document("base", "many", many, {"small": [vector(0)] * 300})
    hits = await index.search("base", Wish(text="账单", vectors={"small": vector(0)}, limit=300))
    bill = next(one for one in hits if one.chunk.id == "c_bill")
    assert bill.ranks["text"] == 1
    assert bill.likeness["small"] == pytest.approx(float(np.dot(vector(4), vector(0))), abs=1e-4)


async def test_readers_see_whole_documents(index: SearchIndex) -> None:
    """While one is put again and again: all of its chunks of one time, never some of two."""
    stop = False

    async def write() -> None:
        for number in range(40):
            chunks = [chunk(f"w{number}-{part}", part, document="w", text=f"版本{number} 同步词") for part in range(20)]
            await index.put_document("base", "w", chunks, {"small": [vector(part) for part in range(20)]})

    async def read() -> int:
        seen = 0
        while not stop:
            hits = await index.search("base", Wish(text="同步词", limit=50))
            assert len({one.chunk.text for one in hits}) <= 1
            assert len(hits) in (0, 20)
            seen += 1
        return seen

    readers = [asyncio.create_task(read()) for _ in range(3)]
    await write()
    stop = True
    assert min(await asyncio.gather(*readers)) > 3


KILLED = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from postgres import fresh_postgres
from steelyard.knowledge.embedded_index import EmbeddedIndex
from steelyard.knowledge.index import IndexedChunk
async def main():
    index = EmbeddedIndex(Path(sys.argv[1]))
    for number in range(10_000):
        chunks = [IndexedChunk(id=f"k{number}-{part}", document=f"d{number % 7}", number=part, text=f"词{number}") for part in range(30)]
        await index.put_document("base", f"d{number % 7}", chunks, {"s": [[float(number), 1.0]] * 30})
        print(number, flush=True)
asyncio.run(main())
"""


async def test_killed_while_writing(tmp_path: Path) -> None:
    """Every document is whole, and every one that was acknowledged is there."""
    path, pick = tmp_path / "knowledge.db", random.Random(1)
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(path), "."], stdout=subprocess.PIPE, text=True)
        time.sleep(pick.uniform(0.8, 1.6))
        os.kill(process.pid, signal.SIGKILL)
        assert process.stdout is not None
        told = [int(line) for line in process.stdout.read().split()]
        process.wait()
        process.stdout.close()
        index = EmbeddedIndex(path)
        chunks, total = await index.list_chunks("base", None, offset=0, limit=1000)
        assert total % 30 == 0
        for document in {one.document for one in chunks}:
            assert len({one.id.split("-")[0] for one in chunks if one.document == document}) == 1
        for number in told[-6:]:
            assert [one for one in chunks if one.id.startswith(f"k{number}-")], number
        assert len(await index.search("base", Wish(vectors={"s": [1.0, 1.0]}, limit=300))) == total
        index.close()
