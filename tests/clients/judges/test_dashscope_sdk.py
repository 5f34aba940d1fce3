"""The native API with the unmodified dashscope SDK, both of its surfaces, whatever API the model is behind."""

from http import HTTPStatus
from typing import Any

import dashscope
import pytest
from dashscope import (
    AioGeneration,
    AioMultiModalConversation,
    AsyncClient,
    Client,
    Generation,
    Models,
    MultiModalConversation,
    TextEmbedding,
    TextReRank,
    Tokenization,
)
from dashscope.v2 import errors

from conftest import TARGETS

HI: Any = [{"role": "user", "content": "hi"}]
#: One model behind each API.
MODELS = ("fake", "fake-native", "fake-messages")
TEXT = "Hello from the fake vendor"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "d",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@pytest.fixture(autouse=True)
def pointed() -> None:
    dashscope.base_http_api_url = TARGETS["served"]["origin"] + "/api/v1"
    dashscope.api_key = TARGETS["served"]["key"]


@pytest.fixture
def client() -> Client:
    return Client(base_url=TARGETS["served"]["origin"] + "/api/v1", api_key=TARGETS["served"]["key"])


@pytest.fixture
def async_client() -> AsyncClient:
    return AsyncClient(base_url=TARGETS["served"]["origin"] + "/api/v1", api_key=TARGETS["served"]["key"])


@pytest.mark.parametrize("model", MODELS)
class TestClassic:
    """The classic classes."""

    def test_generation(self, model: str) -> None:
        answer = Generation.call(model=model, messages=HI, result_format="message")
        assert answer.status_code == HTTPStatus.OK, answer
        assert answer.output.choices[0].message.content == TEXT
        assert answer.output.choices[0].finish_reason == "stop"
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (10, 5)
        assert len(answer.request_id) == 36

    def test_prompt_and_history_as_text(self, model: str) -> None:
        answer = Generation.call(model=model, prompt="hi", history=[{"user": "a", "bot": "b"}], result_format="text")
        assert answer.output.text == TEXT

    @pytest.mark.parametrize("incremental", [True, False])
    def test_stream(self, model: str, incremental: bool) -> None:
        frames = list(
            Generation.call(
                model=model, messages=HI, result_format="message", stream=True, incremental_output=incremental
            )
        )
        assert all(frame.status_code == HTTPStatus.OK for frame in frames), frames
        texts = [frame.output.choices[0].message.content for frame in frames]
        assert ("".join(texts) if incremental else texts[-1]) == TEXT
        assert [frame.output.choices[0].finish_reason for frame in frames][-1] == "stop"
        assert frames[-1].usage.output_tokens == 5

    def test_thinking(self, model: str) -> None:
        frames = list(
            Generation.call(
                model=model,
                messages=HI,
                result_format="message",
                stream=True,
                incremental_output=True,
                enable_thinking=True,
                script={"reasoning": "let me think"},
            )
        )
        thoughts = "".join(frame.output.choices[0].message.get("reasoning_content") or "" for frame in frames)
        assert thoughts.strip() == "let me think"

    @pytest.mark.parametrize("stream", [False, True])
    def test_tools(self, model: str, stream: bool) -> None:
        answer = Generation.call(
            model=model,
            messages=HI,
            result_format="message",
            tools=[WEATHER],
            stream=stream,
            script={"tool_calls": 2},
            **({"incremental_output": False} if stream else {}),
        )
        last = list(answer)[-1] if stream else answer
        calls = last.output.choices[0].message.tool_calls
        assert [(one["id"], one["function"]["arguments"]) for one in calls] == [
            (f"call_{n}", f'{{"city": "city{n}"}}')
            if model != "fake-messages" or stream
            else (f"call_{n}", f'{{"city":"city{n}"}}')
            for n in range(2)
        ]

    def test_refusal(self, model: str) -> None:
        answer = Generation.call(model=model, messages=HI, result_format="message", temperature=9)
        assert (answer.status_code, answer.code) == (400, "InvalidParameter")
        assert answer.message == "Temperature should be in [0.0, 2.0)"

    def test_error_in_a_stream(self, model: str) -> None:
        frames = list(
            Generation.call(
                model=model,
                messages=HI,
                result_format="message",
                stream=True,
                incremental_output=True,
                script={"chunks": 6, "moderate_after": 2},
            )
        )
        assert [frame.status_code for frame in frames[:2]] == [200, 200]
        assert (frames[-1].status_code, frames[-1].code) == (400, "DataInspectionFailed")

    async def test_aio(self, model: str) -> None:
        answer = await AioGeneration.call(model=model, messages=HI, result_format="message")
        assert answer.output.choices[0].message.content == TEXT
        frames = [
            frame
            async for frame in await AioGeneration.call(
                model=model, messages=HI, result_format="message", stream=True, incremental_output=True
            )
        ]
        assert "".join(frame.output.choices[0].message.content for frame in frames) == TEXT
        bad = [
            frame
            async for frame in await AioGeneration.call(
                model=model, messages=HI, result_format="message", stream=True, script={"status": 400}
            )
        ]
        assert (bad[-1].status_code, bad[-1].message) == (400, "scripted")

    async def test_multimodal(self, model: str) -> None:
        messages = [{"role": "user", "content": [{"image": "https://x.test/a.png"}, {"text": "what is it?"}]}]
        answer = MultiModalConversation.call(model=model, messages=messages)
        assert answer.status_code == HTTPStatus.OK, answer
        assert answer.output.choices[0].message.content == [{"text": TEXT}]
        frames = list(MultiModalConversation.call(model=model, messages=messages, stream=True, incremental_output=True))
        parts = [part for frame in frames for part in frame.output.choices[0].message.content]
        assert "".join(part["text"] for part in parts) == TEXT
        answer = await AioMultiModalConversation.call(model=model, messages=messages)
        assert answer.output.choices[0].message.content == [{"text": TEXT}]


