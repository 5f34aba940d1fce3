"""Who is refused is refused everywhere: a matrix of operations and reasons, made from the program's own tables."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from installation import Installation, Served, Vendor, vendor_config
from steelyard.control.keys import OPERATIONS

HI = [{"role": "user", "content": "hi"}]
#: operation -> method, path, body; every operation of the program must be here
REQUESTS: dict[str, tuple[str, str, dict[str, Any] | None]] = {
    "chat": ("POST", "/v1/chat/completions", {"model": "fake", "messages": HI}),
    "completions": ("POST", "/v1/completions", {"model": "fake", "prompt": "hi"}),
    "models": ("GET", "/v1/models", None),
    "tokens": ("POST", "/api/v1/tokens", None),
}
#: Operations that name a model.
WITH_MODEL = ("chat", "completions")
PREFIXES = {
    "chat": ("/v1", "/compatible-mode/v1"),
    "completions": ("/v1", "/compatible-mode/v1"),
    "models": ("/v1", "/compatible-mode/v1"),
}


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


def ask(served: Served, operation: str, credential: str) -> list[httpx.Response]:
    """The operation on every path that it has."""
    method, path, body = REQUESTS[operation]
    suffix = path.removeprefix("/v1")
    paths = [prefix + suffix for prefix in PREFIXES.get(operation, ())] or [path]
    headers = {"Authorization": f"Bearer {credential}"}
    return [httpx.request(method, served.origin + one, headers=headers, json=body, timeout=10) for one in paths]


def check(answer: httpx.Response, operation: str, status: int, code: str, native_code: str) -> None:
    body = answer.json()
    found = body["code"] if operation == "tokens" else body["error"]["code"]
    assert (answer.status_code, found) == (status, native_code if operation == "tokens" else code), json.dumps(body)
    assert body["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("operation", REQUESTS)
@pytest.mark.parametrize("name", REASONS)
def test_refused(refusing: Served, credentials: dict[str, str], vendor: Vendor, name: str, operation: str) -> None:
    """The documented status and code, in the caller's dialect, on every path, and no vendor is asked."""
    reason = REASONS[name]
    if operation not in reason.operations:
        # what the reason does not concern goes on; only a token cannot mint, whatever it is narrowed to
        expected = 403 if operation == "tokens" and credentials[name].startswith("st-") else 200
        assert all(one.status_code == expected for one in ask(refusing, operation, credentials[name]))
        return
    before = vendor.totals()["calls"]
    for answer in ask(refusing, operation, credentials[name]):
        check(answer, operation, reason.status, reason.code, reason.native_code)
    assert vendor.totals()["calls"] == before


@pytest.mark.parametrize("operation", REQUESTS)
def test_operation_outside_the_list(refusing: Served, credentials: dict[str, str], operation: str) -> None:
    """A key with every operation but this one."""
    for answer in ask(refusing, operation, credentials[f"not {operation}"]):
        check(answer, operation, 403, "operation_not_allowed", "AccessDenied")


@pytest.mark.parametrize("operation", REQUESTS)
def test_allowed(refusing: Served, operation: str) -> None:
    """The matrix would notice if nobody were let through."""
    assert all(one.status_code == 200 for one in ask(refusing, operation, refusing.key))
