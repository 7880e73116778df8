"""People in a real browser: one person on both sides, who decides and is heard of on the other."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from deploy.local.demo import Demo
from tests.browser.conftest import Visit

PATH = "/console/people/"


DECISIONS = (("Unsubscribe", "promo no"), ("Bounce", "bounced yes"), ("Complain", "promo no"))
STAFF = "Sam"


@dataclass(frozen=True)
class Crowd:
    """A page of somebody for each decision, who has just made it, and of one whom staff has opted in. They all wait at the same time."""

    console: Visit
    pages: dict[str, Page]


@pytest.fixture(scope="module")
def crowd(demo: Demo, browser: Browser, pictures: Path | None) -> Iterator[Crowd]:
    visit = Visit(demo, browser, pictures)
    pages = {name: somebody(visit, name) for name in (*(button for button, _ in DECISIONS), STAFF)}
    for name, page in pages.items():
        expect(page.get_by_role("region", name="Klaviyo")).to_contain_text(_email(name))
    for name, page in pages.items():
        button, said = (
            ("Opt in", "Changed in Omneo") if name == STAFF else (name, "Klaviyo tells the extension")
        )
        page.get_by_role("button", name=button, exact=True).click()
        expect(page.get_by_role("status")).to_contain_text(said)
    yield Crowd(visit, pages)
    visit.close()


def somebody(console: Visit, name: str) -> Page:
    """Add a profile and return the page that shows it."""
    page = console.page(PATH)
    page.get_by_text("Add a profile").click()
    page.get_by_label("First name", exact=True).fill(name)
    page.get_by_label("Last name", exact=True).fill("Canary")
    page.get_by_label("Email of the new profile").fill(_email(name))
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("region", name="Omneo")).to_contain_text(f"{name} Canary")
    return page


def _email(name: str) -> str:
    return f"{name.lower()}@example.org"


@pytest.mark.parametrize(("button", "omneo"), DECISIONS)
def test_what_a_person_does_in_klaviyo_reaches_omneo_and_the_history(
    crowd: Crowd, button: str, omneo: str
) -> None:
    page = crowd.pages[button]
    expect(page.get_by_role("region", name="Omneo")).to_contain_text(omneo)
    history = page.get_by_role("region", name="The consent ledger")
    expect(history).to_contain_text("email")
    crowd.console.check(page, f"people-{button.lower()}")
    if button == "Unsubscribe":
        page.get_by_role("button", name="Subscribe", exact=True).click()
        expect(page.get_by_role("region", name="Omneo")).to_contain_text("promo yes")


def test_what_staff_do_in_omneo_reaches_klaviyo(crowd: Crowd) -> None:
    page = crowd.pages[STAFF]
    klaviyo = page.get_by_role("region", name="Klaviyo")
    expect(klaviyo).to_contain_text(re.compile(r"Email consent\s*SUBSCRIBED"))
    page.get_by_role("button", name="Opt out", exact=True).click()
    expect(klaviyo).to_contain_text(re.compile(r"Email consent\s*UNSUBSCRIBED"))
    page.get_by_role("button", name="Change email", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Write the new email address")
    page.get_by_label("New email").fill("sam-new@example.org")
    page.get_by_role("button", name="Change email", exact=True).click()
    expect(klaviyo).to_contain_text("sam-new@example.org")
    explained = page.get_by_role("region", name="Explain")
    expect(explained).to_contain_text("Matched")
    expect(page.get_by_role("region", name="Consent", exact=True)).to_contain_text("A sync would")


def test_a_search_finds_and_shows_nobody_where_there_is_nobody(console: Visit) -> None:
    page = console.page(PATH)
    page.get_by_label("Search").fill("jane@")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("region", name="Omneo")).to_contain_text("jane@example.org")
    page.get_by_label("Search").fill("canary-nobody")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("Omneo has no such profile.")).to_be_visible()
    console.check(page, "people-nobody")
