"""The sandbox's jobs that subscribe, unsubscribe, suppress and unsuppress, as an app sees them."""

from datetime import UTC, datetime
from typing import Any

import pytest
from openapi_client.models.get_bulk_profile_suppressions_create_job_response import (
    GetBulkProfileSuppressionsCreateJobResponse,
)
from openapi_client.models.post_bulk_profile_suppressions_create_job_response import (
    PostBulkProfileSuppressionsCreateJobResponse,
)
from openapi_client.models.post_bulk_profile_suppressions_remove_job_response import (
    PostBulkProfileSuppressionsRemoveJobResponse,
)
from openapi_client.models.subscription_create_job_create_query import SubscriptionCreateJobCreateQuery
from openapi_client.models.subscription_delete_job_create_query import SubscriptionDeleteJobCreateQuery
from openapi_client.models.suppression_create_job_create_query import SuppressionCreateJobCreateQuery

from deploy.local.sandbox import Sandbox
from deploy.local.sandbox.klaviyo.accounts import Profile
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

SUBSCRIBE = "/api/profile-subscription-bulk-create-jobs"
UNSUBSCRIBE = "/api/profile-subscription-bulk-delete-jobs"
SUPPRESS = "/api/profile-suppression-bulk-create-jobs"
UNSUPPRESS = "/api/profile-suppression-bulk-delete-jobs"
NEW = "canary-new@example.org"
FIRST = "/data/attributes/profiles/data/0"
LAST_YEAR = "2025-09-01T00:00:00+00:00"
SUBSCRIBED: dict[str, Any] = {"email": {"marketing": {"consent": "SUBSCRIBED"}}}
UNSUBSCRIBED: dict[str, Any] = {"email": {"marketing": {"consent": "UNSUBSCRIBED"}}}
HISTORY: dict[str, Any] = {"email": {"marketing": {"consent": "SUBSCRIBED", "consented_at": LAST_YEAR}}}


def a_row(subscriptions: Any = SUBSCRIBED, *, id: Any = ..., **attributes: Any) -> dict[str, Any]:
    named = {"email": JANE, "subscriptions": subscriptions, **attributes}
    kept = {name: value for name, value in named.items() if value is not ...}
    return {"type": "profile", "attributes": kept} | ({} if id is ... else {"id": id})


def a_job(*rows: Any, kind: str = SUBSCRIBE, list_id: str | None = None, **attributes: Any) -> dict[str, Any]:
    type = kind.removeprefix("/api/").removesuffix("s")
    data: dict[str, Any] = {"type": type, "attributes": {**attributes, "profiles": {"data": list(rows)}}}
    if list_id is not None:
        data["relationships"] = {"list": {"data": {"type": "list", "id": list_id}}}
    return {"data": data}


def subscribe(call: Caller, *rows: Any, **job: Any) -> None:
    body = a_job(*rows, **job)
    SubscriptionCreateJobCreateQuery.model_validate(body, extra="forbid", by_alias=True, by_name=False)
    answer = call("POST", SUBSCRIBE, body)
    assert (answer.status_code, answer.content) == (202, b"")


def unsubscribe(call: Caller, *rows: Any, list_id: str | None = None) -> None:
    body = a_job(*rows, kind=UNSUBSCRIBE, list_id=list_id)
    SubscriptionDeleteJobCreateQuery.model_validate(body, extra="forbid", by_alias=True, by_name=False)
    answer = call("POST", UNSUBSCRIBE, body)
    assert (answer.status_code, answer.content) == (202, b"")


def test_a_job_subscribes_as_a_person_does_and_leaves_its_mark(
    sandbox: Sandbox, call: Caller, jane: Profile
) -> None:
    sandbox.klaviyo.unsubscribe(ACCOUNT, jane.id)
    subscribe(call, a_row(), custom_source="omneo", historical_import=False)
    email = call.subscriptions(jane.id)["email"]["marketing"]
    assert (email["consent"], email["suppression"]) == ("SUBSCRIBED", [])
    assert (email["custom_method_detail"], email["method"], email["double_optin"]) == ("omneo", "API", False)
    assert recorded(sandbox)[1:] == ["subscribed_to_email_marketing"]


