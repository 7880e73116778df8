"""The sandbox's Omneo as the extension calls it: profiles, ID tokens, credentials and refusals."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from deploy.local.sandbox import Sandbox
from tests.deploy.local.sandbox.times import NOON

JANE = "canary-jane@example.org"
Call = Callable[..., requests.Response]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(clock=lambda: NOON, token_prefix="canary-token") as sandbox:
        sandbox.omneo.tenant("acme", token="canary-token-acme")
        sandbox.omneo.tenant("other", token="canary-token-other")
        yield sandbox


@pytest.fixture
def call(sandbox: Sandbox) -> Call:
    def call(
        method: str, path: str, *, tenant: str = "acme", bearer: str = "canary-token-acme", **more: Any
    ) -> requests.Response:
        url = sandbox.omneo.url_template.format(tenant=tenant) + path
        headers = {"Authorization": f"Bearer {bearer}"}
        return requests.request(method, url, headers=headers, timeout=60, **more)

    return call


def test_a_profile_has_the_shape_of_the_docs_and_keeps_what_it_was_given(
    sandbox: Sandbox, call: Call
) -> None:
    made = sandbox.omneo.profile(
        "acme",
        email=JANE,
        first_name="Jane",
        last_name="Canary",
        identities=[{"handle": "klaviyo", "identifier": "01HX"}],
        attributes={"comms": {"email_promo": True}},
    )
    profile = call("GET", f"/api/v3/profiles/{made['id']}").json()["data"]
    assert profile == made
    assert (profile["full_name"], profile["created_at"]) == ("Jane Canary", "2026-09-21 14:13:20")
    assert profile["identities"][0] == {
        "id": 1,
        "merged_from": None,
        "profile_id": made["id"],
        "is_primary": False,
        "is_active": True,
        "created_at": "2026-09-21 14:13:20",
        "updated_at": "2026-09-21 14:13:20",
        "handle": "klaviyo",
        "identifier": "01HX",
    }
    comms = profile["attributes"]["comms"]
    assert (comms["email_promo"], comms["sms_promo"], comms["email_consent_updated_at"]) == (True, None, None)


def test_a_profile_is_found_by_email_in_a_page_of_one(sandbox: Sandbox, call: Call) -> None:
    jane = sandbox.omneo.profile("acme", email=JANE)
    sandbox.omneo.profile("acme", email="canary-joe@example.org")
    sandbox.omneo.profile("other", email=JANE)
    body = call("GET", "/api/v3/profiles", params={"filter[email]": JANE.upper()}).json()
    assert [profile["id"] for profile in body["data"]] == [jane["id"]]
    assert body["meta"]["total"] == 1
    assert set(body["links"]) == {"first", "last", "prev", "next"}
    assert call("GET", "/api/v3/profiles", params={"filter[email]": "canary-nobody"}).json()["data"] == []


def test_pages_follow_each_other_to_the_end(sandbox: Sandbox, call: Call) -> None:
    made = [sandbox.omneo.profile("acme")["id"] for _ in range(5)]
    body = call("GET", "/api/v3/profiles", params={"page[size]": 2}).json()
    seen = [profile["id"] for profile in body["data"]]
    while (following := body["links"]["next"]) is not None:
        headers = {"Authorization": "Bearer canary-token-acme"}
        body = requests.get(following, headers=headers, timeout=60).json()
        seen += [profile["id"] for profile in body["data"]]
    assert seen == made
    assert (body["meta"]["current_page"], body["meta"]["from"], body["meta"]["to"]) == (3, 5, 5)


@pytest.mark.parametrize(("handle", "key"), [("klaviyo", "01HX"), ("profile_id", "canary-profile-id")])
def test_a_profile_is_found_by_identity(sandbox: Sandbox, call: Call, handle: str, key: str) -> None:
    sandbox.omneo.profile(
        "acme", id="canary-profile-id", identities=[{"handle": "klaviyo", "identifier": "01HX"}]
    )
    found = call("POST", "/api/v3/profiles/search-id", json={"type": handle, "id": key})
    assert found.json()["data"]["id"] == "canary-profile-id"


@pytest.mark.parametrize(
    ("body", "pid"),
    [({"id": "canary-profile-id"}, "canary-profile-id"), ({"id": "01HX", "id_handle": "klaviyo"}, "canary-profile-id"), ({}, "null")],
)  # fmt: skip
def test_an_id_token_names_the_profile_and_when_it_ends(
    sandbox: Sandbox, call: Call, body: dict[str, str], pid: str
) -> None:
    identity = {"handle": "klaviyo", "identifier": "01HX"}
    sandbox.omneo.profile("acme", id="canary-profile-id", identities=[identity])
    sandbox.omneo.id_token_seconds = 60
    data = call("POST", "/id/api/v1/auth/token", json=body).json()["data"]
    assert data["exp"] == int(NOON) + 60
    _, payload, signature = data["token"].split(".")
    padded = payload + "=" * (-len(payload) % 4)
    assert json.loads(base64.urlsafe_b64decode(padded)) == {"pid": pid, "exp": data["exp"]}
    assert signature.startswith("canary-token-id-")


REFUSED: list[tuple[str, str, dict[str, Any], int]] = [
    ("GET", "/api/v3/profiles", {"bearer": "canary-token-wrong"}, 401),
    ("GET", "/api/v3/profiles", {"bearer": "canary-token-other"}, 401),
    ("GET", "/api/v3/profiles", {"tenant": "nobody"}, 404),
    ("GET", "/api/v3/nothing", {}, 404),
    ("GET", "/api/v3/profiles/unknown", {}, 404),
    ("DELETE", "/api/v3/profiles", {}, 405),
    ("GET", "/api/v3/profiles", {"params": {"filter[mobile_phone]": "1"}}, 501),
    ("POST", "/api/v3/profiles/search-id", {"json": {"type": "klaviyo", "id": "unknown"}}, 404),
    ("POST", "/api/v3/profiles/search-id", {"json": {"type": "klaviyo"}}, 422),
    ("POST", "/id/api/v1/auth/token", {"json": {"id": "unknown"}}, 404),
    ("POST", "/id/api/v1/auth/token", {"json": {"id": "unknown", "id_handle": "klaviyo"}}, 404),
    ("POST", "/id/api/v1/auth/token", {"json": {"id": "1"}, "bearer": ""}, 401),
    ("GET", "/api/v3/targets/9", {}, 404),
    ("DELETE", "/api/v3/targets/9", {}, 404),
    ("PUT", "/api/v3/triggers/x", {"json": {}}, 404),
]


def test_an_identity_is_found_by_its_own_handle_alone(sandbox: Sandbox, call: Call) -> None:
    sandbox.omneo.profile("acme", identities=[{"handle": "shopify", "identifier": "01HX"}])
    found = call("POST", "/api/v3/profiles/search-id", json={"type": "klaviyo", "id": "01HX"})
    assert found.status_code == 404


@pytest.mark.parametrize(("method", "path", "more", "status"), REFUSED)
def test_refusals_are_laravels(call: Call, method: str, path: str, more: dict[str, Any], status: int) -> None:
    answer = call(method, path, **more)
    assert answer.status_code == status
    assert isinstance(answer.json()["message"], str)
    assert ("errors" in answer.json()) is (status == 422)


def test_calls_are_noted_with_their_tenant_and_without_their_token(sandbox: Sandbox, call: Call) -> None:
    call("GET", "/api/v3/profiles", params={"filter[email]": JANE})
    (noted,) = sandbox.omneo.calls.all()
    assert (noted.account, noted.path, noted.status) == ("acme", "/acme/api/v3/profiles", 200)
    assert "authorization" in noted.header_names
    assert "canary" not in json.dumps(noted.to_json(bodies=False))


def test_a_profile_that_the_api_makes_can_be_read_and_deleted(call: Call) -> None:
    made = call("POST", "/api/v3/profiles", json={"first_name": "Jane", "email": JANE})
    assert made.status_code == 201
    profile = made.json()["data"]
    assert (profile["first_name"], profile["last_name"], profile["email"]) == ("Jane", "Unknown", JANE)
    again = call("POST", "/api/v3/profiles", json={"email": JANE.upper()})
    assert (again.status_code, list(again.json()["errors"])) == (422, ["email"])
    assert call("GET", f"/api/v3/profiles/{profile['id']}").json()["data"] == profile
    assert call("DELETE", f"/api/v3/profiles/{profile['id']}").status_code == 204
    assert call("GET", f"/api/v3/profiles/{profile['id']}").status_code == 404
    assert call("DELETE", f"/api/v3/profiles/{profile['id']}").status_code == 404
