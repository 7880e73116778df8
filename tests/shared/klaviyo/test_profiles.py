"""Calls about Klaviyo's profiles: each request as it stands on the wire, Klaviyo's own models as the referee, and odd answers."""

import json
from typing import Any
from urllib.parse import parse_qsl

import pytest
import responses
from pydantic import SecretStr

from deploy.local.sandbox import Sandbox
from deploy.local.sandbox.stage.record import Call
from shared.consent.rules.decisions import KlaviyoEmail
from shared.errors import NotFoundError, RefusedError, WaitError
from shared.http.client import HttpClient, Limits
from shared.http.connections import Connections
from shared.klaviyo.client import FixedToken, KlaviyoClient, read_problem
from shared.klaviyo.profiles import KlaviyoProfile
from tests.support.world import ACCOUNT, EMAIL

URL = "http://klaviyo.invalid"
ID = "01PROFILE"
TOKEN = "canary-access"
JANE = KlaviyoProfile(ID, EMAIL)


def client(url: str, token: str = TOKEN) -> KlaviyoClient:
    http = HttpClient("Klaviyo", url, read_problem, Connections(), limits=Limits(read=0.5, total=1.0))
    return KlaviyoClient(http, FixedToken(SecretStr(token)), "2026-10-15")


@pytest.fixture
def klaviyo(sandbox: Sandbox) -> KlaviyoClient:
    return client(sandbox.klaviyo.url, sandbox.klaviyo.install(ACCOUNT).access_token)


def sent(sandbox: Sandbox) -> Call:
    """Return the last call."""
    call: Call = sandbox.klaviyo.calls.all()[-1]
    return call


def profile_in(attributes: object, id: object = ID) -> KlaviyoProfile | None:
    """Return what is made of an answer with these attributes."""
    with responses.RequestsMock() as mock:
        body = {"data": {"type": "profile", "id": id, "attributes": attributes}}
        mock.add(responses.GET, f"{URL}/api/profiles/{ID}", json=body)
        return client(URL).profile(ID)


def test_a_profile_is_read_with_its_subscriptions(sandbox: Sandbox, klaviyo: KlaviyoClient) -> None:
    id = sandbox.klaviyo.profile(ACCOUNT, email=EMAIL, external_id="omneo-1").id
    sandbox.klaviyo.subscribe(ACCOUNT, id, custom_source="Omneo")
    sandbox.klaviyo.bounce(ACCOUNT, id, hard=True)
    profile = klaviyo.profile(id)
    assert profile is not None
    assert (profile.id, profile.email, profile.external_id) == (id, EMAIL, "omneo-1")
    email = KlaviyoEmail.read(profile.subscriptions)
    assert (email.is_subscribed, email.is_bounced, email.marker) == (True, True, "Omneo")
    call = sent(sandbox)
    assert (call.method, call.path, call.status) == ("GET", f"/api/profiles/{id}", 200)
    assert parse_qsl(call.query) == [("additional-fields[profile]", "subscriptions")]


def test_klaviyos_own_model_has_the_fields_that_are_read(sandbox: Sandbox, klaviyo: KlaviyoClient) -> None:
    from openapi_client.models.subscriptions import Subscriptions

    id = sandbox.klaviyo.profile(ACCOUNT, email=EMAIL).id
    sandbox.klaviyo.subscribe(ACCOUNT, id)
    profile = klaviyo.profile(id)
    assert profile is not None
    Subscriptions.model_validate(profile.subscriptions, extra="forbid", by_alias=True, by_name=False)


def test_a_merged_profile_answers_as_the_other(sandbox: Sandbox, klaviyo: KlaviyoClient) -> None:
    old = sandbox.klaviyo.profile(ACCOUNT, email="canary-old@example.org").id
    new = sandbox.klaviyo.profile(ACCOUNT, email=EMAIL).id
    sandbox.klaviyo.merge_profiles(ACCOUNT, old, new)
    profile = klaviyo.profile(old)
    assert profile is not None
    assert (profile.id, profile.email) == (new, EMAIL)


def test_a_profile_that_is_not_there_is_none(klaviyo: KlaviyoClient) -> None:
    assert klaviyo.profile("01NOBODY") is None


@pytest.mark.parametrize(
    ("identifier", "value"),
    [("external_id", 'omneo-"1"'), ("email", EMAIL), ("email", EMAIL.upper()), ("phone_number", "+61412345678")],
)  # fmt: skip
def test_a_profile_is_found_by_each_of_its_identifiers(
    sandbox: Sandbox, klaviyo: KlaviyoClient, identifier: str, value: str
) -> None:
    assert klaviyo.find_profile(identifier, value) is None
    id = sandbox.klaviyo.profile(ACCOUNT, **{identifier: value}).id
    sandbox.klaviyo.profile(ACCOUNT, email="canary-other@example.org")
    found = klaviyo.find_profile(identifier, value)
    assert found is not None
    assert (found.id, getattr(found, identifier)) == (id, value)
    assert sorted(found.subscriptions)
    assert (sent(sandbox).method, sent(sandbox).path) == ("GET", "/api/profiles")


def test_an_id_cannot_leave_its_place_in_the_path(sandbox: Sandbox, klaviyo: KlaviyoClient) -> None:
    assert klaviyo.profile("../lists?x=/y#z") is None
    assert sent(sandbox).path.startswith("/api/profiles/")


