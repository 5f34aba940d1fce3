"""Runs the judges, each in the environment where its unmodified SDK is installed."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app_house import House, calls, house_config
from installation import ROOT, Installation, Served, Vendor
from toolservers import mcp_server, weather_api

CLIENTS = ROOT / ".clients"
LLAMAINDEX = ROOT / ".clients-llamaindex"
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def judged(served: Served, embedded: Served, vendor: Vendor) -> dict[str, str]:
    """The environment that tells a judge what to call."""
    targets = {
        name: {"origin": one.origin, "key": one.key} for name, one in (("served", served), ("embedded", embedded))
    }
    signer = embedded.installation.create_key("--kind", "access-key", name="judge-signer")
    targets["embedded"] |= {name: signer[name] for name in ("access_key_id", "access_key_secret")}
    targets["vendor"] = {"port": str(vendor.port)}
    clean = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    return {**clean, "STEELYARD_JUDGED": json.dumps(targets)}


@pytest.fixture
def housed(
    judged: dict[str, str], vendor: Vendor, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """The same with apps, plugins and a knowledge base."""
    with (
        weather_api() as weather,
        mcp_server() as sums,
        Installation(tmp_path_factory.mktemp("house"), house_config(vendor)) as installation,
    ):
        house = House(installation)
        document = httpx.get(f"{weather}/openapi.json").text
        house.add_plugin("weather", kind="openapi", document=document, only=["get_forecast"])
        house.add_plugin("sums", kind="mcp", url=f"{sums}/mcp")
        forecast = [("weather__get_forecast", '{"city":"{user}"}')]
        nowhere = [("weather__get_forecast", '{"city":"Nowhere"}')]
        target = {
            "origin": house.origin,
            "key": house.key,
            "sums": sums,
            "base": house.make_base("手册.md", "# 手册\n\n## 年假\n\n员工每年有五天带薪年假。\n"),
            "weather_app": house.make_app(tools=["weather"], parameters={"script": calls(forecast, text="{tool}")}),
            "echo_app": house.make_app(is_mcp=True, parameters={"script": {"text": "{user}", "then": [{}]}}),
            "broken_app": house.make_app(tools=["weather"], parameters={"script": calls(nowhere, nowhere, text="")}),
        }
        targets = {**json.loads(judged["STEELYARD_JUDGED"]), "house": target}
        yield {**judged, "STEELYARD_JUDGED": json.dumps(targets)}


def test_apps_sdks(housed: dict[str, str]) -> None:
    """Apps and tools, by each vendor's SDK and the protocol's own client."""
    run_judge(CLIENTS, HERE / "judges" / "test_apps_sdk.py", housed, "-o", "asyncio_mode=auto")


@pytest.mark.parametrize(
    "file",
    [
        "test_openai_sdk.py",
        "test_langchain.py",
        "test_tongyi.py",
        "test_dashscope_sdk.py",
        "test_anthropic_sdk.py",
        "test_dashscope_media.py",
        "test_prometheus_clients.py",
        "test_bailian_sdk.py",
        "test_vector_stores_sdk.py",
    ],
)
def test_python_sdk(judged: dict[str, str], file: str) -> None:
    """Every check in the judge's file passes."""
    run_judge(CLIENTS, HERE / "judges" / file, judged, "-o", "asyncio_mode=auto")


def test_llamaindex(judged: dict[str, str]) -> None:
    """Its packages pin an older dashscope SDK, so they have an environment of their own."""
    run_judge(LLAMAINDEX, HERE / "judges_llamaindex" / "test_llamaindex.py", judged)


def run_judge(venv: Path, file: Path, judged: dict[str, str], *options: str) -> None:
    command = [str(venv / "bin/python"), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null"]
    command += ["--rootdir", str(file.parent), *options, str(file)]
    done = subprocess.run(command, env=judged, capture_output=True, text=True, cwd=file.parent, timeout=400)
    print(done.stdout[-6000:])
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


def test_node_sdk(judged: dict[str, str]) -> None:
    """The Node judge agrees."""
    node = shutil.which("node") or str(CLIENTS / "bin/node")
    done = subprocess.run(
        [node, "judge.mjs"], env=judged, capture_output=True, text=True, cwd=HERE / "node", timeout=200
    )
    assert (done.returncode, done.stdout.strip()) == (0, "ok"), done.stderr[-3000:]
