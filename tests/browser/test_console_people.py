"""People in a real browser: one person on both sides, who decides and is heard of on the other."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit

PATH = "/console/people/"
SLOW = 30_000  # milliseconds in which a consent has reached the other side


def somebody(console: Visit, name: str) -> Page:
    """Add a profile and return the page that shows it, once Klaviyo has it too."""
    page = console.page(PATH)
    page.get_by_text("Add a profile").click()
    page.get_by_label("First name", exact=True).fill(name)
    page.get_by_label("Last name", exact=True).fill("Canary")
    page.get_by_label("Email of the new profile").fill(f"{name.lower()}@example.org")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("region", name="Omneo")).to_contain_text(f"{name} Canary")
    expect(page.get_by_role("region", name="Klaviyo")).to_contain_text(f"{name.lower()}@", timeout=SLOW)
    return page


@pytest.mark.parametrize(
    ("button", "omneo"),
    [("Unsubscribe", "promo no"), ("Bounce", "bounced yes"), ("Complain", "promo no")],
)
def test_what_a_person_does_in_klaviyo_reaches_omneo_and_the_history(
    console: Visit, button: str, omneo: str
) -> None:
    page = somebody(console, f"Pat{button}")
    page.get_by_role("button", name=button, exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("Klaviyo tells the extension")
    expect(page.get_by_role("region", name="Omneo")).to_contain_text(omneo, timeout=SLOW)
    history = page.get_by_role("region", name="The consent ledger")
    expect(history).to_contain_text("email", timeout=SLOW)
    console.check(page, f"people-{button.lower()}")
    if button == "Unsubscribe":
        page.get_by_role("button", name="Subscribe", exact=True).click()
        expect(page.get_by_role("region", name="Omneo")).to_contain_text("promo yes", timeout=SLOW)


def test_what_staff_do_in_omneo_reaches_klaviyo(console: Visit) -> None:
    page = somebody(console, "Sam")
    klaviyo = page.get_by_role("region", name="Klaviyo")
    page.get_by_role("button", name="Opt in", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("Changed in Omneo")
    expect(klaviyo).to_contain_text(re.compile(r"Email consent\s*SUBSCRIBED"), timeout=SLOW)
    page.get_by_role("button", name="Opt out", exact=True).click()
    expect(klaviyo).to_contain_text(re.compile(r"Email consent\s*UNSUBSCRIBED"), timeout=SLOW)
    page.get_by_role("button", name="Change email", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Write the new email address")
    page.get_by_label("New email").fill("sam-new@example.org")
    page.get_by_role("button", name="Change email", exact=True).click()
    expect(klaviyo).to_contain_text("sam-new@example.org", timeout=SLOW)
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
