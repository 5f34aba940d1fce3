"""Apps: a prompt, knowledge, tools and memory behind one id, by every API, with their parts in the books."""

import itertools
import json
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from app_house import House, calls, house_config
from installation import Installation, Vendor, read_events
from toolservers import weather_api


@pytest.fixture(scope="module")
def weather() -> Iterator[str]:
    with weather_api() as origin:
        yield origin


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, vendor: Vendor, weather: str) -> Iterator[House]:
    with Installation(tmp_path_factory.mktemp("apps"), house_config(vendor)) as installation:
        made = House(installation)
        document = httpx.get(f"{weather}/openapi.json").text
        only = ["get_forecast", "order", "whoami"]
        made.add_plugin("weather", kind="openapi", document=document, only=only)
        yield made


FORECAST = calls([("weather__get_forecast", '{"city":"{user}"}')], text="Weather: {tool}")


def frames(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[5:]) for line in text.splitlines() if line.startswith("data:")]


def last_messages(vendor: Vendor) -> list[dict[str, Any]]:
    return list(vendor.seen()["calls"][-1]["body"]["messages"])


def test_prompt_and_variables(house: House, vendor: Vendor) -> None:
    """Instructions with variables go before the conversation; a value is not looked at again."""
    app = house.make_app(
        instructions="You speak for ${who} in ${city}. ${unknown}", variables={"who": "us", "city": "x"}
    )
    told = house.ask(app, "hi", biz_params={"user_prompt_params": {"city": "${who} 杭州"}})
    assert told.status_code == 200
    system, user = last_messages(vendor)
    assert system == {"role": "system", "content": "You speak for us in ${who} 杭州. ${unknown}"}
    assert user == {"role": "user", "content": "hi"}
    wrong = house.ask(app, "hi", biz_params={"user_prompt_params": {"city": ["x"]}})
    assert (wrong.status_code, wrong.json()["code"]) == (400, "InvalidParameter")
    assert "user_prompt_params.city" in wrong.json()["message"]


def test_tools_thoughts_and_receipt(house: House) -> None:
    """A tool is called, its answer reaches the model, and each step is a line of the receipt; the call itself costs nothing."""
    app = house.make_app(model="priced", tools=["weather/get_forecast"], parameters={"script": FORECAST})
    told = house.ask(app, "杭州", parameters={"has_thoughts": True})
    output = told.json()["output"]
    assert "晴, 23" in output["text"]
    (thought,) = output["thoughts"]
    assert (thought["action_name"], thought["action"]) == ("weather", "get_forecast")
    assert thought["action_input"] == {"city": "杭州"}
    assert "晴" in thought["observation"]
    (model,) = told.json()["usage"]["models"]
    assert model["model_id"] == "priced"
    receipt = house.receipt(told.json()["request_id"], steps=3)
    assert [one["operation"] for one in receipt["steps"]] == ["chat", "tools", "chat"]
    assert receipt["steps"][1]["target"] == "weather/get_forecast"
    assert receipt["settlement"]["charged_micros"] == receipt["usage"]["total_tokens"] == 0
    assert sum(one["prompt_tokens"] for one in receipt["steps"]) == model["input_tokens"]
    assert all(one["prompt_tokens"] > 0 for one in receipt["steps"][::2])


def test_given_arguments(house: House, vendor: Vendor) -> None:
    """What the caller gives for a plugin's tools the model neither sees nor sets."""
    script = calls([("weather__order", '{"count":2}')], text="{tool}")
    app = house.make_app(tools=["weather/order"], parameters={"script": script})
    told = house.ask(app, "?", biz_params={"user_defined_params": {"weather": {"item": "茶", "nonsense": 1}}})
    assert '"ordered":"茶","count":2' in told.json()["output"]["text"]
    (tool,) = vendor.seen()["calls"][-2]["body"]["tools"]
    assert set(tool["function"]["parameters"]["properties"]) == {"count"}
    wrong = house.ask(app, "?", biz_params={"user_defined_params": {"weather": 7}})
    assert (wrong.status_code, "user_defined_params" in wrong.json()["message"]) == (400, True)


