"""Syncs that wait in number go in bulk imports, at the wire; and what happens to their people while an import is under way."""

import contextlib
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from deploy.local.sandbox.klaviyo.errors import Problem
from shared.direction import Direction
from shared.erasure.erase import erase
from shared.installation.uninstall import uninstall
from shared.jobs.jobs import DeleteProfile, SweepOutbox
from shared.klaviyo.limits import Endpoint
from shared.profiles import packing
from shared.profiles.calls import sync_id
from shared.receipts import Fate, Receipts
from shared.resync import syncs_in_bulk
from shared.resync.rules.run import State
from shared.resync.sync_imports import SyncImports
from shared.resync.syncs_in_bulk import sweep_imports
from shared.traffic.rules.counts import Row, What
from shared.traffic.traffic import Traffic
from tests.support import mortal
from tests.support.bulk import (
    JOB_SECONDS,
    begin_anew,
    change_all,
    customer,
    name_of,
    pass_by,
    rest,
    rows,
    run,
    singles,
    taken_over,
    under_way,
    until_imported,
    waiting,
)
from tests.support.mortal import KilledError, mortal_services
from tests.support.resyncing import IMPORTS, Whole
from tests.support.syncing import IMPORT, UNSUBSCRIBE
from tests.support.world import ACCOUNT, TENANT

pytestmark = pytest.mark.usefixtures("few_are_many")


def test_many_that_wait_go_in_one_import_and_arrive(shop: Whole, ids: list[str]) -> None:
    before = singles(shop)
    change_all(shop, ids)
    until_imported(shop)
    assert under_way(shop) == {*ids}
    assert waiting(shop) == {}
    pass_by(shop)
    assert [name_of(shop, id) for id in ids] == ["Canary"] * 5
    assert singles(shop) == before
    assert len(rows(shop)) == 5
    assert under_way(shop) == set()
    shop.settle()
    assert shop.world.dead_jobs() == []


def test_an_import_does_not_wait_for_the_rest_that_let_syncs_wait(shop: Whole, ids: list[str]) -> None:
    rest(shop, 300)
    for id in ids:
        shop.change(id, first_name="Canary")
    began = shop.world.clock()
    until_imported(shop)
    assert shop.world.clock() - began < timedelta(seconds=45)


def test_few_that_wait_go_by_themselves(shop: Whole, ids: list[str]) -> None:
    before = singles(shop)
    change_all(shop, ids[:2])
    pass_by(shop)
    assert shop.klaviyo_calls(IMPORTS) == []
    assert singles(shop) == before + 2


def test_a_row_names_its_profile_by_klaviyos_id_and_brings_no_identifier(shop: Whole, ids: list[str]) -> None:
    change_all(shop, ids)
    until_imported(shop)
    sent = rows(shop)
    assert {row["id"] for row in sent} == {shop.of(id).id for id in ids}
    assert all(not {"email", "phone_number", "external_id"} & row["attributes"].keys() for row in sent)


def test_an_import_holds_no_more_than_it_may(
    shop: Whole, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syncs_in_bulk, "MOST_IN_ONE", 2)
    monkeypatch.setattr(packing, "MANY", 1)
    change_all(shop, ids)
    pass_by(shop)
    sizes = [
        len(json.loads(call.body)["data"]["attributes"]["profiles"]["data"])
        for call in shop.klaviyo_calls(IMPORTS)
        if call.method == "POST"
    ]
    assert sizes == [2, 2, 1]
    assert [name_of(shop, id) for id in ids] == ["Canary"] * 5


