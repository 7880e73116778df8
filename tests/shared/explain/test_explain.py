"""Explain, through Omneo and Klaviyo as they answer: every kind of answer, and that a look is only a look."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shared.consent.inbox import Inbox
from shared.consent_events import SystemEvent
from shared.errors import (
    ConflictError,
    NotInstalledError,
    ProfileNotFoundError,
    WaitError,
)
from shared.explain.explain import explain, profile_id_of
from shared.explain.history import LEDGER_RECORDS
from shared.jobs.dead_job import DeadJob
from shared.jobs.dead_jobs import DeadJobStore
from shared.profiles.calls import deletion_id, sync_id
from shared.profiles.synced import SyncedProfiles
from tests.support.syncing import PHONE, Shop, a_shop, reads_alone
from tests.support.world import ACCOUNT, EMAIL, TENANT, World

Json = Any
ANY = {"email_promo": True, "sms_promo": True}


@pytest.fixture
def shop(world: World) -> Iterator[Shop]:
    with a_shop(world) as shop:
        yield shop


def told(shop: Shop, id: str, *, reveal: bool = False) -> dict[str, Json]:
    """Return the explanation, after a look at what it has cost: reading alone, nothing queued, and nothing personal."""
    shop.forget_calls()
    waiting = shop.waiting()
    found = explain(shop.world.read(), id, shop.world.services, reveal=reveal)
    assert reads_alone(shop)
    assert shop.waiting() == waiting
    assert json.loads(json.dumps(found)) == found
    assert reveal or "canary" not in json.dumps(found)
    return found


def consent(found: dict[str, Json], name: str) -> dict[str, Json]:
    (row,) = [row for row in found["consent"] if row["consent"] == name]
    return dict(row)


def reasons(found: dict[str, Json]) -> dict[str, str]:
    return {note["name"]: note["reason"] for note in found["notes"]}


# How it matched


def by_identity(shop: Shop, id: str) -> str:
    made = shop.klaviyo.profile(ACCOUNT, email="canary-former@example.org").id
    shop.world.services.omneo(shop.world.read()).create_identity(id, handle="klaviyo", identifier=made)
    return made


def by_external_id(shop: Shop, id: str) -> str:
    return shop.klaviyo.profile(ACCOUNT, external_id=id).id


def by_email(shop: Shop, id: str) -> str:
    return shop.klaviyo.profile(ACCOUNT, email=EMAIL).id


def by_phone(shop: Shop, id: str) -> str:
    return shop.klaviyo.profile(ACCOUNT, phone_number=PHONE).id


@pytest.mark.parametrize(
    ("make", "by"),
    [
        (by_identity, "stored_identity"),
        (by_external_id, "external_id"),
        (by_email, "email"),
        (by_phone, "none"),
        (lambda *_: None, "none"),
    ],
    ids=["stored_identity", "external_id", "email", "phone_number", "none"],
)
@pytest.mark.parametrize("is_excluded", [False, True])
def test_it_says_by_what_the_klaviyo_profile_is_found(
    world: World, make: Callable[[Shop, str], str | None], by: str, is_excluded: bool
) -> None:
    with a_shop(world, profile_exclude_logic={"!!": [{"var": "id"}]} if is_excluded else None) as shop:
        id = shop.customer(tells=False, mobile_phone_e164=PHONE)
        klaviyo_id = make(shop, id)
        matched = told(shop, id)["matched"]
        if by == "none":
            klaviyo_id = None  # nobody is found by a phone number
        assert (matched["by"], matched["klaviyo_id"]) == (by, klaviyo_id)
        assert matched["why"].endswith(".")


def test_a_stored_id_that_klaviyo_does_not_know_is_noted_and_matching_falls_through(shop: Shop) -> None:
    id = shop.customer(tells=False)
    omneo = shop.world.services.omneo(shop.world.read())
    omneo.create_identity(id, handle="klaviyo", identifier="01GONE")
    klaviyo_id = by_email(shop, id)
    found = told(shop, id)
    assert (found["matched"]["by"], found["matched"]["klaviyo_id"]) == ("email", klaviyo_id)
    assert reasons(found) == {"identity": "stale_identity"}
    assert found["would_send"]["id"] == klaviyo_id


def test_an_identifier_of_another_klaviyo_profile_is_left_out_and_its_consent_is_the_others(
    shop: Shop,
) -> None:
    id = shop.customer(tells=False, mobile_phone_e164=PHONE, comms={"sms_promo": False})
    ours, theirs = by_email(shop, id), by_phone(shop, id)
    shop.klaviyo.subscribe(ACCOUNT, theirs, channel="sms", at=shop.world.clock.timestamp() - 9999)
    found = told(shop, id)
    assert found["matched"]["klaviyo_id"] == ours
    assert reasons(found) == {"phone_number": "of_another"}
    assert "phone_number" not in found["would_send"]["attributes"]
    sms = consent(found, "sms")
    assert (sms["klaviyo"]["klaviyo_id"], sms["outcome"]) == (theirs, "unsubscribe")


# Whether it is synced


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"email": "canary@example.com"}, "example_email"),
        ({"email": "staff-profile-canary@shop.test"}, "staff_profile"),
        ({"tags": ["connection"]}, "connection_profile"),
        ({"tier_handle": "staff"}, "exclude_logic"),
        ({"profile_type": "deleted"}, "gone"),
    ],
)
def test_an_excluded_profile_says_why_and_that_nothing_is_sent(
    world: World, fields: dict[str, Json], reason: str
) -> None:
    logic = {"==": [{"var": "tier_handle"}, "staff"]}
    with a_shop(world, profile_exclude_logic=logic) as shop:
        found = told(shop, shop.customer(tells=False, comms=ANY, **fields))
        assert found["excluded"]["reason"] == reason
        assert found["excluded"]["why"].endswith(".")
        assert (found["would_send"], found["notes"]) == (None, [])
        assert {(row["outcome"], row["reason"]) for row in found["consent"]} == {("leave", "not_synced")}
        assert consent(found, "email")["omneo"]["promo"] is True


def test_the_trace_says_what_every_operation_gave(world: World) -> None:
    logic = {"and": [{"==": [{"var": "tier_handle"}, "gold"]}, {"==": [{"var": "first_name"}, "Xenia"]}]}
    with a_shop(world, profile_exclude_logic=logic) as shop:
        id = shop.customer(tells=False, tier_handle="gold", first_name="Xenia")
        trace = told(shop, id)["excluded"]["trace"]
        assert [(step["path"], step["value"], step["error"]) for step in trace] == [
            ("and", True, ""),
            ("and[0].==", True, ""),
            ("and[0].==[0].var", "gold", ""),
            ("and[1].==", True, ""),
            ("and[1].==[0].var", "<text>", ""),
        ]
        assert trace[3]["expression"] == {"==": [{"var": "first_name"}, "<text>"]}
        revealed = told(shop, id, reveal=True)["excluded"]["trace"]
        assert [step["value"] for step in revealed[2::2]] == ["gold", "Xenia"]


def test_logic_that_cannot_be_evaluated_says_so_where_it_stands(world: World) -> None:
    logic = {">": [{"+": [{"var": "first_name"}, 1]}, 3]}
    with a_shop(world, profile_exclude_logic=logic) as shop:
        found = told(shop, shop.customer(tells=False, first_name="canary"))
        assert (found["excluded"]["reason"], found["would_send"]) == ("undecided", None)
        assert any("guard it" in step["error"] for step in found["excluded"]["trace"])


def test_logic_that_no_revision_could_evaluate_is_one_line(world: World) -> None:
    with a_shop(world, profile_exclude_logic={"teleport": [1]}) as shop:
        excluded = told(shop, shop.customer(tells=False))["excluded"]
        assert excluded["reason"] == "undecided"
        assert [step["path"] for step in excluded["trace"]] == [""]
        assert "teleport" in excluded["trace"][0]["error"]


def test_a_deletion_that_is_newer_than_what_omneo_shows_stands(shop: Shop) -> None:
    id = shop.customer(tells=False)
    SyncedProfiles.of(shop.world.services).bury(TENANT, id, shop.world.clock())
    found = told(shop, id)
    assert (found["excluded"]["reason"], found["would_send"]) == ("deleted", None)


# What is sent


def test_personal_values_are_masked_unless_they_are_asked_for(shop: Shop) -> None:
    id = shop.customer(tells=False, mobile_phone_e164=PHONE, last_name="canary-Doe", tier_handle="gold")
    masked, revealed = told(shop, id), told(shop, id, reveal=True)
    assert (masked["revealed"], revealed["revealed"]) == (False, True)
    assert masked["would_send"]["attributes"]["last_name"] == "<text>"
    assert masked["would_send"]["attributes"]["properties"]["omneo_tier_handle"] == "gold"
    assert PHONE not in json.dumps(masked)
    assert revealed["would_send"]["attributes"]["last_name"] == "canary-Doe"
    assert consent(masked, "email")["address"] == "<text>"
    assert consent(revealed, "email")["address"] == EMAIL
    assert consent(revealed, "sms")["address"] == PHONE


def test_what_does_not_fit_is_noted(shop: Shop) -> None:
    found = told(shop, shop.customer(tells=False, mobile_phone="canary", address={"latitude": "canary"}))
    assert reasons(found) == {"phone_number": "phone_invalid", "location.latitude": "value_unfit"}


def test_an_external_id_of_another_profile_than_the_stored_one_is_merged(shop: Shop) -> None:
    id = shop.customer(tells=False)
    stored = by_identity(shop, id)
    by_external_id(shop, id)
    found = told(shop, id)
    assert (found["would_send"]["id"], reasons(found)) == (stored, {"external_id": "merging"})
    assert "external_id" not in found["would_send"]["attributes"]


def test_the_opt_out_of_an_excluded_profile_is_said_to_reach_the_address_that_klaviyo_has(shop: Shop) -> None:
    id = shop.customer(comms={"email_promo": True})
    shop.settle()
    shop.omneo.change_profile(
        TENANT, id, tells=False, email="staff-profile-canary@shop.test", comms={"email_promo": False}
    )
    found = told(shop, id)
    assert (found["excluded"]["reason"], found["would_send"]) == ("staff_profile", None)
    assert consent(found, "email")["outcome"] == "unsubscribe"


# What consent comes to


def test_each_consent_shows_both_sides_the_decision_and_why(shop: Shop) -> None:
    now = shop.now()
    id = shop.customer(tells=False, comms={"email_promo": True, "email_consent_updated_at": now})
    klaviyo_id = by_email(shop, id)
    shop.klaviyo.unsubscribe(ACCOUNT, klaviyo_id, at=shop.world.clock.timestamp() - 3600)
    email = consent(told(shop, id), "email")
    assert email["omneo"] == {"promo": True, "optout": None, "bounced": None, "updated_at": now}
    assert (email["klaviyo"]["klaviyo_id"], email["klaviyo"]["consent"]) == (klaviyo_id, "UNSUBSCRIBED")
    assert email["klaviyo"]["consented_at"].startswith("2026-11-21T09:00:00")
    assert (email["outcome"], email["reason"]) == ("subscribe", "omneo_opt_in_newer")
    assert email["why"].startswith("Klaviyo is asked to subscribe. Omneo's opt-in is newer")
    assert email["asked_before"] is None


def test_an_opt_in_whose_stamp_lay_ahead_when_omneo_told_of_it_is_no_newer_than_an_opt_out(
    shop: Shop,
) -> None:
    comms = {"email_promo": True, "email_consent_updated_at": shop.now(60)}
    id = shop.customer(comms=comms)
    klaviyo_id = by_email(shop, id)
    shop.klaviyo.unsubscribe(ACCOUNT, klaviyo_id, at=shop.world.clock.timestamp() + 30)
    shop.world.clock.advance(90)
    email = consent(told(shop, id), "email")
    assert (email["outcome"], email["reason"]) == ("pull_opt_out", "klaviyo_opt_out_newer")


def test_a_newer_opt_out_of_klaviyos_is_pulled_and_its_suppressions_are_shown(shop: Shop) -> None:
    id = shop.customer(tells=False, comms={"email_promo": True})
    klaviyo_id = by_email(shop, id)
    shop.klaviyo.mark_as_spam(ACCOUNT, klaviyo_id)
    email = consent(told(shop, id), "email")
    assert email["outcome"] == "pull_opt_out"
    assert [row["reason"] for row in email["klaviyo"]["suppressions"]] == ["SPAM_COMPLAINT"]


def test_where_omneo_shows_no_consent_nothing_is_asked(shop: Shop) -> None:
    id = shop.customer(tells=False)
    shop.omneo.change_profile(TENANT, id, tells=False, attributes={"comms": None})
    found = told(shop, id)
    assert reasons(found) == {"consent": "not_shown"}


def test_after_a_sync_it_knows_what_was_synced_and_asked(shop: Shop) -> None:
    id = shop.customer(comms={"email_promo": True})
    assert told(shop, id)["synced_before"] is None
    shop.settle()
    found = told(shop, id)
    assert found["synced_before"] == {
        "read_at": "2026-11-21T10:00:15+00:00",
        "klaviyo_id": shop.profile().id,
        "same_account": True,
    }
    email = consent(found, "email")
    assert (email["outcome"], email["reason"]) == ("leave", "agreed")
    assert email["asked_before"] == {"direction": "in", "at": "2026-11-21T10:00:15+00:00"}


def test_what_was_asked_for_and_waits_for_the_person_to_confirm_is_not_asked_again(shop: Shop) -> None:
    shop.klaviyo.account(ACCOUNT, default_opt_in="double_opt_in")
    id = shop.customer(comms={"email_promo": True})
    assert consent(told(shop, id), "email")["outcome"] == "subscribe"
    shop.settle()
    email = consent(told(shop, id), "email")
    assert (email["outcome"], email["reason"]) == ("leave", "already_asked")
    assert email["klaviyo"]["consent"] == "NEVER_SUBSCRIBED"


def test_transactional_sms_is_told_where_the_tenant_wants_it(world: World) -> None:
    with a_shop(world, sms_transactional=True) as shop:
        id = shop.customer(tells=False, mobile_phone_e164=PHONE, comms=ANY)
        sms = consent(told(shop, id), "sms_transactional")
        assert (sms["outcome"], sms["reason"]) == ("subscribe", "with_sms_marketing")


# What lies around


def test_the_last_twenty_records_of_the_ledger_are_told_newest_first(shop: Shop) -> None:
    id = shop.customer(comms={"email_promo": True, "email_consent_updated_at": shop.now()})
    for number in range(LEDGER_RECORDS + 2):
        shop.world.clock.advance(400)
        comms = {"email_promo": number % 2 == 1, "email_consent_updated_at": shop.now()}
        shop.change(id, comms=comms)
        shop.settle()
    ledger = told(shop, id)["ledger"]
    assert len(ledger) == LEDGER_RECORDS
    assert sorted((row["at"] for row in ledger), reverse=True) == [row["at"] for row in ledger]
    assert ledger[0] | {"at": ""} == {
        "at": "",
        "channel": "email",
        "before": "unsubscribed",
        "after": "subscribed",
        "source": "omneo",
    }


def test_a_tenant_from_before_there_was_a_ledger_has_none(shop: Shop) -> None:
    id = shop.customer(tells=False)
    shop.world.services.tenants.change(TENANT, lambda known: known.model_copy(update={"ledger_key": None}))
    assert told(shop, id)["ledger"] == []


def test_dead_jobs_and_waiting_events_of_the_profile_are_told_and_nobody_elses(shop: Shop) -> None:
    services, now = shop.world.services, shop.world.clock()
    id = shop.customer(tells=False)
    other = shop.customer(tells=False, email="canary-other@example.org")
    klaviyo_id = by_email(shop, id)
    jobs = {
        sync_id(TENANT, id): "sync-profile",
        deletion_id(TENANT, id): "delete-profile",
        sync_id(TENANT, other): "sync-profile",
    }
    for job, kind in jobs.items():
        dead = DeadJob(
            id=job,
            tenant=TENANT,
            kind=kind,
            reason="No.",
            detail="canary",
            body=b"{}",
            attempts=3,
            died_at=now,
        )
        DeadJobStore.of(services).add(dead, keep=LEDGER_RECORDS * (now - now.replace(hour=0)))
    for profile in (klaviyo_id, "01OTHER"):
        event = SystemEvent(id=f"e-{profile}", topic="subscribed_to_list", profile=profile, at=now)
        Inbox.of(services).add(TENANT, ACCOUNT, event)
    at = now.isoformat()
    assert told(shop, id)["open_jobs"] == [
        {"kind": "sync-profile", "state": "dead", "at": at, "why": "No."},
        {"kind": "delete-profile", "state": "dead", "at": at, "why": "No."},
        {
            "kind": "flush-inbox",
            "state": "waiting",
            "at": at,
            "why": "Klaviyo has reported subscribed_to_list.",
        },
    ]
    assert told(shop, other)["open_jobs"] == [
        {"kind": "sync-profile", "state": "dead", "at": at, "why": "No."}
    ]


# What cannot be answered


@pytest.mark.parametrize("id", ["01JNOBODY", "..", "a/b", "", "canary@example.org", "a" * 65, "ü", "%2e%2e"])
def test_a_profile_that_omneo_does_not_have_is_not_found(shop: Shop, id: str) -> None:
    shop.forget_calls()
    with pytest.raises(ProfileNotFoundError, match=r"^Omneo has no such profile\.$"):
        explain(shop.world.read(), id, shop.world.services, reveal=False)
    assert len(shop.omneo_calls()) == (1 if id == "01JNOBODY" else 0)
    assert shop.klaviyo_calls() == []


def test_an_id_in_capitals_is_the_same_profile(shop: Shop) -> None:
    id = shop.customer()
    shop.settle()
    assert told(shop, id.upper()) == told(shop, id)


@pytest.mark.parametrize("status", [500, 503, 429, 401, 403])
def test_an_omneo_that_does_not_answer_or_refuses_our_token_is_waited_for(shop: Shop, status: int) -> None:
    id = shop.customer(tells=False)
    shop.omneo.fail(9, status=status)
    with pytest.raises(WaitError, match="Omneo"):
        explain(shop.world.read(), id, shop.world.services, reveal=False)


@pytest.mark.parametrize("status", [500, 503, 429, 401, 403])
def test_a_klaviyo_that_does_not_answer_or_refuses_our_token_is_waited_for(shop: Shop, status: int) -> None:
    id = shop.customer(tells=False)
    shop.klaviyo.fail(9, match="GET /api/profiles", status=status)
    with pytest.raises(WaitError, match="Klaviyo"):
        explain(shop.world.read(), id, shop.world.services, reveal=False)


def test_an_address_that_klaviyo_does_not_look_for_is_nobodys(shop: Shop) -> None:
    id = shop.customer(tells=False)
    shop.klaviyo.fail(2, match="GET /api/profiles", status=400)
    assert told(shop, id)["matched"]["by"] == "none"


def test_a_tenant_without_a_klaviyo_account_is_told_to_install(world: World) -> None:
    world.tenant(installed=False)
    with pytest.raises(NotInstalledError):
        explain(world.read(), "01JANE", world.services, reveal=False)


def test_a_disconnected_tenant_is_told_to_install_again(shop: Shop) -> None:
    id = shop.customer(tells=False)
    shop.world.disconnect()
    with pytest.raises(ConflictError, match="install the app again"):
        explain(shop.world.read(), id, shop.world.services, reveal=False)


def test_a_profile_may_be_named_by_its_email(shop: Shop) -> None:
    id, tenant = shop.customer(tells=False), shop.world.read()
    assert profile_id_of(tenant, EMAIL.upper(), shop.world.services) == id
    assert profile_id_of(tenant, id, shop.world.services) == id
    with pytest.raises(ProfileNotFoundError, match=r"^Omneo has no profile with this email address\.$"):
        profile_id_of(tenant, "canary-nobody@example.org", shop.world.services)
    shop.omneo.fail(1, status=503)
    with pytest.raises(WaitError):
        profile_id_of(tenant, EMAIL, shop.world.services)
