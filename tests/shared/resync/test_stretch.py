"""The whole base from Omneo to Klaviyo, through the real queue and worker on a clock that stands still."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from shared.consent.ledger import ConsentLedger
from shared.jobs.jobs import DeleteProfile
from shared.resync.rules.run import Kind, State
from shared.resync.runs import Resyncs
from tests.support.resyncing import DAY, IMPORTS, PROFILES, Whole, a_base, opt_in, opt_out
from tests.support.syncing import IMPORT, PHONE, SUBSCRIBE, UNSUBSCRIBE
from tests.support.world import ACCOUNT, EMAIL, TENANT, Clock, World


@pytest.fixture
def shop(world: World) -> Iterator[Whole]:
    with a_base(world) as shop:
        yield shop


def listed(shop: Whole, world: World) -> None:
    """Give the shop a master list."""
    shop.klaviyo.marketing_list(ACCOUNT, "Newsletter", id="LIST1")
    world.services.tenants.change(
        TENANT,
        lambda known: known.model_copy(
            update={"settings": known.settings.model_copy(update={"master_list_id": "LIST1"})}
        ),
    )


class TestProfiles:
    def test_a_new_base_arrives_in_one_import_and_one_subscribe(self, shop: Whole) -> None:
        ids = shop.base(250, comms=opt_in(shop), tier_handle="gold")
        run = shop.run()
        assert (run.state, run.read, run.total) == (State.DONE, 250, 250)
        assert run.counts["profiles imported"] == 250
        assert run.counts["email: subscribe (fills_never_subscribed)"] == 250
        assert {shop.consent_of(id) for id in ids} == {"SUBSCRIBED"}
        assert shop.of(ids[7]).properties["omneo_tier_handle"] == "gold"
        assert len(shop.bodies(IMPORTS)) == 1
        (subscribe,) = shop.bodies(SUBSCRIBE)
        assert subscribe["attributes"]["historical_import"] is True
        assert shop.klaviyo_calls(IMPORT) == []
        assert (
            len(shop.klaviyo_calls(PROFILES)) == 3 + 3
        )  # by external_id, and later a look, a hundred a call
        consent = shop.of(ids[0]).subscriptions.consents["email"]
        assert consent.at == Clock().timestamp() - DAY  # the decision's own time

    def test_a_second_run_changes_nothing_and_costs_one_look_for_a_hundred(self, shop: Whole) -> None:
        shop.base(300, comms={**opt_in(shop), **opt_out(shop, "sms")}, mobile_phone_e164="+614120{n:05}")
        shop.run()
        before = [profile.subscriptions.to_json() for profile in shop.klaviyo.profiles(ACCOUNT)]
        shop.world.clock.advance(DAY)
        shop.forget_calls()
        again = shop.run()
        assert [profile.subscriptions.to_json() for profile in shop.klaviyo.profiles(ACCOUNT)] == before
        assert [name for name in again.counts if ":" in name] == []
        assert len(shop.klaviyo_calls(PROFILES)) == 3
        assert shop.bodies(SUBSCRIBE) == shop.bodies(UNSUBSCRIBE) == []

    def test_a_profile_is_found_by_its_identity_its_external_id_or_its_email(self, shop: Whole) -> None:
        held = {
            "identity": shop.klaviyo.profile(ACCOUNT, email="canary-old-1@example.org").id,
            "external_id": shop.klaviyo.profile(ACCOUNT, external_id="omneo-2", email=f"b{EMAIL}").id,
            "email": shop.klaviyo.profile(ACCOUNT, email=f"c{EMAIL}").id,
        }
        mine = [{"handle": "klaviyo", "identifier": held["identity"], "is_active": True}]
        shop.customer(tells=False, id="omneo-1", email="canary-new-1@example.org", identities=mine)
        shop.customer(tells=False, id="omneo-2", email="canary-new-2@example.org")
        shop.customer(tells=False, id="omneo-3", email=f"C{EMAIL}")
        shop.hush()
        shop.world.clock.advance(3600)
        assert shop.run().counts["profiles imported"] == 3
        found = {one.id: one.attributes["external_id"] for one in shop.klaviyo.profiles(ACCOUNT)}
        assert found == dict(zip(held.values(), ("omneo-1", "omneo-2", "omneo-3"), strict=True))
        assert shop.of("omneo-1").attributes["email"] == "canary-new-1@example.org"

    def test_an_identity_of_another_account_makes_no_profile_under_its_id(self, shop: Whole) -> None:
        theirs = [{"handle": "klaviyo", "identifier": "01CANARYOFANOTHERACCOUNT0", "is_active": True}]
        id = shop.customer(tells=False, identities=theirs)
        shop.hush()
        shop.world.clock.advance(3600)
        shop.run()
        assert shop.profile().id != "01CANARYOFANOTHERACCOUNT0"
        assert shop.profile().attributes["external_id"] == id

    def test_whoever_is_excluded_is_counted_by_reason_and_not_sent(self, shop: Whole) -> None:
        shop.base(3, email="canary-{n}@example.com")
        shop.base(2, email="staff-profile-canary-{n}@example.org")
        shop.base(1, email="canary-c@example.org", profile_type="connection")
        kept = shop.base(1, email="canary-d@example.org")
        counts = shop.run().counts
        assert counts["excluded: example_email"] == 3
        assert counts["excluded: staff_profile"] == 2
        assert counts["excluded: connection_profile"] == 1
        assert shop.profile().attributes["external_id"] == kept[0]

    def test_a_phone_number_that_is_none_is_left_out_and_the_profile_sent(self, shop: Whole) -> None:
        (id,) = shop.base(1, mobile_phone="12", comms=opt_in(shop, "sms"))
        run = shop.run()
        assert run.counts["left out: phone_invalid phone_number"] == 1
        assert "phone_number" not in shop.of(id).attributes

    def test_a_country_that_klaviyo_does_not_support_costs_the_number_and_not_the_import(
        self, shop: Whole
    ) -> None:
        shop.klaviyo.consent.unsupported_phone_prefixes = ["+7"]
        good = shop.base(20, comms=opt_in(shop))
        bad = shop.base(
            2, email="canary-ru{n}@example.org", mobile_phone_e164="+7912345678{n}", comms=opt_in(shop, "sms")
        )
        run = shop.run()
        assert run.counts["profiles imported"] == 22
        assert run.counts["left out: phone_number refused by Klaviyo"] == 2
        assert run.counts["failed: Klaviyo refuses the consent for sms"] == 2
        assert all("phone_number" not in shop.of(id).attributes for id in bad)
        assert {shop.consent_of(id) for id in good} == {"SUBSCRIBED"}

    def test_import_errors_are_followed_page_by_page_and_each_profile_is_synced_by_itself(
        self, shop: Whole
    ) -> None:
        """Klaviyo has the phone number on a profile that nobody finds by anything else."""
        phones = [f"+614123{n:05}" for n in range(130)]
        for phone in phones:
            shop.klaviyo.profile(ACCOUNT, phone_number=phone, external_id=f"canary-other-{phone}")
        ids = [
            shop.customer(tells=False, email=f"canary-{phone}@example.org", mobile_phone_e164=phone)
            for phone in phones
        ]
        for id in ids:
            shop.klaviyo.profile(ACCOUNT, external_id=id)
        shop.hush()
        shop.world.clock.advance(3600)
        run = shop.run()
        assert run.counts["synced one by one: duplicate_profile attributes"] == 130
        assert set(shop.told(run)) == set(ids)
        shop.settle()
        assert all(shop.of(id).attributes["email"].startswith("canary-") for id in ids)
        assert all("phone_number" not in shop.of(id).attributes for id in ids)

    def test_what_an_import_has_filled_is_cleared_when_omneo_has_emptied_it(self, shop: Whole) -> None:
        (id,) = shop.base(1, first_name="Jane", tier_handle="gold")
        shop.run()
        shop.change_quietly(id, first_name="", tier_handle=None)
        shop.hush()
        shop.world.clock.advance(3600)
        shop.run()
        assert shop.of(id).attributes.get("first_name") is None
        assert "omneo_tier_handle" not in shop.of(id).properties

    def test_an_import_that_klaviyo_gives_up_is_sent_again(self, shop: Whole) -> None:
        shop.klaviyo.consent.job_seconds = 60.0
        ids = shop.base(120, comms=opt_out(shop))
        run = shop.begin()
        shop.world.work(1)
        (waiting,) = shop.now_of(run).imports
        shop.klaviyo.cancel_import(ACCOUNT, waiting.job)
        run = shop.end(run)
        shop.world.work(60)
        assert run.counts["imports given up by Klaviyo"] == 1
        assert len(shop.bodies(IMPORTS)) == 2
        assert {shop.consent_of(id) for id in ids} == {"UNSUBSCRIBED"}

    def test_a_base_of_many_imports_is_packed_full(
        self, shop: Whole, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("shared.resync.rules.run.MOST_PROFILES", 250)
        shop.base(1130)
        assert shop.run().counts["profiles imported"] == 1130
        sizes = [len(body["attributes"]["profiles"]["data"]) for body in shop.bodies(IMPORTS)]
        assert sizes == [200, 200, 200, 200, 200, 130]


class TestConsent:
    def test_an_opt_out_of_somebody_new_to_klaviyo_is_given_once_klaviyo_has_them(self, shop: Whole) -> None:
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

    def test_an_opt_in_without_a_date_is_counted_and_not_sent(self, shop: Whole) -> None:
        ids = shop.base(4, comms={"email_promo": True})
        run = shop.run()
        assert run.counts["email: no consent date"] == 4
        assert shop.told(run) == {id: ["email: no consent date"] for id in ids}
        assert shop.bodies(SUBSCRIBE) == []

    def test_the_operator_may_take_the_day_somebody_joined(self, shop: Whole) -> None:
        dated = shop.base(1, joined_at="2020-02-03 04:05:06", comms={"email_promo": True})
        shop.base(
            1, email="canary-f@example.org", joined_at="2030-01-01 00:00:00", comms={"email_promo": True}
        )
        run = shop.run(undated_opt_ins="joined_date")
        assert run.counts["email: no consent date"] == 1
        (row,) = shop.bodies(SUBSCRIBE)[0]["attributes"]["profiles"]["data"]
        email = row["attributes"]["subscriptions"]["email"]["marketing"]
        assert email["consented_at"] == "2020-02-03T04:05:06+00:00"
        assert shop.consent_of(dated[0]) == "SUBSCRIBED"

    def test_who_consents_to_sms_alone_is_never_put_on_the_master_list(
        self, shop: Whole, world: World
    ) -> None:
        listed(shop, world)
        phones = "+614120{n:05}"
        both = shop.base(3, comms=opt_in(shop, "email", "sms"), mobile_phone_e164=phones)
        sms = {**opt_in(shop, "sms"), **opt_out(shop)}
        alone = shop.base(3, email="canary-s{n}@example.org", comms=sms, mobile_phone_e164="+614130{n:05}")
        shop.run()
        assert {tuple(shop.of(id).memberships) for id in both} == {("LIST1",)}
        assert {tuple(shop.of(id).memberships) for id in alone} == {()}
        assert {shop.consent_of(id, "sms") for id in both + alone} == {"SUBSCRIBED"}

    def test_an_opt_out_that_klaviyo_holds_newer_is_left_and_brought_to_omneo(self, shop: Whole) -> None:
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

    def test_an_opt_in_never_reaches_a_number_that_another_profile_has_opted_out(self, shop: Whole) -> None:
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
    def test_of_two_who_share_a_number_the_opt_out_stands(
        self, shop: Whole, order: tuple[bool, bool]
    ) -> None:
        for number, wants in enumerate(order):
            comms = opt_in(shop, "sms", days=2) if wants else opt_out(shop, "sms", days=1)
            shop.customer(
                tells=False, email=f"canary-{number}@example.org", mobile_phone_e164=PHONE, comms=comms
            )
        shop.hush()
        shop.world.clock.advance(3600)
        shop.run()
        shop.settle()
        owner = shop.klaviyo._account(ACCOUNT).owner("phone_number", PHONE)
        assert owner is not None
        assert owner.subscriptions.consents["sms"].status == "UNSUBSCRIBED"

    def test_a_decision_in_omneo_is_newer_than_the_time_of_an_earlier_run(self, shop: Whole) -> None:
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

    def test_transactional_sms_goes_with_sms_and_never_on_the_master_list(
        self, shop: Whole, world: World
    ) -> None:
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

    def test_the_echo_of_a_run_changes_nothing_in_omneo(self, shop: Whole) -> None:
        ids = shop.base(3, comms={**opt_in(shop, "sms"), **opt_out(shop)}, mobile_phone_e164="+614120{n:05}")
        before = [shop.comms(id) for id in ids]
        shop.run()
        shop.settle()
        assert [shop.comms(id) for id in ids] == before
        assert shop.omneo.interactions(TENANT) == []

    def test_the_ledger_has_every_decision_once_however_often_it_is_run(self, shop: Whole) -> None:
        (id,) = shop.base(1, comms=opt_in(shop))
        shop.run()
        shop.run()
        records = ConsentLedger.of(shop.world.services).records_of(shop.world.read(), id, 10)
        assert [(one.after, one.source) for one in records] == [("subscribed", "resync")]


class TestOptions:
    @pytest.mark.parametrize(
        ("kind", "order"),
        [(Kind.RESYNC, {"dry_run": True}), (Kind.RECONCILE, {}), (Kind.REPAIR, {"dry_run": True})],
    )
    def test_what_is_only_to_look_sends_nothing_at_all(
        self, shop: Whole, kind: Kind, order: dict[str, Any]
    ) -> None:
        shop.base(60, comms=opt_in(shop))
        shop.base(60, email="canary-o{n}@example.org", comms=opt_out(shop))
        for n in range(30):
            held = shop.klaviyo.profile(ACCOUNT, email=f"canary-{n}@example.org")
            shop.klaviyo.unsubscribe(ACCOUNT, held.id)
        shop.klaviyo._account(ACCOUNT).outbox.clear()
        run = shop.run(kind, **order)
        shop.world.work(60)
        assert run.state is State.DONE
        assert shop.writes() == []
        assert shop.waiting() == 0
        assert run.counts["email: pull_opt_out (klaviyo_opt_out_newer)"] == 30
        assert run.counts["email: subscribe (fills_never_subscribed)"] == 30
        assert run.counts["email: unsubscribe (opt_out_of_never_subscribed)"] == 60
        assert len(shop.told(run)) == 120

    def test_consent_alone_sends_no_profile(self, shop: Whole) -> None:
        shop.base(3, first_name="Jane", comms=opt_in(shop))
        for n in range(3):
            shop.klaviyo.profile(ACCOUNT, email=f"canary-{n}@example.org")
        shop.run(only_consent=True)
        assert shop.bodies(IMPORTS) == []
        assert [one.subscriptions.consents["email"].status for one in shop.klaviyo.profiles(ACCOUNT)] == [
            "SUBSCRIBED"
        ] * 3

    def test_an_address_that_klaviyo_does_not_have_yet_makes_no_second_profile(self, shop: Whole) -> None:
        for n, comms in enumerate((opt_in(shop), opt_out(shop))):
            held = shop.klaviyo.profile(
                ACCOUNT, external_id=f"omneo-{n}", email=f"canary-old-{n}@example.org"
            )
            if n:
                shop.klaviyo.subscribe(ACCOUNT, held.id, at=shop.world.clock.timestamp() - 9 * DAY)
            shop.customer(tells=False, id=f"omneo-{n}", email=f"canary-new-{n}@example.org", comms=comms)
        shop.hush()
        shop.world.clock.advance(3600)
        shop.run(only_consent=True)
        assert len(shop.klaviyo.profiles(ACCOUNT)) == 2
        assert [shop.consent_of(f"omneo-{n}") for n in range(2)] == ["SUBSCRIBED", "UNSUBSCRIBED"]

    def test_since_leaves_out_what_omneo_has_not_changed(self, shop: Whole) -> None:
        shop.base(5)
        changed = shop.base(2, email="canary-c{n}@example.org")
        run = shop.run(since=shop.world.clock() - timedelta(hours=1))
        assert run.total == 2
        assert {one.attributes["external_id"] for one in shop.klaviyo.profiles(ACCOUNT)} == set(changed)

    def test_a_reconcile_takes_up_where_the_last_one_began(self, shop: Whole) -> None:
        shop.base(5)
        shop.hush()
        shop.world.clock.advance(3600)
        first = shop.run(Kind.RECONCILE)
        shop.world.clock.advance(2 * DAY)
        shop.base(1, email="canary-new@example.org")
        second = shop.run(Kind.RECONCILE)
        assert second.options.since == first.started_at - timedelta(hours=1)
        assert second.read == 1

    def test_repair_mends_what_reconcile_has_found(self, shop: Whole) -> None:
        shop.base(3, comms=opt_in(shop))
        for n in range(3):
            shop.klaviyo.profile(ACCOUNT, email=f"canary-{n}@example.org")
        found = shop.run(Kind.RECONCILE)
        mended = shop.run(Kind.REPAIR)
        again = shop.run(Kind.RECONCILE, since=found.started_at - timedelta(days=9))
        drift = "email: subscribe (fills_never_subscribed)"
        assert (found.counts[drift], mended.counts[drift], again.counts[drift]) == (3, 3, 0)

    def test_the_clock_begins_a_reconcile_for_every_tenant_unless_a_run_is_under_way(
        self, shop: Whole
    ) -> None:
        from shared.direction import Direction
        from shared.jobs.jobs import Delivery, Outcome
        from shared.worker.delivery import deliver

        body = b'{"kind": "every-tenant", "run": "reconcile"}'
        told = Delivery(Direction.INBOUND, body, "queue", "task", "", 0)
        services = shop.world.services
        assert deliver(told, services) is Outcome.DONE
        run = Resyncs.of(services).under_way(TENANT)
        assert run is not None
        assert run.options.kind is Kind.RECONCILE
        assert deliver(told, services) is Outcome.DONE
        assert shop.end(run).state is State.DONE


class TestMeanwhile:
    def test_who_is_changed_in_omneo_during_a_run_ends_up_as_changed(self, shop: Whole) -> None:
        shop.klaviyo.consent.job_seconds = 60.0
        ids = shop.base(
            20, first_name="Jane", comms=opt_in(shop, "email", "sms"), mobile_phone_e164="+614120{n:05}"
        )
        run = shop.begin()
        shop.world.work(1)  # the import is on its way
        comms = {
            "email_promo": False, "sms_promo": False,
            "email_consent_updated_at": shop.now(), "sms_consent_updated_at": shop.now(),
        }  # fmt: skip
        shop.change_quietly(ids[3], first_name="Janet", comms=comms)
        shop.end(run)
        shop.world.work(90)
        shop.settle()
        assert shop.of(ids[3]).attributes["first_name"] == "Janet"
        assert (shop.consent_of(ids[3]), shop.consent_of(ids[3], "sms")) == ("UNSUBSCRIBED", "UNSUBSCRIBED")
        assert shop.consent_of(ids[4]) == "SUBSCRIBED"

    def test_who_is_deleted_while_in_an_import_is_suppressed_after_it(self, shop: Whole) -> None:
        shop.klaviyo.consent.job_seconds = 60.0
        ids = shop.base(3)
        run = shop.begin()
        shop.world.work(1)
        services, tenant = shop.world.services, shop.world.read()
        del shop.omneo._tenants[TENANT].profiles[ids[1]]
        gone = DeleteProfile(tenant=TENANT, accepted_at=shop.world.clock(), profile_id=ids[1])
        services.queue.put(gone, tenant)
        shop.end(run)
        shop.settle()
        shop.world.work(90)
        assert shop.of(ids[1]).subscriptions.is_suppressed("USER_SUPPRESSED")
        assert not shop.of(ids[0]).subscriptions.is_suppressed("USER_SUPPRESSED")

    def test_nobody_is_missed_when_deletions_move_the_pages(
        self, shop: Whole, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("shared.resync.reading.PAGES_AT_ONCE", 1)
        ids = shop.base(450)
        profiles = shop.omneo._tenants[TENANT].profiles
        services = shop.world.services
        real, lists = services.omneo, iter(range(1000))

        class Moving:
            def __init__(self, client: Any) -> None:
                self._client = client

            def __getattr__(self, name: str) -> Any:
                return getattr(self._client, name)

            def profiles_page(self, number: int, **named: Any) -> Any:
                page = self._client.profiles_page(number, **named)
                if (turn := next(lists)) % 2 == 0 and turn < 12:  # somebody on an earlier page goes
                    for gone in list(profiles)[turn : turn + 2]:
                        del profiles[gone]
                return page

        monkeypatch.setattr(type(services), "omneo", lambda self, tenant: Moving(real(tenant)))
        shop.run()
        left = set(profiles)
        assert 0 < len(ids) - len(left) < 20
        assert left <= {one.attributes["external_id"] for one in shop.klaviyo.profiles(ACCOUNT)}

    def test_live_syncs_go_on_beside_a_run_and_neither_undoes_the_other(self, shop: Whole) -> None:
        shop.klaviyo.consent.job_seconds = 20.0
        ids = shop.base(150, first_name="Jane", comms=opt_in(shop))
        run = shop.begin()
        for n in range(8):
            shop.world.work(10)
            shop.change(
                ids[n], first_name=f"Janet {n}",
                comms={"email_promo": False, "email_consent_updated_at": shop.now()},
            )  # fmt: skip
        assert shop.end(run).state is State.DONE
        shop.world.work(60)
        shop.settle()
        assert [shop.of(ids[n]).attributes["first_name"] for n in range(8)] == [
            f"Janet {n}" for n in range(8)
        ]
        assert {shop.consent_of(id) for id in ids[:8]} == {"UNSUBSCRIBED"}
        assert {shop.consent_of(id) for id in ids[8:]} == {"SUBSCRIBED"}

    def test_klaviyo_throttling_in_the_middle_only_makes_it_later(self, shop: Whole) -> None:
        ids = shop.base(350, comms=opt_in(shop))
        for match in (f"POST {IMPORTS}", f"GET {IMPORTS}/*", f"GET {PROFILES}*", f"POST {SUBSCRIBE}"):
            shop.klaviyo.faults.fail(2, match=match, status=429, headers={"Retry-After": "7"})
        run = shop.run()
        assert run.counts["email: subscribe (fills_never_subscribed)"] == 350
        assert {shop.consent_of(id) for id in ids} == {"SUBSCRIBED"}

    def test_a_run_whose_job_is_dead_goes_on_when_it_is_resumed(self, shop: Whole, world: World) -> None:
        listed(shop, world)
        ids = shop.base(3, comms=opt_in(shop))
        shop.klaviyo._account(ACCOUNT).lists.clear()
        run = shop.begin()
        for _ in range(3):
            world.work(10)
        (dead,) = world.dead_jobs()
        assert "master_list_id" in dead.reason
        assert shop.now_of(run).state is State.RUNNING
        shop.klaviyo.marketing_list(ACCOUNT, "Newsletter", id="LIST1")
        assert shop.end(shop.order(run, State.RUNNING)).state is State.DONE
        assert {shop.consent_of(id) for id in ids} == {"SUBSCRIBED"}
