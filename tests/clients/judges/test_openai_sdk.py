"""The acceptance list of the wire reference, numbered as there, with the unmodified openai SDK. Vendor behaviour is scripted."""

import base64
import io
import json
import time
from pathlib import Path
from typing import Any, cast

import av
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from PIL import Image
from pydantic import BaseModel

from conftest import TARGETS, client_for

HI: Any = [{"role": "user", "content": "hi"}]
#: A purpose that the vendor has and OpenAI has not.
EXTRACT: Any = "file-extract"


def scripted(**script: Any) -> dict[str, Any]:
    return {"script": script}


@pytest.mark.parametrize("prefix", ["/v1", "/compatible-mode/v1"])
def test_01_02_plain_call(prefix: str) -> None:
    raw = client_for("served", prefix).chat.completions.with_raw_response.create(model="fake", messages=HI)
    answer = raw.parse()
    assert answer.choices[0].message.content == "Hello from the fake vendor"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer._request_id == raw.headers["x-request-id"]


def test_03_04_extra_fields(fake: OpenAI) -> None:
    answer = fake.chat.completions.create(
        model="fake", messages=HI, stream=False, extra_body={"enable_thinking": False, "top_k": 5, "foo": 1}
    )
    assert answer.choices


def test_05_no_key() -> None:
    origin = TARGETS["served"]["origin"]
    client = OpenAI(base_url=origin + "/v1", api_key="x", default_headers={"Authorization": ""}, max_retries=0)
    with pytest.raises(openai.AuthenticationError) as caught:
        client.chat.completions.create(model="fake", messages=HI)
    assert caught.value.code is None
    assert caught.value.response.json()["request_id"] == caught.value.request_id


def test_06_wrong_key_is_tried_once() -> None:
    client = client_for("served").with_options(api_key="sk-wrong")
    with pytest.raises(openai.AuthenticationError) as caught:
        client.chat.completions.create(model="fake", messages=HI)
    assert caught.value.code == "invalid_api_key"
    assert caught.value.request.headers["x-stainless-retry-count"] == "0"


def test_07_to_10_refusals(fake: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"you must provide a model parameter\."):
        fake.chat.completions.create(model=None, messages=HI)  # type: ignore[arg-type]
    with pytest.raises(openai.BadRequestError, match="'temperature' must be Float"):
        fake.chat.completions.create(model="fake", messages=HI, temperature="hot")  # type: ignore[arg-type]
    with pytest.raises(openai.BadRequestError, match=r"Temperature should be in \[0.0, 2.0\)"):
        fake.chat.completions.create(model="fake", messages=HI, temperature=2.0)
    assert fake.chat.completions.create(model="fake", messages=HI, temperature=1).choices
    with pytest.raises(openai.BadRequestError):
        fake.chat.completions.create(model="fake", messages=[])
    with pytest.raises(openai.NotFoundError) as caught:
        fake.chat.completions.create(model="no-such-model", messages=HI)
    assert caught.value.code == "model_not_found"


def test_11_12_13_streams(fake: OpenAI) -> None:
    chunks = list(fake.chat.completions.create(model="fake", messages=HI, stream=True))
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert [chunk.choices[0].finish_reason for chunk in chunks].count("stop") == 1
    chunks = list(
        fake.chat.completions.create(model="fake", messages=HI, stream=True, stream_options={"include_usage": True})
    )
    assert chunks[-1].choices == []
    whole = fake.chat.completions.create(model="fake", messages=HI)
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens


