"""The sandbox's rewards as the extension sees them: what is taken, what is refused, what a repeated external id does."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from deploy.local.sandbox import Sandbox
from tests.deploy.local.sandbox.times import NOON

Call = Callable[..., requests.Response]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(clock=lambda: NOON, token_prefix="canary-token") as sandbox:
        sandbox.omneo.tenant("acme", token="canary-token-acme")
        sandbox.omneo.profile("acme", id="p-1")
        sandbox.omneo.profile("acme", id="p-2")
        sandbox.omneo.reward_definition("acme", id=6, handle="birthday", period=30, period_type="days")
        yield sandbox


def a_reward(**changes: Any) -> dict[str, Any]:
    """Return a body; None leaves a field out."""
    whole = {
        "profile_id": "p-1",
        "reward_definition_id": 6,
        "value_initial": 10,
        "value_remaining": 10,
        "timezone": "Australia/Melbourne",
        "expires_at": "2026-12-31 23:59:59",
        "external_id": "order-7",
        "meta": {"flow": "birthday"},
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not None}


def test_local_times_go_in_and_both_come_out_and_the_external_id_stays_inside(
    sandbox: Sandbox, call: Call
) -> None:
    made = call("POST", "/rewards", a_reward())
    assert made.status_code == 201
    reward = made.json()["data"]
    assert reward["id"] == 1
    assert (reward["expires_at"], reward["expires_local_at"]) == (
        "2026-12-31 12:59:59",
        "2026-12-31 23:59:59",
    )
    assert (reward["issued_at"], reward["issued_local_at"]) == ("2026-09-21 14:13:20", "2026-09-22 00:13:20")
    assert (reward["value_initial"], reward["meta"]) == (10, {"flow": "birthday"})
    assert (reward["definition"]["id"], reward["definition"]["handle"]) == (6, "birthday")
    assert "external_id" not in reward
    assert call("GET", "/rewards/1").json()["data"] == reward
    assert sandbox.omneo.rewards("acme") == [{**reward, "external_id": "order-7"}]


def test_rewards_are_listed_by_profile_in_pages(call: Call) -> None:
    for number in range(5):
        call("POST", "/rewards", a_reward(external_id=f"r-{number}"))
    call("POST", "/rewards", a_reward(profile_id="p-2", external_id=None))
    first = call("GET", "/rewards", **{"filter[profile_id]": "p-1", "page[size]": "3"}).json()
    assert ([row["id"] for row in first["data"]], first["meta"]["total"]) == ([1, 2, 3], 5)
    second = requests.get(
        first["links"]["next"], headers={"Authorization": "Bearer canary-token-acme"}, timeout=60
    ).json()
    assert ([row["id"] for row in second["data"]], second["links"]["next"]) == ([4, 5], None)
    assert len(call("GET", "/rewards").json()["data"]) == 6
    assert call("GET", "/rewards", **{"filter[external_id]": "r-1"}).status_code == 501


def test_definitions_are_listed_and_read(call: Call) -> None:
    (row,) = call("GET", "/rewards/definitions").json()["data"]
    assert (row["id"], row["handle"], row["period"], row["period_type"]) == (6, "birthday", 30, "days")
    assert call("GET", "/rewards/definitions/6").json()["data"] == row
    assert call("GET", "/rewards/definitions/7").status_code == 404
    assert call("GET", "/rewards/definitions/birthday").status_code == 404


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"profile_id": "p-3"}, "profile_id"),
        ({"profile_id": None}, "profile_id"),
        ({"reward_definition_id": 7}, "reward_definition_id"),
        ({"reward_definition_id": None}, "reward_definition_id"),
        ({"reward_definition_id": None, "reward_definition_handle": "x"}, "reward_definition_id"),
        ({"value_initial": None}, "value_initial"),
        ({"value_initial": 0}, "value_initial"),
        ({"value_initial": True}, "value_initial"),
        ({"value_remaining": "ten"}, "value_remaining"),
        ({"timezone": None}, "timezone"),
        ({"timezone": "Melbourne"}, "timezone"),
        ({"expires_at": None}, "expires_at"),
        ({"expires_at": "2026-12-31"}, "expires_at"),
        ({"expires_at": "2026-12-31T23:59:59Z"}, "expires_at"),
        ({"expires_at": "2026-09-22 00:13:20"}, "expires_at"),
        ({"issued_at": "now"}, "issued_at"),
        ({"external_id": 7}, "external_id"),
        ({"meta": "text"}, "meta"),
    ],
)
def test_what_omneo_would_refuse_is_refused_by_name(
    sandbox: Sandbox, call: Call, changes: dict[str, Any], field: str
) -> None:
    refused = call("POST", "/rewards", a_reward(**changes))
    assert (refused.status_code, list(refused.json()["errors"])) == (422, [field])
    assert sandbox.omneo.rewards("acme") == []


def test_a_handle_may_stand_for_the_definition(call: Call) -> None:
    body = a_reward(reward_definition_id=None, reward_definition_handle="birthday")
    assert call("POST", "/rewards", body).json()["data"]["definition"]["id"] == 6


@pytest.mark.parametrize(("rule", "status", "kept"), [("422", 422, 1), ("409", 409, 1), ("creates", 201, 2)])
def test_a_repeated_external_id_does_what_it_was_told(
    sandbox: Sandbox, call: Call, rule: Any, status: int, kept: int
) -> None:
    sandbox.omneo.reward_rules("acme", repeated_external_id=rule)
    assert call("POST", "/rewards", a_reward()).status_code == 201
    again = call("POST", "/rewards", a_reward(profile_id="p-2"))
    assert again.status_code == status
    assert ("external_id" in again.json().get("errors", {})) is (status == 422)
    assert len(sandbox.omneo.rewards("acme")) == kept
    for _ in range(2):
        assert call("POST", "/rewards", a_reward(external_id=None)).status_code == 201


def test_numbers_may_be_shown_as_text_and_an_empty_meta_is_a_list(sandbox: Sandbox, call: Call) -> None:
    sandbox.omneo.reward_rules("acme", numbers_as_text=True)
    reward = call("POST", "/rewards", a_reward(value_initial="12.5", meta={})).json()["data"]
    assert (reward["id"], reward["value_initial"], reward["value_remaining"]) == ("1", "12.50", "10.00")
    assert reward["meta"] == []


def test_another_process_can_arrange_and_look(sandbox: Sandbox, call: Call) -> None:
    def ask(method: str, path: str, body: object = None) -> Any:
        answer = requests.request(method, f"{sandbox.omneo.url}/_sandbox/{path}", json=body, timeout=60)
        return answer.status_code, answer.json()

    assert ask("POST", "seed", {"reward_definitions": [{"tenant": "acme", "id": 9}]})[0] == 200
    assert ask("POST", "reward_rules", {"tenant": "acme", "repeated_external_id": "409"}) == (200, {})
    assert ask("POST", "reward_rules", {"tenant": "acme", "repeated_external_id": "500"})[0] == 400
    call("POST", "/rewards", a_reward(reward_definition_id=9))
    assert call("POST", "/rewards", a_reward()).status_code == 409
    status, said = ask("GET", "rewards?tenant=acme")
    assert (status, [row["external_id"] for row in said["rewards"]]) == (200, ["order-7"])


def test_a_deleted_reward_is_gone_and_frees_its_external_id(call: Call) -> None:
    first = call("POST", "/rewards", a_reward()).json()["data"]["id"]
    assert call("DELETE", f"/rewards/{first}").status_code == 204
    assert call("DELETE", f"/rewards/{first}").status_code == 404
    second = call("POST", "/rewards", a_reward())
    assert (second.status_code, second.json()["data"]["id"]) == (201, first + 1)
