"""A run over a whole base makes no two people one: nobody is found by a phone number, and nobody's profile is written for another."""

from typing import Any

import pytest

from tests.support.resyncing import IMPORTS, Whole, opt_in, opt_out
from tests.support.syncing import PHONE, PROFILES
from tests.support.world import ACCOUNT, EMAIL

PARENTS_EMAIL = "canary-parent@example.org"
LEFT_OUT = "left out of the import: {} of another profile"


def imported(shop: Whole) -> list[str]:
    """Return the Omneo ids of all who were in an import."""
    return [
        row["attributes"]["external_id"]
        for body in shop.bodies(IMPORTS)
        for row in body["attributes"]["profiles"]["data"]
    ]


def consents(profile: Any) -> tuple[str, str]:
    """Return the consents of a Klaviyo profile, to email and to SMS."""
    held = profile.subscriptions.consents
    return held["email"].status, held["sms"].status


@pytest.mark.parametrize("parent_is_in_omneo", [True, False])
def test_a_child_with_the_number_of_a_parent_is_another_person_after_a_run(
    shop: Whole, *, parent_is_in_omneo: bool
) -> None:
    given: dict[str, Any] = {"email": PARENTS_EMAIL, "first_name": "Parent"}
    held = dict(given, phone_number=PHONE)
    if parent_is_in_omneo:
        ins = opt_in(shop, "email", "sms", days=5)
        held["external_id"] = shop.customer(tells=False, mobile_phone_e164=PHONE, comms=ins, **given)
    parent = shop.klaviyo.profile(ACCOUNT, **held)
    for channel in ("email", "sms"):
        shop.klaviyo.subscribe(ACCOUNT, parent.id, channel=channel, at=shop.world.clock.timestamp() - 900_000)
    (child,) = shop.base(
        1, email=EMAIL, first_name="Child", mobile_phone_e164=PHONE, comms=opt_out(shop, "email", "sms")
    )
    run = shop.run()
    shop.settle(200)
    assert run.counts[LEFT_OUT.format("phone_number")] == 1
    assert "synced one by one: Klaviyo has not their phone_number" in shop.told(run)[child]
    assert child in imported(shop)
    assert len(shop.klaviyo.profiles(ACCOUNT)) == 2
    assert shop.of(child).attributes["email"] == EMAIL
    assert "phone_number" not in shop.of(child).attributes
    assert shop.consent_of(child) == "UNSUBSCRIBED"
    assert (parent.attributes["first_name"], parent.attributes["phone_number"]) == ("Parent", PHONE)
    assert consents(parent) == ("SUBSCRIBED", "SUBSCRIBED")
    (dead,) = shop.world.dead_jobs()
    assert dead.reason.startswith(f"Another Klaviyo profile ({parent.id}) has the profile's phone number")


def test_two_new_children_of_one_number_in_one_import_are_two_people(shop: Whole) -> None:
    ids = shop.base(2, mobile_phone_e164=PHONE, first_name="Child {n}", comms=opt_in(shop))
    (other,) = shop.base(1, email="canary-other@example.org", mobile_phone_e164="+61412345679")
    run = shop.run()
    shop.settle(200)
    assert run.counts[LEFT_OUT.format("phone_number")] == 1
    assert imported(shop) == [*ids, other]
    assert [shop.of(id).attributes["first_name"] for id in ids] == ["Child 0", "Child 1"]
    assert [shop.of(id).attributes["email"] for id in ids] == ["canary-0@example.org", "canary-1@example.org"]
    assert [shop.of(id).attributes.get("phone_number") for id in ids].count(PHONE) == 1
    assert len(shop.world.dead_jobs()) == 1