class TestClassicKeys:
    """What is wrong with the caller."""

    def test_no_such_key(self) -> None:
        answer = Generation.call(model="fake", messages=HI, api_key="sk-wrong")
        assert (answer.status_code, answer.code) == (401, "InvalidApiKey")
        assert answer.message.startswith("Invalid API-key provided.")

    def test_no_such_model(self) -> None:
        answer = Generation.call(model="nobody", messages=HI)
        assert (answer.status_code, answer.code) == (404, "ModelNotFound")

    def test_other_workspace(self) -> None:
        answer = Generation.call(model="fake", messages=HI, workspace="elsewhere")
        assert (answer.status_code, answer.code) == (403, "Workspace.AccessDenied")


@pytest.mark.parametrize("model", MODELS)
class TestClient:
    """The new `Client` and `AsyncClient`."""

    def test_chat(self, client: Client, model: str) -> None:
        answer = client.chat.completions.create(model=model, messages=HI)
        assert answer.choices[0].message.content == TEXT
        assert answer.usage.input_tokens == 10

    def test_stream(self, client: Client, model: str) -> None:
        chunks = list(client.chat.completions.create(model=model, messages=HI, stream=True))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == TEXT

    def test_media(self, client: Client, model: str) -> None:
        parts = [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}]
        answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": parts}])
        assert TEXT in str(answer.choices[0].message.content)

    def test_refusals(self, client: Client, model: str) -> None:
        with pytest.raises(errors.BadRequestError, match="Temperature"):
            client.chat.completions.create(model=model, messages=HI, temperature=5.0)
        with pytest.raises(errors.ContentFilterError):
            list(
                client.chat.completions.create(
                    model=model, messages=HI, stream=True, parameters={"script": {"chunks": 6, "moderate_after": 2}}
                )
            )

    async def test_async(self, async_client: AsyncClient, model: str) -> None:
        answer = await async_client.chat.completions.create(model=model, messages=HI)
        assert answer.choices[0].message.content == TEXT
        stream = await async_client.chat.completions.create(model=model, messages=HI, stream=True)
        texts = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
        assert "".join(texts) == TEXT


class TestClientKeys:
    """Exception classes."""

    def test_classes(self, client: Client) -> None:
        with pytest.raises(errors.NotFoundError):
            client.chat.completions.create(model="nobody", messages=HI)
        wrong = Client(base_url=TARGETS["served"]["origin"] + "/api/v1", api_key="sk-wrong")
        with pytest.raises(errors.AuthenticationError):
            wrong.chat.completions.create(model="fake", messages=HI)
        with pytest.raises(errors.RateLimitError) as caught:
            client.with_options(max_retries=0).chat.completions.create(
                model="fake", messages=HI, parameters={"script": {"status": 429, "headers": {"retry-after": "1"}}}
            )
        assert caught.value.code == "Throttling.RateQuota"


