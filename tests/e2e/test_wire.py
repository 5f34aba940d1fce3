"""The OpenAI-compatible wire against a running server, by plain HTTP."""

import httpx
import pytest

from installation import Served, read_events

HI = [{"role": "user", "content": "hi"}]


def post(served: Served, body: object, *, path: str = "/v1/chat/completions", **headers: str) -> httpx.Response:
    return httpx.post(served.origin + path, json=body, headers={**served.headers(), **headers}, timeout=30)


def chat(served: Served, **fields: object) -> httpx.Response:
    return post(served, {"model": "fake", "messages": HI, **fields})


@pytest.mark.parametrize("prefix", ["/v1", "/compatible-mode/v1"])
def test_plain_call_answers_on_both_prefixes(served: Served, prefix: str) -> None:
    """A plain call passes the vendor's body on, unknown fields included, with our headers."""
    answer = post(served, {"model": "fake", "messages": HI, "foo": 1}, path=prefix + "/chat/completions")
    body = answer.json()
    assert answer.status_code == 200
    assert body["choices"][0]["message"]["content"] == "Hello from the fake vendor"
    assert body["vendor_extra"] == 1
    assert answer.headers["x-steelyard-target"] == "fake/fake"
    assert answer.headers["x-steelyard-attempts"] == "1"
    assert len(answer.headers["x-request-id"]) == 36


def test_stream_without_include_usage_has_no_usage_frame(served: Served) -> None:
    """Usage is asked of the vendor always, and hidden from a client that did not ask."""
    events = read_events(chat(served, stream=True).text)
    assert events[-1] == "[DONE]"
    assert all(event["choices"] for event in events[:-1])
    assert all(event["usage"] is None for event in events[:-1])


def test_stream_with_include_usage_ends_with_the_usage_frame(served: Served) -> None:
    """The last frame has no choices and the totals."""
    events = read_events(chat(served, stream=True, stream_options={"include_usage": True}).text)
    assert events[-1] == "[DONE]"
    assert events[-2]["choices"] == []
    assert events[-2]["usage"]["prompt_tokens"] == 10


def test_model_name_is_spliced_both_ways(served: Served, vendor) -> None:
    """An alias reaches the vendor under its name and comes back under the caller's."""
    answer = post(served, {"model": "priced-alias", "messages": HI})
    assert answer.json()["model"] == "priced-alias"
    assert vendor.seen()["calls"][-1]["body"]["model"] == "vendor-model"
    events = read_events(post(served, {"model": "priced-alias", "messages": HI, "stream": True}).text)
    assert {event["model"] for event in events[:-1]} == {"priced-alias"}


def test_completions(served: Served) -> None:
    """The legacy operation, plain and streamed; a list of one prompt counts as that prompt."""
    plain = post(served, {"model": "fake", "prompt": ["x"]}, path="/v1/completions").json()
    assert plain["object"] == "text_completion"
    events = read_events(post(served, {"model": "fake", "prompt": "x", "stream": True}, path="/v1/completions").text)
    assert "".join(event["choices"][0]["text"] for event in events[:-1]) == plain["choices"][0]["text"]


REFUSED = [
    ({"messages": HI}, 400, None, "you must provide a model parameter."),
    ({"model": "fake", "messages": []}, 400, "invalid_parameter_error", "[] is too short - 'messages'"),
    ({"model": "nope", "messages": HI}, 404, "model_not_found", "The model `nope` does not exist or you do not have access to it."),
    ({"model": "fake", "messages": HI, "temperature": "hot"}, 400, "invalid_parameter_error", "'temperature' must be Float"),
    ({"model": "fake", "messages": HI, "temperature": 2.0}, 400, "invalid_parameter_error", "Temperature should be in [0.0, 2.0)"),
    ({"model": "fake", "messages": HI, "top_p": 0}, 400, "invalid_parameter_error", "Range of top_p should be (0.0, 1.0]"),
    ({"model": "fake", "messages": HI, "n": 5}, 400, "invalid_parameter_error", "Range of n should be [1, 4]"),
    ({"model": "fake", "messages": HI, "seed": -1}, 400, "invalid_value", "-1 is lesser than the minimum of 0 - 'seed'"),
    ({"model": "fake", "messages": [{"role": "user"}]}, 400, "invalid_parameter_error", "The content field is a required field."),
    (
        {"model": "fake", "messages": [*HI, {"role": "tool", "tool_call_id": "x", "content": "1"}]},
        400,
        "invalid_parameter_error",
        'messages with role "tool" must be a response to a preceeding message with "tool_calls"',
    ),
    (
        {"model": "fake", "messages": HI, "response_format": {"type": "json_object"}},
        400,
        "invalid_parameter_error",
        "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
    ),
    (
        {"model": "fake", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 11_000_000}}]}]},
        400,
        "invalid_parameter_error",
        "Exceeded limit on max bytes per data-uri item : 10485760",
    ),
    ({"model": "priced", "messages": HI, "max_tokens": 5000}, 400, "invalid_parameter_error", "Range of max_tokens should be [1, 4096]"),
    ({"model": "priced", "messages": HI, "enable_search": True}, 400, "invalid_parameter_error", "This model does not support enable_search."),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "code", "message"), REFUSED)
