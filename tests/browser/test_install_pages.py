"""The install's pages in a real browser, against the bundle as it is deployed: headless Chromium, a keyboard, and a phone."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from deploy.local.bundle import Bundle
from deploy.local.sandbox import Sandbox
from shared.installation.links import InstallLinks
from shared.klaviyo.resources import DATA_SOURCES
from shared.services import Services
from shared.settings import Needs, Settings
from shared.storage.encryption import new_key
from tests.support.world import INSTALLATION_KEY, OMNEO_TOKEN, SIGNING_SECRET, a_tenant

PATIENCE = 90_000  # milliseconds that a busy machine may take
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}
STEPS = 10


@dataclass
class Shop:
    """The running bundle, and a browser before it. `problems` is everything that a browser complained about."""

    sandbox: Sandbox
    services: Services
    url: str
    browser: Browser
    problems: list[str] = field(default_factory=list)
    pictures: Path | None = None
    contexts: list[BrowserContext] = field(default_factory=list)

    def tenant(self, name: str, organization: str = "Acme Store", *, prepared: bool = True) -> None:
        """Make a tenant that has not installed, and a Klaviyo account, the only one its merchant may choose.

        A prepared account has its data sources already: Klaviyo takes no more than three a second.
        """
        self.sandbox.omneo.tenant(name, token=OMNEO_TOKEN, signing_secret=SIGNING_SECRET)
        self.services.tenants.create(a_tenant(name, datetime.now(UTC)))
        self.sandbox.klaviyo.reset()
        account = f"{name.title()}Ac"
        self.sandbox.klaviyo.account(account, organization_name=organization)
        for title in DATA_SOURCES if prepared else ():
            self.sandbox.klaviyo.data_source(account, title)

    def page(self, size: dict[str, int] = DESKTOP) -> Page:
        """Open a new browser window, with no cookies."""
        context = self.browser.new_context(viewport={"width": size["width"], "height": size["height"]})
        context.set_default_timeout(PATIENCE)
        self.contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: self._note(said.type, said.text))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.goto(f"{self.url}/klaviyo/install")
        return page

    def picture(self, page: Page, name: str) -> None:
        """Keep a picture of the page, if somebody wants to look at it."""
        if self.pictures:
            page.screenshot(path=self.pictures / f"{name}.png", full_page=True)

    def _note(self, kind: str, text: str) -> None:
        # A page that names a refusal has a status of 4xx, which is no fault of the page.
        if kind in ("error", "warning") and "the server responded with a status of 4" not in text:
            self.problems.append(text)


@pytest.fixture(scope="module")
def running(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Start the bundle before the browser, once for all tests."""
    with Sandbox(token_prefix="canary", client_secret="canary-client-secret") as sandbox:
        given = {
            "KLAVIYO_API_URL": sandbox.klaviyo.url,
            "KLAVIYO_AUTHORIZE_URL": f"{sandbox.klaviyo.url}/oauth/authorize",
            "OMNEO_API_URL": sandbox.omneo.url_template,
            "KLAVIYO_CLIENT_ID": sandbox.klaviyo.oauth.client_id,
            "KLAVIYO_CLIENT_SECRET": sandbox.klaviyo.oauth.client_secret,
            "ENCRYPTION_KEYS": f"k1:{new_key()}",
            "CLOUD_TASKS_EMULATOR_HOST": "127.0.0.1:0",
        }
        folder = tmp_path_factory.mktemp("bundle")
        with Bundle(folder, 0, given, say=lambda _line: None) as bundle:
            services = Services(Settings.from_env(bundle.environment, Needs.STORE))
            yield Shop(sandbox, services, bundle.url, browser)


@pytest.fixture
def shop(running: Shop) -> Iterator[Shop]:
    """Return the running bundle; afterwards no browser may have complained."""
    running.problems.clear()
    running.pictures = Path(folder) if (folder := os.environ.get("PICTURES")) else None
    yield running
    while running.contexts:
        running.contexts.pop().close()
    assert running.problems == []


def heading(page: Page, text: str) -> None:
    """Wait until the page's one heading says this."""
    expect(page.get_by_role("heading", level=1)).to_have_text(text)


def begin(page: Page, tenant: str, key: str = INSTALLATION_KEY) -> None:
    """Fill in the start page and send it."""
    heading(page, "Connect Klaviyo to Omneo")
    page.get_by_label("Omneo tenant").fill(tenant)
    page.get_by_label("Installation key").fill(key)
    page.get_by_role("button", name="Continue to Klaviyo").click()