def test_only_the_channels_named_are_touched(sandbox: Sandbox, call: Caller, jane: Profile) -> None:
    sms = {
        "sms": {"marketing": {"consent": "SUBSCRIBED"}, "transactional": {"consent": "SUBSCRIBED"}},
        "email": None,
    }
    subscribe(call, a_row(sms, phone_number=JANES_PHONE), custom_source="omneo")
    shown = call.subscriptions(jane.id)
    assert email_state(shown) == ("NEVER_SUBSCRIBED", [])
    assert {consent["consent"] for consent in shown["sms"].values()} == {"SUBSCRIBED"}
    off = {"sms": {"marketing": {"consent": "UNSUBSCRIBED"}}}
    unsubscribe(call, a_row(off, email=..., phone_number=JANES_PHONE))
    shown = call.subscriptions(jane.id)
    assert [consent["consent"] for consent in shown["sms"].values()] == ["UNSUBSCRIBED", "SUBSCRIBED"]
    assert recorded(sandbox) == [
        "subscribed_to_sms_marketing",
        "subscribed_to_text_messaging_marketing",
        "unsubscribed_from_sms_marketing",
        "unsubscribed_from_text_messaging_marketing",
    ]


def test_a_new_address_becomes_a_profile_with_a_list_or_as_history_and_never_else(
    sandbox: Sandbox, call: Caller
) -> None:
    subscribe(call, a_row(email=NEW))
    assert sandbox.klaviyo.profiles(ACCOUNT) == []
    news = sandbox.klaviyo.marketing_list(ACCOUNT, "News")
    subscribe(call, a_row(email=NEW), list_id=news.id)
    (made,) = sandbox.klaviyo.profiles(ACCOUNT)
    assert (made.attributes["email"], list(made.memberships)) == (NEW, [news.id])
    subscribe(call, a_row(HISTORY, email="canary-other@example.org"), historical_import=True)
    assert [row.subscriptions.consents["email"].status for row in sandbox.klaviyo.profiles(ACCOUNT)] == [
        "SUBSCRIBED",
        "SUBSCRIBED",
    ]


def test_history_asks_nobody_and_tells_no_list(sandbox: Sandbox, call: Caller, jane: Profile) -> None:
    news = sandbox.klaviyo.marketing_list(ACCOUNT, "News", opt_in_process="double_opt_in")
    subscribe(call, a_row(HISTORY), list_id=news.id, historical_import=True, custom_source="omneo")
    email = call.subscriptions(jane.id)["email"]["marketing"]
    assert (email["consent"], email["consent_timestamp"]) == ("SUBSCRIBED", LAST_YEAR)
    assert email["last_updated"] > LAST_YEAR
    assert list(jane.memberships) == [news.id]
    assert recorded(sandbox) == ["subscribed_to_email_marketing"]


def test_a_double_opt_in_list_waits_for_the_person(sandbox: Sandbox, call: Caller, jane: Profile) -> None:
    news = sandbox.klaviyo.marketing_list(ACCOUNT, "News", opt_in_process="double_opt_in")
    subscribe(call, a_row(), list_id=news.id, custom_source="omneo")
    assert email_state(call.subscriptions(jane.id)) == ("NEVER_SUBSCRIBED", [])
    assert recorded(sandbox) == []
    sandbox.klaviyo.confirm(ACCOUNT, jane.id)
    email = call.subscriptions(jane.id)["email"]["marketing"]
    assert (email["consent"], email["custom_method_detail"], email["method"]) == (
        "SUBSCRIBED",
        "omneo",
        "API",
    )


def test_a_profile_is_named_by_its_id_too(sandbox: Sandbox, call: Caller, jane: Profile) -> None:
    subscribe(call, a_row(id=jane.id, email="canary-jane2@example.org"), a_row(id="01HXUNKNOWN", email=NEW))
    news = sandbox.klaviyo.marketing_list(ACCOUNT, "News")
    subscribe(call, a_row(id="01HXUNKNOWN", email=NEW), list_id=news.id)
    (known,) = sandbox.klaviyo.profiles(ACCOUNT)
    assert (known.id, known.attributes["email"]) == (jane.id, "canary-jane2@example.org")
    assert email_state(call.subscriptions(jane.id)) == ("SUBSCRIBED", [])


def test_unsubscribing_who_is_not_on_the_list_is_global(
    sandbox: Sandbox, call: Caller, jane: Profile
) -> None:
    news = sandbox.klaviyo.marketing_list(ACCOUNT, "News")
    subscribe(call, a_row(), list_id=news.id)
    unsubscribe(call, a_row(UNSUBSCRIBED), list_id=news.id)
    assert email_state(call.subscriptions(jane.id)) == ("SUBSCRIBED", [])
    assert jane.memberships == {}
    unsubscribe(call, a_row(UNSUBSCRIBED), a_row(UNSUBSCRIBED, email=NEW), list_id=news.id)
    assert email_state(call.subscriptions(jane.id)) == ("UNSUBSCRIBED", ["UNSUBSCRIBE"])
    assert recorded(sandbox)[2:] == ["unsubscribed_from_list", "unsubscribed_from_email_marketing"]
    assert len(sandbox.klaviyo.profiles(ACCOUNT)) == 1


