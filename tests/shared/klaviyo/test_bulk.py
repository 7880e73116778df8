"""Calls about many profiles, or of many events, at once: as they stand on the wire, Klaviyo's own models as the referee, and odd answers."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import responses
from openapi_client.models.events_bulk_create_job import EventsBulkCreateJob
from openapi_client.models.profile_import_job_create_query import ProfileImportJobCreateQuery
from openapi_client.models.subscription_create_job_create_query import SubscriptionCreateJobCreateQuery
from openapi_client.models.subscription_delete_job_create_query import SubscriptionDeleteJobCreateQuery
from pydantic import SecretStr

from deploy.local.sandbox import Sandbox
from shared.consent_events import Consent
from shared.errors import NotFoundError, RefusedError, WaitError
from shared.http.client import HttpClient
from shared.http.connections import Connections
from shared.klaviyo.bulk import ImportJob, RefusedRow, Subscriber
from shared.klaviyo.client import FixedToken, KlaviyoClient, read_problem
from tests.support.world import ACCOUNT, EMAIL, Clock

URL = "http://klaviyo.invalid"
IMPORTS = "/api/profile-bulk-import-jobs"
PHONE = "+61412345678"
THEN = datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC)
STRICT: Any = {"extra": "forbid", "by_alias": True, "by_name": False}
BOTH = Subscriber(EMAIL, PHONE, {Consent.EMAIL: THEN, Consent.SMS: THEN, Consent.SMS_TRANSACTIONAL: THEN})
ROW = {
    "type": "profile",
    "id": "01KNOWN",
    "attributes": {"external_id": "o1", "email": EMAIL, "first_name": None, "properties": {"a": [1, "é"]}},
    "meta": {"patch_properties": {"unset": ["b"]}},
}


TOKEN = "canary-access"


def client(url: str, token: str = TOKEN) -> KlaviyoClient:
    http = HttpClient("Klaviyo", url, read_problem, Connections())
    return KlaviyoClient(http, FixedToken(SecretStr(token)), "2026-10-15")


@pytest.fixture
def klaviyo(sandbox: Sandbox) -> KlaviyoClient:
    return client(sandbox.klaviyo.url, sandbox.klaviyo.install(ACCOUNT).access_token)


def sent(sandbox: Sandbox) -> Any:
    """Return the last call's body."""
    return json.loads(sandbox.klaviyo.calls.all()[-1].body)


def answered(path: str, body: Any, **named: Any) -> responses.RequestsMock:
    """Return a Klaviyo that gives this answer."""
    mock = responses.RequestsMock()
    mock.add(responses.GET, f"{URL}{path}", json=body, **named)
    return mock


class TestReading:
    def test_a_hundred_are_found_by_any_identifier_with_their_subscriptions(
        self, sandbox: Sandbox, klaviyo: KlaviyoClient
    ) -> None:
        made = [
            sandbox.klaviyo.profile(
                ACCOUNT,
                email=f"canary+{n}'\"é@example.org",
                phone_number=f"+614120{n:05}",
                external_id=f"o-{n}",
            )
            for n in range(100)
        ]
        sandbox.klaviyo.subscribe(ACCOUNT, made[3].id)
        for name in ("id", "email", "phone_number", "external_id"):
            values = [one.id if name == "id" else str(one.attributes[name]) for one in made]
            found = klaviyo.profiles_by(name, values)
            assert {one.id for one in found} == {one.id for one in made}
        (third,) = [one for one in found if one.id == made[3].id]
        assert third.subscriptions["email"]["marketing"]["consent"] == "SUBSCRIBED"
        assert (third.phone_number, third.external_id) == ("+61412000003", "o-3")
        assert "canary" not in repr(third)

    @pytest.mark.parametrize(
        "row",
        [
            {"id": "1", "attributes": {"email": EMAIL}},
            {"id": "1", "attributes": {"email": EMAIL, "subscriptions": None}},
            {"id": "1", "attributes": {"email": EMAIL, "subscriptions": []}},
            {"id": "1"},
            {"attributes": {"subscriptions": {}}},
            None,
            [],
        ],
    )
    def test_who_comes_without_subscriptions_is_not_taken_for_one_who_was_never_asked(self, row: Any) -> None:
        with answered("/api/profiles", {"data": [row]}), pytest.raises(WaitError):
            client(URL).profiles_by("id", ["1"])

    @pytest.mark.parametrize("body", [{}, {"data": None}, {"data": 3}, [], "x"])
    def test_an_answer_without_rows_says_nothing(self, body: Any) -> None:
        with answered("/api/profiles", body), pytest.raises(WaitError):
            client(URL).profiles_by("email", [EMAIL])


