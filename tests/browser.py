"""A real headless Chromium, the system's own; without one the tests say why they are skipped."""

import os
import shutil
from contextlib import contextmanager

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


@contextmanager
def chromium():
    """Start Chromium; yield Playwright's handle of it."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium; install Debian's package chromium")
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        try:
            yield browser
        finally:
            browser.close()


class Visitor:
    """A person with a window of their own; notes what a person would not see.

    Attributes:
        page: Playwright's page.
        errors: Messages of the console, and exceptions.
        foreign: Requests that left the server.
    """

    def __init__(self, browser, url, **options):
        self.context = browser.new_context(base_url=url, **options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.errors, self.foreign = [], []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._note)
        self.page.on("request", lambda request: self._check(request.url, url))

    def _note(self, message):
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _check(self, address, url):
        if not address.startswith((f"{url}/", "data:", "blob:")):
            self.foreign.append(address)

    def fits(self):
        """Return whether nothing has to be scrolled sideways."""
        return self.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