def test_a_job_has_its_effect_when_it_is_due_and_at_that_time(
    sandbox: Sandbox, call: Caller, jane: Profile
) -> None:
    sandbox.klaviyo.consent.job_seconds = 60
    subscribe(call, a_row())
    unsubscribe(call, a_row(UNSUBSCRIBED))
    sandbox.advance(54)
    assert (sandbox.klaviyo.events(ACCOUNT), email_state(jane.subscriptions.to_json())[0]) == (
        [],
        "NEVER_SUBSCRIBED",
    )
    sandbox.advance(600)
    sandbox.klaviyo.run_jobs()
    assert email_state(jane.subscriptions.to_json()) == ("UNSUBSCRIBED", ["UNSUBSCRIBE"])
    assert [event.time - NOON for event in sandbox.klaviyo.events(ACCOUNT)] == [65, 70]


def wrong(**changes: Any) -> dict[str, Any]:
    """A consent to email with something else in it."""
    return {"email": {"marketing": {"consent": "SUBSCRIBED", **changes}}}


REFUSED: dict[str, tuple[Any, str]] = {
    "no document": ([], "/data"),
    "another type": ({"data": {**a_job(a_row())["data"], "type": "profile"}}, "/data/type"),
    "no attributes": ({"data": {"type": "profile-subscription-bulk-create-job"}}, "/data/attributes"),
    "an unknown field of the job": (a_job(a_row(), urgent=True), "/data/attributes/urgent"),
    "a source that is no text": (a_job(a_row(), custom_source=1), "/data/attributes/custom_source"),
    "history that is no boolean": (
        a_job(a_row(), historical_import="yes"),
        "/data/attributes/historical_import",
    ),
    "nobody": (a_job(), "/data/attributes/profiles/data"),
    "1,001 profiles": (a_job(*[a_row()] * 1001), "/data/attributes/profiles/data"),
    "no profile": (a_job({"type": "person"}), f"{FIRST}/type"),
    "an unknown field of a profile": (
        a_job({**a_row(), "meta": {}}),
        f"{FIRST}/meta",
    ),
    "an unknown attribute": (a_job(a_row(first_name="Jane")), f"{FIRST}/attributes/first_name"),
    "no subscriptions": (a_job(a_row(...)), f"{FIRST}/attributes/subscriptions"),
    "no channel": (a_job(a_row({"email": None})), f"{FIRST}/attributes/subscriptions"),
    "an unknown channel": (
        a_job(a_row({**SUBSCRIBED, "fax": {}})),
        f"{FIRST}/attributes/subscriptions/fax",
    ),
    "an unknown kind": (
        a_job(a_row({"email": {"spam": {}, **SUBSCRIBED["email"]}})),
        f"{FIRST}/attributes/subscriptions/email/spam",
    ),
    "an empty channel": (a_job(a_row({"email": {}})), f"{FIRST}/attributes/subscriptions/email"),
    "unsubscribing": (
        a_job(a_row(wrong(consent="UNSUBSCRIBED"))),
        f"{FIRST}/attributes/subscriptions/email/marketing/consent",
    ),
    "an unknown field of the consent": (
        a_job(a_row(wrong(why="fun"))),
        f"{FIRST}/attributes/subscriptions/email/marketing/why",
    ),
    "a time without history": (
        a_job(a_row(HISTORY)),
        f"{FIRST}/attributes/subscriptions/email/marketing/consented_at",
    ),
    "history without a time": (
        a_job(a_row(), historical_import=True),
        f"{FIRST}/attributes/subscriptions/email/marketing/consented_at",
    ),
    "history in the future": (
        a_job(a_row(wrong(consented_at="2027-01-01T00:00:00Z")), historical_import=True),
        f"{FIRST}/attributes/subscriptions/email/marketing/consented_at",
    ),
    "a time that is none": (
        a_job(a_row(wrong(consented_at="2025-09-01")), historical_import=True),
        f"{FIRST}/attributes/subscriptions/email/marketing/consented_at",
    ),
    "no address for email": (
        a_job(a_row(email=..., phone_number=JANES_PHONE)),
        f"{FIRST}/attributes/email",
    ),
    "no number for text messages": (
        a_job(a_row({"sms": {"marketing": {"consent": "SUBSCRIBED"}}})),
        f"{FIRST}/attributes/phone_number",
    ),
    "a wrong address": (a_job(a_row(email="jane")), f"{FIRST}/attributes/email"),
    "a wrong number": (a_job(a_row(phone_number="0412")), f"{FIRST}/attributes/phone_number"),
    "a list of another type": (
        {
            "data": {
                **a_job(a_row())["data"],
                "relationships": {"list": {"data": {"type": "segment", "id": "x"}}},
            }
        },
        "/data/relationships/list",
    ),
    "another relationship": (
        {"data": {**a_job(a_row())["data"], "relationships": {"segment": {}}}},
        "/data/relationships/segment",
    ),
}


