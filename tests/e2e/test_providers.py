"""Providers and routes, added while running, by command line, control API and file; keys are never shown, names are shown first."""

import json
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from installation import Installation, Served, Vendor, vendor_config

HI = [{"role": "user", "content": "hi"}]
SECRET = "vendor-secret-4711"


@pytest.fixture(scope="module")
def open_ended(tmp_path_factory: pytest.TempPathFactory, vendor: Vendor) -> Iterator[Served]:
    """An installation with one provider in its file; more come while it runs."""
    installation = Installation(tmp_path_factory.mktemp("open-ended"), vendor_config(vendor))
    with installation:
        yield Served(installation)


def call(served: Served, model: str) -> httpx.Response:
    url = f"{served.origin}/v1/chat/completions"
    return httpx.post(url, json={"model": model, "messages": HI}, headers=served.headers(), timeout=30)


def wait_status(served: Served, model: str, status: int, within_s: float = 2.5) -> httpx.Response:
    give_up_at = time.monotonic() + within_s
    while (answer := call(served, model)).status_code != status:
        assert time.monotonic() < give_up_at, f"{model}: {answer.text}"
        time.sleep(0.05)
    return answer


def admin(served: Served, method: str, path: str, **options: Any) -> httpx.Response:
    headers = served.headers(served.admin_key)
    return httpx.request(method, f"{served.origin}/control/v1{path}", headers=headers, timeout=30, **options)


def test_added_by_command_line(open_ended: Served, vendor: Vendor) -> None:
    """Tried, its names shown, in use within two seconds in every process; its key sealed; removed again."""
    cli = open_ended.installation.cli
    words = ("providers", "add", "second", "--base-url", vendor.base_url, "--models", "second-model=fake")
    asked = cli(*words, "--api-key", SECRET, check=False)
    assert (asked.returncode, "--yes" in asked.stderr) == (1, True)
    assert call(open_ended, "second-model").status_code == 404
    done = cli(*words, "--api-key", "-", "--yes", "--json", input_text=SECRET + "\n")
    shown = json.loads(done.stdout)
    assert shown["names"] == {"second-model": "new"}
    assert [(one["probe"], one["ok"]) for one in shown["probes"]] == [
        ("models", True),
        ("chat", True),
        ("stream", True),
    ]
    answer = wait_status(open_ended, "second-model", 200)
    assert answer.headers["x-steelyard-target"] == "second/fake"
    assert answer.json()["model"] == "second-model"
    assert vendor.seen()["calls"][-1]["headers"]["authorization"] == f"Bearer {SECRET}"
    listed = cli("providers", "list", "--json")
    origins = {one["name"]: one["origin"] for one in json.loads(listed.stdout)}
    assert origins == {"fake": "file", "fake-native": "file", "fake-messages": "file", "second": "set"}
    assert [one["ok"] for one in json.loads(cli("providers", "test", "second", "--json").stdout)] == [True] * 3
    kept = (open_ended.installation.data_dir / "steelyard.db").read_bytes()
    wal = (open_ended.installation.data_dir / "steelyard.db-wal").read_bytes()
    for text in (listed.stdout, done.stdout, kept.decode("latin-1"), wal.decode("latin-1")):
        assert SECRET not in text
    assert SECRET not in open_ended.installation.log_text()
    cli("providers", "remove", "second")
    wait_status(open_ended, "second-model", 404)


@pytest.mark.parametrize(("kind", "base"), [("dashscope", "/api/v1"), ("anthropic", ""), ("steelyard", "/v1")])
def test_every_kind_of_provider(open_ended: Served, vendor: Vendor, kind: str, base: str) -> None:
    """Its list read and a call and a stream tried in its own API; then it answers a call of any other."""
    cli = open_ended.installation.cli
    words = ("--kind", kind, "--base-url", f"http://127.0.0.1:{vendor.port}{base}", "--models", f"{kind}-model=fake")
    done = cli("providers", "add", kind, *words, "--api-key", "-", "--yes", "--json", input_text=SECRET + "\n")
    probes = [(one["probe"], one["ok"]) for one in json.loads(done.stdout)["probes"]]
    assert probes == [("models", True), ("chat", True), ("stream", True)], done.stdout
    answer = wait_status(open_ended, f"{kind}-model", 200)
    assert answer.json()["choices"][0]["message"]["content"] == "Hello from the fake vendor"
    cli("providers", "remove", kind)


