"""The sandbox's Omneo as it takes changes of consent and interactions, and what a test may ask it about them."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from deploy.local.sandbox import Sandbox
from tests.deploy.local.sandbox.times import NOON

COMMS = "/profiles/canary-jane-id/attributes/comms"
Call = Callable[..., requests.Response]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(clock=lambda: NOON, token_prefix="canary-token") as sandbox:
        for name in ("acme", "other"):
            sandbox.omneo.tenant(name, token=f"canary-token-{name}")
        sandbox.omneo.profile(
            "acme", id="canary-jane-id", identities=[{"handle": "klaviyo", "identifier": "01HX"}]
        )
        yield sandbox


def an_interaction(**changes: Any) -> dict[str, Any]:
    """Return a whole one; None takes a field out."""
    whole = {
        "profile_id": "canary-jane-id",
        "action": "reach",
        "channel": "email",
        "signal": -1,
        "name": "bounced_email",
        "namespace": "klaviyo",
        "interacted_at": "2026-09-21 10:00:00",
        "meta": {"event_id": "e1"},
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not None}


class TestComms:
    def test_only_what_is_named_changes_and_all_of_it_is_answered(self, sandbox: Sandbox, call: Call) -> None:
        before = sandbox.omneo.comms("acme", "canary-jane-id")
        change = {
            "email_promo": True,
            "email_optout": False,
            "email_consent_updated_at": "2026-11-21 10:00:00",
        }
        answer = call("PUT", COMMS, change)
        assert (answer.status_code, answer.json()["data"]) == (200, before | change)
        assert sandbox.omneo.comms("acme", "canary-jane-id") == before | change
        assert call("GET", COMMS).json()["data"] == before | change
        profile = call("GET", "/profiles/canary-jane-id").json()["data"]
        assert profile["attributes"]["comms"] == before | change

    def test_the_profile_shows_when_it_was_changed(self, sandbox: Sandbox, call: Call) -> None:
        sandbox.advance(60)
        call("PUT", COMMS, {"sms_promo": False})
        (profile,) = sandbox.omneo.profiles("acme")
        assert (profile["created_at"], profile["updated_at"]) == (
            "2026-09-21 14:13:20",
            "2026-09-21 14:14:20",
        )

    @pytest.mark.parametrize(
        ("given", "kept"), [(True, True), (1, True), (False, False), (0, False), (None, None)]
    )
    def test_a_flag_is_true_false_or_nothing(self, call: Call, given: object, kept: object) -> None:
        call("PUT", COMMS, {"email_promo": not given})
        assert call("PUT", COMMS, {"email_promo": given}).json()["data"]["email_promo"] is kept

    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ("2026-11-21 10:00:00", "2026-11-21 10:00:00"),
            ("2026-11-21T21:00:00.5+11:00", "2026-11-21 10:00:00"),
            ("2026-11-21T10:00:00Z", "2026-11-21 10:00:00"),
            (None, None),
        ],
    )
    def test_a_stamp_is_taken_in_either_format_and_kept_in_utc(
        self, call: Call, given: object, kept: object
    ) -> None:
        answer = call("PUT", COMMS, {"sms_consent_updated_at": given})
        assert answer.json()["data"]["sms_consent_updated_at"] == kept

    @pytest.mark.parametrize(
        "change",
        [
            {"email_promo": "yes"},
            {"email_promo": "true"},
            {"email_promo": 2},
            {"email_promo": []},
            {"email_consent_updated_at": "soon"},
            {"email_consent_updated_at": 1_790_000_000},
            {"email_optin": True},
            {"email_verification": "verified"},
            {"id": "canary"},
        ],
        ids=str,
    )
    def test_what_omneo_would_not_take_is_422_by_field_and_changes_nothing(
        self, sandbox: Sandbox, call: Call, change: dict[str, Any]
    ) -> None:
        before = sandbox.omneo.comms("acme", "canary-jane-id")
        answer = call("PUT", COMMS, {"sms_promo": True, **change})
        assert (answer.status_code, list(answer.json()["errors"])) == (422, list(change))
        assert sandbox.omneo.comms("acme", "canary-jane-id") == before

    def test_a_profile_that_is_not_there_or_another_tenants_is_404(self, call: Call) -> None:
        for method in ("GET", "PUT"):
            assert call(method, "/profiles/unknown/attributes/comms", {}).status_code == 404
            assert call(method, COMMS, {}, tenant="other").status_code == 404
        assert call("POST", COMMS, {}).status_code == 405

    def test_no_change_is_one_too(self, call: Call) -> None:
        assert call("PUT", COMMS, {}).status_code == 200


class TestInteractions:
    def test_one_is_kept_whole(self, sandbox: Sandbox, call: Call) -> None:
        answer = call("POST", "/interactions", an_interaction(description="Klaviyo: bounced email"))
        assert answer.status_code == 201
        row = answer.json()["data"]
        assert sandbox.omneo.interactions("acme") == [row]
        assert row["id"] == 1
        assert {
            name: row[name] for name in ("profile_id", "action", "channel", "signal", "name", "namespace")
        } == {
            "profile_id": "canary-jane-id",
            "action": "reach",
            "channel": "email",
            "signal": -1,
            "name": "bounced_email",
            "namespace": "klaviyo",
        }
        assert (row["description"], row["meta"]) == ("Klaviyo: bounced email", {"event_id": "e1"})
        assert (row["interacted_at"], row["created_at"]) == ("2026-09-21 10:00:00", "2026-09-21 14:13:20")
        assert row["url"] is None

    def test_two_that_are_alike_are_two_the_older_first(self, sandbox: Sandbox, call: Call) -> None:
        for _ in range(2):
            assert call("POST", "/interactions", an_interaction()).status_code == 201
        assert [row["id"] for row in sandbox.omneo.interactions("acme")] == [1, 2]
        assert sandbox.omneo.interactions("other") == []

    @pytest.mark.parametrize("identifier", ["canary-jane-id", {"handle": "klaviyo", "id": "01HX"}], ids=str)
    def test_the_profile_may_be_named_by_an_identity(self, call: Call, identifier: object) -> None:
        answer = call("POST", "/interactions", an_interaction(profile_id=None, identifier=identifier))
        assert (answer.status_code, answer.json()["data"]["profile_id"]) == (201, "canary-jane-id")

    @pytest.mark.parametrize(
        ("given", "kept"),
        [(None, "2026-09-21 14:13:20"), ("2026-09-21T20:00:00+10:00", "2026-09-21 10:00:00")],
    )
    def test_when_it_was_is_now_unless_it_is_said(self, call: Call, given: str | None, kept: str) -> None:
        answer = call("POST", "/interactions", an_interaction(interacted_at=given))
        assert answer.json()["data"]["interacted_at"] == kept

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"name": None}, "name"),
            ({"name": ""}, "name"),
            ({"name": 7}, "name"),
            ({"namespace": None}, "namespace"),
            ({"action": None}, "action"),
            ({"action": "bounce"}, "action"),
            ({"channel": None}, "channel"),
            ({"channel": "fax"}, "channel"),
            ({"signal": None}, "signal"),
            ({"signal": 2}, "signal"),
            ({"signal": True}, "signal"),
            ({"signal": "negative"}, "signal"),
            ({"signal": []}, "signal"),
            ({"profile_id": None}, "profile_id"),
            ({"profile_id": "unknown"}, "profile_id"),
            ({"profile_id": None, "identifier": {"handle": "klaviyo", "id": "unknown"}}, "profile_id"),
            ({"profile_id": None, "identifier": {"handle": "shopify", "id": "01HX"}}, "profile_id"),
            ({"interacted_at": "soon"}, "interacted_at"),
            ({"meta": "canary"}, "meta"),
        ],
        ids=str,
    )
    def test_what_omneo_would_not_take_is_422_by_field_and_not_kept(
        self, sandbox: Sandbox, call: Call, change: dict[str, Any], field: str
    ) -> None:
        answer = call("POST", "/interactions", an_interaction(**change))
        assert (answer.status_code, list(answer.json()["errors"])) == (422, [field])
        assert sandbox.omneo.interactions("acme") == []

    def test_all_that_is_missing_is_said_at_once(self, call: Call) -> None:
        errors = call("POST", "/interactions", {}).json()["errors"]
        assert set(errors) == {"name", "namespace", "action", "channel", "signal", "profile_id"}

    def test_another_tenants_profile_is_none(self, call: Call) -> None:
        assert call("POST", "/interactions", an_interaction(), tenant="other").status_code == 422

    def test_they_are_only_made(self, call: Call) -> None:
        for method in ("GET", "PUT", "DELETE"):
            answer = call(method, "/interactions")
            assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


class TestControl:
    def ask(self, sandbox: Sandbox, method: str, path: str, body: object = None) -> requests.Response:
        return requests.request(method, f"{sandbox.omneo.url}/_sandbox/{path}", json=body, timeout=60)

    def test_profiles_and_interactions_can_be_looked_at(self, sandbox: Sandbox, call: Call) -> None:
        call("PUT", COMMS, {"email_promo": False})
        call("POST", "/interactions", an_interaction())
        (profile,) = self.ask(sandbox, "GET", "profiles?tenant=acme").json()["profiles"]
        assert profile["attributes"]["comms"]["email_promo"] is False
        (row,) = self.ask(sandbox, "GET", "interactions?tenant=acme").json()["interactions"]
        assert (row["name"], row["signal"]) == ("bounced_email", -1)
        for what in ("profiles", "interactions"):
            assert self.ask(sandbox, "GET", f"{what}?tenant=other").json() == {what: []}

    def test_a_profile_can_be_made_with_the_consent_it_has(self, sandbox: Sandbox) -> None:
        comms = {"email_optout": True, "email_consent_updated_at": "2026-11-21 10:00:00"}
        fields = {"tenant": "other", "id": "canary-joe-id", "attributes": {"comms": comms}}
        answer = self.ask(sandbox, "POST", "seed", {"profiles": [fields]})
        assert answer.json()["profiles"][0]["id"] == "canary-joe-id"
        held = sandbox.omneo.comms("other", "canary-joe-id")
        assert {name: held[name] for name in comms} == comms
        assert held["email_promo"] is None

    @pytest.mark.parametrize("what", ["profiles", "interactions"])
    def test_a_tenant_that_is_not_there_is_no_crash(self, sandbox: Sandbox, what: str) -> None:
        for path in (what, f"{what}?tenant=nobody"):
            assert 400 <= self.ask(sandbox, "GET", path).status_code < 500

    def test_what_a_test_is_shown_is_a_copy(self, sandbox: Sandbox, call: Call) -> None:
        call("POST", "/interactions", an_interaction())
        sandbox.omneo.profiles("acme")[0]["attributes"]["comms"]["email_promo"] = True
        sandbox.omneo.comms("acme", "canary-jane-id")["email_promo"] = True
        sandbox.omneo.interactions("acme").clear()
        assert sandbox.omneo.comms("acme", "canary-jane-id")["email_promo"] is None
        assert len(sandbox.omneo.interactions("acme")) == 1

    def test_a_reset_forgets_them(self, sandbox: Sandbox, call: Call) -> None:
        call("POST", "/interactions", an_interaction())
        sandbox.omneo.reset()
        sandbox.omneo.tenant("acme", token="canary-token-acme")
        assert (sandbox.omneo.profiles("acme"), sandbox.omneo.interactions("acme")) == ([], [])
