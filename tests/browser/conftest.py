"""A browser, and the console of `make run` before it: one bundle for all tests of a process."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from deploy.local.demo import Demo, playing
from deploy.local.ports import planned
from deploy.staging import load_functions

# The first is Chromium without its own windows, which costs a third of a whole Chromium for each page that is opened.
PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 360, "height": 740}
PATIENCE = (
    90_000  # milliseconds that a busy machine may take; nobody waits for them once what is expected is there
)
AXE = Path(__file__).parent / "vendored" / "axe.min.js"


@pytest.fixture(scope="session")
def chromium() -> str:
    """Return the browser's program; skip, or fail in CI, where there is none."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        message = f"none of {', '.join(PROGRAMS)} is installed"
        if os.environ.get("CI") == "true":
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    return found


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    """Return a headless browser."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield browser
        browser.close()


@dataclass
class Visit:
    """The console before a browser. `problems` is all that a browser complained about: no test leaves any.

    `allowed` are words of complaints that a test brings about itself.
    """

    demo: Demo
    browser: Browser
    pictures: Path | None
    problems: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)
    _contexts: list[BrowserContext] = field(default_factory=list)

    def page(self, path: str = "/", size: dict[str, int] = DESKTOP, scheme: str = "light") -> Page:
        """Open a window of the browser at this path of the console."""
        context = self.browser.new_context(
            viewport={"width": size["width"], "height": size["height"]},
            color_scheme="dark" if scheme == "dark" else "light",
            bypass_csp=False,
        )
        context.set_default_timeout(PATIENCE)
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: self._note(said.type, said.text))
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("requestfailed", lambda request: self._failed(request.url, request.failure))
        page.on("response", lambda answer: self._answered(answer.status, answer.url))
        page.goto(f"{self.demo.place.url}{path}")
        return page

    def picture(self, page: Page, name: str) -> None:
        """Keep a picture of the whole page in PICTURES, if somebody wants to look at it."""
        if self.pictures:
            page.screenshot(path=self.pictures / f"{name}.png", full_page=True)

    def check(self, page: Page, name: str) -> None:
        """Check that axe finds nothing and nothing has to be scrolled sideways, and keep a picture if one is wanted."""
        self.picture(page, name)
        fits(page)
        assert axe(page) == []

    def check_looks(self, path: str, name: str, heading: str) -> None:
        """Check a page as `check` does, as a phone and as a desktop show it, light and dark.

        Colours are the scheme's and the order is the width's, so axe looks at two of the four.
        """
        for scheme in ("light", "dark"):
            page = self.page(path, PHONE, scheme)
            expect(page.get_by_role("heading", level=1)).to_have_text(heading)
            for look, size in (("phone", PHONE), ("desktop", DESKTOP)):
                page.set_viewport_size({"width": size["width"], "height": size["height"]})
                self.picture(page, f"{name}-{look}-{scheme}")
                fits(page)
                if (look, scheme) in {("phone", "dark"), ("desktop", "light")}:
                    assert axe(page) == []

    def close(self) -> None:
        """Close every window, and check that none complained."""
        while self._contexts:
            self._contexts.pop().close()
        left = [text for text in self.problems if not any(words in text for words in self.allowed)]
        self.problems.clear()
        self.allowed.clear()
        assert left == []

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.problems.append(f"console: {text}")

    def _failed(self, url: str, why: str | None) -> None:
        if why != "net::ERR_ABORTED":  # a stream that ends as its page is left
            self.problems.append(f"failed: {url} {why}")

    def _answered(self, status: int, url: str) -> None:
        if status >= 400:
            self.problems.append(f"answered {status}: {url}")
        if not url.startswith((self.demo.place.url, self.demo.place.klaviyo, "data:")):
            self.problems.append(f"elsewhere: {url}")


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Start all that `make run` starts, on free ports."""
    folder = tmp_path_factory.mktemp("console") / "demo-0"
    with playing(folder, 0, planned(0, load_functions())) as demo:
        demo.console.start()
        yield demo


@pytest.fixture(scope="session")
def pictures() -> Path | None:
    """Return the folder for pictures, PICTURES, if that is set."""
    named = os.environ.get("PICTURES")
    return Path(named) if named else None


@pytest.fixture
def console(demo: Demo, browser: Browser, pictures: Path | None) -> Iterator[Visit]:
    """Return the console before a browser; afterwards nothing may have been complained of."""
    visit = Visit(demo, browser, pictures)
    yield visit
    demo.sandbox.klaviyo.fail(0)  # what a test has broken and did not come to mend
    demo.sandbox.omneo.fail(0)
    visit.close()


def heading(page: Page, text: str) -> None:
    """Wait until the page's one main heading says this."""
    expect(page.get_by_role("heading", level=1)).to_have_text(text)


def fits(page: Page) -> None:
    """Check that nothing has to be scrolled sideways."""
    width, room = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert width <= room


def axe(page: Page) -> list[str]:
    """Return what axe finds wrong with the page as it is now, WCAG 2.2 AA and its best practices: one line an element."""
    page.evaluate(AXE.read_text() + "; null")  # by the debugger, which no policy of the page holds off
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{rule['id']}: {node['html'][:200]} {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]
