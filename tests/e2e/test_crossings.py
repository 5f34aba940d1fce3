"""Every client API in front of every upstream API: the same text, the same usage, the right error."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from installation import Installation, Served, Vendor, read_events

APIS = ("openai", "dashscope", "anthropic")
CLIENTS = (*APIS, "responses")
BASES = {"openai": "/v1", "dashscope": "/api/v1", "anthropic": ""}
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory, vendor: Vendor) -> Iterator[Served]:
    """Models `by-openai`, `by-dashscope` and `by-anthropic`, each behind that API of the fake vendor."""
    config = ""
    for api, base in BASES.items():
        config += f"""
[providers.{api}]
kind = "{api}"
base_url = "http://127.0.0.1:{vendor.port}{base}"
api_key = "vendor-secret"
first_byte_timeout_s = 3
chunk_timeout_s = 3
breaker = false
"""
        for mode in ("pass", "careful", "refuse", "drop"):
            name = f"by-{api}" if mode == "pass" else f"{mode}-{api}"
            config += f"""
[models."{name}"]
targets = [{{provider = "{api}", model = "there"}}]
max_attempts = 1
unsupported = "{mode}"
price = {{input = "1", output = "1"}}
"""
    with Installation(tmp_path_factory.mktemp("crossed"), config) as installation:
        yield Served(installation)


def openai_call(model: str, script: dict[str, Any], *, tools: bool) -> tuple[str, dict[str, Any]]:
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "hi"}], "script": script}
    if tools:
        body["tools"] = [{"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}]
    return "/v1/chat/completions", body


def dashscope_call(model: str, script: dict[str, Any], *, tools: bool) -> tuple[str, dict[str, Any]]:
    parameters: dict[str, Any] = {"script": script, "result_format": "message", "incremental_output": True}
    if tools:
        parameters["tools"] = [{"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}]
    messages = [{"role": "user", "content": "hi"}]
    path = "/api/v1/services/aigc/text-generation/generation"
    return path, {"model": model, "input": {"messages": messages}, "parameters": parameters}


def anthropic_call(model: str, script: dict[str, Any], *, tools: bool) -> tuple[str, dict[str, Any]]:
    messages = [{"role": "user", "content": "hi"}]
    body: dict[str, Any] = {"model": model, "max_tokens": 100, "messages": messages, "script": script}
    if tools:
        body["tools"] = [{"name": "get_weather", "input_schema": WEATHER}]
    return "/v1/messages", body


def responses_call(model: str, script: dict[str, Any], *, tools: bool) -> tuple[str, dict[str, Any]]:
    body: dict[str, Any] = {"model": model, "input": "hi", "script": script}
    if tools:
        body["tools"] = [{"type": "function", "name": "get_weather", "parameters": WEATHER}]
    return "/v1/responses", body


CALLS = {
    "openai": openai_call,
    "dashscope": dashscope_call,
    "anthropic": anthropic_call,
    "responses": responses_call,
}


def ask(
    served: Served, client: str, model: str, script: dict[str, Any], *, stream: bool = False, tools: bool = False
) -> httpx.Response:
    path, body = CALLS[client](model, script, tools=tools)
    headers = served.headers()
    if stream and client == "dashscope":
        headers["X-DashScope-SSE"] = "enable"
    elif stream:
        body["stream"] = True
        if client == "openai":
            body["stream_options"] = {"include_usage": True}
    return httpx.post(served.origin + path, json=body, headers=headers, timeout=20)


class Heard:
    """What a client understood of an answer, whatever API it speaks."""

    def __init__(self) -> None:
        self.text = ""
        self.reasoning = ""
        self.calls: list[list[str]] = []
        self.reason = ""
        self.usage: tuple[int, int] = (0, 0)
        self.error: dict[str, Any] | None = None


def hear_whole(client: str, answer: httpx.Response) -> Heard:
    heard, body = Heard(), answer.json()
    if client == "anthropic":
        for block in body["content"]:
            if block["type"] == "text":
                heard.text += block["text"]
            elif block["type"] == "thinking":
                heard.reasoning += block["thinking"]
            else:
                heard.calls.append([block["id"], block["name"], json.dumps(block["input"])])
        heard.reason = {"end_turn": "stop", "tool_use": "tool_calls"}[body["stop_reason"]]
        heard.usage = (
            body["usage"]["input_tokens"] + body["usage"]["cache_read_input_tokens"],
            body["usage"]["output_tokens"],
        )
        return heard
    if client == "responses":
        return hear_response(body)
    choice = body["choices"][0] if client == "openai" else body["output"]["choices"][0]
    message = choice["message"]
    heard.text, heard.reason = message["content"], choice["finish_reason"]
    heard.reasoning = message.get("reasoning_content") or ""
    for call in message.get("tool_calls") or ():
        heard.calls.append([call["id"], call["function"]["name"], call["function"]["arguments"]])
    names = ("prompt_tokens", "completion_tokens") if client == "openai" else ("input_tokens", "output_tokens")
    heard.usage = (body["usage"][names[0]], body["usage"][names[1]])
    return heard


def hear_response(body: dict[str, Any]) -> Heard:
    heard = Heard()
    for item in body["output"]:
        if item["type"] == "message":
            heard.text += "".join(part["text"] for part in item["content"])
        elif item["type"] == "reasoning":
            heard.reasoning += "".join(part["text"] for part in item["summary"])
        else:
            heard.calls.append([item["call_id"], item["name"], item["arguments"]])
    heard.reason = "tool_calls" if heard.calls else "stop"
    heard.usage = (body["usage"]["input_tokens"], body["usage"]["output_tokens"])
    assert body["status"] == "completed"
    return heard


def hear_stream(client: str, answer: httpx.Response) -> Heard:
    assert answer.headers["content-type"] == "text/event-stream;charset=UTF-8"
    heard, events = Heard(), read_events(answer.text)
    if client == "openai" and events[-1] == "[DONE]":
        events.pop()
    blocks: dict[int, list[str]] = {}
    if client == "responses":
        return hear_response_stream(events)
    for event in events:
        assert isinstance(event, dict)
        if "error" in event or ("code" in event and "output" not in event):
            heard.error = event
        elif client == "anthropic":
            _hear_message_event(event, heard, blocks)
        else:
            _hear_frame(client, event, heard)
    return heard


def hear_response_stream(events: list[Any]) -> Heard:
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert len({event["response"]["id"] for event in events if "response" in event}) == 1
    heard = Heard()
    if events[-1]["type"] == "response.completed":
        heard = hear_response(events[-1]["response"])
    text = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    assert heard.text in ("", text)
    heard.text = text
    if events[-1]["type"] == "error":
        assert events[-2]["type"] == "response.failed"
        heard.error = {"error": events[-1]}
    return heard


def _hear_message_event(event: dict[str, Any], heard: Heard, blocks: dict[int, list[str]]) -> None:
    delta = event.get("delta") or {}
    if event["type"] == "content_block_start" and event["content_block"]["type"] == "tool_use":
        blocks[event["index"]] = [event["content_block"]["id"], event["content_block"]["name"], ""]
        heard.calls.append(blocks[event["index"]])
    heard.text += delta.get("text", "")
    heard.reasoning += delta.get("thinking", "")
    if "partial_json" in delta:
        blocks[event["index"]][2] += delta["partial_json"]
    if event["type"] == "message_delta":
        heard.reason = {"end_turn": "stop", "tool_use": "tool_calls"}[delta["stop_reason"]]
        counts = event.get("usage") or {"input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0}
        heard.usage = (counts["input_tokens"] + counts["cache_read_input_tokens"], counts["output_tokens"])


def _hear_frame(client: str, event: dict[str, Any], heard: Heard) -> None:
    if client == "openai" and event.get("usage"):
        heard.usage = (event["usage"]["prompt_tokens"], event["usage"]["completion_tokens"])
    if client == "dashscope" and "usage" in event:
        heard.usage = (event["usage"]["input_tokens"], event["usage"]["output_tokens"])
        assert len(event["request_id"]) == 36
    for choice in event["choices"] if client == "openai" else event["output"]["choices"]:
        delta = choice["delta"] if client == "openai" else choice["message"]
        heard.text += delta.get("content") or ""
        heard.reasoning += delta.get("reasoning_content") or ""
        for call in delta.get("tool_calls") or ():
            while len(heard.calls) <= call["index"]:
                heard.calls.append(["", "", ""])
            told = heard.calls[call["index"]]
            told[0] += call.get("id") or ""
            told[1] += call["function"].get("name") or ""
            told[2] += call["function"].get("arguments") or ""
        if choice["finish_reason"] not in (None, "null"):
            heard.reason = choice["finish_reason"]


@pytest.mark.parametrize("upstream", APIS)
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("stream", [False, True])
class TestMatrix:
    """Client API × upstream API × plain and streamed."""

    def test_text(self, crossed: Served, client: str, upstream: str, stream: bool) -> None:
        """The same words, thoughts and counts, settled as they were told."""
        script = {"text": '你好 from the  vendor\n"quoted"', "reasoning": "let me think", "cached_tokens": 4}
        answer = ask(crossed, client, f"by-{upstream}", script, stream=stream)
        assert answer.status_code == 200, answer.text
        heard = (hear_stream if stream else hear_whole)(client, answer)
        assert heard.text == script["text"]
        assert heard.reasoning.strip() == script["reasoning"]
        assert heard.reason == "stop"
        assert heard.usage == (10, 8)
        assert answer.headers["x-steelyard-target"] == f"{upstream}/there"
        receipt = read_receipt(crossed, answer)
        usage = receipt["usage"]
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == heard.usage
        assert (usage["cached_tokens"], receipt["outcome"]) == (4, "completed")

    def test_tools(self, crossed: Served, client: str, upstream: str, stream: bool) -> None:
        """Two parallel calls keep their ids, names and arguments."""
        answer = ask(crossed, client, f"by-{upstream}", {"tool_calls": 2}, stream=stream, tools=True)
        assert answer.status_code == 200, answer.text
        heard = (hear_stream if stream else hear_whole)(client, answer)
        assert [(call[0], call[1], json.loads(call[2])) for call in heard.calls] == [
            (f"call_{n}", "get_weather", {"city": f"city{n}"}) for n in range(2)
        ]
        assert heard.reason == "tool_calls"

    def test_error_before_the_first_byte(self, crossed: Served, client: str, upstream: str, stream: bool) -> None:
        """A vendor's refusal comes in the caller's envelope with its status and words."""
        answer = ask(crossed, client, f"by-{upstream}", {"status": 400}, stream=stream)
        assert answer.status_code == 400
        body = answer.json()
        assert body["request_id"] == answer.headers["x-request-id"]
        if client == "dashscope":
            assert (body["code"], body["message"]) == ("c" if upstream == client else "InvalidParameter", "scripted")
        elif client == "anthropic":
            kind = "t" if upstream == client else "invalid_request_error"
            assert (body["type"], body["error"]) == ("error", {"type": kind, "message": "scripted"})
            assert answer.headers["request-id"] == answer.headers["x-request-id"]
        else:
            codes = ("t", "c") if upstream == "openai" else ("invalid_request_error", "invalid_parameter_error")
            assert body["error"] == {"message": "scripted", "type": codes[0], "param": None, "code": codes[1]}

    def test_throttled(self, crossed: Served, client: str, upstream: str, stream: bool) -> None:
        """A 429 stays one, with its Retry-After."""
        script = {"status": 429, "headers": {"retry-after": "7"}}
        answer = ask(crossed, client, f"by-{upstream}", script, stream=stream)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")


@pytest.mark.parametrize("upstream", APIS)
@pytest.mark.parametrize("client", CLIENTS)
class TestBrokenStreams:
    """What goes wrong after the first byte."""

    def test_moderated(self, crossed: Served, client: str, upstream: str) -> None:
        """The vendor's own error event reaches the caller as its API tells it."""
        answer = ask(crossed, client, f"by-{upstream}", {"chunks": 6, "moderate_after": 3}, stream=True)
        heard = hear_stream(client, answer)
        assert heard.text == "piece0 piece1 piece2 "
        assert heard.error is not None
        assert "inappropriate" in json.dumps(heard.error)
        if client != upstream:
            told = {
                "openai": lambda e: e["error"]["code"],
                "dashscope": lambda e: e["code"],
                "anthropic": lambda e: e["error"]["type"],
                "responses": lambda e: e["error"]["code"],
            }
            expected = {
                "openai": "data_inspection_failed",
                "dashscope": "DataInspectionFailed",
                "anthropic": "invalid_request_error",
                "responses": "data_inspection_failed",
            }
            assert told[client](heard.error) == expected[client]
        assert read_receipt(crossed, answer)["outcome"] == "broken"

    @pytest.mark.parametrize(
        "script", [{"cut_at": 700}, {"no_done": True, "no_usage": True}, {"broken_json": True, "no_usage": True}]
    )
    def test_cut(self, crossed: Served, client: str, upstream: str, script: dict[str, Any]) -> None:
        """A stream that breaks off ends with an error event, never as if it were whole."""
        if client == upstream == "openai" and "broken_json" in script:
            script = {"cut_at": 900}  # where nothing is looked into, bytes pass as they are
        answer = ask(crossed, client, f"by-{upstream}", {"chunks": 12, **script}, stream=True)
        heard = hear_stream(client, answer)
        assert heard.error is not None
        assert "[DONE]" not in answer.text
        assert "message_stop" not in answer.text
        assert "response.completed" not in answer.text
        assert read_receipt(crossed, answer)["outcome"] == "broken"


