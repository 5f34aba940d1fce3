"""One installation for all pages of the console, its owner, and a browser."""

import json
import re
import time
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser

from browser import chromium
from installation import VECTORS_ALONE, Installation, Vendor, vendor_config
from people import HOSTILE, Person, call
from steelyard.web.console.modes import MODES
from steelyard.web.console.nav import NAV, SETTINGS_NAV

#: Looked at every second, so that nobody waits for figures; and hardly a free token, so that calls cost something.
CONSOLE = """
[console]
development = true

[monitor]
scrape_interval_s = 1

[monitor.rules.own]
files = ["rules.yml"]
workspace = "default"

[quota]
free_tokens = 10

[models."qwen-plus"]
targets = [{provider = "fake"}]
price = {input = "2.00", output = "8.00", currency = "CNY"}

[models."qwen-turbo"]
targets = [{provider = "fake"}]
price = {input = "0.30", output = "0.60", currency = "CNY"}
"""


#: One alert is always on, with a hostile text.
RULES = f"""
groups:
- name: own
  interval: 1s
  rules:
  - alert: AlwaysOn
    expr: vector(1) > 0
    annotations: {{summary: {json.dumps(HOSTILE.replace("{{7*7}}", ""))}}}
"""


@pytest.fixture(scope="package")
def house(tmp_path_factory: pytest.TempPathFactory, vendor: Vendor) -> Iterator[Installation]:
    config = vendor_config(vendor, CONSOLE, engines=VECTORS_ALONE)
    directory = tmp_path_factory.mktemp("console")
    (directory / "rules.yml").write_text(RULES)
    with Installation(directory, config) as installation:
        installation.cli("activate")
        yield installation


@pytest.fixture(scope="package")
def owner(house: Installation) -> Person:
    return Person(house).found()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="package")
def pages(house: Installation, owner: Person) -> list[str]:
    """The address of every page, each with something on it."""
    key = house.create_key(name=HOSTILE)
    call(house, key["key"], HOSTILE)
    receipt = owner.get(f"/console/requests?key={key['id']}")
    while not (found := re.search(r"/console/requests/([0-9a-f-]{36})", receipt.text)):
        receipt = owner.get(f"/console/requests?key={key['id']}")
    owner.post("/console/apps", name=HOSTILE, model="priced", instructions=HOSTILE, tools="calculator")
    app = re.findall(r'href="(/console/apps/[^"/]+)"', owner.get("/console/apps").text)[-1]
    owner.post(f"{app}/publish")
    owner.post("/console/knowledge", name=HOSTILE)
    base = re.findall(r'href="(/console/knowledge/[^"/]+)"', owner.get("/console/knowledge").text)[0]
    body = {"model": "local/poster", "input": {"prompt": HOSTILE}}
    headers = {"authorization": f"Bearer {key['key']}", "x-dashscope-async": "enable"}
    path = "/api/v1/services/aigc/text2image/image-synthesis"
    task = httpx.post(house.origin + path, headers=headers, json=body, timeout=30).json()["output"]["task_id"]
    while "SUCCEEDED" not in owner.get(f"/console/tasks/{task}").text:
        time.sleep(0.2)
    return [
        *(one.path for one in (*NAV, *SETTINGS_NAV)),
        "/console/activate", "/console/models/priced", "/console/providers/new", "/console/providers/new?vendor=deepseek",
        "/console/settings/keys/new", f"/console/settings/keys/{key['id']}", "/console/settings/workspaces/default",
        f"/console/requests/{found[1]}", "/console/requests?model=nothing", "/console/_parts",
        "/hub/?q=qwen", "/hub/providers/dashscope", "/hub/models/qwen-plus", "/hub/compare?model=qwen-plus&model=qwen-turbo",
        "/hub/?q=nothing+like+it", base, f"{base}/chunks", app, "/console/apps/new", "/console/plugins/calculator", "/console/plugins/new", f"/console/tasks/{task}",
        "/console/promql?q=up", *(f"/console/playground?mode={mode}" for mode in MODES), "/console/routes/new",
        "/hub/ranking", "/hub/replay?model=fake", "/hub/models/local/poster",
    ]  # fmt: skip
