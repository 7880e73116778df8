"""What is known of the answers of Klaviyo and Omneo beyond their form, which tests/answers/ holds: what they say, and of whom."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from pydantic import SecretStr

from deploy.local.sandbox import Sandbox
from shared.errors import RefusedError, TokenRejectedError
from shared.http.client import HttpClient
from shared.http.connections import Connections
from shared.klaviyo.client import FixedToken, KlaviyoClient, read_problem
from shared.klaviyo.resources import SCOPES
from shared.omneo.client import OmneoClient
from shared.omneo.client import read_problem as read_omneos_problem
from tests.support.world import ACCOUNT, EMAIL, OMNEO_TOKEN, TENANT

OTHER = "canary-other@example.org"
SECRET = SecretStr("canary-webhook-secret")


@dataclass
class Shop:
    """A sandbox with our clients of one Klaviyo account and one Omneo tenant."""

    sandbox: Sandbox
    token: str

    @property
    def klaviyo(self) -> KlaviyoClient:
        return self.with_token(self.token)

    def with_token(self, token: str) -> KlaviyoClient:
        http = HttpClient("Klaviyo", self.sandbox.klaviyo.url, read_problem, Connections())
        return KlaviyoClient(http, FixedToken(SecretStr(token)), "2026-10-15")

    def omneo(self, token: str = OMNEO_TOKEN) -> OmneoClient:
        url = self.sandbox.omneo.url_template.replace("{tenant}", TENANT)
        return OmneoClient(HttpClient("Omneo", url, read_omneos_problem, Connections()), SecretStr(token))

    def ask(self, method: str, path: str, body: object = None, token: str | None = None) -> requests.Response:
        return self.at("2026-10-15", method, path, body, token)

    def at(
        self, revision: str, method: str, path: str, body: object = None, token: str | None = None
    ) -> requests.Response:
        headers = {"revision": revision, "Content-Type": "application/vnd.api+json"}
        if token != "":
            headers["Authorization"] = f"Bearer {self.token if token is None else token}"
        data = {"data": None} if body is None else {"json": body}
        return requests.request(method, self.sandbox.klaviyo.url + path, headers=headers, timeout=60, **data)


@pytest.fixture
def shop(sandbox: Sandbox) -> Shop:
    sandbox.omneo.tenant(TENANT, token=OMNEO_TOKEN)
    return Shop(sandbox, sandbox.klaviyo.install(ACCOUNT, scopes=" ".join(SCOPES)).access_token)


def an_event(**profile: Any) -> dict[str, Any]:
    metric = {"data": {"type": "metric", "attributes": {"name": "Reward Issued"}}}
    return {
        "metric": metric,
        "properties": {},
        "profile": {"data": {"type": "profile", "attributes": {}, **profile}},
    }


def a_profile(**fields: Any) -> dict[str, Any]:
    id = {"id": fields.pop("id")} if "id" in fields else {}
    return {"type": "profile", **id, "attributes": fields}


def conflict(shop: Shop, *, names_itself: bool) -> object:
    shop.sandbox.klaviyo.consent.duplicate_names_itself = names_itself
    shop.sandbox.klaviyo.profile(ACCOUNT, id="01OTHER", email=OTHER)
    shop.sandbox.klaviyo.profile(ACCOUNT, id="01JANE", email=EMAIL)
    return shop.klaviyo.import_profile(a_profile(id="01JANE", email=OTHER))


def test_a_conflict_names_whose_the_identifier_is_or_the_profile_itself(shop: Shop) -> None:
    for names_itself, named in ((False, "01OTHER"), (True, "01JANE")):
        with pytest.raises(RefusedError) as refused:
            conflict(shop, names_itself=names_itself)
        assert refused.value.duplicate_of == named


def test_an_update_is_refused_as_an_import_is(shop: Shop) -> None:
    with pytest.raises(RefusedError):
        conflict(shop, names_itself=True)
    answer = shop.ask("PATCH", "/api/profiles/01JANE", {"data": a_profile(id="01JANE", email=OTHER)})
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["code"]) == (409, "duplicate_profile")
    assert error["meta"] == {"duplicate_profile_id": "01JANE"}


def test_nobody_is_none_where_somebody_is_looked_for(shop: Shop) -> None:
    assert shop.klaviyo.profile("01NOBODY") is None
    assert shop.klaviyo.find_profile("email", EMAIL) is None
    assert shop.klaviyo.profiles_by("id", ["01NOBODY"]) == []


def test_erasing_somebody_who_is_gone_is_done(shop: Shop) -> None:
    shop.klaviyo.request_deletion("01NOBODY")
    (call,) = shop.sandbox.klaviyo.calls.all()
    assert call.status == 404


def test_a_404_of_a_resource_names_kind_and_id_and_has_neither_links_nor_meta(shop: Shop) -> None:
    for path, kind in (
        ("/api/lists/X", "A list"), ("/api/profiles/X", "A profile"), ("/api/webhooks/X", "A webhook"),
        ("/api/data-sources/X", "A data source"), ("/api/events/aaaaaaaaaaa", "An event"),
    ):  # fmt: skip
        answer = shop.ask("GET", path)
        (error,) = answer.json()["errors"]
        id = path.rpartition("/")[2]
        assert answer.status_code == 404
        assert error == {
            "id": answer.headers["X-Klaviyo-Req-Id"],
            "status": 404,
            "code": "not_found",
            "title": "Not found.",
            "detail": f"{kind} with id `{id}` does not exist.",
            "source": {"pointer": "/data/"},
        }


def test_a_401_tells_a_wrong_credential_from_none(shop: Shop) -> None:
    wrong, none = (
        shop.ask("GET", "/api/accounts", token="canary-x"),
        shop.ask("GET", "/api/accounts", token=""),
    )
    for answer, code in ((wrong, "authentication_failed"), (none, "not_authenticated")):
        (error,) = answer.json()["errors"]
        assert (answer.status_code, error["code"]) == (401, code)
        assert answer.headers["Www-Authenticate"] == "Bearer, Klaviyo-API-Key"
    (error,) = wrong.json()["errors"]
    assert (error["detail"], error["source"]) == (
        "Incorrect authentication credentials.",
        {"pointer": "/data/"},
    )


@pytest.mark.parametrize("id", ["not-an-event", "x", "123456789012", "a b"])
def test_a_malformed_id_of_an_event_is_400(shop: Shop, id: str) -> None:
    answer = shop.ask("GET", f"/api/events/{id}")
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["code"], error["source"]) == (400, "invalid", {"pointer": "/data/id"})


def test_an_event_is_shown_by_its_id(shop: Shop) -> None:
    shop.klaviyo.create_event(an_event(attributes={"email": EMAIL}))
    (event,) = shop.sandbox.klaviyo.events(ACCOUNT)
    assert shop.ask("GET", f"/api/events/{event.id}").json()["data"]["id"] == event.id


def test_every_answer_names_its_request_and_an_error_the_same_one(shop: Shop) -> None:
    for method, path in (("GET", "/api/profiles"), ("POST", "/oauth/token")):
        assert shop.ask(method, path).headers["X-Klaviyo-Req-Id"]
    for method, path in (("GET", "/api/none"), ("PUT", "/api/events"), ("GET", "/api/webhooks/x")):
        answer = shop.ask(method, path)
        assert answer.status_code >= 400
        assert {error["id"] for error in answer.json()["errors"]} == {answer.headers["X-Klaviyo-Req-Id"]}
    two = [shop.ask("GET", "/api/profiles").headers["X-Klaviyo-Req-Id"] for _ in range(2)]
    assert two[0] != two[1]


def test_the_limits_speak_of_the_burst_window(shop: Shop) -> None:
    headers = shop.ask("GET", "/api/profiles").headers
    assert headers["RateLimit-Limit"] == "75, 75;w=1, 750;w=60"
    assert (headers["RateLimit-Remaining"], headers["RateLimit-Reset"]) == ("74", "0")


def test_the_cursor_of_the_data_sources_is_an_id(shop: Shop) -> None:
    made = [shop.sandbox.klaviyo.data_source(ACCOUNT, title).id for title in ("a", "b", "c")]
    first = shop.ask("GET", "/api/data-sources?page[size]=2").json()
    cursor = parse_qs(urlsplit(first["links"]["next"]).query)["page[cursor]"][0]
    assert cursor in made
    second = shop.ask("GET", f"/api/data-sources?page[size]=2&page[cursor]={cursor}").json()
    assert [row["id"] for row in (*first["data"], *second["data"])] == made
    assert second["links"]["next"] is None
    assert shop.ask("GET", "/api/data-sources?page[cursor]=none").status_code == 400


def test_jobs_and_topics_have_the_parts_that_klaviyos_answers_have(shop: Shop) -> None:
    rows = {"profiles": {"data": [{"type": "profile", "attributes": {"email": EMAIL}}]}}
    job = {"data": {"type": "profile-suppression-bulk-create-job", "attributes": rows}}
    made = shop.ask("POST", "/api/profile-suppression-bulk-create-jobs", job).json()["data"]
    assert made["relationships"] == {"lists": {"data": []}, "segments": {"data": []}}
    assert shop.ask("GET", "/api/webhook-topics").json()["data"][0]["attributes"] == {}


def test_from_a_revision_on_an_operation_answers_otherwise_if_that_is_ordered(shop: Shop) -> None:
    order = {
        "revision": "2027-01-15",
        "operation": "GET /api/profiles",
        "fields": {"links": "pages"},
        "headers": {"RateLimit-Reset": ""},
    }
    url = f"{shop.sandbox.klaviyo.url}/_sandbox/differ"
    assert requests.post(url, json=order, timeout=60).status_code == 200
    assert requests.post(url, json=order | {"operation": "GET /api/none"}, timeout=60).status_code == 400
    shop.sandbox.klaviyo.differ("2027-01-15", "POST /api/events", refused="unknown_field")
    usual, later = (shop.at(revision, "GET", "/api/profiles") for revision in ("2026-10-15", "2027-01-15"))
    assert ("links" in usual.json(), "pages" in later.json()) == (True, True)
    assert ("RateLimit-Reset" in usual.headers, "RateLimit-Reset" in later.headers) == (True, False)
    event = {"data": {"type": "event", "attributes": an_event(attributes={"email": EMAIL})}}
    answers = [shop.at(revision, "POST", "/api/events", event) for revision in ("2026-10-15", "2027-04-15")]
    assert [answer.status_code for answer in answers] == [202, 400]
    assert answers[1].json()["errors"][0]["code"] == "unknown_field"
    assert len(shop.sandbox.klaviyo.events(ACCOUNT)) == 1


def test_a_date_of_retirement_is_announced_with_every_answer(shop: Shop) -> None:
    shop.sandbox.klaviyo.retirement_date = "2027-10-15"
    klaviyo = shop.klaviyo
    klaviyo.account()
    assert klaviyo.retirement == "2027-10-15"
    assert shop.ask("GET", "/api/none").headers["X-Klaviyo-Api-Retirement-Date"] == "2027-10-15"


@pytest.mark.parametrize(
    "location",
    [{"zip": 3000}, {"city": ["x"]}, {"latitude": True}, {"longitude": {}}, {"address1": 7, "zip": "3000"}, {"ip": 1}],
    ids=str,
)  # fmt: skip
def test_a_location_of_other_types_is_refused_in_every_call(shop: Shop, location: dict[str, Any]) -> None:
    attributes = {"email": EMAIL, "location": location}
    for call in (
        lambda: shop.klaviyo.create_event(an_event(attributes=attributes)),
        lambda: shop.klaviyo.import_profile(a_profile(**attributes)),
        lambda: shop.klaviyo.import_profiles([a_profile(**attributes)]),
    ):
        with pytest.raises(RefusedError) as refused:
            call()
        assert refused.value.status == 400
        assert "/location/" in refused.value.field
    shop.klaviyo.import_profile(
        a_profile(email=EMAIL, location={"latitude": 1.5, "longitude": "2", "zip": None})
    )


def test_a_bulk_import_clears_nothing_and_refuses_an_id_that_no_profile_has(shop: Shop) -> None:
    jane = shop.sandbox.klaviyo.profile(
        ACCOUNT, email=EMAIL, first_name="Jane", properties={"tier": "gold"}, location={"city": "M"}
    )
    cleared = a_profile(email=EMAIL, first_name=None, properties={"tier": None}, location={"city": None})
    id = shop.klaviyo.import_profiles([cleared, a_profile(id="01NOBODY", email=OTHER, external_id="omneo-1")])
    assert jane.attributes["first_name"] == "Jane"
    assert (jane.properties, jane.attributes["location"]) == ({"tier": "gold"}, {"city": "M"})
    ([refused], _) = shop.klaviyo.import_errors(id)
    assert (refused.external_id, refused.code) == ("omneo-1", "not_found")
    assert [profile.id for profile in shop.sandbox.klaviyo.profiles(ACCOUNT)] == [jane.id]


# Omneo


def test_omneos_401_is_laravels(shop: Shop) -> None:
    with pytest.raises(TokenRejectedError) as rejected:
        shop.omneo("canary-wrong").profile("p")
    assert rejected.value.detail == "Unauthenticated."


@pytest.mark.parametrize("body", ["OK", "", "true", '{"data": {"id": 7}}'])
def test_any_200_of_verify_means_accepted(shop: Shop, body: str) -> None:
    shop.sandbox.omneo.fail(match="GET */auth/verify", status=200, body=body)
    assert shop.omneo().verify_token() is None


def test_what_omneo_shows_of_its_tokens_end_is_used(shop: Shop) -> None:
    shop.sandbox.omneo.tenant(TENANT, token=OMNEO_TOKEN, token_expires_at=1_800_000_000)
    expiry = shop.omneo().verify_token()
    assert expiry is not None
    assert expiry.timestamp() == 1_800_000_000


# What a test asks of the sandbox


BAD_SEEDS: list[object] = [
    [], 7, "x", {"accounts": 7}, {"accounts": ["x"]}, {"profiles": [7]}, {"profiles": [{}]}, {"profiles": [{"account": "A", "properties": 7}]},
    {"profiles": [{"account": "A", "location": "x"}]}, {"installs": [{}]}, {"installs": {"account": "A"}}, {"lists": [None]},
    {"webhooks": [{"account": "A"}]}, {"data_sources": [{"account": []}]}, {"tenants": [7]}, {"tenants": [{}]}, {"rewards": 1, "tenants": "x"},
    {"targets": [{"tenant": "none"}]}, {"profiles": [{"tenant": "none"}]}, {"profiles": [{"tenant": "acme", "identities": 7}]},
    {"webhooks": [{"tenant": "acme"}]}, {"reactions": [{"tenant": "acme"}]}, {"profiles": [{"tenant": "acme", "attributes": [1]}]},
]  # fmt: skip


@pytest.mark.parametrize("service", ["klaviyo", "omneo"])
def test_a_bad_seed_is_answered_and_never_hung_up_on(shop: Shop, service: str) -> None:
    url = f"{getattr(shop.sandbox, service).url}/_sandbox"
    for seed in BAD_SEEDS:
        answer = requests.post(f"{url}/seed", json=seed, timeout=60)
        assert answer.status_code in (200, 400), seed
        if answer.status_code == 400:
            assert answer.json()["error"]
    assert requests.post(f"{url}/seed", data=b"{", timeout=60).status_code == 400
    assert requests.post(f"{url}/clock", json={"advance": "x"}, timeout=60).status_code == 400
    assert requests.post(f"{url}/fail", json={"kind": "none"}, timeout=60).status_code == 400


def test_the_switches_are_told_over_http(shop: Shop) -> None:
    switches = {"plan_lacks": ["webhooks"], "retirement_date": "2027-10-15", "duplicate_names_itself": True}
    answer = requests.post(f"{shop.sandbox.klaviyo.url}/_sandbox/switches", json=switches, timeout=60)
    assert answer.status_code == 200
    assert shop.sandbox.klaviyo.plan_lacks == ["webhooks"]
    assert shop.sandbox.klaviyo.retirement_date == "2027-10-15"
    assert shop.sandbox.klaviyo.consent.duplicate_names_itself is True
