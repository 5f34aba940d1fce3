"""LlamaIndex with its own DashScope packages (and so an older dashscope SDK), and OpenAILike, all unmodified."""

import json
import os

import dashscope
import pytest
from llama_index.core.llms import ChatMessage
from llama_index.embeddings.dashscope import DashScopeEmbedding
from llama_index.llms.dashscope import DashScope
from llama_index.llms.openai_like import OpenAILike

TARGETS = json.loads(os.environ["STEELYARD_JUDGED"])
TEXT = "Hello from the fake vendor"


@pytest.fixture(autouse=True)
def pointed() -> None:
    dashscope.base_http_api_url = TARGETS["served"]["origin"] + "/api/v1"
    dashscope.api_key = TARGETS["served"]["key"]


def test_dashscope_llm() -> None:
    llm = DashScope(model_name="fake", api_key=TARGETS["served"]["key"])
    assert llm.complete("hi").text == TEXT
    assert llm.chat([ChatMessage(role="user", content="hi")]).message.content == TEXT
    assert [one.text for one in llm.stream_complete("hi")][-1] == TEXT


def test_dashscope_embedding() -> None:
    embedding = DashScopeEmbedding(model_name="fake", api_key=TARGETS["served"]["key"])
    assert len(embedding.get_text_embedding("hi")) == 8
    assert len(embedding.get_query_embedding("hi")) == 8
    assert len(embedding.get_text_embedding_batch(["a", "b", "c"])) == 3


def test_openai_like() -> None:
    llm = OpenAILike(
        model="fake",
        api_base=TARGETS["served"]["origin"] + "/v1",
        api_key=TARGETS["served"]["key"],
        is_chat_model=True,
        context_window=8000,
    )
    assert llm.chat([ChatMessage(role="user", content="hi")]).message.content == TEXT
    assert [one.message.content for one in llm.stream_chat([ChatMessage(role="user", content="hi")])][-1] == TEXT