@pytest.mark.parametrize(("body", "pointer"), REFUSED.values(), ids=REFUSED)
def test_a_subscribe_job_that_klaviyo_would_refuse_subscribes_nobody(
    sandbox: Sandbox, call: Caller, jane: Profile, body: Any, pointer: str
) -> None:
    answer = call("POST", SUBSCRIBE, body)
    assert (answer.status_code, problems_of(answer)) == (400, [pointer])
    assert email_state(jane.subscriptions.to_json()) == ("NEVER_SUBSCRIBED", [])


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (a_job(a_row(UNSUBSCRIBED, id="01HX"), kind=UNSUBSCRIBE), f"{FIRST}/id"),
        (
            a_job(a_row(UNSUBSCRIBED), kind=UNSUBSCRIBE, custom_source="omneo"),
            "/data/attributes/custom_source",
        ),
        (
            a_job(a_row(UNSUBSCRIBED), kind=UNSUBSCRIBE, historical_import=True),
            "/data/attributes/historical_import",
        ),
        (a_job(*[a_row(UNSUBSCRIBED)] * 101, kind=UNSUBSCRIBE), "/data/attributes/profiles/data"),
        (
            a_job(a_row(), kind=UNSUBSCRIBE),
            f"{FIRST}/attributes/subscriptions/email/marketing/consent",
        ),
        (a_job(a_row(UNSUBSCRIBED, email=...), kind=UNSUBSCRIBE), f"{FIRST}/attributes/email"),
    ],
    ids=["an id", "a source", "history", "101 profiles", "subscribing", "no address"],
)
def test_an_unsubscribe_job_that_klaviyo_would_refuse_unsubscribes_nobody(
    sandbox: Sandbox, call: Caller, jane: Profile, body: Any, pointer: str
) -> None:
    sandbox.klaviyo.subscribe(ACCOUNT, jane.id)
    answer = call("POST", UNSUBSCRIBE, body)
    assert (answer.status_code, problems_of(answer)) == (400, [pointer])
    assert email_state(jane.subscriptions.to_json()) == ("SUBSCRIBED", [])


def test_the_largest_jobs_are_taken_and_an_unknown_list_is_404(call: Caller, jane: Profile) -> None:
    subscribe(call, *[a_row()] * 1000)
    unsubscribe(call, *[a_row(UNSUBSCRIBED)] * 100)
    assert call("POST", SUBSCRIBE, a_job(a_row(), list_id="nolist")).status_code == 404
    assert (
        call("POST", UNSUBSCRIBE, a_job(a_row(UNSUBSCRIBED), kind=UNSUBSCRIBE, list_id="x")).status_code
        == 404
    )
    assert email_state(jane.subscriptions.to_json()) == ("UNSUBSCRIBED", ["UNSUBSCRIBE"])


@pytest.mark.parametrize("channel", ["whatsapp", "push"])
def test_what_klaviyo_knows_and_the_sandbox_does_not_is_501(
    call: Caller, jane: Profile, channel: str
) -> None:
    row = a_row({**SUBSCRIBED, channel: {"marketing": {"consent": "SUBSCRIBED"}}})
    assert call("POST", SUBSCRIBE, a_job(row)).status_code == 501
    assert email_state(jane.subscriptions.to_json()) == ("NEVER_SUBSCRIBED", [])


def a_suppression(*emails: Any, kind: str = SUPPRESS, list_id: str | None = None) -> dict[str, Any]:
    rows = [{"type": "profile", "attributes": {"email": email}} for email in emails]
    body = a_job(*rows, kind=kind, list_id=list_id)
    if not emails:
        body["data"]["attributes"] = {}
    return body


