"""The console in a real browser: what all its pages have in common."""

import pytest
from playwright.sync_api import expect

from deploy.local.console.pages import PAGES
from tests.browser.conftest import Visit, heading


def test_the_console_names_itself_and_leads_to_each_page(console: Visit) -> None:
    page = console.page()
    assert page.title() == "Omneo Klaviyo extension"
    links = page.get_by_role("navigation", name="Pages").get_by_role("link")
    assert [text.lower() for text in links.all_inner_texts()] == list(PAGES)
    for name in links.all_inner_texts():
        links.filter(has_text=name).click()
        heading(page, name)
        expect(page.get_by_role("link", name=name, exact=True)).to_have_attribute("aria-current", "page")


def test_a_keyboard_skips_the_navigation(console: Visit) -> None:
    page = console.page()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()


@pytest.mark.parametrize("name", PAGES)
def test_each_page_fits_a_phone_and_axe_finds_nothing_in_either_scheme(console: Visit, name: str) -> None:
    console.check_looks("/" if name == "live" else f"/console/{name}/", name, name.capitalize())