def test_12_real_stream_totals_equal_plain(real: OpenAI) -> None:
    asked: Any = {"model": "qwen-plus", "messages": HI, "max_tokens": 12, "seed": 7, "temperature": 0}
    plain = real.chat.completions.create(**asked)
    chunks = list(real.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == plain.usage.completion_tokens
    assert chunks[-1].usage.prompt_tokens == plain.usage.prompt_tokens
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert text == plain.choices[0].message.content


def test_14_stream_helper(fake: OpenAI) -> None:
    with fake.chat.completions.stream(model="fake", messages=HI) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "Hello from the fake vendor"


@pytest.mark.parametrize("is_stream", [False, True])
def test_15_reasoning(fake: OpenAI, is_stream: bool) -> None:
    body = scripted(reasoning="think about it")
    if not is_stream:
        answer = fake.chat.completions.create(model="fake", messages=HI, extra_body=body)
        assert answer.choices[0].message.reasoning_content == "think about it"
        assert answer.usage.completion_tokens_details.reasoning_tokens == 3
        return
    kinds = []
    for chunk in fake.chat.completions.create(model="fake", messages=HI, stream=True, extra_body=body):
        delta = chunk.choices[0].delta
        if getattr(delta, "reasoning_content", None):
            kinds.append("reasoning")
        elif delta.content:
            kinds.append("content")
    assert kinds == sorted(kinds, reverse=True)
    assert kinds[0] == "reasoning"


WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
ASK_WEATHER: Any = [{"role": "user", "content": "What is the weather in Hangzhou?"}]


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_16_19_real_tool_call(real: OpenAI, choice: Any) -> None:
    import json

    answer = real.chat.completions.create(
        model="qwen-plus", messages=ASK_WEATHER, tools=[WEATHER], tool_choice=choice, max_tokens=64, seed=1
    )
    assert answer.choices[0].finish_reason == "tool_calls"
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "get_weather"
    assert "city" in json.loads(call.function.arguments)


def test_16_real_tool_call_streamed(real: OpenAI) -> None:
    with real.chat.completions.stream(
        model="qwen-plus", messages=ASK_WEATHER, tools=[WEATHER], tool_choice="required", max_tokens=64, seed=1
    ) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].finish_reason == "tool_calls"
    assert final.choices[0].message.tool_calls[0].function.name == "get_weather"


def test_17_parallel_tools_streamed(fake: OpenAI) -> None:
    body = scripted(tool_calls=2)
    plain = fake.chat.completions.create(model="fake", messages=HI, tools=[WEATHER], extra_body=body)
    with fake.chat.completions.stream(model="fake", messages=HI, tools=[WEATHER], extra_body=body) as stream:
        final = stream.get_final_completion()
    calls = final.choices[0].message.tool_calls
    assert [call.id for call in calls] == ["call_0", "call_1"]
    told = [(call.function.name, call.function.arguments) for call in calls]
    assert told == [(call.function.name, call.function.arguments) for call in plain.choices[0].message.tool_calls]


def test_18_tool_round_trip(real: OpenAI, fake: OpenAI) -> None:
    history: Any = [
        *ASK_WEATHER,
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": '{"city": "Hangzhou"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "31 degrees, sunny"},
    ]
    asked: Any = {"model": "qwen-plus", "messages": history, "tools": [WEATHER], "max_tokens": 40, "seed": 1}
    assert real.chat.completions.create(**asked).choices[0].finish_reason
    assert real.chat.completions.create(**asked, tool_choice="none").choices[0].message.content
    with pytest.raises(openai.BadRequestError, match="preceeding"):
        fake.chat.completions.create(model="fake", messages=[*ASK_WEATHER, history[-1]])


def test_19_tool_choice_none(real: OpenAI) -> None:
    answer = real.chat.completions.create(
        model="qwen-plus", messages=HI, tools=[WEATHER], tool_choice="none", max_tokens=8
    )
    assert not answer.choices[0].message.tool_calls


class City(BaseModel):
    name: str
    population: int


def test_20_structured_output(real: OpenAI, fake: OpenAI) -> None:
    answer = real.chat.completions.parse(
        model="qwen-plus",
        messages=[{"role": "user", "content": "Tell me about Hangzhou as JSON."}],
        response_format=City,
        max_tokens=100,
        seed=3,
    )
    assert isinstance(answer.choices[0].message.parsed, City)
    with pytest.raises(openai.BadRequestError, match="must contain the word 'json'"):
        fake.chat.completions.create(model="fake", messages=HI, response_format={"type": "json_object"})


def test_21_n(real: OpenAI) -> None:
    answer = real.chat.completions.create(model="qwen-plus", messages=HI, n=2, max_tokens=6, seed=5)
    assert [choice.index for choice in answer.choices] == [0, 1]
    with pytest.raises(openai.BadRequestError, match="Range of n"):
        real.chat.completions.create(model="qwen-plus", messages=HI, n=5)
    with pytest.raises(openai.BadRequestError, match="n parameter must be 1"):
        real.chat.completions.create(model="qwen-plus", messages=HI, n=2, tools=[WEATHER])


