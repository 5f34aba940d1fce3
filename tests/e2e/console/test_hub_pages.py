"""The pages of the hub, in a real Chromium."""

import re
import time
from urllib.parse import unquote_plus

import httpx
from playwright.sync_api import Browser, expect

from browser import open_page
from installation import Installation
from people import HOSTILE, Person, call, sign_in

NAMES = ("answers", "first", "errors", "speed", "price")


def test_the_hub(house: Installation, owner: Person, browser: Browser) -> None:
    """What people call it finds it; models are compared; a provider's page leads to adding it."""
    watched = open_page(browser, house.origin, locale="zh-CN")
    page = sign_in(watched)
    page.get_by_role("link", name="API 广场").click()
    page.get_by_placeholder("阿里云百炼").fill("阿里云百炼 开放平台 API")
    page.get_by_role("button", name="查找").click()
    page.locator(".tiles a").first.click()
    expect(page.locator("h1")).to_contain_text("阿里云百炼")
    expect(page.locator("main")).to_contain_text("https://dashscope.aliyuncs.com/compatible-mode/v1")
    expect(page.get_by_role("link", name="接入服务商")).to_have_attribute(
        "href", "/console/providers/new?vendor=dashscope"
    )
    watched.goto("/hub/?q=便宜的中文长文本模型")
    for place in (0, 1):
        page.locator("tbody input").nth(place).check()
    page.get_by_role("button", name="对比").click()
    expect(page.locator("thead th")).to_have_count(3)
    expect(page.locator("main")).to_contain_text("1,000,000")
    with httpx.Client(base_url=house.origin) as stranger:
        assert stranger.get("/hub/").headers["location"] == "/console/sign-in?next=/hub/"
    assert watched.problems == []


def test_the_hub_by_meaning(house: Installation, owner: Person) -> None:
    """Words that nothing is called by find what they mean; what means nothing finds nothing."""
    page = owner.get("/hub/?q=让老照片里的人动起来", headers={"accept-language": "zh"}).text
    assert "按含义理解为：图生视频" in page
    assert "wan2.2-i2v" in page
    assert "图生视频" not in owner.get("/hub/?q=zzz+qqq").text.split("<main")[1]


def test_comparison_is_its_promql(house: Installation, owner: Person) -> None:
    """Figures of the comparison and of the ranking are those that the same PromQL gives for the same time."""
    key = house.create_key(name="measured")["key"]
    deadline = time.monotonic() + 60
    while (page := owner.get("/hub/compare?model=qwen-plus&model=qwen-turbo").text).count('data-figure="price"') < 2:
        # an increase needs a look before it and one behind
        call(house, key, model="qwen-plus", stream=True)
        call(house, key, model="qwen-turbo")
        time.sleep(1)
        assert time.monotonic() < deadline, page
    assert _agree(house, key, page) == {"qwen-plus": set(NAMES), "qwen-turbo": {"answers", "errors", "price"}}
    ranking = owner.get("/hub/ranking?window=1h&order=price").text
    assert _agree(house, key, ranking)["qwen-plus"] == set(NAMES)
    words = ("hub", "compare", "qwen-plus", "qwen-turbo", "--window", "7d", "--url", f"{house.origin}/prometheus")
    told = house.cli(*words, "--api-key", key).stdout
    assert "tokens/s" in told
    assert re.search(r"per answer\s+0\.0\d+ CNY\s+0\.0\d+ CNY", told), told
    assert ranking.index('data-model="qwen-turbo"') < ranking.index('data-model="qwen-plus"')


def _agree(house: Installation, key: str, page: str) -> dict[str, set[str]]:
    """Asks a page's queries again; which figures it had of each model."""
    at = re.search(r'data-at="(\d+)"', page)
    assert at is not None
    queries = list(dict.fromkeys(re.findall(r'href="/console/promql\?q=([^"]+)"', page.split("<main")[1])))
    told: dict[tuple[str, str], float] = {}
    for name, query in zip(NAMES, queries, strict=True):
        answer = httpx.get(
            f"{house.origin}/prometheus/api/v1/query",
            params={"query": unquote_plus(query), "time": at[1]},
            headers={"authorization": f"Bearer {key}"},
        ).json()["data"]["result"]
        told |= {(one["metric"]["model"], name): float(one["value"][1]) for one in answer}
    found: dict[str, set[str]] = {}
    for row in re.findall(r'data-model="[^"]+".*?(?=data-model="|</table>)', page, re.DOTALL):
        model = row.split('"')[1]
        for name, value in re.findall(r'data-figure="(\w+)" data-value="([^"]+)"', row):
            assert float(value) == told[model, name], (model, name)
            found.setdefault(model, set()).add(name)
    return found


