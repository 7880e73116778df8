"""Targets in a real browser: a notification tried while it is typed, sent, and saved in the sandbox Omneo."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from deploy.targets.catalogue import notification, notifications, template
from tests.browser.conftest import Visit

PATH = "/console/targets/"


def region(page: Page, name: str) -> Locator:
    """Return a region of the page by its name."""
    return page.get_by_role("region", name=name, exact=True)


def editor(page: Page) -> Locator:
    """Return the editor, which is ready once the first trial is shown."""
    expect(region(page, "Rendered")).to_be_visible()
    return page.get_by_label("Template", exact=True)


@pytest.mark.parametrize("name", notifications())
def test_each_notification_goes_from_its_select_to_klaviyo(console: Visit, name: str) -> None:
    page, chosen = console.page(PATH), notification(name)
    page.get_by_label("Platform", exact=True).select_option(label="Klaviyo, through the extension")
    page.get_by_label("Notification", exact=True).select_option(label=chosen.title)
    page.get_by_label("Profile", exact=True).select_option(label="Jane Doe, jane@example.org")
    expect(page.get_by_text(f"klaviyo-{name}")).to_be_visible()
    expect(region(page, "Rendered")).to_contain_text("jane@example.org")
    expect(region(page, "What Klaviyo gets")).to_contain_text(chosen.metric)
    expect(region(page, "What Klaviyo gets")).to_contain_text("Klaviyo id")
    expect(region(page, "Warnings")).to_have_text(
        re.compile("None" if name != "points-milestone" else "Not called")  # Jane has no points
    )
    page.get_by_role("button", name="Send", exact=True).click()
    sent = region(page, "Sent")
    expect(sent).to_contain_text("202")
    expect(sent).to_contain_text(re.compile("Klaviyo has"))
    expect(sent).to_contain_text(chosen.metric)
    assert any(row.metric == chosen.metric for row in console.demo.sandbox.klaviyo.events("DemoAc"))
    if name == "reward-issued":
        console.check(page, "targets-sent")


def test_what_is_typed_is_tried_and_a_fault_is_shown_where_it_stands(console: Visit) -> None:
    page = console.page(PATH)
    editor(page).fill('{\n  "a": {{ id|nonesuch }}\n}')
    rendered = region(page, "Rendered")
    expect(rendered).to_contain_text("Line 2, column 14 of the template")
    expect(rendered).to_contain_text("nonesuch")
    expect(page.locator(".wrong-line")).to_have_text('  "a": {{ id|nonesuch }}')
    expect(region(page, "What Klaviyo gets")).to_contain_text("Nothing, as long as there is no JSON")
    console.check(page, "targets-fault-in-template")
    editor(page).fill('{\n  "a": {{ nothing }}\n}')
    expect(rendered).to_contain_text("Line 3, column 1 of the text below")
    expect(page.locator(".wrong-line")).to_have_count(0)
    page.get_by_label("Event context", exact=True).fill("{")
    expect(rendered).to_contain_text("of the event context")
    console.check(page, "targets-fault")


def test_warnings_come_while_one_types(console: Visit) -> None:
    page = console.page(PATH)
    text = template("klaviyo", "reward-issued")
    properties = (
        '{"agreed": "{{ profile.attributes.comms.email_promo }}", "amount": "20", "tier": {"name": "Gold"}}'
    )
    text = text.replace("{{ data|json_encode }}", properties).replace("{{ key|json_encode }}", '"reward"')
    editor(page).fill(text)
    warnings = region(page, "Warnings")
    for words in ('printed as "1"', "number as text", "is nested", "only its fixed part"):
        expect(warnings).to_contain_text(words)
    console.check(page, "targets-warnings")
    context = page.get_by_label("Event context", exact=True)
    context.fill(context.input_value().replace('"email_optout": null', '"email_optout": true', 1))
    expect(warnings).to_contain_text("The profile has opted out of email")
    editor(page).fill('{"attributes": {"metric": {"data": {"attributes": {"name": "N"}}}, "profile": {}}}')
    expect(warnings).to_contain_text("No email or id")
    expect(region(page, "What Klaviyo gets")).to_contain_text("The extension answers 400")


def test_the_keyboard_types_into_the_editor_and_tab_leaves_it(console: Visit) -> None:
    page = console.page(PATH)
    place = editor(page)
    place.click()
    page.keyboard.press("Control+a")
    typed = '{"a": 1}'
    page.keyboard.type(typed)
    expect(region(page, "Rendered")).to_contain_text('"a": 1')
    edited = page.get_by_text("Edited.")
    expect(edited).to_be_visible()
    for _ in typed:  # what is typed slowly is undone letter by letter
        page.keyboard.press("Control+z")
    expect(edited).to_be_hidden()
    page.keyboard.press("Tab")
    expect(page.get_by_label("URL", exact=True)).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(place).to_be_focused()
    assert page.locator(".cm-lineNumbers").is_visible()


def test_a_target_is_saved_and_saving_it_again_changes_nothing(console: Visit) -> None:
    page = console.page(f"{PATH}?notification=tier-attained")
    editor(page)
    saved = region(page, "Saved")
    for word in ("created", "as it was"):
        page.get_by_role("button", name="Save as target").click()
        expect(saved.get_by_text(word, exact=True)).to_have_count(2)
    (target,) = [
        row
        for row in console.demo.sandbox.omneo._tenants["demo"].targets.all()
        if row["handle"] == "klaviyo-tier-attained"
    ]
    assert target["template"] == template("klaviyo", "tier-attained")


def test_another_platform_says_what_to_fill_in(console: Visit) -> None:
    page = console.page(PATH)
    page.get_by_label("Platform", exact=True).select_option(label="Braze")
    expect(region(page, "What Klaviyo gets")).to_contain_text("goes to Braze")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was sent. Fill in REGION in URL")
    expect(page.get_by_label("Header Authorization")).to_have_value("Bearer REST_API_KEY")
    console.check(page, "targets-braze")


def test_what_was_edited_is_there_again_after_another_notification_and_a_reload(console: Visit) -> None:
    page = console.page(PATH)
    notifications = page.get_by_label("Notification", exact=True)
    editor(page).fill('{"mine": 1}')
    expect(region(page, "Rendered")).to_contain_text('"mine": 1')
    notifications.select_option(label="Tier attained")
    expect(region(page, "Rendered")).to_contain_text("Omneo Tier Attained")
    expect(page.get_by_text("Edited.")).to_be_hidden()
    notifications.select_option(label="Reward issued")
    expect(region(page, "Rendered")).to_contain_text('"mine": 1')
    page.reload()
    expect(region(page, "Rendered")).to_contain_text('"mine": 1')
    console.check(page, "targets-edited")
    page.get_by_role("button", name="As in the catalogue").click()
    expect(region(page, "Rendered")).to_contain_text("Omneo Reward Issued")
    page.reload()
    expect(region(page, "Rendered")).to_contain_text("Omneo Reward Issued")


def test_what_the_address_names_and_the_catalogue_does_not_have_is_404(console: Visit) -> None:
    console.allowed.append("404")
    page = console.page(f"{PATH}?notification=canary")
    expect(page.get_by_role("alert")).to_contain_text("There is no notification canary")


def test_a_job_that_waits_for_klaviyo_says_so_and_arrives(console: Visit) -> None:
    page = console.page(f"{PATH}?notification=benefit-issued")
    context = page.get_by_label("Event context", exact=True)
    editor(page)
    context.fill(context.input_value().replace('"id": 9', '"id": 9099', 1))
    expect(region(page, "What Klaviyo gets")).to_contain_text("benefit-issued-9099")
    console.demo.sandbox.klaviyo.fail(1_000, match="POST /api/events", status=503)
    page.get_by_role("button", name="Send", exact=True).click()
    sent = region(page, "Sent")
    expect(sent.locator(".state.waiting")).to_be_visible()
    expect(sent).to_contain_text("503")
    console.demo.sandbox.klaviyo.fail(0)
    expect(sent).to_contain_text("Klaviyo has the event, for jane@example.org")
