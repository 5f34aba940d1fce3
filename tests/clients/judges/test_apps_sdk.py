"""Apps and tools with the unmodified SDKs: both surfaces of dashscope, openai, and the protocol of tools' own client."""

import json
from http import HTTPStatus
from typing import Any

import dashscope
import pytest
from dashscope import Application, AsyncClient, Client
from dashscope.v2 import errors
from mcp import Client as McpClient
from mcp.client.streamable_http import streamable_http_client

from conftest import TARGETS, client_for

HOUSE = TARGETS.get("house", {})
BASE = HOUSE.get("origin", "") + "/api/v1"


@pytest.fixture(autouse=True)
def pointed() -> None:
    dashscope.base_http_api_url = BASE
    dashscope.api_key = HOUSE["key"]


@pytest.fixture
def client() -> Client:
    return Client(base_url=BASE, api_key=HOUSE["key"])


class TestClassic:
    """`dashscope.Application`."""

    def test_plain(self) -> None:
        answer = Application.call(app_id=HOUSE["weather_app"], prompt="Hangzhou")
        assert answer.status_code == HTTPStatus.OK, answer
        assert "sunny" in answer.output.text
        assert answer.output.finish_reason == "stop"
        assert answer.usage.models[0].model_id == "fake"
        assert answer.usage.models[0].input_tokens > 0

    @pytest.mark.parametrize("incremental", [None, True, False])
    def test_stream(self, incremental: bool | None) -> None:
        options = {} if incremental is None else {"incremental_output": incremental}
        parts = list(Application.call(app_id=HOUSE["weather_app"], prompt="Hangzhou", stream=True, **options))
        assert all(one.status_code == HTTPStatus.OK for one in parts)
        texts = [one.output.text for one in parts]
        whole = "".join(texts) if incremental else texts[-1]
        assert "sunny" in whole

    def test_thoughts(self) -> None:
        answer = Application.call(app_id=HOUSE["weather_app"], prompt="Hangzhou", has_thoughts=True)
        (thought,) = answer.output.thoughts
        assert (thought.action_name, thought.action) == ("weather", "get_forecast")
        assert thought.action_input == {"city": "Hangzhou"}
        assert "sunny" in thought.observation
        streamed = list(
            Application.call(
                app_id=HOUSE["weather_app"], prompt="Hangzhou", has_thoughts=True, stream=True, incremental_output=True
            )
        )
        assert next(one.output.thoughts for one in streamed if one.output.thoughts)[0].action == "get_forecast"

    def test_sessions(self) -> None:
        first = Application.call(app_id=HOUSE["echo_app"], prompt="one")
        second = Application.call(app_id=HOUSE["echo_app"], prompt="two", session_id=first.output.session_id)
        assert second.output.session_id == first.output.session_id
        assert second.output.text == "two"

    def test_retrieval(self) -> None:
        answer = Application.call(
            app_id=HOUSE["echo_app"],
            prompt="年假有几天?",
            rag_options={"pipeline_ids": [HOUSE["base"]]},
            has_thoughts=True,
        )
        assert answer.status_code == HTTPStatus.OK, answer
        (reference, *_) = answer.output.doc_references
        assert reference.doc_name == "手册.md"
        assert "五天" in reference.text
        search = answer.output.thoughts[0]
        assert (search.action_type, search.action) == ("agentRag", "searchDocument")
        assert "五天" in json.loads(search.observation)[0]["content"]
        parts = list(
            Application.call(
                app_id=HOUSE["echo_app"], prompt="年假?", rag_options={"pipeline_ids": [HOUSE["base"]]}, stream=True
            )
        )
        assert parts[-1].output.doc_references

    def test_variables(self) -> None:
        answer = Application.call(
            app_id=HOUSE["echo_app"], prompt="hi", biz_params={"user_prompt_params": {"city": "杭州"}}
        )
        assert answer.status_code == HTTPStatus.OK

    def test_errors(self) -> None:
        wrong = Application.call(app_id="nothing", prompt="hi")
        assert (wrong.status_code, wrong.code) == (400, "InvalidParameter")
        assert "AppId" in wrong.message
        failed = Application.call(app_id=HOUSE["broken_app"], prompt="hi")
        assert (failed.status_code, failed.code) == (500, "InvokePluginFailed")
        (*_, last) = Application.call(app_id=HOUSE["broken_app"], prompt="hi", stream=True)
        assert (last.status_code, last.code) == (500, "InvokePluginFailed")
        dashscope.api_key = "sk-wrong"
        assert Application.call(app_id=HOUSE["echo_app"], prompt="hi").status_code == 401