def test_streams(house: House) -> None:
    """Text so far, or increments; thoughts as they come; the session on every frame."""
    app = house.make_app(tools=["weather"], parameters={"script": FORECAST})
    whole = frames(house.ask(app, "Shanghai", sse=True, parameters={"has_thoughts": True}).text)
    texts = [one["output"]["text"] for one in whole]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(texts))
    assert "rain" in texts[-1]
    assert whole[0]["output"]["thoughts"][0]["action"] == "get_forecast"
    assert {one["output"]["session_id"] for one in whole} == {whole[0]["output"]["session_id"]}
    assert [one["output"]["finish_reason"] for one in whole][-2:] == ["null", "stop"]
    parts = frames(house.ask(app, "Shanghai", sse=True, parameters={"incremental_output": True}).text)
    assert "".join(one["output"]["text"] for one in parts) == texts[-1]
    assert "thoughts" not in parts[0]["output"]


def test_sessions(house: House, vendor: Vendor) -> None:
    """A session goes on, is its app's and workspace's own, and can be forgotten."""
    app = house.make_app(parameters={"script": {"text": "You said {user}.", "then": [{}]}})
    first = house.ask(app, "one").json()["output"]
    assert first["text"] == "You said one."
    second = house.ask(app, "two", session_id=first["session_id"]).json()["output"]
    assert second["session_id"] == first["session_id"]
    contents = [one["content"] for one in last_messages(vendor)]
    assert contents == ["one", "You said one.", "two"]
    other = house.make_app(parameters={"script": {"text": "x"}})
    house.ask(other, "three", session_id=first["session_id"])
    assert [one["content"] for one in last_messages(vendor)] == ["three"]
    (listed,) = house.control("GET", f"/apps/{app}/sessions")["data"]
    assert (listed["session_id"], listed["turns"]) == (first["session_id"], 2)
    house.control("DELETE", f"/apps/{app}/sessions/{first['session_id']}")
    house.ask(app, "four", session_id=first["session_id"])
    assert [one["content"] for one in last_messages(vendor)] == ["four"]
    house.control("DELETE", f"/apps/{app}/sessions/none", status=404)


def test_other_workspaces(house: House) -> None:
    """An app, its sessions and plugins are nobody else's."""
    house.installation.cli("workspaces", "create", "beta")
    house.installation.cli("activate", "--workspace", "beta")
    key = house.installation.create_key("--workspace", "beta", name="beta")["key"]
    app = house.make_app()
    wrong = house.ask(app, "hi", key=key)
    assert (wrong.status_code, wrong.json()["code"]) == (400, "InvalidParameter")
    assert "AppId" in wrong.json()["message"]
    assert house.chat(f"app/{app}", "hi", key=key).status_code == 404
    assert house.mcp("weather", "tools/list", key=key).status_code == 404
    streamed = house.ask("app_nothing", "hi", sse=True)
    assert streamed.status_code == 400


def test_versions(house: House) -> None:
    """Callers meet what is published; a draft is edited beside it; one can go back."""
    app = house.make_app(parameters={"script": {"text": "first"}})
    house.control("PUT", f"/apps/{app}", {"spec": {"model": "fake", "parameters": {"script": {"text": "second"}}}})
    assert house.ask(app, "?").json()["output"]["text"] == "first"
    assert house.control("POST", f"/apps/{app}/publish")["published_version"] == 2
    assert house.ask(app, "?").json()["output"]["text"] == "second"
    assert [one["version"] for one in house.control("GET", f"/apps/{app}/versions")["data"]] == [2, 1]
    house.control("POST", f"/apps/{app}/rollback", {"version": 1})
    assert house.ask(app, "?").json()["output"]["text"] == "first"
    house.control("POST", f"/apps/{app}/rollback", {"version": 7}, status=404)
    house.control("POST", f"/apps/{app}/rollback", {"version": 0})
    deadline = time.monotonic() + 3
    while house.ask(app, "?").status_code != 400:
        assert time.monotonic() < deadline
    house.control("DELETE", f"/apps/{app}")
    house.control("GET", f"/apps/{app}", status=404)


