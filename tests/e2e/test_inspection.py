"""Content inspection in front of the fake vendor: refused or masked, on the way in and on the way out, plain and streamed."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from installation import Installation, Served, Vendor, read_events, vendor_config

PREFIX = "/v1/chat/completions"


@pytest.fixture(scope="module")
def inspected(tmp_path_factory: pytest.TempPathFactory, vendor: Vendor) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("inspected")
    installation = Installation(directory, vendor_config(vendor), workers=2)
    with installation:
        served = Served(installation)
        (directory / "words.txt").write_text("绝密计划\nforbidden\n", encoding="utf-8")
        installation.cli(
            "inspection", "set", "--words-file", str(directory / "words.txt"), "--pattern", r"launch code \d+",
            "--mask", "phone,id_card,bank_card,key", "--may-disable",
        )  # fmt: skip
        time.sleep(1.5)
        yield served


def call(served: Served, text: str, headers: dict[str, str] | None = None, **extra: Any) -> httpx.Response:
    body = {"model": "fake", "messages": [{"role": "user", "content": text}], **extra}
    return httpx.post(served.origin + PREFIX, json=body, headers={**served.headers(), **(headers or {})}, timeout=20)


def admin_get(served: Served, path: str) -> httpx.Response:
    return httpx.get(served.origin + path, headers=served.headers(served.admin_key), timeout=20)


@pytest.mark.parametrize("text", ["请执行绝密计划", "this is FORBIDDEN", "the launch code 1234"])
def test_input_is_refused_before_any_vendor_sees_it(inspected: Served, vendor: Vendor, text: str) -> None:
    """400 with the vendor's text; the audit trail says so without the text; a metric counts it."""
    before = vendor.totals()["calls"]
    answer = call(inspected, text)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("data_inspection_failed", "data_inspection_failed")
    assert error["message"] == "Input data may contain inappropriate content."
    assert vendor.totals()["calls"] == before
    time.sleep(0.3)
    entry = admin_get(inspected, "/control/v1/audit?limit=1").json()["data"][0]
    assert (entry["action"], entry["subject"]) == ("inspection.blocked", answer.headers["x-request-id"])
    assert text not in json.dumps(entry, ensure_ascii=False)
    assert (
        'llm_moderation_blocked_total{workspace_id="default",model="fake",stage="input"}'
        in admin_get(inspected, "/metrics").text
    )


def test_every_way_of_sending_text_is_looked_at(inspected: Served) -> None:
    """System messages, text parts, earlier turns, and the prompt of completions."""
    for messages in (
        [{"role": "system", "content": "forbidden"}, {"role": "user", "content": "hi"}],
        [{"role": "user", "content": [{"type": "text", "text": "for"}, {"type": "text", "text": "forbidden"}]}],
        [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "forbidden"},
            {"role": "user", "content": "b"},
        ],
    ):
        assert call(inspected, "", messages=messages).status_code == 400
    url = f"{inspected.origin}/v1/completions"
    answer = httpx.post(url, json={"model": "fake", "prompt": "forbidden"}, headers=inspected.headers())
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "data_inspection_failed")


def test_numbers_are_masked_on_the_way_in(inspected: Served, vendor: Vendor) -> None:
    """The vendor sees the masked text, and everything else as it was."""
    answer = call(inspected, "我的手机 13812345678，订单 20261124000012345678", foo={"bar": 1}, temperature=0.5)
    assert answer.status_code == 200
    body = vendor.seen()["calls"][-1]["body"]
    assert body["messages"][0]["content"] == "我的手机 138******78，订单 20261124000012345678"
    assert (body["foo"], body["temperature"]) == ({"bar": 1}, 0.5)


def test_answers_are_refused_and_charged(inspected: Served) -> None:
    """A whole answer with a forbidden word is not shown; the vendor made it, so the receipt has its tokens."""
    answer = call(inspected, "hi", script={"text": "well, the forbidden word"})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "Output data may contain inappropriate content."
    time.sleep(1.2)
    receipt = admin_get(inspected, f"/control/v1/requests/{answer.headers['x-request-id']}/receipt").json()
    assert (receipt["error"], receipt["usage"]["completion_tokens"]) == ("data_inspection_failed", 4)


