"""What a caller sent is understood, or refused with a reason: the targets from the URL to Klaviyo."""

import base64
import io
import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from shared.tenants.tenants import Tenant
from tests.support.events import SHAPES, Shape, event, profile
from tests.support.loading import Load
from tests.support.world import ACCOUNT, EMAIL, TENANT, WEBHOOK_SECRET, World, lines

TARGETS = f"/{TENANT}/api/v1/targets/klaviyo"
METRIC = f"{TARGETS}/metric"
SECRET = {"x-omneo-secret": WEBHOOK_SECRET, "Content-Type": "application/json"}
OMNEO_ID = "0b0c6f3e-5a0e-4a7b-9d3a-2f8f2f1c9a01"


@pytest.fixture
def targets(world: World, load: Load) -> FlaskClient:
    """Return the function, with an installed tenant in the store."""
    world.tenant()
    return load("targets", world.environment)


def send(targets: FlaskClient, body: Any, query: str = "") -> None:
    """Send an event that is taken."""
    answer = targets.post(METRIC + query, json=body, headers=SECRET)
    assert answer.status_code == 202, answer.get_json()


def sent(world: World) -> Any:
    """Let the worker do what is queued, and return the one event that Klaviyo has."""
    world.work(60)
    assert world.dead_jobs() == []
    (event,) = world.events()
    return event


# Names in the URL


@pytest.mark.parametrize(
    "query", ["?withtoken=true", "?WITHTOKEN=1", "?withToken=True", "?WithToken=true&METRIC=x"]
)
def test_a_parameter_may_be_written_in_any_case(targets: FlaskClient, world: World, query: str) -> None:
    world.sandbox.omneo.profile(TENANT, id=OMNEO_ID, email=EMAIL)
    send(targets, event(), query)
    assert "IDToken" in sent(world).properties


@pytest.mark.parametrize(
    ("target", "query", "known"),
    [
        ("metric", "?with_token=true", "withToken, metric, dryRun"),
        ("metric", "?metric=N&canary=1", "withToken, metric, dryRun"),
        ("upsert-profile-data", "?withToken=true", "Known: dryRun."),
        ("data-source-record", "?metric=N", "Known: dryRun."),
    ],
)
def test_a_parameter_that_nobody_knows_is_400_and_the_answer_lists_the_known(
    targets: FlaskClient, target: str, query: str, known: str
) -> None:
    body = {"profile_id": OMNEO_ID, "data_source": "rewards", "record": {"a": 1}, **event()}
    answer = targets.post(f"{TARGETS}/{target}{query}", json=body, headers=SECRET)
    assert answer.status_code == 400
    message = answer.get_json()["error"]["message"]
    assert known in message
    assert "canary" not in message


# Bodies


def test_a_line_break_in_a_customers_name_loses_no_event(targets: FlaskClient, world: World) -> None:
    body = json.dumps(event(properties={"name": "Jane@Doe"})).replace("@D", "\n\tD", 1).encode()
    assert b"\n" in body
    assert targets.post(METRIC, data=body, headers=SECRET).status_code == 202
    assert sent(world).properties == {"name": "Jane\n\tDoe"}


def test_what_is_nearly_json_is_400_and_says_where(targets: FlaskClient) -> None:
    answer = targets.post(METRIC, data=b'{\n "event": "Jane "canary" Doe"}', headers=SECRET)
    assert answer.status_code == 400
    assert "line 2, column 18" in answer.get_json()["error"]["message"]


@pytest.mark.parametrize(("size", "status"), [(1_000_000, 400), (1_000_001, 413), (1_500_000, 413)])
@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_over_the_limit_is_413_however_it_is_framed(
    targets: FlaskClient, size: int, status: int, chunked: bool
) -> None:
    body = b" " * size
    framing: dict[str, Any] = {"data": body}
    if chunked:
        environ = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
        framing = {"input_stream": io.BytesIO(body), "environ_overrides": environ}
    answer = targets.post(METRIC, headers=SECRET, **framing)
    assert answer.status_code == status


# Whose event, and what it carries beside


BESIDE: list[dict[str, Any]] = [
    {"phone_number": "0412 345 678"},
    {"phone_number": "not a phone 12345"},
    {"phone_number": ["+61412345678"]},
    {"first_name": 7},
    {"first_name": {"canary": 1}},
    {"location": "canary street"},
    {"location": {"zip": 3000, "country": ["AU"]}},
    {"organization": True},
    {"external_id": 7.0},
    {"properties": "canary"},
]


@pytest.mark.parametrize("beside", BESIDE, ids=str)
@pytest.mark.parametrize("shape", SHAPES[:3])
def test_a_field_beside_kills_no_event(
    targets: FlaskClient, world: World, shape: Shape, beside: dict[str, Any]
) -> None:
    body, _ = shape({"email": EMAIL, **beside})
    send(targets, body)
    assert sent(world).properties == {"amount": 20}


def test_a_phone_of_the_tenants_country_is_put_right(targets: FlaskClient, world: World) -> None:
    settings = world.read().settings.model_copy(update={"default_region": "AU"})
    world.services.tenants.change(TENANT, lambda tenant: tenant.model_copy(update={"settings": settings}))
    send(targets, event(profile=profile({"email": EMAIL, "phone_number": "0412 345 678"})))
    sent(world)
    (person,) = world.sandbox.klaviyo.profiles(ACCOUNT)
    assert person.attributes["phone_number"] == "+61412345678"


