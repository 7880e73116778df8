"""Desk and Faults in a real browser: a side is broken, a job dies, the side is mended, the job is replayed."""

import re

from playwright.sync_api import expect

from tests.browser.conftest import PHONE, Visit, heading
from tests.browser.test_console_live import send, story

NAMES = ("alpha", "bravo", "charlie")


def test_a_person_breaks_klaviyo_finds_the_dead_job_mends_and_replays_it(console: Visit) -> None:
    page = console.page("/console/faults/")
    page.get_by_label("Side").select_option("Klaviyo")
    page.get_by_label("Calls", exact=True).select_option("events")
    page.get_by_label("Fault").select_option("status")
    page.get_by_label("Status").fill("400")
    page.get_by_label("Until mended").check()
    page.get_by_role("button", name="Break").click()
    expect(page.get_by_role("status")).to_contain_text("The fault is ordered")
    expect(page.get_by_role("row").filter(has_text="until mended")).to_contain_text("status 400")
    console.check(page, "faults-broken")

    for number in range(3):
        send(console.demo, f"Lost {NAMES[number]}", "dies@canary.example")
    page.get_by_role("link", name="Desk").click()
    heading(page, "Desk")
    rows = page.get_by_role("listitem").filter(has_text="Lost")
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text("Klaviyo answered 400")
    console.check(page, "desk-dead")
    page.get_by_role("link", name="Live").click()
    expect(story(page, "dies@canary.example").first.get_by_text("dead", exact=True)).to_be_visible()

    page.get_by_role("link", name="Faults").click()
    page.get_by_role("button", name="Mend").click()
    expect(page.get_by_role("status")).to_contain_text("mended")
    expect(page.locator("#broken")).to_contain_text("Every call goes well.")

    page.get_by_role("link", name="Desk").click()
    rows.filter(has_text="Lost bravo").get_by_role("button", name="Replay", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("queued again")
    expect(rows).to_have_count(2)
    page.get_by_role("button", name="Replay all").click()
    expect(page.get_by_text("No job is dead.")).to_be_visible()
    events = console.demo.sandbox.klaviyo.events(console.demo.place.account)
    assert {f"Lost {NAMES[number]}" for number in range(3)} <= {event.metric for event in events}


def test_the_traffic_is_a_chart_and_a_table(console: Visit) -> None:
    page = console.page("/console/desk/", PHONE)
    chart = page.get_by_role("img", name=re.compile(r"by hour: \d\d:00 [1-9]")).first
    expect(chart).to_be_visible(timeout=300_000)  # a function hands in its counts within a minute
    name = (chart.get_attribute("aria-label") or "").partition(" by hour")[0]
    page.get_by_text("The chart as a table").click()
    expect(page.get_by_role("group", name="Traffic by metric and hour")).to_contain_text(name)
    console.check(page, "desk-traffic-phone")


def test_a_fault_of_the_other_side_is_ordered_for_the_next_calls(console: Visit) -> None:
    page = console.page("/console/faults/")
    page.get_by_label("Status").fill("9")  # a field that is not shown any more holds nothing up
    page.get_by_label("Side").select_option("Omneo")
    page.get_by_label("Fault").select_option("lost answer")
    expect(page.get_by_text("The call is carried out, but its answer never arrives.")).to_be_visible()
    expect(page.get_by_label("Status")).to_be_hidden()
    page.get_by_label("Next calls").fill("2")
    page.get_by_label("Until mended").check()
    expect(page.get_by_label("Next calls")).to_be_hidden()
    page.get_by_label("For a number of calls").check()
    page.get_by_role("button", name="Break").click()
    row = page.get_by_role("row").filter(has_text="lost answer")
    expect(row).to_contain_text("Omneo")
    expect(row).to_contain_text("2")
    page.get_by_role("button", name="Mend").click()
    expect(row).to_have_count(0)