def read_receipt(served: Served, answer: httpx.Response) -> dict[str, Any]:
    url = f"{served.origin}/control/v1/requests/{answer.headers['x-request-id']}/receipt"
    give_up_at = time.monotonic() + 10
    while time.monotonic() < give_up_at:
        found = httpx.get(url, headers=served.headers())
        if found.status_code == 200:
            return found.json()
        time.sleep(0.05)
    raise AssertionError(found.text)


class TestFields:
    """What a call asks on one wire, said on another."""

    def test_what_has_a_place_is_carried(self, crossed: Served, vendor: Vendor) -> None:
        """Caps, sampling, stops, tools, thinking and formats find their places."""
        schema = {"name": "w", "schema": WEATHER}
        body = {
            "model": "careful-anthropic",
            "messages": [
                {"role": "system", "content": "be brief"},
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "look"}, image("https://x.test/a.png"), image(PNG)],
                },
                {"role": "assistant", "content": None, "tool_calls": [call("c1")]},
                {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
                {"role": "user", "content": "and now?"},
            ],
            "max_completion_tokens": 55,
            "temperature": 0.5,
            "top_k": 7,
            "seed": 3,
            "stop": "END",
            "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": WEATHER}}],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
            "parallel_tool_calls": False,
            "response_format": {"type": "json_schema", "json_schema": schema},
            "user": "somebody",
        }
        answer = httpx.post(f"{crossed.origin}/v1/chat/completions", json=body, headers=crossed.headers())
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-steelyard-dropped"] == "seed"
        seen = last_seen(vendor, "/v1/messages")
        assert seen["headers"]["x-api-key"] == "vendor-secret"
        assert seen["headers"]["anthropic-version"] == "2023-06-01"
        assert "authorization" not in seen["headers"]
        assert seen["body"] == {
            "model": "there",
            "max_tokens": 55,
            "system": [{"type": "text", "text": "be brief"}],
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "look"},
                        {"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}},
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}},
                    ],
                },
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "c1", "name": "f", "input": {"city": "x"}}],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "sunny"}]},
                        {"type": "text", "text": "and now?"},
                    ],
                },
            ],
            "tools": [{"name": "f", "description": "d", "input_schema": WEATHER}],
            "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
            "stop_sequences": ["END"],
            "temperature": 0.5,
            "top_k": 7,
            "output_config": {"format": {"type": "json_schema", "schema": WEATHER}},
        }

    def test_messages_on_the_native_wire(self, crossed: Served, vendor: Vendor) -> None:
        """An Anthropic call becomes a native one; media go to the multimodal service."""
        body: dict[str, Any] = {
            "model": "careful-dashscope",
            "max_tokens": 20,
            "system": "be brief",
            "messages": [{"role": "user", "content": "hi"}],
            "thinking": {"type": "enabled", "budget_tokens": 1024},
            "stop_sequences": ["END"],
            "tool_choice": {"type": "any"},
            "tools": [{"name": "f", "input_schema": WEATHER}],
        }
        answer = httpx.post(f"{crossed.origin}/v1/messages", json=body, headers=crossed.headers())
        assert answer.status_code == 200, answer.text
        seen = last_seen(vendor, "/text-generation/generation")
        assert "x-dashscope-sse" not in seen["headers"]
        assert seen["headers"]["authorization"] == "Bearer vendor-secret"
        assert seen["body"]["input"] == {
            "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
        }
        assert seen["body"]["parameters"] == {
            "result_format": "message",
            "enable_thinking": True,
            "thinking_budget": 1024,
            "tools": [{"type": "function", "function": {"name": "f", "description": "", "parameters": WEATHER}}],
            "tool_choice": "required",
            "stop": ["END"],
            "max_tokens": 20,
        }
        source = {"type": "base64", "media_type": "image/png", "data": "QUJD"}
        body["messages"] = [
            {"role": "user", "content": [{"type": "image", "source": source}, {"type": "text", "text": "?"}]}
        ]
        assert httpx.post(f"{crossed.origin}/v1/messages", json=body, headers=crossed.headers()).status_code == 200
        seen = last_seen(vendor, "/multimodal-generation/generation")
        assert seen["body"]["input"]["messages"][1]["content"] == [{"image": PNG}, {"text": "?"}]

    @pytest.mark.parametrize(
        ("field", "value"),
        [("n", 2), ("logprobs", True), ("response_format", {"type": "json_object"}), ("enable_search", True)],
    )
    def test_what_changes_the_answer_is_refused(self, crossed: Served, field: str, value: Any) -> None:
        """Not dropped behind the caller's back; the refusal names the field."""
        body = {"model": "careful-anthropic", "messages": [{"role": "user", "content": "json"}], field: value}
        answer = httpx.post(f"{crossed.origin}/v1/chat/completions", json=body, headers=crossed.headers())
        assert answer.status_code == 400
        assert f"no place for `{field}`" in answer.json()["error"]["message"]

    def test_a_route_decides(self, crossed: Served, vendor: Vendor) -> None:
        """`refuse` refuses hints too, `drop` drops all, `pass` passes all."""
        body = {
            "messages": [{"role": "user", "content": "json"}],
            "seed": 1,
            "response_format": {"type": "json_object"},
        }

        def ask_mode(mode: str) -> httpx.Response:
            model = {"pass": "by-anthropic"}.get(mode, f"{mode}-anthropic")
            return httpx.post(
                f"{crossed.origin}/v1/chat/completions", json={**body, "model": model}, headers=crossed.headers()
            )

        assert "`response_format`" in ask_mode("refuse").text
        del body["response_format"]
        assert "`seed`" in ask_mode("refuse").text
        body["response_format"] = {"type": "json_object"}
        answer = ask_mode("drop")
        assert (answer.status_code, answer.headers["x-steelyard-dropped"]) == (200, "seed")
        assert "seed" not in last_seen(vendor, "/v1/messages")["body"]
        answer = ask_mode("pass")
        assert (answer.status_code, "x-steelyard-dropped" in answer.headers) == (200, False)
        assert last_seen(vendor, "/v1/messages")["body"]["seed"] == 1

    def test_same_api_passes_untouched(self, crossed: Served, vendor: Vendor) -> None:
        """Unknown fields of calls and answers survive; only the model's name and the id are ours."""
        for client, path in (("dashscope", "/generation"), ("anthropic", "/v1/messages")):
            url, body = CALLS[client](f"careful-{client}", {}, tools=False)
            body["something_new"] = {"deep": [1]}
            answer = httpx.post(crossed.origin + url, json=body, headers=crossed.headers())
            assert answer.status_code == 200
            assert last_seen(vendor, path)["body"] == {**body, "model": "there"}
            assert '"vendor_extra":1' in answer.text.replace(" ", "")
            told = answer.json()
            if client == "dashscope":
                assert told["request_id"] == answer.headers["x-request-id"]
            else:
                assert told["model"] == "careful-anthropic"


