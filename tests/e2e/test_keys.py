"""Keys against a running server: made, limited, ended, found; nothing of a secret is kept or shown again."""

import json
import sqlite3
import time

import httpx
import pytest

from installation import Served

HI = [{"role": "user", "content": "hi"}]


def call(served: Served, key: str, *, model: str = "fake", **headers: str) -> httpx.Response:
    body = {"model": model, "messages": HI}
    return httpx.post(served.origin + "/v1/chat/completions", json=body, headers={**served.headers(key), **headers})


def until(served: Served, key: str, status: int, within_s: float = 2.0) -> float:
    """How long it took until calls with the key got the status."""
    began = time.monotonic()
    while time.monotonic() - began < within_s:
        if call(served, key).status_code == status:
            return time.monotonic() - began
        time.sleep(0.02)
    raise AssertionError(f"still not {status} after {within_s} s")


def test_serve_makes_no_key(make_installation) -> None:
    """After `serve` alone there is no key, and the 401 names the command."""
    installation = make_installation()
    with installation:
        answer = httpx.post(installation.origin + "/v1/chat/completions", json={})
        assert answer.status_code == 401
        assert "steelyard keys create --name" in answer.json()["error"]["message"]
        assert json.loads(installation.cli("keys", "list", "--json").stdout) == []


@pytest.mark.parametrize("placeholder", ["你的密钥", "YOUR_API_KEY", "sk-xxxxxxxx", "<your-key>"])
def test_placeholder_is_named(served: Served, placeholder: str) -> None:
    """The article's placeholder, as UTF-8 in a header, is told apart from a wrong key."""
    headers = [(b"authorization", b"Bearer " + placeholder.encode())]
    answer = httpx.post(served.origin + "/v1/chat/completions", json={}, headers=headers)
    assert answer.status_code == 401
    assert "Replace the placeholder with your key" in answer.json()["error"]["message"]


def test_new_key_works_at_once_and_deleted_key_ends_within_two_seconds(served: Served) -> None:
    """Deletion by the command line reaches the gateway within two seconds, and lasts."""
    made = served.installation.create_key(name="short-lived")
    assert call(served, made["key"]).status_code == 200
    served.installation.cli("keys", "delete", made["id"])
    assert until(served, made["key"], 401) < 2
    time.sleep(0.3)
    assert call(served, made["key"]).json()["error"]["code"] == "invalid_api_key"


def test_disable_and_enable(served: Served) -> None:
    """A disabled key says so; enabling brings it back."""
    made = served.installation.create_key(name="switched")
    served.installation.cli("keys", "disable", made["id"])
    until(served, made["key"], 401)
    assert "disabled" in call(served, made["key"]).json()["error"]["message"]
    served.installation.cli("keys", "enable", made["id"])
    until(served, made["key"], 200)


def test_what_ends_for_a_key_ends_on_a_connection_that_goes_on(served: Served) -> None:
    """The same request, byte for byte, on one kept-alive connection: each change is met by the next call, and so is its undoing."""
    cli = served.installation.cli
    cli("workspaces", "create", "kept")
    cli("activate", "--workspace", "kept")
    made = served.installation.create_key("--workspace", "kept", name="kept")
    with httpx.Client(headers=served.headers(made["key"])) as client:

        def status() -> int:
            return client.post(
                served.origin + "/v1/chat/completions", json={"model": "fake", "messages": HI}
            ).status_code

        def comes(expected: int) -> None:
            give_up_at = time.monotonic() + 2
            while status() != expected:
                assert time.monotonic() < give_up_at, f"still not {expected}"
                time.sleep(0.02)

        assert [status() for _ in range(5)] == [200] * 5
        for change, refusal, undoing in (
            (["workspaces", "models", "kept", "priced"], 403, ["workspaces", "models", "kept"]),
            (["keys", "disable", made["id"]], 401, ["keys", "enable", made["id"]]),
            (["keys", "limit", made["id"], "--rpm", "1"], 429, ["keys", "limit", made["id"]]),
            (["keys", "delete", made["id"]], 401, None),
        ):
            cli(*change)
            comes(refusal)
            if undoing is not None:
                cli(*undoing)
                comes(200)
        # one connection was enough for all of it
        assert len(client._transport._pool.connections) == 1  # type: ignore[attr-defined]


def test_rotate_with_grace(served: Served) -> None:
    """The successor works at once, the old key until its grace ends."""
    made = served.installation.create_key("--models", "fake", name="rotated")
    new = json.loads(served.installation.cli("keys", "rotate", made["id"], "--grace", "2s", "--json").stdout)
    assert new["models"] == ["fake"]
    assert call(served, new["key"]).status_code == 200
    assert call(served, made["key"]).status_code == 200
    assert until(served, made["key"], 401, within_s=4) > 0.5


