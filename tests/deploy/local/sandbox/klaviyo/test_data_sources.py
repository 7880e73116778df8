"""The sandbox's accounts and data sources as a client sees them, with scopes, limits and lost answers."""

from typing import Any

import pytest
import requests
from openapi_client.models.data_source_create_query import DataSourceCreateQuery
from openapi_client.models.get_account_response_collection import GetAccountResponseCollection
from openapi_client.models.get_data_source_response_collection import GetDataSourceResponseCollection
from openapi_client.models.post_data_source_response import PostDataSourceResponse

from deploy.local.sandbox import Sandbox
from tests.deploy.local.sandbox.klaviyo.calls import Caller

SOURCES = "/api/data-sources"
TITLE = "/data/attributes/title"


def a_source(title: Any = "Omneo Rewards", **attributes: Any) -> dict[str, Any]:
    named = {"title": title, **attributes}
    given = {name: value for name, value in named.items() if value is not ...}
    return {"data": {"type": "data-source", "attributes": given}}


def test_an_account_says_what_it_was_set_to(sandbox: Sandbox, call: Caller) -> None:
    sandbox.klaviyo.account(
        "WBhXHN",
        organization_name="Acme",
        timezone="Europe/Copenhagen",
        currency="DKK",
        country="Denmark",
        locale="da-DK",
    )
    body = call("GET", "/api/accounts").json()
    GetAccountResponseCollection.model_validate(body)
    (account,) = body["data"]
    attributes, contact = account["attributes"], account["attributes"]["contact_information"]
    assert (account["type"], account["id"]) == ("account", "WBhXHN")
    assert account["links"]["self"] == f"{sandbox.klaviyo.url}/api/accounts/WBhXHN/"
    assert (attributes["timezone"], attributes["preferred_currency"], attributes["locale"]) == (
        "Europe/Copenhagen",
        "DKK",
        "da-DK",
    )
    assert (contact["organization_name"], contact["street_address"]["country"]) == ("Acme", "Denmark")
    assert body["links"] == {"self": f"{sandbox.klaviyo.url}/api/accounts", "next": None, "prev": None}


