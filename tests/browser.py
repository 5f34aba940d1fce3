"""A real Chromium, Debian's, driven by Playwright; what its pages complain of is kept."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

APT = "apt-get install --no-install-recommends chromium fonts-noto-cjk"


def find_chromium() -> str:
    """Where it is.

    A machine without it fails with the line that brings it, unless `STEELYARD_WITHOUT` names it.
    """
    found = shutil.which("chromium")
    if found is not None:
        return found
    if "chromium" in os.environ.get("STEELYARD_WITHOUT", "").split(","):
        pytest.skip("SKIPPED ALOUD: STEELYARD_WITHOUT names chromium, the console was not looked at in a browser")
    pytest.fail(f"The console's tests need Chromium: {APT} (or STEELYARD_WITHOUT=chromium make test)", pytrace=False)


@dataclass
class Watched:
    """A page, and everything about it that is not as it should be."""

    page: Page
    origin: str
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.problems.append(f"script: {error}"))
        self.page.on("request", self._see)

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"console: {message.text} ({self.page.url})")

    def _see(self, request: Any) -> None:
        if not request.url.startswith((self.origin + "/", "data:")):
            self.problems.append(f"outside: {request.url}")

    def goto(self, path: str) -> None:
        self.page.goto(self.origin + path)


@contextmanager
def chromium() -> Iterator[Browser]:
    path = find_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


def open_page(browser: Browser, origin: str, **options: Any) -> Watched:
    context: BrowserContext = browser.new_context(**{"viewport": {"width": 1280, "height": 850}, **options})
    return Watched(context.new_page(), origin)
