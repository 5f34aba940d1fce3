"""The client package: both clients, by all three APIs, against this server and against the vendor itself; and the examples."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from installation import ROOT, Served, Vendor
from steelyard.client import ApiError, AsyncSteelyard, Steelyard

BASES = {"openai": "/v1", "dashscope": "/api/v1", "anthropic": ""}
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(params=[(api, where) for api in BASES for where in ("server", "vendor")], ids=lambda one: "-".join(one))
def place(request: pytest.FixtureRequest, served: Served, vendor: Vendor) -> dict[str, Any]:
    api, where = request.param
    origin = served.origin if where == "server" else f"http://127.0.0.1:{vendor.port}"
    return {"base_url": origin + BASES[api], "api_key": served.key, "api": api}


@pytest.fixture
def client(place: dict[str, Any]) -> Iterator[Steelyard]:
    with Steelyard(**place) as made:
        yield made


def test_chat(client: Steelyard) -> None:
    """A text, options of chat completions, tool calls and thoughts."""
    reply = client.chat("fake", "hi", temperature=0.5, max_tokens=50)
    assert (reply.text, reply.reason) == ("Hello from the fake vendor", "stop")
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (10, 5)
    called = client.chat("fake", "hi", tools=[WEATHER], script={"tool_calls": 1})
    assert [(one.id, one.name) for one in called.tool_calls] == [("call_0", "get_weather")]
    pictures = [
        {"type": "text", "text": "?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
    ]
    assert client.chat("fake", [{"role": "user", "content": pictures}]).text


def test_stream(client: Steelyard) -> None:
    """In pieces, with thoughts apart and the usage last; one that breaks off is an error."""
    deltas = list(client.stream("fake", "hi", script={"reasoning": "let me think"}))
    assert "".join(one.text for one in deltas) == "Hello from the fake vendor"
    assert "".join(one.reasoning for one in deltas).strip() == "let me think"
    assert deltas[-1].usage is not None
    with pytest.raises(ApiError) as caught:
        list(client.stream("fake", "hi", script={"chunks": 20, "cut_at": 900}))
    assert caught.value.retryable


def test_errors_say_what_to_do(client: Steelyard) -> None:
    """Cause and cure in both languages, retryable or not; wrong options are told before anything is sent."""
    with pytest.raises(ApiError) as caught:
        client.chat("fake", "hi", script={"status": 400})
    assert (caught.value.status, caught.value.message, caught.value.retryable) == (400, "scripted", False)
    with pytest.raises(ValueError, match="temperature: Temperature should be in"):
        client.chat("fake", "hi", temperature=5)
    with pytest.raises(ValueError, match="api must be one of"):
        Steelyard("http://127.0.0.1:1/v1", api="telex")


def test_retries(client: Steelyard, request: pytest.FixtureRequest) -> None:
    """What may succeed later is made again, after the pause that the endpoint asks for."""
    sequence = [{"status": 503}, {"status": 429, "headers": {"retry-after": "1"}}, {"text": "third"}]
    name = f"client-{request.node.name}"
    assert client.chat("fake", "hi", script={"sequence": sequence, "sequence_id": name}).text == "third"


async def test_async(place: dict[str, Any]) -> None:
    """The same without blocking."""
    async with AsyncSteelyard(**place) as client:
        assert (await client.chat("fake", "hi")).text == "Hello from the fake vendor"
        text = "".join([one.text async for one in client.stream("fake", "hi")])
        assert text == "Hello from the fake vendor"
        if place["api"] != "anthropic":
            assert [len(one) for one in await client.embed("fake", ["a", "b"], dimensions=16)] == [16, 16]
        with pytest.raises(ApiError):
            await client.chat("fake", "hi", script={"status": 400})


def test_vectors_and_ranks(client: Steelyard) -> None:
    """Where the API has them."""
    if client.calls.api == "anthropic":
        with pytest.raises(ValueError, match="has no embeddings"):
            client.embed("fake", ["a"])
        return
    assert len(client.embed("fake", ["one", "two"], text_type="query")) == 2
    ranks = client.rerank("fake", "scales", ["nothing", "scales"], top_n=1)
    assert [(one.index, one.score) for one in ranks.results] == [(1, 1.0)]


async def test_tasks_and_results(vendor: Vendor, tmp_path: Path) -> None:
    """A vendor's task is waited for and its result saved, without the key; a failure says why, and leaves nothing behind."""
    origin = f"http://127.0.0.1:{vendor.port}"
    with Steelyard(origin + "/api/v1", "sk-x", api="dashscope") as client:
        output = client.wait("good-1", timeout_s=20)
        assert (output["task_status"], output["usage"]) == ("SUCCEEDED", {"image_count": 1})
        saved = client.save(f"{origin}/results/a.png?Expires=1", tmp_path)
        assert (saved.name, saved.read_bytes()) == ("a.png", b"PNG" * 1000)
        with pytest.raises(ApiError, match="inappropriate") as caught:
            client.wait("bad-1")
        assert (caught.value.code, caught.value.retryable) == ("data_inspection_failed", False)
        with pytest.raises(ApiError, match="UNKNOWN"):
            client.wait("nothing")
        with pytest.raises(TimeoutError):
            client.wait("good-2", timeout_s=0.5)
        with pytest.raises(ApiError):
            client.save(f"{origin}/results/gone.png", tmp_path / "b.png")
        assert [one.name for one in tmp_path.iterdir()] == ["a.png"]
    async with AsyncSteelyard(origin + "/api/v1", api="dashscope") as client:
        assert (await client.wait("good-3"))["task_status"] == "SUCCEEDED"
        assert (await client.save(f"{origin}/results/c.png", tmp_path)).name == "c.png"
    with Steelyard(origin + "/v1") as client, pytest.raises(ValueError, match="has no tasks"):
        client.wait("good-1")


def test_nobody_there() -> None:
    """An address that does not answer is told as such, and what to check."""
    with Steelyard("http://127.0.0.1:9/v1", max_attempts=1) as client, pytest.raises(ApiError) as caught:
        client.chat("fake", "hi")
    assert (caught.value.status, caught.value.retryable) == (0, True)
    assert "network" in caught.value.cure
    assert caught.value.explained("zh")[1] == "检查地址与网络。"


def test_a_wrong_key_names_its_cure(served: Served) -> None:
    """From the catalogue, whoever answers."""
    with Steelyard(served.origin + "/v1", "sk-wrong") as client, pytest.raises(ApiError) as caught:
        client.chat("fake", "hi")
    assert (caught.value.code, caught.value.retryable) == ("api_key_invalid", False)
    assert caught.value.cause
    assert caught.value.request_id


@pytest.mark.parametrize("script", sorted(path.name for path in (ROOT / "examples").glob("*.py")))
def test_examples(embedded: Served, script: str) -> None:
    """Each runs as it is against this server with its embedded model, and explains a wrong key in Chinese."""
    base = {"STEELYARD_BASE_URL": embedded.origin + "/v1", "PATH": os.environ["PATH"]}

    def run(key: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "examples" / script)]
        return subprocess.run(
            command, env={**base, "STEELYARD_API_KEY": key}, capture_output=True, text=True, timeout=120
        )

    done = run(embedded.key)
    assert done.returncode == 0, done.stderr
    assert "回答：" in done.stdout
    assert "local/" in done.stdout
    assert len(done.stdout.split("流式：")[1].strip()) > 3
    wrong = run("sk-wrong")
    assert (wrong.returncode, "办法：" in wrong.stderr) == (1, True)
