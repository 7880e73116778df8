"""The rewards webhook: the body that the guide offers, who is let in, every status there is, and how it says so."""

import json
import re
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from deploy.staging import load_functions
from shared.tenants.tenants import StoredSecret
from tests.functions.refusals import error_of, with_a_broken_store
from tests.support.loading import Load
from tests.support.rewards import DEFINITION, FLOW, PERSON, PROFILE, Shop, a_body
from tests.support.world import EMAIL, SIGNING_SECRET, TENANT, WEBHOOK_SECRET, World, any_chance, outcomes

chance = any_chance

PATH = f"/{TENANT}/api/v1/webhooks/klaviyo/rewards"
JSON = {"Content-Type": "application/json"}
HEADERS = {"x-omneo-secret": WEBHOOK_SECRET, "X-Klaviyo-Flow-ID": FLOW, **JSON}
FLOWS = (Path(__file__).parents[2] / "deploy/guide/flows.md").read_text()


@pytest.fixture
def shop(world: World) -> Shop:
    return Shop(world).open()


@pytest.fixture
def webhook(shop: Shop, load: Load) -> FlaskClient:
    """Return the function, with only the variables it is given in the cloud, and a shop that has not installed Klaviyo."""
    given = load_functions()["rewards_webhook"].variables
    environment = {name: text for name, text in shop.world.environment.items() if name in given}
    return load("rewards_webhook", environment)


def test_a_call_issues_a_reward_and_its_repeat_finds_it(webhook: FlaskClient, shop: Shop) -> None:
    first, second = (webhook.post(PATH, json=a_body(id="order-7"), headers=HEADERS) for _ in range(2))
    assert (first.status_code, first.get_json()) == (200, {"status": "created", "reward_id": 1})
    assert (second.status_code, second.get_json()) == (200, {"status": "exists", "reward_id": 1})
    assert first.headers["Cache-Control"] == "no-store"
    assert len(shop.rewards()) == 1


# The body that a flow sends


def readme_body() -> str:
    """Return the body that the guide offers for pasting."""
    section = FLOWS.split("## Rewards from a Flow", 1)[1].split("\n## ", 1)[0]
    (body,) = re.findall(r"```json\n(.*?)```", section, re.DOTALL)
    return str(body)


def rendered(template: str, values: Mapping[str, object]) -> str:
    """Render as Klaviyo does: text for every value, nothing for one that is missing."""
    return re.sub(r"\{\{ *([\w.]+) *\}\}", lambda found: str(values.get(found[1], "")), template)


VALUES = {
    "person.id": PERSON,
    "person.email": EMAIL,
    "event.reward_id": f"birthday-2026-{PERSON}",
    "event.reward_amount": "12.5",
}


def test_the_readmes_body_works_as_it_is_pasted(webhook: FlaskClient, shop: Shop) -> None:
    body = rendered(readme_body(), VALUES)
    for status in ("created", "exists"):
        answer = webhook.post(PATH, data=body, headers=HEADERS)
        assert (answer.status_code, answer.get_json()["status"]) == (200, status)
    (reward,) = shop.rewards()
    assert (reward["external_id"], reward["value_initial"]) == (f"birthday-2026-{PERSON}", 12.5)
    assert (reward["profile_id"], reward["definition"]["id"]) == (PROFILE, DEFINITION)
    assert reward["meta"]["source"] == "klaviyo flow"