class TestWhoGoesByThemselves:
    """A bulk import clears nothing, asks for no consent and moves no identifier: whoever needs that goes singly."""

    @pytest.mark.parametrize(
        "fields",
        [
            {"email": "canary-new@example.org"},
            {"mobile_phone_e164": "+61412399999"},
            {"first_name": None},
        ],
        ids=["an email changes", "a phone number changes", "a field is cleared"],
    )
    def test_what_bulk_cannot_do_goes_singly(
        self, shop: Whole, ids: list[str], fields: Mapping[str, Any]
    ) -> None:
        change_all(shop, ids)
        rest(shop)
        shop.change(ids[0], **fields)
        shop.sync()
        pass_by(shop)
        assert shop.of(ids[0]).id not in {row["id"] for row in rows(shop)}
        assert len(rows(shop)) == 4
        shop.settle()
        attributes = shop.of(ids[0]).attributes
        assert attributes["email"] == fields.get("email", "canary-0@example.org")
        assert attributes["phone_number"] == fields.get("mobile_phone_e164", "+61412000000")
        assert attributes.get("first_name") == fields.get("first_name", "Canary")
        assert waiting(shop) == {}

    def test_who_opts_in_goes_singly(self, shop: Whole, ids: list[str]) -> None:
        shop.klaviyo.consent.job_seconds = 0.0
        for promo in (False, True):
            stamp = shop.now()
            shop.change_quietly(ids[0], comms={"email_promo": promo, "email_consent_updated_at": stamp})
            if not promo:
                shop.change(ids[0], first_name="Janet")
                shop.settle()
                shop.world.clock.advance(600)
        assert shop.consent_of(ids[0]) == "UNSUBSCRIBED"
        change_all(shop, ids)
        pass_by(shop)
        assert len(rows(shop)) == 4
        assert shop.consent_of(ids[0]) == "SUBSCRIBED"

    def test_who_is_new_to_klaviyo_goes_singly(self, shop: Whole, ids: list[str]) -> None:
        rest(shop)
        for id in ids:
            shop.change(id, first_name="Canary")
        new = customer(shop, 9)
        shop.sync()
        pass_by(shop)
        assert len(rows(shop)) == 5
        assert shop.of(new).attributes["email"] == "canary-9@example.org"

    def test_who_is_excluded_by_now_goes_nowhere(self, shop: Whole, ids: list[str]) -> None:
        change_all(shop, ids)
        shop.change_quietly(ids[0], profile_type="connection")
        pass_by(shop)
        assert len(rows(shop)) == 4
        assert name_of(shop, ids[0]) == "Jane"
        assert waiting(shop) == {}

    def test_an_opt_out_that_is_found_goes_at_once(self, shop: Whole, ids: list[str]) -> None:
        change_all(shop, ids)
        comms = {"email_promo": False, "email_consent_updated_at": shop.now()}
        shop.change_quietly(ids[0], comms=comms)
        rest(shop, 300)
        run(shop)
        assert ids[0] not in waiting(shop)
        shop.world.work(5)
        assert shop.consent_of(ids[0]) == "SUBSCRIBED"  # Klaviyo is at it
        assert len(shop.klaviyo_calls(UNSUBSCRIBE)) == 1
        shop.world.work(JOB_SECONDS)
        assert shop.consent_of(ids[0]) == "UNSUBSCRIBED"

    def test_whose_profile_klaviyo_shows_as_changed_goes_singly(self, shop: Whole, ids: list[str]) -> None:
        held = shop.of(ids[0])
        held.attributes["email"] = "canary-by-the-merchant@example.org"
        change_all(shop, ids)
        pass_by(shop)
        assert len(rows(shop)) == 4
        assert shop.of(ids[0]).attributes["email"] == "canary-0@example.org"

    def test_one_of_whom_omneo_cannot_tell_does_not_hold_up_the_others(
        self, shop: Whole, ids: list[str]
    ) -> None:
        change_all(shop, ids)
        shop.omneo.fail(1, match=f"GET /{TENANT}/api/v3/profiles/{ids[0]}", status=500)
        run(shop)
        assert len(rows(shop)) == 4
        assert waiting(shop)[ids[0]].alone

    def test_nobody_goes_singly_because_omneo_is_away(self, shop: Whole, ids: list[str]) -> None:
        change_all(shop, ids)
        for id in ids:
            shop.omneo.fail(1, match=f"GET /{TENANT}/api/v3/profiles/{id}", status=503)
        run(shop)
        assert rows(shop) == []
        assert not any(job.alone for job in waiting(shop).values())
        pass_by(shop)
        assert [name_of(shop, id) for id in ids] == ["Canary"] * 5

    def test_who_is_on_the_desk_goes_singly_and_leaves_it(self, shop: Whole, ids: list[str]) -> None:
        shop.klaviyo.fail(1, match=f"POST {IMPORT}", status=400)
        shop.change(ids[0], first_name="Janet")
        shop.settle()
        assert [dead.id for dead in shop.world.dead_jobs()] == [sync_id(TENANT, ids[0])]
        change_all(shop, ids)
        pass_by(shop)
        assert len(rows(shop)) == 4
        assert shop.world.dead_jobs() == []

    def test_a_sync_of_which_bulk_makes_nothing_for_half_an_hour_goes_singly(
        self, shop: Whole, ids: list[str]
    ) -> None:
        rest(shop, 2400, Endpoint.BULK_IMPORT)
        change_all(shop, ids)
        pass_by(shop, 25)
        assert {*waiting(shop)} == {*ids}
        pass_by(shop, 10)
        assert waiting(shop) == {}
        assert [name_of(shop, id) for id in ids] == ["Canary"] * 5


