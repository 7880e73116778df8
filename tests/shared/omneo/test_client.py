"""The Omneo client as Omneo sees it, and what it makes of every answer that Omneo might give."""

import itertools
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import responses
from pydantic import SecretStr

from deploy.local.sandbox import Sandbox
from deploy.local.sandbox.stage.faults import Kind
from shared.errors import NotFoundError, RefusedError, ServiceError, TokenRejectedError, WaitError
from shared.http.answers import Problem
from shared.http.client import HttpClient, Limits
from shared.http.connections import Connections
from shared.omneo.client import Interaction, OmneoClient, Profile, base_url, read_problem
from tests.support.world import EMAIL, OMNEO_TOKEN, TENANT

URL = "http://omneo.invalid"
TOKEN_URL = f"{URL}/id/api/v1/auth/token"
PROFILES_URL = f"{URL}/api/v3/profiles"


def client(url: str, token: str = OMNEO_TOKEN) -> OmneoClient:
    http = HttpClient("Omneo", url, read_problem, Connections(), limits=Limits(read=0.3, total=0.6))
    return OmneoClient(http, SecretStr(token))


@pytest.fixture
def omneo(sandbox: Sandbox) -> OmneoClient:
    sandbox.omneo.tenant(TENANT, token=OMNEO_TOKEN)
    return client(base_url(sandbox.omneo.url_template, TENANT))


def minted(body: object, status: int = 200) -> Any:
    """Return what minting makes of this answer."""
    raw = body if isinstance(body, str | bytes) else json.dumps(body)
    with responses.RequestsMock() as mock:
        mock.add(responses.POST, TOKEN_URL, status=status, body=raw)
        return client(URL).mint_id_token(profile_id="p-1")


def found(body: object, email: str = EMAIL, status: int = 200) -> str | None:
    """Return the id of the profile that is found in this answer."""
    raw = body if isinstance(body, str | bytes) else json.dumps(body)
    with responses.RequestsMock() as mock:
        mock.add(responses.GET, PROFILES_URL, status=status, body=raw)
        profile = client(URL).find_profile_by_email(email)
    return None if profile is None else profile.id


def page(*rows: object) -> dict[str, Any]:
    return {"data": list(rows), "links": {"next": None}, "meta": {"total": len(rows)}}


# The wire


def test_a_token_is_minted_by_profile_id(sandbox: Sandbox, omneo: OmneoClient) -> None:
    profile = sandbox.omneo.profile(TENANT, email=EMAIL)
    token = omneo.mint_id_token(profile_id=profile["id"])
    [call] = sandbox.omneo.calls.all()
    assert (call.method, call.path, call.query) == ("POST", f"/{TENANT}/id/api/v1/auth/token", "")
    assert json.loads(call.body) == {"id": profile["id"]}
    assert call.headers["content-type"] == call.headers["accept"] == "application/json"
    assert call.account == TENANT  # known by the bearer token
    assert token.token.get_secret_value().count(".") == 2
    assert token.exp == int(sandbox.clock()) + 900


def test_a_token_is_minted_by_identity(sandbox: Sandbox, omneo: OmneoClient) -> None:
    sandbox.omneo.profile(TENANT, email=EMAIL, identities=[{"handle": "klaviyo", "identifier": "01HXCANARY"}])
    omneo.mint_id_token_by_identity(identifier="01HXCANARY", handle="klaviyo")
    [call] = sandbox.omneo.calls.all()
    assert (call.method, call.path) == ("POST", f"/{TENANT}/id/api/v1/auth/token")
    assert json.loads(call.body) == {"id": "01HXCANARY", "id_handle": "klaviyo"}


@pytest.mark.parametrize(
    ("email", "on_the_wire"),
    [
        ("canary+tag@example.org", "canary%2Btag%40example.org"),
        ("canary&page=2@example.org", "canary%26page%3D2%40example.org"),
        ("canary%2B#x@example.org", "canary%252B%23x%40example.org"),
        ("canary-j\u00fc@example.org", "canary-j%C3%BC%40example.org"),
    ],
    ids=["plus", "ampersand", "percent", "umlaut"],
)
def test_a_profile_is_found_by_email_whatever_signs_are_in_it(
    sandbox: Sandbox, omneo: OmneoClient, email: str, on_the_wire: str
) -> None:
    profile = sandbox.omneo.profile(TENANT, email=email)
    sandbox.omneo.profile(TENANT, email=email.replace("+", " "))
    held = omneo.find_profile_by_email(email)
    [call] = sandbox.omneo.calls.all()
    assert (call.method, call.path) == ("GET", f"/{TENANT}/api/v3/profiles")
    assert call.query == f"filter%5Bemail%5D={on_the_wire}"
    assert call.body == b""
    assert "content-type" not in call.header_names
    assert held is not None
    assert (held.id, held.email) == (profile["id"], email)


