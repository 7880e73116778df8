"""The second phase of a run: every consent is compared, and what differs is asked for as of its own date."""

import pytest

from shared.consent.ledger import ConsentLedger
from shared.resync.rules.run import State
from tests.support.resyncing import Whole, listed, opt_in, opt_out
from tests.support.syncing import IMPORT, PHONE, SUBSCRIBE, UNSUBSCRIBE
from tests.support.world import ACCOUNT, TENANT, World


def test_an_opt_out_of_somebody_new_to_klaviyo_is_given_once_klaviyo_has_them(shop: Whole) -> None:
    shop.klaviyo.consent.job_seconds = 45.0
    ids = shop.base(130, comms=opt_out(shop, "email", "sms"), mobile_phone_e164="+614120{n:05}")
    run = shop.run()
    shop.world.work(60)
    assert run.state is State.DONE
    for channel in ("email", "sms"):
        assert {shop.consent_of(id, channel) for id in ids} == {"UNSUBSCRIBED"}
    assert all("relationships" not in body for body in shop.bodies(UNSUBSCRIBE))
    sizes = [len(body["attributes"]["profiles"]["data"]) for body in shop.bodies(UNSUBSCRIBE)]
    assert sizes == [100, 30]


def test_an_opt_in_without_a_date_is_counted_and_not_sent(shop: Whole) -> None:
    ids = shop.base(4, comms={"email_promo": True})
    run = shop.run()
    assert run.counts["email: no consent date"] == 4
    assert shop.told(run) == {id: ["email: no consent date"] for id in ids}
    assert shop.bodies(SUBSCRIBE) == []


def test_an_opt_in_reported_as_not_sent_is_not_sent_by_the_closing_syncs(shop: Whole) -> None:
    ids = [
        shop.customer(tells=False, email=f"canary-{n}@example.org", comms={"email_promo": True})
        for n in range(3)
    ]
    shop.hush()  # and the run begins at once: Omneo has changed all of them "meanwhile"
    run = shop.run()
    shop.settle()
    assert shop.told(run) == {id: ["email: no consent date"] for id in ids}
    assert len(shop.klaviyo_calls(IMPORT)) == 3
    assert shop.bodies(SUBSCRIBE) == []
    assert {shop.consent_of(id) for id in ids} == {"NEVER_SUBSCRIBED"}


def test_an_opt_in_reported_as_not_sent_is_not_sent_by_a_sync_of_its_own(shop: Whole) -> None:
    """Klaviyo has the phone number on another profile, so the import rejects this one."""
    other = shop.klaviyo.profile(ACCOUNT, phone_number=PHONE, external_id="canary-other")
    (id,) = shop.base(1, mobile_phone_e164=PHONE, comms={"email_promo": True})
    shop.klaviyo.profile(ACCOUNT, external_id=id)
    run = shop.run()
    shop.settle()
    assert "email: no consent date" in shop.told(run)[id]
    assert shop.of(id).attributes["email"] == "canary-0@example.org"
    assert shop.bodies(SUBSCRIBE) == []
    assert other.attributes["phone_number"] == PHONE


def test_the_webhook_of_an_undated_opt_in_beside_a_closing_sync_still_subscribes(shop: Whole) -> None:
    id = shop.customer(tells=False, comms={})
    shop.hush()
    run = shop.begin()
    while shop.now_of(run).settles_at is None:
        shop.world.work(1)
    shop.change(id, comms={"email_promo": True})
    shop.omneo.deliver(TENANT)
    shop.end(run)
    shop.settle()
    assert shop.consent_of(id) == "SUBSCRIBED"


def test_the_operator_may_take_the_day_somebody_joined(shop: Whole) -> None:
    dated = shop.base(1, joined_at="2020-02-03 04:05:06", comms={"email_promo": True})
    shop.base(1, email="canary-f@example.org", joined_at="2030-01-01 00:00:00", comms={"email_promo": True})
    run = shop.run(undated_opt_ins="joined_date")
    assert run.counts["email: no consent date"] == 1
    (row,) = shop.bodies(SUBSCRIBE)[0]["attributes"]["profiles"]["data"]
    email = row["attributes"]["subscriptions"]["email"]["marketing"]
    assert email["consented_at"] == "2020-02-03T04:05:06+00:00"
    assert shop.consent_of(dated[0]) == "SUBSCRIBED"


def test_who_consents_to_sms_alone_is_never_put_on_the_master_list(shop: Whole, world: World) -> None:
    listed(shop, world)
    phones = "+614120{n:05}"
    both = shop.base(3, comms=opt_in(shop, "email", "sms"), mobile_phone_e164=phones)
    sms = {**opt_in(shop, "sms"), **opt_out(shop)}
    alone = shop.base(3, email="canary-s{n}@example.org", comms=sms, mobile_phone_e164="+614130{n:05}")
    shop.run()
    assert {tuple(shop.of(id).memberships) for id in both} == {("LIST1",)}
    assert {tuple(shop.of(id).memberships) for id in alone} == {()}
    assert {shop.consent_of(id, "sms") for id in both + alone} == {"SUBSCRIBED"}


