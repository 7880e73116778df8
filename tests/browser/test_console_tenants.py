"""Tenants in a real browser: status, settings, secrets, a resync, and the install by its real pages."""

import json
import subprocess
import sys

from playwright.sync_api import expect

from deploy.local.demo import Demo
from tests.browser.conftest import Visit, heading

PATH = "/console/tenants/"
SLOW = 30_000  # milliseconds


def test_settings_are_saved_and_refused_by_the_field(console: Visit) -> None:
    page = console.page(PATH)
    page.get_by_label("dead_job_days").fill("60")
    page.get_by_role("button", name="Save settings").click()
    expect(page.get_by_text("Saved: dead_job_days.")).to_be_visible()
    page.get_by_label("dead_job_days").fill("9000")
    page.get_by_role("button", name="Save settings").click()
    expect(page.get_by_role("alert")).to_contain_text("dead_job_days")
    expect(page.get_by_label("dead_job_days")).to_have_value("9000")
    console.check(page, "tenants-refused")
    page.get_by_label("dead_job_days").fill("")
    page.get_by_role("button", name="Save settings").click()
    expect(page.get_by_text("Saved: dead_job_days.")).to_be_visible()
    expect(page.get_by_label("dead_job_days")).to_have_value("30")


def test_status_secrets_and_their_last_use_are_told(console: Visit) -> None:
    page = console.page(PATH)
    status = page.get_by_role("region", name="Status and doctor")
    expect(status).to_contain_text("Connected to Klaviyo account DemoAc")
    page.get_by_role("button", name="Look again").click()
    expect(status).to_contain_text("checked at")
    secrets = page.get_by_role("region", name="Secrets", exact=True)
    expect(secrets).to_contain_text("Webhook secret")
    expect(secrets).to_contain_text("UTC")
    end = secrets.get_by_role("button", name="End")
    if end.count():
        end.first.click()
        expect(end).to_have_count(0)
    assert console.demo.place.webhook_secret not in page.content()


def test_a_resync_shows_its_progress_to_the_end(console: Visit) -> None:
    page = console.page(PATH)
    page.get_by_role("button", name="Resync", exact=True).click()
    resync = page.get_by_role("region", name="Resync")
    expect(resync.get_by_role("progressbar")).to_be_visible()
    expect(resync).to_contain_text("profiles imported", timeout=SLOW)
    console.check(page, "tenants-resync")


def test_a_tenant_is_uninstalled_and_installed_by_the_real_pages(console: Visit) -> None:
    page = console.page(PATH)
    page.get_by_role("button", name="Uninstall").click()
    expect(page.get_by_text("Uninstalled.")).to_be_visible(timeout=SLOW)
    expect(page.get_by_text("not connected")).to_be_visible()
    console.check(page, "tenants-uninstalled")
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Install", exact=True).click()
    pages = opened.value
    pages.set_default_timeout(SLOW)
    pages.get_by_role("button", name="Continue to Klaviyo").click()
    pages.get_by_role("button", name="Allow").click()
    pages.get_by_role("button", name="Connect", exact=True).click()
    expect(pages.get_by_role("heading", level=1)).to_contain_text("connected", timeout=SLOW)
    page.reload()
    install = page.get_by_role("region", name="Install")
    expect(install.get_by_text("connected", exact=True)).to_be_visible()
    expect(install.get_by_role("link", name="Install again")).to_be_visible()


def create(demo: Demo, name: str) -> str:
    """Make a tenant with the operator's command, while everything runs, and return its installation key."""
    credentials = {"omneo_token": f"canary-token-{name}", "omneo_signing_secret": f"canary-signing-{name}"}
    done = subprocess.run(
        [sys.executable, "-m", "deploy.tenants", "create", name], env=dict(demo.bundle.environment), input=json.dumps(credentials),
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout.split()[-1]


def test_another_tenant_of_the_store_is_opened_by_its_key_and_shown_on_every_page(console: Visit) -> None:
    key = create(console.demo, "acme")
    page = console.page(PATH)
    every = page.get_by_role("region", name="On this machine")
    page.get_by_label("Installation key of acme").fill("canary-of-nobody")
    every.get_by_role("button", name="Show acme").click()
    expect(every.get_by_role("alert")).to_contain_text("acme: ")
    page.get_by_label("Installation key of acme").fill(key)
    every.get_by_role("button", name="Show acme").click()
    expect(every.get_by_role("listitem").filter(has_text="acme")).to_contain_text("shown")
    expect(page.get_by_role("region", name="Install")).to_contain_text("not connected")
    console.check(page, "tenants-another")
    assert key not in page.content()
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Install", exact=True).click()
    pages = opened.value
    pages.set_default_timeout(SLOW)
    pages.get_by_role("button", name="Continue to Klaviyo").click()
    pages.get_by_label("Klaviyo account").select_option("AcmeAc")
    pages.get_by_role("button", name="Allow").click()
    pages.get_by_role("button", name="Connect", exact=True).click()
    expect(pages.get_by_role("heading", level=1)).to_contain_text("connected", timeout=SLOW)
    for path, name in (("people", "People"), ("flows", "Flows"), ("targets", "Targets"), ("desk", "Desk")):
        page.goto(f"{console.demo.place.url}/console/{path}/")
        heading(page, name)
        expect(page.get_by_role("banner").get_by_role("link", name="acme")).to_be_visible()
    page.goto(f"{console.demo.place.url}/")
    expect(page.get_by_label("Tenant").get_by_role("option", name="acme")).to_have_count(1)
    page.goto(f"{console.demo.place.url}{PATH}")
    page.get_by_role("button", name="Show demo").click()
    expect(page.get_by_role("banner").get_by_role("link", name="demo")).to_be_visible()