class TestImports:
    def test_klaviyos_own_model_accepts_an_import(self, sandbox: Sandbox, klaviyo: KlaviyoClient) -> None:
        sandbox.klaviyo.profile(ACCOUNT, id="01KNOWN", email=f"old{EMAIL}")
        id = klaviyo.import_profiles([ROW, {**ROW, "id": "01KNOWN"}])
        ProfileImportJobCreateQuery.model_validate(sent(sandbox), **STRICT)
        assert klaviyo.import_job(id) == ImportJob(id, "complete", 2, 2, 0)
        (profile,) = sandbox.klaviyo.profiles(ACCOUNT)
        assert profile.attributes["email"] == EMAIL

    def test_a_job_is_followed_from_queued_to_complete(
        self, sandbox: Sandbox, klaviyo: KlaviyoClient, clock: Clock
    ) -> None:
        sandbox.klaviyo.consent.job_seconds = 60.0
        id = klaviyo.import_profiles([{"type": "profile", "attributes": {"email": EMAIL}}])
        seen = []
        for _ in range(3):
            job = klaviyo.import_job(id)
            seen.append((job.status, job.is_over))
            clock.advance(31)
        assert seen == [("queued", False), ("processing", False), ("complete", True)]

    def test_errors_come_page_by_page_with_whose_they_are(
        self, sandbox: Sandbox, klaviyo: KlaviyoClient
    ) -> None:
        rows = [
            {"type": "profile", "attributes": {"external_id": f"o{n}", "email": "canary"}} for n in range(45)
        ]
        id = klaviyo.import_profiles(rows)
        found: list[RefusedRow] = []
        cursor, pages = "", 0
        while True:
            errors, cursor = klaviyo.import_errors(id, cursor)
            found, pages = found + errors, pages + 1
            if not cursor:
                break
        assert pages > 1
        assert [error.external_id for error in found] == [f"o{n}" for n in range(45)]
        assert {(error.code, error.field.rpartition("/")[2]) for error in found} == {("invalid", "email")}

    @pytest.mark.parametrize(
        ("payload", "source", "expected"),
        [
            ({"attributes": {"external_id": "o1"}}, {"pointer": "/a/b"}, RefusedRow("o1", "c", "/a/b")),
            ({"external_id": "o1"}, None, RefusedRow("o1", "c", "")),
            (None, "text", RefusedRow("", "c", "")),
            ({"attributes": None}, [], RefusedRow("", "c", "")),
            ("text", {"pointer": None}, RefusedRow("", "c", "")),
        ],
    )
    def test_an_error_is_read_however_little_it_says(
        self, payload: Any, source: Any, expected: RefusedRow
    ) -> None:
        row = {"attributes": {"code": "c", "original_payload": payload, "source": source}}
        with answered(f"{IMPORTS}/j/import-errors", {"data": [row], "links": None}):
            assert client(URL).import_errors("j") == ([expected], "")

    def test_a_page_that_follows_itself_is_not_followed_for_ever(self) -> None:
        body = {"data": [], "links": {"next": f"{URL}/x?page%5Bcursor%5D=c1"}}
        with answered(f"{IMPORTS}/j/import-errors", body), pytest.raises(WaitError):
            client(URL).import_errors("j", "c1")

    @pytest.mark.parametrize("body", [{}, {"data": {}}, {"data": {"id": "j", "attributes": {}}}, []])
    def test_a_job_that_cannot_be_read_is_not_over(self, body: Any) -> None:
        with answered(f"{IMPORTS}/j", body), pytest.raises(WaitError):
            client(URL).import_job("j")

    def test_a_word_for_a_job_that_nobody_knows_is_no_end(self) -> None:
        body = {"data": {"id": "j", "attributes": {"status": "paused", "failed_count": None}}}
        with answered(f"{IMPORTS}/j", body):
            assert not client(URL).import_job("j").is_over

    def test_a_job_that_is_gone_is_said_to_be(self, klaviyo: KlaviyoClient) -> None:
        with pytest.raises(NotFoundError):
            klaviyo.import_job("01JD0000000000000000000001")

    def test_a_refusal_names_every_profile_at_fault(self, sandbox: Sandbox, klaviyo: KlaviyoClient) -> None:
        sandbox.klaviyo.consent.unsupported_phone_prefixes = ["+7"]
        phones = [PHONE, "+79123456789", PHONE, "+79123456780"]
        rows = [{"type": "profile", "attributes": {"phone_number": phone}} for phone in phones]
        with pytest.raises(RefusedError) as refused:
            klaviyo.import_profiles(rows)
        at = "/data/attributes/profiles/data/{}/attributes/phone_number"
        assert refused.value.fields == (at.format(1), at.format(3))


