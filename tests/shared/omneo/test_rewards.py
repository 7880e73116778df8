"""Profiles by identity, rewards and their definitions as the client handles them, whatever shape Omneo gives its answers."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import responses
from pydantic import SecretStr

from deploy.local.sandbox import Sandbox
from shared.errors import RefusedError, TokenRejectedError, WaitError
from shared.http.client import HttpClient, Limits
from shared.http.connections import Connections
from shared.omneo.client import OmneoClient, base_url, read_problem
from shared.rewards.definitions import KEPT, MOST, RewardDefinitions
from tests.support.world import OMNEO_TOKEN, TENANT, Clock

URL = "http://omneo.invalid"
SEARCH = f"{URL}/api/v3/profiles/search-id"
REWARDS = f"{URL}/api/v3/rewards"
DEFINITIONS = f"{REWARDS}/definitions"


def client(url: str) -> OmneoClient:
    http = HttpClient("Omneo", url, read_problem, Connections(), limits=Limits(read=0.5, total=1.0))
    return OmneoClient(http, SecretStr(OMNEO_TOKEN))


@pytest.fixture
def omneo(sandbox: Sandbox) -> OmneoClient:
    sandbox.omneo.tenant(TENANT, token=OMNEO_TOKEN)
    sandbox.omneo.reward_definition(TENANT, id=6, handle="birthday", period=30, period_type="days")
    return client(base_url(sandbox.omneo.url_template, TENANT))


@pytest.fixture
def wire() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


def a_reward(**changes: Any) -> dict[str, Any]:
    return {
        "profile_id": "p-1",
        "reward_definition_id": 6,
        "value_initial": 10,
        "value_remaining": 10,
        "timezone": "UTC",
        "expires_at": "2027-01-01 00:00:00",
        **changes,
    }


def test_a_profile_is_found_by_the_identity_it_holds_and_by_no_other(
    sandbox: Sandbox, omneo: OmneoClient
) -> None:
    identity = {"handle": "klaviyo", "identifier": "01HCANARY"}
    sandbox.omneo.profile(TENANT, id="p-1", identities=[identity])
    found = omneo.find_profile_by_identity(identifier="01HCANARY", handle="klaviyo")
    assert found is not None
    assert found.id == "p-1"
    assert omneo.find_profile_by_identity(identifier="01HCANARY", handle="shopify") is None
    assert omneo.find_profile_by_identity(identifier="nobody", handle="klaviyo") is None


@pytest.mark.parametrize(
    ("status", "body", "id"),
    [
        (200, {"data": {"id": "p-1"}}, "p-1"),
        (200, {"data": [{"id": "p-1"}]}, "p-1"),
        (200, {"data": None}, None),
        (200, {"data": []}, None),
        (200, {"data": {}}, None),
        (404, {"message": "No query results for model [App\\Models\\Profile]."}, None),
        (422, {"errors": {"id": ["unknown"]}}, None),
    ],
)
def test_a_profile_or_none_in_whatever_shape(
    wire: responses.RequestsMock, status: int, body: object, id: str | None
) -> None:
    wire.post(SEARCH, status=status, json=body)
    found = client(URL).find_profile_by_identity(identifier="x", handle="klaviyo")
    assert (found.id if found else None) == id
    assert json.loads(wire.calls[0].request.body or b"") == {"type": "klaviyo", "id": "x"}


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, {"message": "Unauthenticated."}, TokenRejectedError),
        (403, {"message": "This action is unauthorized."}, RefusedError),
        (500, {}, WaitError),
        (404, {}, WaitError),
        (200, {"data": False}, WaitError),
        (422, "gone", WaitError),
        (200, {}, WaitError),
        (200, [], WaitError),
        (200, None, WaitError),
        (200, {"data": {"email": "canary"}}, WaitError),
        (200, {"data": "p-1"}, WaitError),
    ],
)
def test_anything_else_is_not_taken_for_nobody(
    wire: responses.RequestsMock, status: int, body: object, error: type[Exception]
) -> None:
    wire.post(SEARCH, status=status, json=body)
    with pytest.raises(error):
        client(URL).find_profile_by_identity(identifier="x", handle="klaviyo")


def test_a_reward_is_made_and_listed_with_its_meta(sandbox: Sandbox, omneo: OmneoClient) -> None:
    sandbox.omneo.profile(TENANT, id="p-1")
    sandbox.omneo.profile(TENANT, id="p-2")
    assert omneo.create_reward(a_reward(meta={"a": 1}, external_id="x")).id == 1
    omneo.create_reward(a_reward(profile_id="p-2"))
    (listed,) = omneo.rewards_of_profile("p-1")
    assert (listed.id, listed.meta, listed.external_id) == (1, {"a": 1}, None)


def test_pages_are_asked_for_as_they_are_needed(sandbox: Sandbox, omneo: OmneoClient) -> None:
    sandbox.omneo.profile(TENANT, id="p-1")
    for _ in range(205):
        omneo.create_reward(a_reward())
    before = len(sandbox.omneo.calls.all())
    rewards = omneo.rewards_of_profile("p-1")
    next(rewards)
    assert len(sandbox.omneo.calls.all()) == before + 1
    assert len(list(rewards)) == 204
    assert len(sandbox.omneo.calls.all()) == before + 3


@pytest.mark.parametrize(("given", "id"), [(41, 41), ("41", 41), ("r-41", "r-41")])
def test_an_id_is_the_same_as_number_and_as_text(
    wire: responses.RequestsMock, given: object, id: object
) -> None:
    wire.post(REWARDS, status=201, json={"data": {"id": given, "meta": []}})
    assert client(URL).create_reward(a_reward()).id == id


@pytest.mark.parametrize(
    "body", [{}, {"data": None}, {"data": {}}, {"data": []}, [], "x", {"data": {"id": None}}]
)
def test_an_answer_without_the_reward_is_not_understood_and_says_that_it_came(
    wire: responses.RequestsMock, body: object
) -> None:
    wire.post(REWARDS, status=201, json=body)
    with pytest.raises(WaitError) as error:
        client(URL).create_reward(a_reward())
    assert error.value.status == 200


@pytest.mark.parametrize(
    "body", [{}, {"data": 7}, {"data": [{}]}, [], "x", {"data": [], "links": {"next": 7}}]
)
def test_a_list_that_cannot_be_read_is_not_an_empty_one(wire: responses.RequestsMock, body: object) -> None:
    wire.get(REWARDS, json=body)
    with pytest.raises(WaitError, match="cannot be read"):
        list(client(URL).rewards_of_profile("p-1"))


def test_a_refusal_names_the_field(sandbox: Sandbox, omneo: OmneoClient) -> None:
    with pytest.raises(RefusedError) as error:
        omneo.create_reward(a_reward())
    assert (error.value.status, error.value.field) == (422, "profile_id")


def test_a_definition_is_found_by_id_and_by_handle(omneo: OmneoClient) -> None:
    for found in (omneo.reward_definition(6), omneo.reward_definition_by_handle("birthday")):
        assert found is not None
        assert (found.period, found.period_type) == (30, "days")
    assert omneo.reward_definition(7) is None
    assert omneo.reward_definition_by_handle("christmas") is None


def test_the_id_of_a_definition_stays_one_segment_of_the_path(sandbox: Sandbox, omneo: OmneoClient) -> None:
    assert omneo.reward_definition("../../profiles?x=") is None
    assert sandbox.omneo.calls.all()[-1].path.endswith("/rewards/definitions/..%2F..%2Fprofiles%3Fx%3D")


# Kept for some minutes


def test_definitions_are_kept_for_five_minutes_by_tenant(
    sandbox: Sandbox, omneo: OmneoClient, clock: Clock
) -> None:
    kept = RewardDefinitions(clock)

    def asked(tenant: str = TENANT, **name: Any) -> int:
        before = len(sandbox.omneo.calls.all())
        assert kept.get(omneo, tenant, **name) is not None
        return len(sandbox.omneo.calls.all()) - before

    assert [asked(id=6, handle="") for _ in range(3)] == [1, 0, 0]
    assert asked("other", id=6, handle="") == 1
    assert [asked(id="", handle="birthday") for _ in range(2)] == [1, 0]
    clock.advance(KEPT.total_seconds())
    assert asked(id=6, handle="") == 1


def test_no_kept_definition_is_taken_for_another(sandbox: Sandbox, omneo: OmneoClient, clock: Clock) -> None:
    sandbox.omneo.reward_definition(TENANT, id=7, handle="welcome", period=7, period_type="days")
    kept = RewardDefinitions(clock)
    names: list[dict[str, Any]] = [
        {"id": 6, "handle": ""},
        {"id": 7, "handle": ""},
        {"id": "", "handle": "birthday"},
        {"id": "", "handle": "welcome"},
    ]
    for _ in range(2):
        found = [kept.get(omneo, TENANT, **name) for name in names]
        assert [definition and definition.period for definition in found] == [30, 7, 30, 7]


def test_a_definition_that_is_not_there_is_asked_for_again(
    sandbox: Sandbox, omneo: OmneoClient, clock: Clock
) -> None:
    kept = RewardDefinitions(clock)
    assert kept.get(omneo, TENANT, id=7, handle="") is None
    sandbox.omneo.reward_definition(TENANT, id=7)
    assert kept.get(omneo, TENANT, id=7, handle="") is not None


def test_no_more_are_kept_than_there_is_room_for(wire: responses.RequestsMock, clock: Clock) -> None:
    wire.get(url=f"{DEFINITIONS}/0", json={"data": {}})
    kept, omneo = RewardDefinitions(clock), client(URL)
    for tenant in range(MOST + 1):
        kept.get(omneo, str(tenant), id=0, handle="")
    assert len(kept._kept) == MOST


def test_the_definition_that_was_read_longest_ago_makes_room(
    wire: responses.RequestsMock, clock: Clock
) -> None:
    wire.get(url=f"{DEFINITIONS}/0", json={"data": {}})
    kept, omneo = RewardDefinitions(clock), client(URL)

    def asked(tenant: int) -> int:
        before = len(wire.calls)
        kept.get(omneo, str(tenant), id=0, handle="")
        return len(wire.calls) - before

    for tenant in range(MOST):
        asked(tenant)
    clock.advance(KEPT.total_seconds())
    assert asked(0) == 1  # read again, so it is the newest by now
    assert asked(MOST) == 1
    clock.advance(-KEPT.total_seconds())
    assert [asked(tenant) for tenant in (0, MOST, 2, 1)] == [0, 0, 0, 1]
