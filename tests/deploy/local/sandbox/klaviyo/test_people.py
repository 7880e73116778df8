"""What people do in the sandbox's Klaviyo: the consent it leaves, and the events that are recorded of it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from openapi_client.models.subscriptions import Subscriptions

from deploy.local.sandbox import Sandbox
from deploy.local.sandbox.klaviyo.accounts import Profile
from deploy.local.sandbox.klaviyo.service import Klaviyo
from tests.deploy.local.sandbox.klaviyo.calls import (
    ACCOUNT,
    JANE,
    JANES_PHONE,
    Caller,
    email_state,
    problems_of,
    recorded,
)
from tests.deploy.local.sandbox.times import NOON

Act = Callable[[Klaviyo, str], None]
SMS_ON = ["subscribed_to_sms_marketing", "subscribed_to_text_messaging_marketing"]
SMS_OFF = ["unsubscribed_from_sms_marketing", "unsubscribed_from_text_messaging_marketing"]


def test_a_new_profile_has_consented_to_nothing(call: Caller, jane: Profile) -> None:
    shown = call.subscriptions(jane.id)
    Subscriptions.model_validate(shown, extra="forbid", by_alias=True, by_name=False)
    email = shown["email"]["marketing"]
    assert (email["consent"], email["can_receive_email_marketing"]) == ("NEVER_SUBSCRIBED", True)
    assert (email["suppression"], email["list_suppressions"]) == ([], [])
    empty = ("consent_timestamp", "last_updated", "method", "custom_method_detail", "double_optin")
    assert {email[name] for name in empty} == {None}
    assert shown["sms"]["marketing"]["can_receive_sms_marketing"] is False
    assert shown["sms"]["transactional"]["can_receive_sms_transactional"] is False
    assert shown["mobile_push"]["marketing"]["can_receive_push_marketing"] is False


def test_who_subscribes_is_subscribed_with_time_and_method(
    sandbox: Sandbox, call: Caller, jane: Profile
) -> None:
    sandbox.klaviyo.subscribe(ACCOUNT, jane.id, custom_source="omneo", at=NOON - 60)
    shown = call.subscriptions(jane.id)
    Subscriptions.model_validate(shown, extra="forbid", by_alias=True, by_name=False)
    email = shown["email"]["marketing"]
    since = datetime.fromtimestamp(NOON - 60, UTC).isoformat()
    assert (email["consent"], email["consent_timestamp"], email["last_updated"]) == (
        "SUBSCRIBED",
        since,
        since,
    )
    assert (email["method"], email["custom_method_detail"]) == ("PREFERENCE_PAGE", "omneo")
    assert email["double_optin"] is False
    (event,) = sandbox.klaviyo.events(ACCOUNT)
    assert (event.topic, event.metric, event.profile_id) == (
        "event:klaviyo.subscribed_to_email_marketing",
        "Subscribed to Email Marketing",
        jane.id,
    )
    assert (event.time, event.properties) == (NOON - 60, {})


def test_who_subscribes_by_hand_after_an_app_leaves_no_mark_of_the_app(
    sandbox: Sandbox, call: Caller, jane: Profile
) -> None:
    sandbox.klaviyo.subscribe(ACCOUNT, jane.id, custom_source="omneo")
    sandbox.klaviyo.unsubscribe(ACCOUNT, jane.id)
    assert call.subscriptions(jane.id)["email"]["marketing"]["custom_method_detail"] == "omneo"
    sandbox.klaviyo.subscribe(ACCOUNT, jane.id)
    assert call.subscriptions(jane.id)["email"]["marketing"]["custom_method_detail"] is None


def test_unsubscribing_suppresses_and_subscribing_lifts_it(
    sandbox: Sandbox, call: Caller, jane: Profile
) -> None:
    sandbox.klaviyo.unsubscribe(ACCOUNT, jane.id)
    shown = call.subscriptions(jane.id)
    assert email_state(shown) == ("UNSUBSCRIBED", ["UNSUBSCRIBE"])
    assert shown["email"]["marketing"]["can_receive_email_marketing"] is False
    sandbox.klaviyo.subscribe(ACCOUNT, jane.id)
    assert email_state(call.subscriptions(jane.id)) == ("SUBSCRIBED", [])
    assert recorded(sandbox) == ["unsubscribed_from_email_marketing", "subscribed_to_email_marketing"]


ACTS: dict[str, tuple[Act, list[str], str, list[str]]] = {
    "a hard bounce": (
        lambda k, id: k.bounce(ACCOUNT, id, hard=True),
        ["bounced_email"],
        "Bounced Email",
        ["HARD_BOUNCE"],
    ),
    "a soft bounce": (
        lambda k, id: k.bounce(ACCOUNT, id, hard=False),
        ["bounced_email"],
        "Bounced Email",
        [],
    ),
    "a dropped email": (lambda k, id: k.drop_email(ACCOUNT, id), ["dropped_email"], "Dropped Email", []),
    "spam": (
        lambda k, id: k.mark_as_spam(ACCOUNT, id),
        ["marked_email_as_spam"],
        "Marked Email as Spam",
        ["SPAM_COMPLAINT"],
    ),
    "a suppression by hand": (
        lambda k, id: k.suppress(ACCOUNT, id),
        ["manually_suppressed_from_email_marketing"],
        "Manually Suppressed from Email Marketing",
        ["USER_SUPPRESSED"],
    ),
    "preferences": (
        lambda k, id: k.update_email_preferences(ACCOUNT, id),
        ["updated_email_preferences"],
        "Updated Email Preferences",
        [],
    ),
    "a failed text message": (
        lambda k, id: k.fail_sms(ACCOUNT, id),
        ["failed_to_deliver_sms", "failed_to_deliver_text_message"],
        "Failed to Deliver SMS",
        [],
    ),
}


@pytest.mark.parametrize(("act", "topics", "metric", "reasons"), ACTS.values(), ids=ACTS)
def test_what_happens_to_an_address_suppresses_it_or_not_and_leaves_the_consent(
    sandbox: Sandbox,
    call: Caller,
    jane: Profile,
    act: Act,
    topics: list[str],
    metric: str,
    reasons: list[str],
) -> None:
    sandbox.klaviyo.subscribe(ACCOUNT, jane.id)
    act(sandbox.klaviyo, jane.id)
    assert email_state(call.subscriptions(jane.id)) == ("SUBSCRIBED", reasons)
    assert recorded(sandbox) == ["subscribed_to_email_marketing", *topics]
    assert sandbox.klaviyo.events(ACCOUNT)[1].metric == metric


@pytest.mark.parametrize(
    ("act", "lifted"), [("a hard bounce", False), ("spam", True), ("a suppression by hand", True)]
)
def test_subscribing_lifts_every_suppression_but_a_bounce(
    sandbox: Sandbox, call: Caller, jane: Profile, act: str, lifted: bool
) -> None:
    ACTS[act][0](sandbox.klaviyo, jane.id)
    sandbox.klaviyo.subscribe(ACCOUNT, jane.id)
    assert email_state(call.subscriptions(jane.id)) == ("SUBSCRIBED", [] if lifted else ACTS[act][3])


def test_taking_back_a_suppression_takes_back_no_other_reason(
    sandbox: Sandbox, call: Caller, jane: Profile
) -> None:
    klaviyo = sandbox.klaviyo
    klaviyo.bounce(ACCOUNT, jane.id, hard=True)
    klaviyo.unsubscribe(ACCOUNT, jane.id)
    klaviyo.mark_as_spam(ACCOUNT, jane.id)
    klaviyo.unsuppress(ACCOUNT, jane.id)
    assert "manually_unsuppressed_from_email_marketing" not in recorded(sandbox)
    klaviyo.suppress(ACCOUNT, jane.id)
    klaviyo.suppress(ACCOUNT, jane.id)
    klaviyo.unsuppress(ACCOUNT, jane.id)
    reasons = ["HARD_BOUNCE", "UNSUBSCRIBE", "SPAM_COMPLAINT"]
    assert email_state(call.subscriptions(jane.id)) == ("UNSUBSCRIBED", reasons)
    by_hand = ["manually_suppressed_from_email_marketing", "manually_unsuppressed_from_email_marketing"]
    assert recorded(sandbox)[-2:] == by_hand


@pytest.mark.parametrize(
    ("channel", "at", "on", "off"),
    [
        ("sms", ("sms", "marketing"), SMS_ON, SMS_OFF),
        (
            "sms_transactional",
            ("sms", "transactional"),
            [],
            ["unsubscribed_from_text_messaging_transactional"],
        ),
        ("push", ("mobile_push", "marketing"), [], []),
    ],
)
def test_every_other_channel_has_a_consent_of_its_own(
    sandbox: Sandbox,
    call: Caller,
    jane: Profile,
    channel: str,
    at: tuple[str, str],
    on: list[str],
    off: list[str],
) -> None:
    sandbox.klaviyo.subscribe(ACCOUNT, jane.id, channel=channel, custom_source="omneo")
    shown = call.subscriptions(jane.id)
    Subscriptions.model_validate(shown, extra="forbid", by_alias=True, by_name=False)
    consent = shown[at[0]][at[1]]
    assert consent["consent"] == "SUBSCRIBED"
    assert "custom_method_detail" not in consent
    assert email_state(shown) == ("NEVER_SUBSCRIBED", [])
    sandbox.klaviyo.unsubscribe(ACCOUNT, jane.id, channel=channel)
    shown = call.subscriptions(jane.id)
    assert (shown[at[0]][at[1]]["consent"], email_state(shown)) == ("UNSUBSCRIBED", ("NEVER_SUBSCRIBED", []))
    assert recorded(sandbox) == [*on, *off]


def test_of_twin_topics_only_the_offered_one_is_recorded(sandbox: Sandbox, jane: Profile) -> None:
    sandbox.klaviyo.account(ACCOUNT, topics=["event:klaviyo.subscribed_to_sms_marketing"])
    sandbox.klaviyo.subscribe(ACCOUNT, jane.id, channel="sms")
    sandbox.klaviyo.unsubscribe(ACCOUNT, jane.id, channel="sms")
    assert recorded(sandbox) == ["subscribed_to_sms_marketing"]


def test_events_say_what_the_switches_let_them_say(sandbox: Sandbox, jane: Profile) -> None:
    klaviyo = sandbox.klaviyo
    klaviyo.bounce(ACCOUNT, jane.id, hard=True)
    klaviyo.bounce(ACCOUNT, jane.id, hard=False)
    klaviyo.consent.bounce_types = False
    klaviyo.bounce(ACCOUNT, jane.id, hard=True)
    klaviyo.consent.custom_source_in_events = True
    klaviyo.subscribe(ACCOUNT, jane.id, custom_source="omneo")
    assert [dict(event.properties) for event in klaviyo.events(ACCOUNT)] == [
        {"Bounce Type": "Hard"},
        {"Bounce Type": "Soft"},
        {},
        {"custom_method_detail": "omneo"},
    ]


@pytest.mark.parametrize(("repeats", "times"), [(False, 1), (True, 2)])
def test_a_consent_that_changes_nothing_is_recorded_by_a_switch(
    sandbox: Sandbox, jane: Profile, repeats: bool, times: int
) -> None:
    sandbox.klaviyo.consent.repeats_consent_events = repeats
    for _ in range(2):
        sandbox.klaviyo.subscribe(ACCOUNT, jane.id)
    for _ in range(2):
        sandbox.klaviyo.unsubscribe(ACCOUNT, jane.id)
    assert recorded(sandbox) == [
        *["subscribed_to_email_marketing"] * times,
        *["unsubscribed_from_email_marketing"] * times,
    ]


def test_double_opt_in_waits_for_the_confirmation(sandbox: Sandbox, call: Caller, jane: Profile) -> None:
    klaviyo = sandbox.klaviyo
    news = klaviyo.marketing_list(ACCOUNT, "News", opt_in_process="double_opt_in")
    klaviyo.subscribe(ACCOUNT, jane.id, list_id=news.id, custom_source="omneo")
    klaviyo.subscribe(ACCOUNT, jane.id, list_id=news.id, custom_source="omneo")
    assert email_state(call.subscriptions(jane.id)) == ("NEVER_SUBSCRIBED", [])
    assert (recorded(sandbox), jane.memberships) == ([], {})
    klaviyo.confirm(ACCOUNT, jane.id)
    email = call.subscriptions(jane.id)["email"]["marketing"]
    assert (email["consent"], email["double_optin"], email["custom_method_detail"]) == (
        "SUBSCRIBED",
        True,
        "omneo",
    )
    assert list(jane.memberships) == [news.id]
    assert recorded(sandbox) == ["subscribed_to_email_marketing", "subscribed_to_list"]
    with pytest.raises(KeyError):
        klaviyo.confirm(ACCOUNT, jane.id)


def test_the_account_decides_on_double_opt_in_when_no_list_does(
    sandbox: Sandbox, call: Caller, jane: Profile
) -> None:
    klaviyo = sandbox.klaviyo
    klaviyo.account(ACCOUNT, default_opt_in="double_opt_in")
    single = klaviyo.marketing_list(ACCOUNT, "News")
    klaviyo.subscribe(ACCOUNT, jane.id, channel="sms")
    klaviyo.subscribe(ACCOUNT, jane.id)
    assert recorded(sandbox) == []
    klaviyo.confirm(ACCOUNT, jane.id, channel="sms")
    assert recorded(sandbox) == SMS_ON
    assert email_state(call.subscriptions(jane.id)) == ("NEVER_SUBSCRIBED", [])
    klaviyo.confirm(ACCOUNT, jane.id)
    assert email_state(call.subscriptions(jane.id)) == ("SUBSCRIBED", [])
    other = klaviyo.profile(ACCOUNT, email="canary-other@example.org")
    klaviyo.subscribe(ACCOUNT, other.id, list_id=single.id)
    assert email_state(call.subscriptions(other.id)) == ("SUBSCRIBED", [])


def test_leaving_a_list_leaves_the_consent_and_leaving_another_one_ends_it(
    sandbox: Sandbox, call: Caller, jane: Profile
) -> None:
    klaviyo = sandbox.klaviyo
    news, sales = klaviyo.marketing_list(ACCOUNT, "News"), klaviyo.marketing_list(ACCOUNT, "Sales")
    klaviyo.subscribe(ACCOUNT, jane.id, list_id=news.id)
    klaviyo.unsubscribe(ACCOUNT, jane.id, list_id=news.id)
    shown = call.subscriptions(jane.id)
    (suppression,) = shown["email"]["marketing"]["list_suppressions"]
    assert email_state(shown) == ("SUBSCRIBED", [])
    assert (suppression["list_id"], suppression["reason"]) == (news.id, "UNSUBSCRIBE")
    assert shown["email"]["marketing"]["can_receive_email_marketing"] is True
    klaviyo.unsubscribe(ACCOUNT, jane.id, list_id=sales.id)
    assert email_state(call.subscriptions(jane.id)) == ("UNSUBSCRIBED", ["UNSUBSCRIBE"])
    assert recorded(sandbox)[2:] == ["unsubscribed_from_list", "unsubscribed_from_email_marketing"]
    assert dict(klaviyo.events(ACCOUNT)[2].properties) == {"List": "News"}
    klaviyo.subscribe(ACCOUNT, jane.id, list_id=sales.id)
    (left,) = call.subscriptions(jane.id)["email"]["marketing"]["list_suppressions"]
    assert left["list_id"] == news.id
    klaviyo.subscribe(ACCOUNT, jane.id, list_id=news.id)
    assert call.subscriptions(jane.id)["email"]["marketing"]["list_suppressions"] == []


@given(acts=st.lists(st.sampled_from(["subscribe", "unsubscribe", "hard", "spam", "suppress", "unsuppress"])))
def test_after_any_acts_a_bounce_stays_and_no_reason_is_listed_twice(acts: list[str]) -> None:
    sandbox = Sandbox(clock=lambda: NOON, seed=1)
    klaviyo = sandbox.klaviyo
    jane = klaviyo.profile(ACCOUNT, email=JANE)
    for act in acts:
        {
            "subscribe": lambda: klaviyo.subscribe(ACCOUNT, jane.id),
            "unsubscribe": lambda: klaviyo.unsubscribe(ACCOUNT, jane.id),
            "hard": lambda: klaviyo.bounce(ACCOUNT, jane.id, hard=True),
            "spam": lambda: klaviyo.mark_as_spam(ACCOUNT, jane.id),
            "suppress": lambda: klaviyo.suppress(ACCOUNT, jane.id),
            "unsuppress": lambda: klaviyo.unsuppress(ACCOUNT, jane.id),
        }[act]()
    consent, reasons = email_state(jane.subscriptions.to_json())
    consents = [act for act in acts if act.endswith("subscribe")]
    last = {"subscribe": "SUBSCRIBED", "unsubscribe": "UNSUBSCRIBED"}
    assert consent == (last[consents[-1]] if consents else "NEVER_SUBSCRIBED")
    assert ("HARD_BOUNCE" in reasons) == ("hard" in acts)
    assert ("UNSUBSCRIBE" in reasons) == (consent == "UNSUBSCRIBED")
    assert len(set(reasons)) == len(reasons)


def test_a_merged_profile_is_found_under_both_ids_for_a_while(
    sandbox: Sandbox, call: Caller, jane: Profile
) -> None:
    klaviyo = sandbox.klaviyo
    other = klaviyo.profile(ACCOUNT, email="canary-old@example.org", external_id="omneo-1", first_name="J")
    news = klaviyo.marketing_list(ACCOUNT, "News")
    klaviyo.subscribe(ACCOUNT, jane.id, at=NOON)
    klaviyo.subscribe(ACCOUNT, other.id, list_id=news.id, at=NOON + 1)
    klaviyo.unsubscribe(ACCOUNT, other.id, at=NOON + 2)
    klaviyo.merge_profiles(ACCOUNT, other.id, jane.id)
    shown = call("GET", f"/api/profiles/{other.id}").json()["data"]
    assert shown["id"] == jane.id
    attributes = shown["attributes"]
    assert (attributes["email"], attributes["external_id"], attributes["first_name"]) == (
        JANE,
        "omneo-1",
        "J",
    )
    assert email_state(call.subscriptions(jane.id)) == ("UNSUBSCRIBED", ["UNSUBSCRIBE"])
    assert list(jane.memberships) == [news.id]
    assert {event.profile_id for event in klaviyo.events(ACCOUNT)} == {jane.id}
    assert recorded(sandbox) == [
        "subscribed_to_email_marketing",
        "subscribed_to_email_marketing",
        "subscribed_to_list",
        "unsubscribed_from_email_marketing",
        "merged_profile",
    ]
    sandbox.advance(klaviyo.consent.merged_seconds)
    assert call("GET", f"/api/profiles/{other.id}").status_code == 404
    assert call("GET", f"/api/profiles/{jane.id}").status_code == 200
    with pytest.raises(ValueError, match="one profile"):
        klaviyo.merge_profiles(ACCOUNT, jane.id, jane.id)


def test_a_deleted_profile_leaves_nothing_and_its_address_is_free(
    sandbox: Sandbox, call: Caller, jane: Profile
) -> None:
    sandbox.klaviyo.account(ACCOUNT, default_opt_in="double_opt_in")
    sandbox.klaviyo.bounce(ACCOUNT, jane.id, hard=True)
    sandbox.klaviyo.subscribe(ACCOUNT, jane.id)
    sandbox.klaviyo.delete_profile(ACCOUNT, jane.id)
    assert call("GET", f"/api/profiles/{jane.id}").status_code == 404
    assert sandbox.klaviyo.events(ACCOUNT) == []
    assert sandbox.klaviyo.profile(ACCOUNT, email=JANE).id != jane.id
    sandbox.klaviyo.profile(ACCOUNT, id=jane.id, external_id="omneo-1")
    with pytest.raises(KeyError, match="confirm"):
        sandbox.klaviyo.confirm(ACCOUNT, jane.id)


def test_an_unknown_profile_channel_or_address_is_said(sandbox: Sandbox) -> None:
    klaviyo = sandbox.klaviyo
    nobody = klaviyo.profile(ACCOUNT, external_id="omneo-1")
    with pytest.raises(KeyError):
        klaviyo.subscribe(ACCOUNT, "01HXUNKNOWN")
    with pytest.raises(ValueError, match="email"):
        klaviyo.subscribe(ACCOUNT, nobody.id)
    with pytest.raises(ValueError, match="channel"):
        klaviyo.unsubscribe(ACCOUNT, nobody.id, channel="fax")
    with pytest.raises(KeyError):
        klaviyo.unsubscribe(ACCOUNT, nobody.id, list_id="nolist")
    with pytest.raises(ValueError, match="opt_in"):
        klaviyo.marketing_list(ACCOUNT, "News", opt_in_process="triple")
    assert klaviyo.events(ACCOUNT) == []


def control(sandbox: Sandbox, path: str, **body: Any) -> requests.Response:
    return requests.post(f"{sandbox.klaviyo.url}/_sandbox/{path}", json=body, timeout=60)


def test_another_process_can_do_all_of_it(sandbox: Sandbox) -> None:
    lists = [{"account": ACCOUNT, "name": "News", "id": "nEwSxx", "opt_in_process": "double_opt_in"}]
    profiles = [
        {"account": ACCOUNT, "id": "01JANE", "email": JANE, "phone_number": JANES_PHONE},
        {"account": ACCOUNT, "id": "01OLD", "external_id": "omneo-1"},
    ]
    assert control(sandbox, "seed", lists=lists, profiles=profiles).status_code == 200
    assert control(sandbox, "switches", bounce_types=False, job_seconds=3).status_code == 200
    jane = {"account": ACCOUNT, "profile": "01JANE"}
    acts: list[tuple[str, dict[str, Any]]] = [
        ("subscribe", {**jane, "list_id": "nEwSxx"}),
        ("confirm", jane),
        ("unsubscribe", {**jane, "at": NOON + 5}),
        ("bounce", {**jane, "hard": True}),
        ("drop-email", jane),
        ("mark-as-spam", jane),
        ("suppress", jane),
        ("unsuppress", jane),
        ("update-email-preferences", {**jane, "properties": {"colour": "red"}}),
        ("fail-sms", jane),
        ("merge-profiles", {"account": ACCOUNT, "source": "01OLD", "destination": "01JANE"}),
    ]
    assert [control(sandbox, path, **body).status_code for path, body in acts] == [200] * len(acts)
    url = f"{sandbox.klaviyo.url}/_sandbox"
    (shown,) = requests.get(f"{url}/profiles?account={ACCOUNT}", timeout=60).json()["profiles"]
    assert email_state(shown["subscriptions"]) == (
        "UNSUBSCRIBED",
        ["UNSUBSCRIBE", "HARD_BOUNCE", "SPAM_COMPLAINT"],
    )
    assert (shown["memberships"], shown["properties"]) == ({"nEwSxx": NOON}, {"colour": "red"})
    events = requests.get(f"{url}/events?account={ACCOUNT}", timeout=60).json()["events"]
    assert len(events) == 12
    assert events[3]["properties"] == {}
    assert sandbox.klaviyo.consent.job_seconds == 3
    assert control(sandbox, "delete-profile", **jane).status_code == 200
    assert requests.get(f"{url}/profiles?account={ACCOUNT}", timeout=60).json() == {"profiles": []}
    assert control(sandbox, "subscribe", **jane).status_code == 400
    assert control(sandbox, "switches", colour="red").status_code == 400


def test_an_additional_field_that_there_is_not_is_refused(call: Caller, jane: Profile) -> None:
    answer = call("GET", f"/api/profiles/{jane.id}?additional-fields[profile]=subscriptions,shoes")
    assert (answer.status_code, problems_of(answer)) == (400, ["additional-fields[profile]"])


def test_profiles_and_events_are_read_from_outside_by_what_is_searched_for(sandbox: Sandbox) -> None:
    people = [
        sandbox.klaviyo.profile(ACCOUNT, email=f"canary-{number}@example.com", first_name=f"Jim {number}")
        for number in range(3)
    ]
    for person in people:
        sandbox.klaviyo.drop_email(ACCOUNT, person.id)

    def read(path: str, query: str) -> list[dict[str, Any]]:
        url = f"{sandbox.klaviyo.url}/_sandbox/{path}?account={ACCOUNT}{query}"
        rows: list[dict[str, Any]] = requests.get(url, timeout=60).json()[path]
        return rows

    ids = [person.id for person in people]
    assert [row["id"] for row in read("profiles", "&search=JIM%201")] == ids[1:2]
    assert [row["id"] for row in read("profiles", "&search=canary-&limit=2")][-2:] == ids[1:]
    assert [row["profile_id"] for row in read("events", f"&profile={ids[0]}")] == ids[:1]
    assert [row["profile_id"] for row in read("events", "&limit=1")] == ids[2:]
    assert read("events", "&unique_id=canary") == []