def test_refusals_have_the_documented_text(
    served: Served, body: dict, status: int, code: str | None, message: str
) -> None:
    """Each refusal has the documented status, code and text, in the envelope, with the id of the header."""
    answer = post(served, body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["message"]) == (status, code, message)
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    "field", [{"temperature": 1}, {"max_tokens": 7.0}, {"temperature": None}, {"stop": ["a", "b"]}, {"top_k": None}]
)
def test_lenient_values_are_accepted(served: Served, field: dict) -> None:
    """Integers where floats are due, whole floats where integers are due, and null as absent."""
    assert chat(served, **field).status_code == 200


@pytest.mark.parametrize(
    ("body", "fragment"),
    [
        (b'{"a":', "Required body invalid"),
        (b"", "empty"),
        (b"[]", "must be an object"),
        (b"\xff\xfe{}", "Required body invalid"),
    ],
)
def test_malformed_bodies(served: Served, body: bytes, fragment: str) -> None:
    """What is no JSON object gets 400 that says so."""
    headers = {**served.headers(), "content-type": "application/json"}
    answer = httpx.post(served.origin + "/v1/chat/completions", content=body, headers=headers)
    assert answer.status_code == 400
    assert fragment in answer.json()["error"]["message"]


def test_deep_nesting_is_refused(served: Served) -> None:
    """Nesting beyond the decoder's depth is a clear 400."""
    body = b'{"model":"fake","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    headers = {**served.headers(), "content-type": "application/json"}
    answer = httpx.post(served.origin + "/v1/chat/completions", content=body, headers=headers)
    assert answer.status_code == 400
    assert "nested" in answer.json()["error"]["message"]


def test_wrong_content_type_is_415(served: Served) -> None:
    """Form data is no JSON."""
    answer = httpx.post(served.origin + "/v1/chat/completions", data={"a": "b"}, headers=served.headers())
    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "unsupported_file_format"


def test_wrong_method_and_unknown_path(served: Served) -> None:
    """400 with the documented text for a method, 404 for a path, and 401 before either without a key."""
    wrong_method = httpx.get(served.origin + "/v1/chat/completions", headers=served.headers())
    assert wrong_method.status_code == 400
    assert wrong_method.json()["error"]["message"] == "Request method 'GET' is not supported."
    unknown = httpx.post(served.origin + "/v1/v1/chat/completions", json={}, headers=served.headers())
    assert unknown.status_code == 404
    assert "/v1 twice" in unknown.json()["error"]["message"]
    assert httpx.get(served.origin + "/v1/nonsense").status_code == 401


def test_models_list_and_single(served: Served) -> None:
    """The list and one model; an unknown id is 404; ids may be percent-encoded."""
    listed = httpx.get(served.origin + "/v1/models", headers=served.headers()).json()
    assert listed["object"] == "list"
    assert {"fake", "priced", "priced-alias"} <= {one["id"] for one in listed["data"]}
    one = httpx.get(served.origin + "/compatible-mode/v1/models/fake", headers=served.headers()).json()
    assert one == {"id": "fake", "object": "model", "created": 0, "owned_by": "fake"}
    missing = httpx.get(served.origin + "/v1/models/no%2Fsuch", headers=served.headers())
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


def test_foreign_host_is_accepted_and_builds_no_link(served: Served) -> None:
    """The article's own Host header changes nothing."""
    answer = post(served, {"model": "fake", "messages": HI}, Host="dashscope.aliyuncs.com")
    assert answer.status_code == 200
    page = httpx.get(served.origin + "/", headers={"Host": "evil.example"})
    assert "evil" not in str(page.headers) + page.text


def test_a_query_takes_the_slow_way(served: Served) -> None:
    """A path with a query misses the fast lane and is answered alike."""
    answer = post(served, {"model": "fake", "messages": HI}, path="/v1/chat/completions?x=1")
    assert answer.json()["choices"][0]["message"]["content"] == "Hello from the fake vendor"
    events = read_events(
        post(served, {"model": "fake", "messages": HI, "stream": True}, path="/v1/chat/completions?x=1").text
    )
    assert events[-1] == "[DONE]"