@pytest.mark.parametrize(
    ("values", "status", "says"),
    [
        ({"event.reward_amount": 12}, 200, ""),
        ({"event.reward_amount": "1,250.00"}, 200, ""),
        ({"event.reward_amount": " 5 "}, 200, ""),
        ({"event.reward_id": 41}, 200, ""),
        ({"event.reward_id": ""}, 200, ""),
        ({"event.reward_id": "None"}, 200, ""),
        ({"person.email": ""}, 200, ""),
        ({"person.id": ""}, 200, ""),
        ({"event.reward_id": "   "}, 200, ""),
        ({"event.reward_id": "null"}, 200, ""),
        ({"event.reward_id": "{{ event.nothing }}"}, 200, ""),
        ({"event.reward_amount": "6.0"}, 200, ""),
        ({"event.reward_id": "order-7-unknown"}, 200, ""),
        ({"event.reward_id": "order-7-N/A"}, 200, ""),
        ({"event.reward_id": "reward-"}, 400, "id lacks a part"),
        ({"event.reward_id": "reward-unknown"}, 400, "id lacks a part"),
        ({"event.reward_amount": ""}, 400, "data.amount"),
        ({"event.reward_amount": "None"}, 400, "data.amount"),
        ({"event.reward_amount": "0"}, 400, "data.amount"),
        ({"event.reward_amount": "-5"}, 400, "data.amount"),
        ({"event.reward_amount": "NaN"}, 400, "data.amount"),
        ({"event.reward_amount": "Infinity"}, 400, "data.amount"),
        ({"event.reward_amount": "1000000.01"}, 400, "data.amount"),
        ({"event.reward_amount": "$12"}, 400, "data.amount"),
        ({"event.reward_amount": 'canary "quoted"'}, 400, "JSON"),
        ({"person.id": "", "person.email": ""}, 400, "person_id and email"),
        ({"person.id": "canary-nobody", "person.email": "canary-nobody@example.org"}, 404, "profile"),
    ],
    ids=str,
)
def test_what_a_template_may_render(
    webhook: FlaskClient, shop: Shop, values: dict[str, object], status: int, says: str
) -> None:
    answer = webhook.post(PATH, data=rendered(readme_body(), {**VALUES, **values}), headers=HEADERS)
    assert answer.status_code == status
    assert len(shop.rewards()) == (status == 200)
    if says:
        assert says in error_of(answer)["message"]
    assert "canary" not in answer.get_data(as_text=True)


@pytest.mark.parametrize(
    ("rule", "status", "says", "rewards"),
    [
        ("creates", 200, "", 2),
        ("422", 400, "different for each person", 1),
        ("409", 400, "different for each person", 1),
    ],
)
def test_one_id_for_everybody_is_a_reward_for_each_person_or_a_word_on_how_to_make_it_one(
    webhook: FlaskClient, shop: Shop, rule: Any, status: int, says: str, rewards: int
) -> None:
    shop.world.sandbox.omneo.reward_rules(TENANT, repeated_external_id=rule)
    john = shop.another_person()
    nobody = {"person_id": "canary-nobody", "email": "canary-nobody@example.org"}
    answers = [
        webhook.post(PATH, json=a_body(id="birthday-2027", **who), headers=HEADERS)
        for who in ({}, john, nobody, {})
    ]
    assert [answer.status_code for answer in answers] == [200, status, 404, 200]
    assert says in answers[1].get_data(as_text=True)
    assert len({reward["profile_id"] for reward in shop.rewards()}) == len(shop.rewards()) == rewards
    assert answers[3].get_json() == {"status": "exists", "reward_id": 1}


# Every other answer


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "code", "says"),
    [
        (PATH + "s", b"{}", HEADERS, 404, "not_found", ""),
        (PATH + "/", b"{}", HEADERS, 404, "not_found", ""),
        (PATH.replace("rewards", "benefits"), b"{}", HEADERS, 404, "not_found", ""),
        (PATH.replace(TENANT, "Acme"), b"{}", HEADERS, 404, "not_found", ""),
        (PATH, b"{}", JSON, 401, "unauthorized", "x-omneo-secret"),
        (PATH, b"{}", {**HEADERS, "x-omneo-secret": ""}, 401, "unauthorized", ""),
        (PATH, b"{}", {**HEADERS, "x-omneo-secret": "canary-wrong"}, 401, "unauthorized", ""),
        (PATH, b"{}", {**HEADERS, "x-omneo-secret": SIGNING_SECRET}, 401, "unauthorized", ""),
        (PATH.replace(TENANT, "nobody"), b"{}", HEADERS, 401, "unauthorized", ""),
        (PATH, b"{}", {**HEADERS, "Content-Type": "text/plain"}, 415, "unsupported_media_type", "json"),
        (PATH, b" " * 1_000_001, HEADERS, 413, "payload_too_large", "KB"),
        (PATH, b"", HEADERS, 400, "invalid_payload", "JSON"),
        (PATH, b'{"data": {"amount": }}', HEADERS, 400, "invalid_payload", "JSON"),
        (PATH, b'{"data": {"amount": NaN}}', HEADERS, 400, "invalid_payload", "JSON"),
        (PATH, b'{"data": {"amount": 1e999}}', HEADERS, 400, "invalid_payload", "JSON"),
        (PATH, b"[" * 40 + b"]" * 40, HEADERS, 400, "invalid_payload", "deep"),
        (PATH, b"{}", HEADERS, 400, "invalid_payload", "data is needed"),
    ],
)
def test_refusals(
    webhook: FlaskClient,
    shop: Shop,
    path: str,
    body: bytes,
    headers: Mapping[str, str],
    status: int,
    code: str,
    says: str,
) -> None:
    answer = webhook.post(path, data=body, headers=dict(headers))
    assert (answer.status_code, error_of(answer)["code"]) == (status, code)
    assert says in error_of(answer)["message"]
    assert "canary" not in answer.get_data(as_text=True)
    assert shop.rewards() == []


