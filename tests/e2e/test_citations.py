"""Chat with knowledge bases: passages reach the model, and the answer says where they stand, in every API, whole and streamed."""

import json
import time
from typing import Any

import httpx
import pytest

from installation import Served, Vendor, read_events

PAPER = (
    "# 手册\n\n## 年假\n\n员工每年有五天带薪年假。\n\n## Travel\n\nTravellers must keep every receipt for sixty days.\n"
)


@pytest.fixture(scope="module")
def base(served: Served) -> str:
    """A base with one document."""
    headers = served.headers()
    file = httpx.post(
        f"{served.origin}/v1/files",
        headers=headers,
        data={"purpose": "assistants"},
        files={"file": ("手册.md", PAPER.encode())},
    ).json()["id"]
    store = httpx.post(f"{served.origin}/v1/vector_stores", headers=headers, json={"file_ids": [file]}).json()["id"]
    for _ in range(300):
        told = httpx.get(f"{served.origin}/v1/vector_stores/{store}", headers=headers).json()
        if told["status"] == "completed":
            break
        time.sleep(0.1)
    assert told["file_counts"]["completed"] == 1
    return store


def post(served: Served, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    return httpx.post(f"{served.origin}{path}", headers={**served.headers(), **headers}, json=body, timeout=60)


def last_body(vendor: Vendor) -> dict[str, Any]:
    return vendor.seen()["calls"][-1]["body"]


def check_references(references: list[dict[str, Any]]) -> None:
    first = references[0]
    assert (first["index_id"], first["doc_name"]) == ("1", "手册.md")
    assert "五天" in first["text"]
    assert first["headings"] == ["手册", "年假"]
    assert first["chunk_id"]
    assert 0 < first["score"] <= 1


ASKED = [{"role": "user", "content": "年假有几天?"}]
SCRIPT = {"text": "五天。[1]"}


def test_native(served: Served, vendor: Vendor, base: str) -> None:
    path = "/api/v1/services/aigc/text-generation/generation"
    parameters = {"result_format": "message", "rag_options": {"pipeline_ids": [base]}}
    body = {"model": "fake", "input": {"messages": ASKED}, "parameters": {**parameters, "script": SCRIPT}}
    told = post(served, path, body).json()
    check_references(told["output"]["doc_references"])
    seen = last_body(vendor)
    assert "rag_options" not in json.dumps(seen)
    system = seen["messages"][0]
    assert system["role"] == "system"
    assert "[1] 手册.md · 手册 > 年假\n员工每年有五天带薪年假。" in system["content"]
    assert seen["messages"][1]["content"] == "年假有几天?"
    events = post(served, path, body, **{"X-DashScope-SSE": "enable"}).text
    frames = [json.loads(line[5:]) for line in events.splitlines() if line.startswith("data:")]
    check_references(frames[-1]["output"]["doc_references"])
    assert not any("doc_references" in one["output"] for one in frames[:-1])
    prompt = {
        "model": "fake",
        "input": {"prompt": "年假有几天?"},
        "parameters": {"rag_options": {"pipeline_ids": [base]}},
    }
    check_references(post(served, path, prompt).json()["output"]["doc_references"])


def test_native_upstream(served: Served, vendor: Vendor, base: str) -> None:
    """Bytes that are relayed get their references too."""
    path = "/api/v1/services/aigc/text-generation/generation"
    parameters = {"result_format": "message", "incremental_output": True, "rag_options": {"pipeline_ids": [base]}}
    body = {"model": "fake-native", "input": {"messages": ASKED}, "parameters": parameters}
    check_references(post(served, path, body).json()["output"]["doc_references"])
    events = post(served, path, body, **{"X-DashScope-SSE": "enable"}).text
    frames = [json.loads(line[5:]) for line in events.splitlines() if line.startswith("data:")]
    check_references(frames[-1]["output"]["doc_references"])


def test_chat_completions(served: Served, vendor: Vendor, base: str) -> None:
    system = {"role": "system", "content": "Be brief."}
    body = {"model": "fake", "messages": [system, *ASKED], "rag_options": {"pipeline_ids": [base]}, "script": SCRIPT}
    check_references(post(served, "/v1/chat/completions", body).json()["doc_references"])
    seen = last_body(vendor)["messages"]
    assert seen[0]["content"].startswith("Be brief.\n\n")
    assert len(seen) == 2
    events = read_events(post(served, "/v1/chat/completions", {**body, "stream": True}).text)
    cited = [one for one in events if isinstance(one, dict) and "doc_references" in one]
    assert len(cited) == 1
    check_references(cited[0]["doc_references"])
    assert events[-1] == "[DONE]"


def test_responses(served: Served, vendor: Vendor, base: str) -> None:
    """The search is an item, brackets are citations, instructions stay the caller's, and a conversation goes on."""
    tool = {"type": "file_search", "vector_store_ids": [base], "max_num_results": 3}
    body = {
        "model": "fake",
        "input": "年假有几天?",
        "instructions": "Be brief.",
        "tools": [tool],
        "include": ["file_search_call.results"],
        "script": SCRIPT,
    }
    told = post(served, "/v1/responses", body).json()
    search, message = told["output"]
    assert (search["type"], search["status"], search["queries"]) == ("file_search_call", "completed", ["年假有几天?"])
    assert "五天" in search["results"][0]["text"]
    (citation,) = message["content"][0]["annotations"]
    assert (citation["type"], citation["filename"]) == ("file_citation", "手册.md")
    assert message["content"][0]["text"][citation["index"] :].startswith("[1]")
    assert told["instructions"] == "Be brief."
    assert told["tools"] == [tool]
    system = last_body(vendor)["messages"][0]["content"]
    assert system.startswith("Be brief.")
    assert "五天带薪年假" in system
    assert "steelyard_passages" not in json.dumps(last_body(vendor))
    again = post(served, "/v1/responses", {"model": "fake", "input": "and then?", "previous_response_id": told["id"]})
    assert again.status_code == 200, again.text
    assert [one["role"] for one in last_body(vendor)["messages"]] == ["user", "assistant", "user"]
    events = [
        one
        for one in read_events(post(served, "/v1/responses", {**body, "stream": True}).text)
        if isinstance(one, dict)
    ]
    kinds = [one["type"] for one in events]
    assert [one["sequence_number"] for one in events] == list(range(len(events)))
    at = kinds.index("response.file_search_call.completed")
    assert kinds[:at] == [
        "response.created", "response.in_progress", "response.output_item.added", "response.file_search_call.in_progress",
        "response.file_search_call.searching",
    ]  # fmt: skip
    final = events[-1]["response"]["output"]
    assert [one["type"] for one in final] == ["file_search_call", "message"]
    assert final[1]["content"][0]["annotations"][0]["filename"] == "手册.md"
    deltas = [one for one in events if one["type"] == "response.output_text.delta"]
    assert {one["output_index"] for one in deltas} == {1}


def test_nothing_relevant(served: Served, vendor: Vendor, base: str) -> None:
    """The model is told to say so, in the caller's language, and no passage misleads it."""
    body = {
        "model": "fake",
        "messages": [{"role": "user", "content": "quantum chromodynamics lattice"}],
        "rag_options": {"pipeline_ids": [base]},
    }
    told = post(served, "/v1/chat/completions", body).json()
    assert told["doc_references"] == []
    assert "No passage relevant" in last_body(vendor)["messages"][0]["content"]


def test_refusals(served: Served, vendor: Vendor, base: str) -> None:
    """Before any upstream call, with the field."""
    calls = vendor.totals()["calls"]
    path = "/v1/chat/completions"
    for options, status in (
        ({"pipeline_ids": ["nosuch"]}, 404),
        ({}, 400),
        ({"pipeline_ids": []}, 400),
        ("x", 400),
        ({"pipeline_ids": [base], "top_n": 0}, 400),
        ({"pipeline_ids": [base], "metadata_filter": {"type": "near"}}, 400),
    ):
        refused = post(served, path, {"model": "fake", "messages": ASKED, "rag_options": options})
        assert refused.status_code == status, refused.text
    native = post(
        served,
        "/api/v1/services/aigc/text-generation/generation",
        {"model": "fake", "input": {"messages": ASKED}, "parameters": {"rag_options": {"pipeline_ids": ["nosuch"]}}},
    )
    assert (native.status_code, native.json()["code"]) == (404, "Index.NotFound")
    tool = {"type": "file_search", "vector_store_ids": ["nosuch"]}
    assert post(served, "/v1/responses", {"model": "fake", "input": "x", "tools": [tool]}).status_code == 404
    only_chat = served.installation.create_key("--operations", "chat", name="only-chat")["key"]
    body = {"model": "fake", "messages": ASKED, "rag_options": {"pipeline_ids": [base]}}
    refused = post(served, path, body, Authorization=f"Bearer {only_chat}")
    assert refused.status_code == 403
    assert vendor.totals()["calls"] == calls
    text_about_it = {"model": "fake", "messages": [{"role": "user", "content": 'what is "rag_options"?'}]}
    assert post(served, path, text_about_it).status_code == 200


def test_other_calls_are_left_alone(served: Served, vendor: Vendor, base: str) -> None:
    """What is no chat has no bases, whatever it says."""
    options = {"rag_options": {"pipeline_ids": [base]}}
    for path, body in (
        ("/v1/completions", {"model": "fake", "prompt": "年假"}),
        ("/v1/embeddings", {"model": "fake", "input": "年假"}),
        ("/v1/messages", {"model": "fake-messages", "max_tokens": 9, "messages": ASKED}),
    ):
        answer = post(served, path, {**body, **options})
        assert answer.status_code == 200, answer.text
        assert "doc_references" not in answer.text
        assert "五天" not in json.dumps(last_body(vendor), ensure_ascii=False)


def test_another_workspace(served: Served, base: str) -> None:
    """A base is no more to be had by chat than by any other way."""
    if "citing" not in served.installation.cli("workspaces", "list").stdout:
        served.installation.cli("workspaces", "create", "citing")
        served.installation.cli("activate", "--workspace", "citing")
    key = served.installation.create_key("--workspace", "citing", name="citing")["key"]
    body = {"model": "fake", "messages": ASKED, "rag_options": {"pipeline_ids": [base]}}
    assert post(served, "/v1/chat/completions", body, Authorization=f"Bearer {key}").status_code == 404
