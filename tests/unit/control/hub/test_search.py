"""The hub finds what people mean, in Chinese and in English."""

import pytest

from steelyard.base.errors import Fault
from steelyard.control.hub.entries import (
    MODEL,
    PROVIDER,
    alternatives,
    cost_of,
    find_entry,
    get_entry,
    list_entries,
    read_words,
    show_entry,
)
from steelyard.control.hub.search import search


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("阿里云百炼 开放平台 API", {"dashscope"}),
        ("bailian", {"dashscope"}),
        ("便宜的中文长文本模型", {"qwen-flash", "qwen-turbo"}),
        ("cheap long context chinese", {"qwen-flash", "qwen-turbo"}),
        ("text to image", {"qwen-image", "wan2.5-t2i-preview", "wan2.2-t2i-flash", "wan2.6-t2i"}),
        ("通义千问 文生图", {"qwen-image"}),
        ("图生视频 首帧", {"wan2.5-i2v-preview", "wan2.2-i2v-flash"}),
        ("首尾帧", {"wan2.2-kf2v-flash"}),
        ("DeepSeek", {"deepseek"}),
        ("Kimi", {"moonshot"}),
        ("GLM-4.5", {"glm-4.5"}),
        ("语音识别", {"paraformer-v2", "fun-asr", "qwen3-asr-flash-filetrans"}),
        ("写代码", {"qwen3-coder-plus"}),
        ("免费", {"local/qwen2.5-coder-0.5b-instruct", "local/smollm2-135m-instruct"}),
        ("重排序", {"qwen3-rerank"}),
        ("semantic search", {"text-embedding-v4", "text-embedding-v3"}),
        ("claude", {"anthropic"}),
    ],
)
def test_what_people_ask(query: str, first: set[str]) -> None:
    found = search(query)
    assert found[0].name in first, [one.name for one in found]


def test_nothing_fits() -> None:
    assert search("zzz nothing like it") == []
    assert search("'; DROP TABLE entry; --") == []
    assert search("（" * 5000) == []


def test_filters() -> None:
    """Without a question all of a kind are listed; a long one is cut."""
    assert {one.kind for one in search("", kind=PROVIDER, limit=100)} == {PROVIDER}
    assert {one.modality for one in search("", modality="video", limit=100)} == {"video"}
    assert len(search("", limit=3)) == 3


def test_every_entry_is_whole() -> None:
    """Each provider says how to get a key, in both languages; each model's words are known; no name stands twice."""
    entries = list_entries()
    assert len({(one.kind, one.name) for one in entries}) == len(entries)
    for one in entries:
        if one.kind == PROVIDER:
            assert all(one.key), one.name
            assert one.regions, one.name
        else:
            assert one.modality in read_words().modalities, one.name
            assert set(one.capabilities) <= set(read_words().capabilities), one.name
            assert one.offers, one.name
        assert show_entry(one)["name"] == one.name


def test_entries_by_name() -> None:
    assert get_entry("qwen-plus").kind == MODEL
    entry = find_entry("DEEPSEEK-REASONER")
    assert entry is not None
    assert entry.name == "deepseek-r1"
    for name, kind in (("nothing", None), ("dashscope", MODEL)):
        with pytest.raises(Fault) as caught:
            get_entry(name, kind)
        assert caught.value.slug == "resource_not_found"


def test_alternatives_do_the_same_and_the_cheapest_is_first() -> None:
    others = alternatives(get_entry("wan2.5-i2v-preview"))
    assert [one.name for one in others] == ["wan2.2-i2v-flash"]
    costs = [cost_of(one.cheapest.price) for one in alternatives(get_entry("qwen-plus")) if one.cheapest]
    assert costs == sorted(costs)
    assert costs
