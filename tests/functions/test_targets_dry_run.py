"""A dry run of each target: what would be sent and to whom, refused as the call itself would be, and nothing is sent, kept or queued."""

import hashlib
import hmac
import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from flask.testing import FlaskClient

from shared.direction import Direction
from shared.targets.preview import MINTED_LATER, NO_EXPIRY
from shared.tenants.tenants import Tenant
from tests.support.events import event, profile
from tests.support.loading import Load
from tests.support.world import ACCOUNT, EMAIL, SIGNING_SECRET, TENANT, WEBHOOK_SECRET, World, lines

TARGETS = f"/{TENANT}/api/v1/targets/klaviyo"
SECRET = {"x-omneo-secret": WEBHOOK_SECRET, "Content-Type": "application/json"}
OMNEO_ID = "0b0c6f3e-5a0e-4a7b-9d3a-2f8f2f1c9a01"
LOGIC_THAT_FAILS = {">": [{"+": [{"var": "first_name"}, 1]}, 2]}
BODIES: dict[str, dict[str, Any]] = {
    "metric": event(),
    "upsert-profile-data": {"profile_id": OMNEO_ID},
    "data-source-record": {"data_source": "rewards", "record": {"reward_id": 7}},
}


@pytest.fixture
def targets(world: World, load: Load) -> FlaskClient:
    """Return the function, with an installed tenant in the store and one profile in Omneo."""
    world.tenant()
    world.sandbox.omneo.profile(TENANT, id=OMNEO_ID, email=EMAIL, first_name="canary-jane")
    return load("targets", world.environment)


def dry_run(targets: FlaskClient, target: str, body: Any, query: str = "?dryRun=1") -> dict[str, Any]:
    """Return what a dry run tells."""
    answer = targets.post(f"{TARGETS}/{target}{query}", json=body, headers=SECRET)
    assert answer.status_code == 200, answer.get_json()
    told: dict[str, Any] = answer.get_json()
    assert told.pop("status") == "dry_run"
    assert sorted(told) == ["notes", "to", "would_send"]
    return told


def stored(world: World) -> set[tuple[str, str, int]]:
    """Return every document of the store, but for when a secret was last used: that is noted of each call that is let in."""
    path = world.environment["STORE"].removeprefix("sqlite:")
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT collection, id, version FROM documents").fetchall()
    return {row for row in rows if "secret_uses" not in row[0]}


def test_a_metric_is_shown_as_klaviyo_would_get_it(targets: FlaskClient) -> None:
    body = event(unique_id="reward-7", time="2026-11-01 10:00:00", properties={"amount": 20})
    told = dry_run(targets, "metric", body)
    assert told["to"] == {"email": EMAIL}
    sent = told["would_send"]["data"]["attributes"]
    assert (sent["unique_id"], sent["properties"]) == ("reward-7", {"amount": 20})
    assert sent["time"] == "2026-11-01T10:00:00+00:00"
    assert told["notes"] == []


def test_what_is_shown_is_what_the_same_call_then_sends(targets: FlaskClient, world: World) -> None:
    body = event(unique_id="reward-7", properties={"amount": 20})
    shown = dry_run(targets, "metric", body)["would_send"]["data"]["attributes"]
    assert targets.post(f"{TARGETS}/metric", json=body, headers=SECRET).status_code == 202
    world.work(60)
    (sent,) = world.events()
    assert (sent.unique_id, sent.properties) == (shown["unique_id"], shown["properties"])


@pytest.mark.parametrize("name", ["dryRun", "dryrun", "DRYRUN", "DryRun"])
@pytest.mark.parametrize("value", ["1", "true", "True"])
@pytest.mark.parametrize("target", BODIES)
def test_a_dry_run_sends_queues_and_keeps_nothing(
    targets: FlaskClient, world: World, target: str, name: str, value: str
) -> None:
    before = stored(world)
    dry_run(targets, target, BODIES[target], f"?{name}={value}")
    for direction in Direction:
        assert world.queued(direction) == []
    world.work(60)
    assert world.events() == []
    assert world.dead_jobs() == []
    assert world.sandbox.klaviyo.profiles(ACCOUNT) == []
    assert world.sandbox.klaviyo.records(ACCOUNT) == []
    assert stored(world) == before


@pytest.mark.parametrize("value", ["0", "false"])
def test_a_call_that_says_it_is_no_dry_run_is_sent(targets: FlaskClient, world: World, value: str) -> None:
    answer = targets.post(f"{TARGETS}/metric?dryRun={value}", json=event(), headers=SECRET)
    assert answer.status_code == 202
    world.work(60)
    assert len(world.events()) == 1