class TestMeanwhile:
    """What happens between the look at people and the end of their import."""

    def test_who_is_changed_and_synced_meanwhile_ends_up_as_changed(
        self, shop: Whole, ids: list[str]
    ) -> None:
        change_all(shop, ids)
        until_imported(shop)
        shop.change(ids[0], first_name="Janet")
        shop.world.work(15)
        assert name_of(shop, ids[0]) == "Janet"
        pass_by(shop)
        assert name_of(shop, ids[0]) == "Janet"
        assert name_of(shop, ids[1]) == "Canary"

    def test_the_import_does_write_the_older_value_before_that(self, shop: Whole, ids: list[str]) -> None:
        change_all(shop, ids)
        until_imported(shop)
        shop.change(ids[0], first_name="Janet")
        shop.world.work(15)
        shop.world.clock.advance(JOB_SECONDS)
        shop.klaviyo.profiles(ACCOUNT)
        assert name_of(shop, ids[0]) == "Canary"

    def test_what_is_emptied_meanwhile_is_cleared_though_the_import_brings_it(
        self, shop: Whole, ids: list[str]
    ) -> None:
        change_all(shop, ids, last_name="Canary")
        until_imported(shop)
        shop.change(ids[0], last_name="")
        shop.world.work(15)
        pass_by(shop)
        shop.settle()
        assert not shop.of(ids[0]).attributes.get("last_name")
        assert shop.of(ids[1]).attributes["last_name"] == "Canary"

    def test_what_came_with_an_import_can_be_cleared_later(self, shop: Whole, ids: list[str]) -> None:
        change_all(shop, ids, last_name="Canary")
        pass_by(shop)
        shop.change(ids[0], last_name="")
        shop.settle()
        assert not shop.of(ids[0]).attributes.get("last_name")

    def test_a_call_meanwhile_waits_and_is_not_done_with_the_import(
        self, shop: Whole, ids: list[str]
    ) -> None:
        change_all(shop, ids)
        until_imported(shop)
        rest(shop, 120)
        shop.change(ids[0], first_name="Janet")
        shop.world.work(15)
        assert {*waiting(shop)} == {ids[0]}
        shop.world.work(JOB_SECONDS)
        shop.world.work(15)
        receipt = Receipts.of(shop.world.services).find(TENANT, sync_id(TENANT, ids[0]))
        assert receipt is not None
        assert receipt.state is Fate.WAITING
        pass_by(shop, 5)
        assert name_of(shop, ids[0]) == "Janet"

    def test_an_opt_out_meanwhile_does_not_wait(self, shop: Whole, ids: list[str]) -> None:
        change_all(shop, ids)
        until_imported(shop)
        rest(shop, 120)
        shop.change(ids[0], comms={"email_promo": False, "email_consent_updated_at": shop.now()})
        shop.world.work(15)
        assert len(shop.klaviyo_calls(UNSUBSCRIBE)) == 1
        pass_by(shop, 5)
        shop.settle()
        assert shop.consent_of(ids[0]) == "UNSUBSCRIBED"

    def test_who_is_deleted_meanwhile_is_deleted_again(self, shop: Whole, ids: list[str]) -> None:
        change_all(shop, ids)
        until_imported(shop)
        del shop.omneo._tenants[TENANT].profiles[ids[0]]
        gone = DeleteProfile(tenant=TENANT, accepted_at=shop.world.clock(), profile_id=ids[0])
        shop.world.services.queue.put(gone, shop.world.read())
        shop.world.work(1)
        shop.of(ids[0]).subscriptions.suppressions.clear()
        pass_by(shop)
        assert shop.of(ids[0]).subscriptions.is_suppressed("USER_SUPPRESSED")
        assert not shop.of(ids[1]).subscriptions.is_suppressed("USER_SUPPRESSED")

    def test_who_is_erased_meanwhile_is_forgotten_and_not_synced_again(
        self, shop: Whole, ids: list[str]
    ) -> None:
        change_all(shop, ids)
        until_imported(shop)
        del shop.omneo._tenants[TENANT].profiles[ids[0]]
        receipt = erase(shop.world.read(), ids[0], shop.world.services, in_klaviyo=True)
        assert receipt["removed"]["waiting"] == 1
        assert ids[0] not in under_way(shop)
        pass_by(shop)
        shop.settle()
        assert under_way(shop) == set()
        found = [one.attributes.get("external_id") for one in shop.klaviyo.profiles(ACCOUNT)]
        assert sorted(map(str, found)) == sorted(ids[1:])

    def test_whose_klaviyo_profile_another_takes_over_gives_the_other_their_values_back(
        self, shop: Whole, ids: list[str]
    ) -> None:
        change_all(shop, ids)
        until_imported(shop)
        held, _ = taken_over(shop, ids[0], heir_named="Heir")
        pass_by(shop)
        shop.settle()
        owned = [one for one in shop.klaviyo.profiles(ACCOUNT) if one.id == held.id]
        assert [one.attributes["first_name"] for one in owned] == ["Heir"]

    def test_what_another_takes_over_keeps_no_value_that_only_the_former_owner_has(
        self, shop: Whole, ids: list[str]
    ) -> None:
        change_all(shop, ids, last_name="Canary")
        until_imported(shop)
        held, heir = taken_over(shop, ids[0])
        shop.world.work(JOB_SECONDS)
        assert held.attributes["last_name"] == "Canary"
        pass_by(shop)
        shop.settle()
        assert held.attributes["external_id"] == heir
        assert not held.attributes.get("last_name")

    def test_what_is_collected_of_another_stays_if_the_import_was_refused(
        self, shop: Whole, ids: list[str]
    ) -> None:
        change_all(shop, ids, last_name="Canary")
        until_imported(shop)
        held, _ = taken_over(shop, ids[0], last_name="Canary-Heir")
        (job,) = shop.klaviyo._account(ACCOUNT).jobs.values()
        job.unfit = {
            index: Problem("refused", "") for index, row in enumerate(job.rows) if row["id"] == held.id
        }
        pass_by(shop)
        shop.settle()
        assert held.attributes["last_name"] == "Canary-Heir"

    def test_a_run_over_the_whole_base_waits_for_the_import(self, shop: Whole, ids: list[str]) -> None:
        change_all(shop, ids)
        until_imported(shop)
        began = shop.begin()
        shop.world.work(15)
        assert len([call for call in shop.klaviyo_calls(IMPORTS) if call.method == "POST"]) == 1
        assert shop.end(began).state is State.DONE