PNG = "data:image/png;base64,QUJD"


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def call(name: str) -> dict[str, Any]:
    return {"id": name, "type": "function", "function": {"name": "f", "arguments": '{"city": "x"}'}}


def last_seen(vendor: Vendor, path: str) -> dict[str, Any]:
    return next(one for one in reversed(vendor.seen()["calls"]) if one["path"].endswith(path))


class TestNativeAnswers:
    """The forms that the native API has of one answer."""

    def stream(
        self, crossed: Served, parameters: dict[str, Any], service: str = "text-generation", model: str = "by-openai"
    ) -> list[Any]:
        body = {"model": model, "input": {"prompt": "hi"}, "parameters": {"script": {"text": "a b c"}, **parameters}}
        answer = httpx.post(
            f"{crossed.origin}/api/v1/services/aigc/{service}/generation",
            json=body,
            headers={**crossed.headers(), "X-DashScope-SSE": "enable"},
        )
        frames = [frame.split("\n") for frame in answer.text.split("\n\n") if frame]
        assert [frame[0] for frame in frames] == [f"id:{n + 1}" for n in range(len(frames))]
        assert {tuple(frame[1:3]) for frame in frames} == {("event:result", ":HTTP_STATUS/200")}
        return read_events(answer.text)

    def test_texts_grow_unless_increments_are_asked(self, crossed: Served) -> None:
        """`incremental_output` decides; the last frame tells why it ended."""
        grown = self.stream(crossed, {"result_format": "text"})
        assert [one["output"] for one in grown] == [
            {"text": "a ", "finish_reason": "null"},
            {"text": "a b ", "finish_reason": "null"},
            {"text": "a b c", "finish_reason": "null"},
            {"text": "a b c", "finish_reason": "stop"},
        ]
        parts = self.stream(crossed, {"result_format": "text", "incremental_output": True})
        assert [one["output"]["text"] for one in parts] == ["a ", "b ", "c", ""]
        assert [one["usage"]["output_tokens"] for one in parts] == [1, 2, 3, 3]

    def test_messages_and_lists(self, crossed: Served) -> None:
        """Text-generation tells texts, multimodal-generation lists, always with a role."""
        told = self.stream(crossed, {"result_format": "message"})
        assert told[-1]["output"]["choices"] == [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "a b c"}}
        ]
        told = self.stream(crossed, {}, service="multimodal-generation")
        assert told[-1]["output"]["choices"][0]["message"] == {"role": "assistant", "content": [{"text": "a b c"}]}

    @pytest.mark.parametrize(
        ("body", "code", "message"),
        [
            ({"input": {"prompt": "x"}}, "BadRequest.EmptyModel", 'Required parameter "model" missing from request.'),
            ({"model": "by-openai"}, "BadRequest.EmptyInput", "Required input parameter missing from request."),
            (
                {"model": "by-openai", "input": {}},
                "InvalidParameter",
                'Either "prompt" or "messages" must exist and cannot both be none',
            ),
            (
                {"model": "by-openai", "input": {"prompt": "x"}, "parameters": {"seed": -1}},
                "InvalidParameter",
                "Range of seed should be [0, 9223372036854775807]",
            ),
            (
                {"model": "nobody", "input": {"prompt": "x"}},
                "ModelNotFound",
                "The model `nobody` does not exist or you do not have access to it.",
            ),
        ],
    )
    def test_refusals(self, crossed: Served, body: dict[str, Any], code: str, message: str) -> None:
        """The flat envelope, with the native texts."""
        url = f"{crossed.origin}/api/v1/services/aigc/text-generation/generation"
        answer = httpx.post(url, json=body, headers=crossed.headers())
        told = answer.json()
        assert (told["code"], told["message"], told["request_id"]) == (code, message, answer.headers["x-request-id"])

    def test_no_tasks_here(self, crossed: Served) -> None:
        """`X-DashScope-Async` on a service without tasks."""
        url = f"{crossed.origin}/api/v1/services/aigc/text-generation/generation"
        headers = {**crossed.headers(), "X-DashScope-Async": "enable"}
        answer = httpx.post(url, json={"model": "by-openai", "input": {"prompt": "x"}}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "AccessDenied")
        assert answer.json()["message"] == "Current user api does not support asynchronous calls."