def connected(page: Page) -> None:
    """Wait until every step is done."""
    heading(page, "Klaviyo is connected")
    expect(page.get_by_text("Everything is set up.")).to_be_visible()
    steps = page.get_by_role("listitem")
    expect(steps).to_have_count(STEPS)
    assert [text.rsplit(maxsplit=1)[-1] for text in steps.all_inner_texts()] == ["done"] * STEPS


def assert_fits(page: Page) -> None:
    """Check that nothing has to be scrolled sideways."""
    width, room = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert width <= room


def test_a_merchant_installs(shop: Shop) -> None:
    shop.tenant("acme", prepared=False)
    page = shop.page()
    shop.picture(page, "start")
    begin(page, "acme")
    expect(page.get_by_role("combobox", name="Klaviyo account")).to_have_value("AcmeAc")
    page.get_by_role("button", name="Allow").click()
    heading(page, "Connect Klaviyo account Acme Store to Omneo tenant acme?")
    assert page.url.startswith(f"{shop.url}/klaviyo/confirm?confirmation=")
    assert "code=" not in page.url  # it is gone from the address bar and the history
    page.go_back()
    expect(page.get_by_role("button", name="Allow")).to_be_visible()
    page.go_forward()
    heading(page, "Connect Klaviyo account Acme Store to Omneo tenant acme?")
    shop.picture(page, "confirm")
    page.get_by_role("button", name="Connect", exact=True).click()
    heading(page, "Klaviyo is connected")
    shop.picture(page, "done-at-first")
    connected(page)
    shop.picture(page, "done")
    link = page.get_by_role("link", name="Open CX Manager")
    assert link.get_attribute("href") == "https://acme.manager.getomneo.com"
    assert len(shop.sandbox.klaviyo.data_sources("AcmeAc")) == 6
    assert len(shop.sandbox.klaviyo.webhooks("AcmeAc")) == 1
    assert len(shop.sandbox.omneo.webhooks("acme")) == 3
    page.reload()
    connected(page)


def test_two_tabs_of_one_browser_finish_each_its_own(shop: Shop) -> None:
    shop.tenant("first")
    page = shop.page()
    begin(page, "first")
    expect(page.get_by_role("button", name="Allow")).to_be_visible()
    other = page.context.new_page()
    other.goto(f"{shop.url}/klaviyo/install")
    begin(other, "first")
    expect(other.get_by_role("button", name="Allow")).to_be_visible()
    page.get_by_role("button", name="Allow").click()
    page.get_by_role("button", name="Connect", exact=True).click()
    connected(page)
    other.get_by_role("button", name="Allow").click()  # the two are joined by now, so nothing is asked
    connected(other)


def test_a_merchant_who_denies_is_told_so_and_can_start_again(shop: Shop) -> None:
    shop.tenant("denier")
    page = shop.page()
    begin(page, "denier")
    page.get_by_role("button", name="Deny").click()
    heading(page, "Klaviyo was not connected")
    expect(page.get_by_role("alert")).to_have_text("You chose not to allow the connection in Klaviyo.")
    shop.picture(page, "denied")
    page.get_by_role("link", name="Start again").click()
    heading(page, "Connect Klaviyo to Omneo")


def test_a_merchant_who_cancels_is_told_so(shop: Shop) -> None:
    shop.tenant("canceller")
    page = shop.page()
    begin(page, "canceller")
    page.get_by_role("button", name="Allow").click()
    page.get_by_role("button", name="Cancel").click()
    heading(page, "Klaviyo was not connected")
    expect(page.get_by_role("alert")).to_have_text("You chose not to connect the two accounts.")