def test_answers_are_masked(inspected: Served) -> None:
    """Plain and streamed alike; usage as the vendor said."""
    script = {"text": "call 13812345678 or pay 4111111111111111 today"}
    plain = call(inspected, "hi", script=script)
    expected = "call 138******78 or pay 411***********11 today"
    assert plain.json()["choices"][0]["message"]["content"] == expected
    stream = call(inspected, "hi", stream=True, stream_options={"include_usage": True}, script=script)
    events = [one for one in read_events(stream.text) if isinstance(one, dict)]
    text = "".join(one["choices"][0]["delta"].get("content") or "" for one in events if one["choices"])
    assert text == expected
    assert events[-1]["usage"]["completion_tokens"] == plain.json()["usage"]["completion_tokens"]
    assert stream.text.endswith("data: [DONE]\n\n")


def test_a_word_over_three_chunks_never_leaves(inspected: Served, vendor: Vendor) -> None:
    """The fake vendor cuts at spaces: `launch`, `code`, `1234`. Nothing of it goes out, and the stream ends with the error."""
    answer = call(
        inspected, "hi", stream=True, script={"text": "x " * 200 + "launch code 1234 and more", "gap_s": 0.001}
    )
    events = read_events(answer.text)
    last = events[-1]
    assert isinstance(last, dict)
    assert last["error"]["code"] == "data_inspection_failed"
    assert "launch" not in answer.text
    time.sleep(1.2)
    receipt = admin_get(inspected, f"/control/v1/requests/{answer.headers['x-request-id']}/receipt").json()
    assert (receipt["outcome"], receipt["error"]) == ("broken", "data_inspection_failed")
    assert receipt["usage"]["completion_tokens"] > 100


def test_header_of_the_vendor_is_honoured(inspected: Served, vendor: Vendor) -> None:
    """Switched off where the workspace allows it, told on to the vendor, and never a way around a workspace that does not."""
    off = {"X-DashScope-DataInspection": '{"input":"disable","output":"disable"}'}
    answer = call(inspected, "forbidden", off, script={"text": "forbidden 13812345678"})
    assert (answer.status_code, "13812345678" in answer.text) == (200, True)
    assert vendor.seen()["calls"][-1]["headers"]["x-dashscope-datainspection"] == off["X-DashScope-DataInspection"]
    only_out = {"X-DashScope-DataInspection": '{"input":"disable"}'}
    assert call(inspected, "forbidden", only_out, script={"text": "forbidden"}).status_code == 400
    installation = inspected.installation
    url = f"{inspected.origin}/control/v1/workspaces/strict/inspection"
    installation.cli("workspaces", "create", "strict")
    installation.cli("activate", "--workspace", "strict")
    policy = {"words": ["forbidden"], "stages": ["output"]}
    assert httpx.put(url, json=policy, headers=inspected.headers(inspected.admin_key)).status_code == 200
    key = installation.create_key("--workspace", "strict", name="strict")["key"]
    time.sleep(1.2)
    strict = {"Authorization": f"Bearer {key}"}
    assert call(inspected, "forbidden", strict, script={"text": "fine"}).status_code == 200
    assert call(inspected, "forbidden", {**strict, "X-DashScope-DataInspection": '{"input":"cip"}'}).status_code == 400
    assert call(inspected, "x", {**strict, **off}, script={"text": "forbidden"}).status_code == 400


def test_other_workspaces_are_not_touched(inspected: Served) -> None:
    """A policy is its workspace's own; limits that are set later leave it as it is."""
    installation = inspected.installation
    installation.cli("workspaces", "create", "free")
    installation.cli("activate", "--workspace", "free")
    key = installation.create_key("--workspace", "free", name="free")["key"]
    time.sleep(1.0)
    assert call(inspected, "forbidden", {"Authorization": f"Bearer {key}"}).status_code == 200
    installation.cli("workspaces", "limit", "default", "--rpm", "100000")
    time.sleep(1.2)
    assert call(inspected, "forbidden").status_code == 400


def test_command_line(inspected: Served) -> None:
    """Shown without its words, tried without a call, faults by name."""
    cli = inspected.installation.cli
    shown = json.loads(cli("inspection", "show", "--json").stdout)
    assert (shown["words"], shown["mask"]) == (2, ["phone", "id_card", "bank_card", "key"])
    assert cli("inspection", "try", "call 13812345678").stdout.strip() == "call 138******78"
    refused = cli("inspection", "try", "forbidden", check=False)
    assert (refused.returncode, "inappropriate content" in refused.stderr) == (1, True)
    bad = cli("inspection", "set", "free", "--pattern", "(", check=False)
    assert (bad.returncode, "does not compile" in bad.stderr) == (1, True)