def test_vendors_by_name_and_kind(open_ended: Served) -> None:
    """A vendor may be asked by several APIs; an unknown kind, or one that it does not have, is named."""
    cli = open_ended.installation.cli
    for words, part in (
        (("--vendor", "dashscope", "--kind", "telex"), "kind must be one of openai, steelyard, dashscope, anthropic"),
        (("--vendor", "siliconflow", "--kind", "anthropic"), "siliconflow has no address for kind 'anthropic'"),
        (("--vendor", "dashscope", "--kind", "dashscope", "--region", "mars"), "known: beijing, singapore, virginia"),
    ):
        refused = cli("providers", "add", "wrong", *words, check=False)
        assert (refused.returncode, part in refused.stderr) == (1, True), refused.stderr


def test_reference_to_a_key_stays_one(open_ended: Served, vendor: Vendor, tmp_path: Any) -> None:
    """`file:PATH` is read where it is used; a reference that leads nowhere is told at once."""
    path = tmp_path / "key"
    path.write_text("from-a-file\n")
    cli = open_ended.installation.cli
    words = ("providers", "add", "third", "--base-url", vendor.base_url, "--models", "third-model=fake", "--yes")
    cli(*words, "--api-key", f"file:{path}")
    wait_status(open_ended, "third-model", 200)
    assert vendor.seen()["calls"][-1]["headers"]["authorization"] == "Bearer from-a-file"
    with sqlite3.connect(open_ended.installation.data_dir / "steelyard.db") as database:
        (kept,) = database.execute("select api_key from provider where name = 'third'").fetchone()
    assert kept == f"file:{path}"
    lost = cli("providers", "add", "fourth", "--base-url", vendor.base_url, "--api-key", "env:NOT_SET", check=False)
    assert (lost.returncode, "NOT_SET, which is not set" in lost.stderr) == (1, True)
    cli("providers", "remove", "third")


def test_added_by_control_api(open_ended: Served, vendor: Vendor) -> None:
    """Previewed, added, found again without its key, tested, removed."""
    wish = {"name": "remote", "base_url": vendor.base_url, "api_key": SECRET, "models": ["remote-model=fake"]}
    preview = admin(open_ended, "POST", "/providers/preview", json=wish)
    assert preview.json()["names"] == {"remote-model": "new"}
    assert call(open_ended, "remote-model").status_code == 404
    assert admin(open_ended, "POST", "/providers", json=wish).status_code == 201
    wait_status(open_ended, "remote-model", 200)
    listed = admin(open_ended, "GET", "/providers").text
    assert "remote" in listed
    assert SECRET not in listed + preview.text
    assert admin(open_ended, "POST", "/providers/remote/test").json()["probes"][1]["ok"] is True
    assert admin(open_ended, "POST", "/providers", json=wish).status_code == 409
    assert admin(open_ended, "DELETE", "/providers/remote").status_code == 200
    assert admin(open_ended, "DELETE", "/providers/remote").status_code == 404
    assert httpx.get(f"{open_ended.origin}/control/v1/providers", headers=open_ended.headers()).status_code == 403


@pytest.mark.parametrize("reference", ["file:/etc/hostname", "env:HOME", "env:PATH"])
def test_an_admin_from_afar_reads_no_file_of_ours(open_ended: Served, vendor: Vendor, reference: str) -> None:
    """A reference over the network must not send what this machine has to an address of the caller's choosing."""
    before = vendor.totals()["calls"]
    answer = admin(
        open_ended,
        "POST",
        "/providers/preview",
        json={"name": "spy", "base_url": vendor.base_url, "api_key": reference},
    )
    assert (answer.status_code, "Over the network" in answer.text) == (400, True)
    assert vendor.totals()["calls"] == before