@pytest.mark.parametrize("query", ["?dryRun", "?dryRun=", "?dryrun=%20", "?dryRun=canary"])
@pytest.mark.parametrize("target", BODIES)
def test_a_dry_run_without_a_clear_value_is_refused_and_not_sent(
    targets: FlaskClient, world: World, target: str, query: str
) -> None:
    answer = targets.post(f"{TARGETS}/{target}{query}", json=BODIES[target], headers=SECRET)
    assert answer.status_code == 400
    assert "dryRun in the URL must be true or false" in answer.get_json()["error"]["message"]
    assert "canary" not in answer.get_data(as_text=True)
    assert world.queued(Direction.OUTBOUND) == []


@pytest.mark.parametrize("target", BODIES)
def test_a_dry_run_is_authenticated_as_the_call_itself(targets: FlaskClient, target: str) -> None:
    path, body = f"{TARGETS}/{target}?dryRun=1", json.dumps(BODIES[target]).encode()
    unsigned = {"Content-Type": "application/json"}
    wrong = unsigned | {"X-Omneo-Hmac-SHA256": "0" * 64}
    signature = hmac.new(SIGNING_SECRET.encode(), body, hashlib.sha256).hexdigest()
    for headers, status in (
        (unsigned, 401),
        (wrong, 401),
        (unsigned | {"X-Omneo-Hmac-SHA256": signature}, 200),
    ):
        assert targets.post(path, data=body, headers=headers).status_code == status


def test_a_dry_run_of_a_tenant_without_an_account_is_409(world: World, load: Load) -> None:
    world.tenant(installed=False)
    targets = load("targets", world.environment)
    answer = targets.post(f"{TARGETS}/metric?dryRun=1", json=event(), headers=SECRET)
    assert answer.status_code == 409


def test_a_token_is_not_minted_but_its_place_is_shown(targets: FlaskClient) -> None:
    told = dry_run(targets, "metric", event(), "?withToken=1&dryRun=1")
    properties = told["would_send"]["data"]["attributes"]["properties"]
    assert (properties["IDToken"], properties["IDTokenExpiry"]) == (MINTED_LATER, NO_EXPIRY)


def test_an_omneo_id_alone_is_followed_to_the_email_that_omneo_has(targets: FlaskClient) -> None:
    told = dry_run(targets, "metric", {"profile": {"id": OMNEO_ID}}, "?metric=N&dryRun=1")
    assert told["to"] == {"omneo_profile_id": OMNEO_ID, "email": EMAIL}


def test_an_omneo_id_alone_is_followed_to_the_klaviyo_id_that_omneo_has(
    targets: FlaskClient, world: World
) -> None:
    other = "0b0c6f3e-5a0e-4a7b-9d3a-2f8f2f1c9a02"
    identity = {"handle": "klaviyo", "identifier": "01HXKLAVIYO"}
    world.sandbox.omneo.profile(TENANT, id=other, email="canary-b@example.org", identities=[identity])
    told = dry_run(targets, "metric", {"profile": {"id": other}}, "?metric=N&dryRun=1")
    assert told["to"] == {"omneo_profile_id": other, "klaviyo_profile_id": "01HXKLAVIYO"}
    told = dry_run(targets, "upsert-profile-data", {"profile_id": other})
    assert told["to"]["klaviyo_profile_id"] == told["would_send"]["data"]["id"] == "01HXKLAVIYO"


def test_a_metric_about_nobody_that_omneo_knows_is_told(targets: FlaskClient, world: World) -> None:
    nobody = "0b0c6f3e-5a0e-4a7b-9d3a-2f8f2f1c9aff"
    (note,) = dry_run(targets, "metric", {"profile": {"id": nobody}}, "?metric=N&dryRun=1")["notes"]
    assert "no such profile" in note
    without_email = world.sandbox.omneo.profile(TENANT, first_name="canary")["id"]
    (note,) = dry_run(targets, "metric", {"profile": {"id": without_email}}, "?metric=N&dryRun=1")["notes"]
    assert "no email" in note


def test_what_klaviyo_would_not_take_is_told_by_its_path(targets: FlaskClient) -> None:
    attributes = {"email": EMAIL, "phone_number": "0412 345", "location": "canary-street"}
    told = dry_run(targets, "metric", event(profile=profile(attributes)))
    assert sorted(note.partition(" ")[0].rpartition(".")[2] for note in told["notes"]) == [
        "location",
        "phone_number",
    ]
    assert set(told["would_send"]["data"]["attributes"]["profile"]["data"]["attributes"]) == {"email"}