def test_an_account_has_no_other_details(sandbox: Sandbox) -> None:
    with pytest.raises(TypeError):
        sandbox.klaviyo.account("WBhXHN", colour="red")


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (a_source(), ("Omneo Rewards", "private", "", "custom-objects")),
        (
            a_source("t" * 255, visibility="shared", description="d", namespace="n"),
            ("t" * 255, "shared", "d", "n"),
        ),
        (
            a_source(visibility=None, description=None, namespace=None),
            ("Omneo Rewards", "private", "", "custom-objects"),
        ),
    ],
)
def test_what_the_official_model_accepts_is_made_read_and_removed(
    sandbox: Sandbox, call: Caller, body: dict[str, Any], kept: tuple[str, ...]
) -> None:
    DataSourceCreateQuery.model_validate(body, extra="forbid", by_alias=True, by_name=False)
    made = call("POST", SOURCES, body)
    assert made.status_code == 201
    PostDataSourceResponse.model_validate(made.json())
    source = made.json()["data"]
    assert source["attributes"] == dict(
        zip(("title", "visibility", "description", "namespace"), kept, strict=True)
    )
    assert call("GET", f"{SOURCES}/{source['id']}").json()["data"] == source
    assert source["links"]["self"] == f"{sandbox.klaviyo.url}{SOURCES}/{source['id']}/"
    assert call("GET", f"{SOURCES}/{source['id']}/").json()["data"] == source
    (known,) = sandbox.klaviyo.data_sources("WBhXHN")
    assert (known.id, known.title) == (source["id"], kept[0])
    removed = call("DELETE", f"{SOURCES}/{source['id']}")
    assert (removed.status_code, removed.content) == (204, b"")
    assert sandbox.klaviyo.data_sources("WBhXHN") == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ([], "/data"),
        ({"data": None}, "/data"),
        ({"data": {**a_source()["data"], "type": "source"}}, "/data/type"),
        ({"data": {"type": "data-source"}}, "/data/attributes"),
        (a_source(...), TITLE),
        (a_source(None), TITLE),
        (a_source(""), TITLE),
        (a_source("t" * 256), TITLE),
        (a_source(7), TITLE),
        (a_source(visibility="public"), "/data/attributes/visibility"),
        (a_source(description=7), "/data/attributes/description"),
        (a_source(namespace=""), "/data/attributes/namespace"),
        (a_source(name="n"), "/data/attributes/name"),
    ],
)
def test_a_body_that_klaviyo_would_refuse_is_400_and_makes_nothing(
    sandbox: Sandbox, call: Caller, body: Any, pointer: str
) -> None:
    answer = call("POST", SOURCES, body)
    assert answer.status_code == 400
    assert [error["source"]["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert sandbox.klaviyo.data_sources("WBhXHN") == []


@pytest.mark.parametrize(("status", "code"), [(409, "duplicate"), (400, "invalid")])
def test_a_title_is_taken_once_in_its_namespace(
    sandbox: Sandbox, call: Caller, status: int, code: str
) -> None:
    sandbox.klaviyo.duplicate_title_status = status
    sandbox.klaviyo.data_source("WBhXHN", "Omneo Rewards")
    answer = call("POST", SOURCES, a_source())
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["code"], error["source"]["pointer"]) == (status, code, TITLE)
    assert call("POST", SOURCES, a_source("omneo rewards")).status_code == 201
    assert call("POST", SOURCES, a_source(namespace="other")).status_code == 201
    assert len(sandbox.klaviyo.data_sources("WBhXHN")) == 3


def test_pages_follow_each_other_to_the_end_and_back(sandbox: Sandbox, call: Caller) -> None:
    made = [sandbox.klaviyo.data_source("WBhXHN", f"Source {number}").id for number in range(5)]
    first = call("GET", SOURCES, params={"page[size]": 2}).json()
    GetDataSourceResponseCollection.model_validate(first)
    seen, body = [row["id"] for row in first["data"]], first
    while (following := body["links"]["next"]) is not None:
        body = call("GET", following.removeprefix(sandbox.klaviyo.url)).json()
        seen += [row["id"] for row in body["data"]]
    assert seen == made
    assert first["links"]["prev"] is None
    before = call("GET", body["links"]["prev"].removeprefix(sandbox.klaviyo.url)).json()
    assert [row["id"] for row in before["data"]] == made[2:4]
    assert len(call("GET", SOURCES).json()["data"]) == 5


@pytest.mark.parametrize(
    ("parameters", "status", "parameter"),
    [
        ({"page[size]": "0"}, 400, "page[size]"),
        ({"page[size]": "101"}, 400, "page[size]"),
        ({"page[size]": "many"}, 400, "page[size]"),
        ({"page[cursor]": "2"}, 400, "page[cursor]"),
        ({"page[cursor]": "b3RoZXI6OjI="}, 400, "page[cursor]"),
        ({"filter": 'equals(title,"Omneo Rewards")'}, 400, "filter"),
        ({"fields[data-source]": "title"}, 501, None),
    ],
)
def test_parameters_that_klaviyo_would_refuse(
    call: Caller, parameters: dict[str, str], status: int, parameter: str | None
) -> None:
    answer = call("GET", SOURCES, params=parameters)
    assert answer.status_code == status
    assert [error["source"].get("parameter") for error in answer.json()["errors"]] == [parameter]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"{SOURCES}/unknown", 404),
        ("DELETE", f"{SOURCES}/unknown", 404),
        ("GET", f"{SOURCES}/unknown/more", 404),
        ("PATCH", f"{SOURCES}/unknown", 405),
        ("POST", "/api/accounts", 405),
        ("GET", "/api/accounts/WBhXHN", 404),
    ],
)
def test_what_is_not_there_is_refused(call: Caller, method: str, path: str, status: int) -> None:
    assert call(method, path, a_source() if method in ("PATCH", "POST") else None).status_code == status