class TestTroubles:
    """What goes wrong with the import itself."""

    def test_who_is_refused_by_the_import_is_synced_alone(self, shop: Whole, ids: list[str]) -> None:
        change_all(shop, ids)
        until_imported(shop)
        account = shop.klaviyo._account(ACCOUNT)
        account.forget(account.profiles[shop.of(ids[0]).id])
        pass_by(shop)
        assert [name_of(shop, id) for id in ids] == ["Canary"] * 5
        assert under_way(shop) == set()
        assert shop.world.dead_jobs() == []

    @pytest.mark.parametrize("status", [400, 403, 413])
    def test_an_import_that_is_refused_goes_by_single_syncs(
        self, shop: Whole, ids: list[str], status: int
    ) -> None:
        shop.klaviyo.fail(1, match=f"POST {IMPORTS}", status=status)
        before = singles(shop)
        change_all(shop, ids)
        pass_by(shop)
        assert singles(shop) == before + 5
        assert [name_of(shop, id) for id in ids] == ["Canary"] * 5

    def test_an_import_that_is_throttled_is_asked_for_again(self, shop: Whole, ids: list[str]) -> None:
        shop.klaviyo.fail(2, match=f"POST {IMPORTS}", status=429, headers={"Retry-After": "20"})
        before = singles(shop)
        change_all(shop, ids)
        pass_by(shop, 4)
        assert singles(shop) == before
        assert len(rows(shop)) == 15
        assert [name_of(shop, id) for id in ids] == ["Canary"] * 5

    def test_nobody_is_read_for_an_import_while_klaviyo_takes_none(self, shop: Whole, ids: list[str]) -> None:
        change_all(shop, ids)
        rest(shop, 60, Endpoint.BULK_IMPORT)
        shop.forget_calls()
        run(shop)
        assert shop.omneo_calls() == []
        pass_by(shop)
        assert len(rows(shop)) == 5

    def test_who_was_read_before_omneo_throttles_goes_all_the_same(
        self, shop: Whole, ids: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(syncs_in_bulk, "READ_AT_ONCE", 4)
        change_all(shop, ids)
        last = [*waiting(shop)][-1]
        shop.omneo.fail(1, match=f"GET /{TENANT}/api/v3/profiles/{last}", status=429)
        run(shop)
        assert len(rows(shop)) == 4
        assert {*waiting(shop)} == {last}
        assert not waiting(shop)[last].alone

    def test_no_other_import_is_asked_for_after_one_whose_answer_is_lost(
        self, shop: Whole, ids: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(syncs_in_bulk, "MOST_IN_ONE", 2)
        monkeypatch.setattr(packing, "MANY", 1)
        change_all(shop, ids)
        shop.klaviyo.fail(10, match=f"POST {IMPORTS}", status=503)
        run(shop)
        assert len(rows(shop)) == 2

    def test_people_of_an_import_whose_answer_is_lost_are_synced_at_once_and_once_more(
        self, shop: Whole, ids: list[str]
    ) -> None:
        shop.klaviyo.fail(1, match=f"POST {IMPORTS}", status=503)
        before = singles(shop)
        change_all(shop, ids)
        pass_by(shop, 2)
        assert singles(shop) == before + 5
        assert [name_of(shop, id) for id in ids] == ["Canary"] * 5
        pass_by(shop, 16)
        assert singles(shop) == before + 10
        assert under_way(shop) == set()

    def test_an_import_that_klaviyo_knows_nothing_of_is_not_waited_for_for_ever(
        self, shop: Whole, ids: list[str]
    ) -> None:
        change_all(shop, ids)
        until_imported(shop)
        shop.klaviyo._account(ACCOUNT).jobs.clear()
        shop.klaviyo.consent.job_seconds = 1e6
        pass_by(shop, 18)
        assert under_way(shop) == set()
        assert [name_of(shop, id) for id in ids] == ["Canary"] * 5

    def test_an_import_without_progress_lets_its_people_go_and_is_followed_to_its_end(
        self, shop: Whole, ids: list[str]
    ) -> None:
        shop.klaviyo.consent.job_seconds = 3600.0
        change_all(shop, ids)
        until_imported(shop)
        pass_by(shop, 14)
        assert [name_of(shop, id) for id in ids] == ["Jane"] * 5
        pass_by(shop, 3)
        assert [name_of(shop, id) for id in ids] == ["Canary"] * 5
        shop.change(ids[0], first_name="Janet")
        pass_by(shop, 50)
        assert under_way(shop) == set()
        assert name_of(shop, ids[0]) == "Janet"

    def test_who_is_changed_after_an_import_was_let_go_does_not_wait_for_it(
        self, shop: Whole, ids: list[str]
    ) -> None:
        shop.klaviyo.consent.job_seconds = 1e6
        change_all(shop, ids)
        until_imported(shop)
        pass_by(shop, 18)
        change_all(shop, ids, first_name="Janet")
        pass_by(shop, 3)
        assert [name_of(shop, id) for id in ids] == ["Janet"] * 5

    def test_one_import_that_cannot_be_looked_at_holds_up_no_other(
        self, shop: Whole, ids: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(syncs_in_bulk, "MOST_IN_ONE", 3)
        monkeypatch.setattr(packing, "MANY", 1)
        change_all(shop, ids)
        until_imported(shop)
        first = min(SyncImports.of(shop.world.services).all(TENANT), key=lambda one: one.begun_at)
        shop.klaviyo.fail(10_000, match=f"GET {IMPORTS}/{first.job}", status=503)
        shop.world.work(JOB_SECONDS)
        pass_by(shop)
        assert under_way(shop) == {row.profile_id for row in first.rows}
        assert waiting(shop) == {}

    def test_who_is_not_accounted_for_is_synced_alone(self, shop: Whole, ids: list[str]) -> None:
        change_all(shop, ids)
        until_imported(shop)
        (job,) = shop.klaviyo._account(ACCOUNT).jobs.values()
        job.rows = job.rows[:3]
        pass_by(shop)
        assert [name_of(shop, id) for id in ids] == ["Canary"] * 5

    def test_errors_on_pages_without_end_are_not_read_for_ever(self, shop: Whole, ids: list[str]) -> None:
        change_all(shop, ids)
        until_imported(shop)
        account = shop.klaviyo._account(ACCOUNT)
        account.forget(account.profiles[shop.of(ids[0]).id])
        match = f"GET {IMPORTS}/*/import-errors*"
        for number in range(20):
            link = f"https://a.klaviyo.com/api?page%5Bcursor%5D={number}"
            shop.klaviyo.fail(1, match=match, status=200, body={"data": [], "links": {"next": link}})
        pass_by(shop)
        assert len(shop.klaviyo.faults.ordered()) == 19
        assert [name_of(shop, id) for id in ids] == ["Canary"] * 5

    def test_the_note_of_an_import_outlives_every_job_of_the_queue(self, shop: Whole, ids: list[str]) -> None:
        change_all(shop, ids)
        until_imported(shop)
        (note,) = shop.world.services.documents.find(f"tenants/{TENANT}/sync_imports")
        expiry: Any = note.fields["expire_at"]
        assert expiry - shop.world.clock() > timedelta(days=31)

    def test_an_import_that_never_ends_is_followed_for_a_day(self, shop: Whole, ids: list[str]) -> None:
        shop.klaviyo.consent.job_seconds = 1e6
        change_all(shop, ids)
        until_imported(shop)
        for _ in range(23 * 4):
            shop.world.work(900)
        assert under_way(shop) == {*ids}
        for _ in range(8):
            shop.world.work(900)
        assert under_way(shop) == set()

    def test_an_import_of_which_klaviyo_never_answers_is_given_up_after_a_day(
        self, shop: Whole, ids: list[str]
    ) -> None:
        shop.klaviyo.consent.job_seconds = 1e6
        change_all(shop, ids)
        until_imported(shop)
        shop.klaviyo.fail(10_000, match=f"GET {IMPORTS}", status=503)
        for _ in range(26 * 4):
            shop.world.work(900)
        assert under_way(shop) == set()

    def test_imports_of_an_account_that_was_left_go_by_single_syncs(
        self, shop: Whole, ids: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        change_all(shop, ids)
        until_imported(shop)
        tenants = shop.world.services.tenants
        tenants.change(TENANT, lambda now: now.model_copy(update={"klaviyo_account_id": "Another"}))
        shop.world.services.tenant_cache.fresh(TENANT)
        run(shop)
        assert under_way(shop) == set()
        assert all(job.alone for job in waiting(shop).values())
        assert {*waiting(shop)} == {*ids}

    def test_an_uninstall_forgets_the_imports(self, shop: Whole, ids: list[str]) -> None:
        change_all(shop, ids)
        until_imported(shop)
        uninstall(shop.world.read(), shop.world.services)
        assert under_way(shop) == set()

    def test_while_another_job_has_somebodys_turn_the_others_are_seen_to(
        self, shop: Whole, ids: list[str]
    ) -> None:
        change_all(shop, ids)
        until_imported(shop)
        lease = shop.world.services.leases.acquire(f"sync {TENANT} {ids[0]}", lasting=timedelta(minutes=2))
        assert lease is not None
        shop.world.work(JOB_SECONDS)
        shop.world.work(15)
        assert under_way(shop) == {ids[0]}
        pass_by(shop)
        assert under_way(shop) == set()

    def test_two_runs_at_once_send_everybody_once(self, shop: Whole, ids: list[str]) -> None:
        change_all(shop, ids)
        other = shop.world.services.leases.acquire(f"import-syncs {TENANT}", lasting=timedelta(minutes=1))
        assert other is not None
        run(shop)
        assert shop.klaviyo_calls(IMPORTS) == []
        pass_by(shop)
        assert len(rows(shop)) == 5

    def test_a_run_that_was_lost_is_made_up_for_by_the_sweep(self, shop: Whole, ids: list[str]) -> None:
        change_all(shop, ids)
        until_imported(shop)
        shop.world.services.queue.purge(shop.world.read(), Direction.OUTBOUND)
        sweep = SweepOutbox(tenant=TENANT, accepted_at=shop.world.clock())
        sweep_imports(sweep, shop.world.read(), shop.world.services)
        pass_by(shop)
        assert [name_of(shop, id) for id in ids] == ["Canary"] * 5


class TestWhatIsTold:
    """Receipts and counts say what single syncs would say."""

    def test_a_receipt_waits_until_the_import_is_over_and_is_done_then(
        self, shop: Whole, ids: list[str]
    ) -> None:
        def states() -> set[Fate]:
            found = [Receipts.of(shop.world.services).find(TENANT, sync_id(TENANT, id)) for id in ids]
            return {receipt.state for receipt in found if receipt}

        change_all(shop, ids)
        until_imported(shop)
        assert states() == {Fate.WAITING}
        pass_by(shop)
        assert states() == {Fate.DONE}

    def test_every_sync_counts_as_delivered(self, shop: Whole, ids: list[str]) -> None:
        counted = Traffic.of(shop.world.services)

        def delivered() -> int:
            row = Row("sync-profile", What.DELIVERED)
            return sum(table[row].count for table in counted._counted.values() if row in table)

        before = delivered()
        change_all(shop, ids)
        pass_by(shop)
        assert delivered() == before + 5

    def test_the_memory_of_consents_learns_as_from_a_sync(self, shop: Whole, ids: list[str]) -> None:
        change_all(shop, ids)
        pass_by(shop)
        rest(shop)
        shop.change(ids[0], first_name="Again")
        shop.sync()
        assert {*waiting(shop)} == {ids[0]}  # nothing of an opt-out is new


LASTS = 120.0  # a dead worker's turns and leases have run out


def a_life_is_ended(shop: Whole, ids: list[str], at: int, word: str, *, at_the_end: bool) -> bool:
    """Let a process die at one moment of a run, while somebody changes; return whether it came to that moment."""
    fate = mortal.Fate(at, kills=True)
    begin_anew(shop, ids, word, at_the_end=at_the_end)
    with contextlib.suppress(KilledError):
        run(shop, mortal_services(shop.world.services, fate))
    return fate.struck


@pytest.mark.parametrize("at_the_end", [False, True], ids=["when it begins", "when it ends"])
def test_at_whatever_moment_a_process_dies_the_newest_values_arrive(
    shop: Whole, ids: list[str], monkeypatch: pytest.MonkeyPatch, at_the_end: bool
) -> None:
    monkeypatch.setattr(syncs_in_bulk, "THREADS", 1)
    shop.hush()
    at = 0
    while a_life_is_ended(shop, ids, at, f"Canary {at}", at_the_end=at_the_end):
        shop.change(ids[0], first_name=f"Janet {at}")
        shop.omneo.deliver(TENANT)
        shop.world.work(0)
        shop.world.clock.advance(LASTS)
        packing.pack_soon(shop.world.read(), shop.world.services)
        sweep_imports(
            SweepOutbox(tenant=TENANT, accepted_at=shop.world.clock()), shop.world.read(), shop.world.services
        )
        pass_by(shop, 16)
        assert [name_of(shop, id) for id in ids] == [f"Janet {at}", *[f"Canary {at}"] * 4], at
        assert (waiting(shop), under_way(shop)) == ({}, set()), at
        at += 1
    assert at > 40
    assert shop.world.dead_jobs() == []