@pytest.mark.parametrize(
    ("wish", "part"),
    [
        ({"name": "X Y", "base_url": "http://x"}, "lower-case"),
        ({"name": "local", "base_url": "http://x"}, "lower-case"),
        ({"name": "a", "base_url": "ftp://x"}, "http:// or https://"),
        ({"name": "a"}, "http:// or https://"),
        ({"name": "a", "vendor": "nobody"}, "no vendor 'nobody'"),
        ({"name": "a", "vendor": "deepseek", "region": "moon"}, "no region 'moon'"),
        ({"name": "a", "base_url": "http://x", "kind": "smoke"}, "kind must be one of"),
        ({"name": "a", "base_url": "http://x", "api_key": "a\nb"}, "line break"),
        ({"name": "a", "base_url": "http://x", "foo": 1}, "foo"),
        ({"name": "fake", "base_url": "http://x"}, "configuration file declares"),
    ],
)
def test_bad_wishes_are_refused_by_name(open_ended: Served, wish: dict[str, Any], part: str) -> None:
    """Nothing is asked of anybody before the wish makes sense."""
    answer = admin(open_ended, "POST", "/providers/preview", json=wish)
    assert answer.status_code in (400, 409)
    assert part in answer.json()["error"]["message"]


def test_what_fails_is_told(open_ended: Served, vendor: Vendor) -> None:
    """A provider that does not answer is shown as such, by probe."""
    answer = admin(open_ended, "POST", "/providers/preview", json={"name": "gone", "base_url": "http://127.0.0.1:9/v1"})
    probes = answer.json()["probes"]
    assert probes[0]["ok"] is False
    assert "cannot connect" in probes[0]["detail"]


def test_names_come_from_the_public_list(open_ended: Served, vendor: Vendor) -> None:
    """A known vendor's models bring names, aliases, abilities and prices; one's own address may stand in for the vendor's."""
    wish = {"name": "deep", "vendor": "deepseek", "base_url": vendor.base_url, "models": ["deepseek-v3=deepseek-chat"]}
    assert admin(open_ended, "POST", "/providers", json=wish).status_code == 201
    answer = wait_status(open_ended, "deepseek-v3", 200)
    assert vendor.seen()["calls"][-1]["body"]["model"] == "deepseek-chat"
    assert call(open_ended, "deepseek-chat").headers["x-steelyard-target"] == "deep/deepseek-chat"
    time.sleep(1.2)
    receipt = admin(open_ended, "GET", f"/requests/{answer.headers['x-request-id']}/receipt").json()
    assert receipt["price"]["version"].startswith("list-")
    assert receipt["settlement"]["cost_micros"] == 10 * 2 + 5 * 3
    models = {one["name"]: one for one in admin(open_ended, "GET", "/models").json()["data"]}
    assert models["deepseek-v3"]["targets"][0]["capabilities"] == ["tools", "thinking"]
    search = httpx.post(
        f"{open_ended.origin}/v1/chat/completions",
        json={"model": "deepseek-v3", "messages": HI, "enable_search": True},
        headers=open_ended.headers(),
    )
    assert search.json()["error"]["message"] == "This model does not support enable_search."
    # a second provider of the same name joins as another target
    twin = {"name": "twin", "vendor": "siliconflow", "base_url": vendor.base_url, "models": ["deepseek-v3=x/y"]}
    assert admin(open_ended, "POST", "/providers/preview", json=twin).json()["names"] == {"deepseek-v3": "joins deep"}
    assert admin(open_ended, "POST", "/providers", json=twin).status_code == 201
    time.sleep(1.5)
    seen = {call(open_ended, "deepseek-v3").headers["x-steelyard-target"] for _ in range(30)}
    assert seen == {"deep/deepseek-chat", "twin/x/y"}
    for name in ("deep", "twin"):
        assert admin(open_ended, "DELETE", f"/providers/{name}").status_code == 200