def test_as_openai_model(house: House) -> None:
    """The same app in chat completions, whole and streamed, beside tools of the caller's own."""
    app = house.make_app(tools=["weather"], parameters={"script": FORECAST})
    listed = httpx.get(f"{house.origin}/v1/models", headers=house.headers()).json()["data"]
    assert [one["owned_by"] for one in listed if one["id"] == f"app/{app}"] == ["app"]
    told = house.chat(f"app/{app}", "Beijing").json()
    assert "wind" in told["choices"][0]["message"]["content"]
    assert told["model"] == f"app/{app}"
    assert told["usage"]["total_tokens"] > 20
    events = read_events(house.chat(f"app/{app}", "Beijing", stream=True, stream_options={"include_usage": True}).text)
    text = "".join(one["choices"][0]["delta"].get("content") or "" for one in events[:-2])  # type: ignore[index]
    assert "wind" in text
    assert events[-1] == "[DONE]"
    assert events[-2]["usage"]["total_tokens"] == told["usage"]["total_tokens"]  # type: ignore[index]
    own = {"type": "function", "function": {"name": "mine", "parameters": {"type": "object", "properties": {}}}}
    script = {"calls": [["mine", "{}"], ["weather__whoami", "{}"]]}
    handed = house.chat(f"app/{app}", "x", tools=[own], script=script).json()["choices"][0]
    assert handed["finish_reason"] == "tool_calls"
    assert [one["function"]["name"] for one in handed["message"]["tool_calls"]] == ["mine"]


def test_as_response(house: House) -> None:
    """In the Responses API calls of tools are items, streamed too, and a conversation goes on from them."""
    app = house.make_app(tools=["weather"], parameters={"script": FORECAST})
    body: dict[str, Any] = {"model": f"app/{app}", "input": "Shanghai"}
    told = httpx.post(f"{house.origin}/v1/responses", headers=house.headers(), json=body, timeout=60).json()
    call, message = told["output"]
    assert (call["type"], call["server_label"], call["name"], call["error"]) == (
        "mcp_call",
        "weather",
        "get_forecast",
        None,
    )
    assert "rain" in message["content"][0]["text"]
    follow = {**body, "previous_response_id": told["id"]}
    assert (
        httpx.post(f"{house.origin}/v1/responses", headers=house.headers(), json=follow, timeout=60).status_code == 200
    )
    streamed = httpx.post(
        f"{house.origin}/v1/responses", headers=house.headers(), json={**body, "stream": True}, timeout=60
    )
    kinds = [one["type"] for one in read_events(streamed.text) if isinstance(one, dict)]
    assert kinds.index("response.mcp_call.in_progress") < kinds.index("response.mcp_call.completed")
    assert kinds.index("response.mcp_call.completed") < kinds.index("response.output_text.delta")
    assert kinds[-1] == "response.completed"


def test_tools_in_plain_chat(house: House, vendor: Vendor) -> None:
    """`X-DashScope-Plugin` gives a plain call tools; so does the workspace, unless the call says otherwise."""
    script = calls([("calculator__evaluate", '{"expression":"6*7"}')], text="It is {tool}")
    told = house.chat("fake", "6*7?", plugin="calculator", script=script)
    assert "42" in told.json()["choices"][0]["message"]["content"]
    native = httpx.post(
        f"{house.origin}/api/v1/services/aigc/text-generation/generation",
        headers=house.headers() | {"X-DashScope-Plugin": '{"calculator": {}}'},
        json={
            "model": "fake",
            "input": {"prompt": "6*7?"},
            "parameters": {"script": script, "result_format": "message"},
        },
        timeout=30,
    )
    assert "42" in native.json()["output"]["choices"][0]["message"]["content"]
    unknown = house.chat("fake", "hi", plugin="nothing-here")
    assert unknown.status_code == 200
    assert "tools" not in vendor.seen()["calls"][-1]["body"]
    house.control("PUT", "/workspaces/default/tools", {"tools": ["time", "calculator"]})
    try:
        deadline = time.monotonic() + 3
        while "42" not in house.chat("fake", "6*7?", script=script).text:
            assert time.monotonic() < deadline
        names = [one["function"]["name"] for one in vendor.seen()["calls"][-1]["body"]["tools"]]
        assert names == ["time__now", "calculator__evaluate"]
    finally:
        house.control("PUT", "/workspaces/default/tools", {"tools": []})
    house.control("PUT", "/workspaces/default/tools", {"tools": ["nothing"]}, status=404)