@pytest.mark.parametrize(
    ("scope", "method", "path"),
    [
        ("accounts:read", "GET", "/api/accounts"),
        ("custom-objects:read", "GET", SOURCES),
        ("custom-objects:read", "GET", f"{SOURCES}/unknown"),
        ("custom-objects:write", "POST", SOURCES),
        ("custom-objects:write", "DELETE", f"{SOURCES}/unknown"),
        ("webhooks:read", "GET", "/api/webhook-topics"),
        ("webhooks:read", "GET", "/api/webhook-topics/event:klaviyo.sent_sms"),
        ("webhooks:read", "GET", "/api/webhooks"),
        ("webhooks:read", "GET", "/api/webhooks/unknown"),
        ("webhooks:write", "POST", "/api/webhooks"),
        ("webhooks:write", "PATCH", "/api/webhooks/unknown"),
        ("webhooks:write", "DELETE", "/api/webhooks/unknown"),
    ],
)
def test_each_endpoint_needs_its_own_scope_and_no_other(
    sandbox: Sandbox, call: Caller, scope: str, method: str, path: str
) -> None:
    every = {
        "accounts:read",
        "custom-objects:read",
        "custom-objects:write",
        "webhooks:read",
        "webhooks:write",
    }
    body: object = {} if method in ("POST", "PATCH") else None
    poor = sandbox.klaviyo.install("WBhXHN", scopes=" ".join(every - {scope})).access_token
    refused = call(method, path, body, bearer=poor)
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (403, "permission_denied")
    enough = sandbox.klaviyo.install("WBhXHN", scopes=scope).access_token
    assert call(method, path, body, bearer=enough).status_code in (200, 400, 404)


@pytest.mark.parametrize(
    ("path", "burst", "steady"),
    [
        ("/api/accounts", 1, 15),
        (SOURCES, 3, 60),
        ("/api/webhook-topics", 1, 15),
        ("/api/webhooks", 1, 15),
    ],
)
def test_limits_are_those_of_the_reference(
    sandbox: Sandbox, call: Caller, path: str, burst: int, steady: int
) -> None:
    statuses = [call("GET", path, later=0).status_code for _ in range(burst + 1)]
    assert statuses == [200] * burst + [429]
    used, last = burst, requests.Response()
    while used < steady:
        last = call("GET", path, later=0 if used % burst else 1)
        assert last.status_code == 200
        used += 1
    assert last.headers["RateLimit-Limit"] == f"{burst}, {burst};w=1, {steady};w=60"
    assert call("GET", path, later=1).status_code == 429
    assert call("GET", path, later=60).status_code == 200


def test_one_limit_counts_for_every_id_and_another_for_every_method(sandbox: Sandbox, call: Caller) -> None:
    ids = [sandbox.klaviyo.data_source("WBhXHN", title).id for title in "abcd"]
    statuses = [call("GET", f"{SOURCES}/{id}", later=0).status_code for id in ids]
    assert statuses == [200, 200, 200, 429]
    assert call("DELETE", f"{SOURCES}/{ids[0]}", later=0).status_code == 204


def test_an_answer_can_be_lost_after_the_data_source_was_made(sandbox: Sandbox, call: Caller) -> None:
    sandbox.klaviyo.fail(match=f"POST {SOURCES}", kind="reset", takes_effect=True)
    with pytest.raises(requests.ConnectionError):
        call("POST", SOURCES, a_source())
    assert [source.title for source in sandbox.klaviyo.data_sources("WBhXHN")] == ["Omneo Rewards"]
    assert call("POST", SOURCES, a_source()).status_code == 409


def test_accounts_do_not_see_each_others_data_sources(sandbox: Sandbox, call: Caller) -> None:
    other = sandbox.klaviyo.install("OTHER1").access_token
    made = call("POST", SOURCES, a_source()).json()["data"]
    assert call("GET", SOURCES, bearer=other).json()["data"] == []
    assert call("GET", f"{SOURCES}/{made['id']}", bearer=other).status_code == 404
    assert call("POST", SOURCES, a_source(), bearer=other).status_code == 201


def test_a_call_without_a_body_needs_no_content_type_but_a_revision(sandbox: Sandbox) -> None:
    headers = {"Authorization": f"Bearer {sandbox.klaviyo.install('WBhXHN').access_token}"}
    url = f"{sandbox.klaviyo.url}{SOURCES}"
    assert requests.get(url, headers=headers, timeout=60).status_code == 400
    assert requests.get(url, headers={**headers, "revision": "2026-10-15"}, timeout=60).status_code == 200