def test_addresses_are_suppressed_and_the_job_counts_them(
    sandbox: Sandbox, call: Caller, jane: Profile
) -> None:
    sandbox.klaviyo.consent.job_seconds = 60
    body = a_suppression(JANE, NEW)
    SuppressionCreateJobCreateQuery.model_validate(body, extra="forbid", by_alias=True, by_name=False)
    started = call("POST", SUPPRESS, body)
    PostBulkProfileSuppressionsCreateJobResponse.model_validate(started.json())
    job = started.json()["data"]
    assert (started.status_code, job["attributes"]["status"]) == (202, "processing")
    assert {job["attributes"][name] for name in ("total_count", "completed_count", "skipped_count")} == {0}
    assert email_state(call.subscriptions(jane.id)) == ("NEVER_SUBSCRIBED", [])
    sandbox.advance(60)
    done = call("GET", f"{SUPPRESS}/{job['id']}").json()
    GetBulkProfileSuppressionsCreateJobResponse.model_validate(done)
    counts = ("status", "total_count", "completed_count", "skipped_count")
    assert [done["data"]["attributes"][name] for name in counts] == ["complete", 2, 1, 1]
    due = datetime.fromtimestamp(NOON + 65, UTC).isoformat()
    assert done["data"]["attributes"]["completed_at"] == due
    assert email_state(call.subscriptions(jane.id)) == ("NEVER_SUBSCRIBED", ["USER_SUPPRESSED"])
    assert recorded(sandbox) == ["manually_suppressed_from_email_marketing"]
    assert call("GET", f"{UNSUPPRESS}/{job['id']}").status_code == 404


def test_a_list_is_unsuppressed_but_for_other_reasons(sandbox: Sandbox, call: Caller, jane: Profile) -> None:
    klaviyo = sandbox.klaviyo
    news = klaviyo.marketing_list(ACCOUNT, "News")
    other, outside = klaviyo.profile(ACCOUNT, email=NEW), klaviyo.profile(ACCOUNT, external_id="omneo-1")
    klaviyo.suppress(ACCOUNT, outside.id)
    for profile in (jane, other):
        klaviyo.subscribe(ACCOUNT, profile.id, list_id=news.id)
    klaviyo.suppress(ACCOUNT, jane.id)
    klaviyo.bounce(ACCOUNT, jane.id, hard=True)
    started = call("POST", UNSUPPRESS, a_suppression(kind=UNSUPPRESS, list_id=news.id))
    PostBulkProfileSuppressionsRemoveJobResponse.model_validate(started.json())
    done = call("GET", f"{UNSUPPRESS}/{started.json()['data']['id']}").json()["data"]["attributes"]
    assert (done["total_count"], done["completed_count"], done["skipped_count"]) == (2, 1, 1)
    assert email_state(call.subscriptions(jane.id)) == ("SUBSCRIBED", ["HARD_BOUNCE"])
    assert email_state(call.subscriptions(outside.id)) == ("NEVER_SUBSCRIBED", ["USER_SUPPRESSED"])
    assert recorded(sandbox)[-1] == "manually_unsuppressed_from_email_marketing"


def mixed() -> dict[str, Any]:
    return a_suppression(JANE, list_id="nEwSxx")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ([], "/data"),
        (a_suppression(JANE, kind=UNSUPPRESS), "/data/type"),
        (a_suppression(), "/data"),
        (mixed(), "/data"),
        (a_suppression(*[JANE] * 101), "/data/attributes/profiles/data"),
        (a_suppression(None), f"{FIRST}/attributes/email"),
        (a_suppression("jane"), f"{FIRST}/attributes/email"),
        (a_job(a_row(), kind=SUPPRESS), f"{FIRST}/attributes/subscriptions"),
        (a_job(kind=SUPPRESS), "/data/attributes/profiles/data"),
    ],
)
def test_a_suppression_that_klaviyo_would_refuse_suppresses_nobody(
    call: Caller, jane: Profile, body: Any, pointer: str
) -> None:
    answer = call("POST", SUPPRESS, body)
    assert (answer.status_code, problems_of(answer)) == (400, [pointer])
    assert email_state(jane.subscriptions.to_json()) == ("NEVER_SUBSCRIBED", [])


def test_an_unknown_list_or_segment_or_job_is_404(call: Caller) -> None:
    assert call("POST", SUPPRESS, a_suppression(list_id="nolist")).status_code == 404
    segment = {
        "data": {
            **a_suppression()["data"],
            "relationships": {"segment": {"data": {"type": "segment", "id": "s"}}},
        }
    }
    assert call("POST", SUPPRESS, segment).status_code == 404
    assert call("GET", f"{SUPPRESS}/01HXUNKNOWN").status_code == 404