def test_22_seed_stop_max_tokens(real: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        real.chat.completions.create(model="qwen-plus", messages=HI, seed=-1)
    assert caught.value.code == "invalid_value"
    cut = real.chat.completions.create(model="qwen-plus", messages=HI, max_tokens=1)
    assert (cut.choices[0].finish_reason, cut.usage.completion_tokens) == ("length", 1)
    count: Any = [{"role": "user", "content": "Count: 1, 2, 3, 4, 5, 6. Repeat exactly that."}]
    for stop in ("4", ["4", "zzz"]):
        answer = real.chat.completions.create(
            model="qwen-plus", messages=count, stop=stop, max_tokens=40, temperature=0
        )
        assert "4" not in answer.choices[0].message.content
        assert answer.choices[0].finish_reason == "stop"
    twice = [
        real.chat.completions.create(model="qwen-plus", messages=HI, seed=11, max_tokens=8).choices[0].message.content
        for _ in range(2)
    ]
    assert twice[0] == twice[1]


def test_23_logprobs(real: OpenAI) -> None:
    answer = real.chat.completions.create(model="qwen-plus", messages=HI, logprobs=True, top_logprobs=3, max_tokens=3)
    content = answer.choices[0].logprobs.content
    assert len(content) == answer.usage.completion_tokens
    assert len(content[0].top_logprobs) == 3
    assert content[0].bytes == list(content[0].token.encode())


def test_24_images(fake: OpenAI, real: OpenAI) -> None:
    def message(url: str) -> Any:
        return [
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "?"}],
            }
        ]

    for url in ("data:image/png;base64,iVBORw0KGgo=", "https://example.com/a.png"):
        answer = fake.chat.completions.create(
            model="fake", messages=message(url), extra_body=scripted(vision_echo=True)
        )
        assert url[:40] in answer.choices[0].message.content
    with pytest.raises(openai.BadRequestError, match="data-uri"):
        fake.chat.completions.create(model="fake", messages=message("data:image/png;base64," + "A" * 11_000_000))
    with pytest.raises(openai.BadRequestError, match="input content must be a string"):
        real.chat.completions.create(model="qwen-plus", messages=message("https://example.com/a.png"))


def test_25_cache_control(fake: OpenAI) -> None:
    part = {"type": "text", "text": "long " * 1100, "cache_control": {"type": "ephemeral"}}
    messages: Any = [{"role": "user", "content": [part]}]
    body = scripted(sequence=[{"cache_creation": 1100}, {"cached_tokens": 1100}], sequence_id=f"cache{time.time()}")
    first = fake.chat.completions.create(model="fake", messages=messages, extra_body=body)
    second = fake.chat.completions.create(model="fake", messages=messages, extra_body=body)
    assert first.usage.prompt_tokens_details.cache_creation_input_tokens == 1100
    assert second.usage.prompt_tokens_details.cached_tokens == 1100


def test_27_moderation_in_the_stream(fake: OpenAI) -> None:
    with pytest.raises(openai.APIError) as caught:
        list(
            fake.chat.completions.create(
                model="fake", messages=HI, stream=True, extra_body=scripted(chunks=9, moderate_after=3)
            )
        )
    assert caught.value.code == "data_inspection_failed"


def attempts(caught: Any) -> int:
    return int(caught.value.request.headers["x-stainless-retry-count"]) + 1


@pytest.mark.parametrize(
    ("headers", "expected"),
    [({"retry-after": "1"}, 3), ({"x-should-retry": "false"}, 1), ({"retry-after": "121"}, 1)],
)
def test_28_rate_limits(fake: OpenAI, headers: dict[str, str], expected: int) -> None:
    began = time.monotonic()
    with pytest.raises(openai.RateLimitError) as caught:
        fake.chat.completions.create(model="fake", messages=HI, extra_body=scripted(status=429, headers=headers))
    assert attempts(caught) == expected
    if expected == 3:
        assert 1.8 < time.monotonic() - began < 4


def test_29_retry_after_a_server_error(fake: OpenAI) -> None:
    body = scripted(sequence=[{"status": 500}, {"text": "back again"}], sequence_id=f"retry{time.time()}")
    raw = fake.chat.completions.with_raw_response.create(model="fake", messages=HI, extra_body=body)
    assert raw.parse().choices[0].message.content == "back again"
    assert raw.http_request.headers["x-stainless-retry-count"] == "1"


def test_33_models(fake: OpenAI, real: OpenAI) -> None:
    assert {"fake", "priced"} <= {model.id for model in fake.models.list()}
    assert real.models.retrieve("qwen-plus").owned_by == "local"
    with pytest.raises(openai.NotFoundError):
        fake.models.retrieve("no/such")