def test_what_is_left_out_is_noted_by_name(
    targets: FlaskClient, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    beside = {"email": EMAIL, "first_name": ["canary"], "phone_number": "12345", "location": {"canary": 1}}
    send(targets, event(profile=profile(beside)))
    sent(world)
    noted = [line["left_out"] for line in lines(capsys.readouterr().out) if "left_out" in line]
    assert ["first_name", "location"] in noted
    assert ["phone_number"] in noted


def test_twelve_levels_of_nesting_are_left_out_and_the_event_is_sent(
    targets: FlaskClient, world: World
) -> None:
    deep: dict[str, Any] = {}
    for _ in range(12):
        deep = {"in": deep}
    send(targets, event(properties={"fine": 1, "deep": deep}))
    assert sent(world).properties == {"fine": 1}


@pytest.mark.parametrize(
    "value",
    [
        "",
        "%20",
        "%E2%80%8B",
        "null",
        "None",
        "undefined",
        "%7B%7B%20token%20%7D%7D",
        "N/A",
        "yes",
        "2",
        "%EF%BC%92",
    ],
)
def test_a_token_that_may_have_been_asked_for_is_never_left_out(targets: FlaskClient, value: str) -> None:
    answer = targets.post(f"{METRIC}?withToken={value}", json=event(), headers=SECRET)
    assert (answer.status_code, "withToken in the URL must be true or false" in answer.text) == (400, True)


@pytest.mark.parametrize("query", ["", "?withToken=true"])
@pytest.mark.parametrize("shape", SHAPES)
def test_an_omneo_id_beside_an_email_harms_no_event(
    targets: FlaskClient, world: World, shape: Shape, query: str
) -> None:
    world.sandbox.omneo.profile(TENANT, id=OMNEO_ID, email="canary-other@example.org")
    body, name = shape({"id": OMNEO_ID, "email": EMAIL})
    named = f"{query}{'&' if query else '?'}metric={name}" if name else query
    send(targets, body, named)
    found = sent(world)
    (person,) = world.sandbox.klaviyo.profiles(ACCOUNT)
    assert (found.profile_id, person.attributes["email"]) == (person.id, EMAIL)
    assert ("IDToken" in found.properties) is bool(query)


def test_a_klaviyo_id_that_omneo_does_not_know_gives_way_to_the_email(
    targets: FlaskClient, world: World
) -> None:
    world.sandbox.omneo.profile(TENANT, id=OMNEO_ID, email=EMAIL)
    known = world.sandbox.klaviyo.profile(ACCOUNT, email=EMAIL)
    send(targets, event(profile=profile(id=known.id)), "?withToken=true")
    assert base64.b64decode(sent(world).properties["IDToken"])


@pytest.mark.parametrize("id", ["01HXCANARYGONE000000000000", "Y6nRLr", 12, "not an id", ["x"]])
@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[1], SHAPES[3]])
def test_an_id_that_no_profile_has_gives_way_to_the_email(
    targets: FlaskClient, world: World, shape: Shape, id: object
) -> None:
    body, name = shape({"id": id, "email": EMAIL})
    send(targets, body, f"?metric={name}" if name else "")
    sent(world)
    (person,) = world.sandbox.klaviyo.profiles(ACCOUNT)
    assert person.attributes["email"] == EMAIL


def refusal(pointer: str) -> dict[str, Any]:
    """Return how Klaviyo refuses what stands there."""
    problem = {
        "code": "invalid",
        "title": "Invalid input.",
        "detail": "canary",
        "source": {"pointer": pointer},
    }
    return {"errors": [problem]}


PERSON = "/data/attributes/profile/data"


@pytest.mark.parametrize(
    "pointer", [f"{PERSON}/attributes/phone_number", f"{PERSON}/id", "/data/attributes/properties/amount"]
)
def test_what_klaviyo_alone_knows_to_be_wrong_is_left_out_too(
    targets: FlaskClient, world: World, pointer: str
) -> None:
    known = world.sandbox.klaviyo.profile(ACCOUNT, email=EMAIL)
    body = event(profile=profile({"email": EMAIL, "phone_number": "+61412345678"}, id=known.id))
    world.sandbox.klaviyo.fail(match="POST /api/events", status=400, body=refusal(pointer))
    send(targets, body)
    found = sent(world)
    assert found.profile_id == known.id
    assert ("amount" in found.properties) is not pointer.endswith("amount")


def test_what_the_event_cannot_do_without_is_a_dead_job(targets: FlaskClient, world: World) -> None:
    world.sandbox.klaviyo.fail(
        next=9, match="POST /api/events", status=400, body=refusal(f"{PERSON}/attributes/email")
    )
    send(targets, event())
    world.work(60)
    (dead,) = world.dead_jobs()
    assert dead.kind == "send-metric"
    assert len([call for call in world.sandbox.klaviyo.calls.all() if call.path == "/api/events"]) == 1


# Installed or not


def test_a_call_right_after_an_install_is_taken_and_right_after_an_uninstall_refused(
    world: World, load: Load
) -> None:
    world.tenant(installed=False)
    targets = load("targets", world.environment)
    assert targets.post(METRIC, json=event(), headers=SECRET).status_code == 409
    world.install()
    assert targets.post(METRIC, json=event(), headers=SECRET).status_code == 202

    def uninstalled(tenant: Tenant) -> Tenant:
        return tenant.model_copy(update={"klaviyo": None})

    world.services.tenants.change(TENANT, uninstalled)
    answer = targets.post(METRIC, json=event(), headers=SECRET)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (409, "not_installed")
