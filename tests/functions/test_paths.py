"""Paths that lead nowhere: whichever function is asked, and however odd the path is, the answer is the extension's own."""

import pytest

from deploy.staging import load_functions
from tests.support.loading import Load
from tests.support.world import World

PATHS = [
    "/",
    "/robots.txt",
    "/favicon.ico",
    "/canary%0Aco/api/v1/settings",
    "/canary/api/v1/targets/klaviyo/met%0Dric%0A",
    "/%F0%9F%8E%81/%00/%E2%80%A8",
]


@pytest.mark.parametrize("name", sorted(load_functions()))
def test_a_path_that_leads_nowhere_is_404_in_json_for_every_function_and_method(
    name: str, world: World, load: Load
) -> None:
    given = load_functions()[name].variables
    client = load(name, {key: text for key, text in world.environment.items() if key in given})
    for path in PATHS:
        for method in ("GET", "POST", "DELETE"):
            answer = client.open(path, method=method)
            assert answer.status_code == 404, (method, path)
            assert answer.get_json()["error"]["code"] == "not_found", (method, path)
            assert "canary" not in answer.get_data(as_text=True)
