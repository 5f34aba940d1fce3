"""The playground, in a real Chromium."""

import base64
import json

import pytest
from playwright.sync_api import Browser, expect

from browser import open_page
from installation import Installation, Vendor
from people import Person, sign_in

#: A picture of one dot.
DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
LANGUAGES = ["curl", "Python · openai", "Python · dashscope", "Node", "Java", "Go", "C#"]


def test_playground_compares(house: Installation, owner: Person, browser: Browser) -> None:
    """Two models side by side, each asked by the browser with a token; a refusal is told in its own words."""
    key = house.create_key(name="player")
    narrow = house.create_key("--models", "fake", name="narrow")
    watched = open_page(browser, house.origin, locale="en-US")
    page = sign_in(watched)
    seen: list[str] = []
    page.on("request", lambda one: seen.append(one.headers.get("authorization", "")) if "/v1/chat" in one.url else None)
    watched.goto("/console/playground?model=priced")
    page.select_option("#p-key", key["id"])
    page.select_option("#p-model-1", "fake")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator(".answer .told a")).to_have_count(2, timeout=15_000)
    assert len(seen) == 2
    assert all(one.startswith("Bearer st-") for one in seen)
    assert "sk-" not in "".join(seen)
    page.select_option("#p-key", narrow["id"])
    page.get_by_role("button", name="Ask").click()
    expect(page.locator(".answer .told.bad")).to_contain_text("priced", timeout=15_000)
    expect(page.locator(".answer .told a")).to_have_count(1)
    page.locator("summary", has_text="Code of this call").click()
    expect(page.locator("#codes")).to_contain_text("/compatible-mode/v1/chat/completions", timeout=5_000)
    assert page.locator("#codes h3").all_inner_texts() == LANGUAGES
    # the browser itself reports an answer of 403
    assert [one for one in watched.problems if "403" not in one] == []


def test_playground_sends_pictures_tools_and_schemas(
    house: Installation, owner: Person, browser: Browser, vendor: Vendor
) -> None:
    """What is chosen is in the call, and what is no JSON is said before anything is called."""
    house.create_key(name="seer")
    watched = open_page(browser, house.origin, locale="en-US")
    page = sign_in(watched)
    watched.goto("/console/playground?model=fake")
    page.locator("summary", has_text="A picture").click()
    page.locator("[data-sample=tools]").click()
    page.locator("[data-sample=schema]").click()
    page.set_input_files("#p-picture", [{"name": "dot.png", "mimeType": "image/png", "buffer": DOT}])
    page.fill("#p-prompt", "What is it? (seen by the playground)")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator(".answer .told a")).to_have_count(1, timeout=15_000)
    expect(page.locator(".answer .told")).to_contain_text("Cost", timeout=10_000)
    (sent,) = [one["body"] for one in vendor.seen()["calls"] if "seen by the playground" in json.dumps(one["body"])]
    assert sent["messages"][-1]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,")
    assert sent["tools"][0]["function"]["name"] == "get_weather"
    assert sent["response_format"]["json_schema"]["schema"]["required"] == ["name", "age"]
    page.locator("summary", has_text="Code of this call").click()
    expect(page.locator("#codes")).to_contain_text("MultiModalConversation", timeout=5_000)
    page.fill("#p-tools", "{")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("#answers .bad")).to_contain_text("tools")
    assert watched.problems == []


@pytest.mark.parametrize(
    ("mode", "model", "seen"),
    [
        ("embeddings", "local/multilingual-e5-small", "dimensions"),
        ("rerank", "local/fusion-rerank", "lever"),
        ("images", "local/poster", ""),
        ("videos", "local/camera-motion", ""),
    ],
)
def test_playground_modes(
    house: Installation, owner: Person, browser: Browser, mode: str, model: str, seen: str
) -> None:
    """Vectors are compared, documents ordered, pictures and videos shown, each with its receipt."""
    house.create_key(name=f"player of {mode}")
    watched = open_page(browser, house.origin, locale="en-US")
    page = sign_in(watched)
    watched.goto(f"/console/playground?mode={mode}&model={model}")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator(".answer a[href^='/console/']").first).to_be_visible(timeout=30_000)
    if seen:
        expect(page.locator(".answer")).to_contain_text(seen)
        expect(page.locator(".answer table td").first).to_be_visible()
    else:
        result = page.locator(".answer img, .answer video").first
        expect(result).to_be_visible(timeout=90_000)
        assert str(result.get_attribute("src")).startswith("/o/")
    assert watched.problems == []
