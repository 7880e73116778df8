"""`make picture`: takes the picture of the console that README shows, of a demo in which a few things have happened."""

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

from deploy.local.demo import Demo, playing
from deploy.local.ports import planned
from deploy.staging import REPOSITORY, load_functions
from tests.browser.conftest import FLAGS, PROGRAMS

PICTURE = REPOSITORY / "deploy/guide/console.png"
LARGEST = 200_000  # bytes
SIZE = {"width": 1180, "height": 760}


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
        browser.close()
    size = PICTURE.stat().st_size
    print(f"{PICTURE.relative_to(REPOSITORY)}: {size // 1000} KB")
    if size > LARGEST:
        sys.exit(f"the picture is larger than {LARGEST // 1000} KB")


def _reward(demo: Demo, id: int, name: str, email: str) -> None:
    """Let Omneo issue a reward."""
    profile = {"email": email, "first_name": email.partition("@")[0].title()}
    context = {"id": id, "value_initial": 20, "definition": {"name": name}, "profile": profile}
    demo.sandbox.omneo.fire(demo.place.tenant, "reward.created", context)


if __name__ == "__main__":
    main()
