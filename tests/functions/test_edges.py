"""A proxy or an edge answers in the place of Omneo or Klaviyo: whatever its status, nothing is decided, and a person who waits is told 503."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from deploy.staging import load_functions
from tests.support.loading import Load
from tests.support.rewards import PROFILE, Shop, a_body
from tests.support.world import TENANT, WEBHOOK_SECRET, World

PATH = f"/{TENANT}/api/v1/webhooks/klaviyo/rewards"
HEADERS = {"x-omneo-secret": WEBHOOK_SECRET, "Content-Type": "application/json"}
STATUSES = [200, 400, 401, 402, 404, 405, 409, 410, 413, 414, 422, 451]
BODIES: list[Any] = ["", "<html>canary</html>", "OK", {"canary": 1}]


@pytest.fixture
def shop(world: World) -> Shop:
    return Shop(world).open()


@pytest.fixture
def webhook(shop: Shop, load: Load) -> FlaskClient:
    given = load_functions()["rewards_webhook"].variables
    return load(
        "rewards_webhook", {name: text for name, text in shop.world.environment.items() if name in given}
    )


@pytest.mark.parametrize("match", ["POST */search-id", "GET */profiles", "POST */rewards"])
@pytest.mark.parametrize("status", STATUSES)
def test_a_reward_whose_answer_is_an_edges_is_503_and_never_refused(
    webhook: FlaskClient, shop: Shop, status: int, match: str
) -> None:
    for number, body in enumerate(BODIES):
        call = a_body(id=f"order-{number}")
        if match == "GET */profiles":
            call["person_id"] = ""
        shop.world.sandbox.omneo.fail(1, match=match, status=status, body=body)
        first = webhook.post(PATH, json=call, headers=HEADERS)
        assert first.status_code == 503, (status, body, first.get_json())
        assert int(first.headers["Retry-After"]) >= 1
        assert "canary" not in first.get_data(as_text=True)
        shop.world.sandbox.omneo.faults.clear()
        if match == "POST */rewards":
            continue  # it may have been made: the claim waits until that is certain, as it does after a lost answer
        second = webhook.post(PATH, json=call, headers=HEADERS)
        assert (second.status_code, second.get_json()["status"]) == (200, "created")
    made = 0 if match == "POST */rewards" else len(BODIES)
    assert [reward["profile_id"] for reward in shop.rewards()] == [PROFILE] * made