def test_keys_with_lists(house: House) -> None:
    """A key for one app can do nothing else; a key with a list of tools has those."""
    app = house.make_app(tools=["weather", "calculator"], parameters={"script": FORECAST})
    narrow = house.installation.create_key("--models", f"app/{app}", "--operations", "apps", name="narrow")["key"]
    assert house.ask(app, "Beijing", key=narrow).status_code == 200
    assert house.chat("fake", "hi", key=narrow).status_code == 403
    assert house.ask(house.make_app(), "hi", key=narrow).status_code == 403
    listed = house.installation.create_key("--tools", "calculator,weather/order", name="listed")["key"]
    names = [one["name"] for one in house.mcp("weather", "tools/list", key=listed).json()["result"]["tools"]]
    assert names == ["order"]
    refused = house.mcp("weather", "tools/call", {"name": "get_forecast", "arguments": {"city": "杭州"}}, key=listed)
    assert "no tool get_forecast" in refused.json()["error"]["message"]
    # the model does not even know of the tool: what it calls all the same is nobody's
    told = house.ask(app, "Beijing", key=listed).json()
    assert "wind" not in told["output"]["text"]
    house.installation.cli("keys", "create", "--name", "x", "--tools", "Not A Tool", check=False)


def test_budget_holds(house: House) -> None:
    """What an app takes counts in its caller's budget, and the call itself in its rate, once."""
    usage = {"prompt_tokens": 300, "completion_tokens": 50, "total_tokens": 350}
    script = calls([("calculator__evaluate", '{"expression":"1"}')], text="{tool}")
    script = {**script, "usage": usage, "then": [{**one, "usage": usage} for one in script["then"]]}
    app = house.make_app(tools=["calculator"], parameters={"script": script})
    poor = house.installation.create_key("--budget-tokens", "5000", name="poor")["key"]
    answers = [house.ask(app, "x" * 20, key=poor) for _ in range(10)]
    assert answers[0].status_code == 200
    refused = next(one for one in answers if one.status_code != 200)
    assert (refused.status_code, refused.json()["code"]) == (429, "Throttling.AllocationQuota")
    slow = house.installation.create_key("--rpm", "3", "--concurrency", "1", name="slow")["key"]
    statuses = [house.ask(app, "hi", key=slow).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]


def test_failing_tools(house: House) -> None:
    """A failure is told to the model once; the second ends the answer as the vendor names it."""
    wrong = [("weather__get_forecast", '{"city":"Nowhere"}')]
    app = house.make_app(tools=["weather"], parameters={"script": calls(wrong, text="Sorry: {tool}")})
    told = house.ask(app, "?", parameters={"has_thoughts": True}).json()["output"]
    assert "no weather for Nowhere" in told["text"]
    assert "tool_error" in told["text"]
    again = house.make_app(tools=["weather"], parameters={"script": calls(wrong, wrong, text="never")})
    failed = house.ask(again, "?")
    assert (failed.status_code, failed.json()["code"]) == (500, "InvokePluginFailed")
    streamed = house.ask(again, "?", sse=True)
    assert "event:error\n:HTTP_STATUS/500" in streamed.text
    assert frames(streamed.text)[-1]["code"] == "InvokePluginFailed"
    bad = house.make_app(
        tools=["weather"], parameters={"script": calls([("weather__order", '{"count":"many"}')], text="{tool}")}
    )
    assert "not what the tool takes" in house.ask(bad, "?").json()["output"]["text"]


