"""Check 39: langchain-openai, unmodified."""

from typing import Any

from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from conftest import TARGETS


def model(target: str, name: str, **options: Any) -> ChatOpenAI:
    judged = TARGETS[target]
    return ChatOpenAI(model=name, base_url=judged["origin"] + "/compatible-mode/v1", api_key=judged["key"], **options)


class Joke(BaseModel):
    """A joke."""

    setup: str
    punchline: str


def test_invoke_and_stream() -> None:
    chat = model("served", "fake", stream_usage=True)
    assert chat.invoke("hi").content == "Hello from the fake vendor"
    chunks = list(chat.stream("hi"))
    assert "".join(chunk.content for chunk in chunks) == "Hello from the fake vendor"
    assert any(chunk.usage_metadata and chunk.usage_metadata["total_tokens"] for chunk in chunks)


def test_structured_output_and_tools() -> None:
    chat = model("embedded", "qwen-plus", max_tokens=120, seed=2)
    joke = chat.with_structured_output(Joke).invoke("Tell me a joke about scales, as JSON.")
    assert isinstance(joke, Joke)

    def get_weather(city: str) -> str:
        """The weather of a city."""
        return city

    answer = chat.bind_tools([get_weather], tool_choice="get_weather").invoke("The weather in Hangzhou?")
    assert answer.tool_calls[0]["name"] == "get_weather"