def test_a_profile_of_another_tenant_is_not_found(sandbox: Sandbox, omneo: OmneoClient) -> None:
    sandbox.omneo.tenant("acme-stg", token="canary-other-token")
    sandbox.omneo.profile("acme-stg", email=EMAIL)
    assert omneo.find_profile_by_email(EMAIL) is None


def test_the_tenants_name_stands_in_the_template_and_nowhere_else() -> None:
    assert base_url("https://api.{tenant}.getomneo.com", "acme-stg") == "https://api.acme-stg.getomneo.com"
    assert base_url("http://127.0.0.1:1/{tenant}", "a") == "http://127.0.0.1:1/a"
    assert base_url("https://{tenant}.x", "a/../b?c#d@e") == "https://a%2F..%2Fb%3Fc%23d%40e.x"


# Whose profile


@pytest.mark.parametrize("email", [EMAIL.upper(), "Canary-Jane@Example.ORG", EMAIL])
def test_an_email_is_compared_without_regard_to_case(email: str) -> None:
    assert found(page({"id": "p-1", "email": email})) == "p-1"


def test_of_several_profiles_the_one_with_the_email_is_taken_not_the_first() -> None:
    rows = [
        {"id": f"p-{n}", "email": email}
        for n, email in enumerate([None, "canary-jan@example.org", "", EMAIL])
    ]
    assert found(page(*rows)) == "p-3"


@pytest.mark.parametrize(
    ("held", "asked"),
    [
        ("canary-jane@example.org.au", EMAIL),
        (f" {EMAIL}", EMAIL),
        ("canary-stra\u00dfe@example.org", "canary-strasse@example.org"),
        ("canary-\u212a@example.org", "canary-k@example.org"),
        ("canary-jos\u00e9@example.org", "canary-jose@example.org"),
        (None, ""),
        ("", ""),
        (None, EMAIL),
    ],
    ids=["longer", "space", "sharp-s", "kelvin", "accent", "none-none", "empty", "none"],
)
def test_an_email_that_only_resembles_is_another_persons(held: str | None, asked: str) -> None:
    assert found(page({"id": "p-1", "email": held}), asked) is None


def test_a_service_that_ignores_the_filter_gives_nobody() -> None:
    rows = [{"id": f"p-{n}", "email": f"canary-{n}@example.org"} for n in range(15)]
    assert found(page(*rows)) is None


@pytest.mark.parametrize(
    ("body", "status"),
    [({"data": None}, 200), ({"data": {}}, 200), ({"data": False}, 200)]
    + [
        ({"message": text}, 404)
        for text in ("Not Found", "No query results for model [App\\Models\\Profile].")
    ],
    ids=["null", "object", "false", "404", "404 of a thing"],
)
def test_nobody_is_taken_for_missing_by_anything_but_an_empty_list(body: object, status: int) -> None:
    assert found(page()) is None
    with pytest.raises(WaitError):
        found(body, status=status)


def test_fields_that_are_not_needed_may_be_anything() -> None:
    assert found(page({"id": "p-1", "email": EMAIL, "first_name": 7, "attributes": [], "new": {}})) == "p-1"


@pytest.mark.parametrize(
    "body",
    [
        "", "[]", "null", "7", "{}", '{"data": "canary"}', '{"data": 7}', '{"data": ["canary"]}', '{"data": [null]}',
        '{"data": {"id": "canary"}}', '{"data": [{"email": "canary@example.org"}]}', '{"data": [{"id": 7}]}',
        '{"data": [{"id": null, "email": null}]}', '{"data": [{"id": "p", "email": ["canary"]}]}', "<html>canary</html>", "{",
    ],
)  # fmt: skip
def test_a_list_of_profiles_that_cannot_be_read_waits_and_repeats_nothing(body: str) -> None:
    with pytest.raises(WaitError) as failed:
        found(body)
    assert failed.value.service == "Omneo"
    assert "canary" not in str(failed.value)
    assert failed.value.__suppress_context__


# The token