def test_step_limit_and_deadline(house: House, vendor: Vendor) -> None:
    """The last question to the model is asked without tools; an app that takes too long says so."""
    endless = {
        "calls": [["calculator__evaluate", '{"expression":"1"}']],
        "then": [{"calls": [["calculator__evaluate", '{"expression":"2"}']]}],
    }
    app = house.make_app(tools=["calculator"], max_steps=3, parameters={"script": endless})
    told = house.ask(app, "?")
    assert told.status_code == 200
    assert "tools" not in vendor.seen()["calls"][-1]["body"]
    slow = house.make_app(deadline_s=1, parameters={"script": {"delay_s": 2.5}})
    late = house.ask(slow, "?")
    assert (late.status_code, late.json()["code"]) == (504, "RequestTimeOut")


def test_cancellation(house: House, vendor: Vendor) -> None:
    """A client that leaves ends the model's call, and what was held is free."""
    app = house.make_app(parameters={"script": {"chunks": 400, "gap_s": 0.05}})
    headers = house.headers() | {"X-DashScope-SSE": "enable"}
    body = {"input": {"prompt": "hi"}, "parameters": {}}
    path = f"{house.origin}/api/v1/apps/{app}/completion"
    with httpx.stream("POST", path, headers=headers, json=body, timeout=20) as answer:
        next(answer.iter_lines())
    deadline = time.monotonic() + 3
    while vendor.seen()["open"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert vendor.seen()["calls"][-1]["end"] == "client left"


def test_refusals(house: House) -> None:
    """Bad input names the field."""
    app = house.make_app()
    path = f"{house.origin}/api/v1/apps/{app}/completion"
    for body, word in (
        ({}, "input"),
        ({"input": {"prompt": 7}}, "prompt"),
        ({"input": {}}, "prompt"),
        ({"input": {"prompt": "x", "session_id": 7}}, "session_id"),
        ({"input": {"prompt": "x", "biz_params": []}}, "biz_params"),
        ({"input": {"prompt": "x", "memory_id": "m"}}, "memory_id"),
        ({"input": {"prompt": "x"}, "parameters": {"has_thoughts": "yes"}}, "has_thoughts"),
        ({"input": {"prompt": "x"}, "parameters": {"rag_options": []}}, "rag_options"),
        ({"input": {"prompt": "x"}, "parameters": {"rag_options": {"pipeline_ids": "kb"}}}, "pipeline_ids"),
    ):
        answer = httpx.post(path, headers=house.headers(), json=body)
        assert answer.status_code == 400, (body, answer.text)
        assert word in answer.json()["message"], answer.text
    assert httpx.post(path, json={"input": {"prompt": "x"}}).status_code == 401
    for spec, word in (
        ({"model": ""}, "model"),
        ({"model": "app/x"}, "model"),
        ({"model": "m", "max_steps": 0}, "max_steps"),
        ({"model": "m", "parameters": {"stream": True}}, "stream"),
        ({"model": "m", "nonsense": 1}, "nonsense"),
    ):
        told = house.control("POST", "/apps", {"name": "x", "spec": spec}, status=400)
        assert word in told["error"]["message"], told
    assert httpx.get(f"{house.origin}/control/v1/apps", headers=house.headers()).status_code == 403


def test_idempotency(house: House, vendor: Vendor) -> None:
    """A repeated key is answered from what was kept: nothing is asked again."""
    app = house.make_app(parameters={"script": {"text": "once"}})
    headers = house.headers() | {"Idempotency-Key": "app-1"}
    body = {"input": {"prompt": "hi"}, "parameters": {}}
    path = f"{house.origin}/api/v1/apps/{app}/completion"
    first = httpx.post(path, headers=headers, json=body)
    count = vendor.totals()["calls"]
    second = httpx.post(path, headers=headers, json=body)
    assert first.json()["output"] == second.json()["output"]
    assert vendor.totals()["calls"] == count


def test_configuration_change_cuts_nothing_off(house: House) -> None:
    """A run that is under way ends in the process that began it, while a new one takes what comes."""
    app = house.make_app(parameters={"script": {"text": "patience", "delay_s": 2.5}})
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(house.ask, app, "hi")
        time.sleep(0.5)
        process = house.installation.process
        assert process is not None
        process.send_signal(signal.SIGHUP)
        quick = house.make_app(parameters={"script": {"text": "quick"}})
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and not slow.done():
            assert house.ask(quick, "hi").status_code == 200
        assert slow.result().json()["output"]["text"] == "patience"
