"""Pages as a person sees them: headless Chromium, driven by Playwright, and all that it complains about.

@needs_chromium
def test_page():
    with chromium() as browser, tab(browser, "file:///report.html", width=390) as seen:
        seen.page.get_by_role("button").click()
        assert not seen.problems and not seen.violations() and not seen.overflow()
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def _find() -> str | None:
    """Path of a Chromium that starts; a package's stub does not."""
    for name in (os.environ.get("SEGPIPE_CHROMIUM"), "chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name or "")
        if path and subprocess.run([path, "--version"], capture_output=True, check=False).returncode == 0:
            return path
    return None


CHROMIUM = _find()

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium: install the package chromium, or name a binary in SEGPIPE_CHROMIUM"
)


@dataclass
class Tab:
    """An open page.

    Attributes:
      page: Playwright's.
      problems: console errors, uncaught exceptions, failed requests and answers of 400 and more, as sentences.
    """

    page: Page
    problems: list[str] = field(default_factory=list)

    def violations(self) -> list[str]:
        """What axe-core finds against the accessibility rules: rule, and the elements that break it."""
        found = Axe().run(self.page).response["violations"]
        return [f"{v['id']}: {v['help']}: {[node['html'][:120] for node in v['nodes'][:3]]}" for v in found]

    def overflow(self) -> int:
        """By how many pixels the page is wider than its window."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    def broken_pictures(self) -> list[str]:
        """Where pictures that did not decode come from."""
        return self.page.evaluate(
            "Array.from(document.images).filter(i => !(i.complete && i.naturalWidth)).map(i => i.src.slice(0, 80))"
        )


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser with a new profile."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def tab(browser: Browser, url: str, width: int = 1440, height: int = 900, scheme: str = "light") -> Iterator[Tab]:
    """Opens a page in a fresh context.

    Args:
      browser: from `chromium`.
      url: `http:` or `file:`.
      width, height: of the window, in CSS pixels.
      scheme: `light` or `dark`, what the person's system prefers.
    """
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    seen = Tab(page)
    page.on("console", lambda m: seen.problems.append(f"console: {m.text}") if m.type == "error" else None)
    page.on("pageerror", lambda error: seen.problems.append(f"exception: {error}"))
    page.on("requestfailed", lambda r: seen.problems.append(f"failed: {r.url[:120]} ({r.failure})"))
    page.on("response", lambda r: seen.problems.append(f"{r.status}: {r.url[:120]}") if r.status >= 400 else None)
    try:
        page.goto(url)
        yield seen
    finally:
        context.close()