def test_routes(open_ended: Served, vendor: Vendor) -> None:
    """Set by command line and control API; the file's are read-only; a removed one gives back what it hid."""
    cli = open_ended.installation.cli
    cli("providers", "add", "one", "--base-url", vendor.base_url, "--models", "shared=fake", "--yes")
    cli("providers", "add", "two", "--base-url", vendor.base_url, "--models", "other=fake", "--yes")
    done = cli(
        "routes", "set", "shared", "two/fake", "one/fake@1*3", "--max-attempts", "2", "--aliases", "also", "--json"
    )
    assert [one["target"] for one in json.loads(done.stdout)["targets"]] == ["two/fake", "one/fake"]
    time.sleep(1.5)
    assert {call(open_ended, "shared").headers["x-steelyard-target"] for _ in range(8)} == {"two/fake"}
    assert call(open_ended, "also").json()["model"] == "also"
    listed = {one["model"]: one for one in json.loads(cli("routes", "list", "--json").stdout)}
    assert (listed["shared"]["origin"], listed["other"]["origin"], listed["fake"]["origin"]) == (
        "set",
        "provider",
        "file",
    )
    cli("routes", "remove", "shared")
    time.sleep(1.5)
    assert call(open_ended, "shared").headers["x-steelyard-target"] == "one/fake"
    path = "/routes/vendor/with/slashes"
    body = {"targets": [{"provider": "one", "model": "fake"}], "price": {"input_micros": 7, "version": "mine"}}
    assert admin(open_ended, "PUT", path, json=body).json()["targets"][0]["price"] == "mine"
    assert wait_status(open_ended, "vendor/with/slashes", 200)
    assert admin(open_ended, "DELETE", path).status_code == 200
    for words, part in (
        (("routes", "set", "fake", "one/fake"), "configuration file declares"),
        (("routes", "set", "x", "nobody/fake"), "no provider 'nobody'"),
        (("routes", "set", "x", "one/fake*0"), "weight lies in"),
        (("routes", "set", "x", "one/fake@high"), "is no target"),
        (("routes", "set", "x"), "1 to 20 targets"),
        (("routes", "remove", "x"), "no route"),
    ):
        failed = cli(*words, check=False)
        assert (failed.returncode, part in failed.stderr) == (1, True), failed.stderr
    for name in ("one", "two"):
        cli("providers", "remove", name)


def test_vendors_by_name(open_ended: Served) -> None:
    """Every row has an address, and says how to get a key in both languages."""
    rows = json.loads(open_ended.installation.cli("providers", "vendors", "--json").stdout)
    assert {"dashscope", "deepseek", "moonshot", "zhipu", "siliconflow", "openai", "vllm", "ollama", "xinference"} <= {
        one["vendor"] for one in rows
    }
    for one in rows:
        assert one["regions"]
        assert all(len(text) >= 4 for text in one["key"])


def test_a_provider_ends_the_stand_ins(make_installation: Any, vendor: Vendor) -> None:
    """Embedded names are answered by stand-ins only while no provider is configured, wherever it is configured."""
    installation = make_installation()
    installation.cli("models", "pull")
    installation.start()
    served = Served(installation)
    assert "stand-in" in installation.cli("models", "list").stdout
    installation.cli("providers", "add", "v", "--base-url", vendor.base_url, "--models", "fake", "--yes")
    wait_status(served, "qwen-plus", 404)
    assert wait_status(served, "fake", 200)
    assert "stand-in" not in installation.cli("models", "list").stdout
    installation.stop()


def test_vendor_in_the_file(make_installation: Any) -> None:
    """A row of the public list gives address and names; faults are told with their path."""
    installation = make_installation('[providers.deepseek]\nvendor = "deepseek"\napi_key = "x"\n')
    listed = {one["model"]: one for one in json.loads(installation.cli("routes", "list", "--json").stdout)}
    assert listed["deepseek-v3"]["targets"][0]["target"] == "deepseek/deepseek-chat"
    assert listed["deepseek-chat"]["origin"] == "provider"
    installation.config.write_text('[providers.a]\nvendor = "nobody"\n[providers.b]\n')
    failed = installation.cli("config", "check", check=False)
    assert failed.returncode == 1
    assert "providers.a.vendor: There is no vendor 'nobody'" in failed.stderr
    assert "providers.b.base_url" in failed.stderr