@pytest.mark.parametrize("exp", [1790000000, 1790000000.5, "1790000000"])
def test_the_expiry_is_what_omneo_said(exp: object) -> None:
    token = minted({"data": {"token": "canary.a.b", "exp": exp, "new": 1}})
    assert token.exp == float(str(exp))
    assert token.token.get_secret_value() == "canary.a.b"
    assert "canary" not in repr(token) + str(token)


@pytest.mark.parametrize(
    "body",
    [
        "", "[]", "null", "{}", '{"data": null}', '{"data": []}', '{"data": "canary"}', '{"data": {"exp": 1790000000}}',
        '{"data": {"token": "canary"}}', '{"data": {"token": "", "exp": 1}}', '{"data": {"token": null, "exp": 1}}',
        '{"data": {"token": 7, "exp": 1}}', '{"data": {"token": "canary", "exp": null}}', "<html>canary</html>",
        '{"data": {"token": "canary", "exp": "soon"}}', '{"data": {"token": "canary", "exp": 1e999}}',
        '{"data": {"token": "canary", "exp": NaN}}', '{"token": "canary", "exp": 1790000000}',
    ],
)  # fmt: skip
def test_an_answer_without_a_usable_token_waits_and_repeats_nothing(body: str) -> None:
    with pytest.raises(WaitError) as failed:
        minted(body)
    assert failed.value.service == "Omneo"
    assert "canary" not in str(failed.value)
    assert failed.value.__suppress_context__


@pytest.mark.parametrize(
    "mint",
    [
        lambda omneo: omneo.mint_id_token(profile_id="canary-nobody"),
        lambda omneo: omneo.mint_id_token_by_identity(identifier="canary-nobody", handle="klaviyo"),
    ],
    ids=["profile", "identity"],
)
def test_no_token_is_minted_for_nobody(omneo: OmneoClient, mint: Callable[[OmneoClient], object]) -> None:
    with pytest.raises(NotFoundError) as failed:
        mint(omneo)
    assert str(failed.value) == "Omneo answered 404"


# What goes wrong


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, RefusedError), (401, TokenRejectedError), (403, RefusedError), (422, RefusedError), (429, WaitError),
     (500, WaitError), (503, WaitError)],
)  # fmt: skip
def test_each_status_comes_out_as_ours_on_every_call(
    sandbox: Sandbox, omneo: OmneoClient, status: int, kind: type[ServiceError]
) -> None:
    calls: list[Callable[[], object]] = [
        lambda: omneo.mint_id_token(profile_id="p"),
        lambda: omneo.mint_id_token_by_identity(identifier="i", handle="klaviyo"),
        lambda: omneo.find_profile_by_email(EMAIL),
    ]
    for call in calls:
        sandbox.omneo.fail(status=status)
        with pytest.raises(ServiceError) as failed:
            call()
        assert type(failed.value) is kind
        assert (failed.value.service, failed.value.status) == ("Omneo", status)
    assert len(sandbox.omneo.calls.all()) == len(calls)  # one try each


@pytest.mark.parametrize("kind", ["reset", "hang", "drip", "html403", "truncated", "empty", "broken_json"])
def test_each_fault_of_the_wire_waits(sandbox: Sandbox, omneo: OmneoClient, kind: Kind) -> None:
    sandbox.omneo.fail(kind=kind, seconds=2)
    with pytest.raises(WaitError):
        omneo.find_profile_by_email(EMAIL)


def test_a_wrong_token_is_told_apart_from_a_refusal(sandbox: Sandbox, omneo: OmneoClient) -> None:
    wrong = client(base_url(sandbox.omneo.url_template, TENANT), "canary-wrong")
    with pytest.raises(TokenRejectedError) as failed:
        wrong.find_profile_by_email(EMAIL)
    assert "canary" not in str(failed.value)


def test_laravels_422_names_the_field_and_keeps_the_value_to_itself() -> None:
    said = {
        "message": "The given data was invalid.",
        "errors": {"id": [f"{EMAIL} is unknown"], "id_handle": ["x"]},
    }
    with pytest.raises(RefusedError) as refused:
        minted(said, status=422)
    assert str(refused.value) == "Omneo answered 422: invalid at id"
    assert (refused.value.code, refused.value.detail) == ("invalid", f"['{EMAIL} is unknown']")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"errors": {"mobile_phone": ["The phone number exists"]}},
         Problem("invalid", "mobile_phone", "['The phone number exists']")),
        ({"errors": {"external_id": "taken"}, "code": 7}, Problem("invalid", "external_id", "taken")),
        ({"message": "No query results for model [App\\Models\\Profile] 7"}, Problem(detail="No query results for model [App\\Models\\Profile] 7")),
        ({"message": "Profile not found.", "errors": []}, Problem(detail="Profile not found.")),
        ({"message": "The external id has already been taken.", "errors": None}, Problem(detail="The external id has already been taken.")),
    ],
)  # fmt: skip
def test_laravels_errors_are_read(body: object, expected: Problem) -> None:
    assert read_problem(body) == expected


