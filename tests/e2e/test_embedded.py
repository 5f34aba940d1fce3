"""The real embedded model behind the server: the article's call, cancellation, the queue, crashes."""

import asyncio
import os
import signal
import subprocess
import time
from typing import Any

import httpx
import pytest

from installation import Installation, Served, read_events

ARTICLE_BODY = (
    '{"model":"qwen-plus","messages":[{"role":"system","content":"你是一个编程专家"},'
    '{"role":"user","content":"用js写一个1-100的随机函数"}]}'
)

#: The end marks are forbidden, so that an answer surely outlives whatever a test does to it.
ENDLESS: dict[str, Any] = {"max_tokens": 2000, "logit_bias": {"151643": -100, "151645": -100}}


def test_the_articles_own_curl(embedded: Served) -> None:
    """Only the origin and the key are changed; the answer is a JavaScript function with usage, in the vendor's fields."""
    command = [
        "curl", "--silent", "--location", "--request", "POST", f"{embedded.origin}/compatible-mode/v1/chat/completions",
        "--header", f"Authorization: Bearer {embedded.key}",
        "--header", "User-Agent: Apifox/1.0.0 (https://apifox.com)",
        "--header", "Content-Type: application/json",
        "--header", "Accept: */*",
        "--header", "Host: dashscope.aliyuncs.com",
        "--header", "Connection: keep-alive",
        "--data-raw", ARTICLE_BODY,
    ]  # fmt: skip
    import json

    body = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=180).stdout)
    content = body["choices"][0]["message"]["content"]
    assert "Math.random" in content
    assert set(body) == {"id", "created", "model", "system_fingerprint", "object", "choices", "usage"}
    assert set(body["choices"][0]) == {"index", "finish_reason", "logprobs", "message"}
    assert body["id"].startswith("chatcmpl-")
    assert (body["model"], body["object"], body["system_fingerprint"]) == ("qwen-plus", "chat.completion", None)
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
    assert set(usage["prompt_tokens_details"]) == {"cached_tokens"}


def ask(served: Served, **fields: Any) -> httpx.Response:
    body = {"model": "qwen-plus", "messages": [{"role": "user", "content": "Count to two hundred."}], **fields}
    return httpx.post(f"{served.origin}/v1/chat/completions", json=body, headers=served.headers(), timeout=240)


def running(served: Served) -> float:
    text = httpx.get(served.origin + "/metrics", headers=served.headers(served.admin_key)).text
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith("llm_slots_busy{"))


def test_client_that_leaves_frees_its_slot_within_a_second(embedded: Served) -> None:
    """Generation stops when the client is gone, streamed or not."""
    url = f"{embedded.origin}/v1/chat/completions"
    for is_stream in (True, False):
        body = {
            "model": "qwen-plus",
            "messages": [{"role": "user", "content": "Write a long story."}],
            "stream": is_stream,
            **ENDLESS,
        }
        if is_stream:
            with httpx.stream("POST", url, json=body, headers=embedded.headers(), timeout=60) as answer:
                for _, _line in zip(range(6), answer.iter_lines(), strict=False):
                    assert running(embedded) == 1
        else:
            with pytest.raises(httpx.TimeoutException):
                httpx.post(url, json=body, headers=embedded.headers(), timeout=1.5)
        began = time.monotonic()
        while running(embedded) and time.monotonic() - began < 5:
            time.sleep(0.02)
        assert time.monotonic() - began < 1


def test_prompt_cache_and_long_input(embedded: Served) -> None:
    """A repeated prompt is served from the cache and says so; one beyond the window gets the documented text."""
    messages = [{"role": "user", "content": "The weights of the scale are " + "seven pounds and " * 60 + "?"}]
    first = ask(embedded, messages=messages, max_tokens=2).json()["usage"]
    second = ask(embedded, messages=messages, max_tokens=2).json()["usage"]
    assert second["prompt_tokens_details"]["cached_tokens"] > first["prompt_tokens"] / 2
    long = ask(embedded, messages=[{"role": "user", "content": "word " * 9000}])
    assert long.status_code == 400
    assert long.json()["error"]["message"] == "Range of input length should be [1, 8192]"
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}
    bad = ask(embedded, response_format=schema, messages=[{"role": "user", "content": "json"}])
    assert (bad.status_code, "schema" in bad.json()["error"]["message"]) == (400, True)


