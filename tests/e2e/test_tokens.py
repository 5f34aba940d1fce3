"""Temporary tokens: minted by a key, narrowed, spent, revoked; never more than the key they come from."""

import json
import time
from typing import Any

import httpx
import pytest

from installation import Served

HI = [{"role": "user", "content": "hi"}]


def mint(served: Served, key: str | None = None, query: str = "", body: dict[str, Any] | None = None) -> httpx.Response:
    return httpx.post(f"{served.origin}/api/v1/tokens{query}", headers=served.headers(key), json=body, timeout=10)


def call(served: Served, credential: str, model: str = "fake", **headers: str) -> httpx.Response:
    body = {"model": model, "messages": HI}
    url = served.origin + "/v1/chat/completions"
    return httpx.post(url, json=body, headers={"Authorization": f"Bearer {credential}", **headers}, timeout=10)


def test_token_as_the_vendor_mints_it(served: Served) -> None:
    """`curl -X POST …/api/v1/tokens?expire_in_seconds=1800`, empty body: token and expires_at, and it works."""
    url = f"{served.origin}/api/v1/tokens?expire_in_seconds=1800"
    answer = httpx.post(url, headers=served.headers())
    assert answer.status_code == 200
    made = answer.json()
    assert made["token"].startswith("st-")
    assert 1795 <= made["expires_at"] - time.time() <= 1801
    assert 55 <= mint(served).json()["expires_at"] - time.time() <= 61
    assert call(served, made["token"]).status_code == 200
    models = httpx.get(f"{served.origin}/v1/models", headers=served.headers(made["token"]))
    assert models.status_code == 200


@pytest.mark.parametrize("value", ["0", "1801", "-5", "soon", "1e3", "99999999999999999999"])
def test_lifetime_outside_its_range(served: Served, value: str) -> None:
    """400 in the native envelope."""
    answer = mint(served, query=f"?expire_in_seconds={value}")
    assert answer.status_code == 400
    body = answer.json()
    assert (body["code"], body["message"]) == ("InvalidParameter", "Range of expire_in_seconds should be [1, 1800]")
    assert body["request_id"] == answer.headers["x-request-id"]


def test_who_may_mint(served: Served) -> None:
    """No key, a wrong key, a token: refused in the native envelope."""
    assert httpx.post(f"{served.origin}/api/v1/tokens").json()["code"] == "InvalidApiKey"
    assert mint(served, "sk-wrong").status_code == 401
    token = mint(served).json()["token"]
    refused = mint(served, token)
    assert (refused.status_code, refused.json()["code"]) == (403, "AccessDenied")
    limited = served.installation.create_key("--operations", "chat", name="no-minting")
    assert mint(served, limited["key"]).status_code == 403
    assert httpx.get(f"{served.origin}/api/v1/tokens", headers=served.headers()).status_code == 400


def test_expired_and_altered_tokens(served: Served) -> None:
    """After its second it is worth nothing, and so is a changed one."""
    token = mint(served, query="?expire_in_seconds=2").json()["token"]
    assert call(served, token).status_code == 200
    assert call(served, token[:-8] + "AAAA" + token[-4:]).status_code == 401
    time.sleep(2.1)
    answer = call(served, token)
    assert (answer.status_code, answer.json()["error"]["message"]) == (401, "invalid access token or token expired")
    assert answer.json()["error"]["code"] == "invalid_api_key"


def test_token_ends_with_its_key(served: Served) -> None:
    """Deletion of the parent reaches its tokens within two seconds; a disabled parent does so too."""
    for word in ("delete", "disable"):
        parent = served.installation.create_key(name=f"parent-{word}")
        token = mint(served, parent["key"], "?expire_in_seconds=600").json()["token"]
        assert call(served, token).status_code == 200
        served.installation.cli("keys", word, parent["id"])
        give_up_at = time.monotonic() + 2
        while call(served, token).status_code != 401:
            assert time.monotonic() < give_up_at
            time.sleep(0.05)