def test_a_sync_is_shown_as_the_profile_that_klaviyo_would_get(
    targets: FlaskClient, capfd: pytest.CaptureFixture[str]
) -> None:
    told = dry_run(targets, "upsert-profile-data", {"profile": {"id": OMNEO_ID}})
    assert told["to"] == {"omneo_profile_id": OMNEO_ID, "email": EMAIL}
    attributes = told["would_send"]["data"]["attributes"]
    assert (attributes["external_id"], attributes["first_name"]) == (OMNEO_ID, "canary-jane")
    logged = lines(capfd.readouterr().out)
    assert any(line["message"].startswith("personal values were shown") for line in logged)


@pytest.mark.parametrize(
    ("fields", "says"),
    [({"email": "canary@example.com"}, "@example.com"), ({"profile_type": "deleted"}, "deleted")],
)
def test_a_sync_that_would_send_nothing_says_why(
    targets: FlaskClient, world: World, fields: dict[str, str], says: str
) -> None:
    id = world.sandbox.omneo.profile(TENANT, **fields)["id"]
    told = dry_run(targets, "upsert-profile-data", {"profile_id": id})
    assert told["would_send"] is None
    assert says in told["notes"][0]


def test_what_is_left_out_of_a_sync_is_told(targets: FlaskClient, world: World) -> None:
    id = world.sandbox.omneo.profile(TENANT, email=EMAIL.replace("jane", "ann"), mobile_phone="12")["id"]
    (note,) = dry_run(targets, "upsert-profile-data", {"profile_id": id})["notes"]
    assert note.startswith("phone_number is left out: ")


def test_exclude_logic_that_cannot_be_evaluated_is_told(targets: FlaskClient, world: World) -> None:
    def broken(tenant: Tenant) -> Tenant:
        logic = {"profile_exclude_logic": LOGIC_THAT_FAILS}
        return tenant.model_copy(update={"settings": tenant.settings.model_copy(update=logic)})

    world.services.tenants.change(TENANT, broken)
    told = dry_run(targets, "upsert-profile-data", {"profile_id": OMNEO_ID})
    assert told["would_send"] is None
    assert "profile_exclude_logic" in told["notes"][0]


def test_an_omneo_that_does_not_answer_is_503(targets: FlaskClient, world: World) -> None:
    world.sandbox.omneo.faults.fail(next=9, status=500)
    for target, body in (
        ("upsert-profile-data", {"profile_id": OMNEO_ID}),
        ("metric", {"profile": {"id": OMNEO_ID}}),
    ):
        query = "?metric=N&dryRun=1" if target == "metric" else "?dryRun=1"
        answer = targets.post(f"{TARGETS}/{target}{query}", json=body, headers=SECRET)
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (503, "unavailable")


def test_records_are_shown_with_the_title_of_their_data_source(targets: FlaskClient) -> None:
    told = dry_run(targets, "data-source-record", {"data_source": "rewards", "records": [{"a": 1}, {"a": 2}]})
    assert told["to"] == {"data_source": "Omneo Rewards"}
    assert [record["a"] for record in told["would_send"]] == [1, 2]
    assert all(record["omneo_record_id"] for record in told["would_send"])


@pytest.mark.parametrize(
    ("target", "query", "body", "says"),
    [
        ("metric", "?metric=N", {"profile": {"email": ""}}, "The email is empty"),
        ("metric", "?metric=N", {"profile": {"mobile_phone": "+61 canary"}}, "A mobile number alone"),
        ("upsert-profile-data", "?x", {"email": "canary"}, "profile_id"),
        (
            "upsert-profile-data",
            "",
            {"email": "", "mobile_phone": "+61 canary"},
            "an email address or a mobile number does not",
        ),
        ("data-source-record", "", {"data_source": "canary"}, "data_source must be one of"),
    ],
)
@pytest.mark.parametrize("is_dry", [True, False])
def test_what_the_call_would_be_refused_for_the_dry_run_is_too(
    targets: FlaskClient, target: str, query: str, body: Any, says: str, is_dry: bool
) -> None:
    path = f"{TARGETS}/{target}{query.replace('?x', '')}"
    path += ("&" if "?" in path else "?") + f"dryRun={int(is_dry)}"
    answer = targets.post(path, json=body, headers=SECRET)
    assert answer.status_code == 400
    assert says in answer.get_json()["error"]["message"]
    assert "canary" not in answer.get_data(as_text=True)
