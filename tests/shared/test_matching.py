"""Which Omneo profile a Klaviyo profile is, and what it costs to find out."""

import pytest

from shared.consent.klaviyo_profile import ProfileReadOnce
from shared.errors import DisconnectedError, WaitError
from shared.matching import omneo_profile_of
from shared.omneo.client import Profile
from tests.support.consenting import IDENTITY, Retailer, an_installed_tenant
from tests.support.world import ACCOUNT, EMAIL, TENANT, World

SEARCH = "POST */api/v3/profiles/search-id"
READ = "GET */api/v3/profiles/*"
LIST = "GET */api/v3/profiles"


@pytest.fixture
def shop(world: World) -> Retailer:
    """Return a tenant with an account."""
    an_installed_tenant(world)
    return Retailer(world)


def found_by(look: ProfileReadOnce) -> Profile | None:
    handle, omneo = look.tenant.settings.identity_handle, look.services.omneo(look.tenant)
    return omneo_profile_of(look.id, handle=handle, omneo=omneo, klaviyo=lambda: look.profile)


def match(shop: Retailer, klaviyo: str) -> str | None:
    """Return the id of the Omneo profile that is found, the calls so far forgotten."""
    for service in ("omneo", "klaviyo"):
        shop.calls(service)
    tenant, services = shop.world.read(), shop.world.services
    found = found_by(ProfileReadOnce(klaviyo, tenant, services))
    return None if found is None else found.id


def in_omneo(shop: Retailer, *, email: str | None = None, identity: str = "", handle: str = IDENTITY) -> str:
    identities = [{"handle": handle, "identifier": identity}] if identity else []
    id: str = shop.omneo.profile(TENANT, email=email, identities=identities)["id"]
    return id


def test_a_stored_identity_is_found_with_one_call_and_none_to_klaviyo(shop: Retailer) -> None:
    klaviyo = shop.klaviyo.profile(ACCOUNT, email=EMAIL).id
    in_omneo(shop, email=EMAIL)
    wanted = in_omneo(shop, identity=klaviyo)
    assert match(shop, klaviyo) == wanted
    assert (shop.calls(), shop.calls("klaviyo")) == ([SEARCH], [])


def test_then_klaviyos_external_id_is_taken_for_omneos_id(shop: Retailer) -> None:
    in_omneo(shop, email=EMAIL)
    wanted = in_omneo(shop)
    klaviyo = shop.klaviyo.profile(ACCOUNT, email=EMAIL, external_id=wanted).id
    assert match(shop, klaviyo) == wanted
    assert shop.calls() == [SEARCH, READ]


def test_then_the_email_in_any_case(shop: Retailer) -> None:
    wanted = in_omneo(shop, email=EMAIL)
    klaviyo = shop.klaviyo.profile(ACCOUNT, email=EMAIL.upper()).id
    assert match(shop, klaviyo) == wanted
    assert shop.calls() == [SEARCH, LIST]


@pytest.mark.parametrize(
    "external_id",
    ["01234567-89ab-4cde-8f01-23456789abcd", "shopify-77", "../webhooks", "search-id", "x" * 36],
)
def test_an_external_id_that_is_no_profile_of_omneos_falls_through(shop: Retailer, external_id: str) -> None:
    wanted = in_omneo(shop, email=EMAIL)
    klaviyo = shop.klaviyo.profile(ACCOUNT, email=EMAIL, external_id=external_id).id
    assert match(shop, klaviyo) == wanted


def test_a_merged_profile_is_found_by_the_identity_of_the_other(shop: Retailer) -> None:
    old = shop.klaviyo.profile(ACCOUNT, email="canary-old@example.org").id
    new = shop.klaviyo.profile(ACCOUNT, email=EMAIL).id
    wanted = in_omneo(shop, identity=new)
    shop.klaviyo.merge_profiles(ACCOUNT, old, new)
    assert match(shop, old) == wanted


def test_an_identity_under_another_handle_is_somebody_elses(shop: Retailer) -> None:
    klaviyo = shop.klaviyo.profile(ACCOUNT, phone_number="+61400000001").id
    in_omneo(shop, identity=klaviyo, handle="shopify")
    assert match(shop, klaviyo) is None


def test_a_profile_without_anything_in_common_is_nobodys(shop: Retailer) -> None:
    in_omneo(shop, email=EMAIL)
    assert match(shop, shop.klaviyo.profile(ACCOUNT, phone_number="+61400000001").id) is None
    assert match(shop, shop.klaviyo.profile(ACCOUNT, email="canary-other@example.org").id) is None


def test_one_that_klaviyo_does_not_know_any_more_is_found_by_its_identity_alone(shop: Retailer) -> None:
    wanted = in_omneo(shop, identity="01GONE")
    assert match(shop, "01GONE") == wanted
    assert match(shop, "01OTHER") is None


def test_without_an_account_only_the_identity_counts(shop: Retailer) -> None:
    klaviyo = shop.klaviyo.profile(ACCOUNT, email=EMAIL).id
    in_omneo(shop, email=EMAIL)
    shop.world.services.tenants.change(TENANT, lambda tenant: tenant.model_copy(update={"klaviyo": None}))
    assert match(shop, klaviyo) is None
    assert shop.calls("klaviyo") == []


def test_a_klaviyo_that_is_away_is_no_unknown_profile(shop: Retailer) -> None:
    klaviyo = shop.klaviyo.profile(ACCOUNT, email=EMAIL).id
    in_omneo(shop, email=EMAIL)
    shop.klaviyo.fail(status=503)
    with pytest.raises(WaitError):
        match(shop, klaviyo)
    shop.klaviyo.uninstall(ACCOUNT)
    with pytest.raises((DisconnectedError, WaitError)):
        match(shop, klaviyo)


def test_an_omneo_that_is_away_is_no_unknown_profile(shop: Retailer) -> None:
    klaviyo = shop.klaviyo.profile(ACCOUNT, email=EMAIL).id
    for number in range(2):
        in_omneo(shop, email=EMAIL)
        shop.omneo.fail(next=1, match=["POST *", "GET *"][number], status=502)
        with pytest.raises(WaitError):
            match(shop, klaviyo)


def test_klaviyo_is_read_once_whoever_asks(shop: Retailer) -> None:
    klaviyo = shop.klaviyo.profile(ACCOUNT, email=EMAIL).id
    tenant, services = shop.world.read(), shop.world.services
    look = ProfileReadOnce(klaviyo, tenant, services)
    assert found_by(look) is None
    assert look.email is not None
    assert len(shop.calls("klaviyo")) == 1