@pytest.mark.parametrize(
    ("message", "statuses"),
    [
        ("", range(400, 500)), ("Not Found", range(400, 500)), ("not found.", range(400, 500)), ("Forbidden", range(400, 500)),
        ("Request Entity Too Large", range(400, 500)), ("Unauthenticated.", [404]), ("No query results for model [App\\Models\\Tenant] acme", [404]),
        ("This action is unauthorized.", [404]), ("Resource not found", [404]), ("Profile not found.", []),
        ("Access denied", [403, 404]), ("Access is denied.", [403, 404]), ("Your request was blocked.", [403, 404]),
        ("You are not authorised to do this.", [403, 404]), ("You are not authorized to see this profile.", [403]),
        ("Access denied to this definition.", [403]), ("The reward is unauthorized.", []),
    ],
)  # fmt: skip
def test_a_message_that_a_gateway_would_say_as_well_is_no_verdict_with_these_statuses(
    message: str, statuses: Iterable[int]
) -> None:
    assert read_problem({"message": message}).is_anybodys == {*statuses} - {401}


@pytest.mark.parametrize(
    "body",
    [
        {"message": "no Route matched with those values"},
        {"message": "no Route matched with those values", "request_id": "a1"},
        {"message": "no API found with those values"},
        {"message": "The current request is not defined by this API.", "code": 404},
        {"message": "The route api/v3/profiles/7 could not be found."},
        {"message": "Missing Authentication Token"},
        {"message": "You cannot consume this service"},
        {"message": "The requested URL was not found on this server."},
        {"message": "This page could not be found."},
        {"message": "No such path: /profiles/7"},
        {"message": "Cannot GET /profiles/7"},
        {"message": "Unknown endpoint for profiles"},
        {"message": "upstream connect error or disconnect before headers"},
        {"message": "The gateway knows no such profile."},
        {"message": "The profile services are down for maintenance."},
        {"message": "Your IP address is not allowed to read profiles."},
        {"message": "Blocked by WAF: profile"},
        {"message": "There is nothing at /api/v3/profiles/7"},
        {"message": "Profile not found", "statusCode": 404},
        {"status": 404, "error": "Not Found", "path": "/api/v3/profiles/7"},
        {"errors": {"profile": 7}},
        {"errors": [{"message": "not found"}]},
    ],
    ids=str,
)
def test_the_words_of_a_gateway_are_none_of_omneos(body: object) -> None:
    with pytest.raises((TypeError, KeyError, AttributeError)):
        read_problem(body)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "null",
        "<html>canary</html>",
        '{"errors": ["canary"]}',
        '{"errors": "canary"}',
        '"canary"',
        "7",
        "{}",
    ],
)
def test_a_refusal_that_is_not_omneos_own_waits(body: str) -> None:
    with pytest.raises(WaitError) as refused:
        minted(body, status=422)
    assert str(refused.value) == "Omneo answered 422 from its edge, not its API"


# Consent and interactions


COMMS_URL = f"{URL}/api/v3/profiles/p-1/attributes/comms"
HAPPENED = Interaction(
    profile_id="p-1",
    name="bounced_email",
    description="Klaviyo: bounced email",
    channel="email",
    signal=-1,
    at=datetime(2026, 11, 21, 21, 0, tzinfo=timezone(timedelta(hours=11))),
    meta={"event_id": "e-1"},
)


def looked_up(body: object, status: int = 200) -> tuple[Profile | None, Profile | None]:
    """Return the profile that is read by id, and by identity, in this answer."""
    raw = body if isinstance(body, str | bytes) else json.dumps(body)
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        mock.add(responses.GET, f"{PROFILES_URL}/p-1", status=status, body=raw)
        mock.add(responses.POST, f"{PROFILES_URL}/search-id", status=status, body=raw)
        by_id = client(URL).profile("p-1")
        return by_id, client(URL).find_profile_by_identity(identifier="01K", handle="klaviyo")


