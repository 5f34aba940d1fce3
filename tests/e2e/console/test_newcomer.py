"""A newcomer's path through the console."""

from pathlib import Path

from playwright.sync_api import Browser, expect

from browser import open_page
from installation import Installation, Vendor, vendor_config
from people import PASSWORD, call, ticket_of


def test_the_newcomer_s_path(tmp_path: Path, vendor: Vendor, browser: Browser) -> None:
    """From the printed link to the first call's receipt, by the Chinese labels, at the width of a desk and of a phone."""
    with Installation(tmp_path, vendor_config(vendor)) as installation:
        watched = open_page(browser, installation.origin, locale="zh-CN")
        page = watched.page
        watched.goto(f"/console/login?ticket={ticket_of(installation)}")
        page.get_by_label("密码", exact=False).first.fill(PASSWORD)
        page.get_by_label("再次输入密码").fill(PASSWORD)
        page.get_by_role("button", name="设置密码并进入").click()
        page.get_by_role("link", name="立即开通").click()
        expect(page.get_by_role("heading", name="模型详情")).to_be_visible()
        page.get_by_role("button", name="确认开通").click()
        expect(page.locator(".balance")).to_contain_text("1,000,000")
        page.get_by_role("link", name="设置").click()
        expect(page.get_by_role("link", name="API Key")).to_have_attribute("aria-current", "page")
        page.get_by_role("link", name="创建").first.click()
        page.get_by_label("名称").fill("新手")
        page.get_by_role("button", name="创建").click()
        secret = page.locator("#the-key").inner_text()
        expect(page.locator("#waiting")).to_contain_text("正在等待")
        assert call(installation, secret).status_code == 200
        expect(page.locator("#waiting")).to_contain_text("已收到", timeout=10_000)
        page.locator("#waiting").get_by_role("link", name="回执").click()
        expect(page.get_by_role("heading", name="回执")).to_be_visible()
        expect(page.locator("main")).to_contain_text("fake/vendor-model")
        page.get_by_role("link", name="设置").click()
        page.get_by_role("link", name="新手").click()
        expect(page.locator("main")).to_contain_text("sk-")
        assert secret not in page.content()
        page.set_viewport_size({"width": 390, "height": 800})
        watched.goto("/console/")
        page.get_by_label("菜单").first.click()
        page.get_by_role("link", name="体验中心").click()
        page.get_by_role("button", name="发送").click()
        answer = page.locator(".answer").first
        expect(answer.locator(".text")).to_contain_text("Hello from the fake vendor", timeout=10_000)
        answer.locator(".told a").click()
        page.wait_for_url("**/console/requests/*")
        assert watched.problems == []