class TestNew:
    """`dashscope.Client`."""

    def test_plain(self, client: Client) -> None:
        answer = client.apps.completions.create(app_id=HOUSE["weather_app"], prompt="Hangzhou", has_thoughts=True)
        assert "sunny" in answer.text
        assert answer.thoughts[0].action == "get_forecast"
        assert answer.usage.models[0].output_tokens > 0
        again = client.apps.completions.create(app_id=HOUSE["echo_app"], prompt="two", session_id=answer.session_id)
        assert again.session_id == answer.session_id

    def test_stream(self, client: Client) -> None:
        parts = list(client.apps.completions.create(app_id=HOUSE["weather_app"], prompt="Hangzhou", stream=True))
        assert "sunny" in parts[-1].text

    def test_retrieval(self, client: Client) -> None:
        answer = client.apps.completions.create(
            app_id=HOUSE["echo_app"], prompt="年假有几天?", rag_options={"pipeline_ids": [HOUSE["base"]]}
        )
        assert answer.doc_references[0].doc_name == "手册.md"

    async def test_async(self) -> None:
        answer = await AsyncClient(base_url=BASE, api_key=HOUSE["key"]).apps.completions.create(
            app_id=HOUSE["echo_app"], messages=[{"role": "user", "content": "hi"}]
        )
        assert answer.text == "hi"

    def test_errors(self, client: Client) -> None:
        with pytest.raises(errors.BadRequestError):
            client.apps.completions.create(app_id="nothing", prompt="hi")


SERVER: Any = {"type": "mcp", "server_label": "sums", "require_approval": "never"}
SUM = {"calls": [["sums__add", '{"a":20,"b":22}']], "then": [{"text": "It is {tool}"}]}


class TestOpenAI:
    """Apps as models, and MCP servers in the Responses API."""

    def test_app_as_model(self) -> None:
        told = client_for("house").chat.completions.create(
            model=f"app/{HOUSE['weather_app']}", messages=[{"role": "user", "content": "Hangzhou"}]
        )
        assert "sunny" in (told.choices[0].message.content or "")

    def test_responses(self) -> None:
        tool = {**SERVER, "server_url": HOUSE["sums"] + "/mcp"}
        told = client_for("house").responses.create(model="fake", input="?", tools=[tool], extra_body={"script": SUM})
        assert [one.type for one in told.output] == ["mcp_list_tools", "mcp_call", "message"]
        assert told.output[1].output == "42"
        assert "42" in told.output_text

    def test_responses_stream(self) -> None:
        tool = {**SERVER, "server_url": HOUSE["sums"] + "/mcp"}
        with client_for("house").responses.stream(
            model="fake", input="?", tools=[tool], extra_body={"script": SUM}
        ) as stream:
            kinds = [event.type for event in stream]
            final = stream.get_final_response()
        assert "response.mcp_call.completed" in kinds
        assert "42" in final.output_text


def mcp(path: str) -> McpClient:
    """The protocol's own client."""
    import httpx2

    http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {HOUSE['key']}"})
    return McpClient(streamable_http_client(HOUSE["origin"] + path, http_client=http))


class TestMcp:
    """A published app and a server behind the gateway, listed and called."""

    async def test_app(self) -> None:
        async with mcp(f"/mcp/apps/{HOUSE['echo_app']}") as client:
            (tool,) = (await client.list_tools()).tools
            assert tool.name == "ask"
            told = await client.call_tool("ask", {"prompt": "hello"})
        assert told.content[0].text == "hello"
        assert not told.is_error

    async def test_server(self) -> None:
        async with mcp("/mcp/sums") as client:
            names = {one.name for one in (await client.list_tools()).tools}
            assert "add" in names
            told = await client.call_tool("add", {"a": 40, "b": 2})
        assert told.content[0].text == "42"

    async def test_openapi_plugin(self) -> None:
        async with mcp("/mcp/weather") as client:
            told = await client.call_tool("get_forecast", {"city": "Hangzhou"})
            assert "sunny" in told.content[0].text
            wrong = await client.call_tool("get_forecast", {"city": "Nowhere"})
        assert wrong.is_error