def test_narrowing(served: Served) -> None:
    """Models, operations, one resource, an origin; each refusal says why."""
    models = mint(served, body={"models": ["priced"]}).json()["token"]
    assert call(served, models, "priced").status_code == 200
    assert call(served, models).json()["error"]["code"] == "Model.AccessDenied"
    operations = mint(served, body={"operations": ["completions"]}).json()["token"]
    assert call(served, operations).json()["error"]["code"] == "operation_not_allowed"
    resource = mint(served, body={"resource": "/v1/chat/completions"}).json()["token"]
    assert call(served, resource).status_code == 200
    refused = httpx.get(f"{served.origin}/v1/models", headers=served.headers(resource))
    assert (refused.status_code, "/v1/chat/completions alone" in refused.text) == (403, True)
    origin = mint(served, body={"origin": "https://app.example.com"}).json()["token"]
    assert call(served, origin, Origin="https://app.example.com").status_code == 200
    assert call(served, origin, Origin="https://evil.example.com").json()["error"]["code"] == "origin_not_allowed"
    assert call(served, origin).status_code == 403


def test_a_token_never_widens(served: Served) -> None:
    """What the key does not allow, its token cannot."""
    parent = served.installation.create_key("--models", "priced", name="narrow-parent")["key"]
    assert mint(served, parent, body={"models": ["fake"]}).status_code == 403
    token = mint(served, parent).json()["token"]
    assert call(served, token).status_code == 403
    assert call(served, token, "priced").status_code == 200
    for body in ({"operations": ["fly"]}, {"calls": 0}, {"resource": "v1"}, {"foo": 1}, {"spend": {"amount": 0}}):
        answer = mint(served, body=body)
        assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter")


def test_counted_tokens(served: Served) -> None:
    """`once`, so many calls, so many tokens: also when the calls come at the same moment."""
    once = mint(served, body={"once": True}).json()["token"]
    assert call(served, once).status_code == 200
    assert call(served, once).status_code == 429
    three = mint(served, body={"calls": 3}).json()["token"]
    assert [call(served, three).status_code for _ in range(5)] == [200, 200, 200, 429, 429]
    spend = mint(served, body={"spend": {"amount": 600}}).json()["token"]
    statuses = []
    for _ in range(80):
        statuses.append(call(served, spend).status_code)
        if statuses[-1] != 200:
            break
    assert statuses[-1] == 429
    # 15 tokens a call
    assert 10 <= len(statuses) <= 41


def test_revocation(served: Served) -> None:
    """By command line and by control API, within two seconds."""
    for way in ("cli", "api"):
        made = mint(served, query="?expire_in_seconds=600").json()
        assert call(served, made["token"]).status_code == 200
        if way == "cli":
            served.installation.cli("tokens", "revoke", made["id"])
        else:
            url = f"{served.origin}/control/v1/tokens/{made['id']}"
            assert httpx.delete(url, headers=served.headers(served.admin_key)).status_code == 200
        give_up_at = time.monotonic() + 2
        while call(served, made["token"]).status_code != 401:
            assert time.monotonic() < give_up_at
            time.sleep(0.05)
    assert served.installation.cli("tokens", "revoke", "sk-nonsense", check=False).returncode == 1


def test_step_up(served: Served) -> None:
    """A workspace may demand a token for dangerous operations; an admin's token does."""
    installation = served.installation
    installation.cli("workspaces", "create", "careful")
    installation.cli("activate", "--workspace", "careful")
    installation.cli("workspaces", "limit", "careful", "--step-up", "keys.delete")
    admin = installation.create_key("--kind", "admin", "--workspace", "careful", name="careful-admin")["key"]
    victim = installation.create_key("--workspace", "careful", name="victim")
    url = f"{served.origin}/control/v1/keys/{victim['id']}"
    refused = httpx.delete(url, headers=served.headers(admin))
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "token_required")
    token = mint(served, admin).json()["token"]
    assert httpx.delete(url, headers=served.headers(token)).status_code == 200
    assert installation.cli("workspaces", "limit", "careful", "--step-up", "x.y", check=False).returncode == 1


def test_command_line(served: Served) -> None:
    """`tokens create` mints over HTTP, as at the vendor."""
    done = served.installation.cli(
        "tokens", "create", "--once", "--json", "--base-url", served.origin, "--api-key", served.key
    )
    made = json.loads(done.stdout)
    assert call(served, made["token"]).status_code == 200
    failed = served.installation.cli(
        "tokens", "create", "--expires-in", "9999", "--base-url", served.origin, "--api-key", served.key, check=False
    )
    assert (failed.returncode, "[1, 1800]" in failed.stderr) == (1, True)
