"""The embedded model with tools: a real MCP server from a package and a real HTTP API, in one conversation."""

import json
import re
from collections.abc import Iterator

import httpx
import pytest

from app_house import TIME_SERVER, House
from installation import Installation
from toolservers import weather_api

CONFIG = f"""
[outbound]
private_hosts = ["127.0.0.1"]

[plugins.clock]
kind = "stdio"
command = "{TIME_SERVER}"
only = ["get_current_time"]
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with weather_api() as weather:
        installation = Installation(tmp_path_factory.mktemp("embedded-tools"), CONFIG)
        installation.cli("models", "pull")
        with installation:
            made = House(installation)
            document = httpx.get(f"{weather}/openapi.json").text
            made.add_plugin("weather", kind="openapi", document=document, only=["get_forecast"])
            yield made


def test_one_conversation(house: House) -> None:
    """Each tool is called with arguments that fit, and the answer has what it said."""
    app = house.make_app(model="qwen-plus", tools=["weather", "clock"], parameters={"temperature": 0})
    first = house.ask(app, "What is the weather in Hangzhou?", parameters={"has_thoughts": True}).json()["output"]
    assert [(one["action"], one["action_input"]["city"]) for one in first["thoughts"]] == [("get_forecast", "Hangzhou")]
    assert "23" in first["text"]
    asked = {"session_id": first["session_id"], "parameters": {"has_thoughts": True}}
    second = house.ask(app, "What time is it now in Asia/Shanghai?", **asked).json()["output"]
    (thought,) = second["thoughts"]
    assert thought["action_input"] == {"timezone": "Asia/Shanghai"}
    hour, minute = re.search(r"T(\d\d):(\d\d)", thought["observation"]).groups()  # type: ignore[union-attr]
    assert re.search(rf"(?<!\d)({hour}|{int(hour)}|{int(hour) % 12 or 12}):{minute}(?!\d)", second["text"]), second[
        "text"
    ]


def test_calls_are_well_formed(house: House) -> None:
    """Free to call or not, a small model calls what fits, in arguments of the tool's own schema, or answers in words."""
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}},
        "required": ["city", "unit"],
        "additionalProperties": False,
    }
    tool = {
        "type": "function",
        "function": {"name": "get_weather", "description": "The weather of a city.", "parameters": schema},
    }
    told = house.chat("qwen-plus", "杭州天气怎么样?", tools=[tool], temperature=0).json()["choices"][0]
    (call,) = told["message"]["tool_calls"]
    arguments = json.loads(call["function"]["arguments"])
    assert arguments["city"] in ("杭州", "Hangzhou")
    assert arguments["unit"] in ("C", "F")
    assert told["finish_reason"] == "tool_calls"
    words = house.chat("qwen-plus", "Say hello.", tools=[tool], temperature=0).json()["choices"][0]
    assert "tool_calls" not in words["message"]
    assert "hello" in words["message"]["content"].lower()