def test_a_profile_is_found_by_its_id_and_by_an_identity(sandbox: Sandbox, omneo: OmneoClient) -> None:
    held = {"email_promo": True, "email_consent_updated_at": "2026-11-21 10:00:00"}
    made = sandbox.omneo.profile(
        TENANT,
        email=EMAIL,
        identities=[{"handle": "klaviyo", "identifier": "01K"}],
        attributes={"comms": held},
    )
    for found in (
        omneo.profile(made["id"]),
        omneo.find_profile_by_identity(identifier="01K", handle="klaviyo"),
    ):
        assert found is not None
        assert (found.id, found.email) == (made["id"], EMAIL)
        assert {name: found.comms[name] for name in held} == held
    read, searched = sandbox.omneo.calls.all()
    assert (read.method, read.path) == ("GET", f"/{TENANT}/api/v3/profiles/{made['id']}")
    assert (searched.method, searched.path) == ("POST", f"/{TENANT}/api/v3/profiles/search-id")
    assert json.loads(searched.body) == {"type": "klaviyo", "id": "01K"}


def test_a_profile_that_is_not_there_is_none(omneo: OmneoClient) -> None:
    assert omneo.profile("5d1f6a3e-0b6c-4c1e-9a37-3a4f4f0d7a11") is None
    assert omneo.find_profile_by_identity(identifier="01K", handle="klaviyo") is None


@pytest.mark.parametrize("body", [{"data": None}, {"data": []}, {"data": {}}], ids=str)
def test_an_empty_answer_to_a_search_is_nobody(body: object) -> None:
    with responses.RequestsMock() as mock:
        mock.add(responses.POST, f"{URL}/api/v3/profiles/search-id", json=body)
        assert client(URL).find_profile_by_identity(identifier="01K", handle="klaviyo") is None


@pytest.mark.parametrize(
    "body", [{"data": None}, {"data": []}, {"data": {}}, {"data": False}, {"data": ""}], ids=str
)
def test_an_empty_answer_to_a_profiles_id_is_no_verdict(body: object) -> None:
    with responses.RequestsMock() as mock:
        mock.add(responses.GET, f"{URL}/api/v3/profiles/p-1", json=body)
        with pytest.raises(WaitError):
            client(URL).profile("p-1")
        with pytest.raises(WaitError):
            client(URL).profile_fields("p-1")


# A 404 that Omneo or its gateway may have said

BARE = {"message": "Not Found"}
SEARCH = f"{URL}/api/v3/profiles/search-id"


def test_a_bare_404_is_believed_once_omneo_is_heard_behind_the_same_path() -> None:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        mock.add(responses.GET, f"{URL}/api/v3/profiles", json=page({"id": "p-2"}))
        mock.add(responses.GET, f"{URL}/api/v3/profiles/p-2", json={"data": {"id": "p-2"}})
        mock.add(responses.GET, f"{URL}/api/v3/profiles/p-1", status=404, json=BARE)
        mock.add(responses.PUT, f"{URL}/api/v3/profiles/p-1/attributes/comms", status=404, json=BARE)
        assert client(URL).profile("p-1") is None
        with pytest.raises(NotFoundError):
            client(URL).update_comms("p-1", {})


def test_a_bare_404_of_a_search_is_nobody_once_omneo_is_heard_behind_it() -> None:
    known = responses.matchers.json_params_matcher({"type": "profile_id", "id": "p-2"})
    with responses.RequestsMock() as mock:
        mock.add(responses.GET, f"{URL}/api/v3/profiles", json=page({"id": "p-2"}))
        mock.add(responses.POST, SEARCH, json={"data": {"id": "p-2"}}, match=[known])
        mock.add(responses.POST, SEARCH, status=404, json=BARE)
        assert client(URL).find_profile_by_identity(identifier="01K", handle="klaviyo") is None


def test_a_bare_404_where_omneo_has_nobody_at_all_is_nobody() -> None:
    with responses.RequestsMock() as mock:
        mock.add(responses.GET, f"{URL}/api/v3/profiles", json=page())
        mock.add(responses.GET, f"{URL}/api/v3/profiles/p-1", status=404, json=BARE)
        assert client(URL).profile("p-1") is None


