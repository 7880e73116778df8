"""The sandbox's Omneo tells of its profiles, and keeps identities; the sandbox's Klaviyo deletes for good."""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from deploy.local.sandbox import Sandbox
from tests.deploy.local.receiving import Receiver
from tests.deploy.local.sandbox.klaviyo.calls import ACCOUNT, JANE, JANES_PHONE, Caller, problems_of
from tests.deploy.local.sandbox.times import NOON

SECRET = "canary-signing"
Call = Callable[..., requests.Response]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(clock=lambda: NOON, seed=1, token_prefix="canary-token") as sandbox:
        sandbox.omneo.tenant("acme", token="canary-token-acme", signing_secret=SECRET)
        yield sandbox


def test_an_active_webhook_is_told_of_its_event_and_signed(sandbox: Sandbox, receiver: Receiver) -> None:
    for trigger in ("profile.created", "profile.updated", "profile.deleted"):
        sandbox.omneo.webhook("acme", trigger=trigger, url=receiver.url, namespace="klaviyo")
    made = sandbox.omneo.create_profile("acme", email=JANE, tags=[{"handle": "vip"}])
    sandbox.omneo.change_profile("acme", made["id"], first_name="Jane", comms={"email_promo": True})
    sandbox.omneo.delete_profile("acme", made["id"])
    told = receiver.received
    assert [request.headers["x-omneo-event"] for request in told] == [
        "profile.created",
        "profile.updated",
        "profile.deleted",
    ]
    for request in told:
        signature = hmac.new(SECRET.encode(), request.body, hashlib.sha256).hexdigest()
        assert request.headers["x-omneo-hmac-sha256"] == signature
    first, second, third = (json.loads(request.body) for request in told)
    assert (first["id"], first["flattened_tags"]) == (made["id"], ["vip"])
    assert (second["first_name"], second["attributes"]["comms"]["email_promo"]) == ("Jane", True)
    assert (third["id"], third["email"]) == (made["id"], JANE)
    assert sandbox.omneo.profiles("acme") == []
    assert [row.status for row in sandbox.omneo.webhook_deliveries("acme")] == [202, 202, 202]


@pytest.mark.parametrize(
    "fields",
    [
        {"is_active": False},
        {"trigger": "profile.deleted"},
        {"condition": {"===": [{"var": "email"}, "canary-nobody@example.org"]}},
    ],
)
def test_a_webhook_that_is_not_meant_is_not_told(
    sandbox: Sandbox, receiver: Receiver, fields: dict[str, Any]
) -> None:
    wanted = {"trigger": "profile.created", "url": receiver.url, "namespace": "klaviyo", **fields}
    sandbox.omneo.webhook("acme", **wanted)
    sandbox.omneo.create_profile("acme", email=JANE)
    assert receiver.received == []


@pytest.mark.parametrize("returns", [True, False])
def test_what_the_api_changes_is_told_by_a_switch(
    sandbox: Sandbox, call: Call, receiver: Receiver, returns: bool
) -> None:
    sandbox.omneo.returns_own_changes = returns
    sandbox.omneo.webhook("acme", trigger="profile.updated", url=receiver.url, namespace="klaviyo")
    id = sandbox.omneo.profile("acme", email=JANE)["id"]
    call("PUT", f"/profiles/{id}/attributes/comms", {"email_promo": False})
    call("GET", f"/profiles/{id}")
    sandbox.omneo.deliver("acme")
    assert len(receiver.received) == int(returns)


def test_an_identity_is_made_read_changed_and_removed(sandbox: Sandbox, call: Call) -> None:
    id = sandbox.omneo.profile("acme", email=JANE)["id"]
    identities = f"/profiles/{id}/identities"
    assert call("PUT", f"{identities}/klaviyo", {"identifier": "01HX"}).status_code == 404
    made = call("POST", identities, {"handle": "klaviyo", "identifier": "01HX"})
    assert made.status_code == 201
    assert made.json()["data"] | {"created_at": "", "updated_at": ""} == {
        "id": 1,
        "merged_from": None,
        "profile_id": id,
        "is_primary": False,
        "is_active": True,
        "identifier": "01HX",
        "handle": "klaviyo",
        "created_at": "",
        "updated_at": "",
    }
    changed = call("PUT", f"{identities}/klaviyo", {"identifier": "01HY"}).json()["data"]
    assert changed["identifier"] == "01HY"
    assert call("GET", identities).json()["data"] == [changed]
    assert call("GET", f"{identities}/klaviyo").json()["data"] == changed
    found = call("POST", "/profiles/search-id", {"type": "klaviyo", "id": "01HY"})
    assert found.json()["data"]["id"] == id
    assert call("DELETE", f"{identities}/klaviyo").status_code == 204
    assert call("DELETE", f"{identities}/klaviyo").status_code == 404
    assert call("GET", f"{identities}/klaviyo").status_code == 404