def test_completions(real: OpenAI) -> None:
    answer = real.completions.create(model="qwen-coder-turbo", prompt="def add(a, b):", max_tokens=16, temperature=0)
    assert "return" in answer.choices[0].text
    chunks = list(
        real.completions.create(
            model="qwen-coder-turbo", prompt="def add(a, b):", max_tokens=16, temperature=0, stream=True
        )
    )
    assert "".join(chunk.choices[0].text for chunk in chunks) == answer.choices[0].text


async def test_async_client(fake_async: AsyncOpenAI) -> None:
    async with fake_async as client:
        answer = await client.chat.completions.create(model="fake", messages=HI)
        assert answer.choices[0].message.content == "Hello from the fake vendor"
        stream = await client.chat.completions.create(model="fake", messages=HI, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        assert text == "Hello from the fake vendor"


def test_30_31_32_embeddings(fake: OpenAI) -> None:
    """Default (base64), float and dimensions: the same numbers; token ids are refused with the vendor's text."""
    texts = ["one two", "three"]
    default = fake.embeddings.create(model="fake", input=texts, dimensions=16)
    floats = fake.embeddings.create(model="fake", input=texts, dimensions=16, encoding_format="float")
    assert [one.embedding for one in default.data] == [one.embedding for one in floats.data]
    assert [(one.index, len(one.embedding)) for one in default.data] == [(0, 16), (1, 16)]
    assert default.usage.prompt_tokens == 3
    crossed = fake.embeddings.create(model="fake-native", input=texts, dimensions=16)
    assert [one.embedding for one in crossed.data] == [one.embedding for one in floats.data]
    with pytest.raises(openai.BadRequestError, match="contents is neither str nor list of str"):
        fake.embeddings.create(model="fake", input=[1, 2, 3])
    with pytest.raises(openai.BadRequestError, match="should not be larger than 2048"):
        fake.embeddings.create(model="fake", input=["x"] * 2049)


def test_30_real_embeddings(real: OpenAI) -> None:
    """The embedded model, asked for by the vendor's name."""
    answer = real.embeddings.create(model="text-embedding-v4", input=["天平", "scales"])
    assert [len(one.embedding) for one in answer.data] == [384, 384]
    with pytest.raises(openai.BadRequestError, match="384 dimensions and no others"):
        real.embeddings.create(model="text-embedding-v4", input="x", dimensions=1024)


def weather(**more: Any) -> Any:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    return {"type": "function", "name": "get_weather", "parameters": parameters, **more}


@pytest.mark.parametrize("model", ["fake", "fake-native", "fake-messages"])
def test_36_responses(fake: OpenAI, model: str) -> None:
    """String input, the helper's stream, tools and their outputs, and going on from an earlier response."""
    answer = fake.responses.create(model=model, input="hi", instructions="be brief")
    assert answer.output_text == "Hello from the fake vendor"
    assert (answer.status, answer.usage.total_tokens) == ("completed", 15)
    with fake.responses.stream(model=model, input="hi", extra_body=scripted(reasoning="let me think")) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert final.output_text == answer.output_text
    assert final.output[0].summary[0].text.strip() == "let me think"
    called = fake.responses.create(model=model, input="hi", tools=[weather()], extra_body=scripted(tool_calls=2))
    calls = [item for item in called.output if item.type == "function_call"]
    assert [(one.call_id, one.name) for one in calls] == [("call_0", "get_weather"), ("call_1", "get_weather")]
    results = [{"type": "function_call_output", "call_id": one.call_id, "output": "sunny"} for one in calls]
    gone_on = fake.responses.create(model=model, input=results, tools=[weather()], previous_response_id=called.id)
    assert gone_on.output_text == answer.output_text
    assert gone_on.previous_response_id == called.id


def test_36_stored_responses(fake: OpenAI) -> None:
    """Retrieved as they were told, listed, deleted; a failed run is a failed response."""
    first = fake.responses.create(model="fake", input="my name is Ada", metadata={"a": "b"})
    again = fake.responses.retrieve(first.id)
    assert (again.output_text, again.metadata) == (first.output_text, {"a": "b"})
    second = fake.responses.create(model="fake", input="what is my name", previous_response_id=first.id)
    items = fake.responses.input_items.list(second.id, order="asc").data
    assert [item.role for item in items] == ["user", "assistant", "user"]
    fake.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        fake.responses.retrieve(first.id)
    with pytest.raises(openai.NotFoundError, match="not found"):
        fake.responses.create(model="fake", input="x", previous_response_id=first.id)
    unkept = fake.responses.create(model="fake", input="x", store=False)
    with pytest.raises(openai.NotFoundError):
        fake.responses.retrieve(unkept.id)
    with fake.responses.stream(model="fake", input="hi", extra_body=scripted(chunks=6, moderate_after=2)) as stream:
        kinds = [event.type for event in stream]
    assert kinds[-2:] == ["response.failed", "error"]


def test_36_structured_and_refused(fake: OpenAI) -> None:
    """`text.format` reaches the model; what is not served is named."""

    class Place(BaseModel):
        city: str

    parsed = fake.responses.parse(
        model="fake", input="where", text_format=Place, extra_body=scripted(text='{"city": "Hangzhou"}')
    )
    assert parsed.output_parsed.city == "Hangzhou"
    for fields, part in (
        ({"tools": [{"type": "web_search"}]}, "built-in tool 'web_search'"),
        ({"background": True}, "`background`"),
        ({"input": [{"type": "function_call_output", "call_id": "x", "output": "y"}]}, "preceeding message"),
        ({"max_output_tokens": 0}, "Range of max_tokens"),
    ):
        with pytest.raises(openai.BadRequestError, match=part):
            fake.responses.create(**{"model": "fake", "input": "x", **fields})
    cut = fake.responses.create(model="fake", input="x", max_output_tokens=2, extra_body=scripted(chunks=9))
    assert cut.usage.output_tokens == 2


def test_36_real_model_remembers(real: OpenAI) -> None:
    """The embedded model sees the conversation so far."""
    first = real.responses.create(
        model="qwen-plus", input="The password is heron. Say ok.", max_output_tokens=12, temperature=0
    )
    second = real.responses.create(
        model="qwen-plus",
        input="What is the password? One word.",
        previous_response_id=first.id,
        max_output_tokens=16,
        temperature=0,
    )
    assert second.usage.input_tokens > first.usage.input_tokens + 10
    assert "heron" in second.output_text.lower()


@pytest.mark.parametrize("model", ["fake", "fake-native", "fake-messages"])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (502, openai.InternalServerError),
        (503, openai.InternalServerError),
        (504, openai.InternalServerError),
    ],
)
def test_statuses_raise_their_classes(fake: OpenAI, model: str, status: int, kind: type[Exception]) -> None:
    """Whatever API the vendor behind it speaks."""
    quick = fake.with_options(max_retries=0)
    with pytest.raises(kind) as caught:
        quick.chat.completions.create(model=model, messages=HI, extra_body=scripted(status=status))
    assert caught.value.request_id
    assert caught.value.message