def test_limits_of_a_key(served: Served) -> None:
    """Models, operations and networks outside the key's lists are refused, each saying what to do."""
    by_model = served.installation.create_key("--models", "fake", name="m")["key"]
    refused = call(served, by_model, model="priced")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "Model.AccessDenied")
    assert "You do not have access to this model" in refused.json()["error"]["message"]
    listed = httpx.get(served.origin + "/v1/models", headers=served.headers(by_model)).json()["data"]
    assert [one["id"] for one in listed] == ["fake"]
    by_operation = served.installation.create_key("--operations", "completions", name="o")["key"]
    assert call(served, by_operation).json()["error"]["code"] == "operation_not_allowed"
    by_network = served.installation.create_key("--networks", "10.0.0.0/8", name="n")["key"]
    assert call(served, by_network).json()["error"]["code"] == "network_not_allowed"
    # no proxy is trusted, so a header cannot lend an address
    forged = call(served, by_network, **{"x-forwarded-for": "10.1.2.3"})
    assert forged.json()["error"]["code"] == "network_not_allowed"
    expired = served.installation.create_key("--expires", "1s", name="e")["key"]
    assert until(served, expired, 401, within_s=3) >= 0


def test_workspaces(served: Served) -> None:
    """A key of a workspace that is not activated is told the command; a foreign workspace header is refused."""
    served.installation.cli("workspaces", "create", "team-b")
    key = served.installation.create_key("--workspace", "team-b", name="b")["key"]
    refused = call(served, key)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "AccessDenied.Unpurchased")
    assert "steelyard activate --workspace team-b" in refused.json()["error"]["message"]
    served.installation.cli("activate", "--workspace", "team-b")
    until(served, key, 200)
    mismatch = call(served, served.key, **{"X-DashScope-WorkSpace": "team-b"})
    assert mismatch.json()["error"]["code"] == "workspace_mismatch"


def test_only_digests_are_stored(served: Served) -> None:
    """No secret is in the database, in the log, or in a list."""
    secret = served.installation.create_key(name="unseen")["key"]
    call(served, secret)
    for path in served.installation.data_dir.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path
    assert secret not in served.installation.log_text()
    assert secret not in served.installation.cli("keys", "list", "--json").stdout
    database = sqlite3.connect(served.installation.data_dir / "steelyard.db")
    assert all(len(digest) == 64 for (digest,) in database.execute("select digest from api_key"))
    database.close()
    assert (served.installation.data_dir / "secret.key").stat().st_mode & 0o777 == 0o600


def test_scan_finds_our_keys_alone(served: Served, tmp_path) -> None:
    """The checksum keeps look-alikes out; a key of this installation is told by name."""
    secret = served.installation.create_key(name="leaked")["key"]
    text = f"a = '{secret}'\nb = 'sk-{'a' * 42}'\n"
    (tmp_path / "leak.py").write_text(text)
    done = served.installation.cli("keys", "scan", str(tmp_path), "--json", check=False)
    rows = json.loads(done.stdout)
    assert done.returncode == 1
    assert [(row["line"], row["column"]) for row in rows] == [(1, 6)]
    assert "leaked" in rows[0]["key"]
    assert secret not in done.stdout
    assert served.installation.cli("keys", "scan", "--stdin", input_text="nothing here").returncode == 0


def test_control_api_takes_an_admin_key(served: Served) -> None:
    """The same use-cases over HTTP; an api key is refused, except for its own usage."""
    admin = served.headers(served.admin_key)
    url = served.origin + "/control/v1/keys"
    assert httpx.get(url, headers=served.headers()).status_code == 403
    made = httpx.post(url, headers=admin, json={"name": "by-http", "models": ["fake"]})
    assert made.status_code == 201
    key_id, secret = made.json()["id"], made.json()["key"]
    assert call(served, secret).status_code == 200
    assert "key" not in httpx.get(f"{url}/{key_id}", headers=admin).json()
    assert httpx.delete(f"{url}/{key_id}", headers=admin).json() == {"id": key_id, "deleted": True}
    until(served, secret, 401)
    wrong = httpx.post(url, headers=admin, json={"name": 5})
    assert (wrong.status_code, "name" in wrong.json()["error"]["message"]) == (400, True)
    unknown = httpx.post(url, headers=admin, json={"name": "x", "colour": 1})
    assert "colour" in unknown.json()["error"]["message"]
    document = httpx.get(served.origin + "/control/v1/openapi.json", headers=admin).json()
    assert document["openapi"] == "3.1.0"
    assert "/control/v1/keys/{key_id}/rotate" in document["paths"]


def test_internal_paths_are_not_relayed(served: Served) -> None:
    """What the gateways ask the face cannot be asked from outside, nor can a principal be claimed."""
    for path in ("/internal/grant", "/control/v1/../../internal/grant", "/%69nternal/grant", "//internal/grant"):
        answer = httpx.post(served.origin + path, json={"digest": "0"}, headers=served.headers(served.admin_key))
        assert answer.status_code in (400, 404), path
    forged = httpx.get(
        served.origin + "/control/v1/keys", headers={**served.headers(), "x-steelyard-principal": "e30="}
    )
    assert forged.status_code == 403
