"""Content inspection by an endpoint of the operator's: of calls, whole answers and streams, on every API."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from installation import Installation, Served, Vendor, read_events, vendor_config

#: API -> (path, body of a call, header that asks for a stream)
CALLS: dict[str, Any] = {
    "openai": lambda text, script: (
        "/v1/chat/completions",
        {"model": "fake", "messages": [{"role": "user", "content": text}], "script": script},
    ),
    "dashscope": lambda text, script: (
        "/api/v1/services/aigc/text-generation/generation",
        {
            "model": "fake",
            "input": {"messages": [{"role": "user", "content": text}]},
            "parameters": {"script": script, "result_format": "message", "incremental_output": True},
        },
    ),
    "anthropic": lambda text, script: (
        "/v1/messages",
        {"model": "fake", "max_tokens": 2000, "messages": [{"role": "user", "content": text}], "script": script},
    ),
}


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory, vendor: Vendor) -> Iterator[Served]:
    installation = Installation(tmp_path_factory.mktemp("checked"), vendor_config(vendor))
    installation.environment["CHECK_KEY"] = "check-secret"
    with installation:
        served = Served(installation)
        words = (
            "--check-url",
            f"{vendor.base_url}/moderations",
            "--check-model",
            "judge",
            "--check-key",
            "env:CHECK_KEY",
        )
        installation.cli("inspection", "set", "default", *words, "--check-timeout-s", "0.5")
        time.sleep(1.0)
        yield served


def ask(
    served: Served, api: str, text: str, script: dict[str, Any] | None = None, *, stream: bool = False
) -> httpx.Response:
    path, body = CALLS[api](text, script or {})
    headers = served.headers()
    if stream and api == "dashscope":
        headers["X-DashScope-SSE"] = "enable"
    elif stream:
        body["stream"] = True
    return httpx.post(served.origin + path, json=body, headers=headers, timeout=20)


@pytest.mark.parametrize("api", CALLS)
class TestChecked:
    """Every API alike."""

    @pytest.mark.parametrize("stream", [False, True])
    def test_calls(self, checked: Served, vendor: Vendor, api: str, stream: bool) -> None:
        """The endpoint hears the text with the key and the model; what it flags never reaches a vendor."""
        before = vendor.totals()["calls"]
        refused = ask(checked, api, f"something forbidden {api}", stream=stream)
        assert refused.status_code == 400
        assert "Input data may contain inappropriate content." in refused.text
        assert vendor.totals()["calls"] == before
        heard = vendor.seen()["moderated"][-1]
        assert heard == {"text": f"something forbidden {api}", "model": "judge", "authorization": "Bearer check-secret"}

    def test_whole_answers(self, checked: Served, api: str) -> None:
        """An answer that is flagged does not come; a good one does."""
        assert ask(checked, api, "hi", {"text": "quite harmless"}).status_code == 200
        refused = ask(checked, api, "hi", {"text": "quite forbidden"})
        assert refused.status_code == 400
        assert "Output data may contain inappropriate content." in refused.text
        assert "quite" not in refused.text

    def test_streams(self, checked: Served, vendor: Vendor, api: str) -> None:
        """A long stream comes window by window, complete and in order; a flagged one ends before the flagged part."""
        answer = ask(checked, api, "hi", {"chunks": 300, "gap_s": 0.002}, stream=True)
        text = said(api, answer)
        assert text == "".join(f"piece{n} " for n in range(300))
        heard = [one["text"] for one in vendor.seen()["moderated"] if "piece" in one["text"]]
        assert len(heard) > 1
        words = [f"word{n}" for n in range(200)] + ["forbidden"] + [f"more{n}" for n in range(50)]
        cut = ask(checked, api, "hi", {"text": " ".join(words), "gap_s": 0.002}, stream=True)
        assert cut.status_code == 200
        assert "word0 " in said(api, cut)
        assert "forbidden" not in cut.text
        assert "inappropriate" in cut.text

    @pytest.mark.parametrize("word", ["crash", "stall"])
    def test_nobody_answers(self, checked: Served, api: str, word: str) -> None:
        """Then nothing passes, soon, and the caller is told to come back."""
        began = time.monotonic()
        refused = ask(checked, api, word)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert time.monotonic() - began < 2
        refused = ask(checked, api, "hi", {"text": f"an answer with {word} in it"})
        assert refused.status_code == 503
        cut = ask(checked, api, "hi", {"text": f"an answer with {word} in it"}, stream=True)
        assert (cut.status_code, "content inspection" in cut.text, word in cut.text) == (200, True, False)


def said(api: str, answer: httpx.Response) -> str:
    text = ""
    for event in read_events(answer.text):
        if not isinstance(event, dict):
            continue
        if api == "anthropic":
            text += (event.get("delta") or {}).get("text", "")
        elif api == "openai":
            text += "".join(one["delta"].get("content") or "" for one in event.get("choices", ()))
        else:
            text += "".join(one["message"]["content"] for one in event.get("output", {}).get("choices", ()))
    return text


def test_a_client_that_leaves(checked: Served) -> None:
    """While its text is looked at, or its stream waits at the gate: nothing is left behind."""
    path, body = CALLS["openai"]("hi", {"chunks": 400, "gap_s": 0.002})
    for _ in range(5):
        with httpx.stream(
            "POST", checked.origin + path, json={**body, "stream": True}, headers=checked.headers()
        ) as answer:
            next(answer.iter_text())
    time.sleep(1.0)
    admin = checked.headers(checked.admin_key)
    metrics = httpx.get(f"{checked.origin}/metrics", headers=admin).text
    in_flight = [
        line for line in metrics.splitlines() if line.startswith("llm_requests_in_flight") or "in_flight{" in line
    ]
    assert in_flight
    assert all(line.endswith(" 0") for line in in_flight), in_flight


def test_unchecked_may_pass(checked: Served) -> None:
    """Where the operator says so; and what is no address or no reference is refused."""
    cli = checked.installation.cli
    url = "http://127.0.0.1:9/nobody"
    for words, part in (
        (("--check-url", "ftp://x"), "check.url must begin with http"),
        (("--check-url", url, "--check-key", "plain-secret"), "check.api_key is a reference"),
        (("--check-url", url, "--check-timeout-s", "99"), "check.timeout_s"),
    ):
        refused = cli("inspection", "set", "default", *words, check=False)
        assert (refused.returncode, part in refused.stderr) == (1, True)
    cli("inspection", "set", "default", "--check-url", url, "--pass-unchecked")
    time.sleep(1.0)
    for stream in (False, True):
        assert "Hello" in ask(checked, "openai", "hi", stream=stream).text
    assert "9/nobody" in cli("inspection", "show", "default").stdout