def test_a_signature_of_omneos_is_no_key_here(webhook: FlaskClient) -> None:
    import hashlib
    import hmac

    body = json.dumps(a_body()).encode()
    signature = hmac.new(SIGNING_SECRET.encode(), body, hashlib.sha256).hexdigest()
    answer = webhook.post(PATH, data=body, headers={"X-Omneo-Hmac-SHA256": signature, **JSON})
    assert answer.status_code == 401
    assert "Hmac" not in error_of(answer)["message"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_refused_with_the_one_that_works(webhook: FlaskClient, method: str) -> None:
    answer = webhook.open(PATH, method=method, headers=HEADERS)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize("query", ["?utm_source=flow", "?dryRun=1", "?amount=5", "?id="])
def test_a_parameter_in_the_url_is_refused_for_none_is_known_here(webhook: FlaskClient, query: str) -> None:
    answer = webhook.post(PATH + query, json=a_body(), headers=HEADERS)
    assert answer.status_code == 400
    assert "Known: none" in error_of(answer)["message"]
    assert webhook.post(PATH + query, json=a_body(), headers=JSON).status_code == 401


def test_unknown_tenant_and_wrong_secret_cannot_be_told_apart(webhook: FlaskClient) -> None:
    wrong = {**HEADERS, "x-omneo-secret": "canary-wrong"}
    known, unknown = (
        webhook.post(path, json=a_body(), headers=wrong) for path in (PATH, PATH.replace("acme", "acne"))
    )
    assert known.get_data() == unknown.get_data()
    assert dict(known.headers) == dict(unknown.headers)


def test_a_rotated_secret_works_at_once_and_the_old_one_until_it_is_ended(
    webhook: FlaskClient, world: World
) -> None:
    assert webhook.post(PATH, json=a_body(), headers=HEADERS).status_code == 200  # cached from here on
    new = StoredSecret(value=SecretStr("canary-new-webhook-secret"), created_at=world.clock())
    world.services.tenants.change(
        TENANT, lambda t: t.model_copy(update={"webhook_secrets": (new, *t.webhook_secrets)})
    )
    fresh = {**HEADERS, "x-omneo-secret": "canary-new-webhook-secret"}
    assert webhook.post(PATH, json=a_body(), headers=fresh).status_code == 200
    assert webhook.post(PATH, json=a_body(), headers=HEADERS).status_code == 200
    assert new.id in world.services.secret_uses.last(TENANT)


def test_a_reward_of_no_profile_is_404(webhook: FlaskClient) -> None:
    answer = webhook.post(PATH, json=a_body(person_id="canary-nobody", email=""), headers=HEADERS)
    assert (answer.status_code, error_of(answer)["code"]) == (404, "profile_not_found")


def test_an_amount_above_the_tenants_limit_is_400(webhook: FlaskClient, shop: Shop) -> None:
    shop.set(reward_max_amount=9.0)
    answer = webhook.post(PATH, json=a_body(), headers=HEADERS)
    assert (answer.status_code, "reward_max_amount" in error_of(answer)["message"]) == (400, True)


def test_more_than_the_limit_of_an_hour_are_429_until_the_next(webhook: FlaskClient, shop: Shop) -> None:
    shop.set(reward_max_per_hour=1)
    first, second = (webhook.post(PATH, json=a_body(), headers=HEADERS) for _ in range(2))
    if second.status_code == 200:  # the hour has just ended
        second = webhook.post(PATH, json=a_body(), headers=HEADERS)
    assert (first.status_code, second.status_code, error_of(second)["code"]) == (200, 429, "limit_reached")
    assert 0 < int(second.headers["Retry-After"]) <= 3600


@pytest.mark.parametrize(
    ("fault", "status", "wait"),
    [
        ({"status": 401}, 503, "5"),
        ({"status": 403}, 503, "5"),
        ({"status": 404}, 503, "5"),
        ({"status": 429, "headers": {"Retry-After": "17"}}, 503, "17"),
        ({"status": 429, "headers": {"Retry-After": "99999"}}, 503, "3600"),
        ({"status": 500}, 503, "5"),
        ({"status": 503}, 503, "5"),
        ({"kind": "html403"}, 503, "5"),
        ({"status": 504}, 503, "90"),
        ({"kind": "reset"}, 503, "90"),
        ({"status": 422, "body": {"errors": {"value_initial": ["canary"]}}}, 400, None),
        ({"status": 400, "body": {"message": "canary"}}, 400, None),
    ],
    ids=str,
)
def test_what_omneos_answers_become(
    webhook: FlaskClient, shop: Shop, fault: dict[str, Any], status: int, wait: str | None
) -> None:
    shop.world.sandbox.omneo.fail(1, match="POST */rewards", **fault)
    answer = webhook.post(PATH, json=a_body(id="order-7"), headers=HEADERS)
    assert (answer.status_code, answer.headers.get("Retry-After")) == (status, wait)
    assert error_of(answer)["code"] == ("unavailable" if status == 503 else "invalid_payload")
    assert ("value_initial" in error_of(answer)["message"]) is ("errors" in (fault.get("body") or {}))
    assert "canary" not in answer.get_data(as_text=True)
    assert shop.rewards() == []


def test_an_ended_omneo_token_is_503_and_critical(
    webhook: FlaskClient, shop: Shop, capfd: pytest.CaptureFixture[str]
) -> None:
    shop.world.sandbox.omneo.expire(TENANT)
    answer = webhook.post(PATH, json=a_body(), headers=HEADERS)
    assert answer.status_code == 503
    assert "CRITICAL" in [line["severity"] for line in outcomes(capfd.readouterr().out)]


def test_a_store_that_does_not_answer_is_503_and_never_401(shop: Shop, load: Load, tmp_path: Path) -> None:
    broken = with_a_broken_store(shop.world.environment, tmp_path)
    function = load("rewards_webhook", broken)
    for headers in (HEADERS, JSON):
        answer = function.post(PATH, json=a_body(), headers=headers)
        assert (answer.status_code, error_of(answer)["code"]) == (503, "unavailable")
        assert int(answer.headers["Retry-After"]) > 0


def test_a_hundred_equal_calls_at_once_are_one_reward(webhook: FlaskClient, shop: Shop) -> None:
    shop.world.sandbox.omneo.reward_rules(TENANT, repeated_external_id="creates")
    start = threading.Barrier(100)

    def call(_: int) -> Any:
        client = webhook.application.test_client()
        start.wait(timeout=60)
        return client.post(PATH, json=a_body(id="order-7"), headers=HEADERS).get_json()

    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(call, range(100)))
    assert sorted(answer["status"] for answer in answers) == ["created"] + ["exists"] * 99
    assert len(shop.rewards()) == 1


