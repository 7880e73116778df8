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
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        page = browser.new_page(viewport={"width": SIZE["width"], "height": SIZE["height"]})
        page.goto(demo.place.url)
        _let_things_happen(demo)
        for state, count in (("delivered", 2), ("waiting", 1)):
            articles = page.get_by_role("article").filter(has=page.get_by_text(state, exact=True))
            expect(articles).to_have_count(count, timeout=60_000)
        page.get_by_role("button", name="Pause").click()
        for install in page.get_by_role("article").filter(has_not_text="event").all():
            install.evaluate("article => article.remove()")
        page.screenshot(path=PICTURE)
        browser.close()
    size = PICTURE.stat().st_size
    print(f"{PICTURE.relative_to(REPOSITORY)}: {size // 1000} KB")
    if size > LARGEST:
        sys.exit(f"the picture is larger than {LARGEST // 1000} KB")


def _let_things_happen(demo: Demo) -> None:
    """A reward reaches Klaviyo, and another waits for it."""
    klaviyo, omneo, tenant = demo.sandbox.klaviyo, demo.sandbox.omneo, demo.place.tenant
    rewards = [
        ("Birthday reward", 20, "jane@example.org"),
        ("Spring thank-you", 10, "sam@example.org"),
        ("Ten off", 10, "kim@example.org"),
    ]
    for number, (name, amount, email) in enumerate(rewards):
        if number == len(rewards) - 1:
            klaviyo.fail(2, match="POST /api/events", status=503, headers={"Retry-After": "300"})
        profile = {"email": email, "first_name": email.partition("@")[0].title()}
        context = {
            "id": 700 + number,
            "value_initial": amount,
            "definition": {"name": name},
            "profile": profile,
        }
        omneo.fire(tenant, "reward.created", context)


if __name__ == "__main__":
    main()
