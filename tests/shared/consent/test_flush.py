"""What people do in Klaviyo, brought to Omneo through everything: webhook, door, queue, inbox, flush."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from shared import logs
from shared.consent.former_identities import FormerIdentities, Heir
from shared.consent.former_numbers import FormerNumbers, mark_of_number
from shared.consent.ledger import ensure_ledger_key
from shared.jobs.jobs import AddInteraction, SyncProfile, read_job
from shared.profiles.sync import sync_profile
from tests.support.consenting import MASTER_LIST, Inflow, Person, Retailer, an_event, retailer
from tests.support.world import ACCOUNT, TENANT, World, lines

SEARCH = "POST */api/v3/profiles/search-id"
WRITE = "PUT */api/v3/profiles/*/attributes/comms"
INTERACTION = "POST */api/v3/interactions"
READ = "GET api/profiles/*"
STAMP = "2026-11-21 10:00:00"
Act = Callable[[Retailer, Person], object]


@pytest.fixture
def shop(world: World) -> Iterator[Retailer]:
    """Return a tenant whose consent comes in."""
    with retailer(world) as shop:
        yield shop


def on_klaviyo(name: str, **how: Any) -> Act:
    """Return the act of this name in Klaviyo."""
    return lambda shop, person: getattr(shop.klaviyo, name)(ACCOUNT, person.klaviyo, **how)


def on_a_list(shop: Retailer, person: Person) -> None:
    """Subscribe to a list, being subscribed to email already."""
    made = shop.klaviyo.marketing_list(ACCOUNT, "News")
    shop.klaviyo.subscribe(ACCOUNT, person.klaviyo)
    shop.deliver()
    shop.settle()
    shop.klaviyo.subscribe(ACCOUNT, person.klaviyo, list_id=made.id)


ROWS: dict[str, tuple[Callable[[Retailer, Person], Any], dict[str, Any], int]] = {
    "subscribed_to_email_marketing": (
        on_klaviyo("subscribe"),
        {
            "email_promo": True,
            "email_optout": False,
            "email_bounced": False,
            "email_consent_updated_at": STAMP,
        },
        1,
    ),
    "subscribed_to_sms_marketing": (
        on_klaviyo("subscribe", channel="sms"),
        {"sms_promo": True, "sms_optout": False, "sms_consent_updated_at": STAMP},
        1,
    ),
    "unsubscribed_from_email_marketing": (
        on_klaviyo("unsubscribe"),
        {"email_promo": False, "email_consent_updated_at": STAMP},
        -1,
    ),
    "unsubscribed_from_sms_marketing": (
        on_klaviyo("unsubscribe", channel="sms"),
        {"sms_promo": False, "sms_consent_updated_at": STAMP},
        -1,
    ),
    "marked_email_as_spam": (
        on_klaviyo("mark_as_spam"),
        {"email_promo": False, "email_consent_updated_at": STAMP},
        -1,
    ),
    "manually_suppressed_from_email_marketing": (
        on_klaviyo("suppress"),
        {"email_promo": False, "email_consent_updated_at": STAMP},
        -1,
    ),
    "bounced_email": (on_klaviyo("bounce", hard=True), {"email_bounced": True}, -1),
    "dropped_email": (on_klaviyo("drop_email"), {}, 0),
    "updated_email_preferences": (on_klaviyo("update_email_preferences"), {}, 0),
    "failed_to_deliver_sms": (on_klaviyo("fail_sms"), {"sms_bounced": True}, -1),
}


@pytest.mark.parametrize("topic", ROWS)
def test_each_act_leaves_its_consent_and_its_interaction(shop: Retailer, topic: str) -> None:
    act, comms, signal = ROWS[topic]
    jane = shop.person()
    act(shop, jane)
    shop.deliver()
    shop.settle()
    assert shop.comms(jane) == comms
    assert shop.interactions(jane) == [(topic, signal)]
    assert shop.open() == 0


@pytest.mark.parametrize("topic", ROWS)
def test_an_act_costs_one_read_at_most_one_write_and_its_interaction(shop: Retailer, topic: str) -> None:
    act, comms, _ = ROWS[topic]
    jane = shop.person()
    act(shop, jane)
    shop.deliver()
    shop.settle()
    assert shop.calls() == [SEARCH, *([WRITE] if comms else []), INTERACTION]
    # Of who never was synced Klaviyo tells whose the email or the number is by now that an opt-out was made with.
    is_asked = "email_promo" in comms or comms.get("sms_promo") is False
    assert shop.calls("klaviyo") == ([READ] if is_asked else [])


def test_an_opt_out_of_who_was_synced_with_the_email_that_omneo_shows_needs_nothing_of_klaviyo(
    shop: Retailer,
) -> None:
    jane = shop.person()
    sync(shop, jane)
    shop.calls("klaviyo")
    shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo)
    shop.deliver()
    shop.settle()
    assert shop.calls("klaviyo") == []
    assert shop.comms(jane)["email_promo"] is False


@pytest.mark.parametrize("is_synced", [True, False])
def test_an_opt_out_made_with_an_email_that_is_anothers_by_now_holds_for_both(
    shop: Retailer, is_synced: bool
) -> None:
    jane, john = shop.person(), shop.person()
    if is_synced:
        sync(shop, jane)
    swap_emails(shop, jane, john)
    shop.world.clock.advance(60)
    shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo)
    at = shop.world.clock()
    shop.deliver()
    shop.settle()
    assert [shop.comms(one)["email_promo"] for one in (jane, john)] == [False, False]
    assert shop.comms(john)["email_consent_updated_at"] == f"{at:%Y-%m-%d %H:%M:%S}"
    assert len(shop.interactions(jane)) == 1
    assert shop.interactions(john) == []
    assert shop.open() == 0


def test_while_klaviyo_cannot_tell_whose_email_it_is_an_opt_out_stands_in_omneo_and_is_told_once(
    shop: Retailer,
) -> None:
    jane, john = shop.person(), shop.person()
    swap_emails(shop, jane, john)
    shop.world.clock.advance(60)
    shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo)
    shop.deliver()
    shop.klaviyo.fail(1, match="GET /api/profiles/*", status=503)
    shop.world.work()
    shop.world.work(13)
    assert shop.comms(jane)["email_promo"] is False
    assert "email_promo" not in shop.comms(john)
    assert shop.open() == 1
    for _ in range(5):
        shop.settle(60)
    assert shop.comms(john)["email_promo"] is False
    assert len(shop.interactions(jane)) == 1
    assert shop.open() == 0


def sync(shop: Retailer, person: Person) -> None:
    """Let a sync find the person as both sides have it."""
    world = shop.world
    job = SyncProfile(
        tenant=TENANT, id="sync", accepted_at=world.clock(), profile_id=person.omneo, until=world.clock()
    )
    sync_profile(job, world.read(), world.services)


def swap_emails(shop: Retailer, *people: Person) -> None:
    """Swap the emails of two people in Omneo, which nobody is told of."""
    profiles = [shop.omneo._tenants[TENANT].profiles[person.omneo] for person in people]
    emails = [profile["email"] for profile in profiles]
    for profile, email in zip(profiles, reversed(emails), strict=True):
        profile["email"] = email


def test_a_list_joined_by_who_is_subscribed_is_an_opt_in(shop: Retailer) -> None:
    jane = shop.person()
    on_a_list(shop, jane)
    at = shop.world.clock()
    shop.deliver()
    shop.settle()
    assert shop.comms(jane)["email_consent_updated_at"] == f"{at:%Y-%m-%d %H:%M:%S}"
    assert shop.interactions(jane)[-1] == ("subscribed_to_list", 1)


def test_leaving_a_list_changes_no_consent(shop: Retailer) -> None:
    jane = shop.person()
    on_a_list(shop, jane)
    shop.deliver()
    shop.settle()
    before = shop.comms(jane)
    [made] = [row for row in shop.klaviyo.profiles(ACCOUNT) if row.id == jane.klaviyo]
    [list_id] = made.memberships
    shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo, list_id=list_id)
    shop.deliver()
    shop.settle()
    assert shop.comms(jane) == before
    assert shop.interactions(jane)[-1] == ("unsubscribed_from_list", 0)


def test_taking_back_a_suppression_changes_no_consent(shop: Retailer) -> None:
    jane = shop.person()
    shop.klaviyo.suppress(ACCOUNT, jane.klaviyo)
    shop.world.clock.advance(5)
    shop.klaviyo.unsuppress(ACCOUNT, jane.klaviyo)
    shop.deliver()
    shop.settle()
    assert shop.comms(jane) == {"email_promo": False, "email_consent_updated_at": STAMP}
    assert shop.interactions(jane) == [
        ("manually_suppressed_from_email_marketing", -1),
        ("manually_unsuppressed_from_email_marketing", 0),
    ]


@pytest.mark.parametrize("said", [True, False], ids=["the event says", "the event does not say"])
def test_a_soft_bounce_changes_nothing(shop: Retailer, said: bool) -> None:
    shop.klaviyo.consent.bounce_types = said
    jane = shop.person()
    shop.klaviyo.bounce(ACCOUNT, jane.klaviyo, hard=False)
    shop.deliver()
    shop.settle()
    assert shop.comms(jane) == {}
    assert shop.interactions(jane) == [("bounced_email", 0)]


def test_a_bounce_that_does_not_say_what_it_is_is_hard_if_klaviyo_suppresses_for_it(shop: Retailer) -> None:
    shop.klaviyo.consent.bounce_types = False
    jane = shop.person()
    shop.klaviyo.bounce(ACCOUNT, jane.klaviyo, hard=True)
    shop.deliver()
    shop.settle()
    assert shop.comms(jane) == {"email_bounced": True}
    assert shop.interactions(jane) == [("bounced_email", -1)]


def test_what_arrives_within_a_window_in_several_deliveries_is_one_update(shop: Retailer) -> None:
    jane = shop.person()
    shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo, at=shop.world.clock.timestamp() - 60)
    shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo, channel="sms", at=shop.world.clock.timestamp() - 50)
    shop.deliver(batch=1)
    shop.world.work(3)
    shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo)
    shop.deliver(copies=2)
    shop.settle()
    assert shop.calls() == [SEARCH, WRITE, *[INTERACTION] * 3]
    assert shop.calls("klaviyo") == [READ]
    assert shop.comms(jane)["email_promo"] is False
    assert [name for name, _ in shop.interactions(jane)] == [
        "subscribed_to_email_marketing",
        "subscribed_to_sms_marketing",
        "unsubscribed_from_email_marketing",
    ]


def test_events_that_come_again_days_later_do_nothing(shop: Retailer) -> None:
    jane = shop.person()
    shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo)
    shop.deliver(copies=3, batch=1, seed=1)
    shop.settle()
    shop.calls()
    shop.world.clock.advance(20 * 86400)
    shop.deliver_again()
    shop.settle()
    assert shop.calls() == []
    assert len(shop.interactions(jane)) == 1


def test_an_event_older_than_the_stamp_changes_nothing_and_is_told(shop: Retailer) -> None:
    held = {"email_promo": True, "email_consent_updated_at": "2026-11-21 10:00:01"}
    jane = shop.person(comms=held)
    shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo)
    shop.deliver()
    shop.settle()
    assert shop.comms(jane) == held
    assert shop.interactions(jane) == [("unsubscribed_from_email_marketing", -1)]
    assert shop.ledger(jane) == [
        ("subscribed", "subscribed", "unsubscribed_from_email_marketing"),
        ("unset", "subscribed", "omneo"),
    ]


@pytest.mark.parametrize("first", ["subscribe", "unsubscribe"])
def test_within_one_second_the_opt_out_wins(shop: Retailer, first: str) -> None:
    jane = shop.person()
    at = shop.world.clock.timestamp()
    for act in (first, {"subscribe": "unsubscribe", "unsubscribe": "subscribe"}[first]):
        getattr(shop.klaviyo, act)(ACCOUNT, jane.klaviyo, at=at)
        shop.deliver()
        shop.settle()
    assert shop.comms(jane)["email_promo"] is False


def test_an_unknown_profile_is_skipped_and_counted(
    shop: Retailer, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("p")
    nobody = shop.klaviyo.profile(ACCOUNT, email="canary-nobody@example.org").id
    shop.klaviyo.unsubscribe(ACCOUNT, nobody)
    shop.klaviyo.drop_email(ACCOUNT, nobody)
    shop.deliver()
    shop.settle()
    assert shop.open() == 0
    assert shop.omneo.interactions(TENANT) == []
    [line] = [line for line in lines(capsys.readouterr().out) if "skipped" in line["message"]]
    assert line["events"] == 2


def test_two_klaviyo_profiles_of_one_omneo_profile_agree(shop: Retailer) -> None:
    jane = shop.person()
    other = shop.klaviyo.profile(ACCOUNT, email="canary-other@example.org", external_id=jane.omneo).id
    shop.klaviyo.unsubscribe(ACCOUNT, other, at=shop.world.clock.timestamp() - 5)
    shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo, at=shop.world.clock.timestamp() - 10)
    shop.deliver()
    shop.settle(30)
    shop.settle(30)
    assert shop.comms(jane)["email_promo"] is False
    assert len(shop.interactions(jane)) == 2
    assert shop.open() == 0


@pytest.mark.parametrize("is_anothers", [True, False])
def test_an_opt_in_for_an_address_that_is_anothers_by_now_is_not_hers(
    shop: Retailer, is_anothers: bool
) -> None:
    jane = shop.person(comms={"email_promo": False, "email_consent_updated_at": "2026-11-01 10:00:00"})
    held = shop.omneo._tenants[TENANT].profiles[jane.omneo]["email"]
    shop.omneo.change_profile(TENANT, jane.omneo, tells=False, email="canary-new@example.org")
    if is_anothers:
        shop.omneo.profile(TENANT, email=held)
    shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo)
    shop.deliver()
    shop.settle(30)
    assert shop.comms(jane)["email_promo"] is not is_anothers
    assert shop.interactions(jane)[0] == ("subscribed_to_email_marketing", 1)
    shop.world.clock.advance(600)
    shop.settle(30)
    (profile,) = [one for one in shop.klaviyo.profiles(ACCOUNT) if one.id == jane.klaviyo]
    is_out = profile.subscriptions.consents["email"].status == "UNSUBSCRIBED"
    assert is_out is is_anothers


def test_a_merged_klaviyo_profile_answers_as_the_other(shop: Retailer) -> None:
    jane = shop.person()
    old = shop.klaviyo.profile(ACCOUNT, email="canary-old@example.org").id
    shop.klaviyo.unsubscribe(ACCOUNT, old)
    shop.klaviyo.merge_profiles(ACCOUNT, old, jane.klaviyo)
    shop.deliver()
    shop.settle()
    assert shop.comms(jane)["email_promo"] is False


def test_an_opt_out_that_is_told_after_klaviyo_has_deleted_the_profile_is_of_whom_it_was(
    shop: Retailer,
) -> None:
    jane = shop.person(comms={"email_promo": True})
    shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo)
    shop.klaviyo.delete_profile(ACCOUNT, jane.klaviyo)
    shop.omneo.change_profile(TENANT, jane.omneo, tells=False, identities=[])
    FormerIdentities.of(shop.world.services).note(TENANT, jane.klaviyo, jane.omneo)
    shop.deliver()
    shop.settle()
    assert shop.comms(jane)["email_promo"] is False
    assert shop.interactions(jane) == [("unsubscribed_from_email_marketing", -1)]


def given_up(shop: Retailer, by: Person, to: Person, since: float, until: float) -> None:
    """Note that `by` has given up an address in Klaviyo, between these seconds from now, that `to` has."""
    first, last = (shop.world.clock() + timedelta(seconds=seconds) for seconds in (since, until))
    FormerIdentities.of(shop.world.services).note_heir(TENANT, by.klaviyo, Heir(to.omneo, first, last))


def subscribed_people(shop: Retailer, count: int) -> list[Person]:
    """Return people who are opted in to email in Omneo."""
    return [shop.person(comms={"email_promo": True}) for _ in range(count)]


class TestAnAddressThatWasGivenUp:
    @pytest.mark.parametrize("act", [on_klaviyo("unsubscribe"), on_klaviyo("mark_as_spam")])
    @pytest.mark.parametrize(
        ("since", "until", "is_hers_too"), [(-60, 0, True), (0, 60, True), (1, 60, False), (-60, -1, False)]
    )
    def test_an_opt_out_of_before_is_also_that_of_who_has_it(
        self, shop: Retailer, act: Act, since: int, until: int, is_hers_too: bool
    ) -> None:
        jane, joan = subscribed_people(shop, 2)
        act(shop, jane)
        given_up(shop, jane, joan, since, until)
        shop.deliver()
        shop.settle()
        assert [shop.comms(person)["email_promo"] for person in (jane, joan)] == [False, not is_hers_too]

    @pytest.mark.parametrize("gone", ["in Omneo", "the account"])
    def test_an_opt_out_finds_who_has_it_though_who_had_it_is_gone(self, shop: Retailer, gone: str) -> None:
        jane, joan = subscribed_people(shop, 2)
        shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo)
        given_up(shop, jane, joan, -60, 10)
        if gone == "in Omneo":
            shop.omneo.delete_profile(TENANT, jane.omneo)
        shop.deliver()
        if gone == "the account":
            shop.world.services.tenants.change(TENANT, lambda now: now.model_copy(update={"klaviyo": None}))
            shop.world.services.tenant_cache.fresh(TENANT)
        shop.settle()
        assert shop.comms(joan)["email_promo"] is False

    def test_each_that_was_given_up_has_its_own_time(self, shop: Retailer) -> None:
        jane, joan, june = subscribed_people(shop, 3)
        shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo)
        given_up(shop, jane, joan, -60, 10)
        given_up(shop, jane, june, 3600, 4000)
        shop.deliver()
        shop.settle()
        assert [shop.comms(person)["email_promo"] for person in (jane, joan, june)] == [False, False, True]

    def test_a_sign_up_of_before_opts_in_neither(self, shop: Retailer) -> None:
        jane, joan = shop.person(), shop.person()
        shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo)
        given_up(shop, jane, joan, -86_400, 86_400)
        shop.deliver()
        shop.settle()
        assert [shop.comms(person).get("email_promo") for person in (jane, joan)] == [None, None]
        assert shop.interactions(jane) == [("subscribed_to_email_marketing", 1)]

    def test_a_later_sign_up_told_beside_it_counts(self, shop: Retailer) -> None:
        jane, joan = shop.person(), shop.person()
        now = shop.world.clock.timestamp()
        shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo, at=now - 7200)
        shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo, at=now - 3600)
        shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo, at=now - 5)
        given_up(shop, jane, joan, -8000, -7000)
        shop.deliver()
        shop.settle()
        assert shop.comms(jane)["email_promo"] is True

    def test_a_sign_up_of_who_has_it_again_counts(self, shop: Retailer) -> None:
        jane = shop.person()
        shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo)
        given_up(shop, jane, jane, -60, 60)
        shop.deliver()
        shop.settle()
        assert shop.comms(jane)["email_promo"] is True


class TestAKlaviyoProfileThatIsFoundByItsEmailAlone:
    """Its phone number may be that of another person with the same email."""

    LIST = "GET */api/v3/profiles"

    def jane(self, shop: Retailer, *, number: str | None, external_id: str = "", **where: Any) -> Person:
        """Make somebody with an email on both sides, and a number on each."""
        jane = shop.person(identified=False)
        [held] = [one for one in shop.klaviyo.profiles(ACCOUNT) if one.id == jane.klaviyo]
        held.attributes |= {"phone_number": "+61400000123", "external_id": external_id or None}
        shop.omneo.change_profile(TENANT, jane.omneo, tells=False, mobile_phone=number, **where)
        return jane

    def acts(self, shop: Retailer, jane: Person, act: str) -> None:
        getattr(shop.klaviyo, act)(ACCOUNT, jane.klaviyo, channel="sms")
        shop.deliver()
        shop.settle()

    @pytest.mark.parametrize(
        ("number", "is_hers"),
        [("+61 400 000 123", True), ("0400 000 123", True), ("+61400000999", False), (None, True)],
    )
    def test_a_text_message_opt_in_counts_for_her_own_number(
        self, shop: Retailer, number: str | None, is_hers: bool
    ) -> None:
        jane = self.jane(shop, number=number, mobile_phone_country="AU")
        self.acts(shop, jane, "subscribe")
        signed_up = {"sms_promo": True, "sms_optout": False, "sms_consent_updated_at": STAMP}
        assert shop.comms(jane) == (signed_up if is_hers else {})
        assert shop.interactions(jane) == [("subscribed_to_sms_marketing", int(is_hers))]
        assert shop.open() == 0

    def test_the_numbers_cost_no_call(self, shop: Retailer) -> None:
        jane = self.jane(shop, number="+61400000999")
        self.acts(shop, jane, "subscribe")
        assert shop.calls() == [SEARCH, self.LIST, INTERACTION]
        assert shop.calls("klaviyo") == [READ]
        assert shop.ledger(jane) == []

    @pytest.mark.parametrize(("number", "is_hers"), [("+61400000123", True), (None, False)])
    def test_where_it_was_a_deleted_customers_only_the_number_makes_the_opt_in_hers(
        self, shop: Retailer, number: str | None, is_hers: bool
    ) -> None:
        deleted = shop.person()
        shop.forget(deleted)
        jane = self.jane(shop, number=number, external_id=deleted.omneo)
        self.acts(shop, jane, "subscribe")
        assert shop.comms(jane).get("sms_promo", False) is is_hers
        assert shop.interactions(jane) == [("subscribed_to_sms_marketing", int(is_hers))]

    def test_an_opt_out_counts_whatever_its_number_in_doubt_it_is_hers(self, shop: Retailer) -> None:
        jane = self.jane(shop, number="+61400000999")
        self.acts(shop, jane, "unsubscribe")
        assert shop.comms(jane) == {"sms_promo": False, "sms_consent_updated_at": STAMP}
        assert shop.interactions(jane) == [("unsubscribed_from_sms_marketing", -1)]

    @pytest.mark.parametrize(
        ("number", "is_hers"), [("+61400000999", False), ("+61400000123", True), (None, True)]
    )
    def test_where_it_was_a_deleted_customers_an_opt_out_of_another_number_stays_with_the_number(
        self, shop: Retailer, number: str | None, is_hers: bool
    ) -> None:
        deleted = shop.person()
        shop.forget(deleted)
        jane = self.jane(shop, number=number, external_id=deleted.omneo)
        self.acts(shop, jane, "unsubscribe")
        assert shop.comms(jane) == ({"sms_promo": False, "sms_consent_updated_at": STAMP} if is_hers else {})
        assert shop.interactions(jane) == [("unsubscribed_from_sms_marketing", -int(is_hers))]
        if not is_hers:
            tenant = ensure_ledger_key(shop.world.services.tenants, TENANT)
            mark = mark_of_number(tenant, "+61400000123")
            kept = FormerNumbers.of(shop.world.services).history(TENANT, mark)
            assert len(kept.opt_outs_for(jane.omneo, "")) == 1

    @pytest.mark.parametrize("shown", ["+61 400 000 123", "0061 400 000 123", "+61", "canary"])
    @pytest.mark.parametrize("number", ["+61400000123", "0400 000 123", "61 400 000 123", "canary"])
    def test_an_opt_out_is_lost_by_no_form_in_which_either_side_writes_her_number(
        self, shop: Retailer, shown: str, number: str
    ) -> None:
        deleted = shop.person()
        shop.forget(deleted)
        jane = self.jane(shop, number=number, external_id=deleted.omneo, mobile_phone_country="AU")
        [held] = [one for one in shop.klaviyo.profiles(ACCOUNT) if one.id == jane.klaviyo]
        held.attributes["phone_number"] = shown
        self.acts(shop, jane, "unsubscribe")
        assert shop.comms(jane) == {"sms_promo": False, "sms_consent_updated_at": STAMP}

    def test_an_opt_in_to_email_counts_whatever_the_number(self, shop: Retailer) -> None:
        jane = self.jane(shop, number="+61400000999")
        shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo)
        self.acts(shop, jane, "subscribe")
        assert shop.comms(jane)["email_promo"] is True
        assert "sms_promo" not in shop.comms(jane)
        assert sorted(shop.interactions(jane)) == [
            ("subscribed_to_email_marketing", 1),
            ("subscribed_to_sms_marketing", 0),
        ]

    def test_who_is_known_by_identity_signs_up_with_a_number_that_omneo_does_not_have_yet(
        self, shop: Retailer
    ) -> None:
        jane = shop.person()
        shop.omneo.change_profile(TENANT, jane.omneo, tells=False, mobile_phone_e164="+61400000999")
        self.acts(shop, jane, "subscribe")
        assert shop.comms(jane)["sms_promo"] is True


def test_what_omneo_has_changed_since_without_a_stamp_is_not_changed_back(shop: Retailer) -> None:
    jane = shop.person()
    shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo)
    shop.klaviyo.bounce(ACCOUNT, jane.klaviyo, hard=True)
    shop.deliver()
    shop.settle()
    shop.change(jane, email_promo=False, email_bounced=False)  # by staff, or with a new address
    before = shop.comms(jane)
    shop.klaviyo.drop_email(ACCOUNT, jane.klaviyo)
    shop.deliver()
    shop.settle()
    assert shop.comms(jane) == before
    assert shop.interactions(jane)[-1] == ("dropped_email", 0)


def test_a_newer_decision_of_omneos_stands_against_what_comes_late(shop: Retailer) -> None:
    jane = shop.person()
    shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo)
    shop.deliver()
    shop.settle()
    shop.change(jane, email_promo=False, email_consent_updated_at="2026-11-21 10:05:00")
    shop.world.clock.advance(600)
    made = shop.klaviyo.marketing_list(ACCOUNT, "News")
    at = shop.world.clock.timestamp() - 400
    shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo, list_id=made.id, at=at)
    shop.deliver()
    shop.settle()
    assert shop.comms(jane)["email_promo"] is False
    shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo)
    shop.world.clock.advance(1)
    shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo)
    shop.deliver()
    shop.settle()
    assert shop.comms(jane)["email_promo"] is True


def test_the_ledger_tells_each_decision_and_what_it_did(shop: Retailer) -> None:
    jane = shop.person()
    start = shop.world.clock.timestamp()
    shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo, at=start - 10)
    shop.deliver()
    shop.settle()
    shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo, at=start - 20)  # the older one comes late
    shop.klaviyo.drop_email(ACCOUNT, jane.klaviyo)
    shop.klaviyo.bounce(ACCOUNT, jane.klaviyo, hard=True)
    shop.deliver()
    shop.settle()
    assert shop.ledger(jane) == [
        ("unsubscribed", "unsubscribed", "subscribed_to_email_marketing"),
        ("unset", "unsubscribed", "unsubscribed_from_email_marketing"),
        ("unsubscribed", "bounced", "bounced_email"),
    ]


def test_no_line_of_the_log_names_anybody_and_each_says_what_came_of_it(
    shop: Retailer, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("p")
    jane = shop.person()
    shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo)
    shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo, channel="sms")
    shop.deliver()
    shop.settle()
    written = lines(capsys.readouterr().out)
    by_kind = {line.get("kind"): line for line in written if line["message"] == "job done"}
    assert by_kind["spread-events"]["received"] == {"added": 3}
    assert by_kind["flush-inbox"]["decisions"] == {"opt-in": 1, "opt-out": 1, "twin": 1}
    assert not any(jane.klaviyo in str(line) or jane.omneo in str(line) for line in written)


# What is missing


def test_an_opt_out_does_not_wait_for_klaviyo(shop: Retailer) -> None:
    jane = shop.person()
    shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo, at=shop.world.clock.timestamp() - 10)
    shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo, channel="sms")
    shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo, at=shop.world.clock.timestamp() - 5)
    shop.deliver()
    shop.klaviyo.fail(next=1, status=503)
    shop.world.work()
    shop.world.work(13)
    held = shop.comms(jane)
    assert (held["email_promo"], held["sms_promo"]) == (False, False)
    assert shop.open() == 1
    shop.world.work(120)
    assert shop.comms(jane)["email_promo"] is False
    assert shop.comms(jane)["email_optout"] is False  # what the older opt-in leaves, whenever it is read
    assert shop.open() == 0
    assert len(shop.interactions(jane)) == 3


def test_an_opt_out_does_not_wait_for_klaviyo_to_tell_whose_an_opt_in_to_text_messages_is(
    shop: Retailer,
) -> None:
    joan, jane = shop.person(), shop.person()
    row = {"handle": "klaviyo", "identifier": joan.klaviyo, "merged_from": joan.omneo}
    profiles = shop.omneo._tenants[TENANT].profiles
    profiles[jane.omneo]["identities"].append(row | {"created_at": "2026-11-01 10:00:00", "id": 9})
    profiles[joan.omneo]["identities"].clear()
    shop.klaviyo.subscribe(ACCOUNT, joan.klaviyo, channel="sms", at=shop.world.clock.timestamp() - 10)
    shop.klaviyo.unsubscribe(ACCOUNT, joan.klaviyo, at=shop.world.clock.timestamp() - 5)
    shop.deliver()
    shop.klaviyo.fail(next=1, status=503)
    shop.world.work()
    shop.world.work(13)
    assert shop.comms(jane)["email_promo"] is False
    assert (shop.comms(jane).get("sms_promo"), shop.open()) == (None, 2)  # it comes under two topics
    for _ in range(3):
        shop.world.work(120)
    assert (shop.comms(jane)["sms_promo"], shop.open()) == (True, 0)


def test_while_klaviyo_throttles_opt_ins_wait_for_as_long_as_it_asks(shop: Retailer) -> None:
    jane = shop.person()
    shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo)
    shop.deliver()
    shop.klaviyo.fail(next=1, status=429, headers={"Retry-After": "30"})
    shop.world.work()
    shop.world.work(13)
    assert (shop.comms(jane), shop.open()) == ({}, 1)
    shop.world.work(29)
    assert shop.open() == 1
    shop.world.work(2)
    assert (shop.comms(jane)["email_promo"], shop.open()) == (True, 0)


def test_while_disconnected_opt_outs_go_on_and_a_reinstall_brings_the_rest(shop: Retailer) -> None:
    jane = shop.person()
    shop.klaviyo.uninstall(ACCOUNT)
    shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo, at=shop.world.clock.timestamp() - 10)
    shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo, channel="sms")
    shop.deliver()
    shop.settle()
    for _ in range(5):
        shop.world.work(40)
    assert shop.comms(jane)["sms_promo"] is False
    assert shop.open() == 1
    shop.world.install()
    for _ in range(3):
        shop.world.work(700)
    assert shop.comms(jane)["email_promo"] is True
    assert shop.open() == 0


def test_while_omneo_is_down_everything_waits_and_is_then_done_once(shop: Retailer) -> None:
    jane = shop.person()
    shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo)
    shop.deliver()
    shop.omneo.fail(next=3, status=503)
    shop.world.work()
    shop.world.work(13)
    assert shop.open() == 1
    for _ in range(5):
        shop.world.work(60)
    assert shop.comms(jane)["email_promo"] is False
    assert len(shop.interactions(jane)) == 1


def test_a_token_of_omneos_that_is_rejected_is_waited_for(shop: Retailer) -> None:
    jane = shop.person()
    shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo)
    shop.deliver()
    shop.omneo.fail(next=1, status=401)
    shop.settle()
    shop.world.work(60)
    assert (shop.comms(jane)["email_promo"], shop.world.dead_jobs()) == (False, [])


def test_consent_that_omneo_refuses_is_dead_and_a_replay_brings_it(shop: Retailer) -> None:
    jane = shop.person()
    shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo)
    shop.deliver()
    shop.omneo.fail(next=1, match="PUT *", status=422)
    shop.settle()
    [dead] = shop.world.dead_jobs()
    assert (dead.kind, shop.open(), shop.interactions(jane)) == ("flush-inbox", 1, [])
    shop.world.services.queue.put(read_job(dead.body), shop.world.read())
    shop.settle()
    assert (shop.comms(jane)["email_promo"], shop.open()) == (False, 0)
    assert len(shop.interactions(jane)) == 1


@pytest.mark.parametrize("status", [400, 422])
def test_an_opt_out_is_written_though_omneo_does_not_take_klaviyos_email_for_one(
    shop: Retailer, status: int
) -> None:
    jane = shop.person(comms={"email_promo": True, "sms_promo": True})
    shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo)
    shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo, channel="sms")
    shop.omneo.change_profile(TENANT, jane.omneo, tells=False, email="canary-other@example.org")
    shop.deliver()
    shop.omneo.fail(next=9, match="GET */profiles", status=status)
    shop.settle()
    assert (shop.comms(jane)["sms_promo"], shop.open(), shop.world.dead_jobs()) == (False, 0, [])


def test_an_interaction_that_omneo_refuses_dies_alone(shop: Retailer) -> None:
    jane, inflow = shop.person(), Inflow.of(shop.world)
    at = shop.world.clock()
    inflow.spread(
        an_event(jane, "dropped_email", at), an_event(jane, "unsubscribed_from_email_marketing", at)
    )
    shop.omneo.fail(next=1, match="POST */interactions", status=422)
    inflow.flush(jane.klaviyo)
    assert (shop.open(), shop.comms(jane)["email_promo"]) == (0, False)
    assert shop.interactions(jane) == [("dropped_email", 0)]
    [refused] = [job for job in inflow.queue.jobs if isinstance(job, AddInteraction)]
    shop.omneo.fail(next=1, match="POST */interactions", status=422)
    shop.world.services.queue.put(refused, shop.world.read())
    shop.world.work()
    [dead] = shop.world.dead_jobs()
    assert dead.kind == "add-interaction"
    shop.world.services.queue.put(read_job(dead.body), shop.world.read())
    shop.world.work()
    assert ("unsubscribed_from_email_marketing", -1) in shop.interactions(jane)


def test_a_profile_that_goes_in_between_is_skipped(shop: Retailer) -> None:
    jane = shop.person()
    shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo)
    shop.deliver()
    shop.world.work()
    shop.omneo.fail(next=1, match="PUT *", status=404)
    shop.world.work(13)
    shop.forget(jane)
    shop.world.work(10)
    assert (shop.open(), shop.world.dead_jobs()) == (0, [])


def test_a_tenant_without_a_master_list_sends_klaviyo_nothing(shop: Retailer) -> None:
    jane = shop.person()
    shop.klaviyo.marketing_list(ACCOUNT, "Everybody", id=MASTER_LIST)
    shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo)
    shop.deliver()
    shop.settle()
    assert not any("POST" in call for call in shop.calls("klaviyo"))