def test_files(fake: OpenAI) -> None:
    """Check 34: uploaded, listed by pages, told again byte by byte, deleted."""
    data = bytes(range(256)) * 40
    made = [fake.files.create(file=(f"doc-{n}.txt", data), purpose=EXTRACT) for n in range(5)]
    assert all(one.id.startswith("file-fe-") and one.bytes == len(data) and one.status == "processed" for one in made)
    page = fake.files.list(limit=2, purpose="file-extract")
    assert page.has_more
    found = [one.id for one in page]
    assert [one for one in found if one in {m.id for m in made}] == [one.id for one in reversed(made)]
    assert fake.files.retrieve(made[0].id).filename == "doc-0.txt"
    assert fake.files.content(made[0].id).read() == data
    for one in made:
        assert fake.files.delete(one.id).deleted
    with pytest.raises(openai.NotFoundError):
        fake.files.retrieve(made[0].id)


def test_file_refusals(fake: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="purpose"):
        fake.files.create(file=("a.txt", b"x"), purpose="fine-tune")
    with pytest.raises(openai.APIStatusError) as refused:
        fake.files.create(file=("a.exe", b"x"), purpose=EXTRACT)
    assert refused.value.status_code == 415


def run_batch(client: OpenAI, lines: list[dict[str, Any]], endpoint: Any = "/v1/chat/completions") -> Any:
    data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    file = client.files.create(file=("calls.jsonl", data), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id, endpoint=endpoint, completion_window="24h", metadata={"ds_name": "judge"}
    )
    assert batch.status in ("validating", "in_progress", "completed")
    for _ in range(200):
        if batch.status in ("completed", "failed", "expired", "cancelled"):
            return batch
        time.sleep(0.1)
        batch = client.batches.retrieve(batch.id)
    raise AssertionError(batch)


