"""By meaning, with the real embedded models: questions that no example was made for."""

from collections.abc import Sequence

import pytest

from steelyard.base.errors import fault
from steelyard.canon.embedding import QUERY
from steelyard.canon.model import LOCAL_PREFIX
from steelyard.control.hub.meaning import MeaningSearch, read_meanings
from steelyard.control.hub.search import search
from steelyard.engines.vectors import VectorModels

ASKED = {
    "animate my grandmother's portrait": "图生视频",
    "让老照片里的人动起来": "图生视频",
    "logo for my coffee shop": "文生图",
    "给公众号配图": "文生图",
    "cut out the person from the photo": "图像编辑",
    "把录音转成会议纪要": "语音识别",
    "voice over for a promo": "语音合成",
    "识别身份证照片上的字": "视觉理解",
    "判断两句话意思是否一样": "文本向量",
    "better order of retrieved passages": "重排序",
    "debug my python script": "代码",
    "奥数题": "深度思考",
    "summarize a 300 page pdf": "长文本",
    "polish my cover letter": "对话",
    "生成一段产品宣传短片": "文生视频",
}
NOTHING = ("pizza recipe", "asdfgh", "今天天气", "zzz qqq", "weather tomorrow")


@pytest.fixture(scope="module")
def meanings() -> MeaningSearch:
    models = VectorModels(threads=2)

    async def embed(model: str, texts: list[str]) -> list[Sequence[float]]:
        vectors: list[Sequence[float]] = models.embed(model.removeprefix(LOCAL_PREFIX), texts, QUERY).tolist()
        return vectors

    return MeaningSearch(embed)


async def test_what_people_mean(meanings: MeaningSearch) -> None:
    found = {query: await meanings.guess(query) for query in ASKED}
    right = [query for query, meaning in found.items() if meaning is not None and meaning.zh == ASKED[query]]
    assert len(right) >= len(ASKED) - 1, set(ASKED) - set(right)
    assert [query for query in NOTHING if await meanings.guess(query) is not None] == []


async def test_words_come_first(meanings: MeaningSearch) -> None:
    """What is called so is found so; what is not is found by what it means; filters hold for both."""
    found, meaning = await meanings.find("text to image")
    assert meaning is None
    assert found == search("text to image")
    found, meaning = await meanings.find("让老照片里的人动起来", modality="video", limit=2)
    assert meaning is not None
    assert {one.modality for one in found} == {"video"}
    assert len(found) == 2
    assert await meanings.find("zzz qqq") == ([], None)


async def test_without_the_models() -> None:
    """Words do not need them; whoever asks by meaning is told."""

    async def embed(_model: str, _texts: list[str]) -> list[Sequence[float]]:
        raise fault("model_unavailable")

    without = MeaningSearch(embed)
    assert (await without.find("text to image"))[0]
    with pytest.raises(Exception, match=r".") as failure:
        await without.find("让老照片里的人动起来")
    assert getattr(failure.value, "slug", "") == "model_unavailable"


def test_every_meaning_finds_something() -> None:
    for one in read_meanings():
        assert search(one.zh), one.zh
        assert len(one.examples) >= 4