def test_two_new_people_of_one_number_in_two_imports_are_two_people(
    shop: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first import is under way while the second is made: Klaviyo does not show the number yet."""
    monkeypatch.setattr("shared.resync.rules.packing.MOST_PROFILES", 100)
    shop.klaviyo.consent.job_seconds = 60.0
    first = shop.base(1, email="canary-first@example.org", mobile_phone_e164=PHONE, first_name="First")
    shop.base(120)
    last = shop.base(1, email="canary-last@example.org", mobile_phone_e164=PHONE, first_name="Last")
    run = shop.run()
    shop.settle(200)
    assert len(shop.bodies(IMPORTS)) == 2
    assert run.counts[LEFT_OUT.format("phone_number")] == 1
    assert [shop.of(id).attributes["first_name"] for id in (*first, *last)] == ["First", "Last"]


def test_an_email_of_another_living_person_takes_nothing_from_them(shop: Whole) -> None:
    living = shop.customer(tells=False, email="canary-new@example.org", first_name="Living")
    held = shop.klaviyo.profile(ACCOUNT, email=EMAIL, external_id=living, first_name="Living")
    (id,) = shop.base(1, email=EMAIL, first_name="Jane")
    run = shop.run()
    shop.settle(200)
    assert run.counts[LEFT_OUT.format("email")] == 1
    assert (held.attributes["external_id"], held.attributes["first_name"]) == (living, "Living")
    assert shop.of(id).id != held.id
    assert shop.of(id).attributes["email"] == EMAIL  # given up by who has another now


def test_a_stored_id_of_another_living_persons_profile_is_not_written(shop: Whole) -> None:
    living = shop.customer(tells=False, email=PARENTS_EMAIL, first_name="Living")
    held = shop.klaviyo.profile(ACCOUNT, email=PARENTS_EMAIL, external_id=living, first_name="Living")
    theirs = [{"handle": "klaviyo", "identifier": held.id, "is_active": True}]
    (id,) = shop.base(1, email=EMAIL, first_name="Jane", identities=theirs)
    shop.run()
    shop.settle(200)
    assert (held.attributes["external_id"], held.attributes["email"]) == (living, PARENTS_EMAIL)
    assert shop.of(id).id != held.id


@pytest.mark.parametrize("is_known_from", ["a sync", "a run", "an identity"])
def test_who_opts_out_at_an_address_that_klaviyo_has_on_anothers_profile_is_opted_out_and_a_run_leaves_it_so(
    shop: Whole, is_known_from: str
) -> None:
    """Omneo has told nothing of it that the address has changed hands: the flush of the opt-out is the first to see it."""
    emails = (EMAIL, PARENTS_EMAIL)
    jane, joan = (shop.customer(email=one, comms=opt_in(shop), tells=False) for one in emails)
    for id, email in ((jane, EMAIL), (joan, PARENTS_EMAIL)) if is_known_from == "an identity" else ():
        held = shop.klaviyo.profile(ACCOUNT, email=email, external_id=id)
        shop.klaviyo.subscribe(ACCOUNT, held.id, at=shop.world.clock.timestamp() - 900_000)
        row = {"handle": "klaviyo", "identifier": held.id, "is_active": True}
        shop.change_quietly(id, identities=[row])
    if is_known_from == "a run":
        shop.run()
    if is_known_from == "a sync":
        for id in (jane, joan):
            shop.change(id, last_name="canary")
    shop.settle(200)
    shop.world.clock.advance(900)
    shop.change_quietly(jane, email=PARENTS_EMAIL)
    shop.change_quietly(joan, email="canary-new@example.org")
    shop.klaviyo.unsubscribe(
        ACCOUNT, shop.of(joan).id
    )  # Jane, by a letter to the address that is hers by now
    shop.settle(200)
    assert not shop.comms(jane)["email_promo"]
    shop.run()
    shop.settle(200)
    assert shop.of(jane).attributes["email"] == PARENTS_EMAIL
    assert (shop.comms(jane)["email_promo"], shop.consent_of(jane)) == (False, "UNSUBSCRIBED")


def test_a_run_changes_no_email_while_klaviyo_is_at_a_consent_of_it(shop: Whole) -> None:
    id = shop.customer(email=EMAIL, comms=opt_in(shop))
    shop.settle(200)
    shop.klaviyo.consent.job_seconds = 170.0
    shop.change(id, comms={"email_promo": False, "email_consent_updated_at": shop.now()})
    shop.world.work(20)  # our unsubscribe is asked for
    shop.klaviyo.consent.job_seconds = 1.0
    shop.change_quietly(id, email=PARENTS_EMAIL)
    run = shop.begin()
    shop.world.work(90)
    assert shop.of(id).attributes["email"] == EMAIL
    shop.end(run)
    shop.settle(200)
    assert (shop.of(id).attributes["email"], shop.consent_of(id)) == (PARENTS_EMAIL, "UNSUBSCRIBED")


def test_a_run_of_consents_alone_leaves_the_number_of_another_person_alone(shop: Whole) -> None:
    parent = shop.klaviyo.profile(ACCOUNT, email=PARENTS_EMAIL, phone_number=PHONE)
    shop.klaviyo.profile(ACCOUNT, email="canary-0@example.org")
    shop.base(2, mobile_phone_e164=PHONE, comms=opt_in(shop, "email", "sms"))  # the second is not in Klaviyo
    shop.run(only_consent=True)
    assert consents(parent) == ("NEVER_SUBSCRIBED", "NEVER_SUBSCRIBED")
    shop.klaviyo.subscribe(ACCOUNT, parent.id, channel="sms", at=shop.world.clock.timestamp() - 900_000)
    shop.base(2, email="canary-out-{n}@example.org", mobile_phone_e164=PHONE, comms=opt_out(shop, "sms"))
    shop.run(only_consent=True)
    assert consents(parent) == ("NEVER_SUBSCRIBED", "SUBSCRIBED")


def test_where_everybody_has_one_number_only_some_are_synced_by_themselves(
    shop: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.resync.comparing.MOST_APART", 3)
    ids = shop.base(9, mobile_phone_e164=PHONE)
    run = shop.run()
    shop.settle(200)
    assert run.counts[LEFT_OUT.format("phone_number")] == 8
    assert run.counts["synced one by one: Klaviyo has not their phone_number"] == 3
    assert run.counts["left out: phone_number of another profile"] == 5
    assert [shop.of(id).attributes["email"] for id in ids] == [f"canary-{n}@example.org" for n in range(9)]
    assert len(shop.world.dead_jobs()) == 3


def test_somebody_whose_email_omneo_has_had_since_before_the_extension_came_costs_no_look_up(
    shop: Whole,
) -> None:
    shop.base(3, updated_at="2020-01-02 03:04:05")
    run = shop.begin()
    while not shop.now_of(run).sent.is_over:
        shop.world.work(1)
    assert [call for call in shop.klaviyo_calls(PROFILES) if call.method == "GET"] == []
    assert len(imported(shop)) == 3


def test_to_look_who_has_the_addresses_costs_two_calls_for_a_hundred(shop: Whole) -> None:
    shop.base(200, mobile_phone_e164="+614120{n:05}")
    run = shop.begin()
    while not shop.now_of(run).sent.is_over:
        shop.world.work(1)
    assert len({call.query for call in shop.klaviyo_calls(PROFILES) if call.method == "GET"}) == 4
    assert len(imported(shop)) == 200
