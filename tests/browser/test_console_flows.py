"""Flows in a real browser: a body filled in, run in the sandbox, and what came."""

import json
import re

from playwright.sync_api import expect

from tests.browser.conftest import Visit

PATH = "/console/flows/"


def test_a_flow_is_filled_in_and_run_and_the_same_again_is_the_same_reward(console: Visit) -> None:
    page = console.page(PATH)
    page.get_by_label("What it is for").fill("welcome")
    page.get_by_label("Property that differs").fill("Order Number")
    page.get_by_label("Or a property").fill("reward_amount")
    body = page.get_by_label("Body", exact=True)
    expect(body).to_have_value(
        re.compile(re.escape("welcome-{{ event|lookup:'Order Number' }}-{{ person.id }}"))
    )
    page.get_by_label("Event", exact=True).fill('{"Order Number": "A-7", "reward_amount": 12.5}')
    page.get_by_label("Profile", exact=True).select_option(label="jane@example.org")
    came = page.get_by_role("region", name="What came")
    for status in ("created", "exists"):
        page.get_by_role("button", name="Run flow").click()
        expect(came).to_contain_text(f'"status": "{status}"')
        expect(came).to_contain_text("succeeded")
    expect(came.get_by_label("What Klaviyo sent")).to_contain_text('"id": "welcome-A-7-')
    expect(came.get_by_label("The reward in Omneo")).to_contain_text('"value_initial": 12.5')
    console.check(page, "flows-run")


def test_what_cannot_be_filled_in_or_run_says_why(console: Visit) -> None:
    page = console.page(PATH)
    page.get_by_label("Amount", exact=True).fill("1,5")
    expect(page.get_by_role("alert")).to_contain_text("Amount: a number above 0")
    console.check(page, "flows-problem")
    page.get_by_label("Amount", exact=True).fill("20")
    expect(page.get_by_role("alert")).to_have_count(0)
    page.get_by_label("Event", exact=True).fill("{")
    page.get_by_role("button", name="Run flow").click()
    expect(page.get_by_role("alert")).to_contain_text("Event is no JSON")
    page.get_by_label("Event", exact=True).fill("{}")
    page.get_by_label("Body", exact=True).fill("{% if %}")
    page.get_by_role("button", name="Run flow").click()
    expect(page.get_by_role("alert")).to_contain_text("no Django template")
    page.get_by_label("Body", exact=True).fill(json.dumps({"id": "reward-", "data": {}}))
    page.get_by_role("button", name="Run flow").click()
    came = page.get_by_role("region", name="What came")
    expect(came).to_contain_text("skipped")
    expect(came).to_contain_text("400")