@pytest.mark.parametrize(
    ("listed", "status", "other"),
    [
        ({"message": "Not Found"}, 404, None),
        ({"data": None}, 200, None),
        (page({"id": "p-1"}), 200, None),
        (page({"id": None}), 200, None),
        (page({"id": "p-2"}), 200, 404),
        (page({"id": "p-2"}), 200, 503),
    ],
    ids=["no list", "odd list", "listed", "no id", "path lost", "down"],
)
def test_a_bare_404_waits_while_omneo_is_not_heard_behind_the_path(
    listed: object, status: int, other: int | None
) -> None:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        mock.add(responses.GET, f"{URL}/api/v3/profiles", status=status, json=listed)
        mock.add(responses.GET, f"{URL}/api/v3/profiles/p-1", status=404, json=BARE)
        mock.add(responses.GET, f"{URL}/api/v3/profiles/p-2", status=other or 200, json=BARE)
        with pytest.raises(WaitError):
            client(URL).profile("p-1")
        mock.add(responses.PUT, f"{URL}/api/v3/profiles/p-1/attributes/comms", status=404, json=BARE)
        with pytest.raises(WaitError):
            client(URL).update_comms("p-1", {})


def test_a_profile_that_a_gateway_lost_for_a_moment_is_found() -> None:
    with responses.RequestsMock() as mock:
        mock.add(responses.GET, f"{URL}/api/v3/profiles", json=page({"id": "p-2"}))
        mock.add(responses.GET, f"{URL}/api/v3/profiles/p-2", json={"data": {"id": "p-2"}})
        mock.add(responses.GET, f"{URL}/api/v3/profiles/p-1", status=404, json=BARE)
        mock.add(responses.GET, f"{URL}/api/v3/profiles/p-1", json={"data": {"id": "p-1"}})
        found = client(URL).profile("p-1")
        assert found is not None
        assert found.id == "p-1"


@pytest.mark.parametrize(
    "body",
    [
        {"data": {"email": EMAIL}},
        {"data": {"id": 7}},
        {"data": "p-1"},
        {"data": [{"id": "p-1"}]},
        {"id": "p-1"},
        {},
        "",
        "null",
        "[]",
        "OK",
        "<html></html>",
    ],
    ids=str,
)
def test_a_profile_that_makes_no_sense_is_waited_for(body: object) -> None:
    with pytest.raises(WaitError):
        looked_up(body)


@pytest.mark.parametrize("attributes", [None, [], {}, {"comms": None}, {"comms": []}, "text"], ids=str)
def test_a_profile_without_consent_has_none(attributes: object) -> None:
    by_id, by_identity = looked_up({"data": {"id": "p-1", "attributes": attributes}})
    assert by_id is not None
    assert by_identity is not None
    assert (by_id.comms, by_identity.comms) == ({}, {})


def test_consent_and_email_are_not_shown_by_accident() -> None:
    profile = Profile(id="p-1", email=EMAIL, attributes={"comms": {"canary": True}})
    assert "canary" not in repr(profile)


def test_only_the_named_fields_of_consent_change(sandbox: Sandbox, omneo: OmneoClient) -> None:
    id = sandbox.omneo.profile(TENANT, attributes={"comms": {"sms_promo": True, "email_promo": True}})["id"]
    change = {"email_promo": False, "email_consent_updated_at": "2026-11-21 10:00:00"}
    for _ in range(2):
        omneo.update_comms(id, change)
    held = sandbox.omneo.comms(TENANT, id)
    assert {name: held[name] for name in change} == change
    assert held["sms_promo"] is True
    call = sandbox.omneo.calls.all()[-1]
    assert (call.method, call.path) == ("PUT", f"/{TENANT}/api/v3/profiles/{id}/attributes/comms")
    assert json.loads(call.body) == change


def test_an_id_cannot_leave_its_place_in_a_path(sandbox: Sandbox, omneo: OmneoClient) -> None:
    assert omneo.profile("../webhooks") is None
    with pytest.raises(NotFoundError):
        omneo.update_comms("x/../../webhooks?y=", {"email_promo": True})
    assert all("/profiles/" in call.path for call in sandbox.omneo.calls.all())


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, NotFoundError), (422, RefusedError), (401, TokenRejectedError), (503, WaitError)],
)
def test_consent_that_is_not_taken_is_an_error_by_what_to_do_about_it(
    status: int, error: type[ServiceError]
) -> None:
    with responses.RequestsMock() as mock:
        mock.add(
            responses.PUT, COMMS_URL, status=status, json={"message": "no", "errors": {"email_promo": ["no"]}}
        )
        with pytest.raises(error):
            client(URL).update_comms("p-1", {"email_promo": True})