def test_the_whole_install_works_with_a_keyboard_alone(shop: Shop) -> None:
    shop.tenant("typist")
    page = shop.page()
    page.keyboard.press("Tab")
    page.keyboard.type("typist")
    page.keyboard.press("Tab")
    page.keyboard.type(INSTALLATION_KEY)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{shop.sandbox.klaviyo.url}/**")
    for _ in range(2):
        page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Allow")).to_be_focused()
    page.keyboard.press("Enter")
    heading(page, "Connect Klaviyo account Acme Store to Omneo tenant typist?")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Connect", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    connected(page)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Open CX Manager")).to_be_focused()


def test_every_page_fits_a_phone(shop: Shop) -> None:
    name = "a-retailer-with-a-name-as-long-as-allowed"[:40].rstrip("-")
    organization = "Internationale-Handelsgesellschaft-mit-sehr-langem-Namen-ohne-Leerzeichen"
    shop.tenant(name, organization)
    page = shop.page(PHONE)
    shop.picture(page, "phone-start")
    assert_fits(page)
    begin(page, name, "wrong")
    expect(page.get_by_role("alert")).to_contain_text("do not belong together")
    shop.picture(page, "phone-wrong-key")
    assert_fits(page)
    begin(page, name)
    page.get_by_role("button", name="Allow").click()
    heading(page, f"Connect Klaviyo account {organization} to Omneo tenant {name}?")
    shop.picture(page, "phone-confirm")
    assert_fits(page)
    page.get_by_role("button", name="Connect", exact=True).click()
    connected(page)
    shop.picture(page, "phone-done")
    assert_fits(page)
    page.goto(f"{shop.url}/klaviyo/callback")
    heading(page, "This step has expired")
    shop.picture(page, "phone-problem")
    assert_fits(page)


def test_a_link_shows_whose_install_it_is_and_survives_a_double_click(shop: Shop) -> None:
    shop.tenant("linked")
    page = shop.page()
    page.goto(f"{shop.url}/klaviyo/install?link={InstallLinks.of(shop.services).make('linked')}")
    expect(page.get_by_role("definition")).to_have_text("linked")
    shop.picture(page, "link")
    page.get_by_role("button", name="Continue to Klaviyo").dblclick()
    page.get_by_role(
        "button", name="Allow"
    ).click()  # not ours: a second click there may bring the state a second time
    heading(page, "Connect Klaviyo account Acme Store to Omneo tenant linked?")
    page.get_by_role("button", name="Connect", exact=True).dblclick()
    connected(page)


def test_a_step_that_fails_says_why_and_the_others_are_done(shop: Shop) -> None:
    shop.tenant("partly", prepared=False)
    shop.sandbox.klaviyo.fail(50, match="POST /api/data-sources", status=403)
    page = shop.page()
    begin(page, "partly")
    page.get_by_role("button", name="Allow").click()
    page.get_by_role("button", name="Connect", exact=True).click()
    expect(page.get_by_text("6 of 10 steps could not be done.")).to_be_visible()
    expect(page.get_by_text("Klaviyo does not allow it.")).to_have_count(6)
    shop.picture(page, "partly")


def test_every_page_names_itself_its_language_and_its_fields(shop: Shop) -> None:
    shop.tenant("reader")
    page = shop.page()
    assert page.title() == "Connect Klaviyo · Omneo for Klaviyo"
    assert page.locator("html").get_attribute("lang") == "en"
    expect(page.get_by_role("main")).to_have_count(1)
    tenant, key = page.get_by_role("textbox").all()
    expect(tenant).to_have_accessible_name("Omneo tenant")
    expect(tenant).to_have_accessible_description(
        "The name in your CX Manager's address: name.manager.getomneo.com"
    )
    expect(key).to_have_accessible_name("Installation key")
    expect(key).to_have_attribute("type", "password")
    begin(page, "reader", "wrong")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_label("Omneo tenant")).to_have_value("reader")
    expect(page.get_by_label("Installation key")).to_have_value("")


def test_the_page_goes_on_asking_when_an_answer_is_missed(shop: Shop) -> None:
    shop.tenant("patient")
    page = shop.page()
    page.route("**/klaviyo/progress?*", lambda route: route.fulfill(status=503), times=1)
    shop.sandbox.omneo.fail(1, status=503)
    begin(page, "patient")
    page.get_by_role("button", name="Allow").click()
    page.get_by_role("button", name="Connect", exact=True).click()
    connected(page)
    shop.problems[:] = [text for text in shop.problems if "a status of 503" not in text]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_either_colour_scheme(shop: Shop, scheme: str) -> None:
    page = shop.page()
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    shop.picture(page, f"start-{scheme}")
    for selector in ("h1", ".hint", "label", "button", "input", "footer p", "footer a", "main > ul li"):
        colours = page.locator(selector).first.evaluate(
            """(element) => {
                const text = getComputedStyle(element).color;
                while (getComputedStyle(element).backgroundColor === "rgba(0, 0, 0, 0)") element = element.parentElement;
                return [text, getComputedStyle(element).backgroundColor];
            }"""
        )
        assert contrast(*colours) >= 4.5, selector  # WCAG 2.2, 1.4.3


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of two CSS colours, as WCAG defines it."""
    dark, light = sorted(map(luminance, (first, second)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    """Return the relative luminance of `rgb(r, g, b)`."""
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