class TestConsents:
    def test_klaviyos_own_model_accepts_a_historical_subscribe(
        self, sandbox: Sandbox, klaviyo: KlaviyoClient
    ) -> None:
        sandbox.klaviyo.marketing_list(ACCOUNT, "Newsletter", id="LIST1")
        klaviyo.subscribe_many([BOTH], list_id="LIST1")
        body = sent(sandbox)
        SubscriptionCreateJobCreateQuery.model_validate(body, **STRICT)
        assert body["data"]["attributes"]["custom_source"] == "omneo"
        (profile,) = sandbox.klaviyo.profiles(ACCOUNT)
        for channel in ("email", "sms", "sms_transactional"):
            assert profile.subscriptions.consents[channel].status == "SUBSCRIBED"
            assert profile.subscriptions.consents[channel].at == THEN.timestamp()
        assert list(profile.memberships) == ["LIST1"]

    def test_klaviyos_own_model_accepts_an_unsubscribe_and_it_names_no_list(
        self, sandbox: Sandbox, klaviyo: KlaviyoClient
    ) -> None:
        sandbox.klaviyo.profile(ACCOUNT, email=EMAIL, phone_number=PHONE)
        klaviyo.unsubscribe_many([BOTH])
        body = sent(sandbox)
        SubscriptionDeleteJobCreateQuery.model_validate(body, **STRICT)
        assert "relationships" not in body["data"]
        (profile,) = sandbox.klaviyo.profiles(ACCOUNT)
        assert {profile.subscriptions.consents[name].status for name in ("email", "sms")} == {"UNSUBSCRIBED"}

    def test_a_channel_that_is_not_named_is_not_touched_nor_its_address_told(
        self, sandbox: Sandbox, klaviyo: KlaviyoClient
    ) -> None:
        klaviyo.subscribe_many([Subscriber(EMAIL, PHONE, {Consent.EMAIL: THEN})])
        (row,) = sent(sandbox)["data"]["attributes"]["profiles"]["data"]
        assert "phone_number" not in row["attributes"]
        assert list(row["attributes"]["subscriptions"]) == ["email"]

    def test_a_profile_that_a_consent_to_texts_makes_has_the_email_and_another_keeps_its_own(
        self, sandbox: Sandbox, klaviyo: KlaviyoClient
    ) -> None:
        klaviyo.subscribe_many([Subscriber(EMAIL, PHONE, {Consent.SMS: THEN})])
        (profile,) = sandbox.klaviyo.profiles(ACCOUNT)
        assert (profile.attributes["email"], profile.attributes["phone_number"]) == (EMAIL, PHONE)
        statuses = {name: profile.subscriptions.consents[name].status for name in ("email", "sms")}
        assert statuses == {"email": "NEVER_SUBSCRIBED", "sms": "SUBSCRIBED"}
        other = Subscriber("canary-other@example.org", PHONE, {Consent.SMS: THEN}, id=profile.id)
        klaviyo.subscribe_many([other])
        (row,) = sent(sandbox)["data"]["attributes"]["profiles"]["data"]
        assert (row["id"], "email" in row["attributes"]) == (profile.id, False)

    def test_a_thousand_are_subscribed_and_a_hundred_unsubscribed_in_a_call(
        self, sandbox: Sandbox, klaviyo: KlaviyoClient
    ) -> None:
        people = [Subscriber(f"canary-{n}@example.org", "", {Consent.EMAIL: THEN}) for n in range(1000)]
        klaviyo.subscribe_many(people)
        klaviyo.unsubscribe_many(people[:100])
        with pytest.raises(RefusedError):
            klaviyo.unsubscribe_many(people[:101])
        profiles = sandbox.klaviyo.profiles(ACCOUNT)
        assert sum(one.subscriptions.consents["email"].status == "SUBSCRIBED" for one in profiles) == 900

    def test_a_list_that_is_not_there_is_said_to_be(self, klaviyo: KlaviyoClient) -> None:
        with pytest.raises(NotFoundError):
            klaviyo.subscribe_many([BOTH], list_id="NOLIST")


def test_klaviyos_own_model_accepts_events_in_bulk(sandbox: Sandbox, klaviyo: KlaviyoClient) -> None:
    metric = {"data": {"type": "metric", "attributes": {"name": "Points Expire"}}}
    events = [
        {
            "metric": metric,
            "properties": {"n": n},
            "unique_id": f"u-{n}",
            "time": "2026-11-21T10:00:00+00:00",
            "profile": {"data": {"type": "profile", "attributes": {"email": f"canary-{n}@example.org"}}},
        }
        for n in range(1000)
    ]
    klaviyo.bulk_create_events(events)
    call = sandbox.klaviyo.calls.all()[-1]
    assert (call.method, call.path) == ("POST", "/api/event-bulk-create-jobs")
    EventsBulkCreateJob.model_validate(json.loads(call.body), extra="forbid", by_alias=True, by_name=False)
    assert [event.properties["n"] for event in sandbox.klaviyo.events(ACCOUNT)] == list(range(1000))