def test_an_interaction_carries_its_events_id_and_utc(sandbox: Sandbox, omneo: OmneoClient) -> None:
    id = sandbox.omneo.profile(TENANT, email=EMAIL)["id"]
    omneo.create_interaction(replace(HAPPENED, profile_id=id), "klaviyo")
    [made] = sandbox.omneo.interactions(TENANT)
    wanted = {
        "profile_id": id,
        "action": "reach",
        "channel": "email",
        "signal": -1,
        "name": "bounced_email",
        "namespace": "klaviyo",
        "interacted_at": "2026-11-21 10:00:00",
        "meta": {"event_id": "e-1"},
    }
    assert {name: made[name] for name in wanted} == wanted


def test_an_interaction_of_a_profile_that_is_gone_is_refused(omneo: OmneoClient) -> None:
    with pytest.raises(RefusedError) as refused:
        omneo.create_interaction(HAPPENED, "klaviyo")
    assert refused.value.status == 422


@pytest.mark.parametrize("kind", ["empty", "broken_json", "truncated", "reset"])
def test_an_interaction_whose_answer_is_not_omneos_own_is_tried_again(
    sandbox: Sandbox, omneo: OmneoClient, kind: Kind
) -> None:
    """It may be made twice then, and both carry the event's id; taken for done, it could be lost."""
    id = sandbox.omneo.profile(TENANT, email=EMAIL)["id"]
    sandbox.omneo.fail(kind=kind, takes_effect=True)
    with pytest.raises(WaitError):
        omneo.create_interaction(replace(HAPPENED, profile_id=id), "klaviyo")
    assert len(sandbox.omneo.interactions(TENANT)) == 1


# Whatever an edge says, nobody is taken for missing and nothing for done

CALLS: list[Callable[[OmneoClient], object]] = [
    lambda omneo: omneo.profile("p-1"),
    lambda omneo: omneo.profile_fields("p-1"),
    lambda omneo: omneo.profiles_page(1),
    lambda omneo: omneo.find_profile_by_email(EMAIL),
    lambda omneo: omneo.find_profile_by_identity(identifier="01K", handle="klaviyo"),
    lambda omneo: list(omneo.rewards_of_profile("p-1")),
    lambda omneo: omneo.reward_definition(7),
    lambda omneo: omneo.reward_definition_by_handle("birthday"),
    lambda omneo: omneo.create_reward({"profile_id": "p-1"}),
    lambda omneo: omneo.webhooks("klaviyo"),
    lambda omneo: omneo.mint_id_token(profile_id="p-1"),
]
WRITES: list[Callable[[OmneoClient], object]] = [
    lambda omneo: omneo.update_comms("p-1", {"email_promo": False}),
    lambda omneo: omneo.create_interaction(HAPPENED, "klaviyo"),
    lambda omneo: omneo.create_identity("p-1", handle="klaviyo", identifier="01K"),
    lambda omneo: omneo.update_identity("p-1", handle="klaviyo", identifier="01K"),
    lambda omneo: omneo.create_webhook("profile.created", "https://example.org", "klaviyo"),
    lambda omneo: omneo.update_webhook_url(7, "https://example.org"),
    lambda omneo: omneo.delete_webhook(7),
]


