"""A body has one limit, whether its length is said or it comes in chunks: whichever function is asked."""

import io
from typing import Any

import pytest

from deploy.staging import load_functions
from tests.support.loading import CHUNKED, Load
from tests.support.world import TENANT, World

API = f"/{TENANT}/api/v1"
LIMITS = {
    "targets": ("POST", f"{API}/targets/klaviyo/metric", 1_000_000),
    "rewards_webhook": ("POST", f"{API}/webhooks/klaviyo/rewards", 1_000_000),
    "omneo_webhooks": ("POST", f"{API}/webhooks/omneo", 1_000_000),
    "system_webhooks": ("POST", f"{API}/webhooks/klaviyo/system", 25_000_000),
    "admin": ("PUT", f"{API}/settings", 200_000),
    "inbound_worker": ("POST", "/tasks/inbound", 2_000_000),
    "outbound_worker": ("POST", "/tasks/outbound", 2_000_000),
}


def test_every_function_that_takes_json_has_its_limit_here() -> None:
    assert LIMITS.keys() == load_functions().keys() - {"install"}


@pytest.mark.parametrize("framing", [{}, CHUNKED], ids=["length", "chunks"])
@pytest.mark.parametrize("name", LIMITS)
def test_a_body_is_refused_from_one_byte_too_many_on(
    name: str, framing: dict[str, Any], world: World, load: Load
) -> None:
    world.tenant()
    given = load_functions()[name].variables
    client = load(name, {key: text for key, text in world.environment.items() if key in given})
    method, path, largest = LIMITS[name]
    for length, is_refused in ((largest, False), (largest + 1, True), (2 * largest, True)):
        answer = client.open(
            path,
            method=method,
            input_stream=io.BytesIO(b"[" + b" " * (length - 2) + b"]"),
            content_type="application/json",
            environ_overrides={"CONTENT_LENGTH": str(length), **framing},
        )
        assert (answer.status_code == 413) is is_refused, (length, answer.get_data(as_text=True))