def test_the_email_of_a_profile_is_not_shown() -> None:
    assert EMAIL not in repr(JANE)


@pytest.mark.parametrize(
    "email", [EMAIL, 'canary-"quoted"@example.org', "canary-\u00fc@example.org", "a+b@example.org"]
)
def test_whether_a_profile_is_on_a_list_is_asked_by_email(
    sandbox: Sandbox, klaviyo: KlaviyoClient, email: str
) -> None:
    made = sandbox.klaviyo.marketing_list(ACCOUNT, "News")
    id = sandbox.klaviyo.profile(ACCOUNT, email=email).id
    assert klaviyo.is_on_list(made.id, email) is False
    sandbox.klaviyo.subscribe(ACCOUNT, id, list_id=made.id)
    assert klaviyo.is_on_list(made.id, email) is True
    assert sent(sandbox).path == f"/api/lists/{made.id}/profiles"


def test_a_list_that_is_not_there_is_an_error_and_no_empty_list(klaviyo: KlaviyoClient) -> None:
    with pytest.raises(NotFoundError):
        klaviyo.is_on_list("NOLIST", EMAIL)


def test_klaviyos_own_model_accepts_a_subscription(sandbox: Sandbox, klaviyo: KlaviyoClient) -> None:
    from openapi_client.models.subscription_create_job_create_query import SubscriptionCreateJobCreateQuery

    made = sandbox.klaviyo.marketing_list(ACCOUNT, "News")
    id = sandbox.klaviyo.profile(ACCOUNT, email=EMAIL).id
    klaviyo.subscribe_to_email(KlaviyoProfile(id, EMAIL), made.id)
    call = sent(sandbox)
    assert (call.path, call.status) == ("/api/profile-subscription-bulk-create-jobs", 202)
    body = json.loads(call.body)
    SubscriptionCreateJobCreateQuery.model_validate(body, extra="forbid", by_alias=True, by_name=False)
    [profile] = sandbox.klaviyo.profiles(ACCOUNT)
    method = profile.subscriptions.consents["email"].method
    assert method is not None
    assert method.custom_detail == "omneo"
    assert profile.subscriptions.consents["sms"].status == "NEVER_SUBSCRIBED"


def test_a_subscription_that_klaviyo_refuses_is_refused(sandbox: Sandbox, klaviyo: KlaviyoClient) -> None:
    sandbox.klaviyo.fail(status=400)
    with pytest.raises(RefusedError):
        klaviyo.subscribe_to_email(JANE, "LIST")


@pytest.mark.parametrize(
    "attributes", [{}, {"email": None, "external_id": None, "subscriptions": None}], ids=str
)
def test_what_klaviyo_leaves_out_is_empty(attributes: dict[str, Any]) -> None:
    profile = profile_in(attributes)
    assert profile == KlaviyoProfile(ID)
    assert profile.reasons_off("LIST") == frozenset()
    assert KlaviyoEmail.read(profile.subscriptions) == KlaviyoEmail()


@pytest.mark.parametrize("marketing", [None, {}, {"suppression": None, "list_suppressions": None}], ids=str)
def test_consent_that_klaviyo_leaves_out_is_none(marketing: object) -> None:
    profile = profile_in({"subscriptions": {"email": {"marketing": marketing}, "sms": None}})
    assert profile is not None
    assert not KlaviyoEmail.read(profile.subscriptions).is_subscribed


@pytest.mark.parametrize(
    "attributes",
    [
        None,
        [],
        "text",
        {"email": 7},
        {"email": EMAIL, "external_id": ["x"]},
        {"subscriptions": "SUBSCRIBED"},
        {"subscriptions": {"email": "SUBSCRIBED"}},
        {"subscriptions": {"email": {"marketing": ["SUBSCRIBED"]}}},
        {"subscriptions": {"email": {"marketing": {"suppression": ["HARD_BOUNCE"]}}}},
        {"subscriptions": {"email": {"marketing": {"suppression": 3}}}},
        {"subscriptions": {"email": {"marketing": {"list_suppressions": [None]}}}},
    ],
    ids=str,
)
def test_a_profile_that_makes_no_sense_is_waited_for(attributes: object) -> None:
    with pytest.raises(WaitError):
        profile_in(attributes)


BODIES: list[Any] = [
    b"",
    b"null",
    b"[]",
    b'"text"',
    b"{}",
    b'{"data": 5}',
    b"<html>",
    b'{"data": {"id": "x"}}',
]


@pytest.mark.parametrize("body", BODIES, ids=str)
def test_a_profile_in_an_answer_without_sense_is_waited_for(body: bytes) -> None:
    with responses.RequestsMock() as mock:
        mock.add(
            responses.GET, f"{URL}/api/profiles/{ID}", body=body, content_type="application/vnd.api+json"
        )
        with pytest.raises(WaitError):
            client(URL).profile(ID)


@pytest.mark.parametrize("body", [*BODIES, b'{"data": null}', b'{"data": [5]}'], ids=str)
def test_a_list_in_an_answer_without_sense_is_waited_for(body: bytes) -> None:
    with responses.RequestsMock() as mock:
        mock.add(
            responses.GET,
            f"{URL}/api/lists/LIST/profiles",
            body=body,
            content_type="application/vnd.api+json",
        )
        with pytest.raises(WaitError):
            client(URL).is_on_list("LIST", EMAIL)