class TestOtherServices:
    """Embeddings, rerank, tokenizer, models: classic classes, then the new client."""

    @pytest.mark.parametrize("model", ["fake", "fake-native"])
    def test_embeddings(self, client: Client, model: str) -> None:
        answer = TextEmbedding.call(model=model, input=["one two", "three"], dimension=16, text_type="query")
        assert answer.status_code == HTTPStatus.OK, answer
        rows = answer.output["embeddings"]
        assert [(row["text_index"], len(row["embedding"])) for row in rows] == [(0, 16), (1, 16)]
        assert answer.usage["total_tokens"] == 3
        told = client.embeddings.create(model=model, input=["one two", "three"], dimension=16)
        assert [list(one.embedding) for one in told.embeddings] == [row["embedding"] for row in rows]
        refused = TextEmbedding.call(model=model, input=["x"], dimension=0)
        assert (refused.status_code, refused.code) == (400, "InvalidParameter")

    @pytest.mark.parametrize("model", ["fake", "fake-native"])
    def test_rerank(self, client: Client, model: str) -> None:
        documents = ["nothing", "scales and weights", "weights"]
        answer = TextReRank.call(
            model=model, query="scales weights", documents=documents, top_n=2, return_documents=True
        )
        assert answer.status_code == HTTPStatus.OK, answer
        assert [(one.index, one.relevance_score) for one in answer.output.results] == [(1, 1.0), (2, 0.5)]
        told = client.rerank.create(model=model, query="scales weights", documents=documents)
        assert [one.index for one in told.results] == [1, 2, 0]

    def test_tokenizer(self, client: Client) -> None:
        answer = Tokenization.call(model="fake-native", messages=[{"role": "user", "content": "one two three"}])
        assert answer.status_code == HTTPStatus.OK, answer
        assert answer.output["tokens"] == ["one", "two", "three"]
        assert answer.usage["input_tokens"] == 3
        assert client.tokenization.count(model="fake-native", messages=HI).input_tokens == 1
        refused = Tokenization.call(model="fake", messages=HI)
        assert (refused.status_code, refused.code) == (404, "model_not_supported")

    def test_models(self, client: Client) -> None:
        answer = Models.list(page=1, page_size=3)
        assert answer.status_code == HTTPStatus.OK, answer
        assert len(answer.output["models"]) == 3
        one = Models.get("priced")
        assert one.output["model"] == "priced"
        assert Models.get("nobody").status_code == 404

    def test_what_is_not_here(self) -> None:
        answer = dashscope.Deployments.list()
        assert (answer.status_code, answer.code) == (400, "UnsupportedOperation")
        assert answer.message == "This server has no deployments of models."


def test_embedded_vectors_by_the_native_api() -> None:
    """The real embedded models answer for the vendor's names."""
    dashscope.base_http_api_url = TARGETS["embedded"]["origin"] + "/api/v1"
    key = TARGETS["embedded"]["key"]
    answer = TextEmbedding.call(model="text-embedding-v4", input=["天平与砝码", "a pair of scales"], api_key=key)
    assert [len(row["embedding"]) for row in answer.output["embeddings"]] == [384, 384]
    ranks = TextReRank.call(
        model="qwen3-rerank", query="天平", documents=["今天下雨", "天平用来称重"], api_key=key, return_documents=True
    )
    assert ranks.output.results[0]["document"]["text"] == "天平用来称重"
    counted = Tokenization.call(model="qwen-plus", messages=HI, api_key=key)
    assert counted.usage["input_tokens"] == len(counted.output["token_ids"]) > 5


def test_embedded_model_by_the_native_api() -> None:
    """The real embedded model answers a native call in a stream."""
    dashscope.base_http_api_url = TARGETS["embedded"]["origin"] + "/api/v1"
    frames = list(
        Generation.call(
            model="qwen-plus",
            messages=[{"role": "user", "content": "Say hello in one word."}],
            api_key=TARGETS["embedded"]["key"],
            result_format="message",
            stream=True,
            incremental_output=True,
            max_tokens=8,
        )
    )
    assert frames[-1].status_code == 200, frames[-1]
    assert "".join(frame.output.choices[0].message.content for frame in frames).strip()
    assert frames[-1].usage.input_tokens > 5


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.BadRequestError),
        (404, errors.NotFoundError),
        (429, errors.RateLimitError),
        (500, errors.InternalServerError),
        (503, errors.ServiceUnavailableError),
        (504, errors.GatewayTimeoutError),
    ],
)
def test_statuses_raise_their_classes(client: Client, model: str, status: int, kind: type[Exception]) -> None:
    """Whatever API the vendor behind it speaks."""
    quick = client.with_options(max_retries=0)
    with pytest.raises(kind) as caught:
        quick.chat.completions.create(model=model, messages=HI, parameters={"script": {"status": status}})
    assert caught.value.status_code == status
