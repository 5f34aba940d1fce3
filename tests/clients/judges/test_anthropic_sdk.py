"""The Messages API with the unmodified anthropic SDK, whatever API the model is behind."""

from typing import Any

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic

from conftest import TARGETS

HI: Any = [{"role": "user", "content": "hi"}]
MODELS = ("fake", "fake-native", "fake-messages")
TEXT = "Hello from the fake vendor"
WEATHER: Any = {
    "name": "get_weather",
    "description": "d",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def client_for(prefix: str = "/apps/anthropic", **options: Any) -> Anthropic:
    target = TARGETS["served"]
    return Anthropic(base_url=target["origin"] + prefix, **({"api_key": target["key"]} | options))


@pytest.fixture
def client() -> Anthropic:
    return client_for()


def scripted(**script: Any) -> dict[str, Any]:
    return {"script": script}


@pytest.mark.parametrize("model", MODELS)
class TestMessages:
    """Create, stream, tools, thinking."""

    def test_create(self, client: Anthropic, model: str) -> None:
        raw = client.messages.with_raw_response.create(model=model, max_tokens=50, messages=HI, system="be brief")
        answer = raw.parse()
        assert answer.content[0].text == TEXT
        assert (answer.stop_reason, answer.role, answer.type) == ("end_turn", "assistant", "message")
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (10, 5)
        assert answer._request_id == raw.headers["request-id"] == raw.headers["x-request-id"]

    def test_stream_helper_equals_plain(self, client: Anthropic, model: str) -> None:
        asked = {"model": model, "max_tokens": 50, "messages": HI, "extra_body": scripted(reasoning="let me think")}
        plain = client.messages.create(**asked)
        with client.messages.stream(**asked) as stream:
            texts = "".join(stream.text_stream)
            final = stream.get_final_message()
        assert texts == TEXT
        assert (
            [block.type for block in final.content] == [block.type for block in plain.content] == ["thinking", "text"]
        )
        assert final.content[0].thinking.strip() == plain.content[0].thinking.strip() == "let me think"
        assert (final.stop_reason, final.usage.output_tokens) == (plain.stop_reason, plain.usage.output_tokens)
        assert final.usage.input_tokens == plain.usage.input_tokens == 10

    @pytest.mark.parametrize("stream", [False, True])
    def test_tools(self, client: Anthropic, model: str, stream: bool) -> None:
        asked = {
            "model": model,
            "max_tokens": 50,
            "messages": HI,
            "tools": [WEATHER],
            "extra_body": scripted(tool_calls=2),
        }
        if stream:
            with client.messages.stream(**asked) as opened:
                answer = opened.get_final_message()
        else:
            answer = client.messages.create(**asked)
        assert answer.stop_reason == "tool_use"
        assert [(block.id, block.name, block.input) for block in answer.content if block.type == "tool_use"] == [
            (f"call_{n}", "get_weather", {"city": f"city{n}"}) for n in range(2)
        ]
        results = [{"type": "tool_result", "tool_use_id": f"call_{n}", "content": "sunny"} for n in range(2)]
        again = [*HI, {"role": "assistant", "content": answer.content}, {"role": "user", "content": results}]
        answer = client.messages.create(model=model, max_tokens=50, messages=again, tools=[WEATHER])
        assert answer.content[-1].text == TEXT

    def test_images(self, client: Anthropic, model: str) -> None:
        source = {"type": "base64", "media_type": "image/png", "data": "QUJD"}
        content = [{"type": "image", "source": source}, {"type": "text", "text": "what?"}]
        answer = client.messages.create(model=model, max_tokens=50, messages=[{"role": "user", "content": content}])
        assert answer.content[0].text == TEXT

    def test_error_in_a_stream(self, client: Anthropic, model: str) -> None:
        with (
            pytest.raises(anthropic.APIStatusError) as caught,
            client.messages.stream(
                model=model, max_tokens=50, messages=HI, extra_body=scripted(chunks=6, moderate_after=2)
            ) as stream,
        ):
            stream.get_final_message()
        assert "inappropriate" in str(caught.value)

    def test_a_stream_cut_off_is_an_error(self, client: Anthropic, model: str) -> None:
        with (
            pytest.raises(anthropic.APIStatusError) as caught,
            client.messages.stream(
                model=model, max_tokens=50, messages=HI, extra_body=scripted(chunks=20, cut_at=1500)
            ) as stream,
        ):
            stream.get_final_message()
        assert caught.value.type == "api_error"

    async def test_async(self, model: str) -> None:
        target = TARGETS["served"]
        client = AsyncAnthropic(base_url=target["origin"] + "/apps/anthropic", api_key=target["key"])
        async with client.messages.stream(model=model, max_tokens=50, messages=HI) as stream:
            assert "".join([text async for text in stream.text_stream]) == TEXT


class TestCallers:
    """Credentials, versions, refusals."""

    def test_both_credentials_and_paths(self) -> None:
        key = TARGETS["served"]["key"]
        for prefix in ("/apps/anthropic", ""):
            for options in (
                {"default_headers": {"x-api-key": key, "Authorization": ""}},
                {"auth_token": key, "api_key": None},
                {"default_headers": {"anthropic-version": "2023-06-01"}},
            ):
                answer = client_for(prefix, **options).messages.create(model="fake", max_tokens=5, messages=HI)
                assert answer.content

    def test_classes(self, client: Anthropic) -> None:
        with pytest.raises(anthropic.AuthenticationError) as caught:
            client_for(api_key="sk-wrong").messages.create(model="fake", max_tokens=5, messages=HI)
        assert caught.value.type == "authentication_error"
        with pytest.raises(anthropic.NotFoundError):
            client.messages.create(model="nobody", max_tokens=5, messages=HI)
        with pytest.raises(anthropic.BadRequestError, match="max_tokens: Field required"):
            client.messages.create(model="fake", messages=HI, max_tokens=5, extra_body={"max_tokens": None})
        quick = client.with_options(max_retries=0)
        for status, kind in (
            (429, anthropic.RateLimitError),
            (500, anthropic.InternalServerError),
            (503, anthropic.ServiceUnavailableError),
            (504, anthropic.GatewayTimeoutError),
        ):
            with pytest.raises(kind):
                quick.messages.create(model="fake", max_tokens=5, messages=HI, extra_body=scripted(status=status))

    def test_retries_are_made(self, client: Anthropic) -> None:
        sequence = [{"status": 503, "headers": {"retry-after": "1"}}, {"text": "second"}]
        answer = client.messages.create(
            model="fake",
            max_tokens=5,
            messages=HI,
            extra_body=scripted(sequence=sequence, sequence_id="anthropic-retry"),
        )
        assert answer.content[0].text == "second"

    def test_count_tokens_and_models(self, client: Anthropic) -> None:
        assert client.messages.count_tokens(model="fake-messages", messages=HI).input_tokens > 0
        assert "fake" in [one.id for one in client.models.list()]
        assert client.models.retrieve("fake").display_name == "fake"
        target = TARGETS["embedded"]
        real = Anthropic(base_url=target["origin"] + "/apps/anthropic", api_key=target["key"])
        counted = real.messages.count_tokens(model="qwen-plus", messages=HI).input_tokens
        answer = real.messages.create(model="qwen-plus", messages=HI, max_tokens=4)
        assert answer.usage.input_tokens + answer.usage.cache_read_input_tokens == counted
        assert answer.stop_reason in ("end_turn", "max_tokens")