def test_an_opt_out_that_klaviyo_holds_newer_is_left_and_brought_to_omneo(shop: Whole) -> None:
    (id,) = shop.base(1, comms=opt_in(shop, days=3))
    held = shop.klaviyo.profile(ACCOUNT, email="canary-0@example.org")
    shop.klaviyo.unsubscribe(ACCOUNT, held.id)
    shop.klaviyo._account(ACCOUNT).outbox.clear()
    run = shop.run()
    shop.settle()
    assert run.counts["email: pull_opt_out (klaviyo_opt_out_newer)"] == 1
    assert shop.consent_of(id) == "UNSUBSCRIBED"
    assert shop.comms(id)["email_promo"] is False
    assert shop.bodies(SUBSCRIBE) == []


def test_an_opt_in_never_reaches_a_number_that_another_profile_has_opted_out(shop: Whole) -> None:
    """The live sync asks whoever has the number; so does a run."""
    other = shop.klaviyo.profile(ACCOUNT, phone_number=PHONE, email="canary-other@example.org")
    shop.klaviyo.subscribe(ACCOUNT, other.id, channel="sms")
    shop.klaviyo.unsubscribe(ACCOUNT, other.id, channel="sms")
    shop.base(1, comms=opt_in(shop, "sms", days=3), mobile_phone_e164=PHONE)
    shop.run()
    shop.run(only_consent=True)
    shop.settle()
    (profile,) = [one for one in shop.klaviyo.profiles(ACCOUNT) if one.id == other.id]
    assert profile.subscriptions.consents["sms"].status == "UNSUBSCRIBED"


@pytest.mark.parametrize("order", [(True, False), (False, True)])
def test_of_two_who_share_a_number_the_one_who_has_it_in_klaviyo_has_decided(
    shop: Whole, order: tuple[bool, bool]
) -> None:
    for number, wants in enumerate(order):
        comms = opt_in(shop, "sms", days=2) if wants else opt_out(shop, "sms", days=1)
        shop.customer(tells=False, email=f"canary-{number}@example.org", mobile_phone_e164=PHONE, comms=comms)
    shop.hush()
    shop.world.clock.advance(3600)
    shop.run()
    shop.settle(200)  # who is left without the number waits for it, for a while
    owner = shop.klaviyo._account(ACCOUNT).owner("phone_number", PHONE)
    assert owner is not None
    assert owner.attributes["email"] == "canary-0@example.org"
    assert (owner.subscriptions.consents["sms"].status == "SUBSCRIBED") is order[0]


def test_a_decision_in_omneo_is_newer_than_the_time_of_an_earlier_run(shop: Whole) -> None:
    comms = {**opt_in(shop, "email", "sms", days=5)}
    ids = shop.base(2, comms=comms, mobile_phone_e164="+614120{n:05}")
    shop.run()
    changed = opt_out(shop, "email", "sms", days=3)  # before the run, and learnt of only now
    for id in ids:
        shop.change_quietly(id, comms=changed)
    shop.hush()
    shop.world.clock.advance(3600)
    shop.run()
    for channel in ("email", "sms"):
        assert {shop.consent_of(id, channel) for id in ids} == {"UNSUBSCRIBED"}


def test_transactional_sms_goes_with_sms_and_never_on_the_master_list(shop: Whole, world: World) -> None:
    listed(shop, world)
    world.services.tenants.change(
        TENANT,
        lambda known: known.model_copy(
            update={"settings": known.settings.model_copy(update={"sms_transactional": True})}
        ),
    )
    ids = shop.base(2, comms=opt_in(shop, "email", "sms"), mobile_phone_e164="+614120{n:05}")
    shop.run()
    assert {shop.consent_of(id, "sms_transactional") for id in ids} == {"SUBSCRIBED"}
    for body in shop.bodies(SUBSCRIBE):
        rows = body["attributes"]["profiles"]["data"]
        transactional = any(
            "transactional" in row["attributes"]["subscriptions"].get("sms", {}) for row in rows
        )
        assert transactional != ("relationships" in body)


def test_the_echo_of_a_run_changes_nothing_in_omneo(shop: Whole) -> None:
    ids = shop.base(3, comms={**opt_in(shop, "sms"), **opt_out(shop)}, mobile_phone_e164="+614120{n:05}")
    before = [shop.comms(id) for id in ids]
    shop.run()
    shop.settle()
    assert [shop.comms(id) for id in ids] == before
    assert shop.omneo.interactions(TENANT) == []


def test_the_ledger_has_every_decision_once_however_often_it_is_run(shop: Whole) -> None:
    (id,) = shop.base(1, comms=opt_in(shop))
    shop.run()
    shop.run()
    records = ConsentLedger.of(shop.world.services).records_of(shop.world.read(), id, 10)
    assert [(one.after, one.source) for one in records] == [("subscribed", "resync")]