def test_answers_in_chinese(embedded: Served) -> None:
    """A Chinese question gets a Chinese answer."""
    text = ask(embedded, messages=[{"role": "user", "content": "用一句话介绍杭州。"}], max_tokens=40).json()["choices"][
        0
    ]["message"]["content"]
    assert any("\u4e00" <= character <= "\u9fff" for character in text)


async def test_many_streams_share_the_slots(embedded: Served) -> None:
    """16 streams of 16 tokens on 4 slots all finish, each whole. (64 of 64 run in the long suite.)"""
    async with httpx.AsyncClient(timeout=240) as client:
        texts = await asyncio.gather(*(stream(client, embedded, n, 16) for n in range(16)))
    assert all(text.endswith("data: [DONE]\n\n") for text in texts)


async def stream(client: httpx.AsyncClient, served: Served, number: int, tokens: int) -> str:
    body = {
        "model": "qwen-plus", "stream": True, "max_tokens": tokens,
        "messages": [{"role": "user", "content": f"Write a story about the number {number}."}],
    }  # fmt: skip
    answer = await client.post(f"{served.origin}/v1/chat/completions", json=body, headers=served.headers())
    assert answer.status_code == 200
    assert read_events(answer.text)[-1] == "[DONE]"
    return answer.text


async def test_full_queue_is_429(embedded: Served) -> None:
    """Beyond 256 waiting calls the engine host says so, with Retry-After; the rest wait their turn."""
    async with httpx.AsyncClient(timeout=240, limits=httpx.Limits(max_connections=400)) as client:
        body = {
            "model": "qwen-plus",
            "messages": [{"role": "user", "content": "hi"}],
            "max_tokens": 500,
            "stream": True,
        }
        calls = [
            asyncio.create_task(
                client.post(f"{embedded.origin}/v1/chat/completions", json=body, headers=embedded.headers())
            )
            for _ in range(300)
        ]
        done: list[httpx.Response] = []
        for call in asyncio.as_completed(calls):
            done.append(await call)
            if done[-1].status_code == 429:
                break
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    assert done[-1].status_code == 429
    assert done[-1].headers["retry-after"]
    assert "queue" in done[-1].json()["error"]["message"]


def test_crashed_engine_host_is_restarted(make_installation: Any) -> None:
    """Calls of a host that dies get 503 with Retry-After; the next ones wait for its successor and are answered."""
    installation: Installation = make_installation()
    with installation:
        served = Served(installation)
        assert ask(served, max_tokens=1).status_code == 200
        pid = installation.child("engine")
        killer = subprocess.Popen(["sh", "-c", f"sleep 1; kill -9 {pid}"])
        failed = ask(served, **ENDLESS)
        killer.wait()
        assert (failed.status_code, failed.json()["error"]["code"]) == (503, "model_unavailable")
        assert failed.headers["retry-after"]
        assert ask(served, max_tokens=1).status_code == 200
        os.kill(installation.process.pid, signal.SIGTERM)
        assert installation.process.wait(20) == 0


@pytest.mark.long
async def test_64_streams_of_64_tokens(embedded: Served) -> None:
    """The acceptance figure: 64 concurrent streams of 64 tokens all finish."""
    began = time.monotonic()
    async with httpx.AsyncClient(timeout=590, limits=httpx.Limits(max_connections=100)) as client:
        texts = await asyncio.gather(*(stream(client, embedded, n, 64) for n in range(64)))
    pieces = sum(text.count('"content":') for text in texts)
    print(f"\n64 streams: {pieces / (time.monotonic() - began):.1f} pieces/s over {time.monotonic() - began:.0f} s")
    assert len(texts) == 64