def test_handle_and_identifier_mean_one_profile(sandbox: Sandbox, call: Call) -> None:
    row = {"handle": "klaviyo", "identifier": "01HX"}
    sandbox.omneo.profile("acme", email="canary-other@example.org", identities=[row])
    id = sandbox.omneo.profile("acme", email=JANE, identities=[{**row, "identifier": "01HY"}])["id"]
    for answer in (
        call("POST", f"/profiles/{id}/identities", row),
        call("PUT", f"/profiles/{id}/identities/klaviyo", {"identifier": "01HX"}),
    ):
        assert (answer.status_code, list(answer.json()["errors"])) == (422, ["identifier"])
    for wrong in (
        {},
        {"handle": "klaviyo"},
        {"handle": "", "identifier": "1"},
        {**row, "is_active": "maybe"},
    ):
        assert call("POST", f"/profiles/{id}/identities", wrong).status_code == 422
    same = call("PUT", f"/profiles/{id}/identities/klaviyo", {"identifier": "01HY"})
    assert same.status_code == 200  # with itself it does not clash
    assert call("POST", "/profiles/unknown/identities", row).status_code == 404


def a_deletion(**row: Any) -> dict[str, Any]:
    profile = {"data": {"type": "profile", "attributes": {}, **row}}
    return {"data": {"type": "data-privacy-deletion-job", "attributes": {"profile": profile}}}


@pytest.mark.parametrize("by", ["id", "email", "phone_number"])
def test_a_profile_is_deleted_for_good(sandbox: Sandbox, by: str) -> None:
    jane = sandbox.klaviyo.profile(ACCOUNT, email=JANE, phone_number=JANES_PHONE)
    body = a_deletion(id=jane.id) if by == "id" else a_deletion(attributes={by: jane.attributes[by]})
    answer = Caller(sandbox)("POST", "/api/data-privacy-deletion-jobs", body)
    assert (answer.status_code, answer.content) == (202, b"")
    assert sandbox.klaviyo.profiles(ACCOUNT) == []
    assert Caller(sandbox)("POST", "/api/data-privacy-deletion-jobs", body).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"data": {"type": "profile"}},
        {"data": {"type": "data-privacy-deletion-job", "attributes": {}}},
        a_deletion(),
        a_deletion(id="01HX", attributes={"email": JANE}),
        a_deletion(attributes={"email": JANE, "phone_number": JANES_PHONE}),
        a_deletion(attributes={"external_id": "1"}),
        a_deletion(attributes={"email": "canary"}),
    ],
)
def test_a_deletion_that_does_not_name_one_profile_is_refused(sandbox: Sandbox, body: dict[str, Any]) -> None:
    jane = sandbox.klaviyo.profile(ACCOUNT, email=JANE)
    answer = Caller(sandbox)("POST", "/api/data-privacy-deletion-jobs", body)
    assert answer.status_code == 400
    assert problems_of(answer) != []
    assert sandbox.klaviyo.profiles(ACCOUNT) == [jane]


def test_an_import_with_an_id_that_no_profile_has_is_404(sandbox: Sandbox) -> None:
    body = {"data": {"type": "profile", "id": "01HXUNKNOWN", "attributes": {"email": JANE}}}
    assert Caller(sandbox)("POST", "/api/profile-import", body).status_code == 404
    assert sandbox.klaviyo.profiles(ACCOUNT) == []


def test_webhooks_are_enabled_from_outside(sandbox: Sandbox) -> None:
    for trigger, is_active in (
        ("profile.created", False),
        ("profile.updated", False),
        ("profile.deleted", True),
    ):
        sandbox.omneo.webhook(
            "acme",
            trigger=trigger,
            url="https://canary.example.org",
            namespace="klaviyo",
            is_active=is_active,
        )
    control = f"{sandbox.omneo.url}/_sandbox/enable-webhooks"
    for expected in (2, 0):
        assert requests.post(control, json={"tenant": "acme"}, timeout=60).json() == {"enabled": expected}
    assert all(row["is_active"] for row in sandbox.omneo.webhooks("acme"))


def test_a_target_that_nobody_has_saved_is_called_and_signed_whatever_its_condition(
    sandbox: Sandbox, receiver: Receiver
) -> None:
    body = {
        "tenant": "acme",
        "trigger": "reward.created",
        "handle": "tried",
        "url": receiver.url,
        "template": '{"id": {{ id }}}',
        "context": {"id": 41},
    }
    control = f"{sandbox.omneo.url}/_sandbox/try-target"
    (told,) = requests.post(control, json=body, timeout=60).json()["deliveries"]
    assert (told["status"], told["trigger"], told["target"], told["body"]) == (
        202,
        "reward.created",
        "tried",
        '{"id": 41}',
    )
    (request,) = receiver.received
    assert (
        request.headers["x-omneo-hmac-sha256"]
        == hmac.new(SECRET.encode(), request.body, hashlib.sha256).hexdigest()
    )
    assert len(sandbox.omneo.deliveries("acme")) == 1
    (failed,) = requests.post(control, json=body | {"template": "{{"}, timeout=60).json()["deliveries"]
    assert (failed["status"], "TemplateFailedError" in failed["error"]) == (None, True)
    assert len(receiver.received) == 1
    assert requests.post(control, json=body | {"tenant": "canary"}, timeout=60).status_code == 400
