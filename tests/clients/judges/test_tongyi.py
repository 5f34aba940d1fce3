"""langchain-community's Tongyi and DashScope classes, and langchain-openai's embeddings, unmodified."""

import dashscope
import pytest
from langchain_community.chat_models.tongyi import ChatTongyi
from langchain_community.embeddings import DashScopeEmbeddings
from langchain_openai import OpenAIEmbeddings

from conftest import TARGETS

TEXT = "Hello from the fake vendor"


@pytest.fixture(autouse=True)
def pointed() -> None:
    dashscope.base_http_api_url = TARGETS["served"]["origin"] + "/api/v1"


@pytest.mark.parametrize("name", ["fake", "fake-native"])
def test_chat(name: str) -> None:
    chat = ChatTongyi(model=name, api_key=TARGETS["served"]["key"])
    assert chat.invoke("hi").content == TEXT
    assert "".join(chunk.content for chunk in chat.stream("hi")) == TEXT


def test_embeddings() -> None:
    embeddings = DashScopeEmbeddings(model="fake", dashscope_api_key=TARGETS["served"]["key"])
    assert [len(one) for one in embeddings.embed_documents(["a", "b"])] == [8, 8]
    assert len(embeddings.embed_query("a")) == 8
    target = TARGETS["served"]
    openai = OpenAIEmbeddings(
        model="fake", base_url=target["origin"] + "/v1", api_key=target["key"], check_embedding_ctx_length=False
    )
    assert openai.embed_documents(["a"])[0] == pytest.approx(embeddings.embed_documents(["a"])[0])