def line_of(custom_id: str, model: str = "fake", **more: Any) -> dict[str, Any]:
    return {
        "custom_id": custom_id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": model, "messages": HI, **more},
    }


def test_batch(fake: OpenAI) -> None:
    """Check 35: really answered, with the wrong lines in a file of their own."""
    lines = [line_of(f"call-{n}") for n in range(230)] + [line_of("hot", temperature="hot")]
    batch = run_batch(fake, lines)
    assert (batch.status, batch.request_counts.total) == ("completed", 231)
    assert (batch.request_counts.completed, batch.request_counts.failed) == (230, 1)
    rows = [json.loads(row) for row in fake.files.content(batch.output_file_id).text.splitlines()]
    assert {row["custom_id"] for row in rows} == {f"call-{n}" for n in range(230)}
    assert rows[0]["response"]["body"]["choices"][0]["message"]["content"] == "Hello from the fake vendor"
    (wrong,) = [json.loads(row) for row in fake.files.content(batch.error_file_id).text.splitlines()]
    assert (wrong["custom_id"], wrong["response"]["status_code"]) == ("hot", 400)
    assert "temperature" in wrong["error"]["message"]
    assert batch.id in [one.id for one in fake.batches.list(limit=5)]
    assert fake.batches.cancel(batch.id).status == "completed"


def test_batch_faults(fake: OpenAI) -> None:
    """What is wrong with a file is told with its line, and nothing of it is called."""
    batch = run_batch(fake, [line_of("a"), line_of("a"), line_of("b", "priced"), {"custom_id": "c"}])
    assert batch.status == "failed"
    found = {(one.code, one.line) for one in batch.errors.data}
    assert {("duplicate_custom_id", 2), ("mismatched_model", 3), ("invalid_request", 4)} <= found
    assert "The custom_id 'a' for this request is a duplicate" in str(batch.errors.data)


def test_batch_refusals(fake: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        fake.batches.create(input_file_id="file-batch-none", endpoint="/v1/chat/completions", completion_window="24h")
    with pytest.raises(openai.NotFoundError):
        fake.batches.retrieve("batch_none")
    window: Any = "1h"
    with pytest.raises(openai.BadRequestError, match="completion_window"):
        fake.batches.create(input_file_id="x", endpoint="/v1/chat/completions", completion_window=window)


def test_images(fake: OpenAI) -> None:
    """Made while the caller waits: as bytes, or behind a link."""
    made = fake.images.generate(model="local/poster", prompt="a kite", size="512x512", n=2, response_format="b64_json")
    assert made.data is not None
    assert len(made.data) == 2
    for one in made.data:
        picture = Image.open(io.BytesIO(base64.b64decode(one.b64_json or "")))
        assert picture.size == (512, 512)
    linked = fake.images.generate(model="local/poster", prompt="a kite", size="512x512")
    assert linked.data is not None
    assert (linked.data[0].url or "").startswith(TARGETS["served"]["origin"] + "/o/")
    png = base64.b64decode(made.data[0].b64_json or "")
    edited = fake.images.edit(
        model="local/poster", image=("in.png", png, "image/png"), prompt="at night", size="512x512"
    )
    assert edited.data
    with pytest.raises(openai.BadRequestError, match="size"):
        fake.images.generate(model="local/poster", prompt="x", size=cast(Any, "9x9"))
    with pytest.raises(openai.NotFoundError):
        fake.images.generate(model="no-such-model", prompt="x")


def test_videos(fake: OpenAI, tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (320, 240), (30, 80, 120)).save(file, "PNG")
    size: Any = "320x240"
    video = fake.videos.create(
        model="local/camera-motion", prompt="pan right", seconds=cast(Any, "1"), size=size,
        input_reference=("first.png", file.getvalue(), "image/png"),
    )  # fmt: skip
    assert video.status in ("queued", "in_progress", "completed")
    done = fake.videos.poll(video.id, poll_interval_ms=200)
    assert (done.status, done.size, done.seconds, done.progress) == ("completed", "320x240", "1", 100)
    path = tmp_path / "film.mp4"
    fake.videos.download_content(video.id).write_to_file(path)
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 320, 240)
    assert video.id in [one.id for one in fake.videos.list(limit=5)]
    assert fake.videos.delete(video.id).deleted
