"""`make picture`: takes the pictures of the console that README and the guide show, of a demo in which a few things have happened."""

import re
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from deploy.local.demo import Demo, playing
from deploy.local.ports import planned
from deploy.staging import REPOSITORY, load_functions
from tests.browser.conftest import FLAGS, PROGRAMS
from tests.browser.palette import with_palette

PICTURE = REPOSITORY / "deploy/guide/console.png"
TARGETS = REPOSITORY / "deploy/guide/console-targets.png"
FLOWS = REPOSITORY / "deploy/guide/console-flows.png"
LARGEST = 100_000  # bytes
SIZE = {"width": 1180, "height": 760}
NARROW = 1000  # pixels, for a page that is shown whole


def main() -> None:
    """Take the picture."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        sys.exit(f"none of {', '.join(PROGRAMS)} is installed")
    with (
        tempfile.TemporaryDirectory() as folder,
        playing(Path(folder) / "demo-0", 0, planned(0, load_functions())) as demo,
        sync_playwright() as playwright,
    ):
        demo.console.start()
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        page = browser.new_page(viewport={"width": SIZE["width"], "height": SIZE["height"]})
        page.goto(demo.place.url)
        page.get_by_label("Kind").select_option("event")
        _reward(demo, 701, "Birthday reward", "jane@example.org")
        _reward(demo, 702, "Spring thank-you", "sam@example.org")
        articles = page.get_by_role("article")
        delivered = articles.filter(has=page.get_by_text("delivered", exact=True))
        expect(delivered).to_have_count(2, timeout=60_000)
        # And one that waits for Klaviyo.
        demo.sandbox.klaviyo.fail(2, match="POST /api/events", status=503)
        _reward(demo, 703, "Ten off", "kim@example.org")
        expect(articles.filter(has=page.get_by_text("waiting", exact=True))).to_have_count(1, timeout=60_000)
        expect(articles.first.get_by_text("send-metric waits")).to_have_count(2, timeout=60_000)
        page.get_by_role("button", name="Pause").click()
        page.screenshot(path=PICTURE)
        page.set_viewport_size({"width": NARROW, "height": SIZE["height"]})
        _picture_of_targets(page, demo)
        _picture_of_flows(page, demo)
        browser.close()
    for path in (PICTURE, TARGETS, FLOWS):
        path.write_bytes(with_palette(path.read_bytes()))
        size = path.stat().st_size
        print(f"{path.relative_to(REPOSITORY)}: {size // 1000} KB")
        if size > LARGEST:
            sys.exit(f"the picture is larger than {LARGEST // 1000} KB")


def _picture_of_targets(page: Page, demo: Demo) -> None:
    """A template in which a number is written as text."""
    page.goto(f"{demo.place.url}/console/targets/")
    template = page.get_by_label("Template", exact=True)
    text = page.locator("textarea[name=template]").input_value()
    template.fill(text.replace("'') + 0,\n  reward_balance", "''),\n  reward_balance"))
    expect(page.get_by_role("region", name="Warnings")).to_contain_text("number as text", timeout=60_000)
    page.evaluate("document.activeElement.blur()")
    page.screenshot(path=TARGETS, full_page=True)


def _picture_of_flows(page: Page, demo: Demo) -> None:
    """A flow that has issued a reward."""
    page.goto(f"{demo.place.url}/console/flows/")
    page.get_by_label("Property that differs").fill("reward_id")
    expect(page.get_by_label("Body", exact=True)).to_have_value(re.compile("event.reward_id"), timeout=60_000)
    page.get_by_role("button", name="Run flow").click()
    expect(page.get_by_role("region", name="What came")).to_contain_text("created", timeout=60_000)
    page.evaluate("document.activeElement.blur()")
    page.screenshot(path=FLOWS, full_page=True)


def _reward(demo: Demo, id: int, name: str, email: str) -> None:
    """Let Omneo issue a reward."""
    profile = {"email": email, "first_name": email.partition("@")[0].title()}
    context = {"id": id, "value_initial": 20, "definition": {"name": name}, "profile": profile}
    demo.sandbox.omneo.fire(demo.place.tenant, "reward.created", context)


if __name__ == "__main__":
    main()
