"""Who is refused is refused everywhere: a matrix of operations and reasons, made from the program's own tables."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from installation import Installation, Served, Vendor, vendor_config
from steelyard.control.keys import OPERATIONS
from steelyard.dialects.table import DIALECTS, TASK_OPERATIONS

PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
HI = [{"role": "user", "content": "hi"}]
#: (API, operation) -> a body that is answered; every wire operation of the program must be here
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("openai", "chat"): {"model": "fake", "messages": HI},
    ("openai", "completions"): {"model": "fake", "prompt": "hi"},
    ("openai", "embeddings"): {"model": "fake", "input": "hi"},
    ("openai", "rerank"): {"model": "fake", "query": "hi", "documents": ["hi"]},
    ("responses", "chat"): {"model": "fake", "input": "hi"},
    ("dashscope", "embeddings"): {"model": "fake", "input": {"texts": ["hi"], "contents": [{"text": "hi"}]}},
    ("dashscope", "rerank"): {"model": "fake", "input": {"query": "hi", "documents": ["hi"]}},
    ("dashscope", "chat"): {"model": "fake", "input": {"messages": HI}, "parameters": {}},
    ("dashscope", "tokenize"): {"model": "fake-native", "input": {"messages": HI}},
    ("anthropic", "tokenize"): {"model": "fake-messages", "messages": HI},
    ("anthropic", "chat"): {"model": "fake", "max_tokens": 9, "messages": HI},
}


MCP = {"Accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-06-18"}


@dataclass(frozen=True)
class Request:
    """One way to ask for an operation."""

    api: str
    method: str
    path: str
    body: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)


#: operation -> every way to ask for it
REQUESTS: dict[str, list[Request]] = {
    "models": [Request("openai", "GET", prefix + "/models") for prefix in ("/v1", "/compatible-mode/v1")],
    "tokens": [Request("dashscope", "POST", "/api/v1/tokens")],
    "metrics": [
        Request("prometheus", "GET", "/prometheus/api/v1/labels"),
        Request("prometheus", "GET", "/prometheus/federate?match[]=llm_requests_total"),
    ],
    "knowledge": [
        Request("openai", "GET", "/v1/vector_stores"),
        Request("openai", "GET", "/compatible-mode/v1/vector_stores"),
        Request("openai", "GET", "/control/v1/knowledge-bases"),
    ],
    "apps": [
        Request("dashscope", "POST", "/api/v1/apps/APP/completion", {"input": {"prompt": "hi"}, "parameters": {}})
    ],
    "mcp": [
        Request("mcp", "POST", path, {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, MCP)
        for path in ("/mcp/calculator", "/mcp/apps/APP")
    ],
    "batches": [Request("openai", "GET", "/v1/batches"), Request("openai", "GET", "/compatible-mode/v1/batches")],
    "files": [
        Request("openai", "GET", "/v1/files"),
        Request("openai", "GET", "/compatible-mode/v1/files"),
        Request("dashscope", "GET", "/api/v1/files"),
    ],
}
for one in (dialect for dialect in DIALECTS if dialect.paths):
    body = BODIES[one.api, one.operation]
    REQUESTS.setdefault(one.operation, []).extend(Request(one.api, "POST", path, body) for path in one.paths)
ASYNC = {"X-DashScope-Async": "enable"}
#: (API, operation) -> a body that makes a task of every service of it
TASK_BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("openai", "images"): {"model": "local/poster", "prompt": "hi", "size": "256x256"},
    ("openai", "videos"): {"model": "local/camera-motion", "prompt": "hi", "seconds": "1", "size": "128x96"},
    ("dashscope", "images"): {
        "model": "local/poster",
        "input": {"prompt": "hi", "messages": [{"role": "user", "content": [{"text": "hi"}]}], "images": [PIXEL]},
        "parameters": {"size": "256*256", "n": 1},
    },
    ("dashscope", "videos"): {
        "model": "local/camera-motion",
        "input": {"prompt": "hi", "img_url": PIXEL, "first_frame_url": PIXEL, "last_frame_url": PIXEL},
        "parameters": {"resolution": "480P", "duration": 2},
    },
    ("dashscope", "transcription"): {"model": "local/whisper-base", "input": {"file_urls": [PIXEL]}},
    ("dashscope", "speech"): {"model": "local/piper-joe", "input": {"text": "hi"}},
}
for task in TASK_OPERATIONS:
    REQUESTS.setdefault(task.operation, []).extend(
        Request(task.api, "POST", path, TASK_BODIES[task.api, task.operation], ASYNC) for path in task.paths
    )
#: Operations that name a model.
WITH_MODEL = tuple({one.operation for one in (*DIALECTS, *TASK_OPERATIONS)})
#: The app that stands for `APP` in paths.
APP: dict[str, str] = {}


@dataclass(frozen=True)
class Reason:
    """Why a credential is refused: how it is made, and what is answered in both dialects."""

    make: Callable[[Served], str]
    status: int
    code: str
    native_code: str
    operations: tuple[str, ...] = tuple(REQUESTS)


def key(served: Served, *flags: str) -> dict[str, Any]:
    return served.installation.create_key(*flags, name="matrix")


def token(served: Served, parent: str, query: str = "", body: dict[str, Any] | None = None) -> str:
    answer = httpx.post(f"{served.origin}/api/v1/tokens{query}", headers=served.headers(parent), json=body)
    return answer.json()["token"]


def ended(word: str) -> Callable[[Served], str]:
    def make(served: Served) -> str:
        made = key(served)
        served.installation.cli("keys", word, made["id"])
        return made["key"]

    return make


def token_of_ended(word: str) -> Callable[[Served], str]:
    def make(served: Served) -> str:
        made = key(served)
        minted = token(served, made["key"], "?expire_in_seconds=600")
        served.installation.cli("keys", word, made["id"])
        return minted

    return make


def revoked(served: Served) -> str:
    made = httpx.post(f"{served.origin}/api/v1/tokens?expire_in_seconds=600", headers=served.headers()).json()
    served.installation.cli("tokens", "revoke", made["id"])
    return made["token"]


REASONS: dict[str, Reason] = {
    "no such key": Reason(lambda _: "sk-wrong", 401, "invalid_api_key", "InvalidApiKey"),
    "deleted key": Reason(ended("delete"), 401, "invalid_api_key", "InvalidApiKey"),
    "disabled key": Reason(ended("disable"), 401, "invalid_api_key", "InvalidApiKey"),
    "expired key": Reason(lambda served: key(served, "--expires", "0s")["key"], 401, "invalid_api_key", "InvalidApiKey"),
    "expired token": Reason(
        lambda served: token(served, served.key, "?expire_in_seconds=1"), 401, "invalid_api_key", "InvalidApiKey"
    ),
    "token of a deleted key": Reason(token_of_ended("delete"), 401, "invalid_api_key", "InvalidApiKey"),
    "token of a disabled key": Reason(token_of_ended("disable"), 401, "invalid_api_key", "InvalidApiKey"),
    "revoked token": Reason(revoked, 401, "invalid_api_key", "InvalidApiKey"),
    "network outside the list": Reason(
        lambda served: key(served, "--networks", "10.0.0.0/8")["key"], 403, "network_not_allowed", "AccessDenied"
    ),
    "workspace not activated": Reason(
        lambda served: key(served, "--workspace", "idle")["key"], 403, "AccessDenied.Unpurchased", "AccessDenied.Unpurchased"
    ),
    "model outside the list": Reason(
        lambda served: key(served, "--models", "priced")["key"], 403, "Model.AccessDenied", "Model.AccessDenied", WITH_MODEL
    ),
    "another path": Reason(
        lambda served: token(served, served.key, "?expire_in_seconds=600", {"resource": "/nowhere"}),
        403, "operation_not_allowed", "AccessDenied",
    ),
    "another origin": Reason(
        lambda served: token(served, served.key, "?expire_in_seconds=600", {"origin": "https://a.example"}),
        403, "origin_not_allowed", "AccessDenied",
    ),
    "model outside a token's list": Reason(
        lambda served: token(served, served.key, "?expire_in_seconds=600", {"models": ["priced"]}),
        403, "Model.AccessDenied", "Model.AccessDenied", WITH_MODEL,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory, vendor: Vendor) -> Iterator[Served]:
    installation = Installation(tmp_path_factory.mktemp("refusing"), vendor_config(vendor))
    with installation:
        served = Served(installation)
        installation.cli("workspaces", "create", "idle")
        APP["id"] = installation.cli("apps", "create", "a", "--model", "fake", "--mcp").stdout.strip()
        yield served


@pytest.fixture(scope="module")
def credentials(refusing: Served) -> dict[str, str]:
    """One a reason, all made before any is used, and the time for them to end."""
    made = {name: reason.make(refusing) for name, reason in REASONS.items()}
    # those that ask for an operation of their own
    for operation in REQUESTS:
        others = ",".join(one for one in REQUESTS if one != operation)
        made[f"not {operation}"] = key(refusing, "--operations", others)["key"]
    time.sleep(2.2)
    return made


def test_every_operation_is_in_the_matrix() -> None:
    """A new operation must be added here, or this fails."""
    assert set(REQUESTS) == set(OPERATIONS)


def ask(served: Served, operation: str, credential: str) -> list[tuple[str, httpx.Response]]:
    """The operation in every way that it can be asked for: the API and its answer."""
    own = {"Authorization": f"Bearer {credential}"}
    return [
        (
            one.api,
            httpx.request(
                one.method,
                served.origin + one.path.replace("APP", APP["id"]),
                headers=own | one.headers,
                json=one.body,
                timeout=10,
            ),
        )
        for one in REQUESTS[operation]
    ]


def check(api: str, answer: httpx.Response, status: int, code: str, native_code: str) -> None:
    body = answer.json()
    found, expected = {
        "openai": lambda: (body["error"]["code"], code),
        "responses": lambda: (body["error"]["code"], code),
        "dashscope": lambda: (body["code"], native_code),
        "mcp": lambda: (body["error"]["data"]["code"], code),
        "prometheus": lambda: (body["errorType"], {401: "unauthorized", 403: "forbidden"}[status]),
        "anthropic": lambda: (body["error"]["type"], {401: "authentication_error", 403: "permission_error"}[status]),
    }[api]()
    assert (answer.status_code, found) == (status, expected), json.dumps(body)
    request_id = body["error"]["data"]["request_id"] if api == "mcp" else body["request_id"]
    assert request_id == answer.headers["x-request-id"]


@pytest.mark.parametrize("operation", REQUESTS)
@pytest.mark.parametrize("name", REASONS)
def test_refused(refusing: Served, credentials: dict[str, str], vendor: Vendor, name: str, operation: str) -> None:
    """The documented status and code, in the caller's dialect, on every path, and no vendor is asked."""
    reason = REASONS[name]
    if operation not in reason.operations:
        # what the reason does not concern goes on; only a token cannot mint, whatever it is narrowed to
        expected = 403 if operation == "tokens" and credentials[name].startswith("st-") else 200
        assert all(one.status_code == expected for _, one in ask(refusing, operation, credentials[name]))
        return
    before = vendor.totals()["calls"]
    for api, answer in ask(refusing, operation, credentials[name]):
        check(api, answer, reason.status, reason.code, reason.native_code)
    assert vendor.totals()["calls"] == before


@pytest.mark.parametrize("operation", REQUESTS)
def test_operation_outside_the_list(refusing: Served, credentials: dict[str, str], operation: str) -> None:
    """A key with every operation but this one."""
    for api, answer in ask(refusing, operation, credentials[f"not {operation}"]):
        check(api, answer, 403, "operation_not_allowed", "AccessDenied")


@pytest.mark.parametrize("operation", REQUESTS)
def test_allowed(refusing: Served, operation: str) -> None:
    """The matrix would notice if nobody were let through."""
    for _, answer in ask(refusing, operation, refusing.key):
        assert answer.status_code == 200, answer.text