def answered(call: Callable[[OmneoClient], object], *, status: int, body: str) -> ServiceError:
    """Make the call, which is always answered so, and return what it raises."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        for method in ("GET", "POST", "PUT", "DELETE"):
            mock.add(responses.Response(method, re.compile(f"{URL}/.*"), body=body, status=status))
        with pytest.raises(ServiceError) as failed:
            call(client(URL))
    return failed.value


@pytest.mark.parametrize("call", [*CALLS, *WRITES])
def test_no_call_believes_the_status_of_an_edge(call: Callable[[OmneoClient], object]) -> None:
    statuses = (200, 400, 401, 402, 403, 404, 405, 409, 410, 413, 414, 422, 451)
    for status, body in itertools.product(statuses, ("", "<html>canary</html>")):
        assert type(answered(call, status=status, body=body)) is WaitError, (status, body)


@pytest.mark.parametrize("call", [*CALLS, *WRITES])
def test_no_call_believes_a_gateways_own_json(call: Callable[[OmneoClient], object]) -> None:
    statuses = (400, 402, 403, 404, 405, 409, 410, 413, 414, 415, 417, 421, 422, 431, 451)
    strangers: list[object] = [
        {"message": "Not Found"}, {"message": ""}, {"message": "no Route matched with those values"}, {"error": "not found"},
        {"message": "Forbidden", "requestId": "1"}, {"errors": [{"title": "x"}]}, {"fault": {"faultstring": "x"}}, [], "not found", 7, None,
    ]  # fmt: skip
    for status, body in itertools.product(statuses, strangers):
        assert isinstance(answered(call, status=status, body=json.dumps(body)), WaitError), (status, body)


@pytest.mark.parametrize("call", WRITES)
def test_a_success_in_a_strangers_words_is_no_success(call: Callable[[OmneoClient], object]) -> None:
    strangers: list[object] = [
        {"message": "We are back soon"},
        {"error": "x"},
        {"errors": []},
        {"title": "x", "status": 200},
        {"status": "ok"},
        {},
        [],
        "ok",
        7,
    ]
    for body in strangers:
        assert isinstance(answered(call, status=200, body=json.dumps(body)), WaitError), body


@pytest.mark.parametrize(
    "call",
    [
        lambda omneo: omneo.update_comms("7", {"email_promo": False}),
        lambda omneo: omneo.create_identity("7", handle="klaviyo", identifier="01HX"),
        lambda omneo: omneo.update_identity("7", handle="klaviyo", identifier="01HX"),
        lambda omneo: omneo.create_reward({}),
        lambda omneo: omneo.profile("7"),
    ],
)
def test_a_success_without_a_body_is_none_where_omneo_always_says_what_it_did(
    call: Callable[[OmneoClient], object],
) -> None:
    for status in (202, 204, 205):
        assert isinstance(answered(call, status=status, body=""), WaitError), status


@pytest.mark.parametrize("call", CALLS)
def test_a_success_in_another_shape_is_no_nobody(call: Callable[[OmneoClient], object]) -> None:
    for body in ("null", "[]", "{}", "7", '"OK"', '{"data": "canary"}', '{"status": "ok"}'):
        error = answered(call, status=200, body=body)
        assert type(error) is WaitError, body
        assert "canary" not in str(error)


@pytest.mark.parametrize("id", ["", ".", ".."])
def test_an_id_that_would_be_another_path_is_nobodys_and_nothing_is_called(id: str) -> None:
    with responses.RequestsMock():
        assert client(URL).profile(id) is None
        assert client(URL).profile_fields(id) is None
        assert client(URL).reward_definition(id) is None
        writes: list[Callable[[OmneoClient], object]] = [
            lambda omneo: omneo.update_comms(id, {}),
            lambda omneo: omneo.create_identity(id, handle="klaviyo", identifier="x"),
            lambda omneo: omneo.update_identity(id, handle="klaviyo", identifier="x"),
            lambda omneo: omneo.update_identity("p-1", handle=id, identifier="x"),
        ]
        for write in writes:
            with pytest.raises(NotFoundError):
                write(client(URL))


# The token of the API


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, "OK", None), (204, "", None), (200, "", None), (201, "{}", None), (200, "[]", None), (200, "null", None), (200, "7", None),
        (200, "<html>", None), (200, '{"data": null}', None), (200, '{"data": {"expires_at": null}}', None),
        (200, '{"data": {"expires_at": "soon"}}', None), (200, '{"data": {"expires_at": 7}}', None),
        (200, '{"data": {"expires_at": "2027-01-02 03:04:05"}}', datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (200, '{"expires_at": "2027-01-02 03:04:05"}', datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (200, '{"data": {"expires_at": "2027-01-02T13:04:05+10:00"}}', datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)),
    ],
)  # fmt: skip
def test_any_success_means_that_omneo_accepts_the_token(
    status: int, body: str, expected: datetime | None
) -> None:
    with responses.RequestsMock() as mock:
        mock.add(responses.GET, f"{URL}/api/v3/auth/verify", status=status, body=body)
        assert client(URL).verify_token() == expected


def test_a_token_that_omneo_does_not_accept_is_rejected_by_omneos_own_words_alone() -> None:
    with responses.RequestsMock() as mock:
        mock.add(responses.GET, f"{URL}/api/v3/auth/verify", status=401, json={"message": "Unauthenticated."})
        mock.add(responses.GET, f"{URL}/api/v3/auth/verify", status=401, body="<html>")
        with pytest.raises(TokenRejectedError):
            client(URL).verify_token()
        with pytest.raises(WaitError):
            client(URL).verify_token()