def test_a_model_is_tried_in_place(house: Installation, owner: Person, browser: Browser) -> None:
    """Parameters, samples, errors with their cure, and an answer on the entry's own page."""
    house.create_key(name="taster")
    watched = open_page(browser, house.origin, locale="zh-CN")
    page = sign_in(watched)
    watched.goto("/hub/models/local/multilingual-e5-small")
    for heading in ("参数", "示例代码", "常见错误", "在此体验"):
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
    expect(page.locator("main")).to_contain_text("model_not_found")
    page.get_by_role("button", name="发送").click()
    expect(page.locator(".answer .told a")).to_have_count(1, timeout=30_000)
    assert watched.problems == []


def test_calls_are_asked_again(house: Installation, owner: Person, browser: Browser) -> None:
    """Nothing is kept until an operator says so; then the cost is told first, and the answers stand side by side."""
    key = house.create_key(name="replayer")
    call(house, key["key"], "said before anything was kept")
    watched = open_page(browser, house.origin, locale="en-US")
    page = sign_in(watched)
    watched.goto("/hub/replay")
    expect(page.locator("main")).to_contain_text("Calls are not kept here")
    page.get_by_label("Calls that are kept").fill("5")
    page.get_by_role("button", name="Set", exact=True).click()
    expect(page.locator(".notice.good")).to_be_visible()
    time.sleep(2.5)
    call(house, key["key"], HOSTILE, script={"text": "the first answer"})
    call(house, key["key"], "streamed", stream=True, script={"text": "a streamed answer"})
    for _ in range(50):
        watched.goto("/hub/replay?n=5&model=qwen-plus")
        shown = page.locator("main").inner_text()
        if page.locator("[data-replay]").count() == 2 and "– + –" not in shown:
            break
        time.sleep(0.2)
    expect(page.locator("[data-replay]")).to_have_count(2)
    assert "said before" not in page.content()
    expect(page.locator("#replay")).to_contain_text("2 calls on qwen-plus will cost about")
    expect(page.locator("[data-replay]").first).to_contain_text("a streamed answer")
    expect(page.locator("[data-replay]").last).to_contain_text("the first answer")
    expect(page.locator("[data-replay]").last).to_contain_text("<script>alert(1)")
    page.get_by_role("button", name="Ask again").click()
    expect(page.locator("[data-told] a")).to_have_count(2, timeout=15_000)
    expect(page.locator("[data-answer]").first).not_to_be_empty()
    # sealed: neither what was asked nor what was answered can be read in the files
    files = b"".join(one.read_bytes() for one in house.data_dir.glob("steelyard.db*"))
    assert b"the first answer" not in files
    page.get_by_label("Calls that are kept").fill("0")
    page.get_by_role("button", name="Set", exact=True).click()
    watched.goto("/hub/replay?n=5&model=qwen-plus")
    assert page.locator("[data-replay]").count() == 0
    assert owner.invite("viewer").get("/hub/replay").status_code == 403
    assert watched.problems == []


def test_kept_calls_are_masked_as_the_models_see_them(house: Installation, owner: Person) -> None:
    """What inspection keeps from the model is not kept either, and no other workspace sees any of it."""
    owner.post("/console/settings/workspaces", name="masking")
    house.cli("activate", "--workspace", "masking")
    admin = {"authorization": f"Bearer {house.create_key('--kind', 'admin', name='mask-admin')['key']}"}
    wish = {"mask": ["phone"]}
    url = f"{house.origin}/control/v1/workspaces/masking/inspection"
    assert httpx.put(url, headers=admin, json=wish).status_code == 200
    key = house.create_key("--workspace", "masking", name="masked")["key"]
    owner.post("/console/workspace", workspace="masking")
    owner.post("/hub/replay", count="5")
    time.sleep(2.5)
    assert call(house, key, "my number is 13800138000, call me").status_code == 200
    deadline = time.monotonic() + 10
    while "call me" not in (page := owner.get("/hub/replay?n=5&model=priced").text):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert "13800138000" not in page
    owner.post("/console/workspace", workspace="default")
    assert "call me" not in owner.get("/hub/replay?n=5&model=priced").text
