"""Installs that a signed link begins: read often, used once, refused when altered, old or meant for somebody else."""

import re
import threading

import pytest
from flask import Flask

from shared.installation.links import LIFE, InstallLinks
from shared.services import Services
from shared.settings import Settings
from shared.storage.encryption import new_key
from tests.support.merchant import CALLBACK, Merchant, app_of, field, title
from tests.support.world import EVERYTHING, TENANT, World


@pytest.fixture
def link(app: Flask, world: World) -> str:
    """Return the text of a link that starts the tenant's install."""
    return InstallLinks.of(world.services).make(TENANT)


def test_a_link_may_be_opened_often_and_used_once(app: Flask, world: World, link: str) -> None:
    for _ in range(5):  # a mail scanner, a preview, and the merchant
        page = Merchant(app).get("/klaviyo/install", link=link)
        assert page.status_code == 200
        assert field(page, "link") == link
        assert f"<dd>{TENANT}</dd>" in page.get_data(as_text=True)
    merchant = Merchant(app)
    begun = merchant.post("/klaviyo/install", link=link)
    assert field(merchant.come_back(begun), "confirmation")
    for again in (merchant.post("/klaviyo/install", link=link), merchant.get("/klaviyo/install", link=link)):
        assert (again.status_code, title(again)) == (410, "This link is no longer valid")


def test_a_link_that_is_altered_anywhere_is_refused(merchant: Merchant, link: str) -> None:
    altered = [
        link[:place] + ("A" if link[place] != "A" else "B") + link[place + 1 :] for place in range(len(link))
    ]
    said, _, signature = link.partition(".")
    altered += [
        said,
        f"{said}.",
        f".{signature}",
        f"{link}=",
        f"{link}.",
        f" {link}",
        f"{link}\x00",
        link.upper(),
    ]
    altered += [link[:-1], f"{said}!.{signature}", f"{said}=.{signature}", "x", "\u00fc.\u00fc", "." * 9]
    for text in altered:
        page = merchant.get("/klaviyo/install", link=text)
        assert (page.status_code, title(page)) == (400, "This link cannot be read"), text
        assert merchant.post("/klaviyo/install", link=text).status_code == 400
    assert merchant.post("/klaviyo/install", link=link).status_code == 302


def test_a_link_expires(merchant: Merchant, world: World, link: str) -> None:
    world.clock.advance(LIFE.total_seconds() - 1)
    assert merchant.get("/klaviyo/install", link=link).status_code == 200
    world.clock.advance(1)
    assert merchant.get("/klaviyo/install", link=link).status_code == 410
    assert merchant.post("/klaviyo/install", link=link).status_code == 410


def test_of_two_that_use_a_link_at_once_one_may(app: Flask, link: str) -> None:
    statuses: list[int] = []
    ready = threading.Barrier(8)

    def use() -> None:
        merchant = Merchant(app)
        ready.wait()
        statuses.append(merchant.post("/klaviyo/install", link=link).status_code)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [302] + [410] * 7


def test_a_link_outlives_a_rotation_of_keys_but_not_the_end_of_its_key(world: World, link: str) -> None:
    old = world.environment["ENCRYPTION_KEYS"]
    new = f"k2:{new_key()}"

    def with_keys(keys: str) -> Merchant:
        world.sandbox.klaviyo.oauth.redirect_uris = [CALLBACK]
        environment = {**world.environment, "ENCRYPTION_KEYS": keys}
        return Merchant(app_of(Services(Settings.from_env(environment, EVERYTHING), clock=world.clock)))

    assert with_keys(f"{new},{old}").get("/klaviyo/install", link=link).status_code == 200
    assert with_keys(new).get("/klaviyo/install", link=link).status_code == 400
    assert with_keys(f"{new},{old}").post("/klaviyo/install", link=link).status_code == 302


def test_a_link_for_a_tenant_that_was_deleted_installs_nothing(
    merchant: Merchant, world: World, link: str
) -> None:
    begun = merchant.post("/klaviyo/install", link=link)
    world.services.tenants.delete(TENANT)
    answer = merchant.come_back(begun)
    assert (answer.status_code, title(answer)) == (400, "This step has expired")


def test_a_link_does_not_stand_in_for_a_form_of_another_tenant(
    merchant: Merchant, world: World, link: str
) -> None:
    world.tenant("other", installed=False)
    begun = merchant.post("/klaviyo/install", link=link, tenant="other", installation_key="")
    asked = merchant.come_back(begun)
    assert title(asked).endswith(f"Omneo tenant {TENANT}?")


def test_a_link_that_names_no_tenant_is_refused_though_we_signed_it(merchant: Merchant, world: World) -> None:
    links: InstallLinks = InstallLinks.of(world.services)
    for name in ("a/../b", "a.evil.com", "", "A"):
        assert merchant.get("/klaviyo/install", link=links.make(name)).status_code == 400


def test_the_links_text_is_safe_in_an_address(link: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", link)