def test_an_answer_is_one_line_that_says_what_became_of_it(
    webhook: FlaskClient, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        webhook.post(PATH, json=a_body(id="order-7"), headers=HEADERS)
    logged = outcomes(capfd.readouterr().out)
    assert [line["outcome"] for line in logged] == ["created", "exists"]
    assert {(line["function"], line["tenant"], line["status"]) for line in logged} == {
        ("rewards_webhook", TENANT, 200)
    }


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(
    ["amount", "reward_definition_id", "timezone", "expires_at", "meta", "issued_at", "profile_id"]
)
likely = st.fixed_dictionaries(
    {},
    optional={
        "id": values | st.just("order-7"),
        "person_id": values | st.just(PERSON),
        "email": values | st.just(EMAIL),
        "data": values
        | st.dictionaries(fields, values | st.sampled_from([6, "10", "2027-01-01"]), max_size=6),
    },
)
bodies = st.binary(max_size=100) | (values | likely).map(lambda value: json.dumps(value).encode())


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies, flow=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30))
def test_no_flood_of_malformed_calls_makes_the_function_fail(
    webhook: FlaskClient, body: bytes, flow: str
) -> None:
    answer = webhook.post(PATH, data=body, headers={**HEADERS, "X-Klaviyo-Flow-ID": flow})
    assert answer.status_code < 500


def test_the_function_is_kept_warm_and_given_no_more_than_it_uses() -> None:
    row = load_functions()["rewards_webhook"]
    assert row.min_instances == 1
    assert row.secrets == ("ENCRYPTION_KEYS",)
